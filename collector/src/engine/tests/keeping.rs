//! A collector that dies and comes back with its history; and one whose disk fails.

use super::bench::{Bench, Sidecar, counts, inbound, service, window};
use crate::engine::{Event, Output};
use crate::record::{CommandRecord, Record, Restored};
use fusebox_proto::Edge;
use fusebox_proto::command::{
    AckResult, ActionKind, BreakerState, Command, HeldLease, ResetScope, TTL_MAX, Verb,
};
use fusebox_proto::view::{Health, History, IncidentState, TripResult};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const EDGE: (&str, &str) = ("payment", "inventory");

/// A disk in memory.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) restored: Restored,
    commands: Vec<CommandRecord>,
    pub(super) is_full: bool,
}

impl Disk {
    /// Writes what there is, and answers, until there is no more.
    pub(super) fn sync(&mut self, bench: &mut Bench) {
        loop {
            let mut numbers: Vec<u64> = Vec::new();
            for output in std::mem::take(&mut bench.outputs) {
                let Output::Store { number, at_unix_ms, record } = output else {
                    bench.outputs.push(output);
                    continue;
                };
                numbers.push(number);
                if self.is_full {
                    continue;
                }
                if let Record::Command(command) = &record {
                    self.commands.push(command.clone());
                }
                self.restored.apply(at_unix_ms, record);
            }
            let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return };
            let full: Arc<str> = "no space left".into();
            let result = if self.is_full { Err(full) } else { Ok(()) };
            bench.handle(Event::Stored { numbers: first..=last, result });
        }
    }
}

pub(super) fn life() -> (Bench, Disk) {
    let mut bench = Bench::new();
    bench.restart_with(&Restored::default(), Duration::ZERO, 0);
    (bench, Disk::default())
}

fn done(bench: &mut Bench) -> Option<TripResult> {
    let is_done = |output: &Output| matches!(output, Output::Done { .. });
    let at = bench.outputs.iter().position(is_done)?;
    match bench.outputs.remove(at) {
        Output::Done { mut results, .. } => results.pop(),
        _ => None,
    }
}

/// A trip that the only proxy has.
fn tripped(bench: &mut Bench, ttl_s: u64) -> (Sidecar, Command) {
    let sidecar = bench.connect("payment-0", "payment", &["inventory"]);
    bench.trip("t1", EDGE, ActionKind::Open, ttl_s);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    (sidecar, command)
}

/// Seconds of payment's traffic; in a storm most of it are retries that fail.
fn seconds(bench: &mut Bench, disk: &mut Disk, sidecar: &mut Sidecar, n: usize, is_storm: bool) {
    for _ in 0..n {
        bench.advance(Duration::from_secs(1));
        let counts = if is_storm { counts(200, 1_760, 1_900) } else { counts(200, 0, 2) };
        let edges = vec![window("inventory", counts, 30_000)];
        bench.report(sidecar, edges, vec![inbound(200, 2, 40_000)]);
        disk.sync(bench);
    }
}

/// Scenario: a storm that was stopped and is over, and a lease in force, when the collector is
/// started again two seconds later.
/// Guarantees: incident and events are shown as they were; the lease is known, with who, why and
/// until when, before any proxy is back, and can be ended by name.
#[test]
fn what_was_known_is_known_again() {
    let (mut bench, mut disk) = life();
    let mut sidecar = bench.connect("payment-0", "payment", &["inventory"]);
    seconds(&mut bench, &mut disk, &mut sidecar, 30, false);
    seconds(&mut bench, &mut disk, &mut sidecar, 8, true);
    bench.trip("t1", EDGE, ActionKind::MuteRetries, 600);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    seconds(&mut bench, &mut disk, &mut sidecar, 40, false);
    let before = bench.snapshot();
    assert_eq!(before.incidents[0].state, IncidentState::Resolved);

    bench.restart_with(&disk.restored, Duration::from_secs(2), 0);
    let after = bench.snapshot();
    assert_eq!(after.incidents, before.incidents);
    assert!(after.events.ends_with(&before.events), "{:#?}", after.events);
    let text = &after.events[0].text;
    assert!(text.ends_with("from before: 1, open incidents: 0"), "{text}");
    let (old, new) = (&before.breakers[0], &after.breakers[0]);
    assert_eq!((&new.edge, &new.by, &new.reason), (&old.edge, &old.by, &old.reason));
    assert_eq!((new.until, new.applied, new.proxies), (old.until, 0, 0));
    bench.reset(
        "r1",
        ResetScope::Edge { source: "payment".into(), destination: "inventory".into() },
    );
    assert!(done(&mut bench).is_none(), "it waits for the disk");
    disk.sync(&mut bench);
    assert_eq!(done(&mut bench).map(|result| result.action), Some("reset".into()));
    assert!(bench.snapshot().breakers.is_empty());
}

/// Scenario: proxies without the lease connect to a collector that was restarted while a lease of
/// 60 s was in force, at several times, with the wall clock set forward or back meanwhile.
/// Guarantees: they get the time that is left; never more than to the end that the lease had, and
/// where the clock went back, never more than was left when the collector died.
#[test]
fn a_lease_never_lasts_longer_than_it_was_to() {
    let check = |lived_s: u64, down_s: u64, wall_ms: i64, expected_s: Option<u64>| {
        let (mut bench, mut disk) = life();
        tripped(&mut bench, 60);
        disk.sync(&mut bench);
        bench.advance(Duration::from_secs(lived_s));
        // Something is written at the end of its life.
        bench.connect("search-0", "search", &[]);
        disk.sync(&mut bench);
        bench.restart_with(&disk.restored, Duration::from_secs(down_s), wall_ms);
        bench.connect("payment-1", "payment", &["inventory"]);
        let left = bench.pushed().pop().map(|(_, command)| match command.verb {
            Verb::Trip { ttl, .. } => ttl.as_secs(),
            Verb::Reset { .. } => panic!("nobody reset"),
        });
        assert_eq!(left, expected_s, "lived {lived_s} s, down {down_s} s, clock {wall_ms} ms");
    };
    check(10, 5, 0, Some(45));
    check(0, 0, 0, Some(60));
    check(10, 49, 0, Some(1));
    check(10, 50, 0, None);
    check(10, 500, 0, None);
    check(10, 5, 20_000, Some(25));
    check(10, 5, 3_600_000, None);
    check(10, 5, -10_000, Some(50));
    check(10, 5, -3_600_000, Some(50));
}

/// Scenario: a command under a higher revision than the collector's clock would give, issued or
/// heard of from a proxy; then a restart with the clock an hour back.
/// Guarantees: the next revision is above all of them.
#[test]
fn revisions_never_go_back() {
    let check = |is_heard: bool| {
        let (mut bench, mut disk) = life();
        let (sidecar, mut highest) = tripped(&mut bench, 60);
        if is_heard {
            highest.revision += 7_200_000;
            let held = HeldLease { command: highest.clone(), state: BreakerState::HalfOpen };
            bench.connect_holding("payment-1", "payment", &["inventory"], vec![held]);
        }
        bench.handle(Event::Gone { connection: sidecar.connection });
        disk.sync(&mut bench);
        bench.restart_with(&disk.restored, Duration::from_secs(1), -3_600_000);
        bench.connect("payment-2", "payment", &["inventory"]);
        bench.pushed();
        bench.trip("t2", EDGE, ActionKind::Open, 60);
        let (_, command) = bench.pushed().remove(0);
        assert!(highest.revision < command.revision, "heard: {is_heard}");
    };
    check(false);
    check(true);
}

/// Scenario: a lease is reset while the proxy that holds it is away; the collector is started
/// again before the proxy is back.
/// Guarantees: the lease is not learned anew from the proxy; the proxy gets the reset.
#[test]
fn a_reset_is_remembered_as_well() {
    let (mut bench, mut disk) = life();
    let (sidecar, command) = tripped(&mut bench, 600);
    bench.handle(Event::Gone { connection: sidecar.connection });
    bench.reset("r1", ResetScope::All);
    disk.sync(&mut bench);
    bench.restart_with(&disk.restored, Duration::from_secs(5), 0);
    assert!(bench.snapshot().breakers.is_empty());
    bench.connect("payment-1", "payment", &["inventory"]);
    assert!(bench.pushed().is_empty(), "it holds nothing that a reset could end");
    let held = HeldLease { command, state: BreakerState::ForcedOpen };
    bench.connect_holding("payment-0", "payment", &["inventory"], vec![held]);
    let pushed = bench.pushed();
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    assert_eq!(pushed[0].1.verb, Verb::Reset { at_once: false });
}

/// Scenario: a trip that its proxies acknowledge at once, with a disk that syncs late, fails, or
/// does not answer.
/// Guarantees: the command is on its way before its record; the operator's answer comes when the
/// record is synced, or says that it is not.
#[test]
fn an_answer_waits_for_the_disk() {
    let check = |result: Option<Result<(), &str>>, note: &str| {
        let (mut bench, mut disk) = life();
        let mut sidecar = bench.connect("payment-0", "payment", &["inventory"]);
        disk.sync(&mut bench);
        bench.trip("t1", EDGE, ActionKind::Open, 60);
        let position = |is: fn(&Output) -> bool| bench.outputs.iter().position(is);
        let push = position(|output| matches!(output, Output::Push { .. }));
        let store = position(|output| matches!(output, Output::Store { .. }));
        assert!(push < store && push.is_some(), "{:?}", bench.outputs);
        let (connection, command) = bench.pushed().remove(0);
        bench.ack(connection, &command, AckResult::Applied);
        bench.advance(Duration::from_millis(2_900));
        bench.report(&mut sidecar, Vec::new(), Vec::new());
        assert_eq!(done(&mut bench), None);
        let numbers = bench.outputs.iter().filter_map(|output| match output {
            Output::Store { number, .. } => Some(*number),
            _ => None,
        });
        let numbers = numbers.clone().min().unwrap()..=numbers.max().unwrap();
        match result {
            Some(result) => {
                bench.handle(Event::Stored { numbers, result: result.map_err(Arc::from) });
            }
            None => bench.advance(Duration::from_millis(200)),
        }
        let answer = done(&mut bench).expect("answered");
        assert_eq!((answer.applied, answer.proxies, &*answer.note), (1, 1, note));
        bench.trip("t1", EDGE, ActionKind::Open, 60);
        assert_eq!(done(&mut bench).expect("asked again").note, note);
    };
    check(Some(Ok(())), "");
    check(Some(Err("full")), "it is not on the collector's disk: full");
    check(None, "it is not on the collector's disk: the disk has not answered for 3 s");
}

/// Scenario: a collector without a history.
/// Guarantees: it wants nothing written, and waits for no disk.
#[test]
fn without_a_history_nothing_is_stored() {
    let mut bench = Bench::new();
    assert_eq!(bench.snapshot().status.collector.history, Some(History::Memory));
    tripped(&mut bench, 60);
    assert_eq!(done(&mut bench).map(|result| result.note), Some(String::new()));
    assert!(!bench.outputs.iter().any(|output| matches!(output, Output::Store { .. })));
}

/// Scenario: a trip and a reset, both answered.
/// Guarantees: who, what, for how long, why, and what came of it are in the history, in order.
#[test]
fn commands_are_on_record() {
    let (mut bench, mut disk) = life();
    let (_, command) = tripped(&mut bench, 60);
    disk.sync(&mut bench);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    disk.sync(&mut bench);
    let [
        CommandRecord::Asked { edge, command: asked, .. },
        CommandRecord::Answered { edge: of, result, .. },
    ] = &disk.commands[..]
    else {
        panic!("asked twice, it is on record once: {:#?}", disk.commands)
    };
    assert_eq!((edge, of), (&Edge::new(service("payment"), service("inventory")), edge));
    assert_eq!((asked, &*asked.by, &*asked.reason), (&command, "ana", "drill"));
    assert_eq!((&result.id, result.applied, result.proxies), (&asked.id, 1, 1));
}

/// Scenario: the collector is started again while a storm rages; the storm goes on, or is gone.
/// Guarantees: it stays one incident under its id, which says that it was not seen since, until it
/// is, or is resolved with a note after 30 s.
#[test]
fn an_open_incident_goes_on_or_ends_with_a_note() {
    let check = |goes_on: bool| {
        let (mut bench, mut disk) = life();
        let mut sidecar = bench.connect("payment-0", "payment", &["inventory"]);
        seconds(&mut bench, &mut disk, &mut sidecar, 30, false);
        seconds(&mut bench, &mut disk, &mut sidecar, 8, true);
        let before = bench.incident();
        bench.restart_with(&disk.restored, Duration::from_secs(2), 0);
        let left = bench.incident();
        assert_eq!((&left.id, left.state), (&before.id, IncidentState::Open));
        assert_eq!((&left.summary, &left.action), (&before.summary, &None));
        assert!(left.data_quality.note.starts_with("not seen since the collector restarted"));
        assert_eq!(bench.snapshot().status.health, Health::Incident);

        let mut sidecar = bench.connect("payment-0", "payment", &["inventory"]);
        sidecar.number = 1_000;
        seconds(&mut bench, &mut disk, &mut sidecar, 29, goes_on);
        assert_eq!(bench.incident().state, IncidentState::Open);
        seconds(&mut bench, &mut disk, &mut sidecar, 2, goes_on);
        let now = bench.incident();
        assert_eq!((&now.id, now.opened_at), (&before.id, before.opened_at));
        if goes_on {
            assert_eq!((now.state, &*now.data_quality.note), (IncidentState::Open, ""));
            assert!(now.action.is_some(), "{now:#?}");
        } else {
            assert_eq!(now.state, IncidentState::Resolved);
            let expected = "payment sent inventory 9.8 attempts per request from 14:00:30; \
                            not seen since the collector restarted.";
            assert_eq!(now.summary, expected);
        }
    };
    check(true);
    check(false);
}

/// Scenario: the disk is full for ten seconds, in which an edge is tripped and a proxy comes; then
/// it has room again.
/// Guarantees: the trip is in force and its answer says that it is not on disk; health, journal and
/// counters tell; two seconds later the lease is on disk after all, and what is missing is told.
#[test]
fn a_full_disk_is_told_and_heals() {
    let (mut bench, mut disk) = life();
    bench.connect("payment-0", "payment", &["inventory"]);
    disk.sync(&mut bench);
    disk.is_full = true;
    bench.trip("t1", EDGE, ActionKind::Open, 600);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    disk.sync(&mut bench);
    let answer = done(&mut bench).expect("answered");
    assert_eq!((answer.applied, answer.proxies), (1, 1));
    assert_eq!(answer.note, "it is not on the collector's disk: no space left");
    for n in 0..10 {
        bench.connect(&format!("search-{n}"), "search", &[]);
        bench.advance(Duration::from_secs(1));
        disk.sync(&mut bench);
    }
    let status = bench.snapshot().status;
    assert_eq!(
        (status.health, status.collector.history),
        (Health::Degraded, Some(History::Failing))
    );
    let lost = status.collector.dropped["history_records"];
    assert!((10..40).contains(&lost), "{lost}");
    let told = |bench: &Bench, text: &str| {
        bench.snapshot().events.iter().filter(|event| event.text.starts_with(text)).count()
    };
    assert_eq!(told(&bench, "the history cannot be written: no space left"), 1);
    assert!(disk.restored.wishes.is_empty());

    disk.is_full = false;
    for _ in 0..3 {
        bench.advance(Duration::from_secs(1));
        disk.sync(&mut bench);
    }
    assert_eq!(told(&bench, &format!("the history is written again; {lost} records")), 1);
    assert_eq!(disk.restored.wishes[0].command, command);
    assert_eq!(bench.snapshot().status.collector.history, Some(History::Disk));
    assert_eq!(bench.snapshot().status.collector.dropped["history_records"], lost);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Scenario: trips and resets on several edges, and restarts in between, at any times.
    /// Guarantees: after each restart the leases in force are those that were, up to one
    /// millisecond; no lease outlives its hour, and revisions only grow.
    #[test]
    fn leases_are_the_same_over_any_restart(
        steps in prop::collection::vec((0_u8..4, 0_u8..3, 1_u64..120), 1..40),
    ) {
        let (mut bench, mut disk) = life();
        let names = ["inventory", "shipping", "search"];
        let mut newest = (String::new(), 0);
        for (at, (what, edge, seconds)) in steps.into_iter().enumerate() {
            let edge = ("payment", names[usize::from(edge)]);
            let id = at.to_string();
            bench.connect(&format!("payment-{}", at % 3), "payment", &names);
            match what {
                0 => bench.advance(Duration::from_secs(seconds)),
                1 => bench.trip(&id, edge, ActionKind::Open, seconds),
                2 => bench.reset(&id, ResetScope::All),
                _ => {
                    disk.sync(&mut bench);
                    let leases = |bench: &Bench| {
                        let breakers = bench.snapshot().breakers.into_iter();
                        let lease = |b: fusebox_proto::view::Breaker| Some((b.edge, b.by?, b.until?));
                        breakers.filter_map(lease).collect::<Vec<_>>()
                    };
                    let before = leases(&bench);
                    bench.restart_with(&disk.restored, Duration::ZERO, 0);
                    prop_assert_eq!(leases(&bench), before);
                }
            }
            for (_, command) in bench.pushed() {
                let Verb::Trip { ttl, .. } = command.verb else { continue };
                prop_assert!(ttl <= TTL_MAX);
                if command.id == id && newest.0 != id {
                    prop_assert!(newest.1 < command.revision);
                    newest = (command.id, command.revision);
                }
            }
            disk.sync(&mut bench);
        }
    }
}

//! Trips, resets, acknowledgements, proxies that come and go, collectors that restart.

use super::bench::{Bench, Sidecar, counts, service, window};
use crate::engine::{Event, Output, Refusal};
use fusebox_proto::command::{
    AckResult, Action, ActionKind, BreakerState, Command, HeldLease, ResetScope, Verb,
};
use fusebox_proto::view::TripResult;
use std::time::Duration;

const EDGE: (&str, &str) = ("payment", "inventory");

fn shop(proxies: usize) -> (Bench, Vec<Sidecar>) {
    let mut bench = Bench::new();
    let connect = |n| bench.connect(&format!("payment-{n}"), "payment", &["inventory"]);
    let mut sidecars: Vec<Sidecar> = (0..proxies).map(connect).collect();
    bench.connect("search-0", "search", &["inventory"]);
    for _ in 0..3 {
        bench.advance(Duration::from_secs(1));
        for sidecar in &mut sidecars {
            bench.report(sidecar, vec![window("inventory", counts(10, 0, 0), 9_000)], Vec::new());
        }
    }
    (bench, sidecars)
}

fn done(bench: &mut Bench) -> Option<Vec<TripResult>> {
    let is_done = |output: &Output| matches!(output, Output::Done { .. });
    let at = bench.outputs.iter().position(is_done)?;
    match bench.outputs.remove(at) {
        Output::Done { results, .. } => Some(results),
        _ => None,
    }
}

fn one(results: Option<Vec<TripResult>>) -> TripResult {
    let mut results = results.expect("answered");
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// Scenario: a trip on an edge with three proxies that answer one after the other.
/// Guarantees: only they get the command; the answer waits for all of them, and then says how
/// many, how fast, and until when; the screen shows fact, not intent, in between.
#[test]
fn a_trip_is_answered_when_all_have_it() {
    let (mut bench, _) = shop(3);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let pushed = bench.pushed();
    assert_eq!(pushed.len(), 3, "not the proxy of search");
    let verb = Verb::Trip { action: Action::Open, ttl: Duration::from_mins(1), proxies: 3 };
    assert!(pushed.iter().all(|(_, command)| command.verb == verb && command.by == "ana"));
    for (n, (connection, command)) in pushed.iter().enumerate() {
        let breaker = bench.edge("payment", "inventory").breaker;
        assert_eq!((breaker.applied, breaker.proxies), (n as u64, 3));
        assert_eq!(done(&mut bench), None);
        bench.advance(Duration::from_millis(10));
        bench.ack(*connection, command, AckResult::Applied);
    }
    let result = one(done(&mut bench));
    assert_eq!((result.applied, result.proxies, result.coverage), (3, 3, Some(1.0)));
    assert_eq!((result.applied_ms, &*result.note), (Some(30.0), ""));
    let breaker = bench.edge("payment", "inventory").breaker;
    assert_eq!((breaker.state, breaker.applied), (BreakerState::ForcedOpen, 3));
    assert_eq!(breaker.until, result.expires_at);
    assert_eq!(bench.snapshot().breakers.len(), 1, "no other edge is touched");
}

/// Scenario: one proxy refuses, one does not answer within a second.
/// Guarantees: the answer comes after a second, and names both.
#[test]
fn a_trip_that_is_not_applied_everywhere() {
    let (mut bench, _) = shop(3);
    bench.trip("t1", EDGE, ActionKind::MuteRetries, 60);
    let pushed = bench.pushed();
    bench.ack(pushed[0].0, &pushed[0].1, AckResult::Applied);
    let reason = "no listener".to_owned();
    bench.ack(pushed[1].0, &pushed[1].1, AckResult::Rejected { reason });
    bench.advance(Duration::from_millis(990));
    assert_eq!(done(&mut bench), None);
    bench.advance(Duration::from_millis(20));
    let result = one(done(&mut bench));
    assert_eq!((result.applied, result.proxies, result.applied_ms), (1, 3, None));
    assert_eq!(result.note, "payment-1 refused: no listener; payment-2 has not answered");
}

/// Scenario: a policy opens new ways in proxies that are connected: to a service that nobody called
/// before, and to one whose circuit is held open in another proxy.
/// Guarantees: the first can be tripped before its first request; the second is held in the new place
/// too, for the time that is left, and once.
#[test]
fn new_ways_of_a_connected_proxy() {
    let (mut bench, _) = shop(1);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    let mut late = bench.connect("payment-1", "payment", &[]);
    assert!(bench.pushed().is_empty());
    bench.advance(Duration::from_secs(10));
    let to = ["inventory", "stock"].map(service).to_vec();
    late.hello.endpoints = late.hello.endpoints.to(to);
    for _ in 0..2 {
        bench.tell_ways(&mut late);
    }
    let pushed = bench.pushed();
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    let left = Verb::Trip { action: Action::Open, ttl: Duration::from_secs(50), proxies: 1 };
    assert_eq!((pushed[0].0, pushed[0].1.verb), (late.connection, left));

    bench.trip("t2", ("payment", "stock"), ActionKind::Open, 60);
    let pushed = bench.pushed();
    assert_eq!((pushed.len(), pushed[0].0), (1, late.connection));
}

/// Scenario: edges on which no connected proxy enforces anything.
/// Guarantees: an immediate answer with nothing applied and the reason.
#[test]
fn nobody_can_enforce_it() {
    let (mut bench, sidecars) = shop(1);
    let mut check = |id: &str, edge: (&str, &str), note: &str| {
        bench.trip(id, edge, ActionKind::Open, 60);
        let result = one(done(&mut bench));
        assert_eq!((result.applied, result.proxies, result.coverage), (0, 0, Some(0.0)), "{id}");
        assert_eq!(result.note, note);
    };
    check("t1", ("inventory", "payment"), "no proxy of inventory is connected");
    let wrong = "1 of the connected proxies belong to payment, but none leads to search";
    check("t2", ("payment", "search"), wrong);
    bench.handle(Event::Gone { connection: sidecars[0].connection });
    bench.trip("t3", EDGE, ActionKind::Open, 60);
    assert_eq!(one(done(&mut bench)).note, "no proxy of payment is connected");
}

/// Scenario: requests that cannot be meant.
/// Guarantees: each is refused whole, with the reason and the candidates.
#[test]
fn refused_requests() {
    let (mut bench, _) = shop(1);
    bench.connect("other-0", "inventory", &[]);
    let mut check = |edge, action, ttl_s, expected: &str| {
        bench.trip("t", edge, action, ttl_s);
        let refusal = bench.outputs.pop();
        let Some(Output::Refused { refusal, .. }) = refusal else { panic!("{refusal:?}") };
        assert_eq!(refusal.to_string(), expected);
        assert!(bench.pushed().is_empty());
    };
    let open = ActionKind::Open;
    check(("paymnt", "inventory"), open, 60, "no service is called \"paymnt\"; there is payment");
    check(("payment", "x1"), open, 60, "no service is called \"x1\"");
    check(EDGE, open, 0, "ttl: is 0 s; 1 s to 1 h");
    check(EDGE, open, 3_601, "ttl: is 3601 s; 1 s to 1 h");
    check(
        ("search", "inventory"),
        ActionKind::Cap,
        60,
        "action: cap needs a usual rate, and nothing was seen on this edge in the last minute",
    );
    let candidates = vec!["a/b/c".to_owned()];
    let refusal = Refusal::Ambiguous { name: "c".to_owned(), candidates };
    assert_eq!(refusal.to_string(), "\"c\" is ambiguous; there is a/b/c");
}

/// Scenario: the same request twice, before and after its answer.
/// Guarantees: it acts once and is answered each time.
#[test]
fn a_request_acts_once() {
    let (mut bench, _) = shop(1);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let pushed = bench.pushed();
    assert_eq!(pushed.len(), 1);
    bench.ack(pushed[0].0, &pushed[0].1, AckResult::Applied);
    let first = done(&mut bench);
    assert!(first.is_some());
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    assert!(bench.pushed().is_empty());
    assert_eq!(done(&mut bench), first);
}

/// Scenario: a cap on an edge that usually carries 30 attempts a second over three proxies.
/// Guarantees: the cap is a little above the usual rate, for all proxies together.
#[test]
fn a_cap_is_set_at_the_usual_rate() {
    let (mut bench, _) = shop(3);
    bench.trip("t1", EDGE, ActionKind::Cap, 60);
    let (_, command) = &bench.pushed()[0];
    let Verb::Trip { action: Action::Cap { attempts_per_s }, proxies: 3, .. } = command.verb else {
        panic!("{command:?}")
    };
    assert!((attempts_per_s - 37.5).abs() < 0.01, "{attempts_per_s}");
}

/// Scenario: a proxy that was away during a trip connects; another during the reset after it.
/// Guarantees: the first gets the lease with the time that is left, the second the reset, because
/// it still holds the lease; one that holds what is wished gets nothing.
#[test]
fn proxies_that_connect_get_what_is_wished() {
    let (mut bench, sidecars) = shop(1);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    bench.advance(Duration::from_secs(20));
    bench.connect("payment-7", "payment", &["inventory"]);
    let (_, late) = bench.pushed().remove(0);
    assert_eq!((late.revision, &*late.id), (command.revision, "t1"));
    let Verb::Trip { ttl, .. } = late.verb else { panic!("{late:?}") };
    assert_eq!(ttl, Duration::from_secs(40));
    let held = |command: &Command| {
        vec![HeldLease { command: command.clone(), state: BreakerState::ForcedOpen }]
    };
    bench.connect_holding("payment-8", "payment", &["inventory"], held(&late));
    assert!(bench.pushed().is_empty(), "it has the lease");
    bench.handle(Event::Gone { connection: sidecars[0].connection });
    bench.reset("r1", ResetScope::All);
    bench.pushed();
    bench.connect_holding("payment-0", "payment", &["inventory"], held(&command));
    let (_, reset) = bench.pushed().remove(0);
    assert_eq!(reset.verb, Verb::Reset { at_once: false });
    assert!(command.revision < reset.revision);
    bench.connect("payment-9", "payment", &["inventory"]);
    assert!(bench.pushed().is_empty(), "it holds nothing that a reset could end");
}

/// Scenario: the collector restarts while a lease stands; proxies come back one by one, one of
/// them without the lease.
/// Guarantees: the lease is known again and reaches the proxy without it; a reset wins over it
/// even where the collector's clock went back.
#[test]
fn a_restarted_collector_learns_from_its_proxies() {
    let (mut bench, _) = shop(2);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let mut command = bench.pushed().remove(0).1;
    bench.restart();
    command.revision += 3_600_000;
    command.verb = Verb::Trip { action: Action::Open, ttl: Duration::from_secs(50), proxies: 2 };
    bench.connect("payment-1", "payment", &["inventory"]);
    assert!(bench.pushed().is_empty());
    let held = HeldLease { command: command.clone(), state: BreakerState::ForcedOpen };
    bench.connect_holding("payment-0", "payment", &["inventory"], vec![held]);
    let pushed = bench.pushed();
    let to: Vec<u64> = pushed.iter().map(|(connection, _)| connection.0).collect();
    assert_eq!(to.len(), 1, "only the proxy without it: {pushed:?}");
    assert_eq!(pushed[0].1, command);
    bench.ack(pushed[0].0, &pushed[0].1, AckResult::Applied);
    let breakers = bench.snapshot().breakers;
    assert_eq!(breakers.len(), 1);
    let breaker = &breakers[0];
    assert_eq!((&*breaker.edge, breaker.state), ("payment>inventory", BreakerState::ForcedOpen));
    assert_eq!((breaker.applied, breaker.proxies), (2, 2));
    assert_eq!(breaker.by.as_deref(), Some("ana"));
    bench.reset("r1", ResetScope::All);
    assert!(bench.pushed().iter().all(|(_, reset)| command.revision < reset.revision));
}

/// Scenario: a proxy says that a higher revision is in force, one that this collector never gave.
/// Guarantees: the command is issued again above it.
#[test]
fn a_superseded_command_is_issued_again() {
    let (mut bench, _) = shop(1);
    bench.trip("t1", EDGE, ActionKind::Open, 60);
    let (connection, command) = bench.pushed().remove(0);
    let revision = command.revision + 99;
    bench.ack(connection, &command, AckResult::Superseded { revision });
    let (_, again) = bench.pushed().remove(0);
    assert!(revision < again.revision);
    assert_eq!((again.verb, &again.id), (command.verb, &command.id));
    bench.ack(connection, &again, AckResult::Applied);
    assert_eq!(one(done(&mut bench)).applied, 1);
}

/// Scenario: a proxy connects again before its old stream is seen to end; the old one ends after.
/// Guarantees: the old stream is closed, and its end does not take the proxy away.
#[test]
fn a_proxy_that_connects_twice_is_one() {
    let (mut bench, sidecars) = shop(1);
    let again = bench.connect("payment-0", "payment", &["inventory"]);
    let old = sidecars[0].connection;
    assert!(bench.outputs.iter().any(|output| {
        matches!(output, Output::Close { connection, .. } if *connection == old)
    }));
    bench.handle(Event::Gone { connection: old });
    let proxies = bench.snapshot().proxies;
    assert!(proxies.iter().any(|proxy| proxy.id == "payment-0" && proxy.connected));
    bench.handle(Event::Gone { connection: again.connection });
    let proxies = bench.snapshot().proxies;
    assert!(proxies.iter().any(|proxy| proxy.id == "payment-0" && !proxy.connected));
}

/// Scenario: a lease runs out.
/// Guarantees: it is no longer shown as wished; what the proxies report afterwards is.
#[test]
fn a_lease_ends_by_itself() {
    let (mut bench, mut sidecars) = shop(1);
    bench.trip("t1", EDGE, ActionKind::Open, 5);
    let (connection, command) = bench.pushed().remove(0);
    bench.ack(connection, &command, AckResult::Applied);
    bench.advance(Duration::from_secs(6));
    let ramp = fusebox_proto::report::BreakerStatus {
        destination: service("inventory"),
        state: BreakerState::HalfOpen,
        cause: fusebox_proto::report::Cause::LeaseExpired,
        since_ms: 1_000,
        remaining_ms: Some(19_000),
        percent: Some(25),
        revision: command.revision,
        refused_total: 12,
        endpoint: String::new(),
        shadow: false,
        detail: String::new(),
        succeeded_total: 0,
    };
    bench.report_with(&mut sidecars[0], Vec::new(), Vec::new(), vec![ramp]);
    let breaker = bench.edge("payment", "inventory").breaker;
    assert_eq!((breaker.state, breaker.percent), (BreakerState::HalfOpen, Some(25)));
    bench.advance(Duration::from_secs(1));
    bench.report(&mut sidecars[0], Vec::new(), Vec::new());
    assert_eq!(bench.edge("payment", "inventory").breaker.state, BreakerState::Closed);
    assert!(bench.snapshot().breakers.is_empty());
}

/// Scenario: two of three proxies ejected an endpoint and count what a breaker would do, one of them
/// also what ejecting another endpoint would.
/// Guarantees: each is a row of its own that says who, and why with what was measured; what would have
/// been so says what it would have cost, on all proxies together; the circuit of the edge stays as it
/// is.
#[test]
fn endpoints_and_shadows_stand_beside_the_edge() {
    use fusebox_proto::report::{BreakerStatus, Cause};
    let (mut bench, mut sidecars) = shop(3);
    bench.advance(Duration::from_secs(1));
    let ejected = |remaining_ms| BreakerStatus {
        destination: service("inventory"),
        state: BreakerState::Open,
        cause: Cause::ConsecutiveFailures,
        since_ms: 500,
        remaining_ms: Some(remaining_ms),
        percent: None,
        revision: 0,
        refused_total: 0,
        endpoint: "10.0.0.7:80".to_owned(),
        shadow: false,
        detail: "consecutive_5xx: 5 of 5".to_owned(),
        succeeded_total: 0,
    };
    let counted = |refused_total| BreakerStatus {
        endpoint: String::new(),
        shadow: true,
        cause: Cause::SuccessWindow,
        refused_total,
        succeeded_total: refused_total - 2,
        detail: String::new(),
        ..ejected(1_000)
    };
    let unenforced = BreakerStatus {
        endpoint: "10.0.0.8:80".to_owned(),
        shadow: true,
        refused_total: 412,
        succeeded_total: 398,
        ..ejected(1_000)
    };
    let of_first = vec![ejected(20_000), counted(7), unenforced];
    bench.report_with(&mut sidecars[0], Vec::new(), Vec::new(), of_first);
    let of_second = vec![ejected(30_000), counted(5)];
    bench.report_with(&mut sidecars[1], Vec::new(), Vec::new(), of_second);
    bench.report(&mut sidecars[2], Vec::new(), Vec::new());
    let snapshot = bench.snapshot();
    let rows: Vec<_> = (snapshot.breakers.iter())
        .map(|row| (&*row.kind, row.endpoint.as_deref(), &*row.cause, row.applied, row.proxies))
        .collect();
    let expected = [
        ("service", None, "success_window", 2, 3),
        ("endpoint", Some("10.0.0.7:80"), "consecutive_failures", 2, 3),
        ("endpoint", Some("10.0.0.8:80"), "consecutive_failures", 1, 3),
    ];
    assert_eq!(rows, expected);
    let reasons = snapshot.breakers.iter().map(|row| row.reason.as_deref().unwrap());
    let expected = [
        "shadow: would have refused 12 attempts, of which 8 succeeded",
        "consecutive_5xx: 5 of 5",
        "shadow: would have sent 412 attempts elsewhere, of which 398 succeeded; \
         consecutive_5xx: 5 of 5",
    ];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    assert_eq!(snapshot.breakers[0].refused_total, 12);
    assert_eq!(snapshot.breakers[1].until.unwrap().0, bench.now.unix_ms + 30_000);
    assert_eq!(bench.edge("payment", "inventory").breaker.state, BreakerState::Closed);
    bench.advance(Duration::from_secs(1));
    bench.report(&mut sidecars[0], Vec::new(), Vec::new());
    bench.report(&mut sidecars[1], Vec::new(), Vec::new());
    assert_eq!(bench.snapshot().breakers, Vec::new());
}

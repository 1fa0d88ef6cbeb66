//! What is usual, over a restart of the collector.

use super::bench::{Bench, Sidecar, counts, inbound, window};
use super::keeping::{Disk, life};
use crate::engine::Output;
use crate::record::{Record, Restored};
use fusebox_proto::view::IncidentState;
use std::time::Duration;

const USUAL_US: u64 = 20_000;
const SLOW_US: u64 = 60_000;

/// Payment's proxy, and inventory's.
struct Pair(Sidecar, Sidecar);

fn connected(bench: &mut Bench) -> Pair {
    let payment = bench.connect("payment-0", "payment", &["inventory"]);
    Pair(payment, bench.connect("inventory-0", "inventory", &[]))
}

/// Seconds in which inventory takes so long; of each call a few percent differ.
fn seconds(bench: &mut Bench, disk: &mut Disk, pair: &mut Pair, n: u64, took_us: u64) {
    for _ in 0..n {
        bench.advance(Duration::from_secs(1));
        let edges = vec![window("inventory", counts(100, 0, 0), took_us + 1_000)];
        bench.report(&mut pair.0, edges, vec![inbound(100, 0, took_us + 2_000)]);
        bench.report(&mut pair.1, Vec::new(), vec![inbound(100, 0, took_us)]);
        disk.sync(bench);
    }
}

/// Seconds until there is an open incident, if it is within `most`.
fn found_after(bench: &mut Bench, disk: &mut Disk, pair: &mut Pair, most: u64) -> Option<u64> {
    (1..=most).find(|_| {
        seconds(bench, disk, pair, 1, SLOW_US);
        bench.snapshot().incidents.iter().any(|i| i.state == IncidentState::Open)
    })
}

/// Scenario: inventory gets slow while the collector is down; the next one begins with the history,
/// or with none; down for a minute, or for nine days.
/// Guarantees: what was usual is known: inventory is blamed as soon as without a restart, although
/// the new process has never seen it well. Without a history, or after more than a week, slow is
/// what is usual.
#[test]
fn what_was_usual_is_known_again() {
    let (mut bench, mut disk) = life();
    let mut pair = connected(&mut bench);
    seconds(&mut bench, &mut disk, &mut pair, 150, USUAL_US);
    assert_eq!(disk.restored.baselines.len(), 3, "two services and an edge");
    let without = found_after(&mut bench, &mut disk, &mut pair, 60).expect("it is slow");

    let after = |restored: &Restored, down: Duration| {
        let (mut bench, mut disk) = life();
        bench.restart_with(restored, down, 0);
        let mut pair = connected(&mut bench);
        let found = found_after(&mut bench, &mut disk, &mut pair, 90);
        let blamed = bench.snapshot().incidents.pop().and_then(|incident| incident.originator);
        found.map(|found| (found, blamed))
    };
    let known = Restored { incidents: Vec::new(), ..disk.restored };
    let (found, blamed) = after(&known, Duration::from_mins(1)).expect("it is found");
    assert!(found <= without + 5, "{found} s, without a restart {without} s");
    assert_eq!(blamed.as_deref(), Some("inventory"));
    assert_eq!(after(&Restored::default(), Duration::from_mins(1)), None);
    assert_eq!(after(&known, Duration::from_hours(9 * 24)), None);
}

/// Scenario: a collector is killed while inventory is slow, and comes back with its history while it
/// still is; then inventory is well again.
/// Guarantees: it is the same incident, with figures of now, and it ends as any other.
#[test]
fn an_open_regression_goes_on() {
    let (mut bench, mut disk) = life();
    let mut pair = connected(&mut bench);
    seconds(&mut bench, &mut disk, &mut pair, 150, USUAL_US);
    found_after(&mut bench, &mut disk, &mut pair, 60).expect("it is slow");
    let before = bench.incident();

    bench.restart_with(&disk.restored, Duration::from_secs(2), 0);
    let mut pair = connected(&mut bench);
    assert!(bench.incident().data_quality.note.contains("not seen since"), "{before:#?}");
    seconds(&mut bench, &mut disk, &mut pair, 29, SLOW_US);
    let back = bench.incident();
    assert_eq!((back.state, &back.id), (IncidentState::Open, &before.id));
    assert!(!back.data_quality.note.contains("not seen since"), "{back:#?}");
    seconds(&mut bench, &mut disk, &mut pair, 90, USUAL_US);
    let over = bench.incident();
    assert_eq!((over.state, &over.id), (IncidentState::Resolved, &before.id));
    assert!(!over.summary.contains("restarted"), "{}", over.summary);
}

/// Scenario: an hour of a steady mesh; then the process is told to end.
/// Guarantees: what is usual is kept once it is known, after twice as many minutes, and so on up to half
/// an hour, and at the end; not once a second.
#[test]
fn what_is_usual_is_kept_at_times() {
    let (mut bench, mut disk) = life();
    let mut pair = connected(&mut bench);
    let mut kept_at = Vec::new();
    let mut count = |bench: &Bench, second: u64| {
        let is_one =
            |output: &&Output| matches!(output, Output::Store { record: Record::Baseline(_), .. });
        let kept = bench.outputs.iter().filter(is_one).count() as u64;
        kept_at.extend((0..kept).map(|_| second));
    };
    for second in 1..=3_600 {
        bench.advance(Duration::from_secs(1));
        count(&bench, second);
        disk.sync(&mut bench);
        let edges = vec![window("inventory", counts(100, 0, 0), USUAL_US)];
        bench.report(&mut pair.0, edges, Vec::new());
        bench.report(&mut pair.1, Vec::new(), vec![inbound(100, 0, USUAL_US)]);
    }
    bench.engine.end(bench.now);
    bench.advance(Duration::ZERO);
    while let Some(output) = bench.engine.poll_output() {
        bench.outputs.push(output);
    }
    count(&bench, 3_600);
    disk.sync(&mut bench);
    let rounds: Vec<&[u64]> = kept_at.chunk_by(|a, b| a.abs_diff(*b) < 10).collect();
    assert!(rounds.iter().all(|round| round.len() == 2), "a service and an edge: {kept_at:?}");
    let minutes: Vec<u64> = rounds.iter().map(|round| round[0] / 60).collect();
    assert!(matches!(minutes[..], [1, 4, 6, 10, 20, 44, 60]), "{minutes:?}");
    let minutes = disk.restored.baselines.iter().map(|kept| kept.latency.usual.minutes);
    assert!(minutes.clone().all(|minutes| 55 <= minutes), "{:?}", minutes.collect::<Vec<_>>());
}

//! What the diagnosis of spans finds, live: one incident for a fault, from its beginning to its end.

use super::bench::{Bench, START_UNIX_MS};
use super::keeping::{Disk, life};
use crate::diagnose::tests::{CALM, T0_NS, Trouble, mesh_for};
use crate::engine::Event;
use crate::spans::{Rejected, Span, SpanBatch};
use fusebox_proto::view::{Incident, IncidentState};
use std::time::Duration;

/// Requests per second.
const PER_S: f64 = 8.0;
const SLOW: Trouble = Trouble { own: [1.0, 1.0, 5.0, 1.0], ..CALM };
const FAILING: Trouble = Trouble { failing: 0.4, ..CALM };

/// Lets spans come as they end, from one second to another. `each` sees what follows each second.
fn play(
    bench: &mut Bench,
    spans: &[Span],
    (from_s, to_s): (u64, u64),
    mut each: impl FnMut(&mut Bench),
) {
    for second in from_s..to_s {
        let is_in = |span: &&Span| (span.end_unix_ns - T0_NS) / 1_000_000_000 == second;
        let moved = |at_ns: u64| at_ns - T0_NS + START_UNIX_MS * 1_000_000;
        let at_start = |span: &Span| Span {
            start_unix_ns: moved(span.start_unix_ns),
            end_unix_ns: moved(span.end_unix_ns),
            ..span.clone()
        };
        let spans = spans.iter().filter(is_in).map(at_start).collect();
        bench.advance(Duration::from_secs(1));
        let batch = SpanBatch { spans, rejected: Rejected::default() };
        bench.handle(Event::Spans { sender: None, batch });
        each(bench);
    }
}

/// A fault from 200 s to 320 s, of 480 s.
fn faulty(trouble: Trouble) -> Vec<Span> {
    mesh_for(480, 1, PER_S, |at_s| if (200.0..320.0).contains(&at_s) { trouble } else { CALM })
}

fn since_start_s(at_ms: u64) -> u64 {
    (at_ms - START_UNIX_MS) / 1_000
}

/// Scenario: a store is slow, or fails, for two minutes; nobody has a proxy.
/// Guarantees: nobody is accused before; within 90 s there is one incident, of the right kind, that
/// names the store, who waits for it, and figures of before and now, from spans; it is over within
/// 90 s of the fault, and stays so.
#[test]
fn a_fault_is_one_incident_from_begin_to_end() {
    let check = |trouble: Trouble, kind: &str, unit: &str| {
        let spans = faulty(trouble);
        let mut bench = Bench::new();
        let mut opened: Option<Incident> = None;
        play(&mut bench, &spans, (0, 480), |bench| {
            let open = |it: &Incident| it.state == IncidentState::Open;
            opened = opened.take().or_else(|| bench.snapshot().incidents.into_iter().find(open));
        });
        let opened = opened.expect(kind);
        let incidents = bench.snapshot().incidents;
        assert_eq!(incidents.len(), 1, "{incidents:#?}");
        assert_eq!((&*opened.kind, opened.originator.as_deref()), (kind, Some("store")));
        assert_eq!(opened.victim.as_deref(), Some("cart"));
        assert_eq!(opened.suspects[0].service, "store");
        assert!((200..290).contains(&since_start_s(opened.opened_at.0)), "{opened:#?}");
        let first = &opened.evidence[0];
        assert!(first.unit == unit && first.baseline < first.current, "{first:?}");
        assert_eq!(opened.data_quality.source, "spans");
        assert!(opened.summary.starts_with("store "), "{}", opened.summary);
        assert!(opened.action.is_none());
        let resolved = incidents[0].resolved_at.expect("it is over");
        assert!((320..410).contains(&since_start_s(resolved.0)), "{:#?}", incidents[0]);
        assert_eq!(incidents[0].id, opened.id);
    };
    check(SLOW, "latency_regression", "ms");
    check(FAILING, "error_surge", "%");
}

/// Scenario: the same with a proxy beside the store.
/// Guarantees: spans accuse nobody where proxies count.
#[test]
fn where_proxies_count_spans_accuse_nobody() {
    let mut bench = Bench::new();
    bench.connect("store-0", "store", &[]);
    play(&mut bench, &faulty(SLOW), (0, 320), |_| ());
    assert!(bench.snapshot().incidents.is_empty(), "{:#?}", bench.snapshot().incidents);
}

/// Scenario: a collector dies while a store is slow or fails, and comes back with its history, but
/// without the spans of before; the fault goes on.
/// Guarantees: the incident is still there; as nothing tells whether it goes on, it ends with a
/// note, and nobody else is accused.
#[test]
fn a_restart_ends_what_nobody_can_follow() {
    let check = |trouble: Trouble| {
        let spans = faulty(trouble);
        let (mut bench, mut disk): (Bench, Disk) = life();
        play(&mut bench, &spans, (0, 300), |bench| disk.sync(bench));
        let [before] = &bench.snapshot().incidents[..] else { panic!("there is one") };
        assert_eq!(before.state, IncidentState::Open);
        bench.restart_with(&disk.restored, Duration::from_secs(1), 0);
        let [back] = &bench.snapshot().incidents[..] else { panic!("it is kept") };
        assert_eq!((back.state, &back.id), (IncidentState::Open, &before.id));
        play(&mut bench, &spans, (301, 350), |_| ());
        let [after] = &bench.snapshot().incidents[..] else { panic!("there is no other") };
        assert_eq!(after.state, IncidentState::Resolved);
        assert!(after.summary.contains("restarted"), "{}", after.summary);
    };
    check(SLOW);
    check(FAILING);
}

/// Scenario: a store is slow, or fails, from 100 s on; each service sends its spans in batches of five
/// seconds, and someone asks for a diagnosis each second.
/// Guarantees: nobody is suspected before; within 8 s the store is the first suspect, and stays it.
#[test]
fn whoever_asks_is_told_at_once() {
    let check = |trouble: Trouble| {
        let faulty = |at_s: f64| if 100.0 <= at_s { trouble } else { CALM };
        let spans = mesh_for(120, 1, PER_S, faulty);
        let mut bench = Bench::new();
        for second in 1..=118 {
            bench.advance(Duration::from_secs(1));
            let batch = SpanBatch { spans: batch(&spans, second), rejected: Rejected::default() };
            bench.handle(Event::Spans { sender: None, batch });
            if (..85).contains(&second) {
                continue;
            }
            let diagnosis = bench.engine.glance().diagnose(None).expect("there are spans");
            let first = diagnosis.suspects.first().map(|first| &*first.service);
            match second {
                ..=102 => assert_eq!(first, None, "{second} s: {diagnosis:?}"),
                103..=107 => assert!(first.is_none_or(|it| it == "store"), "{second} s: {first:?}"),
                108.. => assert_eq!(first, Some("store"), "{second} s"),
            }
        }
    };
    check(SLOW);
    check(FAILING);
}

/// What a service sends in this second: all that ended in the five before, every five seconds.
fn batch(spans: &[Span], second: u64) -> Vec<Span> {
    let is_due = |span: &&Span| {
        let phase = span.origin.service.name().len() as u64;
        let ended_s = (span.end_unix_ns - T0_NS) / 1_000_000_000;
        (second + phase).is_multiple_of(5) && (second.saturating_sub(5)..second).contains(&ended_s)
    };
    let moved = |at_ns: u64| at_ns - T0_NS + START_UNIX_MS * 1_000_000;
    let at_start = |span: &Span| Span {
        start_unix_ns: moved(span.start_unix_ns),
        end_unix_ns: moved(span.end_unix_ns),
        ..span.clone()
    };
    spans.iter().filter(is_due).map(at_start).collect()
}

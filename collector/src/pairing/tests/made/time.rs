//! When things are told, and at which time they are placed.

use super::*;

/// A pairing that saw one good call of a > b at `b:1`, told at `start`.
fn after_one_call(start: Now) -> Pairing {
    let mut pairing = Pairing::new();
    let mut call = [client("a", 1, 0, 0, 9).http("/x").to("b:1"), server("b", 2, 1, 1, 8)];
    for draft in &mut call {
        draft.0.trace_id = TraceId::from_bytes(&[1; 16]).unwrap();
    }
    pairing.handle(start, batch(call), &mut Vec::new());
    pairing
}

/// Scenario: a client span alone: of a known address, of a database, and of an unknown address.
/// Guarantees: the first two are told at once, the third after the reorder window and not before.
#[test]
fn attempts_are_told_as_soon_as_the_callee_is_known() {
    let start = Now::read();
    let mut pairing = after_one_call(start);
    let edges = |out: &[Observation]| Sums::of(out).edges();
    let mut out = Vec::new();
    pairing.handle(
        start,
        batch([client("a", 3, 0, 20, 29).http("/x").to("b:1").error()]),
        &mut out,
    );
    assert_eq!(edges(&out), ["a > b: 1 first; 1 failure"]);
    out.clear();
    pairing.handle(start, batch([client("a", 4, 0, 20, 29).db("sqlite")]), &mut out);
    assert_eq!(edges(&out), ["a > sqlite: 1 first; 1 success"]);
    out.clear();
    pairing.handle(start, batch([client("a", 5, 0, 20, 29).http("/x").to("c:1")]), &mut out);
    run_until(&mut pairing, start.plus(Duration::from_secs(6)), &mut out);
    assert_eq!(edges(&out), [""; 0]);
    run_until(&mut pairing, start.plus(Duration::from_secs(8)), &mut out);
    assert_eq!(edges(&out), ["a > c:1: 1 first; 1 success"]);
}

/// Scenario: an address that led to b now leads to c, whose span comes late.
/// Guarantees: what was told of b is taken back.
#[test]
fn a_wrong_guess_is_taken_back() {
    let start = Now::read();
    let mut pairing = after_one_call(start);
    let mut out = Vec::new();
    pairing.handle(start, batch([client("a", 3, 0, 20, 29).http("/x").to("b:1")]), &mut out);
    assert_eq!(Sums::of(&out).edges(), ["a > b: 1 first; 1 success"]);
    pairing.handle(start, batch([server("c", 4, 3, 21, 28)]), &mut out);
    assert_eq!(Sums::of(&out).edges(), ["a > c: 1 first; 1 success"]);
    assert!(out.iter().any(|it| matches!(it, Observation::Corrected { is: None, .. })));
}

/// Scenario: senders with a good clock, one an hour behind and one a minute ahead.
/// Guarantees: an attempt is placed at the end of its span on a good clock, and near its arrival
/// otherwise; the time between two spans of one sender is kept.
#[test]
fn wrong_clocks_are_corrected() {
    let check = |behind_ms: i64, expected: [i64; 2]| {
        let start = Now::read();
        let mut pairing = after_one_call(start);
        let mut out = Vec::new();
        let end =
            |before_ms: i64| start.unix_ms.checked_add_signed(-behind_ms - before_ms).unwrap();
        let call = |id, before_ms| {
            let mut draft = client("a", id, 0, 0, 0).http("/x").to("b:1");
            draft.0.start_unix_ns = end(before_ms) * 1_000_000;
            draft.0.end_unix_ns = draft.0.start_unix_ns;
            Arc::make_mut(&mut draft.0.origin).instance = Some("new".into());
            draft
        };
        pairing.handle(start, batch([call(3, 2_500), call(4, 500)]), &mut out);
        let placed: Vec<i64> = out
            .iter()
            .filter_map(|it| match it {
                Observation::Attempt { at_unix_ms, .. } => {
                    Some(at_unix_ms.cast_signed() - start.unix_ms.cast_signed())
                }
                _ => None,
            })
            .collect();
        assert_eq!(placed, expected, "{behind_ms} ms behind");
    };
    check(0, [-2_500, -500]);
    check(3_600_000, [-2_000, 0]);
    check(-60_000, [-2_000, 0]);
}

/// Scenario: attempts of both shapes, of known lengths.
/// Guarantees: latency is the client's where it made one attempt, the callee's where its library
/// made several, and never longer than the client waited.
#[test]
fn latencies() {
    let check = |spans: &[Draft], expected: &[u64]| {
        let mut latencies: Vec<u64> = told(vec![(0.0, batch(spans.iter().cloned()))])
            .iter()
            .filter_map(|it| match it {
                Observation::Attempt { latency_us, .. } => *latency_us,
                _ => None,
            })
            .collect();
        latencies.sort_unstable();
        assert_eq!(latencies, expected);
    };
    check(&[client("a", 1, 0, 0, 9), server("b", 2, 1, 1, 8)], &[9_000]);
    check(
        &[
            client("a", 1, 0, 0, 700).http("/r").error(),
            server("b", 2, 1, 1, 5).http("/r").status(503),
            server("b", 3, 1, 101, 9_000).http("/r").status(200),
            server("b", 4, 1, 401, 9_000).http("/r").status(200),
        ],
        &[4_000, 300_000, 300_000],
    );
}

/// Scenario: spans sampled at one in four.
/// Guarantees: each attempt and request weighs four.
#[test]
fn sampled_spans_are_weighted() {
    let mut spans = [client("a", 1, 0, 0, 9), server("b", 2, 1, 1, 8)];
    for draft in &mut spans {
        draft.0.weight = 4.0;
    }
    let sums = sums(batch(spans));
    assert_eq!(sums.edges(), ["a > b: 4 first; 4 success"]);
    assert_eq!(sums.served_total(), 4);
}

/// Scenario: a server span within another of one process, and one of a root.
/// Guarantees: each request is served once.
#[test]
fn layers_of_one_request_are_served_once() {
    let whole = sums(batch([
        server("a", 1, 0, 0, 9).remote(false),
        server("a", 2, 1, 1, 8).remote(false),
        server("b", 3, 9, 1, 8).remote(true),
        server("b", 4, 3, 1, 8).by(Emitter::Envoy),
    ]));
    assert_eq!(whole.served_total(), 2);
}

/// Scenario: a trace of more spans than one may have, and more traces than there is place for.
/// Guarantees: the table stays within its bounds, what was cut is counted, and each attempt is
/// still told once.
#[test]
fn the_table_is_bounded() {
    let start = Now::read();
    let many = |count: u64, one_trace: bool| {
        batch((0..count).map(|n| {
            let mut draft = client("a", 1, 0, 0, 1).db("sqlite");
            draft.0.span_id = SpanId::from_bytes(&(n + 1).to_be_bytes()).unwrap();
            if !one_trace {
                let id = u128::from(n + 1).to_be_bytes();
                draft.0.trace_id = TraceId::from_bytes(&id).unwrap();
            }
            draft
        }))
    };
    let count = TRACE_SPANS_MAX as u64 + 10;
    let mut out = Vec::new();
    let mut pairing = Pairing::new();
    pairing.handle(start, many(count, true), &mut out);
    assert_eq!((pairing.spans_held, pairing.dropped().traces_cut), (10, 1));
    assert_eq!(Sums::of(&out).attempts_total(), count);
    out.clear();
    let mut pairing = Pairing { spans_max: 100, ..Pairing::new() };
    pairing.handle(start, many(150, false), &mut out);
    assert_eq!((pairing.spans_held, pairing.dropped().spans), (100, 50));
    run_until(&mut pairing, start.plus(Duration::from_mins(1)), &mut out);
    assert_eq!(pairing.spans_held, 0);
    assert_eq!(Sums::of(&out).attempts_total(), 150);
}

/// Scenario: an exporter resends a batch a minute later, when its trace is long forgotten.
/// Guarantees: it counts for nothing.
#[test]
fn a_resent_batch_is_not_counted_twice() {
    let spans = || batch([client("a", 1, 0, 0, 9), server("b", 2, 1, 1, 8)]);
    let out = told(vec![(0.0, spans()), (60.0, spans())]);
    assert_eq!(Sums::of(&out), sums(spans()));
}

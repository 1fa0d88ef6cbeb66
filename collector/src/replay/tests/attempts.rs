//! What went over an edge, attempt by attempt.

use super::*;
use fusebox_proto::Edge;
use std::collections::BTreeSet;

const SECOND_US: u64 = 1_000_000;

fn edge() -> Edge {
    let [source, destination] = ["shop", "stock"].map(|name| ServiceId::named(name).unwrap());
    Edge::new(source, destination)
}

fn crossed(recording: &Recording) -> Crossings {
    let edges = BTreeSet::from([edge()]);
    let mut all = crossings(recording, Now::read(), &edges);
    all.remove(&edge()).expect("something crossed it")
}

/// A call of `shop` to `stock` with the status of its answer.
fn call(trace: u64, id: u64, status: u16, times: (u64, u64)) -> String {
    let attributes = format!(
        r#""attributes":[{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},{{"key":"url.full","value":{{"stringValue":"http://stock/1"}}}},{{"key":"http.response.status_code","value":{{"intValue":"{status}"}}}}],"events""#
    );
    span("shop", trace, id, 1, 3, times).replace("\"events\"", &attributes)
}

/// Scenario: a minute in which a proxy counted 50 attempts a second that succeeded, and one in which it
/// counted 50 and 250 repetitions of them a second, all of which failed; a report came twice.
/// Guarantees: every attempt once, in its second, evenly spread, repetitions evenly among the first
/// ones; each with its end.
#[test]
fn windows_are_spread_evenly() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = storm();
    lines.push(lines[70].clone());
    let crossed = crossed(&load(&[file(&folder, "storm", &lines)]).unwrap());
    assert_eq!((crossed.source, crossed.proxies, crossed.refused), (Source::Proxies, 1, 0));
    let attempts = &crossed.attempts;
    assert_eq!(attempts.len(), 60 * 50 + 60 * 300);
    let start_us = START_NS / 1_000;
    for second in 0..120 {
        let of_second: Vec<&Attempt> = attempts
            .iter()
            .filter(|attempt| (attempt.sent_unix_us - start_us) / SECOND_US == second)
            .collect();
        let (count, end) = if second < 60 { (50, End::Success) } else { (300, End::Failure) };
        assert_eq!(of_second.len(), count, "{second}");
        assert!(of_second.iter().all(|attempt| attempt.end.unwrap().1 == end), "{second}");
        let gap_us = SECOND_US / count as u64;
        let gaps = of_second.windows(2).map(|two| two[1].sent_unix_us - two[0].sent_unix_us);
        assert!(gaps.into_iter().all(|gap| gap.abs_diff(gap_us) <= 1), "{second}");
        let firsts = |some: &[&Attempt]| some.iter().filter(|it| it.kind == Kind::First).count();
        let share = if second < 60 { 6 } else { 1 };
        assert!(of_second.chunks_exact(6).all(|six| firsts(six) == share), "{second}");
    }
}

/// Scenario: the same by a proxy whose clock is an hour behind that of its collector.
/// Guarantees: the attempts are where they were by the collector's, as everything that is judged.
#[test]
fn a_wrong_clock_moves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let read = |behind_ms| {
        let file = file(&folder, "storm", &storm_by(behind_ms));
        crossed(&load(&[file]).unwrap())
    };
    assert!(read(3_600_000) == read(0));
}

/// Scenario: a proxy counts more attempts in a second than are spread at once.
/// Guarantees: those are left out and counted; the others are there.
#[test]
fn what_is_too_much_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = storm();
    let counts = v1::EdgeCounts { first_attempts: 1 << 40, ..Default::default() };
    let edge = v1::EdgeWindow {
        destination: Some(wire("stock")),
        counts: Some(counts),
        ..Default::default()
    };
    let report = v1::Report {
        boot: 1,
        number: 500,
        start_unix_ms: START_NS / MS + 120_000,
        duration_ms: 1_000,
        edges: vec![edge],
        ..Default::default()
    };
    lines.insert(121, said(121, v1::proxy_message::Kind::Report(report)));
    let crossed = crossed(&load(&[file(&folder, "storm", &lines)]).unwrap());
    assert_eq!((crossed.attempts.len(), crossed.left_out), (21_000, 1 << 40));
}

/// Scenario: calls that succeed; one that is tried three times; and one that is sent again while it
/// runs, and the second answer comes first.
/// Guarantees: each attempt with the time of its sending and of its end, as what it turned out to be;
/// of those that were told too early, so many of each sort as there were.
#[test]
fn spans_tell_attempt_by_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let tried = [
        span("shop", 900, 1, 0, 2, (5_000, 5_200)),
        call(900, 2, 503, (5_010, 5_020)),
        call(900, 3, 503, (5_030, 5_045)),
        call(900, 4, 200, (5_060, 5_070)),
        span("stock", 900, 5, 2, 2, (5_011, 5_019)),
        span("stock", 900, 6, 3, 2, (5_031, 5_044)),
        span("stock", 900, 7, 4, 2, (5_061, 5_069)),
    ];
    let hedged = [
        span("shop", 901, 1, 0, 2, (6_000, 6_500)),
        call(901, 2, 200, (6_010, 6_410)),
        call(901, 3, 200, (6_060, 6_110)),
        span("stock", 901, 4, 2, 2, (6_020, 6_400)),
        span("stock", 901, 5, 3, 2, (6_070, 6_100)),
    ];
    let lines = [shop(0, 4), tried.to_vec(), hedged.to_vec()].concat();
    let crossed = crossed(&load(&[file(&folder, "spans", &lines)]).unwrap());
    assert_eq!((crossed.source, crossed.proxies), (Source::Spans, 0));
    let start_us = START_NS / 1_000;
    let told = crossed.attempts.iter().map(|attempt| {
        let (at, end) = attempt.end.unwrap();
        ((attempt.sent_unix_us - start_us) / 1_000, (at - start_us) / 1_000, attempt.kind, end)
    });
    let calm = (0..40).map(|n| (n * 100 + 10, n * 100 + 50, Kind::First, End::Success));
    let wanted = calm.chain([
        (5_010, 5_020, Kind::First, End::Failure),
        (5_030, 5_045, Kind::Retry, End::Failure),
        (5_060, 5_070, Kind::Retry, End::Success),
    ]);
    let (told, wanted): (Vec<_>, Vec<_>) = (told.collect(), wanted.collect());
    assert_eq!(told[..wanted.len()], wanted);
    let sorts = told[wanted.len()..].iter().map(|(_, _, kind, end)| (*kind, *end));
    let mut sorts: Vec<_> = sorts.collect();
    sorts.sort_unstable();
    assert_eq!(sorts, [(Kind::First, End::Success), (Kind::Hedge, End::Success)]);
}

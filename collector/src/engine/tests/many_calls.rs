//! Requests that make many calls each.

use super::bench::{Bench, counts, inbound, window};
use super::otlp::{CLIENT, MS, SERVER, Teller, of, send};
use fusebox_proto::view::Advisory;
use std::time::Duration;

/// One second of payment's requests, each with so many calls of inventory after each other.
fn second(bench: &mut Bench, teller: &mut Teller, requests: &[u64]) {
    bench.advance(Duration::from_secs(1));
    let (mut callers, mut callees) = (Vec::new(), Vec::new());
    for calls in requests {
        let trace = teller.trace();
        let request = teller.span(bench, &trace, SERVER, &[]);
        for nth in 0..*calls {
            let back = (calls - nth) * 6 * MS;
            let mut call = teller.span(bench, &trace, CLIENT, &request.span_id);
            let mut served = teller.span(bench, &trace, SERVER, &call.span_id);
            for span in [&mut call, &mut served] {
                span.start_time_unix_nano -= back;
                span.end_time_unix_nano -= back;
            }
            callers.push(call);
            callees.push(served);
        }
        callers.push(request);
    }
    send(bench, vec![of("payment", callers), of("inventory", callees)]);
}

/// Scenario: ten seconds in which each request makes one call, ten in which some make six, and then none.
/// Guarantees: where three or more do, and their calls are a good part of all, it is told a second after
/// the third: who calls whom how often for what and since when; it ends a quarter of a minute after the
/// last, and is no incident; a few among many are not told.
#[test]
fn many_calls_of_each_request_are_an_advisory() {
    let check = |many: &[u64], expected_s: Option<u64>| {
        let (mut bench, mut teller) = (Bench::new(), Teller::default());
        let started_ms = bench.now.unix_ms;
        let mut told: Vec<(u64, Advisory)> = Vec::new();
        for at_s in 0..60 {
            let requests = if (10..20).contains(&at_s) { many } else { &[1, 1] };
            second(&mut bench, &mut teller, requests);
            let snapshot = bench.snapshot();
            assert!(snapshot.incidents.is_empty(), "{:#?}", snapshot.incidents);
            told.extend(snapshot.advisories.into_iter().map(|advisory| (at_s, advisory)));
        }
        let first_s = told.first().map(|(at_s, _)| *at_s);
        assert_eq!(first_s, expected_s, "{many:?}");
        let Some((last_s, advisory)) = told.pop() else { return };
        assert!((28..36).contains(&last_s), "{last_s}");
        assert_eq!(advisory.kind, "n_plus_one");
        let edge = (&*advisory.source, &*advisory.destination);
        assert_eq!(edge, ("payment", "inventory"));
        let words = "payment calls inventory 6 times in a row for one request: GET /stock";
        assert_eq!(advisory.summary, words);
        assert!((started_ms + 9_000..started_ms + 12_000).contains(&advisory.since.0));
    };
    check(&[6, 6, 6], Some(11));
    check(&[6, 1], Some(13));
    check(&[1, 1, 6].repeat(2), Some(12));
    check(&[4, 4, 4], None);
    let mut few = vec![1; 300];
    few.push(6);
    check(&few, None);
}

/// Scenario: for a minute each request makes six calls, or one in twenty does; payment's proxy counts
/// ten times as many attempts as traces tell of, which do not say so.
/// Guarantees: the former is told within a quarter of a minute and then always, the latter never.
#[test]
fn sampled_traces_are_compared_with_themselves() {
    let check = |requests: &[u64], is_many: bool| {
        let (mut bench, mut teller) = (Bench::new(), Teller::default());
        let mut sidecar = bench.connect("payment-0", "payment", &["inventory"]);
        for at_s in 0..60 {
            second(&mut bench, &mut teller, requests);
            let attempts = 10 * requests.iter().sum::<u64>();
            let edge = window("inventory", counts(attempts, 0, 0), 5_000);
            let served = inbound(10 * requests.len() as u64, 0, 40_000);
            bench.report(&mut sidecar, vec![edge], vec![served]);
            let told = bench.snapshot().advisories;
            assert_eq!(told.len(), usize::from(is_many && 15 <= at_s), "{at_s} s: {told:#?}");
        }
    };
    check(&[6, 6], true);
    check(&[vec![1; 57], vec![6]].concat(), false);
}

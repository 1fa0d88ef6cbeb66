//! Who asks of their own accord.

use super::bench::Bench;
use super::otlp::{CLIENT, MS, SERVER, Teller, of, send, status};
use fusebox_proto::view::Advisory;
use std::time::Duration;

/// When in a second email asks, ms; and how it ends.
type Second<'a> = (&'a [u64], i64);

fn second(bench: &mut Bench, teller: &mut Teller, (asks_ms, code): Second<'_>, is_asked: bool) {
    bench.advance(Duration::from_secs(1));
    let (mut callers, mut callees) = (Vec::new(), Vec::new());
    for at_ms in asks_ms {
        let trace = teller.trace();
        let request = is_asked.then(|| teller.span(bench, &trace, SERVER, &[]));
        let above = request.as_ref().map(|request| request.span_id.clone()).unwrap_or_default();
        let mut call = teller.span(bench, &trace, CLIENT, &above);
        let mut served = teller.span(bench, &trace, SERVER, &call.span_id);
        for span in [&mut call, &mut served] {
            span.start_time_unix_nano -= (1_000 - at_ms) * MS;
            span.end_time_unix_nano -= (1_000 - at_ms) * MS;
            span.attributes.retain(|attribute| attribute.key != status(code).key);
            span.attributes.push(status(code));
        }
        callers.extend(request);
        callers.push(call);
        callees.push(served);
    }
    send(bench, vec![of("email", callers), of("ledger", callees)]);
}

/// Scenario: for ten seconds email asks ledger, for nobody's request, in even steps, with success and
/// without; every second; in steps of chance; for requests of others; then it is quiet.
/// Guarantees: even steps without a request are told with their length while ten are known of a quarter
/// of a minute; nothing else is; no incident.
#[test]
fn even_steps_for_nobody_are_polling() {
    let check = |(name, asks): (&str, Second<'_>), is_asked: bool, expected: Option<(u64, u64)>| {
        let (mut bench, mut teller) = (Bench::new(), Teller::default());
        let mut told: Vec<(u64, Advisory)> = Vec::new();
        for at_s in 0..60 {
            let asks = if (10..20).contains(&at_s) { asks } else { (&[][..], 200) };
            second(&mut bench, &mut teller, asks, is_asked);
            let snapshot = bench.snapshot();
            assert!(snapshot.incidents.is_empty(), "{name}: {:#?}", snapshot.incidents);
            told.extend(snapshot.advisories.into_iter().map(|advisory| (at_s, advisory)));
        }
        let first_s = told.first().map(|(at_s, _)| *at_s);
        assert_eq!(first_s, expected.map(|(first_s, _)| first_s), "{name}: {told:#?}");
        let Some((last_s, advisory)) = told.pop() else { return };
        let every_ms = expected.expect("told").1;
        let words = format!("email asks ledger every {every_ms} ms of its own accord: GET /stock");
        assert_eq!((&*advisory.kind, advisory.summary), ("polling", words), "{name}");
        assert!((20..36).contains(&last_s), "{name}: {last_s}");
    };
    let tenths: Vec<u64> = (0..10).map(|nth| nth * 100 + (nth * 7) % 11).collect();
    check(("even", (&tenths, 200)), false, Some((11, 100)));
    check(("even, and it fails", (&tenths, 503)), false, Some((11, 100)));
    check(("every second", (&[400], 200)), false, Some((20, 1_000)));
    check(("by chance", (&[10, 30, 240, 310, 560, 600, 610, 790, 930, 950], 200)), false, None);
    check(("for somebody", (&tenths, 200)), true, None);
}

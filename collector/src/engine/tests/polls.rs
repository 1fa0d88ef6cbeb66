//! Who asks of their own accord.

use super::bench::Bench;
use super::otlp::{CLIENT, MS, SERVER, Teller, of, send, status};
use fusebox_proto::view::Advisory;
use opentelemetry_proto::tonic::trace::v1::Span;
use std::time::Duration;

/// When in a second email asks, ms; and how it ends.
type Second<'a> = (&'a [u64], i64);

/// What is above a question.
#[derive(Clone, Copy, PartialEq)]
enum Above {
    Nothing,
    /// A span that nobody sends.
    Unseen,
    Request,
    /// A request of which the span comes with the next batch.
    Later,
}

/// One second; `batch` comes at the end of every fifth.
fn second(
    bench: &mut Bench,
    teller: &mut Teller,
    (asks_ms, code): Second<'_>,
    (above, batch): (Above, &mut Vec<Span>),
) {
    bench.advance(Duration::from_secs(1));
    let (mut callers, mut callees) = (Vec::new(), Vec::new());
    for at_ms in asks_ms {
        let trace = teller.trace();
        let request = teller.span(bench, &trace, SERVER, &[]);
        let parent = if above == Above::Nothing { Vec::new() } else { request.span_id.clone() };
        let mut call = teller.span(bench, &trace, CLIENT, &parent);
        let mut served = teller.span(bench, &trace, SERVER, &call.span_id);
        for span in [&mut call, &mut served] {
            span.start_time_unix_nano -= (1_000 - at_ms) * MS;
            span.end_time_unix_nano -= (1_000 - at_ms) * MS;
            span.attributes.retain(|attribute| attribute.key != status(code).key);
            span.attributes.push(status(code));
        }
        match above {
            Above::Nothing | Above::Unseen => (),
            Above::Request => callers.push(request),
            Above::Later => batch.push(request),
        }
        callers.push(call);
        callees.push(served);
    }
    if (bench.now.unix_ms / 1_000).is_multiple_of(5) {
        callers.append(batch);
    }
    send(bench, vec![of("email", callers), of("ledger", callees)]);
}

/// Scenario: for ten seconds email asks ledger, for nobody's request, in even steps, with success and
/// without, from a job with a span that nobody sends; every second; in steps of chance; for requests
/// of others, of which the span comes with the call or seconds later; then it is quiet.
/// Guarantees: even steps without a request are told with their length while ten are known of a third
/// of a minute, at once or as soon as nothing more can come; nothing else is; no incident.
#[test]
fn even_steps_for_nobody_are_polling() {
    let check = |(name, asks): (&str, Second<'_>), above: Above, expected: Option<(u64, u64)>| {
        let (mut bench, mut teller) = (Bench::new(), Teller::default());
        let mut told: Vec<(u64, Advisory)> = Vec::new();
        let mut batch = Vec::new();
        for at_s in 0..60 {
            let asks = if (10..20).contains(&at_s) { asks } else { (&[][..], 200) };
            second(&mut bench, &mut teller, asks, (above, &mut batch));
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
        assert!((20..41).contains(&last_s), "{name}: {last_s}");
    };
    let tenths: Vec<u64> = (0..10).map(|nth| nth * 100 + (nth * 7) % 11).collect();
    check(("even", (&tenths, 200)), Above::Nothing, Some((11, 100)));
    check(("even, and it fails", (&tenths, 503)), Above::Nothing, Some((11, 100)));
    check(("from an unseen job", (&tenths, 200)), Above::Unseen, Some((17, 100)));
    check(("every second", (&[400], 200)), Above::Nothing, Some((20, 1_000)));
    let by_chance = [10, 30, 240, 310, 560, 600, 610, 790, 930, 950];
    check(("by chance", (&by_chance, 200)), Above::Nothing, None);
    check(("for somebody", (&tenths, 200)), Above::Request, None);
    check(("for somebody, told later", (&tenths, 200)), Above::Later, None);
}

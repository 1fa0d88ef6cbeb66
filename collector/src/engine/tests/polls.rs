//! Who asks of their own accord.

use super::bench::Bench;
use super::otlp::{CLIENT, MS, SERVER, Teller, of, of_instance, send, status, text_of};
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

/// A question of email's to ledger for nobody's request.
struct Ask {
    instance: usize,
    path: String,
    /// When in the second, ms.
    at_ms: u64,
    took_ms: u64,
}

/// Sends the questions of a second.
fn ask(bench: &mut Bench, teller: &mut Teller, asks: Vec<Ask>) {
    bench.advance(Duration::from_secs(1));
    let (mut callers, mut callees) = (Vec::new(), Vec::new());
    for ask in asks {
        let trace = teller.trace();
        let mut call = teller.span(bench, &trace, CLIENT, &[]);
        let mut served = teller.span(bench, &trace, SERVER, &call.span_id);
        for span in [&mut call, &mut served] {
            span.start_time_unix_nano = (bench.now.unix_ms - 2_000 + ask.at_ms) * MS;
            span.end_time_unix_nano = span.start_time_unix_nano + ask.took_ms * MS;
            span.attributes.retain(|attribute| attribute.key != "url.full");
            let url = format!("http://stock{}", ask.path);
            span.attributes.push(text_of("url.full", &url));
        }
        call.name = "GET".into();
        let mut caller = of_instance("email", &format!("email-{}", ask.instance), vec![call]);
        let resource = caller.resource.iter_mut();
        resource.for_each(|of| of.attributes.retain(|it| it.key != "service.version"));
        callers.push(caller);
        callees.push(served);
    }
    callers.push(of("ledger", callees));
    send(bench, callers);
}

/// What is told at the end of 20 s in which email asks so.
fn told(asks: impl Fn(u64) -> Vec<Ask>) -> (Vec<String>, Option<u64>) {
    let (mut bench, mut teller) = (Bench::new(), Teller::default());
    for at_s in 0..20 {
        ask(&mut bench, &mut teller, asks(at_s));
    }
    let snapshot = bench.snapshot();
    let words = snapshot.advisories.into_iter().map(|advisory| advisory.summary).collect();
    (words, snapshot.status.collector.dropped.get("instances").copied())
}

/// The questions of second `at_s` of who asks every `every_ms`, beginning at `from_ms`.
fn every((from_ms, every_ms): (u64, u64), took_ms: u64, path: &str, at_s: u64) -> Vec<Ask> {
    let asked = (from_ms..).step_by(every_ms as usize).take_while(|at| *at < (at_s + 1) * 1_000);
    let asks = asked.filter_map(|at| {
        let path = path.replace('#', &at.to_string());
        Some(Ask { instance: 0, path, at_ms: at.checked_sub(at_s * 1_000)?, took_ms })
    });
    asks.collect()
}

/// Scenario: one instance has two jobs: one asks every 300 ms, the other for something else every
/// 700 ms; or one job asks every 500 ms for what is new since it asked last.
/// Guarantees: the shorter step of two jobs is told; and so is one that asks for another thing each
/// time.
#[test]
fn jobs_are_told_apart_by_what_they_ask_for() {
    let two = |at_s| {
        let mut asks = every((0, 300), 5, "/stock/1", at_s);
        asks.extend(every((137, 700), 5, "/stock/2", at_s));
        asks
    };
    let words = |every_ms| format!("email asks ledger every {every_ms} ms of its own accord: GET");
    assert_eq!(told(two), (vec![words(300)], None));
    assert_eq!(told(|at_s| every((0, 500), 5, "/new?since=#", at_s)), (vec![words(500)], None));
}

/// Scenario: a job asks every 100 ms, and each answer takes 40, 60 or 99 ms; and every 10 ms with
/// answers of 1 ms.
/// Guarantees: who waits for longer than he works polls; a job that works is none, nor is what is too
/// fast to be told from chance.
#[test]
fn who_works_does_not_poll() {
    let is_told = |every_ms, took_ms| {
        !told(|at_s| every((0, every_ms), took_ms, "/stock/1", at_s)).0.is_empty()
    };
    let cases = [(100, 40), (100, 60), (100, 99), (10, 1)];
    assert_eq!(cases.map(|(every_ms, ms)| is_told(every_ms, ms)), [true, false, false, false]);
}

/// Scenario: 64 or 65 instances ask every second.
/// Guarantees: that they poll is told; and that one instance found no place is counted, for each of
/// its 20 questions.
#[test]
fn an_instance_without_a_place_is_counted() {
    let of = |instances| {
        told(|at_s| {
            let asks = (0..instances).flat_map(|instance| {
                let asks = every((13 * instance as u64, 1_000), 5, "/stock/1", at_s);
                asks.into_iter().map(move |ask| Ask { instance, ..ask })
            });
            asks.collect()
        })
    };
    let words = || vec!["email asks ledger every 1000 ms of its own accord: GET".to_owned()];
    assert_eq!(of(64), (words(), None));
    assert_eq!(of(65), (words(), Some(20)));
}

//! What of the last minutes is held, and what goes where there is no room.

use super::*;
use crate::diagnose::ring::Held;
use fusebox_proto::Now;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Spans of one request of the small mesh.
const SPANS: usize = 8;

/// The ring, and the time in it.
struct Bench {
    ring: Ring,
    started: Now,
    now: Now,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    fn new(rows_max: usize) -> Self {
        let started = Now { instant: Instant::now(), unix_ms: T0_NS / 1_000_000 };
        Self { ring: Ring::of(rows_max), started, now: started }
    }

    /// Takes the mesh's spans as they end, in batches of a second.
    fn play(&mut self, mut spans: Vec<Span>) {
        spans.sort_by_key(|span| span.end_unix_ns);
        let second = |span: &Span| (span.end_unix_ns - T0_NS) / 1_000_000_000;
        for of_second in spans.chunk_by(|a, b| second(a) == second(b)) {
            self.now = self.started.plus(Duration::from_secs(second(&of_second[0]) + 1));
            self.ring.add(self.now, &batch(of_second.to_vec()));
        }
    }

    /// Of each trace, when it began, s, and how many spans there are.
    fn traces(&self) -> BTreeMap<u32, (f64, usize)> {
        let mut traces = BTreeMap::new();
        for row in Held::of(&self.ring).rows() {
            let at_s = (row.start_ns - T0_NS) as f64 / 1e9;
            let (first_s, spans) = traces.entry(row.trace).or_insert((at_s, 0));
            *first_s = at_s.min(*first_s);
            *spans += 1;
        }
        traces
    }
}

/// Scenario: five minutes of traces, with room for all; for a part of them, so that traces are
/// chosen; and with times that are an hour off.
/// Guarantees: of each trace that is held all spans are; never more spans than there is room for;
/// what is not held is counted; those chosen are from all of the time, and each stands for as many
/// as were not.
#[test]
fn traces_are_held_as_a_whole() {
    let spans = mesh(1, 10.0, |_| CALM);
    let count = spans.len();
    let mut all = Bench::new(count);
    all.play(spans.clone());
    assert_eq!((all.ring.shed(), all.traces().len()), (0, count / SPANS));

    let mut some = Bench::new(count / 5);
    some.play(spans.clone());
    let traces = some.traces();
    assert!(traces.values().all(|(_, spans)| *spans == SPANS), "{traces:?}");
    let held = traces.len() * SPANS;
    assert!((count / 20..=count / 5).contains(&held), "{held} of {count}");
    assert_eq!(some.ring.shed() as usize, count - held);
    let early = traces.values().filter(|(at_s, _)| *at_s < LENGTH_S as f64 / 2.0).count();
    assert!((traces.len() / 3..=2 * traces.len() / 3).contains(&early), "{early}");
    let stands_for: f32 = Held::of(&some.ring).rows().map(|row| row.weight).sum();
    assert!((stands_for / count as f32 - 1.0).abs() < 0.2, "{stands_for} of {count}");

    let mut off = Bench::new(count);
    let an_hour = 3_600_000_000_000;
    let shifted = |span: &Span| Span { end_unix_ns: span.end_unix_ns + an_hour, ..span.clone() };
    off.ring.add(off.now, &batch(spans.iter().take(80).map(shifted).collect()));
    assert_eq!((off.ring.shed(), off.traces().len()), (80, 0));
}

/// Scenario: a mesh sends from life; beside it somebody says that spans are of a replay, and moves them
/// by an hour and by ages, or sends times that cannot be: years off, longer than an hour, ahead by
/// minutes. Then the same of a replay alone, and life after it.
/// Guarantees: what came from life stays, in its time, and what is newest is no later than now; what
/// cannot be is counted; a replay alone is in its own time, and the first span from life clears it
/// away.
#[test]
fn nobody_moves_the_time_of_others() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let spans = mesh(1, 10.0, |_| CALM);
    let last = spans.iter().max_by_key(|span| span.end_unix_ns).unwrap();
    let lie = |number: u8, moved_ns: Option<i64>, from_s: i64, length_ns: u64| Span {
        trace_id: TraceId::from_bytes(&[number; 16]).unwrap(),
        moved_ns,
        start_unix_ns: last.start_unix_ns.saturating_add_signed(1_000_000_000 * from_s),
        end_unix_ns: last.start_unix_ns.saturating_add_signed(1_000_000_000 * from_s) + length_ns,
        ..last.clone()
    };
    let check = |lie: Span, misdated: u64, more: usize| {
        let mut bench = Bench::new(100_000);
        bench.play(spans.clone());
        let (traces, newest_ns) = (bench.traces(), bench.ring.newest_ns());
        bench.ring.add(bench.now, &batch(vec![lie.clone()]));
        let after = bench.traces();
        assert!(traces.iter().all(|(number, trace)| after.get(number) == Some(trace)), "{lie:?}");
        assert_eq!(
            (after.len() - traces.len(), bench.ring.misdated()),
            (more, misdated),
            "{lie:?}"
        );
        let now_ns = bench.now.unix_ms * 1_000_000;
        assert!((newest_ns..=now_ns).contains(&bench.ring.newest_ns()), "{lie:?}");
    };
    for moved_ns in [0, 1, HOUR_NS - 1, 2 * HOUR_NS, -2 * HOUR_NS, i64::MIN, i64::MAX] {
        check(lie(1, Some(moved_ns), 0, 1_000), 0, 1);
    }
    check(lie(1, None, 500, 1_000), 0, 1);
    check(lie(1, None, 900, 1_000), 1, 0);
    check(lie(1, None, -4_000, 4_000_000_000_000), 1, 0);
    check(Span { start_unix_ns: 1, ..lie(1, None, 0, 1_000) }, 1, 0);
    check(lie(1, Some(-HOUR_NS), 4_000_000_000, 1_000), 1, 0);

    let mut alone = Bench::new(100_000);
    let started = spans.iter().map(|span| span.start_unix_ns).min().unwrap();
    let moved = |span: &Span| {
        let slow = (span.start_unix_ns - started) / 10;
        Span { moved_ns: Some(-(9 * slow).cast_signed()), ..span.clone() }
    };
    alone.play(spans.iter().map(moved).collect());
    let now_ns = alone.now.unix_ms * 1_000_000;
    assert!(now_ns + 250_000_000_000 < alone.ring.newest_ns(), "{}", alone.ring.newest_ns());
    assert_eq!(alone.ring.shed(), 0);
    alone.ring.add(alone.now, &batch(vec![lie(1, None, 0, 1_000)]));
    assert_eq!((alone.traces().len(), alone.ring.shed()), (1, spans.len() as u64));
    assert!(alone.ring.newest_ns() <= now_ns);
}

/// Scenario: a fault at 100 s is held on to, and twenty minutes and more pass with traffic; then it
/// is over.
/// Guarantees: what was before it stays, what came since goes when it is old; once nothing is held,
/// all that is old goes, and names that nothing has any more with it.
#[test]
fn what_was_before_a_fault_is_kept_while_it_lasts() {
    let mut bench = Bench::new(100_000);
    bench.play(mesh(1, 2.0, |_| CALM));
    let onset_ns = T0_NS + 100_000_000_000;
    bench.ring.hold(Some(onset_ns));
    let later = |bench: &mut Bench, minutes| {
        bench.now = bench.now.plus(Duration::from_mins(minutes));
        bench.ring.age(bench.now);
    };
    later(&mut bench, 25);
    let traces = bench.traces();
    assert!(traces.values().all(|(at_s, spans)| *at_s < 110.0 && *spans == SPANS), "{traces:?}");
    assert!(195 <= traces.len(), "{}", traces.len());
    bench.ring.hold(None);
    later(&mut bench, 1);
    assert_eq!((bench.traces().len(), bench.ring.shed()), (0, 0));
}

/// Scenario: operations with an id in their name, 30,000 of them, over hours; half of them of services
/// with an id in their name.
/// Guarantees: only names of what is held are kept, and rows keep theirs.
#[test]
fn names_are_forgotten_with_their_spans() {
    let mut bench = Bench::new(100_000);
    let origin = mesh(1, 1.0, |_| CALM).swap_remove(0);
    for number in 0..30_000_u64 {
        bench.now = bench.started.plus(Duration::from_millis(500 * number));
        let service = format!("cart-{}", number / 2);
        let sender = Origin { service: named(&service), ..(*origin.origin).clone() };
        let span = Span {
            trace_id: TraceId::from_bytes(&u128::from(number + 1).to_be_bytes()).unwrap(),
            operation: format!("/cart/{number}").into(),
            origin: sender.into(),
            start_unix_ns: bench.now.unix_ms * 1_000_000,
            end_unix_ns: bench.now.unix_ms * 1_000_000,
            ..origin.clone()
        };
        bench.ring.add(bench.now, &batch(vec![span]));
    }
    let held = Held::of(&bench.ring);
    assert!(held.words_len() <= 12_600, "{}", held.words_len());
    let newest = held.rows().max_by_key(|row| row.start_ns).unwrap();
    assert_eq!(held.word(newest.operation), "/cart/29999");
    assert_eq!(held.service(newest.service), &named("cart-14999"));
}

fn named(service: &str) -> ServiceId {
    ServiceId::named(service).unwrap()
}

/// Scenario: beside a mesh somebody sends one trace of so many spans that there is no room for it.
/// Guarantees: of that trace no more is held than of any; all others stay.
#[test]
fn one_trace_does_not_take_all_room() {
    let spans = mesh(1, 5.0, |_| CALM);
    let count = spans.len();
    let mut bench = Bench::new(2 * count);
    bench.play(spans.clone());
    let endless = (0..4 * count as u64).map(|number| Span {
        trace_id: TraceId::from_bytes(&[1; 16]).unwrap(),
        span_id: SpanId::from_bytes(&(number + 1).to_be_bytes()).unwrap(),
        ..spans.last().unwrap().clone()
    });
    bench.ring.add(bench.now, &batch(endless.collect()));
    let traces = bench.traces();
    assert_eq!(traces.len(), count / SPANS + 1);
    assert_eq!(bench.ring.shed() as usize, 4 * count - 4_096);
}

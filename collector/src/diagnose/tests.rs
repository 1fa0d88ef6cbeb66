//! A small mesh of `gateway → (cart → store, search)`, with faults whose place is known.

use super::*;
use crate::observe::Outcome;
use crate::spans::{Emitter, Evidence as Read, Origin, Peer, Rejected, Span, SpanBatch, SpanKind};
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::{SpanId, TraceId};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::sync::Arc;

mod incidents;
mod online;
mod ring;
mod synthetic;

/// Wall clock of the first trace, ns.
pub(crate) const T0_NS: u64 = 1_800_000_000_000_000_000;
/// Length of a capture, s.
const LENGTH_S: u64 = 300;
/// When faults begin, s.
const ONSET_S: u64 = 200;

/// What is wrong with a request that begins so many seconds after the start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trouble {
    /// Own times of gateway, cart, store, search: factors.
    pub(crate) own: [f64; 4],
    /// Added to the way from cart to store, from gateway to cart, ms.
    pub(crate) way_ms: [f64; 2],
    /// Share of store's requests that fail, and cart's and gateway's with it.
    pub(crate) failing: f64,
    /// cart does not call store.
    pub(crate) is_skipping: bool,
}

pub(crate) const CALM: Trouble =
    Trouble { own: [1.0; 4], way_ms: [0.0; 2], failing: 0.0, is_skipping: false };

/// Traces at `per_s`, each with what `trouble` says at its second.
fn mesh(seed: u64, per_s: f64, trouble: impl Fn(f64) -> Trouble) -> Vec<Span> {
    mesh_for(LENGTH_S, seed, per_s, trouble)
}

/// As [`mesh`], so many seconds long.
pub(crate) fn mesh_for(
    length_s: u64,
    seed: u64,
    per_s: f64,
    trouble: impl Fn(f64) -> Trouble,
) -> Vec<Span> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut spans = Vec::new();
    let count = (length_s as f64 * per_s) as u64;
    for number in 0..count {
        let at_s = number as f64 / per_s;
        let trouble = trouble(at_s);
        let mut trace = Trace { spans: &mut spans, number: number + 1 + (seed << 32), next: 0 };
        // Lognormal, as latencies are: exp of about a normal.
        let mut own = |which: usize| {
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            [4.0, 6.0, 5.0, 8.0][which] * (0.4 * normal).exp() * trouble.own[which]
        };
        let times = [own(0), own(1), own(2), own(3)];
        let is_failed = random.random::<f64>() < trouble.failing;
        trace.request((at_s * 1e9) as u64, times, trouble, is_failed);
    }
    spans
}

struct Trace<'s> {
    spans: &'s mut Vec<Span>,
    number: u64,
    next: u64,
}

impl Trace<'_> {
    fn request(&mut self, at_ns: u64, own: [f64; 4], trouble: Trouble, is_failed: bool) {
        const WAY_MS: f64 = 1.0;
        let [gateway, cart, store, search] = own;
        let (to_store, to_cart) = (WAY_MS + trouble.way_ms[0], WAY_MS + trouble.way_ms[1]);
        let at_store = if trouble.is_skipping { 0.0 } else { to_store + store };
        let root = self.next + 1;
        let length = gateway + to_cart + cart + at_store + WAY_MS + search;
        let root = self.span("gateway", SpanKind::Server, root - 1, at_ns, length, is_failed);
        let mut at_ns = at_ns + ns(gateway);
        let call = self.span(
            "gateway",
            SpanKind::Client,
            root,
            at_ns,
            to_cart + cart + at_store,
            is_failed,
        );
        let of_cart = self.span(
            "cart",
            SpanKind::Server,
            call,
            at_ns + ns(to_cart),
            cart + at_store,
            is_failed,
        );
        if !trouble.is_skipping {
            // Node's and Express's way: the call's parent is internal.
            let inner = self.span(
                "cart",
                SpanKind::Internal,
                of_cart,
                at_ns + ns(to_cart),
                cart + at_store,
                false,
            );
            let call = self.span(
                "cart",
                SpanKind::Client,
                inner,
                at_ns + ns(to_cart + cart),
                at_store,
                is_failed,
            );
            self.span(
                "store",
                SpanKind::Server,
                call,
                at_ns + ns(to_cart + cart + to_store),
                store,
                is_failed,
            );
        }
        at_ns += ns(to_cart + cart + at_store);
        let call = self.span("gateway", SpanKind::Client, root, at_ns, WAY_MS + search, false);
        self.span("search", SpanKind::Server, call, at_ns + ns(WAY_MS), search, false);
    }

    /// Adds a span below `parent` (0 for none), and gives its id.
    fn span(
        &mut self,
        service: &str,
        kind: SpanKind,
        parent: u64,
        start_ns: u64,
        length_ms: f64,
        is_failed: bool,
    ) -> u64 {
        self.next += 1;
        let start_unix_ns = T0_NS + start_ns;
        let origin =
            Origin { service: ServiceId::named(service).unwrap(), instance: None, version: None };
        self.spans.push(Span {
            trace_id: TraceId::from_bytes(&u128::from(self.number).to_be_bytes()).unwrap(),
            span_id: SpanId::from_bytes(&self.next.to_be_bytes()).unwrap(),
            parent_id: SpanId::from_bytes(&parent.to_be_bytes()),
            parent_is_remote: None,
            kind,
            operation: format!("/{service}").into(),
            origin: Arc::new(origin),
            emitter: Emitter::Application,
            start_unix_ns,
            end_unix_ns: start_unix_ns + ns(length_ms),
            outcome: if is_failed { Outcome::Failure } else { Outcome::Success },
            evidence: Read::None,
            protocol: Protocol::Http1,
            target: None,
            peer: None,
            is_refused: false,
            resend_count: 0,
            weight: 1.0,
            moved_ns: None,
            links: Vec::new(),
        });
        self.next
    }
}

fn ns(ms: f64) -> u64 {
    (ms * 1e6) as u64
}

fn batch(spans: Vec<Span>) -> SpanBatch {
    SpanBatch { spans, rejected: Rejected::default() }
}

fn ask(spans: Vec<Span>, since: Option<Stamp>) -> Diagnosis {
    let mut all = Spans::default();
    all.add(batch(spans), Period::Capture).unwrap();
    let diagnosis = diagnose(&all, since).unwrap();
    let falls = diagnosis.suspects.windows(2).all(|pair| pair[1].score < pair[0].score);
    assert!(falls, "not strict: {:?}", diagnosis.suspects);
    let is_share = |value: f64| (0.0..=1.0).contains(&value);
    assert!(diagnosis.suspects.iter().all(|one| is_share(one.score) && is_share(one.confidence)));
    diagnosis
}

fn confidence(diagnosis: &Diagnosis) -> f64 {
    diagnosis.suspects.iter().map(|suspect| suspect.confidence).fold(0.0, f64::max)
}

fn late(at_s: f64, trouble: Trouble) -> Trouble {
    if at_s < ONSET_S as f64 { CALM } else { trouble }
}

/// Scenario: each kind of fault, from 200 s on, at 3 and at 10 requests a second.
/// Guarantees: the service at fault is first, with enough confidence for a verdict, although its
/// callers are just as slow; the onset is found within ten seconds; the incident has its kind.
#[test]
fn the_guilty_is_first_and_the_onset_is_found() {
    let check = |trouble: Trouble, guilty: &str, kind: &str| {
        for (seed, per_s) in [(1, 10.0), (2, 3.0)] {
            let diagnosis = ask(mesh(seed, per_s, |at_s| late(at_s, trouble)), None);
            let said = format!("{guilty}, seed {seed}: {}", diagnosis.verdict);
            assert_eq!(diagnosis.suspects[0].service, guilty, "{said}");
            assert!(VERDICT <= diagnosis.suspects[0].confidence, "{said}");
            let onset_s = diagnosis.window.onset.unwrap().0 as f64 / 1e3 - T0_NS as f64 / 1e9;
            assert!((onset_s - ONSET_S as f64).abs() < 10.0, "{onset_s}: {said}");
            assert_eq!(diagnosis.incidents[0].kind, kind, "{said}");
            assert!(diagnosis.verdict.contains("is at fault since"), "{said}");
        }
    };
    check(Trouble { own: [1.0, 1.0, 5.0, 1.0], ..CALM }, "store", "latency_regression");
    check(Trouble { own: [1.0, 4.0, 1.0, 1.0], ..CALM }, "cart", "latency_regression");
    check(Trouble { own: [4.0, 1.0, 1.0, 1.0], ..CALM }, "gateway", "latency_regression");
    // Its network: all ways to and from it.
    check(Trouble { way_ms: [80.0, 80.0], ..CALM }, "cart", "latency_regression");
    check(Trouble { failing: 0.3, ..CALM }, "store", "error_surge");
}

/// Scenario: nothing; a trend; an incident that is over; a fault of a few seconds; less traffic
/// than can be compared.
/// Guarantees: no verdict, over four seeds each.
#[test]
fn what_is_no_fault_convinces_nobody() {
    let slow = Trouble { own: [1.0, 1.0, 6.0, 1.0], ..CALM };
    let check = |what: &str, per_s: f64, trouble: &dyn Fn(f64) -> Trouble| {
        for seed in 10..14 {
            let diagnosis = ask(mesh(seed, per_s, trouble), None);
            let said = format!("{what}, seed {seed}: {}", diagnosis.verdict);
            assert!(confidence(&diagnosis) < VERDICT, "{said}");
            assert!(diagnosis.verdict.starts_with("not enough evidence"), "{said}");
            assert!(diagnosis.incidents.is_empty(), "{said}");
        }
    };
    check("calm", 5.0, &|_| CALM);
    check("a trend", 5.0, &|at_s| Trouble { own: [1.0, 1.0, 1.0 + at_s / 100.0, 1.0], ..CALM });
    check("over", 5.0, &|at_s| if (160.0..200.0).contains(&at_s) { slow } else { CALM });
    check("a stall", 5.0, &|at_s| if (250.0..252.0).contains(&at_s) { slow } else { CALM });
    check("five traces", 0.05, &|at_s| late(at_s, slow));
}

/// Scenario: a service stops calling another.
/// Guarantees: it is the first suspect, and never convicted: that shows what it does, not why.
#[test]
fn a_new_set_of_calls_is_a_hint_only() {
    let trouble = Trouble { is_skipping: true, ..CALM };
    let diagnosis = ask(mesh(1, 10.0, |at_s| late(at_s, trouble)), None);
    assert_eq!(diagnosis.suspects[0].service, "cart", "{}", diagnosis.verdict);
    assert!((0.2..VERDICT).contains(&confidence(&diagnosis)), "{}", diagnosis.verdict);
}

/// Scenario: a capture that is all bad, beside a baseline that was made later.
/// Guarantees: the baseline counts as before; the guilty is found, which alone it is not.
#[test]
fn a_baseline_comes_before_everything() {
    let slow = Trouble { own: [1.0, 1.0, 6.0, 1.0], ..CALM };
    let bad = || mesh(1, 10.0, |_| slow);
    assert!(confidence(&ask(bad(), None)) < VERDICT);
    let mut good = mesh(2, 10.0, |_| CALM);
    for span in &mut good {
        span.start_unix_ns += 86_400_000_000_000;
        span.end_unix_ns += 86_400_000_000_000;
    }
    let mut all = Spans::default();
    all.add(batch(bad()), Period::Capture).unwrap();
    all.add(batch(good), Period::Baseline).unwrap();
    let diagnosis = diagnose(&all, None).unwrap();
    assert_eq!(diagnosis.suspects[0].service, "store", "{}", diagnosis.verdict);
    assert!(VERDICT <= diagnosis.suspects[0].confidence, "{}", diagnosis.verdict);
}

/// Scenario: a time that is given: right, half a minute off, minutes off on both sides; near the
/// first and near the second of two faults; outside.
/// Guarantees: the onset is the nearest that convinces, and it is said where that is far; outside
/// is refused with both ends.
#[test]
fn a_named_onset_is_near() {
    let slow = Trouble { own: [1.0, 1.0, 6.0, 1.0], ..CALM };
    let spans = || mesh(1, 10.0, |at_s| late(at_s, slow));
    let at = |s: u64| Stamp(T0_NS / 1_000_000 + s * 1_000);
    let check = |spans: Vec<Span>, named_s: u64, onset_s: u64, guilty: &str| {
        let diagnosis = ask(spans, Some(at(named_s)));
        let onset = diagnosis.window.onset.unwrap();
        assert!(onset.0.abs_diff(at(onset_s).0) < 10_000, "{named_s}: {onset}");
        assert_eq!(diagnosis.suspects[0].service, guilty, "{named_s}: {}", diagnosis.verdict);
        let is_told = diagnosis.data_quality.notes.iter().any(|note| note.contains("was named"));
        assert_eq!(is_told, 70 < named_s.abs_diff(onset_s), "{:?}", diagnosis.data_quality);
    };
    for named_s in [20, ONSET_S - 30, ONSET_S, ONSET_S + 30, LENGTH_S - 5] {
        check(spans(), named_s, ONSET_S, "store");
    }
    let two = |at_s: f64| Trouble {
        own: [1.0, if at_s < 220.0 { 1.0 } else { 20.0 }, if at_s < 80.0 { 1.0 } else { 6.0 }, 1.0],
        ..CALM
    };
    check(mesh(1, 10.0, two), 60, 80, "store");
    check(mesh(1, 10.0, two), 240, 220, "cart");
    let mut all = Spans::default();
    all.add(batch(spans()), Period::Capture).unwrap();
    let refusal = diagnose(&all, Some(at(LENGTH_S + 60))).unwrap_err().to_string();
    assert!(refusal.contains("not within the capture, which is from"), "{refusal}");
    assert_eq!(diagnose(&Spans::default(), None), Err(Refusal::Empty));
}

/// Scenario: a store without spans of its own that is slow; its clients name its address.
/// Guarantees: it is a suspect by that name, and not its caller.
#[test]
fn what_sends_no_spans_can_be_blamed() {
    let slow = Trouble { own: [1.0, 1.0, 6.0, 1.0], ..CALM };
    let mut spans = mesh(1, 10.0, |at_s| late(at_s, slow));
    spans.retain(|span| span.origin.service.name() != "store");
    for span in spans.iter_mut().filter(|span| span.kind == SpanKind::Client) {
        if span.origin.service.name() == "cart" {
            let address = "10.0.0.9:6379".into();
            span.peer = Some(Box::new(Peer { address, ..Peer::default() }));
        }
    }
    let diagnosis = ask(spans, None);
    assert_eq!(diagnosis.suspects[0].service, "10.0.0.9:6379", "{}", diagnosis.verdict);
}

/// Scenario: the clocks of two services are half a minute ahead and behind.
/// Guarantees: the guilty is as guilty as with clocks that agree: what crosses processes is
/// durations.
#[test]
fn clocks_need_not_agree() {
    let slow = Trouble { own: [1.0, 1.0, 6.0, 1.0], ..CALM };
    let mut spans = mesh(1, 10.0, |at_s| late(at_s, slow));
    let agreed = ask(spans.clone(), None);
    for span in &mut spans {
        let skew_ns = match span.origin.service.name() {
            "store" => 30_000_000_000,
            "search" => -30_000_000_000,
            _ => 0,
        };
        span.start_unix_ns = span.start_unix_ns.saturating_add_signed(skew_ns);
        span.end_unix_ns = span.end_unix_ns.saturating_add_signed(skew_ns);
    }
    let skewed = ask(spans, None);
    assert_eq!(skewed.suspects[0].service, "store", "{}", skewed.verdict);
    assert!((confidence(&skewed) - confidence(&agreed)).abs() < 0.1, "{}", skewed.verdict);
}

/// Scenario: names with escapes, parents in a circle, spans twice, a span of no length, one parent
/// missing.
/// Guarantees: an answer, with duplicates and orphans counted, and nothing raw in it.
#[test]
fn hostile_spans_are_survived() {
    let mut spans = mesh(1, 5.0, |_| CALM);
    let (first, second) = (spans[0].span_id, spans[1].span_id);
    spans[0].parent_id = Some(second);
    spans[1].parent_id = Some(first);
    spans[20].parent_id = SpanId::from_bytes(&[9; 8]);
    spans[30].end_unix_ns = spans[30].start_unix_ns;
    spans.push(spans[40].clone());
    let hostile = Origin {
        service: ServiceId::named("\x1b[2Jevil\u{202e}").unwrap(),
        instance: None,
        version: None,
    };
    spans[50].origin = Arc::new(hostile);
    let diagnosis = ask(spans, None);
    assert_eq!(diagnosis.data_quality.duplicates, 1);
    assert!(0.0 < diagnosis.data_quality.orphans);
    assert!(!serde_json::to_string(&diagnosis).unwrap().contains("\\u001b"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    /// Scenario: the spans of a fault in any order.
    /// Guarantees: the same answer, to the last digit.
    #[test]
    fn the_order_of_spans_does_not_matter(seed in 0_u64..1_000) {
        let slow = Trouble { own: [1.0, 5.0, 1.0, 1.0], ..CALM };
        let spans = mesh(7, 5.0, |at_s| late(at_s, slow));
        let mut shuffled = spans.clone();
        let mut random = StdRng::seed_from_u64(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, random.random_range(0..=at));
        }
        prop_assert_eq!(ask(spans, None), ask(shuffled, None));
    }
}

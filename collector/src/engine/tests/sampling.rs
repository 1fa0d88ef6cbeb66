//! Head sampling: what is known where only some of the traces are told, with and without proxies.

use super::bench::{Bench, Sidecar, inbound, service};
use super::otlp::{CLIENT, MS, SERVER, Teller, of, send, status, text_of};
use fusebox_proto::Latency;
use fusebox_proto::report::{EdgeCounts, EdgeWindow, Protocol};
use fusebox_proto::view::{DataQuality, Incident};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::time::Duration;

/// SDKs send every 5 s.
const BATCH_S: u64 = 5;
/// Runs of the same with other chance.
const SEEDS: u64 = 2;
/// Median of inventory's own time, ms.
const MEDIAN_MS: f64 = 20.0;

/// What goes wrong with inventory, from second `onset_s` to the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It fails nearly all; payment tries four times.
    Storm,
    /// It takes four times as long.
    Slow,
}

/// A run: `gateway` asks `payment` asks `inventory`.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seed: u64,
    fault: Fault,
    per_s: u64,
    onset_s: u64,
    length_s: u64,
    has_proxies: bool,
    /// Of the traces so many are told, and their spans say so in `ot=th`.
    share: f64,
    is_weighted: bool,
}

const STORM: Plan = Plan {
    seed: 1,
    fault: Fault::Storm,
    per_s: 40,
    onset_s: 40,
    length_s: 80,
    has_proxies: true,
    share: 1.0,
    is_weighted: true,
};
const SLOW: Plan = Plan { fault: Fault::Slow, per_s: 8, onset_s: 150, length_s: 240, ..STORM };

/// What a proxy counts in a second.
#[derive(Default)]
struct Count {
    edge: EdgeCounts,
    out: Latency,
    requests: u64,
    failed: u64,
    within: Latency,
}

/// A call within a request: when it began, ms after its request, how long it took, how it ended.
#[derive(Clone, Copy)]
struct Call {
    from_ms: f64,
    took_ms: f64,
    is_failed: bool,
}

struct World {
    plan: Plan,
    bench: Bench,
    random: StdRng,
    teller: Teller,
    sidecars: Vec<Sidecar>,
    waiting: Vec<ResourceSpans>,
    second: u64,
}

/// When each incident was first seen, s after the start, and what it was at the end.
type Seen = BTreeMap<String, (u64, Incident)>;

fn run(plan: Plan) -> Seen {
    let mut bench = Bench::new();
    let ways = [("gateway", &["payment"][..]), ("payment", &["inventory"]), ("inventory", &[])];
    let ways = ways.into_iter().filter(|_| plan.has_proxies);
    let sidecars = ways.map(|(name, to)| bench.connect(&format!("{name}-0"), name, to)).collect();
    let random = StdRng::seed_from_u64(plan.seed);
    let teller = Teller::default();
    let mut world = World { plan, bench, random, teller, sidecars, waiting: Vec::new(), second: 0 };
    let mut seen = Seen::new();
    while world.second < plan.length_s {
        world.pass();
        for incident in world.bench.snapshot().incidents {
            let first = seen.get(&incident.id).map_or(world.second, |(first, _)| *first);
            seen.insert(incident.id.clone(), (first, incident));
        }
    }
    seen
}

impl World {
    fn pass(&mut self) {
        self.second += 1;
        self.bench.advance(Duration::from_secs(1));
        let mut counts = [Count::default(), Count::default(), Count::default()];
        // Traces are the same whatever is told of them.
        let mut sampler = StdRng::seed_from_u64(self.plan.seed << 32 | self.second);
        for _ in 0..self.plan.per_s {
            let calls = self.request();
            count(&mut counts, &calls);
            let at_ms = self.random.random::<f64>() * 500.0;
            if sampler.random::<f64>() < self.plan.share {
                self.tell(at_ms, &calls);
            }
        }
        let destinations = ["payment", "inventory"];
        for (at, count) in counts.into_iter().enumerate().filter(|_| self.plan.has_proxies) {
            let mut inbound = inbound(count.requests, count.failed, 1);
            inbound.latency = count.within;
            let edge = destinations.get(at).map(|to| EdgeWindow {
                destination: service(to),
                route: String::new(),
                subset: String::new(),
                protocol: Protocol::Http1,
                counts: count.edge,
                latency: count.out,
                retry_waits: None,
            });
            let mut sidecar = self.sidecars[at].clone();
            self.bench.report(&mut sidecar, edge.into_iter().collect(), vec![inbound]);
            self.sidecars[at] = sidecar;
        }
        if self.second.is_multiple_of(BATCH_S) {
            send(&mut self.bench, std::mem::take(&mut self.waiting));
        }
    }

    /// The calls of payment on inventory for one request.
    fn request(&mut self) -> Vec<Call> {
        let is_on = self.plan.onset_s <= self.second;
        let (is_storm, is_slow) =
            (is_on && self.plan.fault == Fault::Storm, is_on && self.plan.fault == Fault::Slow);
        let mut calls: Vec<Call> = Vec::new();
        loop {
            let normal: f64 = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
            let took_ms = MEDIAN_MS * (0.3 * normal).exp() * if is_slow { 4.0 } else { 1.0 };
            let is_failed = is_storm && self.random.random::<f64>() < 0.97;
            let from_ms = calls.last().map_or(2.0, |last| last.from_ms + last.took_ms + 1.0);
            calls.push(Call { from_ms, took_ms, is_failed });
            if !is_failed || calls.len() == 4 {
                return calls;
            }
        }
    }

    fn tell(&mut self, at_ms: f64, calls: &[Call]) {
        let trace = self.teller.trace();
        let begun_ns = (self.bench.now.unix_ms - 1_000) * MS;
        let ns = |ms: f64| begun_ns + ((at_ms + ms) * MS as f64) as u64;
        let last = calls[calls.len() - 1];
        let end_ms = last.from_ms + last.took_ms + 1.0;
        let mut made =
            |kind, parent: &[u8], from_ms: f64, to_ms: f64, is_failed: bool, to: &str| {
                let mut span = self.teller.span(&self.bench, &trace, kind, parent);
                (span.start_time_unix_nano, span.end_time_unix_nano) = (ns(from_ms), ns(to_ms));
                span.name = format!("GET /{to}");
                let url = text_of("url.full", &format!("http://{to}/{to}/1"));
                span.attributes = vec![text_of("http.request.method", "GET"), url];
                span.attributes.push(status(if is_failed { 503 } else { 200 }));
                if self.plan.is_weighted && self.plan.share < 1.0 {
                    let rejected = ((1.0 - self.plan.share) * 2.0_f64.powi(56)) as u64;
                    span.trace_state = format!("ot=th:{rejected:014x}");
                }
                span
            };
        let root = made(SERVER, &[], 0.0, end_ms + 1.0, last.is_failed, "pay");
        let call = made(CLIENT, &root.span_id, 0.5, end_ms + 0.5, last.is_failed, "payment");
        let entry = made(SERVER, &call.span_id, 1.0, end_ms, last.is_failed, "payment");
        let tries: Vec<(Span, Span)> = calls
            .iter()
            .map(|it| {
                let (from, to) = (it.from_ms, it.from_ms + it.took_ms);
                let out = made(CLIENT, &entry.span_id, from, to, it.is_failed, "inventory");
                let within = (from + 0.2, to - 0.2);
                let answer =
                    made(SERVER, &out.span_id, within.0, within.1, it.is_failed, "inventory");
                (out, answer)
            })
            .collect();
        let (outs, answers): (Vec<_>, Vec<_>) = tries.into_iter().unzip();
        self.waiting.push(of("gateway", vec![root, call]));
        self.waiting.push(of("payment", [vec![entry], outs].concat()));
        self.waiting.push(of("inventory", answers));
    }
}

/// Counts one request at gateway, payment and inventory.
fn count(counts: &mut [Count; 3], calls: &[Call]) {
    let us = |ms: f64| (ms * 1_000.0) as u64;
    let last = calls[calls.len() - 1];
    let whole_us = us(last.from_ms + last.took_ms);
    for count in &mut counts[..2] {
        count.requests += 1;
        count.failed += u64::from(last.is_failed);
        count.within.record_us(whole_us);
    }
    let [gateway, payment, inventory] = counts;
    gateway.edge.first_attempts += 1;
    gateway.edge.failures += u64::from(last.is_failed);
    gateway.edge.successes += u64::from(!last.is_failed);
    gateway.out.record_us(whole_us);
    for (nth, call) in calls.iter().enumerate() {
        payment.edge.first_attempts += u64::from(nth == 0);
        payment.edge.retries_certain += u64::from(nth != 0);
        payment.edge.failures += u64::from(call.is_failed);
        payment.edge.successes += u64::from(!call.is_failed);
        payment.out.record_us(us(call.took_ms));
        inventory.requests += 1;
        inventory.failed += u64::from(call.is_failed);
        inventory.within.record_us(us(call.took_ms - 0.4));
    }
}

/// How much of the traces is told, and whether the spans say so.
const SAMPLINGS: [(f64, bool); 5] =
    [(1.0, true), (0.1, true), (0.1, false), (0.01, true), (0.01, false)];

/// Scenario: a storm of payment on inventory, and an inventory that takes four times as long; all
/// have proxies; of the traces all, a tenth or a hundredth is told, with and without weights; and
/// none.
/// Guarantees: the same incidents at the same moments, to the last figure and word, but for how late
/// telemetry came; the storm has its factor and its action.
#[test]
fn with_proxies_sampling_changes_nothing() {
    let check = |plan: Plan, kind: &str| {
        let verdicts = |(share, is_weighted): (f64, bool)| -> Vec<(u64, Incident)> {
            let seen = run(Plan { share, is_weighted, ..plan });
            let but_lateness = |(first, incident): (u64, Incident)| {
                let quality = DataQuality { late_ratio: None, ..incident.data_quality };
                (first, Incident { data_quality: quality, ..incident })
            };
            seen.into_values().map(but_lateness).collect()
        };
        let none = verdicts((0.0, true));
        let [(first_s, incident)] = &none[..] else { panic!("{kind}: {none:#?}") };
        assert_eq!((&*incident.kind, incident.data_quality.source.as_str()), (kind, "proxies"));
        let delay_s = first_s - plan.onset_s;
        assert!(delay_s <= if plan.fault == Fault::Storm { 2 } else { 30 }, "{kind}: {delay_s} s");
        if plan.fault == Fault::Storm {
            let amplification = incident.amplification.expect("a storm has one");
            assert!((3.6..=4.2).contains(&amplification), "{amplification}");
            assert!(incident.action.is_some());
        }
        for sampling in SAMPLINGS {
            assert_eq!(verdicts(sampling), none, "{kind} at {sampling:?}");
        }
    };
    check(STORM, "retry_storm");
    check(SLOW, "latency_regression");
}

/// Scenario: the same without proxies, in several runs.
/// Guarantees: all traces tell it; of fewer, whoever is accused is the one at fault, of the same
/// kind, with about the same factor, later and not sooner than all of them tell; it is said that it
/// is from spans, and how much of the traffic they are where they say so; nobody else is accused, nor
/// before.
#[test]
fn without_proxies_sampling_makes_no_mistakes() {
    let check = |plan: Plan, kind: &str, originator: &str| {
        for (share, is_weighted) in SAMPLINGS {
            let mut found: Vec<u64> = Vec::new();
            for seed in 1..=SEEDS {
                let plan = Plan { seed, share, is_weighted, has_proxies: false, ..plan };
                for (first_s, incident) in run(plan).into_values() {
                    let it = format!("{plan:?}: {incident:#?}");
                    assert_eq!(incident.kind, kind, "{it}");
                    assert_eq!(incident.originator.as_deref(), Some(originator), "{it}");
                    assert!(plan.onset_s <= first_s && incident.action.is_none(), "{it}");
                    if let Some(factor) = incident.amplification {
                        assert!((3.2..=4.4).contains(&factor), "{it}");
                    }
                    let quality = &incident.data_quality;
                    assert_eq!(quality.source, "spans", "{it}");
                    if plan.fault == Fault::Storm && is_weighted && share < 1.0 {
                        let said = quality.sampling.expect("it is known");
                        assert!((0.9 * share..=1.1 * share).contains(&said), "{it}");
                        assert!(quality.note.contains("sampled"), "{it}");
                    }
                    found.push(first_s - plan.onset_s);
                }
            }
            assert!(
                share < 1.0 || found.len() as u64 == SEEDS,
                "{kind}: all is told, and {found:?}"
            );
        }
    };
    check(STORM, "retry_storm", "payment");
    check(SLOW, "latency_regression", "inventory");
}

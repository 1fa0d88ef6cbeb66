//! A sender that lies: spans in others' names, times and weights that cannot be, more names than
//! there is room for. Proxies are believed, spans are evidence, and nothing grows without bound.

use super::bench::{Bench, Sidecar, counts, inbound, window};
use super::otlp::{CLIENT, MS, SERVER, Teller, number_of, of, of_instance, send, status, text_of};
use crate::decode;
use crate::engine::{Engine, Limits};
use fusebox_proto::report::EdgeCounts;
use fusebox_proto::text;
use fusebox_proto::view::{EdgeView, Incident, Snapshot};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use std::time::Duration;

/// Small, so that it is filled soon.
const LIMITS: (usize, usize) = (64, 128);

/// A request to `from` that it tries four times on `to`, in vain.
fn storm(liar: &mut Teller, bench: &Bench, from: &str, to: &str) -> Vec<ResourceSpans> {
    let trace = liar.trace();
    let root = liar.span(bench, &trace, SERVER, &[]);
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    for attempt in 0..4 {
        let mut call = liar.span(bench, &trace, CLIENT, &root.span_id);
        call.start_time_unix_nano += attempt * 10 * MS;
        call.end_time_unix_nano += attempt * 10 * MS;
        call.attributes[2] = status(503);
        let mut answer = liar.span(bench, &trace, SERVER, &call.span_id);
        answer.attributes[2] = status(503);
        calls.push(call);
        answers.push(answer);
    }
    calls.push(root);
    vec![of(from, calls), of(to, answers)]
}

/// A shop in which payment and inventory have proxies, and all is well unless told otherwise.
struct Shop {
    bench: Bench,
    payment: Sidecar,
    inventory: Sidecar,
}

impl Shop {
    fn open() -> Self {
        let mut bench = Bench::new();
        let (services_max, edges_max) = LIMITS;
        let limits = Limits { services_max, edges_max, ..Limits::default() };
        bench.engine = Engine::new(bench.now, limits);
        let payment = bench.connect("payment-0", "payment", &["inventory"]);
        let inventory = bench.connect("inventory-0", "inventory", &[]);
        Self { bench, payment, inventory }
    }

    /// A second in which proxies see this.
    fn pass(&mut self, edge: Option<EdgeCounts>) {
        self.bench.advance(Duration::from_secs(1));
        let edges = edge.map(|counts| window("inventory", counts, 9_000));
        let requests = edges.as_ref().map_or(0, |edge| edge.counts.first_attempts);
        self.bench.report(
            &mut self.payment,
            edges.into_iter().collect(),
            vec![inbound(requests, 0, 12_000)],
        );
        self.bench.report(&mut self.inventory, Vec::new(), vec![inbound(requests, 0, 8_000)]);
    }

    fn edge(&self) -> EdgeView {
        self.bench.edge("payment", "inventory")
    }
}

fn calm() -> EdgeCounts {
    counts(50, 0, 0)
}

/// What proxies see while spans claim a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proxies {
    /// There are none.
    Absent,
    /// They count calm traffic.
    Busy,
    /// They see nothing, and never did.
    Idle,
    /// They see nothing any more.
    Paused,
}

/// Scenario: for a minute spans claim a storm of payment on inventory, twenty requests a second:
/// where nobody has a proxy; where both have, and their proxies see calm traffic, none, or none any
/// more.
/// Guarantees: where proxies count, there is no incident, and figures are theirs; else an incident
/// says that it is from spans, is not of full confidence, and suggests nothing, whoever could act.
#[test]
fn a_claimed_storm_moves_nobody() {
    let check = |proxies: Proxies| {
        let mut shop = match proxies {
            Proxies::Absent => None,
            _ => Some(Shop::open()),
        };
        let mut alone = Bench::new();
        let mut liar = Teller::default();
        let mut seen: Vec<Incident> = Vec::new();
        for second in 0..120 {
            let is_traffic = proxies == Proxies::Busy || proxies == Proxies::Paused && second < 60;
            let bench = if let Some(shop) = &mut shop {
                shop.pass(is_traffic.then(calm));
                &mut shop.bench
            } else {
                alone.advance(Duration::from_secs(1));
                &mut alone
            };
            if 60 <= second {
                let lies = (0..20).flat_map(|_| storm(&mut liar, bench, "payment", "inventory"));
                let lies = lies.collect();
                send(bench, lies);
            }
            seen.extend(bench.snapshot().incidents);
        }
        if proxies == Proxies::Busy {
            assert!(seen.is_empty(), "{:#?}", seen[0]);
            let edge = shop.map(|shop| shop.edge()).expect("there are proxies");
            assert_eq!((edge.rate, edge.attempts_per_request), (Some(50.0), Some(1.0)));
            return;
        }
        assert!(!seen.is_empty(), "{proxies:?}: nothing to see here would prove nothing");
        for incident in seen {
            assert!(incident.action.is_none() && incident.alternatives.is_empty(), "{incident:#?}");
            assert!(incident.confidence <= 0.9, "{incident:#?}");
            assert!(incident.data_quality.source.contains("spans"), "{incident:#?}");
            assert!(incident.data_quality.note.contains("from spans only"), "{incident:#?}");
        }
    };
    for proxies in [Proxies::Absent, Proxies::Busy, Proxies::Idle, Proxies::Paused] {
        check(proxies);
    }
}

/// What a liar sends in one second, beside the spans of a request that is as it should be.
type Lie = fn(&mut Teller, &Bench) -> Vec<ResourceSpans>;

/// One request of `from` to `to`, changed by `change`.
fn call(
    liar: &mut Teller,
    bench: &Bench,
    (from, to): (&str, &str),
    change: impl Fn(&mut Span),
) -> Vec<ResourceSpans> {
    let trace = liar.trace();
    let mut call = liar.span(bench, &trace, CLIENT, &[]);
    let mut answer = liar.span(bench, &trace, SERVER, &call.span_id);
    change(&mut call);
    change(&mut answer);
    vec![of(from, vec![call]), of(to, vec![answer])]
}

/// Names that would act on a terminal, or fill it.
fn hostile_names(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    let long = "x".repeat(100_000);
    let names =
        ["\x1b]0;pwned\x07\x1b[2J", "\u{202e}yrotnevni", "", " ", "a\nb\r\0", &long, "支付"];
    let each = names.iter().flat_map(|name| {
        let hostile = |span: &mut Span| {
            span.name = (*name).into();
            span.attributes.push(text_of("server.address", name));
            span.attributes.push(text_of("peer.service", name));
        };
        let mut both = call(liar, bench, (name, &format!("{name}2")), hostile);
        // And one whose callee never answers: its address becomes a name.
        let trace = liar.trace();
        let mut lost = liar.span(bench, &trace, CLIENT, &[]);
        hostile(&mut lost);
        both.push(of_instance(name, name, vec![lost]));
        both
    });
    each.collect()
}

/// Times that cannot be, in the names of those that have proxies and of others.
fn impossible_times(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    const YEAR_2100: u64 = 4_102_444_800_000_000_000;
    let now = bench.now.unix_ms * MS;
    let times = [
        (1, 2),
        (1, now),
        (YEAR_2100, YEAR_2100 + MS),
        (now, YEAR_2100),
        (now, 1),
        (now, now - 999 * MS),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (u64::MAX - 1, 1),
    ];
    let pairs = [("payment", "inventory"), ("cart", "store")];
    let all = times.iter().flat_map(|time| pairs.map(|pair| (time, pair)));
    let mut spans: Vec<ResourceSpans> = all
        .clone()
        .flat_map(|((start, end), pair)| {
            call(liar, bench, pair, |span| {
                (span.start_time_unix_nano, span.end_time_unix_nano) = (*start, *end);
            })
        })
        .collect();
    // All of them as attempts of one call, so that they are compared with each other.
    for (_, (from, to)) in all.step_by(times.len()) {
        let trace = liar.trace();
        let root = liar.span(bench, &trace, SERVER, &[]);
        for (start, end) in times {
            let mut call = liar.span(bench, &trace, CLIENT, &root.span_id);
            for nth in 0..12 {
                let mut answer = liar.span(bench, &trace, SERVER, &call.span_id);
                answer.attributes[1] = text_of("url.full", &format!("http://stock/stock/{nth}"));
                (answer.start_time_unix_nano, answer.end_time_unix_nano) = (start, end);
                spans.push(of(to, vec![answer]));
            }
            (call.start_time_unix_nano, call.end_time_unix_nano) = (start, end);
            spans.push(of(from, vec![call]));
        }
        spans.push(of(from, vec![root]));
    }
    spans
}

/// Traces that are no trees: own parents, circles, ids used again, and one without end.
fn impossible_shapes(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    let trace = liar.trace();
    let mut spans: Vec<Span> = (0..9)
        .map(|n| liar.span(bench, &trace, if n % 2 == 0 { CLIENT } else { SERVER }, &[]))
        .collect();
    let ids: Vec<Vec<u8>> = spans.iter().map(|span| span.span_id.clone()).collect();
    spans[0].parent_span_id = ids[0].clone();
    for at in 1..9 {
        spans[at].parent_span_id = ids[if at == 8 { 1 } else { at + 1 }].clone();
    }
    let mut all: Vec<ResourceSpans> = Vec::new();
    for (at, span) in spans.into_iter().enumerate() {
        let service = ["payment", "inventory", "cart"][at % 3];
        all.push(of(service, vec![span.clone()]));
        all.push(of("store", vec![Span { parent_span_id: Vec::new(), ..span }]));
    }
    if liar.spans < 20 {
        let trace = liar.trace();
        let endless = (0..100_000_u64).map(|n| {
            let mut span = liar.span(bench, &trace, CLIENT, &[]);
            span.parent_span_id = (liar.spans - 1 - n % 7).to_be_bytes().to_vec();
            span
        });
        all.push(of("cart", endless.collect()));
    }
    all
}

/// One span that would stand for more than anybody has.
fn huge_weights(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    let states = ["ot=th:ffffffffffffff", "ot=th:fffffffbb47d0", "ot=p:62;th:ffffffffffffff"];
    let pairs = [("payment", "inventory"), ("cart", "store")];
    let all = states.iter().flat_map(|state| pairs.map(|pair| (*state, pair)));
    all.flat_map(|(state, pair)| {
        call(liar, bench, pair, |span| span.trace_state = state.to_owned())
    })
    .collect()
}

/// Spans that would have been made at another time.
fn forged_replays(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    let moved = [0, 3_599_000_000_000, -3_599_000_000_000, i64::MIN, i64::MAX];
    let each = moved.iter().flat_map(|ns| {
        call(liar, bench, ("cart", "store"), |span| {
            span.attributes.push(number_of(decode::MOVED_NS, *ns));
        })
    });
    each.collect()
}

/// New services, instances, operations, addresses and attributes with each span.
fn endless_names(liar: &mut Teller, bench: &Bench) -> Vec<ResourceSpans> {
    let each = (0..400).flat_map(|_| {
        let number = liar.spans;
        let name = format!("s{number}");
        let mut both = call(liar, bench, (&name, "inventory"), |span| {
            span.name = format!("GET /{number}");
            let many = if number.is_multiple_of(100) { 300 } else { 3 };
            let attributes = (0..many).map(|n| text_of(&format!("key.{number}.{n}"), "value"));
            span.attributes.extend(attributes);
        });
        let trace = liar.trace();
        let mut lost = liar.span(bench, &trace, CLIENT, &[]);
        lost.attributes.push(text_of("server.address", &format!("host{number}")));
        both.push(of_instance("cart", &name, vec![lost]));
        both
    });
    each.collect()
}

/// What the engine holds, in the order of `Held`'s bounds.
fn held(engine: &Engine) -> [usize; 6] {
    [
        engine.graph.nodes().count(),
        engine.store.services().count(),
        engine.store.edges().count(),
        engine.instances.len(),
        engine.capacity.len(),
        engine.detectors.len(),
    ]
}

/// Every text of a snapshot.
fn texts(snapshot: &Snapshot) -> Vec<String> {
    fn walk(value: serde_json::Value, out: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => out.push(text),
            serde_json::Value::Array(all) => all.into_iter().for_each(|one| walk(one, out)),
            serde_json::Value::Object(all) => {
                for (key, one) in all {
                    out.push(key);
                    walk(one, out);
                }
            }
            _ => (),
        }
    }
    let mut out = Vec::new();
    walk(serde_json::to_value(snapshot).expect("a snapshot is JSON"), &mut out);
    out
}

/// Seconds in which lies are sent.
const LYING_S: u64 = 12;
/// What nobody speaks of for so long is forgotten: the graph's ten minutes, and those of names.
const FORGOTTEN_S: u64 = 620;

/// Proxies count calm traffic while lies are sent; a service with a proxy is new; for `quiet_s` no more
/// lies come; then payment storms.
fn check(name: &str, lie: Lie, dropped: &[&str], quiet_s: u64) {
    let mut shop = Shop::open();
    let mut liar = Teller::default();
    (0..30).for_each(|_| shop.pass(Some(calm())));
    let before = held(&shop.bench.engine);
    for _ in 0..LYING_S {
        shop.pass(Some(calm()));
        let lies = lie(&mut liar, &shop.bench);
        send(&mut shop.bench, lies);
    }
    shop.bench.connect("late-0", "late", &[]);
    // What waits for the other end of a call is told then.
    (0..10).for_each(|_| shop.pass(Some(calm())));
    let snapshot = shop.bench.snapshot();
    assert!(snapshot.incidents.is_empty(), "{name}: {:#?}", snapshot.incidents);
    let edge = shop.edge();
    assert_eq!((edge.rate, edge.attempts_per_request), (Some(50.0), Some(1.0)), "{name}");
    assert!(snapshot.services.iter().any(|one| one.name == "late"), "{name}");
    let [nodes, services, edges, ..] = held(&shop.bench.engine);
    assert!(nodes <= crate::graph::NODES_MAX, "{name}");
    assert!(services <= LIMITS.0 && edges <= LIMITS.1, "{name}: {services} {edges}");
    for reason in dropped {
        let known = &snapshot.status.collector.dropped;
        assert!(known.contains_key(*reason), "{name}: {reason} not in {known:?}");
    }
    let acts = texts(&snapshot).into_iter().find(|one| text::visible(one) != *one);
    assert_eq!(acts, None, "{name}");

    (0..quiet_s).for_each(|_| shop.pass(Some(calm())));
    assert!(shop.bench.snapshot().incidents.is_empty(), "{name}");
    if FORGOTTEN_S <= quiet_s {
        let after = held(&shop.bench.engine);
        // `late` is there too.
        assert!(before.iter().zip(after).all(|(was, is)| is <= was + 1), "{before:?} {after:?}");
    }
    (0..4).for_each(|_| shop.pass(Some(counts(50, 150, 190))));
    let incident = shop.bench.incident();
    assert_eq!(incident.originator.as_deref(), Some("payment"), "{name}");
    assert!(incident.action.is_some(), "{name}");
}

/// Scenario: proxies count calm traffic, and for seconds somebody sends hostile names, times that
/// cannot be, traces that are no trees, weights beyond belief, forged replays. Then payment storms.
/// Guarantees: no incident of any kind; what proxies count stays as it is; all that is held stays
/// within its bounds, and what is dropped is told; no text acts on a terminal; a real storm is named
/// at once, with its action.
#[test]
fn lies_change_nothing() {
    check("names", hostile_names, &[], 0);
    check("times", impossible_times, &["misdated_spans"], 0);
    check("shapes", impossible_shapes, &["traces_cut"], 0);
    check("weights", huge_weights, &[], 0);
    check("replays", forged_replays, &[], 0);
}

/// Scenario: the same with more names than there is room for, of services, instances, edges,
/// operations, addresses and attributes; then ten minutes without.
/// Guarantees: as above; a service that comes with a proxy meanwhile finds its place; afterwards
/// nothing of it is left.
#[test]
fn endless_names_are_bounded_and_forgotten() {
    check("endless", endless_names, &["services", "edges", "instances"], FORGOTTEN_S);
}

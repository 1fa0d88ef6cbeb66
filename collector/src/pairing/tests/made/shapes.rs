//! Who called whom, and which attempts are repetitions.

use super::*;

/// Scenario: shape A, one client span with three server spans below it (urllib3, gRPC), the last
/// of them good.
/// Guarantees: three attempts, though the client's span says nothing but 200.
#[test]
fn a_library_that_repeats_out_of_sight() {
    let entries = || {
        [
            server("b", 2, 1, 1, 5).http("/r").status(503),
            server("b", 3, 1, 10, 15).http("/r").status(503),
            server("b", 4, 1, 20, 25).http("/r").status(200),
        ]
    };
    let of = |top: Draft| [vec![top], entries().to_vec()].concat();
    let all = ["a > b: 1 first, 2 retry; 1 success, 2 failure"];
    check(&of(client("a", 1, 0, 0, 30).http("/r").status(200)), &all);
    // Neither a status nor a target: still the callee tells.
    check(&of(client("a", 1, 0, 0, 30)), &all);
}

/// Scenario: the callee answered 200 to attempts that its caller had given up, overlapping the
/// next one or just before it; and in the end also after the client had.
/// Guarantees: a timeout each, once; the client's word counts for the last.
#[test]
fn the_callee_of_a_timeout_thinks_that_it_did_well() {
    let spans = [
        client("a", 1, 0, 0, 760).http("/r").error(),
        server("b", 2, 1, 1, 9_000).http("/r").status(200),
        server("b", 3, 1, 252, 498).http("/r").status(200),
        server("b", 4, 1, 502, 9_500).http("/r").status(200),
    ];
    check(&spans, &["a > b: 1 first, 2 retry; 3 timeout"]);
    check(&spans[..2], &["a > b: 1 first; 1 timeout"]);
}

/// Scenario: shape B, sibling client spans (tenacity, axios-retry, got): after failures, after
/// a timeout, after a success, and beside each other.
/// Guarantees: retry, retry, first (N+1 or polling), hedge.
#[test]
fn siblings_are_classed_by_what_went_before() {
    let call = |id, start, end| client("a", id, 99, start, end).http("/r").to("b:1");
    check(
        &[
            call(1, 0, 5).status(503),
            server("b", 2, 1, 1, 4).http("/r").status(503),
            call(3, 10, 15).status(503),
            call(5, 20, 25).status(200),
        ],
        &["a > b: 1 first, 2 retry; 1 success, 2 failure"],
    );
    check(
        &[call(1, 0, 5).error(), call(3, 6, 9).status(200), server("b", 4, 3, 7, 8)],
        &["a > b: 1 first, 1 retry; 1 success, 1 failure"],
    );
    check(
        &[call(1, 0, 5).status(200), call(3, 6, 9).status(503), server("b", 4, 3, 7, 8)],
        &["a > b: 2 first; 1 success, 1 failure"],
    );
    check(
        &[call(1, 0, 50).status(200), call(3, 20, 45).status(200), server("b", 4, 3, 22, 40)],
        &["a > b: 1 first, 1 hedge; 2 success"],
    );
    // A start in whole milliseconds is no overlap.
    check(
        &[call(1, 0, 11).status(503), call(3, 10, 15).status(200), server("b", 4, 3, 12, 13)],
        &["a > b: 1 first, 1 retry; 1 success, 1 failure"],
    );
}

/// Scenario: three tries side by side, and two out of sight of the client span, that failed or that the
/// caller gave up; one span for each below one request.
/// Guarantees: a repetition tells how long its caller waited where one clock shows it, and how many
/// attempts went before.
#[test]
fn repetitions_tell_how_long_their_caller_waited() {
    let waits = |spans: &[Draft]| {
        let told = told(vec![(0.0, batch(spans.iter().cloned()))]);
        let waits = told.iter().filter_map(|it| match it {
            Observation::Attempt { waited, .. } => *waited,
            _ => None,
        });
        let mut waits: Vec<_> = waits.map(|it| (it.attempts_before, it.wait_us)).collect();
        waits.sort_unstable();
        waits
    };
    let call = |id, start, end| client("a", id, 99, start, end).http("/r").to("b:1");
    let served = server("b", 9, 3, 156, 159).http("/r").status(200);
    let side_by_side =
        [call(1, 0, 5).status(503), call(2, 55, 60).error(), call(3, 155, 160).status(200), served];
    assert_eq!(waits(&side_by_side), [(1, 50_000), (2, 95_000)]);
    let hidden = |first: Draft| {
        [client("a", 1, 0, 0, 60).http("/r"), first, server("b", 3, 1, 40, 50).http("/r")]
    };
    let first = server("b", 2, 1, 1, 10).http("/r");
    assert_eq!(waits(&hidden(first.clone().status(503))), [(1, 30_000)]);
    assert_eq!(waits(&hidden(first)), [], "the callee does not know when it was given up");
}

/// Scenario: siblings that differ in path, N+1 of which one fails, RPCs of one method at once, and
/// redirects in both shapes.
/// Guarantees: none is a retry.
#[test]
fn what_looks_like_retries_and_is_none() {
    let call = |id, path: &str, status| {
        client("a", id, 99, u64::from(id) * 10, u64::from(id) * 10 + 5)
            .http(path)
            .status(status)
            .to("b:1")
    };
    let pair = server("b", 50, 1, 11, 12);
    check(
        &[call(1, "/p/1", 200), pair.clone(), call(2, "/p/2", 503), call(3, "/p/3", 200)],
        &["a > b: 3 first; 2 success, 1 failure"],
    );
    check(&[call(1, "/old", 302), pair, call(2, "/old", 200)], &["a > b: 2 first; 2 success"]);
    check(
        &[
            client("a", 1, 0, 0, 20).http("/old").status(200),
            server("b", 2, 1, 1, 5).http("/old").status(302),
            server("b", 3, 1, 6, 15).http("/new").status(200),
        ],
        &["a > b: 2 first; 2 success"],
    );
    let rpc = |id, start| client("a", id, 99, start, start + 50).rpc("/x.Y/Get").to("b:1");
    check(&[rpc(1, 0), rpc(2, 5), server("b", 3, 1, 6, 40)], &["a > b: 2 first; 2 success"]);
    // A span around several calls is not one request.
    check(
        &[client("a", 1, 0, 0, 30), server("b", 2, 1, 1, 5), server("b", 3, 1, 6, 9)],
        &["a > b: 2 first; 2 success"],
    );
}

/// Scenario: each attempt in an internal span of its own, below one request (a retry library that
/// traces, Express with its middleware).
/// Guarantees: siblings all the same.
#[test]
fn internal_spans_are_walked_through() {
    let internal = |id, start| span("a", SpanKind::Internal, id, 1, start, start + 10);
    check(
        &[
            server("a", 1, 0, 0, 100),
            internal(2, 0),
            client("a", 3, 2, 1, 9).http("/r").status(503),
            server("b", 4, 3, 2, 8).http("/r").status(503),
            internal(5, 20),
            client("a", 6, 5, 21, 29).http("/r").status(200),
            server("b", 7, 6, 22, 28).http("/r").status(200),
        ],
        &["a > b: 1 first, 1 retry; 1 success, 1 failure"],
    );
}

/// Scenario: Envoys on both sides, the egress one as client (default) or as server with a router
/// span for each of its own attempts; the application's library repeats out of sight.
/// Guarantees: one hop, each attempt once, `DC` a timeout; no edge of a service to itself, none to
/// a sidecar's address.
#[test]
fn envoys_are_one_hop_with_their_application() {
    let gave_up = |draft: Draft| draft.ended(Outcome::Timeout, Evidence::Error);
    let app = client("a", 1, 0, 0, 100).http("/r").to("127.0.0.1:15001");
    let egress = |id, start| {
        let envoy = client("a", id, 1, start, start + 20).by(Emitter::Envoy);
        envoy.http("/r").to("127.0.0.1:15002")
    };
    let ingress = |id, parent, start| server("b", id, parent, start, start + 15).by(Emitter::Envoy);
    let serves = |id, parent, start| server("b", id, parent, start, start + 900).http("/r");
    check(
        &[
            app.clone().error(),
            gave_up(egress(2, 0)),
            gave_up(ingress(3, 2, 1)),
            serves(4, 3, 2).status(200),
            egress(5, 30).status(503),
            ingress(6, 5, 31).status(503),
            serves(7, 6, 32).status(503),
            gave_up(egress(8, 60)),
        ],
        &["a > b: 1 first, 2 retry; 1 failure, 2 timeout"],
    );
    let router = |service: &str, id, parent, start| {
        client(service, id, parent, start, start + 20).by(Emitter::EnvoyRouter).to("127.0.0.1:9")
    };
    let mut second = router("a", 6, 2, 40).status(200);
    second.0.resend_count = 1;
    let whole = check(
        &[
            app.status(200),
            server("a", 2, 1, 0, 99).by(Emitter::Envoy).http("/r").status(200),
            router("a", 3, 2, 0).status(503),
            ingress(4, 3, 1),
            router("b", 5, 4, 2),
            second,
            ingress(7, 6, 41),
            router("b", 8, 7, 42),
            server("b", 9, 8, 43, 44),
        ],
        &["a > b: 1 first, 1 retry; 1 success, 1 failure"],
    );
    // The first attempt did not reach the application of b: its sidecar alone saw it.
    assert_eq!(whole.served_total(), 2);
}

/// Scenario: a call through a sidecar whose spans never come, by a caller whose earlier calls
/// through the same port came; and one by a caller of whom nothing is known.
/// Guarantees: the callee is known by the port; nobody else has that port.
#[test]
fn a_sidecars_port_is_known_by_its_caller() {
    let call = |caller: &str, id, path: &str| {
        client(caller, id, 99, u64::from(id), u64::from(id)).http(path).to("127.0.0.1:15001")
    };
    check(
        &[call("a", 1, "/x"), server("b", 2, 1, 1, 2), call("a", 3, "/y").error()],
        &["a > b: 2 first; 1 success, 1 failure"],
    );
    // One port for all callees: the head of the path tells them apart.
    check(
        &[
            call("a", 1, "/x/1"),
            server("b", 2, 1, 1, 2),
            call("a", 3, "/y/1"),
            server("c", 4, 3, 3, 4),
            call("a", 5, "/x/2").error(),
        ],
        &["a > b: 2 first; 1 success, 1 failure", "a > c: 1 first; 1 success"],
    );
}

/// Scenario: services that nothing is known of but their callers: by address, by name, a
/// database with and without address, and calls that name nobody.
/// Guarantees: a node of its kind for each, none for `dns.lookup` or a root without peer.
#[test]
fn what_never_speaks_becomes_a_node() {
    let mut named = client("a", 4, 0, 0, 1).http("/z").to("10.0.0.1:80");
    named.peer().service = "carrier".into();
    let whole = check(
        &[
            client("a", 1, 0, 0, 1).http("/x").to("bank:443"),
            client("a", 2, 0, 0, 1).db("sqlite"),
            client("a", 3, 0, 0, 1).db("redis").to("127.0.0.1:6379"),
            named,
            client("a", 5, 0, 0, 1),
            span("a", SpanKind::Internal, 6, 5, 0, 1).to("127.0.0.1:6379"),
            client("a", 7, 0, 0, 1).rpc("/x.Y/Get"),
        ],
        &[
            "a > bank:443: 1 first; 1 success",
            "a > carrier: 1 first; 1 success",
            "a > redis@127.0.0.1:6379: 1 first; 1 success",
            "a > sqlite: 1 first; 1 success",
        ],
    );
    let kinds: Vec<ServiceKind> = whole.virtual_nodes.into_values().collect();
    assert_eq!(kinds, {
        use ServiceKind::{Database, External};
        [External, External, Database, Database]
    });
}

/// Scenario: client libraries within each other: an ORM over a driver, a store's client over HTTP.
/// Guarantees: one attempt, on what the outer one names.
#[test]
fn nested_client_spans_are_one_call() {
    check(
        &[client("a", 1, 0, 0, 9).db("postgresql"), client("a", 2, 1, 1, 8).db("postgresql")],
        &["a > postgresql: 1 first; 1 success"],
    );
    check(
        &[client("a", 1, 0, 0, 9).db("elastic"), client("a", 2, 1, 1, 8).http("/q").to("es:9200")],
        &["a > elastic: 1 first; 1 success"],
    );
}

/// Scenario: messages: pika's two nested producers, a consumer that is its child or only linked, a
/// consumer whose broker names the queue otherwise, a consumer alone, layers of one consumer.
/// Guarantees: producer → queue → consumer, each message once; no call from producer to consumer.
#[test]
fn messages_go_through_their_queue() {
    let producer =
        |id, parent| span("a", SpanKind::Producer, id, parent, 0, 1).queue("rabbitmq", "orders");
    let consumer = |id, parent, queue: &str| {
        span("b", SpanKind::Consumer, id, parent, 5, 9).queue("rabbitmq", queue)
    };
    let both =
        ["a > rabbitmq:orders: 1 first; 1 success", "rabbitmq:orders > b: 1 first; 1 success"];
    check(&[producer(1, 0), producer(2, 1), consumer(3, 2, "orders")], &both);
    check(&[producer(1, 0), consumer(3, 1, "some.routing.key")], &both);
    check(&[producer(1, 0), consumer(3, 1, "orders"), consumer(4, 3, "orders")], &both);
    check(&[consumer(3, 0, "orders")], &both[1..]);
    // Consumed by who produced it, and nothing is named at all.
    check(
        &[producer(1, 0), span("a", SpanKind::Consumer, 2, 1, 5, 9)],
        &["a > rabbitmq:orders: 1 first; 1 success"],
    );
    check(
        &[span("a", SpanKind::Producer, 1, 0, 0, 1), span("b", SpanKind::Consumer, 2, 1, 5, 9)],
        &["a > b: 1 first; 1 success"],
    );
    let mut linked = consumer(9, 0, "elsewhere");
    linked.0.trace_id = TraceId::from_bytes(&[8; 16]).unwrap();
    linked.0.links =
        vec![(TraceId::from_bytes(&[7; 16]).unwrap(), SpanId::from_bytes(&[1; 8]).unwrap())];
    check(&[producer(1, 0), linked], &both);
}

/// Scenario: a service that calls itself, with an answer and without.
/// Guarantees: no edge, and no node for its address; both requests were served.
#[test]
fn a_service_that_calls_itself_is_no_edge() {
    let whole = check(
        &[
            server("a", 1, 0, 0, 100),
            client("a", 2, 1, 1, 9).http("/x").to("a:80"),
            server("a", 3, 2, 2, 8).remote(true),
            client("a", 4, 1, 10, 19).http("/x").to("a:80").error(),
        ],
        &[],
    );
    assert_eq!(whole.served_total(), 2);
}

/// Scenario: a library without instrumentation passes the context on: a server span right below
/// another service's server span.
/// Guarantees: an edge, with repetitions of the same target.
#[test]
fn a_call_without_a_client_span_is_seen_from_its_callee() {
    check(
        &[
            server("a", 1, 0, 0, 100),
            server("b", 2, 1, 1, 9).http("/x").status(503),
            server("b", 3, 1, 11, 19).http("/x").status(200),
            server("b", 4, 1, 21, 29).http("/y").status(200),
        ],
        &["a > b: 2 first, 1 retry; 2 success, 1 failure"],
    );
}

/// Scenario: Fusebox's own proxies: forwarded attempts of an application with and without spans, a
/// refused one, and a callee without spans.
/// Guarantees: the attempts are marked as the proxy's; what was refused is none; the proxy's word
/// for the callee counts at once.
#[test]
fn our_own_proxies_are_marked() {
    let proxy = |id, parent, start| {
        let mut proxy = client("a", id, parent, start, start + 5).by(Emitter::Proxy).http("/r");
        proxy.peer().service = "b".into();
        proxy
    };
    let mut again = proxy(4, 1, 10).status(200);
    again.0.resend_count = 1;
    let whole = check(
        &[
            client("a", 1, 0, 0, 20).http("/r").to("127.0.0.1:15001").status(200),
            proxy(2, 1, 0).status(503),
            server("b", 3, 2, 1, 4).by(Emitter::Proxy).status(503),
            again,
        ],
        &["a > b: 1 first, 1 retry; 1 success, 1 failure"],
    );
    assert!(whole.attempts.keys().all(|(_, _, _, from_proxy)| *from_proxy));
    let mut refused = proxy(2, 1, 0).status(503);
    refused.0.is_refused = true;
    check(&[client("a", 1, 0, 0, 20).http("/r").to("127.0.0.1:15001").status(503), refused], &[]);
}

/// Scenario: one service in two environments, each called by its own.
/// Guarantees: they stay apart.
#[test]
fn environments_stay_apart() {
    let within = |environment: &str, mut draft: Draft, trace: u8| {
        let origin = Arc::make_mut(&mut draft.0.origin);
        origin.service = ServiceId::new(environment, "", origin.service.name()).unwrap();
        draft.0.trace_id = TraceId::from_bytes(&[trace; 16]).unwrap();
        draft
    };
    let call = || client("a", 1, 0, 0, 9).http("/x").to("b:1");
    let told = told(vec![(
        0.0,
        batch([
            within("prod", call(), 1),
            within("prod", server("b", 2, 1, 1, 8), 1),
            within("test", call(), 2),
        ]),
    )]);
    let edges: Vec<String> = told
        .iter()
        .filter_map(|it| match it {
            Observation::Attempt { edge, .. } => Some(edge.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(edges, ["prod//a>prod//b", "test//a>test//b:1"]);
}

/// Scenario: two calls of one service for a like target that say no address; above each of them is
/// a client span with an address of its own. The first is settled before the second comes.
/// Guarantees: where the first was thought to go says nothing of the second, so that the order in
/// which they come makes no difference.
#[test]
fn a_guess_without_an_address_is_not_remembered() {
    let sent = |id, parent| span("a", SpanKind::Producer, id, parent, 0, 9).http("/x");
    let first = [client("a", 1, 0, 0, 9).to("x:1"), sent(2, 1)];
    let second = [sent(3, 0), client("a", 4, 3, 0, 9).to("y:1")];
    let expected = ["a > x:1: 1 first; 1 success", "a > y:1: 1 first; 1 success"];
    for (early, late) in [(&first, &second), (&second, &first)] {
        let arrivals = vec![(0.0, batch(early.clone())), (10.0, batch(late.clone()))];
        assert_eq!(Sums::of(&told(arrivals)).edges(), expected);
    }
}

/// Scenario: an order through three layers that make three attempts each, all of which fail; each
/// library makes a span for each attempt, or one for all.
/// Guarantees: each layer multiplies by three and not by what the layers above repeat: a request
/// that came in again is not its callee's retry.
#[test]
fn layers_of_retries_multiply_each_for_itself() {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    struct Order {
        spans: Vec<Draft>,
        is_one_span: bool,
        id: u8,
        at_ms: u64,
    }
    impl Order {
        fn next(&mut self) -> u8 {
            self.id += 1;
            self.at_ms += 5;
            self.id
        }

        /// What the service `layer` does below its span `parent`.
        fn repeat(&mut self, layer: usize, parent: u8) {
            let (mut top, callee) = (0, NAMES[layer + 1]);
            for attempt in 0..3 {
                let begun = self.at_ms;
                if attempt == 0 || !self.is_one_span {
                    top = self.next();
                }
                let entry = self.next();
                let entered = self.at_ms;
                if layer + 2 < NAMES.len() {
                    self.repeat(layer + 1, entry);
                }
                self.at_ms += 5;
                let served = server(callee, entry, top, entered, self.at_ms).http("/r").status(502);
                self.spans.push(served);
                if attempt == 2 || !self.is_one_span {
                    self.at_ms += 5;
                    let begun = if self.is_one_span { self.begun(top, begun) } else { begun };
                    let call = client(NAMES[layer], top, parent, begun, self.at_ms).http("/r");
                    self.spans.push(call.status(502).to(&format!("{callee}:1")));
                }
            }
        }

        /// A span around all attempts began before the first of them.
        fn begun(&self, top: u8, or: u64) -> u64 {
            let entries =
                self.spans.iter().filter(|it| it.0.parent_id == SpanId::from_bytes(&[top; 8]));
            let first = entries.map(|it| (it.0.start_unix_ns - T0_NS) / 1_000_000).min();
            first.unwrap_or(or).saturating_sub(5)
        }
    }
    for is_one_span in [false, true] {
        let mut order = Order { spans: Vec::new(), is_one_span, id: 0, at_ms: 0 };
        let root = order.next();
        order.repeat(0, root);
        order.spans.push(server("a", root, 0, 0, order.at_ms).http("/r").status(502));
        check(
            &order.spans,
            &[
                "a > b: 1 first, 2 retry; 3 failure",
                "b > c: 3 first, 6 retry; 9 failure",
                "c > d: 9 first, 18 retry; 27 failure",
            ],
        );
    }
}

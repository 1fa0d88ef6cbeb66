//! The ingress gateway: ports that come and go with the policy, and what passes them.

use crate::collector::{Collector, Session};
use crate::shop::{CONTROL_PLANE, metric, page, push, request, saw, under, witness};
use crate::world::{Answer, Caller, Proxy, Server, free_address, full, http2_caller, outbound};
use fusebox_proxy::Config;
use fusebox_proxy::config::ingress::Ingress;
use http::Request;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// The gateway of the founding guide in front of `inventory`; port 80 listens at `listen`.
fn config(inventory: &Server, listen: SocketAddr) -> Config {
    let mut config = outbound(&[inventory.address]);
    let mut ingress = Ingress::new("istio-ingressgateway");
    ingress.ports.insert(80, listen);
    config.ingress = Some(ingress);
    config
}

/// Any free port.
fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A route of all requests to `shop.example.com`, at these gateways, to `inventory`.
fn route(gateways: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: entry}}\n\
         spec: {{hosts: [shop.example.com], gateways: [{gateways}], http: [{{name: all, route: \
         [{{destination: {{host: inventory}}}}]}}]}}\n"
    )
}

/// The founding installation, unchanged, and that route.
fn founding() -> String {
    CONTROL_PLANE.to_owned() + &route("istio-ingressgateway")
}

/// What `/config` says of the gateway's ports.
async fn ports(proxy: &Proxy) -> Vec<Value> {
    page(proxy, "/config").await["ingress"]["ports"].as_array().unwrap().clone()
}

/// Where the gateway's first port listens.
async fn entrance(proxy: &Proxy) -> SocketAddr {
    let ports = ports(proxy).await;
    ports[0]["listen"].as_str().unwrap_or_else(|| panic!("{ports:?}")).parse().unwrap()
}

/// Waits until the first port stands so.
async fn until(proxy: &Proxy, state: &str) {
    let waiting = async {
        while ports(proxy).await[0]["state"] != state {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(state);
}

/// Waits until nobody accepts at `address` any more.
async fn refused(address: SocketAddr) {
    let waiting = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it closes");
}

async fn call(address: SocketAddr, host: &str) -> Answer {
    Caller::connect(address).await.send(request("/", &[("host", host)])).await
}

/// A proxy with a collector that has pushed nothing yet.
async fn attached(mut config: Config, collector: &Collector) -> (Proxy, Session) {
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    (proxy, collector.attached().await)
}

/// Scenario: a gateway without a policy gets the installation of the founding guide, unchanged, and a
/// route; one and three workers.
/// Guarantees: its port for HTTP opens within a second, at the place that the operator chose; that
/// for TLS does not, and the reason is told; requests reach the service by their host, over HTTP/1 and
/// HTTP/2, as requests of its edge.
#[tokio::test]
async fn the_founding_gateway_opens() {
    let (inventory, collector) = (witness("inventory").await, Collector::start().await);
    for workers in [1, 3] {
        let config = Config { workers, ..config(&inventory, any()) };
        let (proxy, mut session) = attached(config, &collector).await;
        assert_eq!(ports(&proxy).await, Vec::<Value>::new());
        let opening = async {
            assert_eq!(push(&mut session, 1, &founding()).await.rejected, None);
            let address = entrance(&proxy).await;
            (address, call(address, "shop.example.com").await)
        };
        let opened = tokio::time::timeout(Duration::from_secs(1), opening).await;
        let (address, answer) = opened.expect("it opens within a second");
        assert_eq!((answer.status, &saw(&answer)["name"]), (200, &"inventory".into()));
        assert_eq!(saw(&answer)["host"], "shop.example.com");
        for host in ["Shop.Example.COM:80", "shop.example.com"] {
            assert_eq!(call(address, host).await.status, 200, "{host}");
        }
        let mut caller = http2_caller(address).await;
        let request = Request::get("http://shop.example.com/").version(http::Version::HTTP_2);
        let response = caller.send_request(request.body(full("")).unwrap()).await.unwrap();
        assert_eq!(saw(&Answer::read(response).await.unwrap())["name"], "inventory");

        let shown = ports(&proxy).await;
        assert_eq!((&shown[0]["port"], &shown[0]["state"]), (&80.into(), &"open".into()));
        assert_eq!(shown[0]["hosts"], serde_json::json!(["shop.example.com"]));
        assert_eq!((&shown[1]["port"], &shown[1]["state"]), (&443.into(), &"closed".into()));
        assert!(shown[1]["reason"].as_str().unwrap().contains("no certificate"), "{shown:?}");
        assert_eq!(metric(&proxy, "fusebox_proxy_ingress_open{port=\"80\"}").await, 1);
        for (protocol, count) in [("http/1.1", 3), ("http/2", 1)] {
            let labels = format!("destination=\"inventory\",protocol=\"{protocol}\"");
            let line = format!("fusebox_proxy_attempts_total{{{labels},class=\"first\"}}");
            crate::world::until(&proxy, &line, count).await;
        }
    }
}

/// Scenario: requests to hosts that are routed between services only, at another gateway, or nowhere;
/// to the service's own name; and malformed ones.
/// Guarantees: 404 with the reason, although the proxy could reach the service; 400; none gets
/// through, and the former are counted.
#[tokio::test]
async fn only_what_is_bound_to_it() {
    let inventory = witness("inventory").await;
    let other = |name: &str, host: &str, gateways: &str| {
        let route = route(gateways).replace("name: entry", &format!("name: {name}"));
        route.replace("shop.example.com", host)
    };
    let policy = founding()
        + &other("mesh", "mesh.example.com", "mesh")
        + &other("far", "far.example.com", "another");
    let proxy = Proxy::start(under(config(&inventory, any()), &policy));
    let address = entrance(&proxy).await;
    let mut caller = Caller::connect(address).await;
    let hosts = ["mesh.example.com", "far.example.com", "nobody.example.com", "inventory"];
    for host in hosts {
        let post = Request::post("/").header("host", host).body(full("x")).unwrap();
        let answer = caller.send(post).await;
        assert_eq!(answer.status, 404, "{host}");
        assert_eq!(answer.header("x-fusebox-policy"), "unknown-host; edge=payment>?");
    }
    assert_eq!(metric(&proxy, "fusebox_proxy_policy_total{what=\"unknown-host\"}").await, 4);
    for sent in ["GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "*1\r\n$4\r\nPING\r\n"] {
        let answer = crate::world::raw(address, sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{sent:?}: {answer}");
    }
    assert_eq!(inventory.connections(), 0);
    assert_eq!(caller.send(request("/", &[("host", "shop.example.com")])).await.status, 200);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Scenario: a stranger's request with everything that only proxies may say, once to a gateway that
/// nobody stands before, and once behind a proxy that the operator trusts.
/// Guarantees: the service sees nothing of it but what this proxy saw itself; behind a trusted proxy
/// it sees what that one says; an attempt count of outside is gone in either case.
#[tokio::test]
async fn what_strangers_say_goes_no_further() {
    let inventory = witness("inventory").await;
    for (trusted_hops, expected) in [
        (None, ["127.0.0.1", "http", "", "", "", "", "", "kept"]),
        (Some(1), ["192.0.2.7, 127.0.0.1", "https", TRACE, "1", "", "", "true", "kept"]),
    ] {
        let mut config = under(config(&inventory, any()), &founding());
        config.operation.trusted_hops = trusted_hops;
        let proxy = Proxy::start(config);
        let said = [
            ("host", "shop.example.com"),
            ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("traceparent", TRACE),
            ("x-b3-sampled", "1"),
            ("x-envoy-attempt-count", "3"),
            ("x-real-ip", "198.51.100.1"),
            ("x-envoy-internal", "true"),
            ("x-own", "kept"),
        ];
        let mut caller = Caller::connect(entrance(&proxy).await).await;
        let seen = saw(&caller.send(request("/", &said)).await)["headers"].clone();
        let names = said[1..].iter().map(|(name, _)| *name);
        let got: Vec<_> = names.map(|name| seen[name].as_str().unwrap_or_default()).collect();
        assert_eq!(got, expected, "{trusted_hops:?}");
        let host = seen["x-forwarded-host"].as_str();
        assert_eq!(host, Some("shop.example.com"));
    }
}

/// Scenario: a gateway that starts traces; a request goes through, one is answered 404.
/// Guarantees: the former leaves a span of a call to the service, the latter one of an answer that
/// calls nobody.
#[tokio::test]
async fn spans_of_the_edge() {
    let (inventory, collector) = (witness("inventory").await, Collector::start().await);
    let mut config = under(config(&inventory, any()), &founding());
    config.trace_root_percent = 100.0;
    let (proxy, _session) = attached(config, &collector).await;
    let address = entrance(&proxy).await;
    for host in ["shop.example.com", "nobody.example.com"] {
        call(address, host).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let batch = collector.spans().await;
        let scopes = batch.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        seen.extend(scopes.flat_map(|scope| scope.spans));
    }
    let told = seen.iter().map(|span| {
        let peer = span.attributes.iter().find(|it| it.key == "service.peer.name");
        (span.kind(), peer.is_some(), span.parent_span_id.is_empty())
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    assert_eq!(told, [(SpanKind::Server, false, true), (SpanKind::Client, true, true)]);
}

/// Scenario: a policy wants a port that somebody has; he goes, and it is pushed again. Then the proxy
/// starts anew on its kept policy while the port is taken again, and is let go.
/// Guarantees: the push is rejected with port, place and reason, and what was in force before stays;
/// the next one is taken. At the start all else serves, the port's state is told, to the collector,
/// too, and it opens by itself once it can, which ends the telling.
#[tokio::test]
async fn a_port_that_is_taken() {
    let (inventory, collector) = (witness("inventory").await, Collector::start().await);
    let place = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let mut config = config(&inventory, listen);
    config.state_dir = Some(place.path().to_owned());
    config.collector = Some(collector.url.clone());
    let (proxy, mut session) = attached(config.clone(), &collector).await;
    assert_eq!(push(&mut session, 1, &route("mesh")).await.rejected, None);
    let ack = push(&mut session, 2, &founding()).await;
    let reason = ack.rejected.unwrap();
    for part in ["ingress port 80", &listen.to_string(), "in use", "--ingress-port 80="] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(page(&proxy, "/config").await["policy"]["version"], 1);
    assert_eq!(ports(&proxy).await, Vec::<Value>::new());
    drop(taken);
    assert_eq!(push(&mut session, 3, &founding()).await.rejected, None);
    assert_eq!(call(listen, "shop.example.com").await.status, 200);
    proxy.shutdown(Duration::from_secs(5)).await;

    let taken = TcpListener::bind(listen).await.unwrap();
    let proxy = Proxy::start(config);
    assert_eq!(page(&proxy, "/config").await["policy"]["source"], "state-dir");
    let shown = ports(&proxy).await[0].clone();
    assert_eq!((&shown["state"], &shown["listen"]), (&"failed".into(), &Value::Null));
    assert!(shown["reason"].as_str().unwrap().contains("in use"), "{shown}");
    assert_eq!(crate::world::get(proxy.address(), "/").await.status, 200);
    let mut session = collector.attached().await;
    let again = push(&mut session, 4, &(founding() + "---\n")).await;
    assert_eq!((again.version, again.rejected), (4, None), "what failed before is no obstacle");
    while session.report().await.troubles.is_empty() {}
    let troubles = session.report().await.troubles;
    assert!(troubles.len() == 1 && troubles[0].contains("ingress port 80 cannot"), "{troubles:?}");
    drop(taken);
    until(&proxy, "open").await;
    while !session.report().await.troubles.is_empty() {}
    assert_eq!(call(listen, "shop.example.com").await.status, 200);
}

/// Scenario: the gateway goes while a request is in the server and another connection is idle; it
/// comes back at once, and its route is another one.
/// Guarantees: the port closes, the request is answered in full and told that it was the last on its
/// connection, the idle connection is closed; then the port is open again, on the same place.
#[tokio::test]
async fn a_gateway_that_goes_and_comes() {
    let ((server, gate, mut arrivals), collector) =
        (Server::gated().await, Collector::start().await);
    let listen = free_address().await;
    let (proxy, mut session) = attached(config(&server, listen), &collector).await;
    assert_eq!(push(&mut session, 1, &founding()).await.rejected, None);
    gate.add_permits(1);
    let mut idle = Caller::connect(listen).await;
    let shop = [("host", "shop.example.com")];
    assert_eq!(idle.send(request("/idle", &shop)).await.status, 200);
    let mut busy = Caller::connect(listen).await;
    let in_flight = tokio::spawn(async move { busy.send(request("/busy", &shop)).await });
    for _ in 0..2 {
        arrivals.recv().await.unwrap();
    }

    assert_eq!(push(&mut session, 2, &route("mesh")).await.rejected, None);
    assert_eq!(ports(&proxy).await, Vec::<Value>::new());
    refused(listen).await;
    idle.closed().await;
    gate.add_permits(1);
    let answer = in_flight.await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert_eq!(crate::world::get(proxy.admin(), "/readyz").await.status, 200);

    for version in 3..9 {
        let is_there = version % 2 == 1;
        let policy = if is_there { founding() } else { route("mesh") };
        assert_eq!(push(&mut session, version, &policy).await.rejected, None, "{version}");
        if is_there {
            until(&proxy, "open").await;
            TcpStream::connect(listen).await.unwrap();
        }
    }
    refused(listen).await;
    let elsewhere = founding().replace("shop.example.com", "b.example.com");
    assert_eq!(push(&mut session, 9, &elsewhere).await.rejected, None);
    until(&proxy, "open").await;
    gate.add_permits(1);
    let answers = (call(listen, "b.example.com").await, call(listen, "shop.example.com").await);
    assert_eq!((answers.0.status, answers.1.status), (200, 404));
}

/// Scenario: a `Gateway` alone, without an installation, that selects this ingress, and one that
/// selects another; the proxy drains.
/// Guarantees: the ports of the former open, for its hosts; a drain closes them as it does all others.
#[tokio::test]
async fn a_gateway_without_an_installation() {
    let inventory = witness("inventory").await;
    let gateway = |name: &str, labels: &str, port: u16| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: \
             {{selector: {{{labels}}}, servers: [{{port: {{number: {port}, name: a, protocol: HTTP}}, \
             hosts: [\"*.example.com\"]}}]}}\n"
        )
    };
    let policy = gateway("entry", "istio: ingressgateway", 80)
        + &gateway("other", "istio: other", 81)
        + &route("entry");
    let proxy = Proxy::start(under(config(&inventory, any()), &policy));
    assert_eq!(ports(&proxy).await.len(), 1);
    let address = entrance(&proxy).await;
    assert_eq!(call(address, "shop.example.com").await.status, 200);
    let mut admin = Caller::connect(proxy.admin()).await;
    let drain = Request::post("/drain").body(full("")).unwrap();
    assert_eq!(admin.send(drain).await.status, 200);
    proxy.drained().await;
    refused(address).await;
}

/// Scenario: a successor takes over from a gateway at work, with more workers.
/// Guarantees: no connection is refused meanwhile, and the successor serves the port.
#[tokio::test]
async fn a_successor_takes_the_ports() {
    let inventory = witness("inventory").await;
    let (place, listen) = (tempfile::tempdir().unwrap(), free_address().await);
    let at = |workers| {
        let mut config = under(config(&inventory, listen), &founding());
        (config.state_dir, config.workers) = (Some(place.path().to_owned()), workers);
        config.operation.takeover = true;
        Proxy::start(config)
    };
    let first = at(1);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let calls = tokio::spawn(async move {
        let mut count = 0;
        while stopped.try_recv().is_err() {
            assert_eq!(call(listen, "shop.example.com").await.status, 200);
            count += 1;
        }
        count
    });
    let second = at(2);
    assert_eq!(entrance(&second).await, listen);
    first.drained().await;
    drop(first);
    for _ in 0..8 {
        assert_eq!(call(listen, "shop.example.com").await.status, 200);
    }
    stop.send(()).unwrap();
    assert!(0 < calls.await.unwrap());
}

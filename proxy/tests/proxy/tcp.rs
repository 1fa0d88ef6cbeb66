//! Sessions that speak no HTTP, over real sockets.

use crate::collector::Collector;
use crate::shop::{self, CANARY, metric, settings, under, version, witness};
use crate::world::{Proxy, Server, dead_address, get, inbound, outbound, raw, until};
use fusebox_proto::command::Action;
use fusebox_proto::report::Protocol;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client of redis says.
pub(crate) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const TCP: &str = "destination=\"inventory\",protocol=\"tcp\"";

/// A server that says its name to whoever has said something, and then everything back.
pub(crate) async fn named(name: &'static str) -> SocketAddr {
    speaking(name, false).await
}

async fn speaking(name: &'static str, is_first: bool) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut first = [0; 1];
                if !is_first && stream.peek(&mut first).await.is_ok_and(|len| len == 0) {
                    return;
                }
                let _ = stream.write_all(name.as_bytes()).await;
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

/// A session that says `hello` and reads as much as is expected.
pub(crate) async fn session(address: SocketAddr, hello: &[u8], expected: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(hello).await.unwrap();
    assert_eq!(heard(&mut stream, expected.len()).await, expected);
    stream
}

async fn heard(stream: &mut TcpStream, len: usize) -> String {
    let mut got = vec![0; len];
    stream.read_exact(&mut got).await.unwrap();
    String::from_utf8_lossy(&got).into_owned()
}

/// The other side closes without a word.
pub(crate) async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
}

/// Scenario: a database client through both kinds of listeners, seen by a collector.
/// Guarantees: bytes pass both ways; the session is an attempt and a success of the edge with
/// protocol tcp, in flight until it closes.
#[tokio::test]
async fn a_raw_session_passes_and_is_counted() {
    let server = named("v1").await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut told = collector.attached().await;
    let mut stream = session(proxy.address(), PING, "v1*1\r\n$4\r\nPING\r\n").await;
    until(&proxy, &format!("fusebox_proxy_in_flight{{{TCP}}}"), 1).await;
    stream.write_all(b"\x00more\xff").await.unwrap();
    assert_eq!(heard(&mut stream, 6).await, "\x00more\u{fffd}");
    drop(stream);
    until(&proxy, &format!("fusebox_proxy_in_flight{{{TCP}}}"), 0).await;
    let (mut attempts, mut successes) = (0, 0);
    while successes == 0 {
        for edge in told.report().await.edges {
            assert_eq!(edge.protocol, Protocol::Tcp);
            attempts += edge.counts.attempts();
            successes += edge.counts.successes;
        }
    }
    assert_eq!((attempts, successes), (1, 1));
    let near = Proxy::start(inbound(server));
    let stream = session(near.address(), PING, "v1*1\r\n").await;
    until(&near, "fusebox_proxy_inbound_in_flight{}", 1).await;
    drop(stream);
    until(&near, "fusebox_proxy_inbound_in_flight{}", 0).await;
    assert_eq!(metric(&near, "fusebox_proxy_inbound_requests_total{}").await, 1);
}

/// Scenario: servers that speak first, and callers that wait for them; twice.
/// Guarantees: the greeting arrives, and what the caller says to it.
#[tokio::test]
async fn server_first_protocols() {
    let server = speaking("220 mail ready\r\n", true).await;
    for proxy in [outbound(&[server]), inbound(server)].map(Proxy::start) {
        for _ in 0..2 {
            let mut stream = session(proxy.address(), b"", "220 mail ready\r\n").await;
            stream.write_all(b"EHLO x\r\n").await.unwrap();
            assert_eq!(heard(&mut stream, 8).await, "EHLO x\r\n");
        }
    }
}

/// Scenario: a caller is silent until a connection was opened for it, and then sends a request in
/// pieces; the port answered, callers that are silent, and that speak something else, follow.
/// Guarantees: the request goes the way of requests; after it the port is known to speak HTTP: no
/// connection is opened for silence, and what is no HTTP is refused.
#[tokio::test]
async fn a_silent_caller_may_speak_http_after_all() {
    let server = witness("v1").await;
    for proxy in [outbound(&[server.address]), inbound(server.address)].map(Proxy::start) {
        let before = server.connections();
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.set_nodelay(true).unwrap();
        while server.connections() == before {
            tokio::task::yield_now().await;
        }
        for piece in ["GE", "T / HT", "TP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"] {
            caller.write_all(piece.as_bytes()).await.unwrap();
        }
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(server.connections(), before + 2);
        let _silent = TcpStream::connect(proxy.address()).await.unwrap();
        let refused = raw(proxy.address(), PING).await;
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        assert_eq!(server.connections(), before + 2, "the kept one is used");
    }
}

/// Scenario: an operator opens the edge.
/// Guarantees: a session is closed at once without a word, and counted as refused.
#[tokio::test]
async fn an_open_edge_closes_sessions() {
    let server = named("v1").await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut told = collector.attached().await;
    told.trip(7, Action::Open).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(PING).await.unwrap();
    closed(stream).await;
    until(&proxy, &format!("fusebox_proxy_refused_total{{{TCP},reason=\"forced-open\"}}"), 1).await;
}

/// Scenario: one connection is allowed, and held by a session; another session, and one after its
/// end.
/// Guarantees: the second is closed at once and counted, the first goes on, the third gets the place.
#[tokio::test]
async fn max_connections_of_sessions() {
    let server = named("v1").await;
    let yaml = settings("{connectionPool: {tcp: {maxConnections: 1}}}");
    let proxy = Proxy::start(under(outbound(&[server]), &yaml));
    let mut first = session(proxy.address(), b"one\r\n", "v1one\r\n").await;
    let mut second = TcpStream::connect(proxy.address()).await.unwrap();
    second.write_all(PING).await.unwrap();
    closed(second).await;
    let reason = format!("fusebox_proxy_refused_total{{{TCP},reason=\"connection-overflow\"}}");
    until(&proxy, &reason, 1).await;
    first.write_all(b"two").await.unwrap();
    assert_eq!(heard(&mut first, 3).await, "two");
    drop(first);
    until(&proxy, &format!("fusebox_proxy_connections{{endpoint=\"{server}\"}}"), 0).await;
    session(proxy.address(), PING, "v1").await;
}

/// Scenario: one of two endpoints cannot be connected to, under outlier detection of local failures.
/// Guarantees: sessions that meet it are closed and are failures; after the second it is out, and
/// all sessions reach the other.
#[tokio::test]
async fn local_origin_failures_eject() {
    let (server, dead) = (named("v1").await, dead_address().await);
    let yaml = settings(
        "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {splitExternalLocalOriginErrors: \
         true, consecutiveLocalOriginFailures: 2, maxEjectionPercent: 100, baseEjectionTime: 5m}}",
    );
    let proxy = Proxy::start(under(outbound(&[dead, server]), &yaml));
    let mut failures = 0;
    for _ in 0..20 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(PING).await.unwrap();
        let mut got = [0; 2];
        match stream.read_exact(&mut got).await {
            Ok(_) => assert_eq!(&got, b"v1"),
            Err(_) => failures += 1,
        }
    }
    assert_eq!(failures, 2);
    until(&proxy, &format!("fusebox_proxy_ended_total{{{TCP},outcome=\"failure\"}}"), 2).await;
}

/// Scenario: sessions under an idle timeout, and under a longest duration.
/// Guarantees: the silent one is cut; the busy one is cut at its age.
#[tokio::test]
async fn idle_timeout_and_max_connection_duration() {
    let server = named("v1").await;
    let yaml = settings("{connectionPool: {tcp: {idleTimeout: 200ms}}}");
    let proxy = Proxy::start(under(outbound(&[server]), &yaml));
    closed(session(proxy.address(), b"one\r\n", "v1one\r\n").await).await;
    let yaml = settings("{connectionPool: {tcp: {maxConnectionDuration: 300ms}}}");
    let proxy = Proxy::start(under(outbound(&[server]), &yaml));
    let mut stream = session(proxy.address(), b"one\r\n", "v1one\r\n").await;
    let mut byte = [0];
    while stream.write_all(b"x").await.is_ok() && matches!(stream.read(&mut byte).await, Ok(1)) {}
    let mut late = Vec::new();
    let _ = stream.read_to_end(&mut late).await;
}

/// A `ClientHello` that names `name`.
fn client_hello(name: &str) -> Vec<u8> {
    let vector = |width: usize, bytes: &[u8]| {
        let len = (bytes.len() as u32).to_be_bytes();
        [&len[4 - width..], bytes].concat()
    };
    let names = vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat());
    let extensions = [&[0, 0][..], &vector(2, &names)].concat();
    let random = [7; 32];
    let body = [
        &[3, 3][..],
        &random,
        &[0],
        &vector(2, &[0x13, 0x01]),
        &vector(1, &[0]),
        &vector(2, &extensions),
    ];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    [&[22, 3, 1][..], &vector(2, &message)].concat()
}

/// Scenario: `tcp` routes by weight, and `tls` routes by server name, whose hello comes in two
/// pieces.
/// Guarantees: sessions go where the rules say; a name that no rule has goes to the host itself, and
/// the hello arrives unchanged.
#[tokio::test]
async fn tcp_and_tls_routes() {
    let (one, two) = (named("v1").await, named("v2").await);
    let subsets = CANARY.split("---").next().unwrap();
    let routes = |spec: &str| {
        let mut config = outbound(&[]);
        config.outbound[0].endpoints = vec![version(one, "v1"), version(two, "v2")];
        let service = format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: route}}\nspec: {{hosts: [inventory], {spec}}}\n"
        );
        Proxy::start(under(config, &format!("{subsets}---\n{service}")))
    };
    let to = |subset: &str, weight: u32| {
        format!("{{destination: {{host: inventory, subset: {subset}}}, weight: {weight}}}")
    };
    let proxy = routes(&format!("tcp: [{{route: [{}, {}]}}]", to("v1", 0), to("v2", 100)));
    for _ in 0..8 {
        session(proxy.address(), PING, "v2").await;
    }
    let proxy = routes(&format!("tcp: [{{route: [{}, {}]}}]", to("v1", 50), to("v2", 50)));
    let mut seen = [0, 0];
    for _ in 0..60 {
        let mut stream = session(proxy.address(), PING, "v").await;
        seen[usize::from(heard(&mut stream, 1).await == "2")] += 1;
    }
    assert!(seen.iter().all(|&count| 5 < count), "{seen:?}");
    let rule = |name: &str, subset| {
        let route = to(subset, 100);
        format!("{{match: [{{sniHosts: [{name}]}}], route: [{route}]}}")
    };
    let (first, second) = (rule("one.shop", "v1"), rule("'*.two.shop'", "v2"));
    let proxy = routes(&format!("tls: [{first}, {second}]"));
    for (name, expected) in [("one.shop", "v1"), ("A.Two.shop", "v2"), ("one.shop", "v1")] {
        let hello = client_hello(name);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&hello[..20]).await.unwrap();
        stream.write_all(&hello[20..]).await.unwrap();
        assert_eq!(heard(&mut stream, 2).await, expected, "{name}");
        let mut back = vec![0; hello.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, hello);
    }
    session(proxy.address(), &client_hello("nobody"), "v").await;
    session(proxy.address(), PING, "v").await;
}

/// Scenario: a route to a subset without endpoints.
/// Guarantees: the session is closed at once and counted.
#[tokio::test]
async fn a_session_to_nowhere() {
    let server = Server::echo().await;
    let subsets = CANARY.split("---").next().unwrap();
    let service = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
        metadata: {name: route}\nspec: {hosts: [inventory], tcp: [{route: [{destination: \
        {host: inventory, subset: v2}}]}]}\n";
    let mut config = outbound(&[]);
    config.outbound[0].endpoints = vec![version(server.address, "v1")];
    let proxy = Proxy::start(under(config, &format!("{subsets}---\n{service}")));
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(PING).await.unwrap();
    closed(stream).await;
    assert_eq!(shop::metric(&proxy, "fusebox_proxy_policy_total{what=\"empty-subset\"}").await, 1);
    assert_eq!(server.connections(), 0);
}

/// Scenario: the proxy ends while sessions are silent, and in the middle of one.
/// Guarantees: the silent ones end at once, the one that is under way with the grace.
#[tokio::test]
async fn sessions_end_with_the_proxy() {
    let server = named("v1").await;
    let proxy = Proxy::start(outbound(&[server]));
    let silent = TcpStream::connect(proxy.address()).await.unwrap();
    let proxy_address = proxy.address();
    let busy = session(proxy_address, PING, "v1*1\r\n$4\r\nPING\r\n").await;
    let ends = tokio::spawn(proxy.shutdown(Duration::from_millis(300)));
    closed(silent).await;
    closed(busy).await;
    ends.await.unwrap();
}

//! What a `DestinationRule` does to connections: each field's effect, as the servers see it.

use crate::collector::Collector;
use crate::shop::{page, push, saw, settings, under, witness};
use crate::world::{Answer, Caller, Proxy, Server, full, get, http2_caller, outbound};
use http::Request;
use std::net::SocketAddr;

/// A proxy in front of `servers`, under this `trafficPolicy`.
fn proxy(servers: &[SocketAddr], traffic_policy: &str) -> Proxy {
    Proxy::start(under(outbound(servers), &settings(traffic_policy)))
}

async fn get_owned(address: SocketAddr) -> Answer {
    get(address, "/").await
}

/// Scenario: a server whose queue of connections is full, so that none is ever made.
/// Guarantees: the request fails when the policy's patience is over.
#[tokio::test]
async fn connect_timeout() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = tokio::net::TcpStream::connect(address).await.unwrap();
    let proxy = proxy(&[address], "{connectionPool: {tcp: {connectTimeout: 100ms}}}");
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("no connection within 0.1 s"));
}

/// Scenario: the circuit breaker of the founding guide: 100 connections, one request that waits; 105
/// requests come while the server thinks.
/// Guarantees: 100 are with the server, one waits, four are refused at once with the reason and
/// counted; all others are served.
#[tokio::test]
async fn max_connections_and_pending_requests() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    config.outbound[0].host = "payment".into();
    let proxy = Proxy::start(under(config, crate::shop::CIRCUIT_BREAKER));
    let address = proxy.address();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(tokio::spawn(get_owned(address)));
        arrivals.recv().await.unwrap();
    }
    waiting.extend((0..5).map(|_| tokio::spawn(get_owned(address))));
    for _ in 0..4 {
        let (answer, _, rest) = futures_util::future::select_all(waiting).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-fusebox-refused"), "pending-overflow; edge=payment>payment");
        waiting = rest;
    }
    gate.add_permits(101);
    for answer in waiting {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert_eq!(server.connections(), 100);
    let line = "fusebox_proxy_refused_total{destination=\"payment\",protocol=\"http/1.1\",\
                reason=\"pending-overflow\"}";
    while crate::shop::metric(&proxy, line).await != 4 {
        tokio::task::yield_now().await;
    }
}

/// Scenario: two requests are allowed at once, of either protocol, and three come.
/// Guarantees: the third is refused at once.
#[tokio::test]
async fn http2_max_requests() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let proxy = proxy(&[server.address], "{connectionPool: {http: {http2MaxRequests: 2}}}");
    let address = proxy.address();
    let first = tokio::spawn(get_owned(address));
    let mut second = http2_caller(address).await;
    let request = Request::get("http://inventory/").body(full("")).unwrap();
    let second = tokio::spawn(async move { second.send_request(request).await });
    arrivals.recv().await.unwrap();
    arrivals.recv().await.unwrap();
    let third = get(address, "/").await;
    assert_eq!(third.status, 503);
    assert_eq!(third.header("x-fusebox-refused"), "connection-overflow; edge=payment>inventory");
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

/// Scenario: connections may carry two requests, or one.
/// Guarantees: the server sees a new connection for each pair, or for each request.
#[tokio::test]
async fn max_requests_per_connection() {
    for (max, connections) in [(2, 3), (1, 6)] {
        let server = witness("inventory").await;
        let policy = format!("{{connectionPool: {{http: {{maxRequestsPerConnection: {max}}}}}}}");
        let proxy = proxy(&[server.address], &policy);
        let mut caller = Caller::connect(proxy.address()).await;
        for _ in 0..6 {
            assert_eq!(caller.get("/").await.status, 200);
        }
        assert_eq!(server.connections(), connections, "{max}");
    }
}

/// Scenario: a connection may be idle for a second, or live for a millisecond.
/// Guarantees: it is closed, and the next request opens another.
#[tokio::test]
async fn idle_timeout_and_max_connection_duration() {
    for policy in [
        "{connectionPool: {http: {idleTimeout: 1s}}}",
        "{connectionPool: {tcp: {maxConnectionDuration: 1ms}}}",
    ] {
        let server = witness("inventory").await;
        let proxy = proxy(&[server.address], policy);
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        while page(&proxy, "/breakers").await["breakers"][0]["endpoints"][0]["connections"] != 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(proxy.address(), "/").await.status, 200);
        assert_eq!(server.connections(), 2, "{policy}");
    }
}

/// Scenario: HTTP/1 callers under each upgrade policy.
/// Guarantees: `UPGRADE` sends HTTP/2, with the same host; all else sends what came.
#[tokio::test]
async fn h2_upgrade_policy() {
    for (pool, version) in [
        ("{h2UpgradePolicy: UPGRADE}", "HTTP/2.0"),
        ("{h2UpgradePolicy: DO_NOT_UPGRADE}", "HTTP/1.1"),
        ("{h2UpgradePolicy: UPGRADE, useClientProtocol: true}", "HTTP/1.1"),
        ("{}", "HTTP/1.1"),
    ] {
        let server = witness("inventory").await;
        let proxy = proxy(&[server.address], &format!("{{connectionPool: {{http: {pool}}}}}"));
        let saw = saw(&get(proxy.address(), "/a?b").await);
        assert_eq!(saw["version"], version, "{pool}");
        assert_eq!((&saw["target"], &saw["host"]), (&"/a?b".into(), &"inventory:80".into()));
    }
}

/// Scenario: an HTTP/2 connection may carry one request at a time, and two come.
/// Guarantees: the second gets a connection of its own.
#[tokio::test]
async fn max_concurrent_streams() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let proxy = proxy(&[server.address], "{connectionPool: {http: {maxConcurrentStreams: 1}}}");
    let caller = http2_caller(proxy.address()).await;
    let calls = [(), ()].map(|()| {
        let mut caller = caller.clone();
        let request = Request::get("http://inventory/").body(full("")).unwrap();
        tokio::spawn(async move { caller.send_request(request).await })
    });
    arrivals.recv().await.unwrap();
    arrivals.recv().await.unwrap();
    assert_eq!(server.connections(), 2);
    gate.add_permits(2);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
}

/// Scenario: `tcpKeepalive` is set.
/// Guarantees: the kernel's keep-alive timer runs on the connection to the server.
#[tokio::test]
async fn tcp_keepalive() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let policy = "{connectionPool: {tcp: {tcpKeepalive: {time: 7200s, interval: 75s, probes: 9}}}}";
    let proxy = proxy(&[server.address], policy);
    let answer = tokio::spawn(get_owned(proxy.address()));
    arrivals.recv().await.unwrap();
    let peer = format!("0100007F:{:04X}", server.address.port());
    let keepalive = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(2) == Some(&&*peer) && fields.get(5).is_some_and(|it| it.starts_with("02:"))
    };
    let sockets = || std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Until what was sent is acknowledged, another timer runs.
    while !sockets().lines().any(keepalive) {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(answer.await.unwrap().status, 200);
}

/// Scenario: a limit is lowered and raised by pushes while requests are under way.
/// Guarantees: what is under way goes on; the new limit holds from the acknowledgement on.
#[tokio::test]
async fn settings_change_at_run_time() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    let address = proxy.address();
    let first = [(), ()].map(|()| tokio::spawn(get_owned(address)));
    arrivals.recv().await.unwrap();
    arrivals.recv().await.unwrap();
    let limit =
        |max| settings(&format!("{{connectionPool: {{http: {{http2MaxRequests: {max}}}}}}}"));
    assert_eq!(push(&mut session, 1, &limit(2)).await.rejected, None);
    assert_eq!(get(address, "/").await.status, 503);
    assert_eq!(push(&mut session, 2, &limit(3)).await.rejected, None);
    let third = tokio::spawn(get_owned(address));
    arrivals.recv().await.unwrap();
    gate.add_permits(3);
    for answer in first.into_iter().chain([third]) {
        assert_eq!(answer.await.unwrap().status, 200);
    }
}

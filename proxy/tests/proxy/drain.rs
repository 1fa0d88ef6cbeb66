//! The end of a proxy, as those see it who use it meanwhile.

use crate::collector::Collector;
use crate::shop::page;
use crate::world::{Answer, Caller, Proxy, Server, full, get, http2_caller, outbound, raw};
use http::Request;
use std::time::Duration;

/// Far longer than the test: nothing here ends by itself.
const LONG: Duration = Duration::from_mins(5);

async fn drain(proxy: &Proxy) -> u16 {
    let mut admin = Caller::connect(proxy.admin()).await;
    let request = Request::post("/drain").body(full("")).unwrap();
    admin.send(request).await.status
}

/// Scenario: a proxy is told to drain, twice, with a grace, while requests are in the server over
/// HTTP/1 and HTTP/2; others come during the grace.
/// Guarantees: it says so everywhere; what is in flight and what still comes is answered in full, and
/// each answer says that its connection ends; HTTP/2 is told to go away; the second time changes
/// nothing.
#[tokio::test]
async fn a_grace_serves_those_who_have_not_heard() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    (config.operation.drain_grace, config.operation.drain_timeout) = (LONG, LONG);
    let proxy = Proxy::start(config);
    assert_eq!(page(&proxy, "/config").await["drain"]["stage"], "serving");
    let mut busy = Caller::connect(proxy.address()).await;
    let first = tokio::spawn(async move { busy.get("/first").await });
    let mut http2 = http2_caller(proxy.address()).await;
    let request = Request::get("http://inventory/second").body(full("")).unwrap();
    let second = http2.send_request(request);
    let second = tokio::spawn(async move { Answer::read(second.await.unwrap()).await.unwrap() });
    for _ in 0..2 {
        arrivals.recv().await.unwrap();
    }

    assert_eq!(drain(&proxy).await, 200);
    let told = page(&proxy, "/config").await["drain"].clone();
    assert_eq!(told["stage"], "draining");
    assert_eq!(drain(&proxy).await, 200);
    let again = page(&proxy, "/config").await["drain"].clone();
    assert!(again["ends_in_ms"].as_u64() <= told["ends_in_ms"].as_u64(), "{told} {again}");
    assert_eq!(get(proxy.admin(), "/readyz").await.status, 503);
    let health = get(proxy.admin(), "/healthz").await;
    assert_eq!((health.status, &*health.body), (200, &b"draining\n"[..]));
    let metrics = get(proxy.admin(), "/metrics").await.body;
    assert!(String::from_utf8_lossy(&metrics).contains("fusebox_proxy_draining{} 1"));

    gate.add_permits(3);
    let first = first.await.unwrap();
    assert_eq!((first.status, first.header("connection")), (200, "close"));
    let second = second.await.unwrap();
    assert_eq!((second.status, second.header("connection")), (200, ""));
    while http2.ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let third = get(proxy.address(), "/third").await;
    assert_eq!((third.status, third.header("connection")), (200, "close"));
}

/// Scenario: a proxy with a grace is told to drain while a collector listens.
/// Guarantees: its next reports say so, those before do not.
#[tokio::test]
async fn the_collector_is_told() {
    let (server, collector) = (Server::echo().await, Collector::start().await);
    let mut config = outbound(&[server.address]);
    (config.operation.drain_grace, config.operation.drain_timeout) = (LONG, LONG);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    assert!(!session.report().await.draining);
    assert_eq!(drain(&proxy).await, 200);
    // The window that was open may have been on its way.
    let told = (session.report().await.draining, session.report().await.draining);
    assert!(told.1, "{told:?}");
}

/// Scenario: a proxy without a grace is told to drain while one request is in the server and will
/// be answered, and another never is.
/// Guarantees: listeners close; the first is answered, the second cut off at the timeout, and then
/// nothing is left.
#[tokio::test]
async fn long_streams_end_at_the_timeout() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    config.operation.drain_timeout = Duration::from_millis(1_500);
    let proxy = Proxy::start(config);
    let address = proxy.address();
    let mut calls = Vec::new();
    for path in ["/one", "/two"] {
        let mut caller = Caller::connect(address).await;
        let request = Request::get(path).body(full("")).unwrap();
        calls.push(tokio::spawn(async move { caller.try_send(request).await }));
        arrivals.recv().await.unwrap();
    }
    assert_eq!(drain(&proxy).await, 200);
    assert_eq!(get(proxy.admin(), "/healthz").await.body, "closing\n");
    gate.add_permits(1);
    proxy.drained().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap().is_ok());
    }
    assert_eq!(answered, 1);
}

/// Scenario: `/drain` is asked for in wrong ways.
/// Guarantees: only a POST of the own machine that no web page sent begins an end.
#[tokio::test]
async fn who_may_drain() {
    let server = Server::echo().await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let mut admin = Caller::connect(proxy.admin()).await;
    assert_eq!(admin.get("/drain").await.status, 405);
    let from_a_page = Request::post("/drain").header("origin", "http://evil.example");
    assert_eq!(admin.send(from_a_page.body(full("")).unwrap()).await.status, 403);
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(raw(proxy.address(), request).await.starts_with("HTTP/1.1 200"));
    assert_eq!(get(proxy.admin(), "/readyz").await.status, 200);
}

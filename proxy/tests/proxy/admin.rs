//! The admin port.

use crate::collector::Collector;
use crate::world::{Caller, Proxy, Server, full, get, outbound};
use fusebox_proto::command::Action;
use http::Request;
use serde_json::Value;

/// Scenario: every page of the admin port, and requests that it does not serve.
/// Guarantees: each page is what it says; the rest says what there is.
#[tokio::test]
async fn pages() {
    let server = Server::echo().await;
    let proxy = Proxy::start(outbound(&[server.address]));
    get(proxy.address(), "/").await;
    let mut admin = Caller::connect(proxy.admin()).await;
    assert_eq!(admin.get("/healthz").await.body, "ok\n");
    assert_eq!(admin.get("/readyz").await.status, 200);
    let config: Value = serde_json::from_slice(&admin.get("/config").await.body).unwrap();
    assert_eq!(config["service"]["name"], "payment");
    assert_eq!(config["outbound"][0]["destination"], "inventory");
    assert_eq!(config["admin"], proxy.admin().to_string());
    let page: Value = serde_json::from_slice(&admin.get("/breakers").await.body).unwrap();
    let breaker = &page["breakers"][0];
    assert_eq!((&breaker["state"], &breaker["in_flight"]), (&"closed".into(), &0.into()));
    assert_eq!(breaker["endpoints"][0]["connections"], 1);
    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/metrics", 405),
        ("GET", "/breakers/reset", 405),
        ("POST", "/breakers/reset?what", 400),
        ("POST", "/breakers/reset?destination=nobody", 404),
        ("POST", "/breakers/reset?destination=inventory&now", 200),
    ] {
        let request = Request::builder().method(method).uri(path).body(full("")).unwrap();
        assert_eq!(admin.send(request).await.status, status, "{method} {path}");
    }
    let from_a_page = Request::post("/breakers/reset").header("origin", "http://evil.example");
    assert_eq!(admin.send(from_a_page.body(full("")).unwrap()).await.status, 403);
}

/// Scenario: calls, then `/metrics` once their window is closed.
/// Guarantees: well-formed lines of Prometheus' text format that say what happened.
#[tokio::test]
async fn metrics_say_what_happened() {
    let server = Server::echo().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    get(proxy.address(), "/").await;
    session.trip(1, Action::Open).await;
    get(proxy.address(), "/").await;
    let mut refused = 0;
    while refused == 0 {
        let report = session.report().await;
        refused += report.edges.iter().map(|edge| edge.counts.refused.forced_open).sum::<u64>();
    }
    let answer = get(proxy.admin(), "/metrics").await;
    let page = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in page.lines() {
        let is_sample =
            line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(line.starts_with("# ") || is_sample, "{line}");
    }
    let edge = "destination=\"inventory\",protocol=\"http/1.1\"";
    for line in [
        format!("fusebox_proxy_attempts_total{{{edge},class=\"first\"}} 1"),
        format!("fusebox_proxy_ended_total{{{edge},outcome=\"success\"}} 1"),
        format!("fusebox_proxy_refused_total{{{edge},reason=\"forced-open\"}} 1"),
        format!("fusebox_proxy_attempt_seconds_count{{{edge}}} 1"),
        "fusebox_proxy_breaker_state{destination=\"inventory\",state=\"forced_open\"} 1".into(),
        "fusebox_proxy_dropped_total{what=\"reports\"} 0".into(),
    ] {
        assert!(page.lines().any(|seen| seen == line), "{line}\n{page}");
    }
}

/// Scenario: the collector is gone, an edge is open, and someone resets it at the admin port.
/// Guarantees: the edge serves again.
#[tokio::test]
async fn reset_without_a_collector() {
    let server = Server::echo().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    session.trip(1, Action::Open).await;
    drop(session);
    collector.kill().await;
    assert_eq!(get(proxy.address(), "/").await.status, 503);
    let request = Request::post("/breakers/reset?now").body(full("")).unwrap();
    let answer = Caller::connect(proxy.admin()).await.send(request).await;
    assert_eq!(answer.body, "{\"reset\":[\"payment>inventory\"]}");
    assert_eq!(get(proxy.address(), "/").await.status, 200);
}

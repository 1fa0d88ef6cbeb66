//! The collector's own pages.

use crate::support::{get, json, send, start};
use bytes::Bytes;
use http::Request;

/// Scenario: a collector that nobody has sent anything.
/// Guarantees: health and metrics answer, every noun of the contract has its empty shape, and an
/// embedded collector would say so.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_collector_has_the_shape_of_the_contract() {
    let collector = start().await;
    let address = collector.http();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(address, path).await.body(), "ok\n");
    }
    let status = json(address, "/api/v1/status").await;
    assert_eq!((&status["health"], &status["embedded"]), (&"ok".into(), &false.into()), "{status}");
    assert_eq!(status["collector"]["senders"], 0, "{status}");
    for noun in ["services", "edges", "incidents", "breakers", "proxies"] {
        let object = json(address, &format!("/api/v1/{noun}")).await;
        assert_eq!(object[noun], serde_json::json!([]), "{object}");
    }
    let policy = json(address, "/api/v1/policy").await;
    let expected = serde_json::json!({
        "version": null, "profile": "fusebox", "documents": [], "versions": [], "proxies": []
    });
    assert_eq!(policy, expected);
    assert_eq!(json(address, "/api/v1/lint").await["findings"], serde_json::json!([]));
    assert_eq!(json(address, "/api/v1/incidents").await["advisories"], serde_json::json!([]));

    let metrics = get(address, "/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(metrics.body().to_vec()).unwrap();
    for line in ["fusebox_senders 0", "fusebox_otlp_requests_total{signal=\"traces\"} 0"] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
}

/// Scenario: paths and methods that do not exist, and names of others.
/// Guarantees: errors are JSON that says what there is; a web page under another name reads
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn other_requests_are_refused_as_json() {
    let collector = start().await;
    let address = collector.http();
    let check = async |method: &str, path: &str, host: Option<&str>, status: u16, word: &str| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = send(address, request.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status(), status, "{method} {path} {host:?}");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).expect("JSON");
        let text = body["error"].as_str().expect("an error");
        assert!(text.contains(word), "{method} {path} {host:?}: {text}");
    };
    let local = Some("localhost");
    check("GET", "/", local, 404, "/api/v1").await;
    check("GET", "/api/v1/nonsense", local, 404, "services").await;
    check("GET", "/api/v2/services", local, 404, "/api/v1").await;
    check("POST", "/api/v1/services", local, 405, "GET").await;
    check("DELETE", "/metrics", local, 405, "GET").await;
    check("GET", "/api/v1/services", Some("evil.example"), 403, "loopback").await;
    check("GET", "/metrics", Some("127.0.0.1.evil.example:4320"), 403, "loopback").await;
    check("GET", "/healthz", None, 403, "loopback").await;
}

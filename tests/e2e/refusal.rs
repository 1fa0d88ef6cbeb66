//! Retries that the application makes: recognised in the sidecar, muted with one command.

use crate::trip::Triangle;
use fusebox_tests::client;
use std::net::SocketAddr;

/// A trace that nobody records: the proxy must not depend on sampling.
fn traceparent(trace: u64, parent: u64) -> String {
    format!("00-{:032x}-{parent:016x}-00", 0xf00d_0000_u64 + trace)
}

async fn call(proxy: SocketAddr, traceparent: &str) -> http::Response<bytes::Bytes> {
    client::get(proxy, "/stock/1", &[("traceparent", traceparent)]).await.expect("an answer")
}

/// Scenario: `mute-retries` is in force and `b` answers well; then the edge is open and a client
/// repeats a refused call, once under the same parent span and once under a new one.
/// Guarantees: first attempts pass while muted; a refused first attempt is 503 and its repetition
/// 424 with the status that it repeats, so that client libraries stop.
#[tokio::test]
async fn the_retry_of_a_refused_call_is_424() {
    let triangle = Triangle::start().await;
    let Triangle { mesh, a_proxy, b, .. } = &triangle;
    let muted = mesh.fusebox(&["trip", "a", "b", "--action", "mute-retries"]);
    assert_eq!(muted.code, Some(0), "{muted:?}");
    let proxy = a_proxy.outbound[0];
    for n in 0..5 {
        assert_eq!(call(proxy, &traceparent(n, 1)).await.status(), 200, "a first attempt");
    }
    let open = mesh.fusebox(&["trip", "a", "b"]);
    assert_eq!(open.code, Some(0), "{open:?}");
    let before = b.count();
    for (trace, second_parent) in [(100, 1), (101, 2)] {
        assert_eq!(call(proxy, &traceparent(trace, 1)).await.status(), 503);
        let retry = call(proxy, &traceparent(trace, second_parent)).await;
        assert_eq!(retry.status(), 424);
        let why = retry.headers()["x-fusebox-refused"].to_str().unwrap();
        assert_eq!(why, "retries-muted; edge=a>b; original=503");
        assert_eq!(retry.headers()["x-envoy-ratelimited"], "true");
    }
    assert_eq!(b.count(), before);
}

/// Scenario: a gRPC call (HTTP/2 and its content-type) on an open edge.
/// Guarantees: trailers-only UNAVAILABLE with pushback, which stops gRPC libraries and an Envoy.
#[tokio::test]
async fn grpc_is_refused_in_its_own_words() {
    let triangle = Triangle::start().await;
    let Triangle { mesh, a_proxy, .. } = &triangle;
    assert_eq!(mesh.fusebox(&["trip", "a", "b"]).code, Some(0));
    let request = http::Request::post("http://b/shop.Stock/Get")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::Full::default())
        .unwrap();
    let refused = client::send_http2(a_proxy.outbound[0], request).await.unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "14");
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "-1");
    assert_eq!(refused.headers()["x-envoy-ratelimited"], "true");
    assert_eq!(refused.headers()["x-fusebox-refused"], "forced-open; edge=a>b");
}

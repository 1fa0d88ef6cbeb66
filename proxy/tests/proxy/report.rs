//! What a proxy tells its collector: windows and spans.

use crate::collector::Collector;
use crate::world::{Caller, Proxy, Server, dead_address, full, get, inbound, outbound};
use fusebox_proto::report::{EdgeCounts, Report};
use fusebox_proto::trace::{SpanId, TraceId};
use fusebox_proxy::config::Outbound;
use http::{Request, Response};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn status_server() -> Server {
    Server::start(|request: Request<Incoming>| async move {
        let status: u16 = request.uri().path()[1..].parse().unwrap_or(200);
        let seen = request.headers().get("traceparent").cloned();
        let mut response = Response::builder().status(status);
        if let Some(seen) = seen {
            response = response.header("seen", seen);
        }
        response.body(full("hello")).unwrap()
    })
    .await
}

/// Scenario: calls that succeed, fail, repeat, find nobody, and are given up.
/// Guarantees: the windows of the edge add up to what happened, each to its own account.
#[tokio::test]
async fn windows_add_up() {
    let server = status_server().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    let dead =
        Outbound { endpoints: vec![dead_address().await.into()], ..config.outbound[0].clone() };
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = Outbound { endpoints: vec![hanging.local_addr().unwrap().into()], ..dead.clone() };
    config.outbound.extend([dead, hangs]);
    config.collector = Some(collector.url.clone());
    let running = fusebox_proxy::start(config).unwrap();
    let [listen, listen_dead, listen_hanging] = running.outbound() else { panic!("three") };
    let mut session = collector.attached().await;

    let mut caller = Caller::connect(*listen).await;
    for path in ["/200", "/404", "/500"] {
        caller.get(path).await;
    }
    for _ in 0..2 {
        let request =
            Request::get("/503").header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-00"));
        caller.send(request.body(full("")).unwrap()).await;
    }
    assert_eq!(get(*listen_dead, "/").await.status, 503);
    let mut impatient = tokio::net::TcpStream::connect(listen_hanging).await.unwrap();
    impatient.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let _server_side = hanging.accept().await.unwrap();
    drop(impatient);

    let mut counts = EdgeCounts::default();
    let mut latencies = 0;
    while counts.successes + counts.failures + counts.timeouts < 7 {
        let report: Report = session.report().await;
        for edge in &report.edges {
            assert_eq!(edge.destination.name(), "inventory");
            counts.add(&edge.counts);
            latencies += edge.latency.count();
        }
    }
    assert_eq!((counts.first_attempts, counts.retries_certain, counts.retries_probable), (6, 1, 0));
    assert_eq!(counts.unclassified, 5);
    assert_eq!((counts.successes, counts.failures, counts.timeouts), (2, 4, 1));
    assert_eq!((counts.refused.total(), latencies), (0, 7));
    tokio::task::spawn_blocking(move || running.shutdown(Duration::ZERO)).await.unwrap();
}

/// Scenario: calls to an application: answered, failed; then the proxy is told to stop.
/// Guarantees: inbound windows count them, and the last report comes before the end.
#[tokio::test]
async fn inbound_windows_and_the_last_report() {
    let server = status_server().await;
    let collector = Collector::start().await;
    let mut config = inbound(server.address);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    let address = proxy.address();
    for path in ["/200", "/404", "/500"] {
        get(address, path).await;
    }
    let ends = tokio::spawn(proxy.shutdown(Duration::from_secs(5)));
    let (mut requests, mut failures) = (0, 0);
    while requests < 3 {
        for window in session.report().await.inbound {
            requests += window.requests;
            failures += window.failures;
        }
    }
    assert_eq!((requests, failures), (3, 1));
    ends.await.unwrap();
}

/// What of a span the tests look at.
#[derive(Debug, PartialEq)]
struct Seen {
    kind: SpanKind,
    trace: String,
    parent: String,
    id: String,
    attributes: BTreeMap<String, String>,
}

fn seen(span: &Span) -> Seen {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let attributes = span.attributes.iter().map(|entry| {
        (entry.key.clone(), text(entry.value.as_ref().unwrap().value.as_ref().unwrap()))
    });
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
    Seen {
        kind: span.kind(),
        trace: TraceId::from_bytes(&span.trace_id).unwrap().to_string(),
        parent: SpanId::from_bytes(&span.parent_span_id).unwrap().to_string(),
        id: SpanId::from_bytes(&span.span_id).unwrap().to_string(),
        attributes: attributes.collect(),
    }
}

/// Scenario: sampled and unsampled calls through the caller's proxy, with secrets in query and
/// headers; one is repeated.
/// Guarantees: of each sampled one there is a span, child of the caller's and parent of what the
/// server sees, without the secrets; of the unsampled one there is none, and it passes unchanged.
#[tokio::test]
async fn spans_of_sampled_requests() {
    let server = status_server().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    config.instance = "one".into();
    let proxy = Proxy::start(config);
    let mut caller = Caller::connect(proxy.address()).await;
    let mut call = async |flags: &str| {
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        let request = Request::get("/503?token=secret")
            .header("traceparent", traceparent)
            .header("authorization", "Bearer secret")
            .header("cookie", "secret");
        caller.send(request.body(full("")).unwrap()).await.header("seen").to_owned()
    };
    assert_eq!(call("00").await, format!("00-{TRACE}-00f067aa0ba902b7-00"));
    let first = call("01").await;

    let batch = collector.spans().await;
    assert!(!format!("{batch:?}").contains("secret"));
    let resource = &batch.resource_spans[0];
    let resource_text = format!("{:?}", resource.resource);
    assert!(resource_text.contains("payment") && resource_text.contains("\"one\""));
    let scope = &resource.scope_spans[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "fusebox.proxy");
    assert_eq!(scope.spans.len(), 1, "none of the unsampled");
    let span = seen(&scope.spans[0]);
    assert_eq!(
        (span.kind, &*span.trace, &*span.parent),
        (SpanKind::Client, TRACE, "00f067aa0ba902b7")
    );
    assert_eq!(first, format!("00-{TRACE}-{}-01", span.id));
    let expected = [
        ("error.type", "503"),
        ("http.request.method", "GET"),
        ("http.request.resend_count", "1"),
        ("http.response.status_code", "503"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("server.address", "inventory"),
        ("server.port", "80"),
        ("service.peer.name", "inventory"),
        ("url.path", "/503"),
        ("url.scheme", "http"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(span.attributes, BTreeMap::from(expected));
}

//! OTLP to the letter: what is taken, what is refused, and how both are said.

use crate::support::{Watcher, frame, get, grpc, json, post, send, start};
use bytes::Bytes;
use fusebox_proto::view::Snapshot;
use http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use std::io::Write as _;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");
const GRPC: (&str, &str) = ("content-type", "application/grpc");
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The limit of the contract: 16 MiB.
const LEN_MAX: usize = 16 * 1024 * 1024;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("in memory");
    encoder.finish().expect("in memory")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 1).expect("in memory")
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn of_service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![text("service.name", name)];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

/// One request of one service, with `spans` spans of which the last `broken` have no id.
fn export(service: &str, spans: u8, broken: u8) -> ExportTraceServiceRequest {
    let now_ns = fusebox_proto::Now::read().unix_ms * 1_000_000;
    let span = |at: u8| Span {
        trace_id: vec![7; 16],
        span_id: if at < spans - broken { vec![at + 1; 8] } else { vec![] },
        name: "GET /".into(),
        kind: 2,
        start_time_unix_nano: now_ns - 1_000_000,
        end_time_unix_nano: now_ns,
        ..Span::default()
    };
    let spans = (0..spans).map(span).collect();
    ExportTraceServiceRequest { resource_spans: vec![of_service(service, spans)] }
}

/// Payment calls inventory, `calls` times.
fn calls(calls: u8) -> ExportTraceServiceRequest {
    let now_ns = fusebox_proto::Now::read().unix_ms * 1_000_000;
    let span = |call: u8, kind: i32, id: u8, parent: Vec<u8>| Span {
        trace_id: vec![call + 1; 16],
        span_id: vec![id; 8],
        parent_span_id: parent,
        name: "GET /stock".into(),
        kind,
        start_time_unix_nano: now_ns - 5_000_000,
        end_time_unix_nano: now_ns,
        ..Span::default()
    };
    let client = |call| span(call, 3, 1, vec![]);
    let server = |call| span(call, 2, 2, vec![1; 8]);
    ExportTraceServiceRequest {
        resource_spans: vec![
            of_service("payment", (0..calls).map(client).collect()),
            of_service("inventory", (0..calls).map(server).collect()),
        ],
    }
}

fn small() -> Vec<u8> {
    export("payment", 1, 0).encode_to_vec()
}

/// Sends one span of `service`.
pub(crate) async fn send_one(collector: &fusebox_collector::Running, service: &str) {
    let body = export(service, 1, 0).encode_to_vec();
    let answer = post(collector.otlp_http(), "/v1/traces", &[PROTOBUF], body).await;
    assert_eq!(answer.status(), 200);
}

/// A body of `len` bytes that is valid and says nothing: an unknown field that is skipped.
fn padding(len: usize) -> Vec<u8> {
    let mut body = vec![0x7a];
    prost::encoding::encode_varint(len as u64 - 5, &mut body);
    assert_eq!(body.len(), 5);
    body.resize(len, 0);
    body
}

/// Scenario: valid requests in each encoding and compression, for each signal, and empty ones.
/// Guarantees: each is taken with 200, answered in its own encoding, with no word of partial
/// success.
#[tokio::test(flavor = "multi_thread")]
async fn valid_requests_are_taken() {
    let collector = start().await;
    let address = collector.otlp_http();
    let check = async |path: &str, kind: (&str, &str), encoding: &str, body: Vec<u8>| {
        let headers = [kind, ("content-encoding", encoding)];
        let answer = post(address, path, &headers, body).await;
        assert_eq!(answer.status(), 200, "{path} {kind:?} {encoding}: {:?}", answer.body());
        let is_json = kind.1.starts_with(JSON.1);
        let expected: &[u8] = if is_json { b"{}" } else { b"" };
        assert_eq!(answer.body(), expected, "{path} {kind:?} {encoding}");
        let answered = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.1.starts_with(answered), "asked {kind:?}, answered {answered}");
    };
    for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
        check(path, PROTOBUF, "identity", vec![]).await;
        check(path, JSON, "identity", b"{}".to_vec()).await;
        check(path, JSON, "gzip", gzip(b"{}")).await;
    }
    check("/v1/traces", PROTOBUF, "identity", small()).await;
    check("/v1/traces", PROTOBUF, "gzip", gzip(&small())).await;
    check("/v1/traces", PROTOBUF, "zstd", zstd(&small())).await;
    check("/v1/traces", PROTOBUF, "deflate", deflate(&small())).await;
    check("/v1/traces", ("content-type", "application/json; charset=utf-8"), "", vec![b'{', b'}'])
        .await;
    let named = serde_json::to_vec(&export("cart", 1, 0)).unwrap();
    check("/v1/traces", JSON, "", named).await;
    check("/v1/traces", PROTOBUF, "", padding(LEN_MAX)).await;
}

/// Scenario: requests that cannot be parsed, are too long as they come or unfolded, of a type or
/// compression that OTLP does not know, or sent the wrong way.
/// Guarantees: each is refused for good with the status that OTLP gives it, in the encoding of the
/// request, without a word about trying again.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_requests_are_refused_for_good() {
    let collector = start().await;
    let address = collector.otlp_http();
    let check = async |headers: &[(&str, &str)], body: Vec<u8>, status: u16, word: &str| {
        let answer = post(address, "/v1/traces", headers, body).await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert_eq!(answer.status(), status, "{headers:?} {text}");
        assert!(text.contains(word), "{headers:?}: {text:?} does not say {word:?}");
        assert!(!answer.headers().contains_key("retry-after"), "{headers:?}");
        if let Some((_, "application/x-protobuf")) = headers.first() {
            assert_eq!(answer.headers()["content-type"], "application/x-protobuf");
        }
    };
    check(&[PROTOBUF], b"not protobuf".to_vec(), 400, "no OTLP request").await;
    check(&[PROTOBUF], small()[..small().len() - 1].to_vec(), 400, "no OTLP request").await;
    check(&[JSON], b"{\"resourceSpans\": 3}".to_vec(), 400, "\"code\":3").await;
    check(&[JSON], b"{".to_vec(), 400, "\"message\"").await;
    check(&[JSON], b"".to_vec(), 400, "\"code\":3").await;
    let packed = ("content-encoding", "gzip");
    check(&[PROTOBUF, packed], small(), 400, "does not decompress").await;
    check(&[PROTOBUF, packed], gzip(&small())[..20].to_vec(), 400, "does not decompress").await;
    check(&[PROTOBUF, ("content-encoding", "zstd")], small(), 400, "does not decompress").await;
    check(&[PROTOBUF], padding(LEN_MAX + 1), 413, "16777216").await;
    check(&[PROTOBUF, packed], gzip(&padding(LEN_MAX + 1)), 413, "16777216").await;
    let bomb = zstd(&vec![0; 4 * LEN_MAX]);
    check(&[PROTOBUF, ("content-encoding", "zstd")], bomb, 413, "16777216").await;
    check(&[("content-type", "text/plain")], small(), 415, "application/x-protobuf").await;
    check(&[], small(), 415, "application/json").await;
    check(&[PROTOBUF, ("content-encoding", "br")], small(), 415, "gzip, zstd").await;

    assert_eq!(get(address, "/v1/traces").await.status(), 405);
    assert_eq!(post(address, "/v2/traces", &[PROTOBUF], small()).await.status(), 404);
}

/// Scenario: the same over gRPC: taken, malformed, too long, unfolding too long, unknown.
/// Guarantees: each gets gRPC's own status; nothing that is refused for good carries a
/// `RetryInfo`.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_says_the_same_in_its_own_words() {
    let collector = start().await;
    let address = collector.otlp_grpc();
    let check = async |headers: &[(&str, &str)], body: Bytes, status: &str| {
        let answer = grpc(address, TRACES, &[&[GRPC], headers].concat(), body).await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        assert!(answer.message.is_empty(), "{answer:?}");
        assert!(!answer.headers.contains_key("grpc-status-details-bin"), "{answer:?}");
    };
    let (gzipped, zstd_named) = (("grpc-encoding", "gzip"), ("grpc-encoding", "zstd"));
    check(&[], frame(false, &[]), "0").await;
    check(&[], frame(false, &small()), "0").await;
    check(&[gzipped], frame(false, &small()), "0").await;
    check(&[gzipped], frame(true, &gzip(&small())), "0").await;
    check(&[zstd_named], frame(true, &zstd(&small())), "0").await;
    check(&[], frame(false, &padding(LEN_MAX)), "0").await;
    check(&[], frame(false, b"not protobuf"), "3").await;
    check(&[], Bytes::new(), "3").await;
    check(&[], frame(false, &small()).slice(..20), "3").await;
    check(&[gzipped], frame(true, &small()), "3").await;
    check(&[], frame(false, &padding(LEN_MAX + 1)), "8").await;
    check(&[gzipped], frame(true, &gzip(&padding(LEN_MAX + 1))), "8").await;
    check(&[zstd_named], frame(true, &zstd(&vec![0; 4 * LEN_MAX])), "8").await;
    check(&[("grpc-encoding", "br")], frame(true, &small()), "12").await;

    let unknown = "/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export";
    assert_eq!(grpc(address, unknown, &[GRPC], frame(false, &[])).await.status, "12");
}

/// Scenario: a request with three spans of which one has no id.
/// Guarantees: two are taken; the third is named in `partial_success`, over each transport.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_named() {
    let collector = start().await;
    let request = export("payment", 3, 1);

    let address = collector.otlp_http();
    let answer = post(address, "/v1/traces", &[PROTOBUF], request.encode_to_vec()).await;
    let partial = |body: &[u8]| {
        let response = ExportTraceServiceResponse::decode(body).unwrap();
        response.partial_success.expect("partial success")
    };
    assert_eq!(answer.status(), 200);
    assert_eq!(partial(answer.body()).rejected_spans, 1);
    assert!(!partial(answer.body()).error_message.is_empty());

    let body = serde_json::to_vec(&request).unwrap();
    let answer = post(address, "/v1/traces", &[JSON], body).await;
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedSpans"], "1", "{body}");

    let framed = frame(false, &request.encode_to_vec());
    let answer = grpc(collector.otlp_grpc(), TRACES, &[GRPC], framed).await;
    assert_eq!(answer.status, "0");
    assert_eq!(partial(&answer.message).rejected_spans, 1);
}

/// Scenario: an exporter sends the same request again, as it does when the answer got lost; then
/// another service sends its first.
/// Guarantees: the calls count once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_counts_once() {
    let collector = start().await;
    let body = calls(50).encode_to_vec();
    let again = async || {
        let answer = post(collector.otlp_http(), "/v1/traces", &[PROTOBUF], body.clone()).await;
        assert_eq!(answer.status(), 200);
    };
    let rate = |snapshot: &Snapshot| snapshot.edges.iter().find_map(|edge| edge.rate);
    again().await;
    let mut watcher = Watcher::begin(collector.control()).await;
    watcher.until("a rate", |snapshot| rate(snapshot).is_some_and(|rate| 0.0 < rate)).await;
    let before = rate(&watcher.snapshot).expect("just seen");
    for _ in 0..3 {
        again().await;
    }
    send_one(&collector, "cart").await;
    watcher.until("cart", |s| s.services.iter().any(|service| service.name == "cart")).await;
    let after = rate(&watcher.snapshot).expect("the edge is still there");
    assert!(after <= before, "{before} attempts/s, then {after}");
}

/// Scenario: a sender that promises a body and never ends it, while others send theirs.
/// Guarantees: it holds nobody up; when it gives up, that is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stalls_holds_nobody_up() {
    let collector = start().await;
    let address = collector.otlp_http();
    let mut stalled = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-protobuf\r\n\
         content-length: 1000\r\n\r\nhalf"
    );
    tokio::io::AsyncWriteExt::write_all(&mut stalled, head.as_bytes()).await.unwrap();
    let request = Request::post("/v1/traces").header(PROTOBUF.0, PROTOBUF.1);
    let answer = send(address, request.body(small().into()).unwrap()).await;
    assert_eq!(answer.status(), 200);

    drop(stalled);
    let mut watcher = Watcher::begin(collector.control()).await;
    let is_counted = |s: &Snapshot| s.status.collector.dropped.contains_key("otlp_broken_off");
    watcher.until("the broken request is counted", is_counted).await;
    let status = json(collector.http(), "/api/v1/status").await;
    assert_eq!(status["collector"]["dropped"]["otlp_broken_off"], 1, "{status}");
}

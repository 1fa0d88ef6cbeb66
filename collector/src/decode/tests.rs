use super::*;
use crate::observe::Outcome;
use crate::samples::samples;
use crate::spans::Evidence;
use fusebox_proto::report::Protocol;
use proptest::prelude::*;
use std::path::Path;

/// A request of one span, in JSON, with these fields beside its ids and times.
fn one(fields: &str) -> Span {
    let body = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{
            "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
            "startTimeUnixNano":"1000000000","endTimeUnixNano":"2000000000",{fields}}}]}}]}}]}}"#
    );
    let batch = json(body.as_bytes()).unwrap();
    assert_eq!(batch.rejected, Rejected::default());
    batch.spans.into_iter().next().unwrap()
}

/// A request of one client span with these attributes.
fn client(attributes: &[(&str, &str)]) -> Span {
    one(&format!(r#""kind":3,{}"#, with(attributes)))
}

fn with(attributes: &[(&str, &str)]) -> String {
    let all: Vec<String> = attributes
        .iter()
        .map(|(key, value)| format!(r#"{{"key":"{key}","value":{value}}}"#))
        .collect();
    format!(r#""attributes":[{}]"#, all.join(","))
}

/// Scenario: every body captured from Python, Node, Rust and Envoy, in every encoding.
/// Guarantees: it decodes, nothing is refused, and there are as many spans as the capture counted.
#[test]
fn every_captured_body_decodes() {
    let Some(folder) = samples() else { return };
    let manifest: serde_json::Value =
        serde_json::from_slice(&unpacked(&folder, "MANIFEST.json")).unwrap();
    let (mut traces, mut others) = (0, 0);
    for entry in manifest.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let (body, is_json) = (unpacked(&folder, file), file.contains(".json"));
        let count = match (entry["signal"].as_str().unwrap(), is_json) {
            ("traces", _) => {
                let batch = if is_json { json(&body) } else { protobuf(&body) }.unwrap();
                assert_eq!(batch.rejected, Rejected::default(), "{file}");
                assert_eq!(batch.spans.len() as u64, entry["spans"].as_u64().unwrap(), "{file}");
                traces += 1;
                continue;
            }
            ("metrics", true) => metrics_json(&body),
            ("metrics", false) => metrics_protobuf(&body),
            (_, true) => logs_json(&body),
            (_, false) => logs_protobuf(&body),
        };
        assert!(0 < count.unwrap().items, "{file}");
        others += 1;
    }
    assert!(30 < traces && 30 < others, "{traces} bodies of traces, {others} others");
}

/// Scenario: seven whole traces, each as protobuf and as JSON.
/// Guarantees: both give the same spans, with the interpreted attributes.
#[test]
fn protobuf_and_json_twins_are_equal() {
    let Some(folder) = samples() else { return };
    let manifest: serde_json::Value =
        serde_json::from_slice(&unpacked(&folder, "traces/MANIFEST.json")).unwrap();
    for entry in manifest.as_array().unwrap() {
        let file = entry["file"].as_str().unwrap();
        let from_json = json(&unpacked(&folder, &format!("traces/{file}.json"))).unwrap();
        let from_protobuf = protobuf(&unpacked(&folder, &format!("traces/{file}.pb"))).unwrap();
        assert_eq!(from_json.spans.len() as u64, entry["spans"].as_u64().unwrap(), "{file}");
        assert_eq!(from_json, from_protobuf, "{file}");
    }
}

/// Scenario: JSON that `opentelemetry-proto` itself would refuse, and the specification allows.
/// Guarantees: enums by name, numbers for 64-bit integers, upper-case hex, nulls and unknown
/// fields at every level are read.
#[test]
fn lenient_json_is_read() {
    let body = br#"{"new":[1],"resourceSpans":[null_less]}"#;
    assert!(json(body).is_err());
    let body = br#" {"new":{"a":[1]},"resourceSpans":[{"resource":{"attributes":[
        {"key":"service.name","value":{"futureValue":{"x":1},"stringValue":"cart"}},
        {"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"}]}}},
        {"key":"none","value":null}]},"schemaUrl":null,
        "scopeSpans":[{"scope":null,"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
        "spanId":"EEE19B7EC3C1B174","parentSpanId":null,"kind":"SPAN_KIND_SERVER","flags":769,
        "startTimeUnixNano":1544712660000000000,"endTimeUnixNano":"1544712661000000000",
        "attributes":[{"key":"http.status_code","value":{"intValue":503}},
        {"key":"load","value":{"doubleValue":"NaN"}}],"events":null,"links":[],
        "status":{"code":"STATUS_CODE_ERROR","message":null}}]}]}]}"#;
    let batch = json(body).unwrap();
    let [span] = &batch.spans[..] else { panic!("{batch:?}") };
    assert_eq!(span.origin.service.name(), "cart");
    assert_eq!(span.trace_id.to_string(), "5b8efff798038103d269b633813fc60c");
    assert_eq!((span.kind, span.parent_id), (SpanKind::Server, None));
    assert_eq!(span.parent_is_remote, Some(true));
    assert_eq!((span.outcome, span.evidence), (Outcome::Failure, Evidence::Status(503)));
    assert_eq!(span.duration_us(), 1_000_000);
    assert_eq!(json(b"{}").unwrap(), SpanBatch::default());
    assert_eq!(protobuf(b"").unwrap(), SpanBatch::default());
}

/// Scenario: bodies that are no OTLP, or far more than their bytes once decoded.
/// Guarantees: each is refused whole, before memory is spent on it.
#[test]
fn what_is_no_otlp_is_refused() {
    assert!(matches!(json(b"[]"), Err(DecodeError::Malformed(_))));
    assert!(matches!(json(b"\x0a\x00"), Err(DecodeError::Malformed(_))));
    assert!(matches!(json(b"{\"resourceSpans\":["), Err(DecodeError::Malformed(_))));
    assert!(matches!(protobuf(b"{\"resourceSpans\":[]}"), Err(DecodeError::Malformed(_))));
    assert!(matches!(protobuf(&[0x0a, 0x05, 0x00]), Err(DecodeError::Malformed(_))));
    assert!(matches!(metrics_protobuf(&[0x0a, 0x05]), Err(DecodeError::Malformed(_))));
    assert!(matches!(logs_json(b"{\"resourceLogs\":3}"), Err(DecodeError::Malformed(_))));
    // Empty messages: two bytes each.
    let bomb = [0x0a, 0x00].repeat(PARTS_MAX + 1);
    assert!(matches!(protobuf(&bomb), Err(DecodeError::TooManyParts { .. })));
    let bomb = format!("{{\"resourceSpans\":[{}{{}}]}}", "{},".repeat(PARTS_MAX));
    assert!(matches!(json(bomb.as_bytes()), Err(DecodeError::TooManyParts { .. })));
}

/// Scenario: good spans beside ones without ids, with ids of zeros, without times, and from before
/// they began.
/// Guarantees: the bad ones are counted with the reason of the first, the good ones taken.
#[test]
fn a_bad_span_is_refused_alone() {
    let span = |trace: &str, id: &str, start: u64, end: u64| {
        format!(
            r#"{{"traceId":"{trace}","spanId":"{id}","startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}"#
        )
    };
    let (trace, id) = ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174");
    let spans = [
        span(trace, id, 5_000_000_000, 6_000_000_000),
        span("", id, 5_000_000_000, 6_000_000_000),
        span(&"0".repeat(32), id, 5_000_000_000, 6_000_000_000),
        span(trace, "eee1", 5_000_000_000, 6_000_000_000),
        span(trace, "not hexadecimal!", 5_000_000_000, 6_000_000_000),
        span(trace, id, 5_000_000_000, 0),
        span(trace, id, 5_000_000_000, 3_000_000_000),
        // Whole milliseconds of Node: no harm.
        span(trace, "eee19b7ec3c1b175", 5_000_000_000, 4_999_000_000),
    ];
    let body =
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(","));
    let batch = json(body.as_bytes()).unwrap();
    assert_eq!(batch.spans.len(), 2);
    assert_eq!(batch.spans[1].duration_us(), 0);
    assert_eq!(batch.rejected.count, 6);
    assert_eq!(batch.rejected.reason, "a span's trace_id is not 16 bytes, or all zero");
}

/// Scenario: resources with new names, old names, none, and names that would act on a terminal.
/// Guarantees: the service is who the specification says, cut and made visible.
#[test]
fn origins() {
    let check = |attributes: &[(&str, &str)], service: &str, instance: Option<&str>| {
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{{}}},"scopeSpans":[{{"spans":[{{
            "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174",
            "startTimeUnixNano":"1","endTimeUnixNano":"2"}}]}}]}}]}}"#,
            with(attributes)
        );
        let batch = json(body.as_bytes()).unwrap();
        let origin = &batch.spans[0].origin;
        assert_eq!(origin.service.to_string(), service);
        assert_eq!(origin.instance.as_deref(), instance);
    };
    let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
    check(&[], "unknown_service", None);
    check(&[("service.name", &text(" "))], "unknown_service", None);
    check(&[("process.executable.name", &text("java"))], "unknown_service:java", None);
    check(
        &[
            ("deployment.environment", &text("old")),
            ("deployment.environment.name", &text("prod")),
            ("service.namespace", &text("shop")),
            ("service.name", &text("cart")),
            ("service.instance.id", &text("i-1")),
        ],
        "prod/shop/cart",
        Some("i-1"),
    );
    check(
        &[
            ("deployment.environment", &text("old")),
            ("service.name", &text("a\\u001bb")),
            ("host.name", &text("h")),
            ("process.pid", r#"{"intValue":"7"}"#),
        ],
        "old//a\\u{1b}b",
        Some("h:7"),
    );
    let long = "x".repeat(300);
    check(&[("service.name", &text(&long))], &format!("{}…", &long[..125]), None);
    check(
        &[
            ("service.name", &text("cart")),
            ("service.instance.id", &text("i-1")),
            ("telemetry.sdk.name", &text("envoy")),
        ],
        "cart",
        None,
    );
}

/// Scenario: the attributes by which each SDK names the peer, of §2.3 of what real data looks like.
/// Guarantees: the address is found in the order new names, old names, URL; strings are ports too;
/// a server span names no peer.
#[test]
fn peers() {
    let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
    let check = |attributes: &[(&str, &str)], address: &str| {
        let values: Vec<(&str, String)> = attributes
            .iter()
            .map(|(key, value)| {
                (*key, if value.starts_with('{') { (*value).into() } else { text(value) })
            })
            .collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(&*client(&values).peer.unwrap_or_default().address, address, "{attributes:?}");
        let server = one(&format!(r#""kind":2,{}"#, with(&values)));
        assert_eq!(server.peer, None);
    };
    check(&[("http.url", "http://127.0.0.1:18050/products?ids=1")], "127.0.0.1:18050");
    check(&[("url.full", "https://user:secret@bank.example/authorize#x")], "bank.example");
    check(&[("url.full", "https://bank.example:443/authorize")], "bank.example");
    check(&[("url.full", "http://[::1]:8080/")], "[::1]:8080");
    check(
        &[("server.address", "bank"), ("server.port", "17501"), ("http.url", "http://x/")],
        "bank:17501",
    );
    check(&[("server.address", "bank"), ("server.port", r#"{"intValue":443}"#)], "bank");
    check(
        &[("server.address", "127.0.0.1:18010"), ("server.port", r#"{"intValue":"18010"}"#)],
        "127.0.0.1:18010",
    );
    check(&[("net.peer.name", "db"), ("net.peer.port", "5432")], "db:5432");
    check(&[("net.peer.name", "old"), ("server.address", "new")], "new");
    check(&[("rpc.system", "grpc"), ("rpc.service", "a.B"), ("rpc.method", "C")], "");
}

/// Scenario: an Envoy's spans, where every value is text and the name is the caller's.
/// Guarantees: its upstream is the peer, on the egress span too; its inbound peer is not.
#[test]
fn envoy_peers() {
    let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
    let check = |kind: u8, name: &str, key: &str, emitter: Emitter, address: &str| {
        let attributes = with(&[("component", &text("proxy")), (key, &text("127.0.0.1:15002"))]);
        let span = one(&format!(r#""kind":{kind},"name":"{name}",{attributes}"#));
        assert_eq!(span.emitter, emitter);
        assert_eq!(&*span.peer.unwrap_or_default().address, address);
    };
    check(3, "router up egress", "peer.address", Emitter::EnvoyRouter, "127.0.0.1:15002");
    check(3, "egress payment", "upstream_address", Emitter::Envoy, "127.0.0.1:15002");
    check(2, "egress payment", "upstream_address", Emitter::Envoy, "127.0.0.1:15002");
    check(2, "egress payment", "peer.address", Emitter::Envoy, "");
}

/// Scenario: what each SDK and Envoy say when a request ends well, fails, or is given up, of §2.2,
/// §2.6 and §2.7.
/// Guarantees: a failure is the server's, a timeout the caller's, a 4xx neither.
#[test]
fn outcomes() {
    use Outcome::{Failure, Success, Timeout};
    let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
    let check = |kind: u8, status: &str, attributes: &[(&str, &str)], outcome: Outcome| {
        let values: Vec<(&str, String)> = attributes.iter().map(|(k, v)| (*k, text(v))).collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let span = one(&format!(r#""kind":{kind},"status":{status},{}"#, with(&values)));
        assert_eq!(span.outcome, outcome, "{kind} {status} {attributes:?}");
    };
    let (unset, error) = ("{}", r#"{"code":2}"#);
    check(3, unset, &[], Success);
    check(3, unset, &[("http.status_code", "200")], Success);
    check(3, unset, &[("http.response.status_code", "503")], Failure);
    check(3, error, &[("http.response.status_code", "404")], Success);
    check(2, error, &[("http.response.status_code", "200")], Failure);
    check(2, unset, &[("http.status_code", "499")], Timeout);
    check(3, error, &[("http.status_code", "200"), ("error.type", "ReadTimeout")], Timeout);
    check(3, error, &[("error.type", "ECONNREFUSED")], Failure);
    check(3, error, &[("error.type", "23")], Timeout);
    check(3, error, &[], Failure);
    check(3, r#"{"code":2,"message":"ReadError: "}"#, &[], Failure);
    check(
        3,
        r#"{"code":2,"message":"timeout of 200ms exceeded"}"#,
        &[("error.type", "AxiosError")],
        Timeout,
    );
    check(
        3,
        r#"{"code":2,"message":"ConnectionError: HTTPConnectionPool(host='x'): Max retries exceeded (Caused by ReadTimeoutError"}"#,
        &[],
        Timeout,
    );
    check(3, unset, &[("rpc.grpc.status_code", "0")], Success);
    check(3, error, &[("rpc.grpc.status_code", "14")], Failure);
    check(3, error, &[("rpc.grpc.status_code", "4")], Timeout);
    check(3, error, &[("rpc.response.status_code", "DEADLINE_EXCEEDED")], Timeout);
    check(3, error, &[("rpc.response.status_code", "NOT_FOUND")], Success);
    check(
        2,
        unset,
        &[("http.status_code", "0"), ("response_flags", "DC"), ("error", "true")],
        Timeout,
    );
    check(
        2,
        unset,
        &[("http.status_code", "504"), ("response_flags", "UT"), ("error", "true")],
        Timeout,
    );
    check(2, unset, &[("http.status_code", "503"), ("response_flags", "UF,URX")], Failure);
    check(2, unset, &[("response_flags", "-"), ("error", "true")], Failure);
}

/// Scenario: targets in old and new names, on the client's and the server's side.
/// Guarantees: equal requests have equal targets, and what differs in method, path, query or RPC
/// method does not.
#[test]
fn targets() {
    let text = |text: &str| format!(r#"{{"stringValue":"{text}"}}"#);
    let target = |attributes: &[(&str, &str)]| {
        let values: Vec<(&str, String)> = attributes.iter().map(|(k, v)| (*k, text(v))).collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        client(&values).target
    };
    let get = |url: &str| target(&[("http.method", "GET"), ("http.url", url)]);
    let new = target(&[("http.request.method", "GET"), ("url.full", "http://a:1/p/1?q=2")]);
    assert_eq!(get("http://a:1/p/1?q=2"), new);
    assert_eq!(target(&[("http.method", "GET"), ("http.target", "/p/1?q=2")]), new);
    let split = [("http.request.method", "GET"), ("url.path", "/p/1"), ("url.query", "q=2")];
    assert_eq!(target(&split), new);
    assert_ne!(get("http://a:1/p/2?q=2"), new);
    assert_ne!(get("http://a:1/p/1"), new);
    assert_eq!(get("http://a:1/p/1").unwrap().family, new.unwrap().family);
    assert_ne!(target(&[("http.method", "POST"), ("http.url", "http://a:1/p/1?q=2")]), new);
    let rpc = |method: &str| target(&[("rpc.service", "a.B"), ("rpc.method", method)]);
    assert_ne!(rpc("Get"), rpc("Put"));
    assert_eq!(rpc("Get").unwrap().family, rpc("Put").unwrap().family);
    assert_eq!(target(&[("net.peer.name", "x")]), None);
}

/// Scenario: protocols as SDKs and Envoy write them.
/// Guarantees: each is told apart.
#[test]
fn protocols() {
    let check = |attributes: &[(&str, &str)], protocol: Protocol| {
        let values: Vec<(&str, String)> =
            attributes.iter().map(|(k, v)| (*k, format!(r#"{{"stringValue":"{v}"}}"#))).collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        assert_eq!(client(&values).protocol, protocol);
    };
    check(&[], Protocol::Unknown);
    check(&[("http.method", "GET")], Protocol::Http1);
    check(&[("http.method", "GET"), ("http.flavor", "2.0")], Protocol::Http2);
    check(&[("http.method", "GET"), ("http.protocol", "HTTP/2")], Protocol::Http2);
    check(&[("rpc.system", "grpc")], Protocol::Grpc);
    check(&[("db.system", "sqlite")], Protocol::Database);
    check(&[("messaging.system", "rabbitmq")], Protocol::Messaging);
}

/// Scenario: trace states with and without a sampling threshold, good and bad.
/// Guarantees: the weight is 1 ÷ probability, and never below 1 or absurdly high.
#[test]
fn weights() {
    let check = |state: &str, expected: f64| {
        let weight = weight(state);
        assert!((weight - expected).abs() < 1e-9 * expected, "{state}: {weight}");
    };
    check("", 1.0);
    check("ot=th:0", 1.0);
    check("ot=th:8", 2.0);
    check("vendor=1, ot=rv:abc;th:c", 4.0);
    check("ot=th:fd70a3d70a3d71", 100.000_000_000_000_5);
    check("ot=th:ffffffffffffff", WEIGHT_MAX);
    check("ot=th:", 1.0);
    check("ot=th:xyz", 1.0);
    check("ot=th:000000000000000", 1.0);
}

proptest! {
    /// Scenario: arbitrary bytes, and real bodies with a byte changed or cut off.
    /// Guarantees: no decoder panics.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        drop((protobuf(&bytes), json(&bytes), metrics_protobuf(&bytes), metrics_json(&bytes)));
        drop((logs_protobuf(&bytes), logs_json(&bytes)));
    }

    /// Scenario: a well-formed body with one byte changed.
    /// Guarantees: no decoder panics, and what is still read has valid times.
    #[test]
    fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let span = trace::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            start_time_unix_nano: 5,
            end_time_unix_nano: 6,
            name: "router x".into(),
            trace_state: "ot=th:8".into(),
            ..trace::Span::default()
        };
        let scope = trace::ScopeSpans { spans: vec![span], ..trace::ScopeSpans::default() };
        let resource = trace::ResourceSpans { scope_spans: vec![scope], ..trace::ResourceSpans::default() };
        let mut body = ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(batch) = protobuf(&body) {
            for span in batch.spans {
                prop_assert!(span.start_unix_ns <= span.end_unix_ns);
            }
        }
    }
}

/// The body in a file of the samples, unpacked.
pub(crate) fn unpacked(folder: &Path, file: &str) -> Vec<u8> {
    let bytes = crate::samples::read(folder, file);
    if file.strip_suffix(".gz").is_none() {
        return bytes;
    }
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*bytes), &mut out).unwrap();
    out
}

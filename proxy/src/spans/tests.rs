mod oracle;

use super::encode::{self, Anchor, Head};
use super::export::Message;
use super::ring::BATCH_LEN_MAX;
use super::{Draft, Ending, Error, SpanRing};
use crate::edge::Way;
use crate::propagate::SpanPlace;
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::{SpanId, TraceId};
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
use proptest::prelude::*;
use prost::Message as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn draft(uri: &str, host: Option<&str>, protocol: Protocol, now: Instant) -> Draft {
    let mut request = Request::builder().method(Method::POST).uri(uri.parse::<Uri>().unwrap());
    if let Some(host) = host {
        request = request.header(HOST, HeaderValue::from_str(host).unwrap());
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let place = SpanPlace {
        trace_id: TraceId::from_bytes(&[7; 16]).unwrap(),
        span_id: SpanId::from_bytes(&[8; 8]).unwrap(),
        parent_id: SpanId::from_bytes(&[9; 8]),
        flags: 1,
    };
    Draft::new(place, protocol, &head, None, now)
}

#[expect(clippy::disallowed_methods, reason = "a test begins at some instant")]
fn start() -> Instant {
    Instant::now()
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let hosts = ["inventory", "inventory:8080", "[::1]:80", "[::1]", "10.0.0.1:65535", ""];
    let uris = ["/buy", "/shop.Inventory/Reserve", "http://stock:81/a?b=c", "/%1b%5d?secret"];
    let protocols = [Protocol::Http1, Protocol::Http2, Protocol::Grpc];
    let peers = [None, Some(("", "inventory")), Some(("shop", "inventory"))];
    (
        (
            prop::sample::select(uris.to_vec()),
            prop::option::of(prop::sample::select(hosts.to_vec())),
        ),
        prop::sample::select(protocols.to_vec()),
        prop::sample::select(peers.to_vec()),
        prop::option::of(prop::sample::select(vec!["", "v2"])),
        (0u16..3, any::<bool>(), 0usize..700),
    )
        .prop_map(|((uri, host), protocol, peer, subset, (resends, is_root, longer))| {
            let uri = if uri.starts_with('/') {
                format!("{uri}{}", "x".repeat(longer))
            } else {
                uri.into()
            };
            let mut draft = draft(&uri, host, protocol, start());
            if is_root {
                draft.place.parent_id = None;
            }
            draft.peer = peer.map(|(namespace, name)| ServiceId::new("", namespace, name).unwrap());
            draft.resend_count = resends;
            draft.way =
                subset.map(|subset| Arc::new(Way { route: "rule".into(), subset: subset.into() }));
            draft
        })
}

fn any_ending() -> impl Strategy<Value = Ending> {
    use Error::{Cancelled, Reset, Status, Timeout, Unavailable};
    let errors = vec![Status, Reset, Unavailable, Timeout, Cancelled];
    (
        prop::option::of(any::<u16>()),
        prop::option::of(0u16..17),
        prop::option::of(prop::sample::select(errors)),
        prop::option::of(Just("forced-open")),
    )
        .prop_map(|(http_status, grpc_status, error, refused)| Ending {
            http_status,
            grpc_status,
            error,
            refused,
        })
}

proptest! {
    /// Scenario: spans of every kind of request and ending, one behind the other.
    /// Guarantees: what is written for each is its message, field by field, as OTLP's own code reads
    /// it.
    #[test]
    fn what_is_written_is_the_message(
        all in prop::collection::vec((any_draft(), any_ending(), 0u64..10_000), 1..5),
    ) {
        let anchor = Anchor { instant: start(), unix: Duration::from_hours(500_000) };
        let (mut bytes, mut scratch, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (draft, ending, took_us) in &all {
            let ended = draft.started + Duration::from_micros(*took_us);
            encode::append(&mut bytes, &mut scratch, draft, *ending, ended, anchor);
            expected.push(oracle::message(draft, *ending, ended, anchor));
        }
        let read = ScopeSpans::decode(&bytes[..]).unwrap();
        prop_assert_eq!(read.spans, expected);
    }
}

fn names(bytes: &[u8]) -> Vec<String> {
    let paths = ScopeSpans::decode(bytes).unwrap().spans.into_iter().map(|span| span.name);
    paths.collect()
}

fn push(ring: &SpanRing, names: std::ops::Range<u32>) {
    for name in names {
        let draft = draft(&format!("/{name}"), None, Protocol::Grpc, start());
        ring.push(&draft, Ending::default(), start());
    }
}

/// Scenario: a request with two spans of a service that has every part of a name.
/// Guarantees: OTLP's own code reads it, down to the scope; its length is the one that was told.
#[test]
fn a_request_is_whole() {
    let service = ServiceId::new("prod", "shop", "payment").unwrap();
    let head = Arc::new(Head::new(&service, "a"));
    let ring = SpanRing::default();
    push(&ring, 0..2);
    let batch = ring.take(true).unwrap();
    let len = head.request_len(batch.bytes.len());
    let mut bytes = Vec::new();
    Message { head, batch }.write(&mut bytes);
    assert_eq!(bytes.len(), len);
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let [resource_spans] = &request.resource_spans[..] else { panic!("{request:?}") };
    let resource = resource_spans.resource.as_ref().unwrap();
    let keys: Vec<&str> = resource.attributes.iter().map(|pair| &*pair.key).collect();
    let expected =
        ["service.name", "service.namespace", "deployment.environment.name", "service.instance.id"];
    assert_eq!(keys, expected);
    let [scope_spans] = &resource_spans.scope_spans[..] else { panic!("{request:?}") };
    assert_eq!(scope_spans.scope.as_ref().unwrap().name, "fusebox.proxy");
    assert_eq!(scope_spans.spans.len(), 2);
}

/// Scenario: more spans than there is room for; a batch that could not be sent comes back, into
/// room and into none.
/// Guarantees: the oldest go first and are counted, order stays; an open batch is given only where
/// that is wanted.
#[test]
fn the_ring_is_bounded() {
    let ring = SpanRing::default();
    let batch = BATCH_LEN_MAX;
    push(&ring, 0..batch + 1);
    let first = ring.take(false).unwrap();
    assert_eq!(names(&first.bytes).len(), batch as usize);
    assert!(ring.take(false).is_none(), "one span waits for others");
    ring.give_back(first);
    assert_eq!(names(&ring.take(true).unwrap().bytes)[0], "0");
    let rest = ring.take(true).unwrap();
    assert_eq!(names(&rest.bytes), [batch.to_string()]);
    assert!(ring.take(true).is_none());
    assert_eq!(ring.dropped(), 0);

    push(&ring, 0..17 * batch);
    assert_eq!(ring.dropped(), u64::from(batch));
    ring.give_back(rest);
    assert_eq!(ring.dropped(), u64::from(batch) + 1);
    assert_eq!(names(&ring.take(false).unwrap().bytes)[0], batch.to_string());
}

//! Spans as OTLP, under the current semantic conventions for HTTP and RPC.
//!
//! A span is written straight into the bytes that are sent: with a sampled trace on every request
//! this is part of the hot path, and some twenty allocations a span would be a good part of what the
//! request costs. The tests have the readable version, as messages, and compare.

use super::{Draft, Ending, Error};
use fusebox_proto::report::Protocol;
use fusebox_proto::{ServiceId, text};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{span, status};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::time::{Duration, Instant, SystemTime};

/// The instrumentation scope of all our spans.
const SCOPE: &str = "fusebox.proxy";
/// A path is cut to this many bytes.
const PATH_LEN_MAX: usize = 512;
/// An authority is cut to this many bytes.
const AUTHORITY_LEN_MAX: usize = 256;

/// In `Span.flags`: whether bit 9 says something, and what it says. Our parent is always the
/// application next to us or the proxy on the other side: another process.
const PARENT_IS_REMOTE: u32 = 0x300;

/// Field numbers of OTLP's messages.
mod field {
    /// `ScopeSpans.spans`, and `ResourceSpans.scope_spans`.
    pub(super) const SPANS: u32 = 2;
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START_TIME: u32 = 7;
    pub(super) const END_TIME: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    /// `Status.message` and `Status.code`.
    pub(super) const MESSAGE: u32 = 2;
    pub(super) const CODE: u32 = 3;
    /// `KeyValue.key` and `KeyValue.value`.
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    /// Kinds of `AnyValue`.
    pub(super) const STRING: u32 = 1;
    pub(super) const INT: u32 = 3;
}

/// One moment on both clocks, to put monotonic times on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    /// Monotonic.
    pub(crate) instant: Instant,
    /// The same on the wall clock, since the Unix epoch.
    pub(crate) unix: Duration,
}

impl Anchor {
    /// Reads both clocks.
    #[expect(clippy::disallowed_methods, reason = "spans need the wall clock finer than `Now`")]
    pub(super) fn read() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix }
    }

    pub(super) fn unix_ns(self, at: Instant) -> u64 {
        let unix = match at.checked_duration_since(self.instant) {
            Some(after) => self.unix + after,
            None => self.unix.saturating_sub(self.instant - at),
        };
        u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Who exports, and the scope: what stands before the spans of each request.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Head {
    /// Of a proxy of this service.
    pub(crate) fn new(service: &ServiceId, instance: &str) -> Self {
        let scope = InstrumentationScope {
            name: SCOPE.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        // Both are the first field of what they stand in.
        let first = |message: Vec<u8>| {
            let mut bytes = Vec::new();
            bytes_field(&mut bytes, 1, &message);
            bytes
        };
        Self {
            resource: first(resource(service, instance).encode_to_vec()),
            scope: first(scope.encode_to_vec()),
        }
    }

    /// Length of a request with so many bytes of spans.
    pub(super) fn request_len(&self, spans_len: usize) -> usize {
        let [outer, _] = self.lens(spans_len);
        1 + encoded_len_varint(outer as u64) + outer
    }

    /// Writes an `ExportTraceServiceRequest`, up to its spans.
    pub(super) fn write(&self, spans_len: usize, out: &mut impl bytes::BufMut) {
        let [resource_spans_len, scope_spans_len] = self.lens(spans_len);
        encode_key(1, WireType::LengthDelimited, out);
        encode_varint(resource_spans_len as u64, out);
        out.put_slice(&self.resource);
        encode_key(field::SPANS, WireType::LengthDelimited, out);
        encode_varint(scope_spans_len as u64, out);
        out.put_slice(&self.scope);
    }

    /// Lengths of the `ResourceSpans` and of its `ScopeSpans`.
    fn lens(&self, spans_len: usize) -> [usize; 2] {
        let inner = self.scope.len() + spans_len;
        [self.resource.len() + 1 + encoded_len_varint(inner as u64) + inner, inner]
    }
}

fn resource(service: &ServiceId, instance: &str) -> Resource {
    let pairs = [
        ("service.name", service.name()),
        ("service.namespace", service.namespace()),
        ("deployment.environment.name", service.environment()),
        ("service.instance.id", instance),
    ];
    let attribute = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let attributes = pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(attribute);
    Resource { attributes: attributes.collect(), ..Resource::default() }
}

/// Appends a span to those of a `ScopeSpans`. `scratch` is of no use afterwards.
pub(super) fn append(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    draft: &Draft,
    ending: Ending,
    ended: Instant,
    anchor: Anchor,
) {
    scratch.clear();
    let kind = if draft.peer.is_some() { span::SpanKind::Client } else { span::SpanKind::Server };
    let cut = text::cut(draft.uri.path(), PATH_LEN_MAX);
    let path = text::visible(&cut);
    let name = match draft.protocol {
        // The full method is a small set; a path of plain HTTP may be anything.
        Protocol::Grpc => path.trim_start_matches('/'),
        _ => draft.method.as_str(),
    };
    bytes_field(scratch, field::TRACE_ID, draft.place.trace_id.as_bytes());
    bytes_field(scratch, field::SPAN_ID, draft.place.span_id.as_bytes());
    if let Some(parent) = draft.place.parent_id {
        bytes_field(scratch, field::PARENT_SPAN_ID, parent.as_bytes());
    }
    bytes_field(scratch, field::NAME, name.as_bytes());
    varint_field(scratch, field::KIND, kind as u64);
    field_key(scratch, field::START_TIME, WireType::SixtyFourBit);
    scratch.extend_from_slice(&anchor.unix_ns(draft.started).to_le_bytes());
    field_key(scratch, field::END_TIME, WireType::SixtyFourBit);
    scratch.extend_from_slice(&anchor.unix_ns(ended).to_le_bytes());
    attributes(scratch, draft, ending, &path);
    if let Some(error) = ending.error {
        let mut digits = [0; 5];
        let message = error_type(error, ending, &mut digits);
        let code = status::StatusCode::Error as u64;
        field_key(scratch, field::STATUS, WireType::LengthDelimited);
        let message_len = if message.is_empty() { 0 } else { field_len(message.len()) };
        varint(scratch, (message_len + 1 + encoded_len_varint(code)) as u64);
        if !message.is_empty() {
            bytes_field(scratch, field::MESSAGE, message.as_bytes());
        }
        varint_field(scratch, field::CODE, code);
    }
    field_key(scratch, field::FLAGS, WireType::ThirtyTwoBit);
    let flags = u32::from(draft.place.flags) | PARENT_IS_REMOTE;
    scratch.extend_from_slice(&flags.to_le_bytes());
    bytes_field(out, field::SPANS, scratch);
}

fn attributes(out: &mut Vec<u8>, draft: &Draft, ending: Ending, path: &str) {
    string(out, "http.request.method", draft.method.as_str());
    string(out, "url.path", path);
    string(out, "url.scheme", "http");
    string(out, "network.protocol.name", "http");
    let version = if draft.protocol == Protocol::Http1 { "1.1" } else { "2" };
    string(out, "network.protocol.version", version);
    let authority = text::cut(draft.authority(), AUTHORITY_LEN_MAX);
    if let Some((host, port)) = host_and_port(&authority) {
        string(out, "server.address", &text::visible(host));
        if let Some(port) = port {
            int(out, "server.port", port.into());
        }
    }
    if let Some(peer) = &draft.peer {
        string(out, "service.peer.name", peer.name());
        if !peer.namespace().is_empty() {
            string(out, "service.peer.namespace", peer.namespace());
        }
    }
    if draft.protocol == Protocol::Grpc {
        string(out, "rpc.system.name", "grpc");
        string(out, "rpc.method", path.trim_start_matches('/'));
    }
    if 0 < draft.resend_count {
        int(out, "http.request.resend_count", draft.resend_count.into());
    }
    if let Some(way) = &draft.way {
        string(out, "fusebox.route", &way.route);
        if !way.subset.is_empty() {
            string(out, "fusebox.subset", &way.subset);
        }
    }
    match (ending.grpc_status, ending.http_status) {
        (Some(status), _) => int(out, "rpc.grpc.status_code", status.into()),
        (None, Some(status)) => int(out, "http.response.status_code", status.into()),
        (None, None) => (),
    }
    if let Some(error) = ending.error {
        let mut digits = [0; 5];
        string(out, "error.type", error_type(error, ending, &mut digits));
    }
    if let Some(reason) = ending.refused {
        string(out, "fusebox.refused", reason);
    }
}

/// The two parts of an authority that the gate let pass; `None` where there is none.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let find = |wanted: u8| memchr::memchr(wanted, authority.as_bytes());
    let host_len = match find(b']') {
        Some(end) => end + 1,
        None => find(b':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_len);
    let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
    (!host.is_empty()).then_some((host, port))
}

/// `error.type`: a status where that is what failed, else a word of a small set.
fn error_type(error: Error, ending: Ending, digits: &mut [u8; 5]) -> &str {
    match error {
        Error::Status => match ending.grpc_status.or(ending.http_status) {
            Some(status) => decimal(status, digits),
            None => "",
        },
        Error::Reset => "reset",
        Error::Unavailable => "unavailable",
        Error::Timeout => "timeout",
        Error::Cancelled => "cancelled",
    }
}

fn decimal(mut number: u16, digits: &mut [u8; 5]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return std::str::from_utf8(&digits[at..]).unwrap_or_default();
        }
    }
}

fn string(out: &mut Vec<u8>, key: &str, value: &str) {
    attribute(out, key, field_len(value.len()));
    bytes_field(out, field::STRING, value.as_bytes());
}

fn int(out: &mut Vec<u8>, key: &str, value: u64) {
    attribute(out, key, 1 + encoded_len_varint(value));
    varint_field(out, field::INT, value);
}

/// An attribute up to its `AnyValue`, which has this length.
fn attribute(out: &mut Vec<u8>, key: &str, value_len: usize) {
    field_key(out, field::ATTRIBUTES, WireType::LengthDelimited);
    varint(out, (field_len(key.len()) + field_len(value_len)) as u64);
    bytes_field(out, field::KEY, key.as_bytes());
    field_key(out, field::VALUE, WireType::LengthDelimited);
    varint(out, value_len as u64);
}

/// A field of so many bytes, with its key (all of ours fit into one byte) and its length.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// Nearly all keys, lengths and numbers of a span take one byte.
fn varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(value, out),
    }
}

fn field_key(out: &mut Vec<u8>, field: u32, wire_type: WireType) {
    varint(out, u64::from(field << 3 | wire_type as u32));
}

fn bytes_field(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    field_key(out, field, WireType::LengthDelimited);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    field_key(out, field, WireType::Varint);
    varint(out, value);
}

//! OTLP bodies → [`SpanBatch`], to the letter of the specification and as real senders write them.
//!
//! A body is refused whole only if it is no OTLP at all, or has so many parts that decoding it
//! would cost far more memory than its bytes. A span without ids, or from before time, is refused
//! alone and counted, and the rest is taken.

mod attributes;
mod jaeger;
mod json;
mod origin;
mod outcome;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

use crate::spans::{Emitter, Origin, Rejected, Span, SpanBatch, SpanKind};
use attributes::Facts;
use fusebox_proto::name::NAME_LEN_MAX;
use fusebox_proto::text;
use fusebox_proto::trace::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1 as trace;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;
use wire::Message;

/// Messages inside one body. At 16 MiB a real body has about 400,000 (a JSON attribute of 40
/// bytes is two); decoded, this many take at most some 200 MiB for a moment.
const PARTS_MAX: usize = 500_000;
/// Links beyond this many on one span are not looked at.
const LINKS_MAX: usize = 16;
/// A span may end this much before it starts: a step of the clock, or times in whole
/// milliseconds. It is then taken for one without duration.
const BACKWARDS_NS_MAX: u64 = 1_000_000_000;
/// No sampler keeps less than one span in a million: what says so cannot be trusted to weigh.
const WEIGHT_MAX: f64 = 1_000_000.0;
/// Attribute of a span of a replay at another speed, which moved it in time other than the rest: by
/// so many ns.
pub(crate) const MOVED_NS: &str = "fusebox.replay.moved_ns";
/// Instrumentation scope of the spans of Fusebox's own proxies.
const PROXY_SCOPE: &str = "fusebox.proxy";

/// A body that cannot be read: the sender's fault, and sending it again will not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the message that it should be.
    #[error("the body is no OTLP request: {0}")]
    Malformed(String),
    /// More messages inside than are read at once.
    #[error("the body has more than {limit} parts")]
    TooManyParts {
        /// As many are allowed.
        limit: usize,
    },
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// What a request of metrics or logs holds. Only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Metrics or log records.
    pub items: u64,
}

/// Reads a protobuf `ExportTraceServiceRequest`.
///
/// # Errors
/// If the body is malformed or has too many parts.
pub fn protobuf(body: &[u8]) -> Result<SpanBatch, DecodeError> {
    Ok(batch(&protobuf_request(body)?))
}

/// As [`protobuf`], up to the message.
pub(crate) fn protobuf_request(body: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    wire::count(body, Message::Traces, PARTS_MAX)?;
    Ok(ExportTraceServiceRequest::decode(body)?)
}

/// Reads an OTLP/JSON `ExportTraceServiceRequest`.
///
/// # Errors
/// As [`protobuf`].
pub fn json(body: &[u8]) -> Result<SpanBatch, DecodeError> {
    Ok(batch(&json_request(body)?))
}

/// As [`json`], up to the message.
pub(crate) fn json_request(body: &[u8]) -> Result<ExportTraceServiceRequest, DecodeError> {
    check_json_parts(body)?;
    Ok(json::traces(body)?)
}

/// Reads a document of Jaeger's JSON, `{"data":[…]}`, and gives each trace as one request.
///
/// # Errors
/// If the document is malformed: then what came before has been given.
pub(crate) fn jaeger(
    body: &[u8],
    mut each: impl FnMut(ExportTraceServiceRequest),
) -> Result<(), DecodeError> {
    Ok(jaeger::traces(body, &mut each)?)
}

/// Reads a protobuf `ExportMetricsServiceRequest`.
///
/// # Errors
/// As [`protobuf`].
pub fn metrics_protobuf(body: &[u8]) -> Result<Count, DecodeError> {
    Ok(Count { items: wire::count(body, Message::Metrics, PARTS_MAX)?.items })
}

/// Reads a protobuf `ExportLogsServiceRequest`.
///
/// # Errors
/// As [`protobuf`].
pub fn logs_protobuf(body: &[u8]) -> Result<Count, DecodeError> {
    Ok(Count { items: wire::count(body, Message::Logs, PARTS_MAX)?.items })
}

/// Reads an OTLP/JSON `ExportMetricsServiceRequest`.
///
/// # Errors
/// As [`protobuf`].
pub fn metrics_json(body: &[u8]) -> Result<Count, DecodeError> {
    check_json_parts(body)?;
    Ok(Count { items: json::items(body)? })
}

/// Reads an OTLP/JSON `ExportLogsServiceRequest`.
///
/// # Errors
/// As [`protobuf`].
pub fn logs_json(body: &[u8]) -> Result<Count, DecodeError> {
    metrics_json(body)
}

/// Every message in JSON begins with a brace; braces within texts only make the count larger.
fn check_json_parts(body: &[u8]) -> Result<(), DecodeError> {
    if PARTS_MAX < body.iter().map(|&byte| usize::from(byte == b'{')).sum() {
        return Err(DecodeError::TooManyParts { limit: PARTS_MAX });
    }
    Ok(())
}

/// The spans of a message, each refused alone where it cannot be one.
pub(crate) fn batch(request: &ExportTraceServiceRequest) -> SpanBatch {
    let mut batch = SpanBatch::default();
    let mut operations = Operations::default();
    for of_resource in &request.resource_spans {
        let (origin, is_envoy) = origin::of(of_resource.resource.as_ref());
        let origin = Arc::new(origin);
        for of_scope in &of_resource.scope_spans {
            let scope = of_scope.scope.as_ref().map(|scope| scope.name.as_str());
            let emitter = match scope {
                Some(PROXY_SCOPE) => Emitter::Proxy,
                _ if is_envoy => Emitter::Envoy,
                _ => Emitter::Application,
            };
            for raw in &of_scope.spans {
                match span(raw, &origin, emitter, &mut operations) {
                    Ok(span) => batch.spans.push(span),
                    Err(reason) => batch.rejected.add(reason),
                }
            }
        }
    }
    batch
}

/// A name that somebody sent, as it may be kept and shown.
pub(crate) fn visible(name: &str) -> String {
    text::visible(&text::cut(name, NAME_LEN_MAX)).into_owned()
}

/// Names of operations within one body: each is kept once.
#[derive(Default)]
struct Operations<'a>(HashMap<&'a str, Arc<str>, foldhash::fast::RandomState>);

impl<'a> Operations<'a> {
    fn get(&mut self, name: &'a str) -> Arc<str> {
        Arc::clone(self.0.entry(name).or_insert_with(|| visible(name).into()))
    }
}

impl Rejected {
    fn add(&mut self, reason: &str) {
        if self.count == 0 {
            reason.clone_into(&mut self.reason);
        }
        self.count += 1;
    }
}

/// One span, or why it cannot be one.
fn span<'a>(
    raw: &'a trace::Span,
    origin: &Arc<Origin>,
    emitter: Emitter,
    operations: &mut Operations<'a>,
) -> Result<Span, &'static str> {
    let trace_id = TraceId::from_bytes(&raw.trace_id)
        .ok_or("a span's trace_id is not 16 bytes, or all zero")?;
    let span_id =
        SpanId::from_bytes(&raw.span_id).ok_or("a span's span_id is not 8 bytes, or all zero")?;
    let (start, end) = (raw.start_time_unix_nano, raw.end_time_unix_nano);
    if start == 0 || end == 0 {
        return Err("a span has no start or no end");
    }
    if BACKWARDS_NS_MAX < start.saturating_sub(end) {
        return Err("a span ends before it starts");
    }
    let kind = kind(raw.kind);
    let facts = Facts::of(&raw.attributes);
    let emitter = match emitter {
        Emitter::Application if facts.is_envoy() => Emitter::Envoy,
        emitter => emitter,
    };
    let emitter = match emitter {
        Emitter::Envoy if raw.name.starts_with("router ") => Emitter::EnvoyRouter,
        emitter => emitter,
    };
    let (outcome, evidence) = outcome::of(raw, kind, &facts);
    Ok(Span {
        trace_id,
        span_id,
        parent_id: SpanId::from_bytes(&raw.parent_span_id),
        parent_is_remote: parent_is_remote(raw.flags),
        kind,
        operation: operations.get(facts.route().unwrap_or(&raw.name)),
        origin: Arc::clone(origin),
        emitter,
        start_unix_ns: start,
        end_unix_ns: end.max(start),
        outcome,
        evidence,
        protocol: facts.protocol(),
        target: facts.target(),
        peer: facts.peer(kind, emitter),
        is_refused: emitter == Emitter::Proxy && facts.is_refused(),
        resend_count: facts.resend_count.number().map_or(0, |count| count.clamp(0, 1_000) as u32),
        weight: weight(&raw.trace_state),
        moved_ns: facts.moved_ns.number(),
        links: raw.links.iter().take(LINKS_MAX).filter_map(link).collect(),
    })
}

fn link(link: &trace::span::Link) -> Option<(TraceId, SpanId)> {
    Some((TraceId::from_bytes(&link.trace_id)?, SpanId::from_bytes(&link.span_id)?))
}

fn kind(kind: i32) -> SpanKind {
    match trace::span::SpanKind::try_from(kind) {
        Ok(trace::span::SpanKind::Server) => SpanKind::Server,
        Ok(trace::span::SpanKind::Client) => SpanKind::Client,
        Ok(trace::span::SpanKind::Producer) => SpanKind::Producer,
        Ok(trace::span::SpanKind::Consumer) => SpanKind::Consumer,
        _ => SpanKind::Internal,
    }
}

/// Bits 8 and 9 of the flags: whether it is known, and whether it is.
fn parent_is_remote(flags: u32) -> Option<bool> {
    (flags & 0x100 != 0).then_some(flags & 0x200 != 0)
}

/// 1 ÷ sampling probability, from the rejection threshold `ot=th:…` in the trace state: up to 14
/// hexadecimal digits of a 56-bit fraction, trailing zeros left out.
/// <https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/>
fn weight(trace_state: &str) -> f64 {
    const ONE: u64 = 1 << 56;
    let mut vendors = trace_state.split(',').map(str::trim);
    let ot = vendors.find_map(|vendor| vendor.strip_prefix("ot=")).unwrap_or_default();
    let mut fields = ot.split(';');
    let threshold = fields.find_map(|field| field.strip_prefix("th:")).unwrap_or_default();
    if !(1..=14).contains(&threshold.len()) {
        return 1.0;
    }
    let Ok(digits) = u64::from_str_radix(threshold, 16) else { return 1.0 };
    let rejected = digits << (4 * (14 - threshold.len()));
    (ONE as f64 / ONE.saturating_sub(rejected).max(1) as f64).min(WEIGHT_MAX)
}

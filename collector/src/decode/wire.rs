//! A first walk over a protobuf body that only counts: a message of two bytes becomes a struct of
//! hundreds, so the parts are counted before any of them is decoded.

use super::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Messages nested deeper than this are left to prost, which refuses them.
const DEPTH_MAX: u32 = 100;

/// A message of OTLP that holds others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// `ExportTraceServiceRequest`
    Traces,
    ResourceSpans,
    ScopeSpans,
    Span,
    Event,
    SpanLink,
    /// `ExportMetricsServiceRequest`
    Metrics,
    ResourceMetrics,
    ScopeMetrics,
    /// `ExportLogsServiceRequest`
    Logs,
    ResourceLogs,
    ScopeLogs,
    /// A resource or a scope.
    Attributed {
        attributes: u32,
    },
    KeyValue,
    AnyValue,
    ArrayValue,
    KvList,
    /// A metric or a log record: counted, and not looked into.
    Item,
}

impl Message {
    /// The message in this field; `None` if it holds none.
    const fn inner(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Traces, 1) => Self::ResourceSpans,
            (Self::Metrics, 1) => Self::ResourceMetrics,
            (Self::Logs, 1) => Self::ResourceLogs,
            (Self::ResourceSpans | Self::ResourceMetrics | Self::ResourceLogs, 1) => {
                Self::Attributed { attributes: 1 }
            }
            (Self::ScopeSpans | Self::ScopeMetrics | Self::ScopeLogs, 1) => {
                Self::Attributed { attributes: 3 }
            }
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ResourceMetrics, 2) => Self::ScopeMetrics,
            (Self::ResourceLogs, 2) => Self::ScopeLogs,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::ScopeMetrics | Self::ScopeLogs, 2) => Self::Item,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::SpanLink,
            (Self::Span, 9) | (Self::Event, 3) | (Self::SpanLink, 4) | (Self::KvList, 1) => {
                Self::KeyValue
            }
            (Self::KeyValue, 2) | (Self::ArrayValue, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::ArrayValue,
            (Self::AnyValue, 6) => Self::KvList,
            (Self::Attributed { attributes }, _) if field == attributes => Self::KeyValue,
            _ => return None,
        })
    }
}

/// What a body holds.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Metrics or log records.
    pub(super) items: u64,
    /// All messages inside.
    all: usize,
}

/// Counts the messages in a body of this kind.
///
/// # Errors
/// If the body breaks the wire format, or has more than `limit` messages in it.
pub(super) fn count(body: &[u8], kind: Message, limit: usize) -> Result<Parts, DecodeError> {
    let mut parts = Parts::default();
    parts.walk(body, kind, limit, 0)?;
    Ok(parts)
}

impl Parts {
    fn walk(
        &mut self,
        mut body: &[u8],
        message: Message,
        limit: usize,
        depth: u32,
    ) -> Result<(), DecodeError> {
        while !body.is_empty() {
            let (field, wire_type) = decode_key(&mut body)?;
            if wire_type != WireType::LengthDelimited {
                skip_field(wire_type, field, &mut body, DecodeContext::default())?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut body)?).unwrap_or(usize::MAX);
            let Some((content, rest)) = body.split_at_checked(length) else {
                return Err(DecodeError::Malformed("it ends in the middle of a field".into()));
            };
            body = rest;
            let Some(inner) = message.inner(field).filter(|_| depth < DEPTH_MAX) else { continue };
            self.all += 1;
            if limit < self.all {
                return Err(DecodeError::TooManyParts { limit });
            }
            self.items += u64::from(inner == Message::Item);
            self.walk(content, inner, limit, depth + 1)?;
        }
        Ok(())
    }
}

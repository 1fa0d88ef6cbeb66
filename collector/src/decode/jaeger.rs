//! Jaeger's JSON (what its UI and its API give) → the messages that OTLP's protobuf gives, trace
//! by trace. <https://github.com/jaegertracing/jaeger/blob/main/model/json/model.go>

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Any, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Trace {
    spans: Vec<Span>,
    processes: BTreeMap<String, Process>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Process {
    service_name: String,
    tags: Vec<Tag>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Span {
    #[serde(rename = "traceID")]
    trace: String,
    #[serde(rename = "spanID")]
    id: String,
    #[serde(rename = "parentSpanID")]
    parent: String,
    #[serde(rename = "processID")]
    process: String,
    operation_name: String,
    references: Vec<Reference>,
    /// µs since the epoch.
    start_time: u64,
    /// µs
    duration: u64,
    tags: Vec<Tag>,
    logs: Vec<Log>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    ref_type: String,
    #[serde(rename = "traceID")]
    trace: String,
    #[serde(rename = "spanID")]
    span: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Log {
    fields: Vec<Tag>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tag {
    key: String,
    value: serde_json::Value,
}

/// Reads a document, and gives each trace as one request.
pub(super) fn traces(
    body: &[u8],
    each: &mut dyn FnMut(ExportTraceServiceRequest),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    deserializer.deserialize_map(Document(each))?;
    deserializer.end()
}

/// `{"data":[trace, …], …}`
struct Document<'f>(&'f mut dyn FnMut(ExportTraceServiceRequest));

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a Jaeger document with `data`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "data" {
                map.next_value_seed(Traces(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The list of traces, one at a time.
struct Traces<'f>(&'f mut dyn FnMut(ExportTraceServiceRequest));

impl<'de> DeserializeSeed<'de> for Traces<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Traces<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of traces")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(trace) = list.next_element::<Trace>()? {
            (self.0)(request(trace));
        }
        Ok(())
    }
}

fn request(trace: Trace) -> ExportTraceServiceRequest {
    let mut by_process: BTreeMap<String, Vec<trace::Span>> = BTreeMap::new();
    for raw in trace.spans {
        by_process.entry(raw.process.clone()).or_default().push(span(raw));
    }
    let mut processes = trace.processes;
    let resource_spans = by_process.into_iter().map(|(id, spans)| {
        let process = processes.remove(&id).unwrap_or_default();
        let mut attributes: Vec<KeyValue> = process.tags.into_iter().map(attribute).collect();
        attributes.push(attribute(Tag {
            key: "service.name".into(),
            value: process.service_name.into(),
        }));
        let resource = Resource { attributes, ..Resource::default() };
        trace::ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![trace::ScopeSpans { spans, ..trace::ScopeSpans::default() }],
            ..trace::ResourceSpans::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

fn span(raw: Span) -> trace::Span {
    let tag = |key: &str| raw.tags.iter().find(|tag| tag.key == key).map(|tag| &tag.value);
    let kind = tag("span.kind").and_then(serde_json::Value::as_str).unwrap_or_default();
    let kind = match kind {
        "server" => trace::span::SpanKind::Server,
        "client" => trace::span::SpanKind::Client,
        "producer" => trace::span::SpanKind::Producer,
        "consumer" => trace::span::SpanKind::Consumer,
        _ => trace::span::SpanKind::Internal,
    };
    let is_error = tag("error").is_some_and(|value| value == true || value == "true")
        || tag("otel.status_code").is_some_and(|value| value == "ERROR");
    let message = tag("otel.status_description").and_then(serde_json::Value::as_str);
    let status = trace::Status {
        code: i32::from(is_error) * trace::status::StatusCode::Error as i32,
        message: message.unwrap_or_default().to_owned(),
    };
    let is_parent =
        |reference: &&Reference| reference.ref_type == "CHILD_OF" && reference.trace == raw.trace;
    let parent = raw.references.iter().find(is_parent).map_or(&raw.parent, |parent| &parent.span);
    let is_link = |reference: &&Reference| reference.ref_type == "FOLLOWS_FROM";
    let links = raw.references.iter().filter(is_link).map(|reference| trace::span::Link {
        trace_id: id::<16>(&reference.trace),
        span_id: id::<8>(&reference.span),
        ..trace::span::Link::default()
    });
    let start_ns = raw.start_time.saturating_mul(1_000);
    trace::Span {
        trace_id: id::<16>(&raw.trace),
        span_id: id::<8>(&raw.id),
        parent_span_id: id::<8>(parent),
        links: links.collect(),
        name: raw.operation_name,
        kind: kind as i32,
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns.saturating_add(raw.duration.saturating_mul(1_000)),
        events: raw.logs.into_iter().map(event).collect(),
        attributes: raw.tags.into_iter().map(attribute).collect(),
        status: Some(status),
        ..trace::Span::default()
    }
}

fn event(log: Log) -> trace::span::Event {
    trace::span::Event {
        attributes: log.fields.into_iter().map(attribute).collect(),
        ..trace::span::Event::default()
    }
}

fn attribute(tag: Tag) -> KeyValue {
    let value = match tag.value {
        serde_json::Value::String(text) => Some(AnyValue::StringValue(text)),
        serde_json::Value::Bool(value) => Some(AnyValue::BoolValue(value)),
        serde_json::Value::Number(number) => (number.as_i64().map(AnyValue::IntValue))
            .or_else(|| number.as_f64().map(AnyValue::DoubleValue)),
        _ => None,
    };
    KeyValue {
        key: tag.key,
        value: value.map(|value| Any { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// An id in hex; Jaeger leaves out leading zeros. What is none becomes empty: the span is refused.
fn id<const LEN: usize>(text: &str) -> Vec<u8> {
    let is_hex = !text.is_empty()
        && text.len() <= 2 * LEN
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return Vec::new();
    }
    let number = u128::from_str_radix(text, 16).unwrap_or_default();
    number.to_be_bytes()[16 - LEN..].to_vec()
}

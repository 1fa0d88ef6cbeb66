//! OTLP/JSON → the messages that protobuf gives.
//!
//! `opentelemetry-proto` has its own reading of JSON, which refuses what the specification allows:
//! enums by name, `null` for a field that is not there, numbers for 64-bit integers behind a
//! decimal point, unknown fields within a value. So these mirrors read it, leniently, and only the
//! fields that [`super`] looks at.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::resource::v1 as resource;
use opentelemetry_proto::tonic::trace::v1 as trace;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};
use serde::{Deserialize, de::DeserializeOwned};
use std::fmt;

/// A list that may be missing or `null`.
#[derive(Deserialize)]
#[serde(transparent)]
struct List<T>(Option<Vec<T>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> List<T> {
    fn into<U>(self, each: impl FnMut(T) -> U) -> Vec<U> {
        self.0.unwrap_or_default().into_iter().map(each).collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Traces {
    resource_spans: List<ResourceSpans>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    resource: Option<Attributed>,
    scope_spans: List<ScopeSpans>,
}

/// A resource or a scope.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributed {
    name: Option<String>,
    attributes: List<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeSpans {
    scope: Option<Attributed>,
    spans: List<Span>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_field_names, reason = "as OTLP names them")]
struct Span {
    trace_id: Hex,
    span_id: Hex,
    parent_span_id: Hex,
    trace_state: Option<String>,
    flags: Integer,
    name: Option<String>,
    kind: Integer,
    start_time_unix_nano: Integer,
    end_time_unix_nano: Integer,
    attributes: List<KeyValue>,
    events: List<Event>,
    links: List<Link>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    name: Option<String>,
    attributes: List<KeyValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Link {
    trace_id: Hex,
    span_id: Hex,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: Integer,
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyValue {
    key: Option<String>,
    value: Option<Value>,
}

/// A scalar; arrays, maps and bytes name nothing that is looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Value {
    #[serde(rename = "stringValue")]
    string: Option<String>,
    #[serde(rename = "boolValue")]
    boolean: Option<bool>,
    #[serde(rename = "intValue")]
    integer: Option<Integer>,
    #[serde(rename = "doubleValue")]
    double: Option<Number>,
}

/// An id in hex of either case; what is none becomes empty, and so the span is refused alone.
#[derive(Default)]
struct Hex(Vec<u8>);

/// A 64-bit integer as a number or as a string, or an enum by its number or by its name.
#[derive(Clone, Copy, Default)]
struct Integer(i64);

/// A number, or one of the strings `NaN`, `Infinity`, `-Infinity`.
struct Number(f64);

/// A request of metrics or logs, as far as it is counted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Telemetry {
    #[serde(alias = "resourceMetrics", alias = "resourceLogs")]
    resources: List<ResourceTelemetry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResourceTelemetry {
    #[serde(alias = "scopeMetrics", alias = "scopeLogs")]
    scopes: List<ScopeTelemetry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeTelemetry {
    #[serde(alias = "metrics", alias = "logRecords")]
    items: List<IgnoredAny>,
}

/// Reads a request of traces.
pub(super) fn traces(body: &[u8]) -> Result<ExportTraceServiceRequest, serde_json::Error> {
    let traces: Traces = object(body)?;
    Ok(ExportTraceServiceRequest {
        resource_spans: traces.resource_spans.into(|of_resource| trace::ResourceSpans {
            resource: of_resource.resource.map(|resource| resource::Resource {
                attributes: resource.attributes.into(key_value),
                ..resource::Resource::default()
            }),
            scope_spans: of_resource.scope_spans.into(|of_scope| trace::ScopeSpans {
                scope: of_scope.scope.map(|scope| common::InstrumentationScope {
                    name: scope.name.unwrap_or_default(),
                    ..common::InstrumentationScope::default()
                }),
                spans: of_scope.spans.into(span),
                ..trace::ScopeSpans::default()
            }),
            ..trace::ResourceSpans::default()
        }),
    })
}

/// Counts metrics or log records.
pub(super) fn items(body: &[u8]) -> Result<u64, serde_json::Error> {
    let telemetry: Telemetry = object(body)?;
    let scopes = telemetry.resources.0.unwrap_or_default().into_iter();
    let scopes = scopes.flat_map(|resource| resource.scopes.0.unwrap_or_default());
    Ok(scopes.map(|scope| scope.items.0.map_or(0, |items| items.len() as u64)).sum())
}

/// serde takes a list for a struct, in the order of its fields; OTLP does not.
fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
        return Err(de::Error::custom("it is no JSON object"));
    }
    serde_json::from_slice(body)
}

fn span(span: Span) -> trace::Span {
    trace::Span {
        trace_id: span.trace_id.0,
        span_id: span.span_id.0,
        parent_span_id: span.parent_span_id.0,
        trace_state: span.trace_state.unwrap_or_default(),
        flags: u32::try_from(span.flags.0).unwrap_or(0),
        name: span.name.unwrap_or_default(),
        kind: i32::try_from(span.kind.0).unwrap_or(0),
        start_time_unix_nano: u64::try_from(span.start_time_unix_nano.0).unwrap_or(0),
        end_time_unix_nano: u64::try_from(span.end_time_unix_nano.0).unwrap_or(0),
        attributes: span.attributes.into(key_value),
        events: span.events.into(|event| trace::span::Event {
            name: event.name.unwrap_or_default(),
            attributes: event.attributes.into(key_value),
            ..trace::span::Event::default()
        }),
        links: span.links.into(|link| trace::span::Link {
            trace_id: link.trace_id.0,
            span_id: link.span_id.0,
            ..trace::span::Link::default()
        }),
        status: span.status.map(|status| trace::Status {
            code: i32::try_from(status.code.0).unwrap_or(0),
            message: status.message.unwrap_or_default(),
        }),
        ..trace::Span::default()
    }
}

fn key_value(entry: KeyValue) -> common::KeyValue {
    let scalar = entry.value.and_then(|value| {
        None.or(value.string.map(AnyValue::StringValue))
            .or(value.integer.map(|integer| AnyValue::IntValue(integer.0)))
            .or(value.boolean.map(AnyValue::BoolValue))
            .or(value.double.map(|number| AnyValue::DoubleValue(number.0)))
    });
    common::KeyValue {
        key: entry.key.unwrap_or_default(),
        value: scalar.map(|value| common::AnyValue { value: Some(value) }),
        ..common::KeyValue::default()
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let text = text.as_deref().unwrap_or_default().as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let bytes = text.chunks(2).map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        });
        Ok(Self(bytes.collect::<Option<_>>().unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an integer, as a number or as a string")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Integer, E> {
        Ok(Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Integer, E> {
        i64::try_from(value).map(Integer).map_err(|_| E::custom("integer beyond 63 bits"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Integer, E> {
        if value.fract() == 0.0 && value.abs() < 9e18 {
            return Ok(Integer(value as i64));
        }
        Err(E::custom("a fraction where an integer is expected"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer, E> {
        let by_name = || {
            let kind = trace::span::SpanKind::from_str_name(text).map(|kind| kind as i64);
            kind.or_else(|| trace::status::StatusCode::from_str_name(text).map(|code| code as i64))
        };
        let integer = text.parse().ok().or_else(by_name);
        integer.map(Integer).ok_or_else(|| E::custom("text that is no integer and no enum's name"))
    }

    fn visit_unit<E>(self) -> Result<Integer, E> {
        Ok(Integer(0))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Number(number) => number,
            Form::Text(text) => text.parse().map_err(de::Error::custom)?,
        }))
    }
}

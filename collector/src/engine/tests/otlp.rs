//! Made OTLP requests, as an SDK sends them.

use super::bench::Bench;
use crate::decode;
use crate::engine::Event;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

pub(super) const SERVER: i32 = 2;
pub(super) const CLIENT: i32 = 3;
pub(super) const MS: u64 = 1_000_000;

/// One who sends spans, and never the same id by accident.
#[derive(Default)]
pub(super) struct Teller {
    traces: u64,
    pub(super) spans: u64,
}

impl Teller {
    pub(super) fn trace(&mut self) -> Vec<u8> {
        self.traces += 1;
        [[7; 8], self.traces.to_be_bytes()].concat()
    }

    /// A span of HTTP that took 5 ms and ended a second before `bench` has it.
    pub(super) fn span(&mut self, bench: &Bench, trace: &[u8], kind: i32, parent: &[u8]) -> Span {
        self.spans += 1;
        let end = (bench.now.unix_ms - 1_000) * MS;
        Span {
            trace_id: trace.to_vec(),
            span_id: self.spans.to_be_bytes().to_vec(),
            parent_span_id: parent.to_vec(),
            name: "GET /stock".into(),
            kind,
            start_time_unix_nano: end - 5 * MS,
            end_time_unix_nano: end,
            attributes: vec![
                text_of("http.request.method", "GET"),
                text_of("url.full", "http://stock/stock/1"),
                status(200),
            ],
            ..Span::default()
        }
    }
}

pub(super) fn status(code: i64) -> KeyValue {
    number_of("http.response.status_code", code)
}

pub(super) fn number_of(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

pub(super) fn text_of(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..KeyValue::default() }
}

/// Spans of a service.
pub(super) fn of(service: &str, spans: Vec<Span>) -> ResourceSpans {
    of_instance(service, "", spans)
}

pub(super) fn of_instance(service: &str, instance: &str, spans: Vec<Span>) -> ResourceSpans {
    let mut attributes = vec![text_of("service.name", service)];
    if !instance.is_empty() {
        attributes.push(text_of("service.instance.id", instance));
        attributes.push(text_of("service.version", instance));
    }
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

pub(super) fn send(bench: &mut Bench, resource_spans: Vec<ResourceSpans>) {
    let batch = decode::batch(&ExportTraceServiceRequest { resource_spans });
    bench.handle(Event::Spans { sender: Some("teller".into()), batch });
}

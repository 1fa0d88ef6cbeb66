//! Spans as OTLP, under the current semantic conventions for HTTP and RPC.

use super::{Ending, Error, Finished};
use fusebox_proto::report::Protocol;
use fusebox_proto::{ServiceId, text};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span, status,
};
use std::time::{Duration, Instant, SystemTime};

/// The instrumentation scope of all our spans.
const SCOPE: &str = "fusebox.proxy";

/// In `Span.flags`: whether bit 9 says something, and what it says. Our parent is always the
/// application next to us or the proxy on the other side: another process.
const PARENT_IS_REMOTE: u32 = 0x300;

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

    fn unix_ns(self, at: Instant) -> u64 {
        let before = self.instant.saturating_duration_since(at);
        let after = at.saturating_duration_since(self.instant);
        let unix = (self.unix + after).saturating_sub(before);
        u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Who exports.
pub(crate) fn resource(service: &ServiceId, instance: &str) -> Resource {
    let mut attributes = vec![string("service.name", service.name())];
    if !service.namespace().is_empty() {
        attributes.push(string("service.namespace", service.namespace()));
    }
    if !service.environment().is_empty() {
        attributes.push(string("deployment.environment.name", service.environment()));
    }
    if !instance.is_empty() {
        attributes.push(string("service.instance.id", instance));
    }
    Resource { attributes, ..Resource::default() }
}

/// One export request.
pub(crate) fn request(
    resource: &Resource,
    spans: &[Finished],
    anchor: Anchor,
) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: SCOPE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let spans = spans.iter().map(|finished| encode(finished, anchor)).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource = Some(resource.clone());
    let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }
}

fn encode(finished: &Finished, anchor: Anchor) -> Span {
    let Finished { draft, ending, ended } = finished;
    let place = draft.place;
    let kind = if draft.peer.is_some() { span::SpanKind::Client } else { span::SpanKind::Server };
    let path = text::visible(&draft.path);
    let name = match draft.protocol {
        // The full method is a small set; a path of plain HTTP may be anything.
        Protocol::Grpc => path.trim_start_matches('/').to_owned(),
        _ => draft.method.to_string(),
    };
    let status = ending.error.map(|error| Status {
        code: status::StatusCode::Error.into(),
        message: error_type(error, *ending),
    });
    Span {
        trace_id: place.trace_id.as_bytes().to_vec(),
        span_id: place.span_id.as_bytes().to_vec(),
        parent_span_id: place.parent_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        flags: u32::from(place.flags) | PARENT_IS_REMOTE,
        name,
        kind: kind.into(),
        start_time_unix_nano: anchor.unix_ns(draft.started),
        end_time_unix_nano: anchor.unix_ns(*ended),
        attributes: attributes(finished, &path),
        status,
        ..Span::default()
    }
}

fn attributes(finished: &Finished, path: &str) -> Vec<KeyValue> {
    let Finished { draft, ending, .. } = finished;
    let mut all = Vec::with_capacity(12);
    all.push(string("http.request.method", draft.method.as_str()));
    all.push(string("url.path", path));
    all.push(string("url.scheme", "http"));
    all.push(string("network.protocol.name", "http"));
    let version = if draft.protocol == Protocol::Http1 { "1.1" } else { "2" };
    all.push(string("network.protocol.version", version));
    server(&draft.authority, &mut all);
    if let Some(peer) = &draft.peer {
        all.push(string("service.peer.name", peer.name()));
        if !peer.namespace().is_empty() {
            all.push(string("service.peer.namespace", peer.namespace()));
        }
    }
    if draft.protocol == Protocol::Grpc {
        all.push(string("rpc.system.name", "grpc"));
        all.push(string("rpc.method", path.trim_start_matches('/')));
    }
    if 0 < draft.resend_count {
        all.push(int("http.request.resend_count", draft.resend_count.into()));
    }
    if let Some(way) = &draft.way {
        all.push(string("fusebox.route", &way.route));
        if !way.subset.is_empty() {
            all.push(string("fusebox.subset", &way.subset));
        }
    }
    end(*ending, &mut all);
    all
}

/// `server.address` and `server.port` of an authority.
fn server(authority: &str, all: &mut Vec<KeyValue>) {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return;
    };
    all.push(string("server.address", &text::visible(authority.host())));
    if let Some(port) = authority.port_u16() {
        all.push(int("server.port", port.into()));
    }
}

fn end(ending: Ending, all: &mut Vec<KeyValue>) {
    match (ending.grpc_status, ending.http_status) {
        (Some(status), _) => all.push(int("rpc.grpc.status_code", status.into())),
        (None, Some(status)) => all.push(int("http.response.status_code", status.into())),
        (None, None) => (),
    }
    if let Some(error) = ending.error {
        all.push(string("error.type", &error_type(error, ending)));
    }
    if let Some(reason) = ending.refused {
        all.push(string("fusebox.refused", reason));
    }
}

/// `error.type`: a status where that is what failed, else a word of a small set.
fn error_type(error: Error, ending: Ending) -> String {
    match error {
        Error::Status => {
            ending.grpc_status.or(ending.http_status).map_or_else(String::new, |s| s.to_string())
        }
        Error::Reset => "reset".into(),
        Error::Unavailable => "unavailable".into(),
        Error::Timeout => "timeout".into(),
        Error::Cancelled => "cancelled".into(),
    }
}

fn string(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

//! A span as a message: the readable version of what `encode` writes.

use super::*;
use crate::spans::Error;
use fusebox_proto::text;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span, status};

/// Whether bit 9 of the flags says something, and what it says.
const PARENT_IS_REMOTE: u32 = 0x300;

pub(super) fn message(draft: &Draft, ending: Ending, ended: Instant, anchor: Anchor) -> Span {
    let place = draft.place;
    let kind = if draft.peer.is_some() { span::SpanKind::Client } else { span::SpanKind::Server };
    let path = text::visible(&text::cut(draft.uri.path(), 512)).into_owned();
    let name = match draft.protocol {
        // The full method is a small set; a path of plain HTTP may be anything.
        Protocol::Grpc => path.trim_start_matches('/').to_owned(),
        _ => draft.method.to_string(),
    };
    let status = ending.error.map(|error| Status {
        code: status::StatusCode::Error.into(),
        message: error_type(error, ending),
    });
    Span {
        trace_id: place.trace_id.as_bytes().to_vec(),
        span_id: place.span_id.as_bytes().to_vec(),
        parent_span_id: place.parent_id.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        flags: u32::from(place.flags) | PARENT_IS_REMOTE,
        name,
        kind: kind.into(),
        start_time_unix_nano: anchor.unix_ns(draft.started),
        end_time_unix_nano: anchor.unix_ns(ended),
        attributes: attributes(draft, ending, &path),
        status,
        ..Span::default()
    }
}

fn attributes(draft: &Draft, ending: Ending, path: &str) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(12);
    all.push(string("http.request.method", draft.method.as_str()));
    all.push(string("url.path", path));
    all.push(string("url.scheme", "http"));
    all.push(string("network.protocol.name", "http"));
    let version = if draft.protocol == Protocol::Http1 { "1.1" } else { "2" };
    all.push(string("network.protocol.version", version));
    server(&text::cut(draft.authority(), 256), &mut all);
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
    end(ending, &mut all);
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

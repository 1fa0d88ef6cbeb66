//! One entry as a line of JSON.

use super::{Ended, Entry, Side};
use fusebox_proto::text::{cut, visible};
use fusebox_proto::view::Stamp;
use http::HeaderValue;
use serde::Serialize;
use std::borrow::Cow;

/// A method is cut to this many bytes.
const METHOD_LEN_MAX: usize = 32;

/// The fields, in the order in which they are written; `null` is "not known" or "none".
#[derive(Serialize)]
struct Line<'a> {
    time: Stamp,
    listener: &'static str,
    edge: Option<&'a str>,
    peer: &'a str,
    protocol: &'static str,
    method: Option<Cow<'a, str>>,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    status: Option<u16>,
    grpc_status: Option<u16>,
    bytes: u64,
    duration_ms: f64,
    ended: &'static str,
    endpoint: Option<&'a str>,
    attempt: Option<&'static str>,
    resend_count: Option<u16>,
    trace_id: Option<String>,
    refused: Option<&'a str>,
    failure: Option<&'a str>,
    policy: Option<&'static str>,
    route: Option<&'a str>,
    subset: Option<&'a str>,
}

/// Writes `entry` behind `text`, with a line break.
pub(super) fn write(entry: &Entry, text: &mut Vec<u8>) {
    let trail = entry.trail.as_deref();
    let way = trail.and_then(|trail| trail.way.as_deref());
    let line = Line {
        time: Stamp(entry.started.unix_ms),
        listener: match entry.side {
            Side::Outbound => "outbound",
            Side::Inbound => "inbound",
            Side::Ingress => "ingress",
        },
        edge: trail.and_then(|trail| trail.edge.as_ref()).map(|edge| &*edge.name),
        peer: entry.peer.as_str(),
        protocol: entry.protocol.as_str(),
        method: entry.method.as_ref().map(|method| cut(method.as_str(), METHOD_LEN_MAX)),
        host: visible(&entry.authority),
        path: visible(&entry.path),
        status: entry.status,
        grpc_status: entry.grpc_status,
        bytes: entry.bytes,
        duration_ms: entry.duration.as_micros() as f64 / 1_000.0,
        ended: match entry.ended {
            Ended::Complete => "complete",
            Ended::Broken => "broken",
            Ended::Cancelled => "cancelled",
        },
        endpoint: trail.and_then(|trail| trail.endpoint.as_deref()),
        attempt: trail.and_then(|trail| trail.attempt),
        resend_count: trail.and_then(|trail| trail.resend_count),
        trace_id: entry.trace_id.map(|id| id.to_string()),
        refused: entry.refused.as_ref().map(word),
        failure: entry.failure.as_ref().map(word),
        policy: trail.and_then(|trail| trail.policy),
        route: way.map(|way| &*way.route),
        subset: way.map(|way| &*way.subset).filter(|subset| !subset.is_empty()),
    };
    let len = text.len();
    match serde_json::to_writer(&mut *text, &line) {
        Ok(()) => text.push(b'\n'),
        Err(_) => text.truncate(len),
    }
}

/// The first word of a header of ours: `open; edge=a>b`.
fn word(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default().split(';').next().unwrap_or_default()
}

//! The proxy's own answers: the only place that knows them.
//!
//! What to say to a refused caller was measured against fifteen client libraries; the rules:
//!
//! - a refused first attempt gets 503, a refused retry 424: most libraries repeat the former and
//!   not the latter;
//! - a gRPC caller gets `UNAVAILABLE` in trailers alone, with a pushback that forbids a retry;
//! - all get `x-envoy-ratelimited`, so that an Envoy above does not repeat it;
//! - never `retry-after`, which makes clients repeat that would not have, never a broken
//!   connection, never a delay.
//!
//! A *failure* of the server that has no answer of its own (no connection, a reset) is told apart
//! by `x-fusebox-failure`. A request that is none gets 400 or 501, and its connection is closed,
//! because where it ends is in doubt.

use crate::body::{Guard, ResponseBody};
use crate::edge::Refusal;
use crate::forward::SendError;
use crate::gate::Rejected;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use std::fmt::Write;

/// The response header that marks a refusal of ours, here or further down.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("x-fusebox-refused");
const FAILURE: HeaderName = HeaderName::from_static("x-fusebox-failure");
const RATELIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
/// Of a gRPC response, in headers or trailers.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// gRPC's `UNAVAILABLE`.
pub(crate) const GRPC_UNAVAILABLE: u16 = 14;

/// The answer to an attempt on `edge` that is refused.
pub(crate) fn refused<G: Guard>(
    refusal: Refusal,
    edge: &str,
    is_grpc: bool,
) -> Response<ResponseBody<G>> {
    let word = refusal.word();
    let (status, header) = match refusal.retry_of {
        None => (StatusCode::SERVICE_UNAVAILABLE, format!("{word}; edge={edge}")),
        Some(original) => {
            (StatusCode::FAILED_DEPENDENCY, format!("{word}; edge={edge}; original={original}"))
        }
    };
    let text = format!("fusebox-proxy refuses: {word} ({edge})");
    let mut response = if is_grpc { grpc(&text) } else { plain(status, text) };
    let headers = response.headers_mut();
    headers.insert(REFUSED, value(&header));
    headers.insert(RATELIMITED, HeaderValue::from_static("true"));
    if is_grpc {
        headers.insert(GRPC_PUSHBACK, HeaderValue::from_static("-1"));
    }
    response
}

/// The HTTP status for a request that the server left without an answer.
pub(crate) fn failure_status(error: &SendError) -> StatusCode {
    match error {
        SendError::Overflow(_) | SendError::Connect(_) => StatusCode::SERVICE_UNAVAILABLE,
        SendError::Stale | SendError::Broken(_) | SendError::Switched => StatusCode::BAD_GATEWAY,
        SendError::Caller => StatusCode::BAD_REQUEST,
    }
}

/// The answer to a request that the server `who` left without one.
pub(crate) fn failed<G: Guard>(
    error: &SendError,
    who: &str,
    is_grpc: bool,
) -> Response<ResponseBody<G>> {
    let kind = match error {
        SendError::Overflow(_) => "overflow",
        SendError::Connect(_) => "connect",
        SendError::Stale => "stale-connection",
        SendError::Broken(_) | SendError::Switched => "no-answer",
        SendError::Caller => "request-body",
    };
    let text = format!("fusebox-proxy: {who}: {error}");
    let mut response = if is_grpc { grpc(&text) } else { plain(failure_status(error), text) };
    response.headers_mut().insert(FAILURE, value(&format!("{kind}; {who}")));
    response
}

/// The answer to what is no request, or none that can be served.
pub(crate) fn malformed<G: Guard>(
    rejected: Rejected,
    version: Version,
) -> Response<ResponseBody<G>> {
    let mut response = plain(rejected.status, format!("fusebox-proxy: {}", rejected.reason));
    if version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn plain<G: Guard>(status: StatusCode, mut text: String) -> Response<ResponseBody<G>> {
    text.push('\n');
    let mut response = Response::new(ResponseBody::Own(Some(text.into())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Trailers alone: the status in the headers, no body.
fn grpc<G: Guard>(message: &str) -> Response<ResponseBody<G>> {
    let mut response = Response::new(ResponseBody::Own(None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(GRPC_UNAVAILABLE));
    headers.insert(GRPC_MESSAGE, percent_encoded(message));
    response
}

/// A header value of text that holds no control characters: names were made visible.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static("unprintable"))
}

/// `grpc-message` is percent-encoded UTF-8.
fn percent_encoded(message: &str) -> HeaderValue {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
    }
    value(&text)
}

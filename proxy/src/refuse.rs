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
//! by `x-fusebox-failure`; what a policy answers in place of a server by `x-fusebox-policy`. A request that is none gets 400 or 501, and its connection is closed,
//! because where it ends is in doubt.

use crate::body::{Guard, ResponseBody};
use crate::edge::{Original, Refusal};
use crate::forward::SendError;
use crate::gate::Rejected;
use fusebox_proto::grpc;
use fusebox_proto::policy::MutedAnswer;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode, Version};
use std::fmt::Write;

/// The response header that marks a refusal of ours, here or further down.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("x-fusebox-refused");
/// Marks an answer that a policy gave in place of a server.
const POLICY: HeaderName = HeaderName::from_static("x-fusebox-policy");
/// Marks the answer to a request that its server left without one.
pub(crate) const FAILURE: HeaderName = HeaderName::from_static("x-fusebox-failure");
/// Of an Envoy, and of ours: do not repeat this.
pub(crate) const RATELIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");
/// Of an Envoy that has too much to do.
pub(crate) const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");
/// Of a gRPC response, in headers or trailers.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Of a gRPC response: whether and when to repeat.
pub(crate) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
/// gRPC's `UNAVAILABLE`.
pub(crate) const GRPC_UNAVAILABLE: u16 = 14;

/// The answer to an attempt on `edge` that is refused. `muted` is what its policy wants the caller
/// of a muted retry to get.
pub(crate) fn refused<G: Guard>(
    refusal: Refusal,
    edge: &str,
    is_grpc: bool,
    muted: MutedAnswer,
) -> Response<ResponseBody<G>> {
    let word = refusal.word();
    let (status, header) = match refusal.retry_of {
        None => (StatusCode::SERVICE_UNAVAILABLE, format!("{word}; edge={edge}")),
        Some(original) => {
            (muted_status(original, muted), format!("{word}; edge={edge}; original={original}"))
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

/// What a muted retry is answered with. A caller that would take a 4xx for its own fault is told
/// again what it was told before.
fn muted_status(original: Original, muted: MutedAnswer) -> StatusCode {
    match (muted, original) {
        (MutedAnswer::Refuse, _) => StatusCode::FAILED_DEPENDENCY,
        (MutedAnswer::Replay, Original::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        (MutedAnswer::Replay, Original::Unknown) => StatusCode::SERVICE_UNAVAILABLE,
        (MutedAnswer::Replay, Original::Status(status)) => {
            // A gRPC status is no HTTP status; neither is that of an attempt without an answer.
            let known = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 400);
            known.unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// The answer that a policy gives in place of a server: `word` says which.
pub(crate) fn by_policy<G: Guard>(
    status: StatusCode,
    word: &str,
    edge: &str,
    is_grpc: bool,
) -> Response<ResponseBody<G>> {
    let text = format!("fusebox-proxy: {word} ({edge})");
    let mut response = if is_grpc {
        let mut response = grpc(&text);
        let status = HeaderValue::from(grpc_of_http(status));
        response.headers_mut().insert(GRPC_STATUS, status);
        response
    } else {
        plain(status, text)
    };
    response.headers_mut().insert(POLICY, value(&format!("{word}; edge={edge}")));
    response
}

/// As [`by_policy`], with a gRPC status; for a caller that does not speak gRPC with the HTTP status
/// that it maps to.
pub(crate) fn by_policy_grpc<G: Guard>(
    status: u16,
    word: &str,
    edge: &str,
    is_grpc: bool,
) -> Response<ResponseBody<G>> {
    let http = StatusCode::from_u16(grpc::http_status(status));
    let http = http.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = by_policy(http, word, edge, is_grpc);
    if is_grpc {
        response.headers_mut().insert(GRPC_STATUS, HeaderValue::from(status));
    }
    response
}

/// A body that a policy dictates.
pub(crate) fn dictated<G: Guard>(status: StatusCode, body: &[u8]) -> Response<ResponseBody<G>> {
    let bytes = (!body.is_empty()).then(|| bytes::Bytes::copy_from_slice(body));
    let is_empty = bytes.is_none();
    let mut response = Response::new(ResponseBody::Own(bytes));
    *response.status_mut() = status;
    if !is_empty {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// `Location: location`.
pub(crate) fn redirect<G: Guard>(status: StatusCode, location: &str) -> Response<ResponseBody<G>> {
    let mut response = dictated(status, b"");
    response.headers_mut().insert(LOCATION, value(location));
    response
}

/// gRPC's own mapping (<https://grpc.github.io/grpc/core/md_doc_http-grpc-status-mapping.html>).
fn grpc_of_http(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => GRPC_UNAVAILABLE,
        _ => 2,
    }
}

/// The HTTP status for a request that the server left without an answer.
pub(crate) fn failure_status(error: &SendError) -> StatusCode {
    match error {
        SendError::Overflow(_) | SendError::Connect(_) => StatusCode::SERVICE_UNAVAILABLE,
        SendError::Stale | SendError::Broken(_) | SendError::Switched => StatusCode::BAD_GATEWAY,
        SendError::TimedOut(_) | SendError::Silent => StatusCode::GATEWAY_TIMEOUT,
        SendError::Caller => StatusCode::BAD_REQUEST,
        SendError::Late => StatusCode::REQUEST_TIMEOUT,
    }
}

/// The word for a request, or a session, that the server left without an answer.
pub(crate) const fn failure_word(error: &SendError) -> &'static str {
    match error {
        SendError::Overflow(_) => "overflow",
        SendError::Connect(_) => "connect",
        SendError::Stale => "stale-connection",
        SendError::Broken(_) | SendError::Switched => "no-answer",
        SendError::TimedOut(_) => "timeout",
        SendError::Silent => "idle-timeout",
        SendError::Caller | SendError::Late => "request-body",
    }
}

/// The answer to a request that the server `who` left without one.
pub(crate) fn failed<G: Guard>(
    error: &SendError,
    who: &str,
    is_grpc: bool,
) -> Response<ResponseBody<G>> {
    let text = format!("fusebox-proxy: {who}: {error}");
    let mut response = if is_grpc { grpc(&text) } else { plain(failure_status(error), text) };
    response.headers_mut().insert(FAILURE, value(&format!("{}; {who}", failure_word(error))));
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

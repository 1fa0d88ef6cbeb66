//! Spans of forwarded and refused requests, until they are exported.
//!
//! A [`Draft`] is made where a request with a sampled trace starts. Where it ends it is written, in
//! its final form ([`encode`]), to the end of the [`ring`], which forgets the oldest when it is full.
//! Times are monotonic until then: a clock that is set meanwhile makes no negative spans. Query
//! strings, credentials and cookies are never looked at.

pub(crate) mod encode;
pub(crate) mod export;
pub(crate) mod ring;
#[cfg(test)]
mod tests;

use crate::edge::Way;
use crate::propagate::SpanPlace;
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use http::header::{HOST, HeaderValue};
use http::{Method, Uri, request};
pub(crate) use ring::SpanRing;
use std::sync::Arc;
use std::time::Instant;

/// A span of a request that is under way.
#[derive(Debug)]
pub(crate) struct Draft {
    place: SpanPlace,
    protocol: Protocol,
    method: Method,
    /// As it came: a clone shares the bytes.
    uri: Uri,
    host: Option<HeaderValue>,
    /// The called service on the client side; `None` on the server side.
    peer: Option<ServiceId>,
    resend_count: u16,
    /// The rule and the subset that a policy chose.
    way: Option<Arc<Way>>,
    started: Instant,
}

impl Draft {
    /// A span that starts now.
    pub(crate) fn new(
        place: SpanPlace,
        protocol: Protocol,
        head: &request::Parts,
        peer: Option<ServiceId>,
        started: Instant,
    ) -> Self {
        let host = if head.uri.authority().is_none() { head.headers.get(HOST) } else { None };
        Self {
            place,
            protocol,
            method: head.method.clone(),
            uri: head.uri.clone(),
            host: host.cloned(),
            peer,
            resend_count: 0,
            way: None,
            started,
        }
    }

    /// `:authority` or `Host`.
    fn authority(&self) -> &str {
        let host = || self.host.as_ref().and_then(|host| host.to_str().ok());
        self.uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or_default()
    }

    /// The way that a policy chose.
    pub(crate) fn way(&mut self, way: Option<&Arc<Way>>) {
        self.way = way.cloned();
    }

    /// Attempts of the same request that went out before.
    pub(crate) fn resend_count(&mut self, count: u16) {
        self.resend_count = count;
    }
}

/// How a request ended, for its span.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    /// HTTP status that the caller got; `None` where it got none.
    pub(crate) http_status: Option<u16>,
    /// gRPC status, where there is one.
    pub(crate) grpc_status: Option<u16>,
    /// What went wrong; `None` where nothing did.
    pub(crate) error: Option<Error>,
    /// Why we refused it, if we did.
    pub(crate) refused: Option<&'static str>,
}

/// What went wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Its HTTP or gRPC status says so.
    Status,
    /// The server broke off in the middle of its answer.
    Reset,
    /// There was no answer from the server.
    Unavailable,
    /// The policy gave up.
    Timeout,
    /// The caller went away.
    Cancelled,
}

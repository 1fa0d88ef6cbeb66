//! Sending one request to an endpoint, and again where that is safe.
//!
//! A request may be sent a second time in three cases only:
//!
//! - hyper gave it back unsent: nothing of it left the process, and any method will do;
//! - an HTTP/2 server says that it did not look at it (`GOAWAY` with an earlier stream,
//!   `REFUSED_STREAM`): any method will do, if the body is at hand;
//! - an HTTP/1 connection that had carried requests before died without a byte of answer: servers
//!   close idle connections, and a request can cross that on its way. Then the method must be
//!   idempotent and the body at hand, and it is done once.
//!
//! A body is at hand if there is none, or all of it was read ahead: for the second case up to 64 KiB of
//! what comes at once. Whatever else breaks is an
//! answer that the caller must see: what to do then is policy, not plumbing.

use crate::body::{RequestBody, hold};
use crate::connection::Hints;
use crate::edge::Overflow;
use crate::outlier::Observed;
use crate::pool::{AcquireError, ConnectError, Http1Lease, Http2Lease, Picked};
use crate::retry::Ended;
use crate::translate;
use crate::upgrade;
use http::header::{EXPECT, UPGRADE};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How often a request that came back unsent is tried again: each time, all connections that are
/// known were thrown away before.
const UNSENT_MAX: usize = 3;

/// Why a request got no answer from the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// A limit of the pool. Ours; nothing was sent.
    #[error("the connection pool is full")]
    Overflow(Overflow),
    /// No connection. The server's; nothing was sent.
    #[error("no connection: {0}")]
    Connect(ConnectError),
    /// A connection kept from earlier requests died under this one, which may not be sent twice.
    /// Nobody's, so ours.
    #[error("an idle connection was closed by the server just when it was used again")]
    Stale,
    /// The server broke off, or answered what is no HTTP. The server's.
    #[error("no answer: {0}")]
    Broken(hyper::Error),
    /// The server switched to a protocol that nobody asked it for. The server's; passed on, it would
    /// make a tunnel of the connection.
    #[error("the server switched protocols unasked")]
    Switched,
    /// The policy's patience with the server is over.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Nothing has moved for too long. The server's.
    #[error("the server was silent for too long")]
    Silent,
    /// The caller broke off its request body.
    #[error("the request body broke off")]
    Caller,
    /// Nothing came of the request body for too long.
    #[error("the request body did not go on")]
    Late,
}

impl From<AcquireError> for SendError {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Overflow(overflow) => Self::Overflow(overflow),
            AcquireError::Connect(error) => Self::Connect(error),
        }
    }
}

impl SendError {
    /// As a retry policy looks at it.
    pub(crate) fn for_retry(&self) -> Ended {
        match self {
            // Of those that are late, the time for an answer is over.
            Self::Overflow(_) | Self::Caller | Self::Late | Self::Silent => Ended::Refused,
            Self::Connect(_) => Ended::NoConnection,
            Self::Broken(error) if is_unprocessed(error) => Ended::RefusedStream,
            Self::Stale | Self::Broken(_) | Self::Switched => Ended::Reset { was_sent: true },
            Self::TimedOut(_) => Ended::TimedOut,
        }
    }

    /// What it says about the endpoint.
    pub(crate) const fn observed(&self) -> Option<Observed> {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Switched => Some(Observed::Broken),
            Self::TimedOut(_) | Self::Silent => Some(Observed::TimedOut),
            Self::Overflow(_) | Self::Stale | Self::Caller | Self::Late => None,
        }
    }
}

/// A request in a place of its own, out of which it is sent: it is large, and would else be moved
/// through every future on its way. What is still here after an error was not sent.
pub(crate) type Outgoing = Option<Request<RequestBody>>;

/// The connection that a response is coming from.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// It is this request's alone.
    Http1(Http1Lease),
    /// Held for its place; it is free when dropped.
    Http2 {
        /// The stream.
        _lease: Http2Lease,
    },
}

impl Exchange {
    /// Gives the connection back at the end of the response body. Dropped instead, it closes, and
    /// what it was doing is cancelled.
    pub(crate) fn release(self, now: Instant) {
        if let Self::Http1(lease) = self {
            lease.release(now);
        }
    }
}

/// Sends `outgoing` in its own version of HTTP to the endpoint that was picked, and waits for the head
/// of an answer until that is late.
pub(crate) async fn send(
    picked: &Picked,
    now: Instant,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Exchange), SendError> {
    let caller = outgoing.as_ref().and_then(|request| request.body().hints());
    let mut sending = pin!(exchange(picked, now, outgoing));
    // No timer: the connection of the caller looks at what moves anyway.
    poll_fn(|cx| match sending.as_mut().poll(cx) {
        Poll::Pending if caller.as_ref().is_some_and(Hints::is_late) => {
            Poll::Ready(Err(SendError::Silent))
        }
        polled => polled,
    })
    .await
}

async fn exchange(
    picked: &Picked,
    now: Instant,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Exchange), SendError> {
    let is_http2 = outgoing.as_ref().is_some_and(|request| request.version() == Version::HTTP_2);
    let wanted = outgoing.as_ref().and_then(|request| request.headers().get(UPGRADE).cloned());
    let over_http2 =
        if is_http2 { or_http1(send_http2(picked, now, outgoing).await, outgoing)? } else { None };
    let (response, exchange) = if let Some((response, lease)) = over_http2 {
        (response, Exchange::Http2 { _lease: lease })
    } else {
        let (response, lease) = send_http1(picked, now, outgoing).await?;
        if is_http2 {
            picked.speaks_http1(now);
        }
        if let Some(timeout_s) = keep_alive_timeout_s(response.headers()) {
            picked.keep_alive(timeout_s);
        }
        (response, Exchange::Http1(lease))
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && !upgrade::is_granted(wanted.as_ref(), response.headers())
    {
        return Err(SendError::Switched);
    }
    Ok((response, exchange))
}

/// `None`: the server speaks HTTP/1 only, and the request that it did not get does by now.
fn or_http1<T>(
    sent: Result<T, SendError>,
    outgoing: &mut Outgoing,
) -> Result<Option<T>, SendError> {
    match sent {
        Err(SendError::Connect(ConnectError::NotHttp2))
            if outgoing.as_mut().is_some_and(translate::to_http1) =>
        {
            Ok(None)
        }
        sent => sent.map(Some),
    }
}

async fn send_http1(
    picked: &Picked,
    now: Instant,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Http1Lease), SendError> {
    let mut may_resend = true;
    for _ in 0..UNSENT_MAX {
        let mut lease = picked.http1(now).await?;
        let Some(mut request) = outgoing.take() else { break };
        let may_copy = may_resend && lease.is_used() && request.method().is_idempotent();
        if may_copy && request.body().may_hold() {
            // In a place of its own: few that may be sent again have a body.
            Box::pin(hold(request.body_mut())).await.map_err(|_| SendError::Caller)?;
        }
        let copy = if may_copy { Copy::of(&request) } else { None };
        RequestBody::listen(&mut request);
        let mut error = match lease.sender().try_send_request(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(error) => error,
        };
        *outgoing = match (error.take_message(), copy) {
            (Some(unsent), _) => Some(unsent),
            (None, Some(copy)) if is_death(error.error()) => {
                may_resend = false;
                Some(copy.into_request())
            }
            (None, _) => return Err(broken(error.into_error(), lease.is_used() && may_resend)),
        };
        picked.discard_idle();
    }
    Err(SendError::Stale)
}

async fn send_http2(
    picked: &Picked,
    now: Instant,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Http2Lease), SendError> {
    for _ in 0..UNSENT_MAX {
        let lease = picked.http2(now).await?;
        let Some(mut request) = outgoing.take() else { break };
        if request.body_mut().let_go() {
            request.headers_mut().remove(EXPECT);
        }
        let copy = Copy::of(&request);
        let mut error = match lease.sender().try_send_request(request).await {
            Ok(response) => return Ok((response, lease)),
            Err(error) => error,
        };
        *outgoing = match (error.take_message(), copy) {
            (Some(unsent), _) => Some(unsent),
            (None, Some(copy)) if is_unprocessed(error.error()) => Some(copy.into_request()),
            (None, _) => return Err(broken(error.into_error(), false)),
        };
        lease.retire();
    }
    Err(SendError::Stale)
}

/// Whether a connection ended without an answer, rather than with a wrong one.
fn is_death(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}

fn broken(error: hyper::Error, was_kept: bool) -> SendError {
    if error.is_user() {
        if is_late(&error) { SendError::Late } else { SendError::Caller }
    } else if was_kept && is_death(&error) {
        SendError::Stale
    } else {
        SendError::Broken(error)
    }
}

/// Whether a request body broke off because the caller's connection was late with it.
fn is_late(error: &hyper::Error) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// Whether an HTTP/2 server says that it did nothing with a request (RFC 9113, 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote()
            && match cause.reason() {
                Some(h2::Reason::REFUSED_STREAM) => true,
                Some(h2::Reason::NO_ERROR) => cause.is_go_away(),
                _ => false,
            }
    })
}

/// What it takes to send a request again.
pub(crate) struct Copy {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    /// The letters of header names, where they are kept.
    extensions: Extensions,
    body: RequestBody,
}

impl Copy {
    /// `None` where the body is not at hand.
    fn of(request: &Request<RequestBody>) -> Option<Self> {
        Some(Self {
            body: request.body().copy()?,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
        })
    }

    /// As [`Self::of`], of a request that is not put together yet.
    pub(crate) fn of_parts(head: &request::Parts, body: &RequestBody) -> Option<Self> {
        Some(Self {
            body: body.copy()?,
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            headers: head.headers.clone(),
            extensions: head.extensions.clone(),
        })
    }

    /// For a server whose answer nobody gets.
    pub(crate) fn silent(mut self) -> Self {
        self.body.silence();
        self
    }

    /// The request, again.
    pub(crate) fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(self.body);
        *request.version_mut() = self.version;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        *request.extensions_mut() = self.extensions;
        request
    }
}

/// `N` of `Keep-Alive: timeout=N`.
fn keep_alive_timeout_s(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let timeout = value.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    timeout.trim().parse().ok()
}

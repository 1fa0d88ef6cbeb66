//! The two bodies that cross a hop, neither boxed.
//!
//! [`RequestBody`] goes up: what was read ahead of it for the digest, then the rest as it comes.
//! [`ResponseBody`] comes down, and carries the [`Guard`] of its request: the guard learns how the
//! body ended, or is dropped when the caller went away. A connection is therefore free, and an
//! attempt over, at the end of the *body*.

mod prefix;
mod rest;

pub(crate) use prefix::{hold, read_ahead};

use crate::connection::{Hints, Upload};
use crate::gate;
use crate::interim::{self, Unwanted};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use rest::Rest;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::time::Sleep;

/// A request body on its way to the server. Dropped, it is read to its end all the same.
#[derive(Debug, Default)]
pub(crate) struct RequestBody {
    /// Read ahead and not yet sent. Boxed: most bodies have none.
    ahead: Option<Box<Ahead>>,
    /// What was not read ahead.
    rest: Rest,
    /// Until the server wants it. Boxed: few callers ask first.
    hold: Option<Box<interim::Hold>>,
    /// Where interim answers of the server go.
    hints: Option<Hints>,
}

/// Why a request body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The caller broke off, or sent what is no body.
    #[error(transparent)]
    Caller(#[from] hyper::Error),
    /// The server does not want it.
    #[error(transparent)]
    Unwanted(#[from] Unwanted),
}

/// What was read ahead of a body.
#[derive(Clone, Debug, Default)]
struct Ahead {
    parts: VecDeque<Bytes>,
    /// Behind all of the body.
    trailers: Option<HeaderMap>,
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.trailers.is_none()
    }

    fn next(&mut self) -> Option<Frame<Bytes>> {
        let data = self.parts.pop_front().map(Frame::data);
        data.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    /// The first bytes, at most `len_max` of them, in one piece.
    fn first_bytes(&self, len_max: usize) -> Bytes {
        match self.parts.front() {
            Some(only) if self.parts.len() == 1 => only.slice(..only.len().min(len_max)),
            _ => {
                let mut first = BytesMut::with_capacity(len_max);
                for part in &self.parts {
                    let room = len_max - first.len();
                    first.extend_from_slice(&part[..part.len().min(room)]);
                }
                first.freeze()
            }
        }
    }
}

impl RequestBody {
    /// A body of which nothing was read yet. Interim answers go to `hints`, where its caller knows what
    /// they are.
    pub(crate) fn new(upload: Upload, hints: Option<Hints>) -> Self {
        Self { rest: Rest::new(upload), hints, ..Self::default() }
    }

    /// Its request was let in. If its caller asks first, it is held until the server wants it.
    pub(crate) fn expecting(&mut self, headers: &HeaderMap) -> Option<interim::Expecting> {
        if self.is_empty() {
            return None;
        }
        let Some((hold, expecting)) = interim::hold(headers) else {
            self.rest.comes();
            return None;
        };
        self.hold = Some(Box::new(hold));
        Some(expecting)
    }

    /// Listens to what the server of `request` says before its answer: that it wants the body, and
    /// what is for the caller.
    pub(crate) fn listen(request: &mut Request<Self>) {
        let body = request.body_mut();
        let (wish, hints) = (body.hold.as_ref().map(|hold| hold.wish()), body.hints.clone());
        interim::listen(request, wish, hints);
    }

    /// The way back to its caller, where that is known.
    pub(crate) fn hints(&self) -> Option<Hints> {
        self.hints.clone()
    }

    /// Lets nobody hear interim answers.
    pub(crate) fn silence(&mut self) {
        self.hints = None;
    }

    /// Lets it go, if it is held. Says whether it was.
    pub(crate) fn let_go(&mut self) -> bool {
        self.rest.comes();
        self.hold.take().inspect(|hold| hold.open()).is_some()
    }

    /// Whether some of it is still to come, and nobody was asked whether it is wanted.
    pub(crate) fn may_hold(&self) -> bool {
        !self.rest.is_over() && self.hold.is_none()
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_over() && self.ahead.as_ref().is_none_or(|ahead| ahead.is_empty())
    }

    /// The same body again, if all of it is at hand.
    pub(crate) fn copy(&self) -> Option<Self> {
        self.rest.is_over().then(|| Self {
            ahead: self.ahead.clone(),
            hints: self.hints.clone(),
            ..Self::default()
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        if let Some(hold) = &mut self.hold {
            let is_wanted = ready!(hold.poll(cx));
            self.hold = None;
            is_wanted?;
            self.rest.comes();
        }
        if let Some(frame) = self.ahead.as_mut().and_then(|ahead| ahead.next()) {
            let mut frame = Some(Ok(frame));
            strip_trailers(&mut frame);
            return Poll::Ready(frame);
        }
        match self.rest.upload() {
            Some(upload) => {
                let frame = ready!(Pin::new(upload).poll_frame(cx));
                let mut frame = frame.map(|it| it.map_err(RequestError::Caller));
                strip_trailers(&mut frame);
                Poll::Ready(frame)
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.peek().is_none_or(Upload::is_end_stream)
            && self.ahead.as_ref().is_none_or(|ahead| ahead.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let parts = self.ahead.iter().flat_map(|ahead| &ahead.parts);
        let ahead: u64 = parts.map(|bytes| bytes.len() as u64).sum();
        let rest = self.rest.peek().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(ahead + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(ahead + upper);
        }
        hint
    }
}

/// Takes from a frame of trailers what can only be a header.
fn strip_trailers<E>(frame: &mut Option<Result<Frame<Bytes>, E>>) {
    if let Some(Ok(frame)) = frame
        && let Some(trailers) = frame.trailers_mut()
    {
        gate::strip_trailers(trailers);
    }
}

/// Watches one forwarded request to its end. Dropped without an end, the caller went away.
pub(crate) trait Guard: Unpin {
    /// The response body ended.
    fn ended(self, end: End<'_>);
}

/// How a response body ended.
#[derive(Debug)]
pub(crate) enum End<'a> {
    /// All of it was handed on; HTTP/2 and chunked HTTP/1 may have trailers.
    Complete(Option<&'a HeaderMap>),
    /// The server broke off.
    Broken,
    /// The policy's patience ended first.
    TimedOut,
}

/// Why a response body breaks off; the caller sees its connection or stream reset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The server did.
    #[error(transparent)]
    Server(#[from] hyper::Error),
    /// The timeout of the route is over.
    #[error("the response took longer than its route allows")]
    TimedOut,
}

/// A response body on its way to the caller.
#[derive(Debug)]
pub(crate) enum ResponseBody<G: Guard> {
    /// The proxy's own words.
    Own(Option<Bytes>),
    /// The server's.
    Forwarded {
        /// As it comes.
        incoming: Incoming,
        /// Taken when it ended.
        guard: Option<G>,
        /// When it breaks off. Boxed: most have none.
        deadline: Option<Pin<Box<Sleep>>>,
    },
}

impl<G: Guard> ResponseBody<G> {
    /// The server's body under the eyes of `guard`, which learns at once if there is none; it
    /// breaks off at `deadline`.
    pub(crate) fn forwarded(incoming: Incoming, guard: G, deadline: Option<Instant>) -> Self {
        let mut guard = Some(guard);
        if incoming.is_end_stream() {
            end(&mut guard, End::Complete(None));
        }
        let deadline = deadline.filter(|_| guard.is_some());
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())));
        Self::Forwarded { incoming, guard, deadline }
    }

    /// Whether the answer is ours.
    pub(crate) const fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

fn end<G: Guard>(guard: &mut Option<G>, how: End<'_>) {
    if let Some(guard) = guard.take() {
        guard.ended(how);
    }
}

impl<G: Guard> Body for ResponseBody<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (incoming, guard, deadline) = match self.get_mut() {
            Self::Own(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Forwarded { incoming, guard, deadline } => (incoming, guard, deadline),
        };
        if let Some(deadline) = deadline
            && guard.is_some()
            && deadline.as_mut().poll(cx).is_ready()
        {
            end(guard, End::TimedOut);
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        }
        let mut frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        strip_trailers(&mut frame);
        match &frame {
            // hyper's server does not ask again once a body says that it is at its end.
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => end(guard, End::Complete(Some(trailers))),
                None if incoming.is_end_stream() => end(guard, End::Complete(None)),
                None => (),
            },
            Some(Err(_)) => end(guard, End::Broken),
            None => end(guard, End::Complete(None)),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Server)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Forwarded { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Forwarded { incoming, .. } => incoming.size_hint(),
        }
    }
}

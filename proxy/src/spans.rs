//! Spans of forwarded and refused requests, until they are exported.
//!
//! A [`Draft`] is made where a request with a sampled trace starts, finished where it ends, and
//! waits in the [`SpanRing`], which forgets the oldest when it is full. Times are monotonic until
//! [`encode`] puts them on the wall clock: a clock that is set meanwhile makes no negative spans.
//! Query strings, credentials and cookies are never looked at.

pub(crate) mod encode;
pub(crate) mod export;

use crate::edge::Way;
use crate::propagate::SpanPlace;
use fusebox_proto::report::Protocol;
use fusebox_proto::{ServiceId, text};
use http::{Method, request};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Spans that wait for export; at 300 B each some 2.5 MB.
const SPANS_MAX: usize = 8_192;
/// A path is cut to this many bytes.
const PATH_LEN_MAX: usize = 512;
/// An authority is cut to this many bytes.
const AUTHORITY_LEN_MAX: usize = 256;

/// A span of a request that is under way.
#[derive(Debug)]
pub(crate) struct Draft {
    place: SpanPlace,
    protocol: Protocol,
    method: Method,
    authority: String,
    path: String,
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
        let authority = crate::exchange::authority(head);
        Self {
            place,
            protocol,
            method: head.method.clone(),
            authority: text::cut(&authority, AUTHORITY_LEN_MAX).into_owned(),
            path: text::cut(head.uri.path(), PATH_LEN_MAX).into_owned(),
            peer,
            resend_count: 0,
            way: None,
            started,
        }
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

/// A span of a request that is over.
#[derive(Debug)]
pub(crate) struct Finished {
    draft: Box<Draft>,
    ending: Ending,
    ended: Instant,
}

/// Spans that wait for export.
#[derive(Debug, Default)]
pub(crate) struct SpanRing {
    ring: Mutex<VecDeque<Finished>>,
    dropped: AtomicU64,
}

impl SpanRing {
    /// Keeps a finished span, forgetting the oldest if there is no room.
    pub(crate) fn push(&self, draft: Box<Draft>, ending: Ending, ended: Instant) {
        let mut ring = self.ring.lock();
        if SPANS_MAX <= ring.len() {
            ring.pop_front();
            self.dropped.fetch_add(1, Relaxed);
        }
        ring.push_back(Finished { draft, ending, ended });
    }

    /// The oldest spans, at most `len_max`.
    pub(crate) fn take(&self, len_max: usize) -> Vec<Finished> {
        let mut ring = self.ring.lock();
        let len = ring.len().min(len_max);
        ring.drain(..len).collect()
    }

    /// Puts back what could not be exported, as far as there is room.
    pub(crate) fn give_back(&self, spans: Vec<Finished>) {
        let mut ring = self.ring.lock();
        let room = SPANS_MAX - ring.len().min(SPANS_MAX);
        let lost = spans.len().saturating_sub(room);
        self.drop_counted(lost as u64);
        for span in spans.into_iter().skip(lost).rev() {
            ring.push_front(span);
        }
    }

    /// Counts spans that nobody will see.
    pub(crate) fn drop_counted(&self, count: u64) {
        self.dropped.fetch_add(count, Relaxed);
    }

    /// Spans dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

//! The access log: one JSON line for each request, and for each session that is no HTTP; off unless
//! it is asked for.
//!
//! [`Logging`] follows a request from its head to the end of its answer, also where its caller goes
//! away; [`Logged`] is the answer's body that carries it. Finished entries wait in a bounded ring for
//! [`write`], on the control thread: a slow disk costs lines, which are counted, and never a
//! request. What became of a request inside is left as a [`Trail`] in the extensions of its response.

mod line;
mod session;
pub(crate) mod write;

use crate::body::{Guard, ResponseBody};
use crate::config::operation::{AccessLog, Only};
use crate::edge::Way;
use crate::exchange;
use crate::forwarded::Peer;
use crate::outbound::Edge;
use crate::refuse::{self, GRPC_STATUS};
use bytes::Bytes;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::{TraceContext, TraceId};
use fusebox_proto::{Invalid, Now, text};
use http::{HeaderMap, HeaderValue, Method, Response, request};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::Notify;

/// Lines that wait to be written; at 500 B each some 4 MB.
const ENTRIES_MAX: usize = 8_192;
/// A path is cut to this many bytes, an authority and a method to fewer.
const PATH_LEN_MAX: usize = 1_024;
const AUTHORITY_LEN_MAX: usize = 256;

/// Entries that wait to be written.
#[derive(Debug)]
pub(crate) struct LogRing {
    entries: Mutex<VecDeque<Box<Entry>>>,
    only: Only,
    dropped: AtomicU64,
    /// There is something to write, or to open anew.
    news: Notify,
    must_reopen: AtomicBool,
    /// Until the writer takes it.
    sink: Mutex<Option<write::Sink>>,
}

impl LogRing {
    /// Opens what `config` names.
    ///
    /// # Errors
    /// If it cannot be opened for appending.
    pub(crate) fn open(config: &AccessLog) -> Result<Arc<Self>, Invalid> {
        let sink = write::Sink::open(config.path.as_deref());
        let sink = sink.map_err(|reason| Invalid::new("--access-log", reason))?;
        Ok(Arc::new(Self {
            entries: Mutex::default(),
            only: config.only,
            dropped: AtomicU64::new(0),
            news: Notify::new(),
            must_reopen: AtomicBool::new(false),
            sink: Mutex::new(Some(sink)),
        }))
    }

    /// Opens the file anew before the next line: someone has renamed it.
    pub(crate) fn reopen(&self) {
        self.must_reopen.store(true, Relaxed);
        self.news.notify_one();
    }

    /// Lines that nobody will see.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    fn push(&self, entry: Box<Entry>) {
        let mut entries = self.entries.lock();
        if ENTRIES_MAX <= entries.len() {
            entries.pop_front();
            self.dropped.fetch_add(1, Relaxed);
        }
        entries.push_back(entry);
        if entries.len() == 1 {
            self.news.notify_one();
        }
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        match self.only {
            Only::All => true,
            Only::Refusals => entry.refused.is_some(),
            Only::Failures => {
                entry.refused.is_some()
                    || entry.failure.is_some()
                    || entry.ended != Ended::Complete
                    || entry.status.is_none_or(|status| 500 <= status)
                    || entry.grpc_status.is_some_and(|status| status != 0)
            }
        }
    }
}

/// Which kind of listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A call of the own application.
    Outbound,
    /// A call to the own application.
    Inbound,
    /// A call from outside to any service.
    Ingress,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The caller got all of the answer.
    Complete,
    /// The answer broke off.
    Broken,
    /// The caller went away.
    Cancelled,
}

/// A request, as its line tells it.
#[derive(Debug)]
struct Entry {
    side: Side,
    started: Now,
    duration: Duration,
    peer: Arc<Peer>,
    /// `None` of a session.
    method: Option<Method>,
    authority: String,
    /// Without its query, which may hold secrets.
    path: String,
    protocol: Protocol,
    trace_id: Option<TraceId>,
    /// `None`: the caller went away before there was one.
    status: Option<u16>,
    grpc_status: Option<u16>,
    /// Of the body of the answer.
    bytes: u64,
    ended: Ended,
    /// The values of our own headers, where the answer is ours.
    refused: Option<HeaderValue>,
    failure: Option<HeaderValue>,
    trail: Option<Box<Trail>>,
}

/// What became of a request inside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// Where it belonged.
    pub(crate) edge: Option<Arc<Edge>>,
    /// The rule and the subset that a policy chose.
    pub(crate) way: Option<Arc<Way>>,
    /// The endpoint that it went to last.
    pub(crate) endpoint: Option<String>,
    /// What it is to its request.
    pub(crate) attempt: Option<&'static str>,
    /// Attempts of the same request that went out before.
    pub(crate) resend_count: Option<u16>,
    /// What a policy did in place of a server.
    pub(crate) policy: Option<&'static str>,
}

impl Trail {
    /// Leaves it in `response`.
    pub(crate) fn leave<B>(self, response: &mut Response<B>) {
        response.extensions_mut().insert(Box::new(self));
    }

    /// Leaves it in `response`, if there is a log.
    pub(crate) fn leave_if<B>(trail: Option<Self>, response: &mut Response<B>) {
        if let Some(trail) = trail {
            trail.leave(response);
        }
    }
}

impl Entry {
    /// Begins now, without anything that only a request has.
    fn new(side: Side, peer: &Arc<Peer>, protocol: Protocol, authority: &str) -> Self {
        Self {
            side,
            started: Now::read(),
            duration: Duration::ZERO,
            peer: Arc::clone(peer),
            method: None,
            authority: text::cut(authority, AUTHORITY_LEN_MAX).into_owned(),
            path: String::new(),
            protocol,
            trace_id: None,
            status: None,
            grpc_status: None,
            bytes: 0,
            ended: Ended::Cancelled,
            refused: None,
            failure: None,
            trail: None,
        }
    }
}

/// A request under way. Dropped before it was answered, its caller went away.
#[derive(Debug)]
pub(crate) struct Logging {
    ring: Arc<LogRing>,
    /// Taken at the end.
    entry: Option<Box<Entry>>,
}

impl Logging {
    /// Begins with the head as it came, if there is a log.
    pub(crate) fn begin(
        ring: Option<&Arc<LogRing>>,
        side: Side,
        peer: &Arc<Peer>,
        head: &request::Parts,
    ) -> Option<Self> {
        let ring = Arc::clone(ring?);
        let mut entry =
            Entry::new(side, peer, exchange::protocol(head), &exchange::authority(head));
        entry.method = Some(head.method.clone());
        entry.path = text::cut(head.uri.path(), PATH_LEN_MAX).into_owned();
        Some(Self { ring, entry: Some(Box::new(entry)) })
    }

    /// Its trace, if that is a valid one.
    pub(crate) fn trace(&mut self, trace: Option<TraceContext>) {
        if let Some(entry) = &mut self.entry {
            entry.trace_id = trace.map(|trace| trace.trace_id);
        }
    }

    fn answered<G: Guard>(&mut self, response: &mut Response<ResponseBody<G>>) {
        let Some(entry) = &mut self.entry else { return };
        entry.status = Some(response.status().as_u16());
        entry.trail = response.extensions_mut().remove::<Box<Trail>>();
        if entry.protocol == Protocol::Grpc {
            entry.grpc_status = grpc_status(response.headers());
        }
        if response.body().is_own() {
            entry.refused = response.headers().get(refuse::REFUSED).cloned();
            entry.failure = response.headers().get(refuse::FAILURE).cloned();
            let is_explained = entry.refused.is_some()
                || entry.failure.is_some()
                || entry.trail.as_ref().is_some_and(|trail| trail.policy.is_some());
            if !is_explained {
                entry.failure = Some(HeaderValue::from_static("malformed"));
            }
        }
        // hyper asks nothing of a body that is at its end, or that answers HEAD.
        if response.body().is_end_stream() || entry.method == Some(Method::HEAD) {
            entry.ended = Ended::Complete;
        }
    }

    fn saw<E>(&mut self, frame: Option<&Result<Frame<Bytes>, E>>, is_last: bool) {
        let Some(entry) = &mut self.entry else { return };
        match frame {
            Some(Ok(frame)) => {
                entry.bytes += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
                if let Some(trailers) = frame.trailers_ref() {
                    entry.grpc_status = entry.grpc_status.or_else(|| grpc_status(trailers));
                }
                if is_last || frame.is_trailers() {
                    entry.ended = Ended::Complete;
                }
            }
            Some(Err(_)) => entry.ended = Ended::Broken,
            None => entry.ended = Ended::Complete,
        }
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            let now = Now::read().instant;
            entry.duration = now.saturating_duration_since(entry.started.instant);
            if self.ring.is_wanted(&entry) {
                self.ring.push(entry);
            }
        }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// The body of an answer that has a line in the log.
#[derive(Debug)]
pub(crate) struct Logged<B> {
    body: B,
    logging: Option<Box<Logging>>,
}

/// The answer to a request that `logging` follows.
pub(crate) fn logged<G: Guard>(
    mut response: Response<ResponseBody<G>>,
    logging: Option<Logging>,
) -> Response<Logged<ResponseBody<G>>> {
    let logging = logging.map(|mut logging| {
        logging.answered(&mut response);
        Box::new(logging)
    });
    response.map(|body| Logged { body, logging })
}

impl<B: Body<Data = Bytes> + Unpin> Body for Logged<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_last = self.body.is_end_stream();
        if let Some(logging) = &mut self.logging {
            logging.saw(frame.as_ref(), is_last);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

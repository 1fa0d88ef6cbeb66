//! What moves on a caller's connection, looked at twice a second.
//!
//! One coarse look a connection costs nothing a request; a timer for each head would be set and
//! cleared by every one of them.

mod hints;
mod lengths;
mod socket;
#[cfg(test)]
mod tests;

pub(crate) use hints::Hints;
pub(super) use socket::Watched;

use super::limits::{AHEAD_LEN_MAX, Deadlines};
use crate::drain::Drain;
use crate::upgrade::Tunnel;
use bytes::Bytes;
use hints::Slot;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;

/// Two line ends.
const END_OF_HEAD: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Watch {
    deadlines: Deadlines,
    drain: Arc<Drain>,
    in_flight: AtomicU32,
    /// Something was read or written since the last look.
    has_moved: AtomicBool,
    /// Bytes of a head came, or none ever, and no request since.
    in_head: AtomicBool,
    is_http2: AtomicBool,
    quiet_sweeps: AtomicU32,
    /// Looks since a head began, or since the exchange was late.
    head_sweeps: AtomicU32,
    /// Nothing moves on the exchange: a last answer is due.
    is_late: AtomicBool,
    /// It is the caller who is late, with a body: nothing more is read.
    is_caller_late: AtomicBool,
    /// Bytes of a response body that hyper has and the socket has not, at most.
    ahead_len: AtomicUsize,
    /// The head that came named a `Content-Length`.
    has_length: AtomicBool,
    /// A response body waits for those to be written.
    is_body_waiting: AtomicBool,
    /// The caller does not read what was written.
    is_blocked: AtomicBool,
    /// The last four bytes that were read. If a head or a chunked body ends with them, and no request
    /// is in flight, hyper has taken all of it: a head that ends there is a request.
    tail: AtomicU32,
    /// The socket is wanted when hyper lets go of it…
    is_asleep: AtomicBool,
    /// … and is here then.
    asleep: Mutex<Option<TcpStream>>,
    /// What the connection becomes once HTTP on it has ended.
    tunnel: Mutex<Option<Box<Tunnel>>>,
    /// Interim answers.
    hints: Slot,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to do.
    Alive,
    /// Nobody uses it: close it politely.
    Unused,
    /// Nothing moves on an HTTP/1 exchange: whoever reads the request body gets an error now, and
    /// whoever waits for the server gives up; either may still answer.
    Late,
    /// Nobody has used it for a moment, and hyper has nothing of it: let go of hyper.
    Asleep,
    /// It only costs: drop it.
    Stuck,
}

impl Watch {
    /// Of a new connection. `drain` is the end of the proxy.
    pub(super) fn new(deadlines: Deadlines, drain: Arc<Drain>) -> Self {
        Self {
            deadlines,
            drain,
            in_flight: AtomicU32::new(0),
            has_moved: AtomicBool::new(false),
            in_head: AtomicBool::new(true),
            is_http2: AtomicBool::new(false),
            quiet_sweeps: AtomicU32::new(0),
            head_sweeps: AtomicU32::new(0),
            is_late: AtomicBool::new(false),
            is_caller_late: AtomicBool::new(false),
            ahead_len: AtomicUsize::new(0),
            has_length: AtomicBool::new(false),
            is_body_waiting: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            tail: AtomicU32::new(0),
            is_asleep: AtomicBool::new(false),
            asleep: Mutex::new(None),
            tunnel: Mutex::new(None),
            hints: Slot::default(),
        }
    }

    /// Counts in `dropped` the interim answers that cannot be handed on.
    pub(super) fn counting(self, dropped: Arc<AtomicU64>) -> Self {
        Self { hints: Slot::new(dropped), ..self }
    }

    /// How often to look, and what lasts too long.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// The end of the proxy.
    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Whether its first bytes said so.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    /// Its first bytes say so.
    pub(super) fn speaks_http2(&self) {
        self.is_http2.store(true, Relaxed);
    }

    /// The tunnel that the connection becomes, if it does.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().take()
    }

    /// The socket, if hyper had to let go of it; it is awake from now on.
    pub(super) fn take_asleep(&self) -> Option<TcpStream> {
        self.is_asleep.store(false, Relaxed);
        self.asleep.lock().take()
    }

    /// A request has come, and is in flight until its [`Counted`] response is over.
    pub(super) fn busy(watch: &Arc<Self>) -> Busy {
        if watch.in_flight.fetch_add(1, Relaxed) == 0 {
            watch.ahead_len.store(0, Relaxed);
        }
        watch.in_head.store(false, Relaxed);
        watch.head_sweeps.store(0, Relaxed);
        Busy(Arc::clone(watch))
    }

    /// Looks.
    pub(super) fn sweep(&self) -> Finding {
        let has_moved = self.has_moved.swap(false, Relaxed);
        let quiet = if has_moved { 0 } else { self.quiet_sweeps.load(Relaxed) + 1 };
        self.quiet_sweeps.store(quiet, Relaxed);
        if self.is_late.load(Relaxed) {
            // Time for a last answer.
            return self.sweep_head();
        }
        let in_flight = self.in_flight.load(Relaxed);
        if 0 < in_flight {
            return if quiet < self.deadlines.stuck_sweeps_max {
                Finding::Alive
            } else if self.is_http2() {
                Finding::Stuck
            } else {
                // An answer that is due, and a body that is not over, each hold the request.
                self.is_caller_late.store(1 < in_flight, Relaxed);
                self.is_late.store(true, Relaxed);
                self.head_sweeps.store(0, Relaxed);
                Finding::Late
            };
        }
        if self.in_head.load(Relaxed) && !self.is_http2() {
            return self.sweep_head();
        }
        if 1 <= quiet && self.may_sleep() {
            self.is_asleep.store(true, Relaxed);
            return Finding::Asleep;
        }
        let is_unused = self.deadlines.unused_sweeps_max <= quiet;
        if is_unused { Finding::Unused } else { Finding::Alive }
    }

    fn sweep_head(&self) -> Finding {
        let sweeps = self.head_sweeps.fetch_add(1, Relaxed) + 1;
        if self.deadlines.head_sweeps_max <= sweeps { Finding::Stuck } else { Finding::Alive }
    }

    /// Whether nothing of the connection is in hyper or on its way; called while no request is in
    /// flight. A connection that is about to end, or to become a tunnel, does so awake.
    fn may_sleep(&self) -> bool {
        self.tail.load(Relaxed) == END_OF_HEAD
            && !self.is_blocked.load(Relaxed)
            && !self.is_http2()
            && !self.drain.is_draining()
            && self.tunnel.lock().is_none()
    }

    /// Whether a response body must wait. hyper would take in 64 KiB before it looks whether the
    /// caller reads; the streams of HTTP/2 have a limit of their own.
    fn is_far_ahead(&self) -> bool {
        let is_far = AHEAD_LEN_MAX <= self.ahead_len.load(Relaxed) && !self.is_http2();
        if is_far {
            self.is_body_waiting.store(true, Relaxed);
        }
        is_far
    }

    /// So much was written. The body that waits for it belongs to the same task.
    fn has_written(&self, len: usize, cx: &Context<'_>) {
        self.has_moved.store(true, Relaxed);
        let ahead = self.ahead_len.load(Relaxed);
        self.ahead_len.store(ahead.saturating_sub(len), Relaxed);
        if self.is_body_waiting.swap(false, Relaxed) {
            cx.waker().wake_by_ref();
        }
    }

    /// Whether the head of the request that came just now named a `Content-Length`.
    pub(super) fn take_length(&self) -> bool {
        self.has_length.swap(false, Relaxed)
    }

    /// Whether what is read next belongs to the head of a request of HTTP/1.
    fn awaits_head(&self) -> bool {
        self.in_flight.load(Relaxed) == 0 && !self.is_http2()
    }

    fn has_read(&self, bytes: &[u8]) {
        self.has_moved.store(true, Relaxed);
        let last = &bytes[bytes.len().saturating_sub(4)..];
        let tail =
            last.iter().fold(self.tail.load(Relaxed), |tail, &byte| tail << 8 | u32::from(byte));
        self.tail.store(tail, Relaxed);
        if self.in_flight.load(Relaxed) == 0 {
            self.in_head.store(true, Relaxed);
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Busy(Arc<Watch>);

impl Busy {
    /// The same request, held a second time: it is in flight until both are dropped.
    pub(super) fn again(&self) -> Self {
        self.0.in_flight.fetch_add(1, Relaxed);
        Self(Arc::clone(&self.0))
    }

    /// Its answer is there: no interim one comes any more.
    pub(super) fn answered(&self) {
        self.0.hints.close();
    }

    /// Whether the answer is the last on its connection, because the proxy ends, or because it took
    /// too long.
    pub(super) fn is_last(&self) -> bool {
        self.0.drain.is_draining() || self.0.is_late.load(Relaxed)
    }

    /// A response ends HTTP on this connection.
    pub(super) fn becomes(&self, tunnel: Option<Box<Tunnel>>) {
        *self.0.tunnel.lock() = tunnel;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A response body whose request is in flight until it is over.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    busy: Busy,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self { body, busy }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.busy.0.is_far_ahead() {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        if let Some(data) = data {
            self.busy.0.ahead_len.fetch_add(data.len(), Relaxed);
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

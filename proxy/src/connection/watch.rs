//! What moves on a caller's connection, looked at every few seconds.
//!
//! One coarse look a connection costs nothing a request; a timer for each head would be set and
//! cleared by every one of them.

use crate::drain::Drain;
use crate::upgrade::Tunnel;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How often [`Watch::sweep`] looks.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// A head that is not finished in two looks, 5 to 10 s, never will be.
const HEAD_SWEEPS_MAX: u32 = 2;
/// An exchange on which nothing moves for 5 minutes.
const STUCK_SWEEPS_MAX: u32 = 60;
/// A connection that is not used for 10 minutes: longer than clients keep one, so that they close
/// it and not we while they are about to use it.
const UNUSED_SWEEPS_MAX: u32 = 120;

/// What goes on on one connection.
#[derive(Debug)]
pub(super) struct Watch {
    drain: Arc<Drain>,
    in_flight: AtomicU32,
    /// Something was read or written since the last look.
    has_moved: AtomicBool,
    /// Bytes of a head came, or none ever, and no request since.
    in_head: AtomicBool,
    is_http2: AtomicBool,
    is_first_read: AtomicBool,
    quiet_sweeps: AtomicU32,
    head_sweeps: AtomicU32,
    /// What the connection becomes once HTTP on it has ended.
    tunnel: Mutex<Option<Box<Tunnel>>>,
}

impl Watch {
    /// Nothing yet. `drain` is the end of the proxy.
    pub(super) fn new(drain: Arc<Drain>) -> Self {
        Self {
            drain,
            in_flight: AtomicU32::new(0),
            has_moved: AtomicBool::new(false),
            in_head: AtomicBool::new(true),
            is_http2: AtomicBool::new(false),
            is_first_read: AtomicBool::new(true),
            quiet_sweeps: AtomicU32::new(0),
            head_sweeps: AtomicU32::new(0),
            tunnel: Mutex::new(None),
        }
    }

    /// Whether its first bytes said so.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to do.
    Alive,
    /// Nobody uses it: close it politely.
    Unused,
    /// It only costs: drop it.
    Stuck,
}

impl Watch {
    /// A request has come, and is in flight until its [`Counted`] response is over.
    pub(super) fn busy(watch: &Arc<Self>) -> Busy {
        watch.in_flight.fetch_add(1, Relaxed);
        watch.in_head.store(false, Relaxed);
        watch.head_sweeps.store(0, Relaxed);
        Busy(Arc::clone(watch))
    }

    /// The tunnel that the connection becomes, if it does.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().take()
    }

    /// Looks.
    pub(super) fn sweep(&self) -> Finding {
        let has_moved = self.has_moved.swap(false, Relaxed);
        let quiet = if has_moved { 0 } else { self.quiet_sweeps.load(Relaxed) + 1 };
        self.quiet_sweeps.store(quiet, Relaxed);
        if 0 < self.in_flight.load(Relaxed) {
            return if STUCK_SWEEPS_MAX <= quiet { Finding::Stuck } else { Finding::Alive };
        }
        if self.in_head.load(Relaxed) && !self.is_http2.load(Relaxed) {
            let sweeps = self.head_sweeps.fetch_add(1, Relaxed) + 1;
            return if HEAD_SWEEPS_MAX <= sweeps { Finding::Stuck } else { Finding::Alive };
        }
        if UNUSED_SWEEPS_MAX <= quiet { Finding::Unused } else { Finding::Alive }
    }

    fn has_read(&self, bytes: &[u8]) {
        self.has_moved.store(true, Relaxed);
        if self.is_first_read.swap(false, Relaxed) {
            self.is_http2.store(bytes.starts_with(b"PRI * HTTP/2"), Relaxed);
        }
        if self.in_flight.load(Relaxed) == 0 {
            self.in_head.store(true, Relaxed);
        }
    }
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Busy(Arc<Watch>);

impl Busy {
    /// Whether the answer is the last on its connection, because the proxy ends.
    pub(super) fn is_last(&self) -> bool {
        self.0.drain.is_draining()
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
    _busy: Busy,
}

impl<B> Counted<B> {
    pub(super) fn new(body: B, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose movements are seen.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    /// Read already, and not yet by HTTP.
    ahead: Bytes,
    watch: Arc<Watch>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, ahead: Bytes, watch: Arc<Watch>) -> Self {
        Self { stream, ahead, watch }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let len = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(len));
        }
        self.watch.has_read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.watch.has_moved.store(true, Relaxed);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.watch.has_moved.store(true, Relaxed);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweeps_until_found(watch: &Watch, between: impl Fn(&Watch)) -> (u32, Finding) {
        for sweep in 1..=200 {
            between(watch);
            match watch.sweep() {
                Finding::Alive => (),
                found => return (sweep, found),
            }
        }
        (200, Finding::Alive)
    }

    /// Scenario: connections that never say a word, drip a head, sit idle, hang, ping.
    /// Guarantees: each is cut in its own time and way, and one that works never is.
    #[test]
    fn what_only_costs_is_cut() {
        let silent = Watch::new(Arc::default());
        assert_eq!(sweeps_until_found(&silent, |_| ()), (HEAD_SWEEPS_MAX, Finding::Stuck));

        let drips = |watch: &Watch| watch.has_read(b"X");
        let dripping = Watch::new(Arc::default());
        assert_eq!(sweeps_until_found(&dripping, drips), (HEAD_SWEEPS_MAX, Finding::Stuck));

        let used = Arc::new(Watch::new(Arc::default()));
        used.has_read(b"GET / HTTP/1.1");
        let busy = Watch::busy(&used);
        assert_eq!(sweeps_until_found(&used, drips), (200, Finding::Alive));
        assert_eq!(sweeps_until_found(&used, |_| ()), (STUCK_SWEEPS_MAX, Finding::Stuck));
        drop(busy);
        used.has_moved.store(true, Relaxed);
        let (sweeps, found) = sweeps_until_found(&used, |_| ());
        assert_eq!((sweeps, found), (UNUSED_SWEEPS_MAX + 1, Finding::Unused));
        used.has_read(b"GET");
        assert_eq!(sweeps_until_found(&used, drips), (HEAD_SWEEPS_MAX, Finding::Stuck));

        let pinging = Watch::new(Arc::default());
        pinging.has_read(b"PRI * HTTP/2.0");
        assert_eq!(sweeps_until_found(&pinging, drips), (200, Finding::Alive));
    }
}

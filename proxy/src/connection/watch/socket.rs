//! The socket of a caller, as hyper reads and writes it.

use super::Watch;
use super::lengths::HeadScan;
use crate::socket::poll_read_piece;
use bytes::Bytes;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Reads in a row after which a connection lets others go first. tokio's own budget of 128 lets one
/// that floods its worker with small frames have it for 100,000 of them.
const READS_IN_A_ROW_MAX: u32 = 8;

/// A socket whose movements are seen.
#[derive(Debug)]
pub(in crate::connection) struct Watched {
    /// Always here but while dropped.
    stream: Option<TcpStream>,
    /// Read already, and not yet by HTTP.
    ahead: Bytes,
    watch: Arc<Watch>,
    reads_in_a_row: u32,
    head: HeadScan,
}

impl Watched {
    pub(in crate::connection) fn new(stream: TcpStream, ahead: Bytes, watch: Arc<Watch>) -> Self {
        let stream = Some(stream);
        Self { stream, ahead, watch, reads_in_a_row: 0, head: HeadScan::default() }
    }

    fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().expect("only `drop` takes it")
    }

    /// Writes what interim answers wait, if this is the moment.
    fn poll_hints(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.watch.hints.may_write() {
            return Poll::Ready(Ok(()));
        }
        let watch = Arc::clone(&self.watch);
        let written =
            watch.hints.poll_write(self.stream(), cx, || watch.has_moved.store(true, Relaxed));
        self.seen(written)
    }

    /// hyper writes: whatever waits goes before that.
    fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_hints(cx))?;
        self.watch.hints.set_clean(false, cx);
        Poll::Ready(Ok(()))
    }

    /// Whether the caller takes what is written.
    fn seen<T>(&self, written: Poll<T>) -> Poll<T> {
        self.watch.is_blocked.store(written.is_pending(), Relaxed);
        written
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.watch.is_asleep.load(Relaxed) {
            *self.watch.asleep.lock() = self.stream.take();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if READS_IN_A_ROW_MAX <= self.reads_in_a_row {
            self.reads_in_a_row = 0;
            // Woken when the runtime has looked at all sockets: woken at once, one that is never
            // done would be polled sixty times before the runtime looks at the next.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        if self.watch.is_caller_late.load(Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        if self.ahead.is_empty() {
            let Poll::Ready(read) = poll_read_piece(self.stream(), cx, buf) else {
                self.reads_in_a_row = 0;
                return Poll::Pending;
            };
            read?;
        } else {
            let len = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(len));
        }
        self.reads_in_a_row += 1;
        let this = &mut *self;
        let bytes = &buf.filled()[before..];
        if this.watch.awaits_head() && this.head.read(bytes) {
            this.watch.has_length.store(true, Relaxed);
        }
        this.watch.has_read(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        let written = Pin::new(self.stream()).poll_write(cx, buf);
        let written = ready!(self.seen(written))?;
        self.watch.has_written(written, cx);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        let written = Pin::new(self.stream()).poll_write_vectored(cx, bufs);
        let written = ready!(self.seen(written))?;
        self.watch.has_written(written, cx);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(TcpStream::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper does so when it has written all.
        self.watch.hints.set_clean(true, cx);
        ready!(self.poll_hints(cx))?;
        Pin::new(self.stream()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream()).poll_shutdown(cx)
    }
}

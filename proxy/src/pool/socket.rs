//! The socket of a connection to a server, as hyper reads and writes it.
//!
//! Its end is known also when it has left HTTP. And a server that answers before it has read the
//! request, and hangs up, is heard: hyper gives a connection up with the first write that fails, and
//! with it the answer that came before. So once the server takes nothing more, what is written is
//! thrown away, and what came is read to its end; how that ends is how the connection ends.

use crate::socket::poll_read_piece;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A connection to a server, read in pieces. An upgrade moves it out of hyper's connection into a
/// tunnel, where it keeps its place under the limits.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Why the server takes nothing more.
    deaf: Option<io::ErrorKind>,
    _open: oneshot::Sender<Infallible>,
}

/// Waits for the end of a [`Socket`].
#[derive(Debug)]
pub(super) struct Closed(oneshot::Receiver<Infallible>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Closed) {
        let (open, closed) = oneshot::channel();
        (Self { stream, deaf: None, _open: open }, Closed(closed))
    }
}

impl Socket {
    /// Writes `len` bytes with `write`, or throws them away.
    fn poll_say(
        &mut self,
        len: usize,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        // Nothing follows what was thrown away.
        if self.deaf.is_some() {
            return Poll::Ready(Ok(len));
        }
        let written = ready!(write(Pin::new(&mut self.stream)));
        Poll::Ready(written.or_else(|error| match error.kind() {
            kind @ (io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                self.deaf = Some(kind);
                Ok(len)
            }
            _ => Err(error),
        }))
    }
}

impl Closed {
    pub(super) async fn wait(self) {
        let Err(_closed) = self.0.await;
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(poll_read_piece(&mut self.stream, cx, buf))?;
        // A body that ends where the server hangs up may not be all of it after a reset.
        match self.deaf {
            Some(kind) if buf.filled().len() == before => Poll::Ready(Err(kind.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_say(buf.len(), |stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_say(len, |stream| stream.poll_write_vectored(cx, bufs))
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

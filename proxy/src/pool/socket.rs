//! A socket whose end is known also when it has left HTTP.

use crate::socket::poll_read_piece;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A connection to a server, read in pieces. An upgrade moves it out of hyper's connection into a tunnel, where it
/// keeps its place under the limits.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    _open: oneshot::Sender<Infallible>,
}

/// Waits for the end of a [`Socket`].
#[derive(Debug)]
pub(super) struct Closed(oneshot::Receiver<Infallible>);

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Closed) {
        let (open, closed) = oneshot::channel();
        (Self { stream, _open: open }, Closed(closed))
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
        poll_read_piece(&mut self.stream, cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

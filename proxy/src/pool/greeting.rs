//! Whether a server greets as HTTP/2 wants it.
//!
//! The first frame of a server is SETTINGS (RFC 9113, 3.4), and it waits for nothing but the preface.
//! One of HTTP/1 answers the preface with a 400 or a page, or hangs up. So before the first request goes
//! out, it is known whether it will be understood.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// With what a SETTINGS frame begins: none is longer than 16 KiB, which is the high byte of its length.
const FIRST_OF_SETTINGS: u8 = 0;

/// A connection to a server that has not said anything yet.
#[derive(Debug)]
pub(super) struct Greeted {
    stream: TcpStream,
    /// Told with the first byte; dropped without it where the connection ends before.
    is_http2: Option<oneshot::Sender<bool>>,
}

impl Greeted {
    /// And what its first byte says.
    pub(super) fn new(stream: TcpStream) -> (Self, oneshot::Receiver<bool>) {
        let (tell, told) = oneshot::channel();
        (Self { stream, is_http2: Some(tell) }, told)
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(tell) = self.is_http2.take() {
            // Nobody may wait any more.
            let first = buf.filled().get(before);
            let _ = tell.send(first.is_some_and(|&first| first == FIRST_OF_SETTINGS));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeted {
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

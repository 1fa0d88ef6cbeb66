//! Bytes from one connection to another, unread.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::sleep;

/// The buffer of each direction: all that a side which does not read can cost, beside what the
/// kernel holds.
const BUFFER_LEN: usize = 16 * 1024;
/// A tunnel on which nothing moves is looked at this often before it is cut. One look a while costs
/// nothing a byte.
const LOOKS: u32 = 4;
/// Looks are no closer than this.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// It is cut when nothing has moved for so long, and a quarter more at most. `None`: never.
    pub(crate) idle: Option<Duration>,
    /// It is cut at this age. `None`: never.
    pub(crate) age: Option<Duration>,
}

/// What a tunnel has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// To the first of its sides.
    pub(crate) bytes: u64,
    /// Both sides ended; it was not cut, and none broke off.
    pub(crate) is_complete: bool,
}

/// Copies both ways until both have ended. The end of one side's words is told to the other, which
/// may go on speaking; an error on either side ends both.
pub(crate) async fn copy<A, B>(one: A, other: B, bounds: Bounds) -> Carried
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let has_moved = AtomicBool::new(false);
    let mut one = Marked { inner: one, has_moved: &has_moved, written: 0 };
    let mut other = Marked { inner: other, has_moved: &has_moved, written: 0 };
    let is_complete = tokio::select! {
        biased;
        copied = copy_bidirectional_with_sizes(&mut one, &mut other, BUFFER_LEN, BUFFER_LEN) => {
            copied.is_ok()
        }
        () = quiet(&has_moved, bounds.idle) => false,
        () = over(bounds.age) => false,
    };
    Carried { bytes: one.written, is_complete }
}

/// Returns once nothing has moved for `idle`.
async fn quiet(has_moved: &AtomicBool, idle: Option<Duration>) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    let mut quiet = 0;
    while quiet < LOOKS {
        sleep((idle / LOOKS).max(LOOK_MIN)).await;
        quiet = if has_moved.swap(false, Relaxed) { 0 } else { quiet + 1 };
    }
}

async fn over(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age).await,
        None => std::future::pending().await,
    }
}

/// One side, whose movements are seen.
struct Marked<'a, T> {
    inner: T,
    has_moved: &'a AtomicBool,
    written: u64,
}

impl<T> Marked<'_, T> {
    fn mark<R>(&self, polled: Poll<R>) -> Poll<R> {
        if polled.is_ready() {
            self.has_moved.store(true, Relaxed);
        }
        polled
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(len)) = written {
            self.written += len as u64;
        }
        self.mark(written)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Marked<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.mark(polled)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Marked<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.count(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn tunnel(
        idle_ms: u64,
        age_ms: Option<u64>,
    ) -> (DuplexStream, DuplexStream, impl Future<Output = Carried>) {
        let ((one, near), (other, far)) = (duplex(64), duplex(64));
        let bounds = Bounds {
            idle: Some(Duration::from_millis(idle_ms)),
            age: age_ms.map(Duration::from_millis),
        };
        (one, other, copy(near, far, bounds))
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Scenario: more bytes than all buffers hold go both ways; then one side ends its words, gets an
    /// answer, and the other ends.
    /// Guarantees: all bytes arrive in order; the tunnel ends with the second end, and says so.
    #[test]
    fn both_ways_and_half_closed() {
        runtime().block_on(async {
            let (mut one, mut other, tunnel) = tunnel(60_000, None);
            let sent: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
            let sides = async {
                let mut got = vec![0; sent.len()];
                let (wrote, read) = tokio::join!(one.write_all(&sent), other.read_exact(&mut got));
                wrote.unwrap();
                read.unwrap();
                assert!(got == sent);
                one.shutdown().await.unwrap();
                assert_eq!(other.read(&mut got).await.unwrap(), 0);
                other.write_all(b"last words").await.unwrap();
                drop(other);
                let mut last = String::new();
                one.read_to_string(&mut last).await.unwrap();
                assert_eq!(last, "last words");
            };
            let (carried, ()) = tokio::join!(tunnel, sides);
            assert_eq!(carried, Carried { bytes: 10, is_complete: true });
        });
    }

    /// Scenario: tunnels on which nothing moves, with an idle limit and with an age.
    /// Guarantees: each is cut, and both sides see its end.
    #[test]
    fn bounds_cut() {
        runtime().block_on(async {
            for (idle_ms, age_ms) in [(20, None), (60_000, Some(20))] {
                let (mut one, mut other, tunnel) = tunnel(idle_ms, age_ms);
                assert_eq!(tunnel.await, Carried { bytes: 0, is_complete: false });
                let mut byte = [0];
                assert_eq!(one.read(&mut byte).await.unwrap(), 0);
                assert_eq!(other.read(&mut byte).await.unwrap(), 0);
            }
        });
    }
}

//! Interim answers, such as `103 Early Hints`, on their way to a caller of HTTP/1.1.
//!
//! RFC 9110, 15.2 wants a proxy to hand on every 1xx that it did not ask for itself, and hyper's
//! server has no word for them. They are therefore written to the socket between two writes of hyper,
//! at the one moment when that is sound:
//!
//! ```text
//! hyper's buffer   … end of answer n │ nothing │ head of answer n + 1 …
//! hints for n + 1                    └── here ─┘
//! ```
//!
//! hyper flushes the socket when its buffer is empty, and writes to it when it is not: from the one to
//! the other the stream is *clean*. Hints that come while the answer before is still being written wait
//! for that moment, and are dropped and counted where their own answer is there first.

use super::Watch;
use crate::gate;
use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// All hints for one request; what is beyond is dropped.
const LEN_MAX: usize = 16 * 1024;

/// Those of one connection.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// There is something to write.
    is_waiting: AtomicBool,
    /// hyper has nothing to write.
    is_clean: AtomicBool,
    state: Mutex<State>,
    /// The task of the connection.
    waker: AtomicWaker,
    /// What could not be handed on.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts up with each request.
    request: u64,
    /// Its answer is not there yet.
    is_open: bool,
    /// That may still come for it.
    room: usize,
    bytes: BytesMut,
    /// So many are in there.
    count: u64,
}

impl Slot {
    /// Counts in `dropped` what could not be handed on.
    pub(super) fn new(dropped: Arc<AtomicU64>) -> Self {
        Self { dropped, ..Self::default() }
    }

    /// hyper has nothing to write, or is about to write. The task of `cx` writes what comes.
    pub(super) fn set_clean(&self, is_clean: bool, cx: &Context<'_>) {
        if is_clean {
            self.waker.register(cx.waker());
        }
        self.is_clean.store(is_clean, Release);
    }

    /// Whether something waits that may be written now.
    pub(super) fn may_write(&self) -> bool {
        self.is_waiting.load(Acquire) && self.is_clean.load(Acquire)
    }

    /// Writes it; each part that the socket takes `moved`.
    pub(super) fn poll_write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        moved: impl Fn(),
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        while state.bytes.has_remaining() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &state.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            moved();
            state.bytes.advance(written);
        }
        (state.bytes, state.count) = (BytesMut::new(), 0);
        self.is_waiting.store(false, Release);
        Poll::Ready(Ok(()))
    }

    /// The answer itself is there. What hints are there go before it, or not at all.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_open = false;
        if !state.bytes.is_empty() && !self.is_clean.load(Acquire) {
            state.bytes.clear();
            self.is_waiting.store(false, Release);
            self.dropped.fetch_add(std::mem::take(&mut state.count), Release);
        }
    }
}

/// The way back to the caller of one request.
#[derive(Clone, Debug)]
pub(crate) struct Hints {
    watch: Arc<Watch>,
    request: u64,
}

impl Hints {
    /// To the caller of the request that came just now.
    pub(in crate::connection) fn open(watch: &Arc<Watch>) -> Self {
        let mut state = watch.hints.state.lock();
        state.request += 1;
        // What is left of the request before goes before its answer, which hyper has by now.
        let room = if state.bytes.is_empty() { LEN_MAX } else { 0 };
        (state.is_open, state.room) = (true, room);
        Self { request: state.request, watch: Arc::clone(watch) }
    }

    /// Whether nothing has moved for so long that an answer is due, and not because of the caller, whose
    /// body is late otherwise. Whoever waits is polled when that comes to be.
    pub(crate) fn is_late(&self) -> bool {
        self.watch.is_late.load(Relaxed) && !self.watch.is_caller_late.load(Relaxed)
    }

    /// Hands on an interim answer of the server, as long as there is no other.
    pub(crate) fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        let slot = &self.watch.hints;
        let mut state = slot.state.lock();
        if !state.is_open || state.request != self.request {
            return;
        }
        let head = if state.room == 0 { Vec::new() } else { head(status, headers.clone()) };
        if state.room == 0 || state.room < head.len() {
            // Whatever comes behind one that is dropped is dropped, too.
            state.room = 0;
            slot.dropped.fetch_add(1, Release);
            return;
        }
        state.room -= head.len();
        state.count += 1;
        state.bytes.extend_from_slice(&head);
        slot.is_waiting.store(true, Release);
        drop(state);
        slot.waker.wake();
    }
}

/// As it is written.
fn head(status: StatusCode, mut headers: HeaderMap) -> Vec<u8> {
    gate::strip_response(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::limits::DEADLINES;
    use http::HeaderValue;
    use http::header::{CONNECTION, LINK, TRANSFER_ENCODING};
    use std::task::Waker;

    fn hints() -> (Arc<Watch>, HeaderMap) {
        let watch = Arc::new(Watch::new(DEADLINES, Arc::default()));
        let link = HeaderValue::from_static("</a.css>; rel=preload");
        (watch, HeaderMap::from_iter([(LINK, link)]))
    }

    fn waiting(watch: &Watch) -> String {
        let bytes = watch.hints.state.lock().bytes.to_vec();
        assert_eq!(watch.hints.is_waiting.load(Relaxed), !bytes.is_empty());
        String::from_utf8(bytes).unwrap()
    }

    /// A caller that reads no more than this.
    struct Blocked {
        room: usize,
    }

    impl AsyncWrite for Blocked {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let len = std::mem::take(&mut self.room).min(buf.len());
            if len == 0 { Poll::Pending } else { Poll::Ready(Ok(len)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Scenario: a hint with fields of its own hop.
    /// Guarantees: it is written as a head of HTTP/1.1 without them.
    #[test]
    fn a_hint_is_a_head() {
        let (watch, mut headers) = hints();
        headers.insert(CONNECTION, HeaderValue::from_static("x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        Hints::open(&watch).tell(StatusCode::EARLY_HINTS, &headers);
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
        assert_eq!(waiting(&watch), expected);
    }

    /// Scenario: hints that come in time; after the answer; for a request that is over while the next
    /// one is there; while the answer before is still being written, or waits for a hint of its own;
    /// without end.
    /// Guarantees: only the first are written; a caller never gets one that is not for it, or more
    /// than the bound; what was in time and is not written is counted.
    #[test]
    fn a_hint_comes_in_time_or_never() {
        let dropped = |watch: &Watch| watch.hints.dropped.load(Relaxed);
        let cx = Context::from_waker(Waker::noop());
        let (watch, headers) = hints();
        let tell = |hints: &Hints| hints.tell(StatusCode::EARLY_HINTS, &headers);
        watch.hints.set_clean(true, &cx);
        let first = Hints::open(&watch);
        tell(&first);
        assert!(watch.hints.may_write());
        watch.hints.close();
        let in_time = waiting(&watch);
        assert!(!in_time.is_empty() && watch.hints.may_write(), "it goes before its answer");
        tell(&first);
        assert_eq!(waiting(&watch), in_time, "late");
        let _second = Hints::open(&watch);
        tell(&first);
        assert_eq!(waiting(&watch), in_time, "of another request");
        assert_eq!(dropped(&watch), 0);

        let (watch, _) = hints();
        watch.hints.set_clean(true, &cx);
        tell(&Hints::open(&watch));
        let written = std::cell::Cell::new(0);
        let mut socket = Blocked { room: 10 };
        let mut cx = Context::from_waker(Waker::noop());
        let polled =
            watch.hints.poll_write(&mut socket, &mut cx, || written.set(written.get() + 1));
        assert!(polled.is_pending() && written.get() == 1, "what moves is seen, and no more");

        let (watch, _) = hints();
        watch.hints.set_clean(false, &cx);
        tell(&Hints::open(&watch));
        assert!(!watch.hints.may_write(), "in the middle of an answer");
        watch.hints.close();
        assert_eq!((&*waiting(&watch), dropped(&watch)), ("", 1));

        let (watch, _) = hints();
        watch.hints.set_clean(true, &cx);
        tell(&Hints::open(&watch));
        watch.hints.close();
        let of_first = waiting(&watch);
        tell(&Hints::open(&watch));
        let and_dropped = (&*waiting(&watch), dropped(&watch));
        assert_eq!(and_dropped, (&*of_first, 1), "the answer before is not there yet");

        let (watch, _) = hints();
        let hints = Hints::open(&watch);
        (0..LEN_MAX).for_each(|_| tell(&hints));
        assert!(waiting(&watch).len() <= LEN_MAX);
        let told = waiting(&watch).matches("103 Early Hints").count();
        assert_eq!(dropped(&watch) as usize, LEN_MAX - told);
    }
}

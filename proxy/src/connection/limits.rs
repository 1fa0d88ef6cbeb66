//! What one connection of a caller may cost: the one place of all such limits.

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// Buffers of one HTTP/1 connection, in each direction. A head must fit in.
const BUFFER_LEN_MAX: usize = 64 * 1024;
/// From here on, an HTTP/1 response waits for its caller to read: behind one piece as `socket` reads
/// it, or a few small ones. Another waits in the connection that it comes from.
pub(super) const AHEAD_LEN_MAX: usize = 4 * 1024;
/// What one stream may have under way towards us.
const STREAM_WINDOW_LEN: u32 = BUFFER_LEN_MAX as u32;
/// What all streams of a connection may have under way towards us.
const CONNECTION_WINDOW_LEN: u32 = 1024 * 1024;
/// What one stream may have ready for a caller that does not read: the streams of a connection come
/// to 16 MiB.
const STREAM_SEND_LEN_MAX: usize = 16 * 1024;
/// Streams of one connection. An application that multiplexes on one connection to its sidecar
/// has no other.
const STREAMS_MAX: u32 = 1_024;
/// One frame: HTTP/2's own minimum.
const FRAME_LEN_MAX: u32 = 16 * 1024;
/// All headers of an HTTP/2 request, unpacked. It bounds CONTINUATION frames, too; the table that
/// they are packed against has HTTP/2's own 4 KiB.
const HEADERS_LEN_MAX: u32 = 64 * 1024;
/// Streams that the caller reset before we came to them; one more, and the connection ends.
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we had to reset because the caller broke the rules, or opened too many; one more,
/// and the connection ends.
const RESETS_OURS_MAX: usize = 1_024;
/// How often a silent peer is asked for a sign of life, and how long it has.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What lasts too long. Counted in looks: one coarse look a connection costs a request nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// How often a connection is looked at.
    pub(super) sweep_interval: Duration,
    /// A head that is not finished in so many looks never will be.
    pub(super) head_sweeps_max: u32,
    /// An exchange on which nothing moves.
    pub(super) stuck_sweeps_max: u32,
    /// A connection that is not used: longer than clients keep one, so that they close it and not
    /// we while they are about to use it.
    pub(super) unused_sweeps_max: u32,
}

impl Deadlines {
    /// How long the first bytes may take.
    pub(super) fn head(&self) -> Duration {
        self.sweep_interval * self.head_sweeps_max
    }

    /// How long a connection may be unused.
    pub(super) fn unused(&self) -> Duration {
        self.sweep_interval * self.unused_sweeps_max
    }
}

/// Heads 10 s, exchanges 5 min, unused connections 10 min.
pub(super) const DEADLINES: Deadlines = Deadlines {
    sweep_interval: Duration::from_millis(500),
    head_sweeps_max: 20,
    stuck_sweeps_max: 600,
    unused_sweeps_max: 1_200,
};

/// A server of HTTP/1.1 within the limits.
pub(super) fn http1(preserve_header_case: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_LEN_MAX).preserve_header_case(preserve_header_case);
    builder
}

/// A server of HTTP/2 within the limits.
pub(super) fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_LEN)
        .initial_connection_window_size(CONNECTION_WINDOW_LEN)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_LEN_MAX)
        .max_header_list_size(HEADERS_LEN_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_OURS_MAX)
        .max_send_buf_size(STREAM_SEND_LEN_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

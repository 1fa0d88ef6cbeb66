//! One connection of a caller, from its first byte to its last.
//!
//! HTTP/1.1 or HTTP/2 is told by the first bytes. A [`Watch`] on the socket cuts what only costs:
//! a head that does not get finished, an exchange on which nothing moves, a connection that nobody
//! uses. hyper's own timer for heads would run while a connection is idle, and close it under a
//! client that is about to use it again.

mod watch;

use crate::body::BodyError;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use watch::{Watch, Watched};

/// Buffers of one connection, in each direction: what a slow reader can cost. A head must fit in.
const BUFFER_LEN_MAX: usize = 64 * 1024;
/// What one stream may have under way towards us.
const STREAM_WINDOW_LEN: u32 = BUFFER_LEN_MAX as u32;
/// What all streams of a connection may have under way towards us.
const CONNECTION_WINDOW_LEN: u32 = 1024 * 1024;
/// Streams of one connection. An application that multiplexes on one connection to its sidecar
/// has no other; floods of streams are bounded by hyper's limits on resets.
const STREAMS_MAX: u32 = 1_024;
/// All headers of an HTTP/2 request.
const HEADERS_LEN_MAX: u32 = 64 * 1024;
/// Settings of HTTP/2: how often a silent peer is asked for a sign of life, and how long it has.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `stream` with `respond` until either side closes it, or until `closing` and then the end
/// of what is in flight.
pub(crate) async fn serve<R, F, B>(
    stream: TcpStream,
    closing: CancellationToken,
    preserve_header_case: bool,
    respond: R,
) where
    R: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error = BodyError> + Unpin + Send + 'static,
{
    let watch = Arc::new(Watch::default());
    let service = service_fn(|request| {
        let busy = Watch::busy(&watch);
        // `map`, and no `async` block around it: that would hold the future twice, and it is large.
        respond(request).map(move |response| {
            Ok::<_, Infallible>(response.map(|body| watch::Counted::new(body, busy)))
        })
    });
    let builder = builder(preserve_header_case);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&watch)));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut sweeps = tokio::time::interval(watch::SWEEP_INTERVAL);
    sweeps.tick().await;
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            // How it ended concerns the one at the other side, who knows.
            _ = connection.as_mut() => return,
            () = closing.cancelled(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = sweeps.tick() => match watch.sweep() {
                watch::Finding::Alive => (),
                watch::Finding::Unused => connection.as_mut().graceful_shutdown(),
                watch::Finding::Stuck => return,
            },
        }
    }
}

fn builder(preserve_header_case: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .max_buf_size(BUFFER_LEN_MAX)
        .preserve_header_case(preserve_header_case)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_LEN)
        .initial_connection_window_size(CONNECTION_WINDOW_LEN)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_LEN_MAX)
        .max_send_buf_size(BUFFER_LEN_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

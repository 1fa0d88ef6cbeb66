//! One connection of a caller, from its first byte to its last.
//!
//! HTTP/1.1 or HTTP/2 is told by the first bytes. A [`Watch`] on the socket cuts what only costs:
//! a head that does not get finished, an exchange on which nothing moves, a connection that nobody
//! uses. hyper's own timer for heads would run while a connection is idle, and close it under a
//! client that is about to use it again.

mod watch;

use crate::body::BodyError;
use crate::drain::{Drain, IDLE_PATIENCE};
use crate::upgrade::Handover;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Sleep;
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

/// What all connections of a listener have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// When they end.
    pub(crate) drain: Arc<Drain>,
    /// Names of HTTP/1 headers are written in the letters in which they came.
    pub(crate) preserve_header_case: bool,
}

/// Serves `stream`, of which `ahead` was read already, with `respond` until either side closes it,
/// or until the drain begins and what is in flight is over. No connection that is in use is closed
/// under its caller: HTTP/2 says where it stops, HTTP/1 with its next answer.
pub(crate) async fn serve<R, F, B>(stream: TcpStream, ahead: Bytes, terms: Terms, respond: R)
where
    R: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin + Send + 'static,
{
    let Terms { drain, preserve_header_case } = terms;
    let watch = Arc::new(Watch::new(Arc::clone(&drain)));
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = Watch::busy(&watch);
        let is_http1 = request.version() != Version::HTTP_2;
        let caller = request.extensions_mut().remove::<OnUpgrade>();
        // `map`, and no `async` block around it: that would hold the future twice, and it is large.
        respond(request).map(move |mut response| {
            let handover = response.extensions_mut().remove::<Handover>();
            if let (Some(handover), Some(caller)) = (handover, caller) {
                busy.becomes(handover.join(caller));
            }
            if is_http1 && busy.is_last() {
                announce_end(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| watch::Counted::new(body, busy)))
        })
    });
    let builder = builder(preserve_header_case);
    let io = TokioIo::new(Watched::new(stream, ahead, Arc::clone(&watch)));
    let mut connection = pin!(builder.serve_connection_with_upgrades(io, service));
    let mut sweeps = tokio::time::interval(watch::SWEEP_INTERVAL);
    sweeps.tick().await;
    let mut patience = pin!(None::<Sleep>);
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            // How it ended concerns the one at the other side, who knows.
            _ = connection.as_mut() => break,
            () = drain.began(), if patience.is_none() => {
                patience.set(Some(tokio::time::sleep(IDLE_PATIENCE)));
                if watch.is_http2() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = elapsed(patience.as_mut()), if !is_closing => {
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
    if let Some(tunnel) = watch.take_tunnel() {
        // It ends by its own bounds; and the end of the proxy gives it the time that everything in
        // flight gets. In a place of its own: few connections become one.
        Box::pin(tunnel.run()).await;
    }
}

/// Waits for a timer, if there is one.
async fn elapsed(timer: Pin<&mut Option<Sleep>>) {
    match timer.as_pin_mut() {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

/// No request comes after this answer.
fn announce_end<B>(response: &mut Response<B>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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

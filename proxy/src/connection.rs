//! One connection of a caller, from its first byte to its last.
//!
//! ```text
//! accept ─▶ told ─▶ awake: hyper ─ idle for a look ─▶ asleep: the socket alone
//!                    │  ▲                               │
//!                    │  └──────── a byte, or the drain ─┘
//!                    └─ 101 ─▶ tunnel
//! ```
//!
//! HTTP/1.1 or HTTP/2 is [`told`] by the first bytes, before hyper has the socket. A [`Watch`] on the socket cuts what only costs:
//! a head that does not get finished, a body that does not go on, an exchange on which nothing
//! moves, a connection that nobody uses. One of HTTP/1 that is idle for a second is put to sleep:
//! nothing is kept of it but the socket, until the next byte comes. What a connection may cost is
//! in `limits`. hyper's own timer for heads would run while a connection is idle, and close it
//! under a client that is about to use it again.

mod aside;
mod limits;
#[cfg(test)]
mod tests;
mod told;
mod upload;
mod watch;

pub(crate) use upload::Upload;
pub(crate) use watch::Hints;

use crate::arrived::Arrived;
use crate::body::{BodyError, RequestBody};
use crate::drain::{Drain, IDLE_PATIENCE};
use crate::upgrade::Handover;
use aside::Aside;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use watch::{Watch, Watched};

/// What all connections of a listener have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// When they end.
    pub(crate) drain: Arc<Drain>,
    /// Names of HTTP/1 headers are written in the letters in which they came.
    pub(crate) preserve_header_case: bool,
    /// Interim answers that could not be handed on.
    pub(crate) hints_dropped: Arc<AtomicU64>,
}

/// Serves `stream`, of which `ahead` was read already, with `respond` until either side closes it,
/// or until the drain begins and what is in flight is over. No connection that is in use is closed
/// under its caller: HTTP/2 says where it stops, HTTP/1 with its next answer.
pub(crate) async fn serve<R, F, B>(stream: TcpStream, ahead: Bytes, terms: Terms, respond: R)
where
    R: Fn(Box<Arrived>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin + Send + 'static,
{
    let Terms { drain, preserve_header_case, hints_dropped } = terms;
    let watch = Arc::new(Watch::new(limits::DEADLINES, drain).counting(hints_dropped));
    serve_watched(stream, ahead, watch, preserve_header_case, respond).await;
}

/// Awake and asleep in turn.
async fn serve_watched<R, F, B>(
    mut stream: TcpStream,
    mut ahead: Bytes,
    watch: Arc<Watch>,
    preserve_header_case: bool,
    respond: R,
) where
    R: Fn(Box<Arrived>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin + Send + 'static,
{
    match told::is_http2(&mut stream, &mut ahead, &watch).await {
        Some(true) => watch.speaks_http2(),
        Some(false) => (),
        None => return,
    }
    loop {
        // One that falls asleep has taken all that came, so also what was read ahead.
        let io = Watched::new(stream, std::mem::take(&mut ahead), Arc::clone(&watch));
        awake(io, preserve_header_case, &watch, &respond).await;
        let Some(asleep) = watch.take_asleep() else {
            break;
        };
        tokio::select! {
            biased;
            readable = asleep.readable() => if readable.is_err() { return },
            // Awake, it ends as all others do, with the same patience.
            () = watch.drain().began() => (),
            () = tokio::time::sleep(watch.deadlines().unused()) => return,
        }
        stream = asleep;
    }
    if let Some(tunnel) = watch.take_tunnel() {
        // It ends by its own bounds; and the end of the proxy gives it the time that everything in
        // flight gets. In a place of its own: few connections become one.
        Box::pin(tunnel.run()).await;
    }
}

/// Serves a connection until it ends or leaves HTTP, or until nothing was on it for a while: then
/// the watch has the socket, and hyper's buffers are gone. In a place of its own, which is gone, too.
fn awake<'c, R, F, B>(
    io: Watched,
    preserve_header_case: bool,
    watch: &'c Arc<Watch>,
    respond: &'c R,
) -> BoxFuture<'c, ()>
where
    R: Fn(Box<Arrived>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin + Send + 'static,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = Watch::busy(watch);
        let is_http1 = request.version() != Version::HTTP_2;
        // hyper took it away, and the gate is to see it.
        if watch.take_length() && request.headers().contains_key(TRANSFER_ENCODING) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // A caller of HTTP/1.0 would take it for the answer.
        let hints = (request.version() == Version::HTTP_11).then(|| Hints::open(watch));
        let caller = request.extensions_mut().remove::<OnUpgrade>();
        let (head, incoming) = request.into_parts();
        let body = RequestBody::new(Upload::new(incoming, &busy), hints);
        respond(Box::new(Arrived { head, body })).map(move |mut response| {
            let handover = response.extensions_mut().remove::<Handover>();
            if let (Some(handover), Some(caller)) = (handover, caller) {
                busy.becomes(handover.join(caller));
            }
            busy.answered();
            if is_http1 && busy.is_last() {
                announce_end(&mut response);
            }
            Ok::<_, Infallible>(response.map(|body| watch::Counted::new(body, busy)))
        })
    });
    if watch.is_http2() {
        let connection = limits::http2().serve_connection(TokioIo::new(io), service);
        return Box::pin(drive(connection, watch, http2::Connection::graceful_shutdown));
    }
    let connection =
        limits::http1(preserve_header_case).serve_connection(TokioIo::new(io), service);
    let connection = connection.with_upgrades();
    Box::pin(drive(connection, watch, http1::UpgradeableConnection::graceful_shutdown))
}

/// What comes to pass beside the exchanges of a connection.
enum Beside {
    Look,
    Drain,
    PatienceIsOver,
}

/// Looks after hyper's `connection`, which can be told to `end` politely.
async fn drive<C: Future>(connection: C, watch: &Watch, end: impl Fn(Pin<&mut C>)) {
    let mut connection = pin!(connection);
    let mut sweeps = tokio::time::interval(watch.deadlines().sweep_interval);
    sweeps.tick().await;
    let mut patience = pin!(None::<Sleep>);
    let mut is_closing = false;
    loop {
        let beside = {
            // Without tokio's budget: it is polled when it has something to say, and the connection may
            // have used all of that.
            let next = pin!(tokio::task::coop::unconstrained(async {
                tokio::select! {
                    biased;
                    () = watch.drain().began(), if patience.is_none() => Beside::Drain,
                    () = elapsed(patience.as_mut()), if !is_closing => Beside::PatienceIsOver,
                    _ = sweeps.tick() => Beside::Look,
                }
            }));
            tokio::select! {
                biased;
                // How it ended concerns the one at the other side, who knows.
                _ = connection.as_mut() => return,
                beside = Aside::new(next) => beside,
            }
        };
        match beside {
            Beside::Drain => {
                patience.set(Some(tokio::time::sleep(IDLE_PATIENCE)));
                if watch.is_http2() {
                    end(connection.as_mut());
                }
            }
            Beside::PatienceIsOver => {
                is_closing = true;
                end(connection.as_mut());
            }
            Beside::Look => match watch.sweep() {
                // A late body is told to whoever reads it when the connection is looked at again.
                watch::Finding::Alive | watch::Finding::Late => (),
                watch::Finding::Unused => end(connection.as_mut()),
                watch::Finding::Asleep | watch::Finding::Stuck => return,
            },
        }
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

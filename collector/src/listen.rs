//! One way to listen, for all four addresses: bounded connections, small packets at once, dead
//! peers noticed, one graceful end.

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// More connections to one address than this wait in the kernel.
const CONNECTIONS_MAX: usize = 4_096;
/// More calls at once on one connection than this wait in the peer.
const STREAMS_MAX: u32 = 256;
/// Fewer and larger frames: a quarter less CPU a span than with HTTP/2's 16 KiB.
const FRAME_LEN_MAX: u32 = 256 * 1024;
/// Bytes in flight of one call.
const STREAM_WINDOW_LEN: u32 = 2 * 1024 * 1024;
/// Bytes in flight of one connection: at 10 ms of round trip still 800 MB/s.
const CONNECTION_WINDOW_LEN: u32 = 8 * 1024 * 1024;
/// A silent HTTP/2 peer is asked this often whether it lives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// And is gone if it does not answer for this long.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// A quiet HTTP/1 connection is closed after this long: longer than the 60 s between two exports
/// of SDK metrics, so that exporters do not race with it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// After a failed accept (no file descriptors left): time for some to come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Both ends of the connection that a request came on; in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// The peer.
    pub(crate) remote: SocketAddr,
    /// The address of ours that it reached.
    pub(crate) local: SocketAddr,
}

/// Answers on `listener` until `stop`; then finishes the calls in flight. Connections belong to
/// `connections`, which the caller waits for.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, ends, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            connection(stream, ends, router, stop).await;
            drop(place);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Ends, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, remote) = listener.accept().await?;
    // Without it a small answer waits for the peer's delayed acknowledgement: 40 ms.
    stream.set_nodelay(true)?;
    let ends = Ends { remote, local: stream.local_addr()? };
    Ok((stream, ends, place))
}

async fn connection(stream: TcpStream, ends: Ends, router: Router, stop: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW_LEN)
        .initial_connection_window_size(CONNECTION_WINDOW_LEN);
    let service = TowerToHyperService::new(router.layer(Extension(ends)));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(peer = %ends.remote, %error, "connection ended");
    }
}

//! Listening sockets and the loops that accept on them.

use futures_util::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1_024;

/// Connections of callers at once, of one worker. Beyond, they wait in the backlog.
const CALLERS_MAX: usize = 16_384;

/// After a failed accept (no file descriptors left, most often) there is no point in trying again
/// at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds one socket for each worker, all to the same address, between which the kernel shares out
/// connections. Port 0 is chosen by the system.
///
/// # Errors
/// If the address is in use, or not ours.
pub(crate) fn bind(listen: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let alone = socket(listen, false)?;
    if workers == 1 {
        return Ok(vec![alone]);
    }
    // Sockets that share a port do not notice strangers that share it too, so one that does not
    // share asks first.
    let listen = alone.local_addr()?;
    drop(alone);
    (0..workers).map(|_| socket(listen, true)).collect()
}

fn socket(listen: SocketAddr, is_shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until `closing`, then what came before that, and gives each connection a task of its own: what goes wrong in one
/// ends with it.
pub(crate) async fn accept<S, F>(
    listener: TcpListener,
    tasks: TaskTracker,
    closing: impl Future<Output = ()>,
    serve: S,
) where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CALLERS_MAX));
    let mut closing = pin!(closing);
    let begin = |stream: TcpStream, place| {
        // Without it answers wait for acknowledgements; a socket that refuses it is dead.
        if stream.set_nodelay(true).is_ok() {
            let served = serve(stream);
            tasks.spawn(async move {
                served.await;
                drop(place);
            });
        }
    };
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = closing.as_mut() => break,
        };
        match accepted {
            Ok((stream, _peer)) => begin(stream, place),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What waits in the backlog would be reset with the socket.
    while let Some(Ok((stream, _peer))) = listener.accept().now_or_never() {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        begin(stream, Ok(place));
    }
}

//! Opening a connection.

use fusebox_proto::policy::TcpKeepalive;
use socket2::SockRef;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// Buffers of one connection, in each direction: what a slow reader can cost.
pub(super) const BUFFER_LEN_MAX: usize = 64 * 1024;

/// Why no connection could be opened. The server's failure, and nothing was sent: it may be tried
/// again.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody answered in time.
    #[error("no connection within {}", human(*.0))]
    Timeout(Duration),
    /// The system, the other side or its name server said no.
    #[error("{0}")]
    Io(String),
    /// The server has no HTTP/2.
    #[error("the server speaks HTTP/1 only")]
    NotHttp2,
    /// The proxy shuts down.
    #[error("the proxy shuts down")]
    Closing,
}

fn human(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f32())
}

/// Opens a TCP connection to `host:port`.
pub(super) async fn open(
    address: &str,
    timeout: Duration,
    keepalive: Option<TcpKeepalive>,
) -> Result<TcpStream, ConnectError> {
    let said_no = |error: io::Error| ConnectError::Io(error.to_string());
    let connecting = tokio::time::timeout(timeout, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| ConnectError::Timeout(timeout))?.map_err(said_no)?;
    stream.set_nodelay(true).map_err(said_no)?;
    if let Some(keepalive) = keepalive {
        SockRef::from(&stream).set_tcp_keepalive(&socket_keepalive(keepalive)).map_err(said_no)?;
    }
    Ok(stream)
}

/// What is not said is the system's.
fn socket_keepalive(policy: TcpKeepalive) -> socket2::TcpKeepalive {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = policy.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = policy.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = policy.probes {
        keepalive = keepalive.with_retries(probes);
    }
    keepalive
}

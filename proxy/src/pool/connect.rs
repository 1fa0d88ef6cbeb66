//! Opening a connection.

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
    /// The proxy shuts down.
    #[error("the proxy shuts down")]
    Closing,
}

fn human(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f32())
}

/// Opens a TCP connection to `host:port`.
pub(super) async fn open(address: &str, timeout: Duration) -> Result<TcpStream, ConnectError> {
    let said_no = |error: io::Error| ConnectError::Io(error.to_string());
    let connecting = tokio::time::timeout(timeout, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| ConnectError::Timeout(timeout))?.map_err(said_no)?;
    stream.set_nodelay(true).map_err(said_no)?;
    Ok(stream)
}

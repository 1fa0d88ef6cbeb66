//! Whether a server greets as HTTP/2 wants it.
//!
//! The first frame of a server is SETTINGS (RFC 9113, 3.4), and it waits for nothing but the preface.
//! One of HTTP/1 answers the preface with a 400 or a page, or hangs up. So before the first request goes
//! out, it is known whether it will be understood.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::io::InspectReader;

/// With what a SETTINGS frame begins: none is longer than 16 KiB, which is the high byte of its length.
const FIRST_OF_SETTINGS: u8 = 0;

/// A connection to a server that has not said anything yet, and whether its first byte is that of
/// HTTP/2; dropped without it where the connection ends before.
pub(super) fn listen(
    stream: TcpStream,
) -> (impl AsyncRead + AsyncWrite + Unpin + Send, oneshot::Receiver<bool>) {
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let hear = move |bytes: &[u8]| {
        if let Some(tell) = tell.take() {
            // Nobody may wait any more.
            let _ = tell.send(bytes.first() == Some(&FIRST_OF_SETTINGS));
        }
    };
    (InspectReader::new(stream, hear), told)
}

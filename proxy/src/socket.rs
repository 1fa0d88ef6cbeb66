//! Reading from sockets in pieces that are small enough to hold many of.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

/// One read. hyper reads into ever larger buffers while a body comes fast, and each piece of it that
/// waits for a slow reader further on would keep one of those: two or three of them at a time. It
/// takes a buffer of 8 KiB that a read does not fill for large enough.
const READ_LEN_MAX: u64 = 8 * 1024 - 1;

/// Reads at most [`READ_LEN_MAX`] bytes.
pub(crate) fn poll_read_piece(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // No `try_read`: tokio's own read knows that a piece which was not filled was the last, and saves
    // the call that would only hear so; and it leaves memory untouched that nothing comes into.
    Pin::new(&mut stream.take(READ_LEN_MAX)).poll_read(cx, buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// Scenario: 40,000 bytes, read into a buffer with room for all of them.
    /// Guarantees: no read takes more than a piece; nothing is lost; the end is seen.
    #[tokio::test]
    async fn reads_take_a_piece() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let writing = async {
            writer.write_all(&vec![7; 40_000]).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let reading = async {
            let mut bytes = Vec::new();
            loop {
                let mut memory = vec![0; 64 * 1024];
                let mut piece = ReadBuf::new(&mut memory);
                poll_fn(|cx| poll_read_piece(&mut stream, cx, &mut piece)).await.unwrap();
                assert!(piece.filled().len() as u64 <= READ_LEN_MAX);
                if piece.filled().is_empty() {
                    return bytes;
                }
                bytes.extend_from_slice(piece.filled());
            }
        };
        let (bytes, ()) = tokio::join!(reading, writing);
        assert!(bytes == vec![7; 40_000]);
    }
}

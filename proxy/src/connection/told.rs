//! What a connection speaks, by its first bytes.

use super::watch::Watch;
use crate::drain::IDLE_PATIENCE;
use bytes::Bytes;
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What every connection of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits for the first bytes of `stream`, which stay where they are: of a connection that says
/// nothing, nothing is kept but the socket. What came `ahead` goes before. `None`: it said nothing in
/// the time for a head, or before the proxy ended.
pub(super) async fn is_http2(
    stream: &mut TcpStream,
    ahead: &mut Bytes,
    watch: &Watch,
) -> Option<bool> {
    let drained = async {
        watch.drain().began().await;
        tokio::time::sleep(IDLE_PATIENCE).await;
    };
    tokio::select! {
        biased;
        told = tell(stream, ahead) => told.ok(),
        () = drained => None,
        () = tokio::time::sleep(watch.deadlines().head()) => None,
    }
}

async fn tell(stream: &mut TcpStream, ahead: &mut Bytes) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    if ahead.is_empty() {
        let len = stream.peek(&mut first).await?;
        if len == PREFACE.len() || !PREFACE.starts_with(&first[..len]) || len == 0 {
            return Ok(first == *PREFACE);
        }
    }
    // A part of the preface: to hear the rest, it must be taken.
    while ahead.len() < PREFACE.len() && PREFACE.starts_with(ahead) {
        let len = stream.read(&mut first).await?;
        *ahead = [&ahead[..], &first[..len]].concat().into();
        if len == 0 {
            break;
        }
    }
    Ok(ahead.starts_with(PREFACE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// Scenario: first bytes of both versions, whole and in parts, with and without some that were
    /// read ahead, and none.
    /// Guarantees: the version is told as soon as it can be; not one byte is lost.
    #[tokio::test]
    async fn told_by_the_first_bytes() {
        let preface = std::str::from_utf8(PREFACE).unwrap();
        let (part, rest) = preface.split_at(9);
        let long = format!("{preface}more");
        for (before, parts, expected) in [
            ("", &[preface][..], true),
            ("", &[&*long], true),
            ("", &["P", "R", &preface[2..]], true),
            (part, &[rest], true),
            (&*long, &[], true),
            ("", &["G"], false),
            ("", &["POST / HTTP/1.1\r\n"], false),
            ("", &["PR", "OPFIND"], false),
            ("PRI * HTTP/2.0\r\n\r\nS", &["N"], false),
            ("", &["PRI"], false),
            ("", &[], false),
        ] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            caller.set_nodelay(true).unwrap();
            let mut ahead = Bytes::from(before.to_owned());
            let sending = async {
                for part in parts {
                    caller.write_all(part.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                caller.shutdown().await.unwrap();
            };
            let (told, ()) = tokio::join!(tell(&mut stream, &mut ahead), sending);
            assert_eq!(told.unwrap(), expected, "{before:?} {parts:?}");
            let mut all = ahead.to_vec();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, [before.as_bytes(), parts.concat().as_bytes()].concat());
        }
    }
}

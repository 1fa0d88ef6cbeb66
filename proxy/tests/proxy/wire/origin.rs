//! An origin that reads strictly what reaches it, keeps it, and answers with the target.

use super::frames::{self, Frame, frame};
use super::strict::{self, Message, Parsed};
use super::strict2;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What reached an origin.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Whole requests.
    pub(crate) messages: Vec<Message>,
    /// What is no request, and the bytes it was found in.
    pub(crate) violations: Vec<(String, Vec<u8>)>,
}

/// A listening origin.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    has_http2: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Origin {
    /// Of HTTP/1.1 and HTTP/2.
    pub(crate) async fn start() -> Self {
        Self::speaking(true).await
    }

    /// Of HTTP/1.1 only: whoever wants HTTP/2 is answered 400.
    pub(crate) async fn of_http1() -> Self {
        Self::speaking(false).await
    }

    async fn speaking(has_http2: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Self { address, has_http2, seen: Arc::default() };
        let shared = origin.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let origin = shared.clone();
                tokio::spawn(async move {
                    // A proxy that goes away ends the connection; what it sent is kept.
                    let _ = origin.serve(stream).await;
                });
            }
        });
        origin
    }

    /// What reached it until now.
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn violated(&self, what: String, bytes: &[u8]) {
        self.seen.lock().unwrap().violations.push((what, bytes.to_vec()));
    }

    fn came(&self, message: Message) {
        self.seen.lock().unwrap().messages.push(message);
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            if bytes.starts_with(frames::PREFACE) && !self.has_http2 {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await?;
                return stream.shutdown().await;
            }
            if bytes.starts_with(frames::PREFACE) {
                return self.serve_http2(stream, bytes.split_off(frames::PREFACE.len())).await;
            }
            let is_preface = !bytes.is_empty() && frames::PREFACE.starts_with(&bytes);
            match strict::parse(&bytes) {
                _ if is_preface => (),
                Parsed::Incomplete => (),
                Parsed::Violation(what) => {
                    self.violated(what, &bytes);
                    return Ok(());
                }
                Parsed::Whole(message, len) => {
                    bytes.drain(..len);
                    let body = if message.method == "HEAD" { "" } else { &*message.target };
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                        message.target.len()
                    );
                    let is_last = message.all("connection").contains(&"close");
                    self.came(message);
                    stream.write_all(answer.as_bytes()).await?;
                    if is_last {
                        return stream.shutdown().await;
                    }
                    continue;
                }
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn serve_http2(&self, mut stream: TcpStream, mut bytes: Vec<u8>) -> std::io::Result<()> {
        let mut connection = strict2::Connection::default();
        stream.write_all(&frame(frames::SETTINGS, 0, 0, &[])).await?;
        loop {
            while let Some(came) = Frame::take(&mut bytes) {
                if matches!(came.kind, frames::SETTINGS | frames::PING) && !came.has(frames::ACK) {
                    let echo = if came.kind == frames::PING { &came.payload[..] } else { &[] };
                    stream.write_all(&frame(came.kind, frames::ACK, 0, echo)).await?;
                }
                match connection.take(&came) {
                    Ok(None) => (),
                    Ok(Some((id, message))) => {
                        let body = message.target.clone();
                        self.came(message);
                        let head = frame(frames::HEADERS, frames::END_HEADERS, id, &[0x88]);
                        let data = frame(frames::DATA, frames::END_STREAM, id, body.as_bytes());
                        stream.write_all(&[head, data].concat()).await?;
                    }
                    Err(what) => {
                        self.violated(what, &came.payload);
                        return Ok(());
                    }
                }
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
    }
}

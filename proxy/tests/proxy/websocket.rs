//! As much of WebSocket (RFC 6455) as it takes to see whether a session passes unchanged.

use crate::world::read_head;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The example of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CLOSE: u8 = 8;

/// The request of a client.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: inventory\r\nUpgrade: websocket\r\nConnection: keep-alive, \
         Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
}

/// A session through the proxy at `address`.
pub(crate) async fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(handshake("/chat?room=1").as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for header in ["upgrade: websocket", "connection: upgrade", "x-room: 1"] {
        assert!(head.contains(&format!("{header}\r\n")), "{head}");
    }
    assert!(head.contains(&format!("sec-websocket-accept: {ACCEPT}\r\n")), "{head}");
    stream
}

/// One frame, without its mask.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    is_last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(is_last: bool, opcode: u8, payload: &[u8]) -> Self {
        Self { is_last, opcode, payload: payload.to_vec() }
    }

    /// A client masks what it sends, a server does not.
    pub(crate) async fn send(&self, stream: &mut TcpStream, is_client: bool) {
        let mask_bit = u8::from(is_client) << 7;
        let mut bytes = vec![u8::from(self.is_last) << 7 | self.opcode];
        match self.payload.len() {
            len @ 0..=125 => bytes.push(mask_bit | len as u8),
            len @ 126..=65_535 => {
                bytes.push(mask_bit + 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(mask_bit + 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        if is_client {
            bytes.extend(MASK);
            bytes.extend(masked(&self.payload));
        } else {
            bytes.extend(&self.payload);
        }
        stream.write_all(&bytes).await.unwrap();
    }

    /// The next one; `None` at the end.
    pub(crate) async fn read(stream: &mut TcpStream) -> Option<Self> {
        let first = stream.read_u8().await.ok()?;
        let second = stream.read_u8().await.unwrap();
        let len = match second & 0x7f {
            126 => u64::from(stream.read_u16().await.unwrap()),
            127 => stream.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let is_masked = 0 != second & 0x80;
        if is_masked {
            assert_eq!(stream.read_u32().await.unwrap().to_be_bytes(), MASK);
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        let payload = if is_masked { masked(&payload) } else { payload };
        Some(Self { is_last: 0 != first & 0x80, opcode: first & 0x0f, payload })
    }
}

fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// A server that says every frame back, closes after a close, and says in a header which room was
/// asked for.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let is_asked =
                    ["upgrade: websocket\r\n", "connection: upgrade\r\n", KEY, "deflate"];
                assert!(is_asked.iter().all(|header| head.contains(header)), "{head}");
                let room = head.starts_with("GET /chat?room=1 HTTP/1.1\r\n");
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \
                     Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\nX-Room: {}\r\n\r\n",
                    u8::from(room)
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                while let Some(frame) = Frame::read(&mut stream).await {
                    frame.send(&mut stream, false).await;
                    if frame.opcode == CLOSE {
                        return;
                    }
                }
            });
        }
    });
    address
}

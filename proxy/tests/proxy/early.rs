//! Servers that answer before they have read the request, and hang up.

use crate::world::{Proxy, outbound, read_head};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// More than all buffers on the way hold.
const UPLOAD_LEN: usize = 8 << 20;
const ROUNDS: usize = 40;

/// A server that answers each request from its head alone. After a GET it goes on; after anything
/// else it closes with the body unread, which makes the system send a reset.
async fn hasty() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let mut first = [0];
    while matches!(stream.peek(&mut first).await, Ok(1)) {
        if read_head(&mut stream).await.starts_with("GET") {
            let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(ok).await.unwrap();
            continue;
        }
        let full = b"HTTP/1.1 413 Too Much\r\ncontent-length: 8\r\n\r\ntoo much";
        // The body may be there by now or not: its reset comes behind the answer.
        stream.peek(&mut first).await.unwrap();
        stream.write_all(full).await.unwrap();
        return;
    }
}

/// Sends a request as the plainest of clients does: all of it, and only then looks for an answer.
async fn ask(caller: &mut TcpStream, method: &str, body: &[u8]) -> (String, Vec<u8>) {
    let len = body.len();
    let head = format!("{method} / HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n");
    caller.write_all(head.as_bytes()).await.expect("the connection is open");
    caller.write_all(body).await.expect("it is not cut under the body");
    let head = read_head(caller).await;
    let len = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut answer = vec![0; len.parse().unwrap()];
    caller.read_exact(&mut answer).await.unwrap();
    (head.lines().next().unwrap().to_owned(), answer)
}

/// Scenario: a caller sends large bodies, which go out on new and on kept connections, to a server
/// that answers 413 from the head and closes with the body unread.
/// Guarantees: each time it gets the server's own answer, also though writing to the server failed
/// and the method may not be repeated; its own connection stays.
#[tokio::test]
async fn an_early_answer_is_passed_on() {
    let server = hasty().await;
    let proxy = Proxy::start(outbound(&[server]));
    let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
    let body = vec![b'x'; UPLOAD_LEN];
    for round in 0..ROUNDS {
        // Every other connection to the server carried a request before.
        if round % 4 < 2 {
            let (status, answer) = ask(&mut caller, "GET", b"").await;
            assert_eq!((&*status, &*answer), ("HTTP/1.1 200 OK", &b"ok"[..]), "{round}");
        }
        let (status, answer) = ask(&mut caller, ["POST", "PUT"][round % 2], &body).await;
        assert_eq!((&*status, &*answer), ("HTTP/1.1 413 Too Much", &b"too much"[..]));
    }
}

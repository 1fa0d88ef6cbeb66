//! What is said between heads and bodies, and about callers: 1xx, `x-forwarded-*`, letters.

use crate::shop::{saw, witness};
use crate::world::{Caller, Proxy, full, http2_caller, inbound, outbound, read_head};
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ASKS: &[u8] =
    b"POST / HTTP/1.1\r\nhost: inventory\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";

/// A server of one connection that reads a head, says `first`, reads `body_len` bytes, says `then`,
/// and tells what it read; all of it until the proxy closes.
async fn server(
    first: &'static str,
    body_len: usize,
    then: &'static str,
) -> (SocketAddr, tokio::task::JoinHandle<(String, Vec<u8>, Vec<u8>)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut body = vec![0; body_len];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(then.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (head, body, rest)
    });
    (address, task)
}

/// Scenario: a caller asks before it sends its body; the server says yes, says something else first,
/// says nothing, or answers at once.
/// Guarantees: the caller hears what the server says, and no other yes; a body that the server does not ask
/// for goes after a while all the same; a final answer is the first thing that the caller hears,
/// nothing of its body reaches the server, and both connections close.
#[tokio::test]
async fn who_asks_first_gets_the_servers_word() {
    let yes = "HTTP/1.1 100 Continue\r\n\r\n";
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let done = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let no = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n";
    for is_inbound in [false, true] {
        let start = |address| {
            Proxy::start(if is_inbound { inbound(address) } else { outbound(&[address]) })
        };
        for first in [yes, hint, ""] {
            let (address, task) = server(first, 4, done).await;
            let proxy = start(address);
            let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
            caller.write_all(ASKS).await.unwrap();
            // A server that says nothing is not waited for for ever.
            let heard = if first.is_empty() { yes } else { first };
            let mut said = vec![0; heard.len()];
            caller.read_exact(&mut said).await.unwrap();
            assert_eq!(String::from_utf8(said).unwrap(), heard);
            caller.write_all(b"body").await.unwrap();
            assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 200"));
            let mut body = [0; 2];
            caller.read_exact(&mut body).await.unwrap();
            drop((caller, proxy));
            let (head, body, _) = task.await.unwrap();
            assert!(head.contains("expect: 100-continue"), "{head}");
            assert_eq!(body, b"body");
        }
        let (address, task) = server(no, 0, "").await;
        let proxy = start(address);
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(ASKS).await.unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 417") && !answer.contains("100"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        let (_, _, rest) = task.await.unwrap();
        assert_eq!(rest, b"");
    }
}

/// Scenario: an HTTP/2 caller says `expect: 100-continue`.
/// Guarantees: nobody waits for what cannot be said over HTTP/2: the body arrives without the header.
#[tokio::test]
async fn http2_does_not_wait() {
    let server = witness("v1").await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let mut caller = http2_caller(proxy.address()).await;
    let request = Request::post("http://inventory/").header("expect", "100-continue");
    let response = caller.send_request(request.body(full("body")).unwrap()).await.unwrap();
    let seen = saw(&crate::world::Answer::read(response).await.unwrap());
    assert_eq!(seen["headers"]["expect"], serde_json::Value::Null);
}

/// Scenario: requests with forged and with honest headers of forwarding, to an inbound listener of
/// the mesh, to one that strangers call, and from the own application.
/// Guarantees: the application learns its caller's address, protocol and host as the stated rule
/// says; what the own application says goes on as it is.
#[tokio::test]
async fn who_called() {
    let server = witness("v1").await;
    let mut edge = inbound(server.address);
    edge.operation.trusted_hops = Some(0);
    let check = async |config, expected: [Option<&str>; 3]| {
        let proxy = Proxy::start(config);
        let request = Request::get("/")
            .header("host", "shop")
            .header("x-forwarded-for", "203.0.113.7")
            .header("x-forwarded-proto", "https");
        let mut caller = Caller::connect(proxy.address()).await;
        let seen = saw(&caller.send(request.body(full("")).unwrap()).await);
        let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
        let got = names.map(|name| seen["headers"][name].as_str());
        assert_eq!(got, expected);
    };
    let mesh = inbound(server.address);
    check(mesh, [Some("203.0.113.7, 127.0.0.1"), Some("https"), Some("shop")]).await;
    check(edge, [Some("127.0.0.1"), Some("http"), Some("shop")]).await;
    let own = outbound(&[server.address]);
    check(own, [Some("203.0.113.7"), Some("https"), None]).await;
}

/// Scenario: header names in odd letters in a request and in its answer, with the flag and without.
/// Guarantees: with it they go on as they came, in both directions; without it in small letters.
#[tokio::test]
async fn letters_are_kept_where_asked() {
    for keep in [false, true] {
        let answer = "HTTP/1.1 200 OK\r\nX-OdD-Answer: 1\r\nContent-Length: 0\r\n\r\n";
        let (address, task) = server(answer, 0, "").await;
        let mut config = outbound(&[address]);
        config.limits.preserve_header_case = keep;
        let proxy = Proxy::start(config);
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: inventory\r\nX-OdD-Request: 1\r\n\r\n";
        caller.write_all(request).await.unwrap();
        let answer = read_head(&mut caller).await;
        drop((caller, proxy));
        let (head, _, _) = task.await.unwrap();
        assert_eq!(head.contains("X-OdD-Request: 1"), keep, "{head}");
        assert_eq!(answer.contains("X-OdD-Answer: 1"), keep, "{answer}");
        assert!(head.to_lowercase().contains("x-odd-request: 1"), "{head}");
    }
}

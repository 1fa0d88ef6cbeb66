//! Interim answers (1xx) on their way back: what a server says before its answer.

use crate::world::{Proxy, Script, full, http2_caller, inbound, outbound, raw, read_head, until};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nconnection: x-hop\r\n\
    x-hop: 1\r\n\r\n";
/// The same behind the proxy.
const HEARD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that answers each request with a hint, says which request that was, and goes on only when
/// it is told to.
async fn hinting() -> (SocketAddr, mpsc::UnboundedSender<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, mut may) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            let head = read_head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap().to_owned();
            stream.write_all(HINT.as_bytes()).await.unwrap();
            may.recv().await;
            let of = format!("HTTP/1.1 200 OK\r\nx-of: {path}\r\ncontent-length: 2\r\n\r\nok");
            stream.write_all(of.as_bytes()).await.unwrap();
        }
    });
    (address, go_on)
}

async fn hear(caller: &mut TcpStream, expected: &str) {
    let mut said = vec![0; expected.len()];
    caller.read_exact(&mut said).await.unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), expected);
}

/// The rest of an answer with this body.
async fn answer(caller: &mut TcpStream) -> String {
    let head = read_head(caller).await;
    hear(caller, "ok").await;
    head
}

/// Scenario: a server gives a hint and then thinks, through an outbound proxy, an inbound one, and
/// both; on one connection of the caller, three times, the last two requests sent at once.
/// Guarantees: the hint is with the caller while the server still thinks, without what was meant for
/// the hop; each answer follows its own hint, and nothing comes twice.
#[tokio::test]
async fn a_hint_is_there_before_its_answer() {
    for way in ["outbound", "inbound", "both"] {
        let (server, go_on) = hinting().await;
        let app = (way != "outbound").then(|| Proxy::start(inbound(server)));
        let entry = app.as_ref().map_or(server, Proxy::address);
        let out = (way != "inbound").then(|| Proxy::start(outbound(&[entry])));
        let at = out.as_ref().map_or(entry, Proxy::address);
        let mut caller = TcpStream::connect(at).await.unwrap();
        let get = |path| format!("GET {path} HTTP/1.1\r\nhost: inventory\r\n\r\n");
        caller.write_all(get("/1").as_bytes()).await.unwrap();
        hear(&mut caller, HEARD).await;
        go_on.send(()).unwrap();
        assert!(answer(&mut caller).await.contains("x-of: /1"), "{way}");

        caller.write_all((get("/2") + &get("/3")).as_bytes()).await.unwrap();
        for path in ["/2", "/3"] {
            hear(&mut caller, HEARD).await;
            go_on.send(()).unwrap();
            assert!(answer(&mut caller).await.contains(&format!("x-of: {path}\r\n")), "{way}");
        }
    }
}

/// A server of HTTP/2 that gives a hint before each answer.
async fn http2_hinting() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut hint = Response::new(());
            *hint.status_mut() = StatusCode::EARLY_HINTS;
            respond.send_informational(hint).unwrap();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"ok"), true).unwrap();
        }
    });
    address
}

/// Scenario: a server gives hints to callers of HTTP/1.0 and HTTP/2; and one gives a thousand long ones
/// to a caller of HTTP/1.1, and hangs up behind its answer.
/// Guarantees: those who would not understand get the answer alone; of too many the first are handed
/// on, the rest are counted, and the answer comes.
#[tokio::test]
async fn who_gets_hints() {
    let says: &'static str = Box::leak(format!("{HINT}{DONE}").into_boxed_str());
    let proxy = Proxy::start(outbound(&[Script::start(says).await]));
    let old = raw(proxy.address(), b"GET / HTTP/1.0\r\nhost: inventory\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.") && old.contains(" 200 ") && !old.contains("103"), "{old}");

    let proxy = Proxy::start(outbound(&[http2_hinting().await]));
    let mut caller = http2_caller(proxy.address()).await;
    let request = Request::get("http://inventory/").body(full("")).unwrap();
    let response = caller.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");

    let long = format!("HTTP/1.1 102 Processing\r\nx-long: {}\r\n\r\n", "y".repeat(1_000));
    let says: &'static str = Box::leak((long.repeat(1_000) + DONE).into_boxed_str());
    let proxy = Proxy::start(outbound(&[Script::start(says).await]));
    let close = b"GET / HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n";
    let heard = raw(proxy.address(), close).await;
    let hints = heard.matches("HTTP/1.1 102 Processing").count();
    assert!((1..=16).contains(&hints), "{hints}");
    let (_, answer) = heard.rsplit_once("\r\n\r\nHTTP/1.1 200 OK").unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    let dropped = "fusebox_proxy_dropped_total{what=\"interim_answers\"}";
    until(&proxy, dropped, 1_000 - hints as u64).await;
}

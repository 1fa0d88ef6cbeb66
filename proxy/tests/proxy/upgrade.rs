//! Connections that leave HTTP: WebSocket and other upgrades, over real sockets.

use crate::shop::metric;
use crate::websocket::{Frame, echo, handshake, open};
use crate::world::{Proxy, Server, get, inbound, outbound, raw, read_head, until};
use fusebox_proxy::config::Config;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The two places that a proxy can have beside `app`.
fn places(app: SocketAddr) -> [Config; 2] {
    [outbound(&[app]), inbound(app)]
}

/// Scenario: WebSocket sessions through both kinds of listeners and through both at once: text in
/// fragments with a ping between them, empty and 1 MiB frames, a close with a code and a reason.
/// Guarantees: the handshake's headers and every frame pass unchanged both ways; the close of one
/// side closes the other.
#[tokio::test]
async fn websocket_passes() {
    let server = echo().await;
    let near = Proxy::start(inbound(server));
    let both = Proxy::start(outbound(&[near.address()]));
    let [one, other] = places(server).map(Proxy::start);
    for proxy in [&one, &other, &both] {
        let mut stream = open(proxy.address()).await;
        let long: Vec<u8> = (0..1_048_576_u32).map(|at| (at % 251) as u8).collect();
        let frames = [
            Frame::new(false, 1, b"frag"),
            Frame::new(true, 9, b"are you there"),
            Frame::new(false, 0, b"men"),
            Frame::new(true, 0, b"ted"),
            Frame::new(true, 2, b""),
            Frame::new(true, 2, &long),
            Frame::new(true, 1, &[b'x'; 200]),
        ];
        for frame in &frames {
            frame.send(&mut stream, true).await;
            assert_eq!(Frame::read(&mut stream).await.as_ref(), Some(frame));
        }
        let close = Frame::new(true, 8, b"\x03\xe9going away");
        close.send(&mut stream, true).await;
        assert_eq!(Frame::read(&mut stream).await, Some(close));
        assert_eq!(Frame::read(&mut stream).await, None, "the server closed");
    }
}

/// Scenario: a caller sends its first frame together with the handshake, and the server greets
/// together with its 101.
/// Guarantees: neither is lost, and the order stays.
#[tokio::test]
async fn early_data_of_both_sides_arrives() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let [one, other] = places(listener.local_addr().unwrap()).map(Proxy::start);
    for proxy in [one, other] {
        let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(format!("{}early", handshake("/")).as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let head = read_head(&mut server).await;
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
            connection: upgrade\r\n\r\nhello";
        server.write_all(answer.as_bytes()).await.unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"early");
        let head = read_head(&mut caller).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        caller.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
    }
}

/// Scenario: servers that answer an upgrade with 200, 401 and 426, or switch to what nobody asked
/// for, while bytes that look like a request follow the handshake.
/// Guarantees: the caller gets the answer, or 502 for a wrong switch; its connection is closed; the
/// server sees the handshake and not a byte of what followed.
#[tokio::test]
async fn a_refused_upgrade_leaks_nothing() {
    let check = async |answer: &'static str, expected: &str| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        for config in places(listener.local_addr().unwrap()) {
            let proxy = Proxy::start(config);
            let early = format!("{}GET /secret HTTP/1.1\r\nhost: x\r\n\r\n", handshake("/"));
            let address = proxy.address();
            let caller = tokio::spawn(async move { raw(address, early.as_bytes()).await });
            let (mut server, _) = listener.accept().await.unwrap();
            let head = read_head(&mut server).await;
            server.write_all(answer.as_bytes()).await.unwrap();
            let got = caller.await.unwrap();
            assert!(got.starts_with(expected), "{answer:?}: {got}");
            assert!(got.contains("connection: close\r\n"), "{answer:?}: {got}");
            assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{answer:?}: {got}");
            proxy.shutdown(Duration::from_secs(10)).await;
            let mut rest = Vec::new();
            let _ = server.read_to_end(&mut rest).await;
            assert!(rest.is_empty() && head.starts_with("GET / "), "{answer:?}: leaked");
        }
    };
    check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "HTTP/1.1 200 ").await;
    check("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 401 ").await;
    check("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 426 ").await;
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
    check(wrong, "HTTP/1.1 502 ").await;
    check("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n", "HTTP/1.1 502 ").await;
}

/// Scenario: wishes for upgrades that nobody may have: h2c beside WebSocket, another protocol, with
/// a body, without `Connection`; and one that the operator allows.
/// Guarantees: the former are answered 501 and never reach the server; the latter becomes a tunnel.
#[tokio::test]
async fn only_allowed_upgrades_are_forwarded() {
    let server = Server::echo().await;
    for config in places(server.address) {
        let proxy = Proxy::start(config);
        let check = async |headers: &str| {
            let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            let answer = raw(proxy.address(), request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 501 "), "{headers:?}: {answer}");
        };
        let asks = "connection: upgrade\r\nupgrade: websocket";
        check(&format!("{asks}, h2c\r\n")).await;
        check(&format!("{asks}\r\nupgrade: h2c\r\n")).await;
        check(&format!("{asks}\r\ncontent-length: 1\r\n\r\nx")).await;
        check("connection: upgrade\r\nupgrade: tcp\r\n").await;
        check("upgrade: websocket\r\n").await;
    }
    assert_eq!(server.requests(), 0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut config = outbound(&[listener.local_addr().unwrap()]);
    config.upgrades = vec!["tcp".into()];
    let proxy = Proxy::start(config);
    let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
    let asks = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: TCP\r\n\r\n";
    caller.write_all(asks.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert!(read_head(&mut server).await.contains("upgrade: TCP\r\n"));
    let grants = "HTTP/1.1 101 Switching Protocols\r\nupgrade: tcp\r\nconnection: upgrade\r\n\r\n";
    server.write_all(grants.as_bytes()).await.unwrap();
    assert!(read_head(&mut caller).await.starts_with("HTTP/1.1 101 "));
    // What one side says last, the other still answers.
    caller.write_all(b"question").await.unwrap();
    caller.shutdown().await.unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut got = Vec::new();
    caller.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"answer");
}

/// Scenario: a WebSocket session on an edge with room for one connection; a request meanwhile; the
/// session ends; a request after it.
/// Guarantees: the session is a success at once, in flight and a connection while it lasts, and its
/// place is free when it is over; its connection is never used again.
#[tokio::test]
async fn a_tunnel_is_counted_to_its_end() {
    let server = echo().await;
    let mut config = outbound(&[server]);
    config.limits.connections_max = 1;
    config.limits.pending_max = 0;
    let proxy = Proxy::start(config);
    let mut stream = open(proxy.address()).await;
    let edge = "{destination=\"inventory\",protocol=\"http/1.1\"";
    until(&proxy, &format!("fusebox_proxy_ended_total{edge},outcome=\"success\"}}"), 1).await;
    let in_flight = format!("fusebox_proxy_in_flight{edge}}}");
    let connections = format!("fusebox_proxy_connections{{endpoint=\"{server}\"}}");
    until(&proxy, &in_flight, 1).await;
    assert_eq!(metric(&proxy, &connections).await, 1);
    let refused = get(proxy.address(), "/").await;
    let says = "connection-overflow; edge=payment>inventory";
    assert_eq!((refused.status, refused.header("x-fusebox-refused")), (503, says));
    let frame = Frame::new(true, 1, b"still here");
    frame.send(&mut stream, true).await;
    assert_eq!(Frame::read(&mut stream).await, Some(frame));
    drop(stream);
    until(&proxy, &in_flight, 0).await;
    until(&proxy, &connections, 0).await;
    open(proxy.address()).await;
}

/// Scenario: the proxy in front of an application ends while a WebSocket session is open.
/// Guarantees: the session is in flight until then, and both sides see its end.
#[tokio::test]
async fn a_tunnel_ends_with_the_proxy() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::start(inbound(listener.local_addr().unwrap()));
    let mut caller = TcpStream::connect(proxy.address()).await.unwrap();
    caller.write_all(handshake("/").as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    let grants =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    server.write_all(grants.as_bytes()).await.unwrap();
    read_head(&mut caller).await;
    until(&proxy, "fusebox_proxy_inbound_in_flight{}", 1).await;
    proxy.shutdown(Duration::ZERO).await;
    for mut side in [caller, server] {
        let mut rest = Vec::new();
        let _ = side.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}

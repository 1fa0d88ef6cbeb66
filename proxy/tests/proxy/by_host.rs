//! One listener for all services.

use crate::shop::{metric, saw, witness};
use crate::world::{
    Answer, Caller, Proxy, Server, full, http2_caller, outbound, raw, read_head, until,
};
use fusebox_proxy::config::{Config, Outbound};
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The proxy of `payment` with a listener for `inventory`, one for `stock`, and one for both.
fn config(inventory: &Server, stock: &Server) -> Config {
    let mut config = outbound(&[inventory.address]);
    config.outbound.push(Outbound {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        host: "stock".into(),
        endpoints: vec![stock.address.into()],
    });
    config.by_host.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    config
}

/// Scenario: requests to hosts in every spelling on one connection, over HTTP/1 and HTTP/2, with and
/// without `--transparent` (nothing is redirected here).
/// Guarantees: each reaches the service that its host names, as a request of that edge.
#[tokio::test]
async fn the_host_tells_the_service() {
    let (inventory, stock) = (witness("inventory").await, witness("stock").await);
    for transparent in [false, true] {
        let proxy = Proxy::start(Config { transparent, ..config(&inventory, &stock) });
        let mut caller = Caller::connect(proxy.by_host()).await;
        for (host, expected) in [
            ("inventory", "inventory"),
            ("stock:80", "stock"),
            ("Inventory:8080", "inventory"),
            ("stock", "stock"),
        ] {
            let request = Request::get("/").header("host", host).body(full("")).unwrap();
            let answer = caller.send(request).await;
            assert_eq!(saw(&answer)["name"], expected, "{host}");
            assert_eq!(saw(&answer)["host"], host);
        }
        let mut caller = http2_caller(proxy.by_host()).await;
        for (host, expected) in [("inventory", "inventory"), ("stock", "stock")] {
            let request = Request::get(format!("http://{host}/")).version(http::Version::HTTP_2);
            let request = request.body(full("")).unwrap();
            let answer = Answer::read(caller.send_request(request).await.unwrap()).await.unwrap();
            assert_eq!(saw(&answer)["name"], expected);
        }
        for service in ["inventory", "stock"] {
            for (protocol, count) in [("http/1.1", 2), ("http/2", 1)] {
                let labels = format!("destination=\"{service}\",protocol=\"{protocol}\"");
                let line = format!("fusebox_proxy_attempts_total{{{labels},class=\"first\"}}");
                until(&proxy, &line, count).await;
            }
        }
    }
}

/// Scenario: requests to hosts that nobody knows, malformed ones, and what is no HTTP.
/// Guarantees: 404 with the reason, 400, and no connection to any server; the former are counted.
#[tokio::test]
async fn unknown_hosts() {
    let (inventory, stock) = (witness("inventory").await, witness("stock").await);
    let proxy = Proxy::start(config(&inventory, &stock));
    let mut caller = Caller::connect(proxy.by_host()).await;
    let request = Request::post("/").header("host", "nobody.example.com").body(full("x")).unwrap();
    let answer = caller.send(request).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-fusebox-policy"), "unknown-host; edge=payment>?");
    caller.closed().await;
    assert_eq!(metric(&proxy, "fusebox_proxy_policy_total{what=\"unknown-host\"}").await, 1);
    for (sent, expected) in [
        ("GET / HTTP/1.1\r\nhost: stock\r\nhost: inventory\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", "HTTP/1.1 400 "),
        ("*1\r\n$4\r\nPING\r\n", "HTTP/1.1 400 "),
    ] {
        let answer = raw(proxy.by_host(), sent.as_bytes()).await;
        assert!(answer.starts_with(expected), "{sent:?}: {answer}");
    }
    assert_eq!((inventory.connections(), stock.connections()), (0, 0));
}

/// Scenario: a WebSocket handshake at the listener for all services.
/// Guarantees: it reaches the service that its host names, and becomes a tunnel.
#[tokio::test]
async fn upgrades_by_host() {
    let (server, stock) = (crate::websocket::echo().await, witness("stock").await);
    let mut config = config(&stock, &stock);
    config.outbound[0].endpoints = vec![server.into()];
    let proxy = Proxy::start(config);
    let mut stream = TcpStream::connect(proxy.by_host()).await.unwrap();
    stream.write_all(crate::websocket::handshake("/").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let frame = crate::websocket::Frame::new(true, 1, b"hello");
    frame.send(&mut stream, true).await;
    assert_eq!(crate::websocket::Frame::read(&mut stream).await, Some(frame));
}

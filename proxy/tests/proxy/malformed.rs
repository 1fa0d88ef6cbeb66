//! Raw bytes that are no request, or that two servers could read differently.

use crate::world::{Proxy, Server, full, inbound, outbound, raw, read_head};
use fusebox_proxy::config::Config;
use http::{Request, Response};
use hyper::body::Incoming;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A body that is read on is waited for for twice as long.
const SOON: Duration = Duration::from_secs(5);

/// Scenario: malformed and doubtful requests, each followed by a second one on the same
/// connection.
/// Guarantees: each gets the status in the table, or a close without one; none of those refused
/// reaches the application, nor does what follows on their connection.
#[tokio::test]
async fn doubtful_requests_are_refused_and_closed() {
    let server =
        Server::start(|_: Request<Incoming>| async { Response::new(full("served")) }).await;
    let proxy = Proxy::start(inbound(server.address));
    let next = "GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let check = async |request: &str, expected: &str| {
        let before = server.requests();
        let answer = raw(proxy.address(), format!("{request}{next}").as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert_eq!(status, expected, "{request:?}: {answer}");
        assert_eq!(server.requests(), before, "{request:?} reached the application");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{request:?}: {answer}");
    };
    let host = "host: x\r\n";
    check("GET / HTTP/1.1\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: x y\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost: u@x\r\n\r\n", "400").await;
    check("GET / HTTP/1.1\r\nhost : x\r\n\r\n", "400").await;
    check("CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", "501").await;
    check(&format!("GET / HTTP/1.1\r\n{host}connection: upgrade\r\nupgrade: tcp\r\n\r\n"), "501")
        .await;
    check(&format!("POST / HTTP/1.1\r\n{host}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "501").await;
    check(
        &format!("POST / HTTP/1.1\r\n{host}transfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        "501",
    )
    .await;
    check(&format!("POST / HTTP/1.1\r\n{host}transfer-encoding: cow\r\n\r\n0\r\n\r\n"), "400")
        .await;
    check(
        &format!("POST / HTTP/1.1\r\n{host}content-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        "400",
    )
    .await;
    check(&format!("POST / HTTP/1.1\r\n{host}content-length: +1\r\n\r\na"), "400").await;
    check(&format!("POST / HTTP/1.0\r\n{host}transfer-encoding: chunked\r\n\r\n0\r\n\r\n"), "400")
        .await;
    check(&format!("GET / HTTP/1.1\r\n{host}x: a\0b\r\n\r\n"), "400").await;
    check(&format!("GET / HTTP/1.1\r\n{host} folded\r\n\r\n"), "400").await;
    check(&format!("GET / HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(150)), "431").await;
    check("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n", "400").await;
    check("hello\r\n\r\n", "400").await;
}

/// Scenario: requests that are answered without their body, because they are malformed, for a host that
/// nobody knows, or for the admin port; the body comes half, in half a chunk, or waits to be asked for,
/// with what looks like another request behind it.
/// Guarantees: each connection is closed with its one answer, and does not wait for the body.
#[tokio::test]
async fn what_was_not_let_in_is_not_read_on() {
    let server =
        Server::start(|_: Request<Incoming>| async { Response::new(full("served")) }).await;
    let proxy = Proxy::start(Config {
        by_host: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        ..outbound(&[server.address])
    });
    for (at, head, expected) in [
        (proxy.address(), "POST / HTTP/1.1\r\nhost: x\r\nhost: y\r\n", "HTTP/1.1 400 "),
        (proxy.by_host(), "POST / HTTP/1.1\r\nhost: nobody\r\n", "HTTP/1.1 404 "),
        (proxy.admin(), "GET /healthz HTTP/1.1\r\nhost: x\r\n", "HTTP/1.1 200 "),
    ] {
        for rest in [
            "content-length: 100\r\n\r\nabc",
            "transfer-encoding: chunked\r\n\r\n64\r\nabc",
            "content-length: 100\r\nexpect: 100-continue\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            let request = format!("{head}{rest}");
            let asked = tokio::time::timeout(SOON, raw(at, request.as_bytes())).await;
            let answer = asked.unwrap_or_else(|_| panic!("{request:?}: still open"));
            assert!(answer.starts_with(expected), "{request:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer}");
        }
    }
    assert_eq!(server.requests(), 0);
}

/// Scenario: unusual requests that are allowed.
/// Guarantees: they are served.
#[tokio::test]
async fn unusual_requests_are_served() {
    let server = Server::start(|request: Request<Incoming>| async move {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        Response::new(full(format!("{} {host}", request.uri())))
    })
    .await;
    let proxy = Proxy::start(inbound(server.address));
    let check = async |request: &str, expected: &str| {
        let answer = raw(proxy.address(), request.as_bytes()).await;
        assert!(
            answer.contains(" 200 OK\r\n") && answer.ends_with(expected),
            "{request:?}: {answer}"
        );
    };
    let close = "connection: close\r\n\r\n";
    check(&format!("GET http://y/a?b HTTP/1.1\r\nhost: x\r\n{close}"), "/a?b y").await;
    check("GET / HTTP/1.0\r\n\r\n", "/ inventory").await;
    check(&format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n{close}"), "* x").await;
    check(
        &format!("GET / HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n{close}"),
        "/ x",
    )
    .await;
    check(&format!("GET / HTTP/1.1\r\nhost: [::1]:80\r\n{close}"), "/ [::1]:80").await;
}

/// Scenario: a request with both kinds of length, in either order, and another request behind it; the
/// same behind a request on a connection that is kept. A chunked one whose body has a line of that name,
/// alone and behind a request with a length.
/// Guarantees: 400, the connection closed, and nothing of it or behind it at the application; a line of
/// the body is no field, and neither is one of another request.
#[tokio::test]
async fn two_kinds_of_length_are_refused() {
    let server =
        Server::start(|_: Request<Incoming>| async { Response::new(full("served")) }).await;
    let proxy = Proxy::start(inbound(server.address));
    let next = "GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let before = "POST /before HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na";
    let post = |lines: &str, body: &str| {
        format!("POST / HTTP/1.1\r\nhost: x\r\n{lines}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    let check = async |request: String, statuses: &[&str], arrive: usize| {
        let came = server.requests();
        let answer = raw(proxy.address(), request.as_bytes()).await;
        let found: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(found, statuses, "{request:?}: {answer}");
        assert_eq!(server.requests() - came, arrive, "{request:?}");
    };
    let (chunked, length) = ("Transfer-Encoding: chunked\r\n", "Content-Length: 1\r\n");
    for lines in [[chunked, length].concat(), [length, chunked].concat()] {
        check(post(&lines, "a") + next, &["400"], 0).await;
    }
    let part = format!("--x\r\n{length}\r\na\r\n--x--");
    check(post(chunked, &part) + next, &["200", "200"], 2).await;
    check(before.to_owned() + &post(chunked, "a") + next, &["200", "200", "200"], 3).await;

    let mut kept = TcpStream::connect(proxy.address()).await.unwrap();
    let came = server.requests();
    kept.write_all(b"GET /before HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_head(&mut kept).await.starts_with("HTTP/1.1 200"));
    kept.read_exact(&mut [0; "served".len()]).await.unwrap();
    kept.write_all((post(&[length, chunked].concat(), "a") + next).as_bytes()).await.unwrap();
    assert!(read_head(&mut kept).await.starts_with("HTTP/1.1 400"));
    assert_eq!(server.requests() - came, 1);
}

//! Callers of HTTP/2 before servers that have none.

use crate::shop::{settings, under, witness};
use crate::world::{Answer, Body, Caller, Proxy, chunked, full, http2_caller, inbound, outbound};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What came first on a connection that wants HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a server of HTTP/1.1 says to that; `None`: it hangs up.
type Says = Option<&'static [u8]>;

/// A server of HTTP/1.1 that echoes what it got, and counts who wanted HTTP/2 of it.
async fn http1_server(says: Says) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 3];
            if stream.peek(&mut first).await.unwrap_or(0) == 0 {
                continue;
            }
            if PREFACE.starts_with(&first) {
                count.fetch_add(1, SeqCst);
                stream.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
                if let Some(says) = says {
                    stream.write_all(says).await.unwrap();
                }
                continue;
            }
            tokio::spawn(async move {
                let service = service_fn(async |request: Request<Incoming>| {
                    Ok::<_, Infallible>(told(request).await)
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, asked)
}

/// The request, in the answer's head and body.
async fn told(request: Request<Incoming>) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    let text = |name: &str| {
        let all = head.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        all.collect::<Vec<_>>().join("|")
    };
    let line = format!("{} {} {:?}", head.method, head.uri, head.version);
    let came = incoming.collect().await.unwrap().to_bytes();
    Response::builder()
        .header("x-line", line)
        .header("x-host", text("host"))
        .header("x-cookie", text("cookie"))
        .body(full(came))
        .unwrap()
}

/// Scenario: a caller of HTTP/2 sends requests with and without a body to a server of HTTP/1.1 that
/// answers its preface, or hangs up; in- and outbound.
/// Guarantees: each is served, by HTTP/1.1, whole; the server is asked for HTTP/2 once, and not for
/// each request; a gRPC call is answered that there is no server for it.
#[tokio::test]
async fn requests_go_down_to_http1() {
    let refusals: [Says; 4] = [
        None,
        // Python's http.server takes it for HTTP/0.9.
        Some(b"<!DOCTYPE HTML>\n<html></html>\n"),
        Some(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        Some(b"HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n"),
    ];
    for says in refusals {
        for is_inbound in [false, true] {
            let (server, asked) = http1_server(says).await;
            let config = if is_inbound { inbound(server) } else { outbound(&[server]) };
            let proxy = Proxy::start(config);
            let mut caller = http2_caller(proxy.address()).await;
            for (method, sent) in [
                (Method::GET, ""),
                (Method::POST, "hello"),
                (Method::PUT, "x"),
                (Method::GET, "asks with a body"),
            ] {
                let request = Request::builder()
                    .method(method.clone())
                    .version(Version::HTTP_2)
                    .uri("http://shop.example/a/b?c=d")
                    .header("cookie", "a=1")
                    .header("cookie", "b=2")
                    .body(if sent.len() < 6 { full(sent) } else { chunked(&[sent.as_bytes()]) });
                let answer = caller.send_request(request.unwrap()).await.unwrap();
                let answer = Answer::read(answer).await.unwrap();
                assert_eq!((answer.status, &answer.body[..]), (200, sent.as_bytes()), "{says:?}");
                assert_eq!(answer.header("x-line"), format!("{method} /a/b?c=d HTTP/1.1"));
                assert_eq!(answer.header("x-host"), "shop.example");
                assert_eq!(answer.header("x-cookie"), "a=1; b=2");
            }
            let call = Request::post("http://shop.example/s/m")
                .version(Version::HTTP_2)
                .header("content-type", "application/grpc")
                .body(full(""));
            let answer = caller.send_request(call.unwrap()).await.unwrap();
            let answer = Answer::read(answer).await.unwrap();
            assert_eq!(answer.header("grpc-status"), "14", "{says:?}");
            assert!(answer.header("grpc-message").contains("HTTP/1 only"), "{answer:?}");
            assert_eq!(asked.load(SeqCst), 1, "{says:?}");
        }
    }
}

/// Scenario: the policy wants HTTP/2 of a server that has none, for callers of HTTP/1.1.
/// Guarantees: they are served all the same, and the server is asked once.
#[tokio::test]
async fn an_upgrade_that_is_not_to_be_had() {
    let (server, asked) = http1_server(None).await;
    let policy = settings("{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}");
    let proxy = Proxy::start(under(outbound(&[server]), &policy));
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..3 {
        let answer = caller.get("/a").await;
        assert_eq!((answer.status, answer.header("x-line")), (200, "GET /a HTTP/1.1"));
    }
    assert_eq!(asked.load(SeqCst), 1);
}

/// Scenario: one connection is allowed; a caller of HTTP/2 before a server of HTTP/1.1, whose connection
/// is kept.
/// Guarantees: each request is served: that the server is asked for HTTP/2 costs nobody a place.
#[tokio::test]
async fn one_place_is_enough() {
    let (server, _) = http1_server(None).await;
    let mut config = outbound(&[server]);
    config.limits.connections_max = 1;
    let proxy = Proxy::start(config);
    let mut caller = http2_caller(proxy.address()).await;
    for _ in 0..3 {
        let request = Request::get("http://shop.example/").version(Version::HTTP_2);
        let answer = caller.send_request(request.body(full("")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}

/// Scenario: a server of HTTP/2 hangs up before its greeting, as one does that is about to end, and is
/// there again; a gRPC call each time.
/// Guarantees: the first is answered that there is no server; the second is served, at once.
#[tokio::test]
async fn a_restart_is_not_taken_for_http1() {
    let server = witness("inventory").await;
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = door.local_addr().unwrap();
    let behind = server.address;
    tokio::spawn(async move {
        drop(door.accept().await.unwrap());
        let (mut caller, _) = door.accept().await.unwrap();
        let mut to = tokio::net::TcpStream::connect(behind).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut caller, &mut to).await;
    });
    let proxy = Proxy::start(outbound(&[address]));
    let mut caller = http2_caller(proxy.address()).await;
    for expected in ["14", ""] {
        let call = Request::post("http://shop.example/s/m")
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(full(""));
        let answer = caller.send_request(call.unwrap()).await.unwrap();
        assert_eq!(Answer::read(answer).await.unwrap().header("grpc-status"), expected);
    }
}

//! Connections to servers: kept, lost, limited, given up.

use crate::world::{Caller, Proxy, Server, full, get, http2_caller, outbound, read_head};
use http::{Method, Request};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Scenario: many callers, one after the other.
/// Guarantees: the server sees one connection.
#[tokio::test]
async fn a_connection_is_kept() {
    let server = Server::echo().await;
    let proxy = Proxy::start(outbound(&[server.address]));
    for _ in 0..20 {
        assert_eq!(get(proxy.address(), "/").await.status, 200);
    }
    assert_eq!((server.requests(), server.connections()), (20, 1));
}

/// A server that answers the first request on each connection, and closes it when it has read the
/// second: as if it had closed the idle connection just when that one came.
async fn closing_server() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                seen.send(read_head(&mut stream).await).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                let mut first = [0];
                let _ = stream.read(&mut first).await;
            });
        }
    });
    (address, requests)
}

/// Scenario: a kept connection dies under the request that uses it again.
/// Guarantees: an idempotent request is sent again, once, with its body, and its caller never
/// knows; any other is answered 502, and not sent twice.
#[tokio::test]
async fn a_kept_connection_dies_under_a_request() {
    for (method, body, expected) in [
        (Method::GET, "", 200),
        (Method::DELETE, "", 200),
        (Method::POST, "", 502),
        (Method::PUT, "x", 200),
        (Method::PATCH, "x", 502),
    ] {
        let (server, mut requests) = closing_server().await;
        let proxy = Proxy::start(outbound(&[server]));
        let mut caller = Caller::connect(proxy.address()).await;
        assert_eq!(caller.get("/first").await.status, 200);
        assert!(requests.recv().await.unwrap().starts_with("GET /first "));
        let request = Request::builder().method(method.clone()).uri("/second");
        let answer = caller.send(request.body(full(body)).unwrap()).await;
        assert_eq!(answer.status, expected, "{method} {body:?}");
        if expected == 200 {
            assert!(requests.recv().await.unwrap().starts_with(&format!("{method} /second ")));
        } else {
            assert_eq!(
                answer.header("x-fusebox-failure"),
                "stale-connection; edge=payment>inventory"
            );
        }
        assert!(requests.try_recv().is_err(), "sent once too often");
    }
}

/// Scenario: one connection is allowed and two requests may wait; five come while the server
/// thinks.
/// Guarantees: the first is served, two wait and are served in their turn, two are refused with
/// the reason, and there is never a second connection.
#[tokio::test]
async fn limits_refuse_and_do_not_hang() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    config.workers = 2;
    config.limits.connections_max = 1;
    config.limits.pending_max = 2;
    let proxy = Proxy::start(config);
    let address = proxy.address();
    let first = tokio::spawn(get_owned(address, "/first"));
    assert_eq!(arrivals.recv().await.unwrap(), "/first");
    let others: Vec<_> = (0..4).map(|_| tokio::spawn(get_owned(address, "/other"))).collect();
    let mut refused = 0;
    let mut waiting = Vec::new();
    for other in others {
        waiting.push(other);
    }
    // Two of the four are answered at once, before the server has answered anything.
    while refused < 2 {
        let (answer, _, rest) = futures_util::future::select_all(waiting).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-fusebox-refused"), "pending-overflow; edge=payment>inventory");
        assert_eq!(answer.header("x-envoy-ratelimited"), "true");
        assert!(!answer.headers.contains_key("retry-after"));
        waiting = rest;
        refused += 1;
    }
    gate.add_permits(3);
    assert_eq!(first.await.unwrap().status, 200);
    for other in waiting {
        assert_eq!(other.await.unwrap().status, 200);
    }
    assert_eq!((server.requests(), server.connections()), (3, 1));
}

async fn get_owned(address: SocketAddr, path: &'static str) -> crate::world::Answer {
    get(address, path).await
}

/// Scenario: a caller waits in the queue and gives up; another one behind it does not.
/// Guarantees: the place is free at once, and the connection goes to the one that still waits.
#[tokio::test]
async fn who_gives_up_leaves_the_queue() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    config.limits.connections_max = 1;
    config.limits.pending_max = 1;
    let proxy = Proxy::start(config);
    let address = proxy.address();
    let first = tokio::spawn(get_owned(address, "/first"));
    assert_eq!(arrivals.recv().await.unwrap(), "/first");
    let given_up = tokio::spawn(get_owned(address, "/given-up"));
    until_pending(&proxy, 1).await;
    given_up.abort();
    until_pending(&proxy, 0).await;
    let patient = tokio::spawn(get_owned(address, "/patient"));
    until_pending(&proxy, 1).await;
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(patient.await.unwrap().status, 200);
    assert_eq!(arrivals.recv().await.unwrap(), "/patient");
    assert!(arrivals.try_recv().is_err());
}

/// Asks the admin port until so many requests wait.
async fn until_pending(proxy: &Proxy, pending: u64) {
    let mut admin = Caller::connect(proxy.admin()).await;
    loop {
        let answer = admin.get("/breakers").await;
        let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        if page["breakers"][0]["endpoints"][0]["pending"] == pending {
            return;
        }
    }
}

/// Scenario: a caller hangs up while the server thinks, before a byte of the answer and in the
/// middle of it.
/// Guarantees: the server sees its connection close: nobody works for a caller that has left.
#[tokio::test]
async fn a_caller_that_leaves_is_noticed_upstream() {
    for says in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(outbound(&[listener.local_addr().unwrap()]));
        let mut caller = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\nhost: inventory\r\n\r\n").await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        read_head(&mut server).await;
        server.write_all(says.as_bytes()).await.unwrap();
        if !says.is_empty() {
            read_head(&mut caller).await;
        }
        drop(caller);
        let mut rest = [0];
        let end = server.read(&mut rest).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// An HTTP/2 server, frame by frame: it answers the first request of each connection, and at the
/// second says `GOAWAY`: it did not look at it.
async fn goaway_server() -> (SocketAddr, mpsc::UnboundedReceiver<u32>) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut preface = [0; 24];
                stream.read_exact(&mut preface).await.unwrap();
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                loop {
                    let mut head = [0; 9];
                    if stream.read_exact(&mut head).await.is_err() {
                        return;
                    }
                    let [_, high, low, kind, flags, id @ ..] = head;
                    let mut payload = vec![0; usize::from(high) << 8 | usize::from(low)];
                    stream.read_exact(&mut payload).await.unwrap();
                    let id = u32::from_be_bytes(id);
                    if kind == HEADERS {
                        seen.send(id).unwrap();
                    }
                    let is_over = matches!(kind, HEADERS | DATA) && flags & 1 == 1;
                    match (kind, id) {
                        (SETTINGS, _) if flags == 0 => {
                            stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
                        }
                        // `:status: 200`, the end of headers and stream.
                        (_, 1) if is_over => {
                            stream.write_all(&frame(HEADERS, 5, 1, &[0x88])).await.unwrap();
                        }
                        (_, 3) if is_over => {
                            let last_stream_1 = [0, 0, 0, 1, 0, 0, 0, 0];
                            stream.write_all(&frame(7, 0, 0, &last_stream_1)).await.unwrap();
                        }
                        _ => (),
                    }
                }
            });
        }
    });
    (address, requests)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[0, 0, len, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// Scenario: an HTTP/2 server goes away, and says that it did not look at a request: one without
/// a body, one whose body was read ahead, and one whose body only passed through.
/// Guarantees: the former are sent again on a new connection, whatever their method; the last one
/// is answered 502.
#[tokio::test]
async fn what_a_server_did_not_look_at_is_sent_again() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    for (body, is_traced, expected) in [("", false, 200), ("body", true, 200), ("body", false, 502)]
    {
        let (server, mut requests) = goaway_server().await;
        let proxy = Proxy::start(outbound(&[server]));
        let mut caller = http2_caller(proxy.address()).await;
        for expected in [200, expected] {
            let mut request = Request::post("http://inventory/");
            if is_traced {
                request = request.header("traceparent", TRACE);
            }
            let response = caller.send_request(request.body(full(body)).unwrap()).await.unwrap();
            assert_eq!(response.status(), expected, "{body:?}, traced: {is_traced}");
        }
        assert_eq!((requests.recv().await, requests.recv().await), (Some(1), Some(3)));
        assert_eq!(requests.try_recv().ok(), (expected == 200).then_some(1));
    }
}

/// Scenario: two HTTP/2 requests are allowed at once, and three come.
/// Guarantees: the third is refused at once with the reason; two connections are never opened for
/// what one can carry.
#[tokio::test]
async fn http2_streams_are_limited() {
    let (server, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[server.address]);
    config.limits.streams_max = 2;
    let proxy = Proxy::start(config);
    let caller = http2_caller(proxy.address()).await;
    let call = || {
        let mut caller = caller.clone();
        let request = Request::get("http://inventory/").body(full("")).unwrap();
        tokio::spawn(async move { caller.send_request(request).await.unwrap() })
    };
    let allowed = [call(), call()];
    arrivals.recv().await.unwrap();
    arrivals.recv().await.unwrap();
    let refused = call().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(
        refused.headers()["x-fusebox-refused"],
        "connection-overflow; edge=payment>inventory"
    );
    gate.add_permits(2);
    for allowed in allowed {
        assert_eq!(allowed.await.unwrap().status(), 200);
    }
    assert_eq!(server.connections(), 1);
}

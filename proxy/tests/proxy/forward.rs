//! What passes through unharmed.

use crate::world::{
    Answer, Caller, Proxy, Server, chunked, dead_address, full, get, http2_caller, inbound,
    outbound,
};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use std::convert::Infallible;
use tokio::sync::mpsc;

/// Scenario: bodies of every length and framing go there and back, on one kept connection.
/// Guarantees: they arrive as they were sent.
#[tokio::test]
async fn http1_bodies_pass_both_ways() {
    let server = Server::echo().await;
    for config in [outbound(&[server.address]), inbound(server.address)] {
        let proxy = Proxy::start(config);
        let mut caller = Caller::connect(proxy.address()).await;
        for len in [0, 1, 100, 4_095, 4_096, 4_097, 70_000, 3_000_000] {
            let sent = Bytes::from((0..len).map(|at| at as u8).collect::<Vec<_>>());
            for is_chunked in [false, true] {
                for traceparent in
                    [None, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")]
                {
                    let mut request = Request::post("/echo?x=1");
                    if let Some(value) = traceparent {
                        request = request.header("traceparent", value);
                    }
                    let body = if is_chunked {
                        chunked(&sent.chunks(1_000).collect::<Vec<_>>())
                    } else {
                        full(sent.clone())
                    };
                    let answer = caller.send(request.body(body).unwrap()).await;
                    assert_eq!(answer.status, 200);
                    assert!(answer.body == sent, "{len} bytes, chunked: {is_chunked}");
                }
            }
        }
    }
    assert_eq!(server.connections(), 2, "one a proxy");
}

/// Scenario: answers that have no body, or only the promise of one, among others on a connection.
/// Guarantees: each keeps its head, and the connection stays usable.
#[tokio::test]
async fn answers_without_a_body() {
    let server = Server::start(|request: Request<Incoming>| async move {
        let status = request.uri().path()[1..].parse().unwrap();
        let body = if status == 200 { "hello" } else { "" };
        Response::builder().status::<u16>(status).header("x-a", "1").body(full(body)).unwrap()
    })
    .await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..2 {
        let head = Request::head("/200").body(full("")).unwrap();
        let answer = caller.send(head).await;
        assert_eq!((answer.header("content-length"), answer.body.len()), ("5", 0));
        for status in [204, 304, 200, 404] {
            let answer = caller.get(&format!("/{status}")).await;
            assert_eq!((answer.status, answer.header("x-a")), (status, "1"));
        }
    }
    assert_eq!(server.connections(), 1);
}

/// Scenario: a request with headers of every kind, through an outbound proxy.
/// Guarantees: the server sees what was meant for it, and nothing that was meant for the hop or
/// forged.
#[tokio::test]
async fn the_server_sees_what_is_meant_for_it() {
    let server = Server::start(|request: Request<Incoming>| async move {
        let mut seen: Vec<String> = request
            .headers()
            .iter()
            .map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()))
            .collect();
        seen.sort();
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
        Response::new(full(format!("{line}\n{}", seen.join("\n"))))
    })
    .await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let request = Request::builder()
        .method(Method::DELETE)
        .uri("/a/b?c=d")
        .header("host", "inventory:8080")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("x-envoy-attempt-count", "3")
        .header("cookie", "a=b")
        .header("authorization", "Bearer x")
        .body(full(""))
        .unwrap();
    let answer = Caller::connect(proxy.address()).await.send(request).await;
    let expected =
        "DELETE /a/b?c=d HTTP/1.1\nauthorization: Bearer x\ncookie: a=b\nhost: inventory:8080";
    assert_eq!(answer.body, expected);
}

/// Scenario: a gRPC-like call over HTTP/2 whose both sides stream by turns, with trailers at the
/// end.
/// Guarantees: each message passes when it is sent, not when the body is over, and the trailers
/// arrive.
#[tokio::test]
async fn http2_streams_by_turns_with_trailers() {
    let server = Server::start(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        let mut body = request.into_body();
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(bytes) = frame.into_data() else { continue };
                sender.send(Ok(Frame::data(bytes))).await.unwrap();
            }
            let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            sender.send(Ok(Frame::trailers(trailers.into_iter().collect()))).await.unwrap();
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        Response::builder()
            .header("content-type", "application/grpc")
            .body(StreamBody::new(stream).boxed())
            .unwrap()
    })
    .await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let mut caller = http2_caller(proxy.address()).await;
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let request = Request::post("http://inventory/shop.Inventory/Reserve")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        .body(StreamBody::new(stream).boxed())
        .unwrap();
    let response = caller.send_request(request).await.unwrap();
    let mut body = response.into_body();
    for turn in 0..5_u8 {
        let message = Bytes::from(vec![0, 0, 0, 0, 1, turn]);
        sender.send(Ok(Frame::data(message.clone()))).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(sender);
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

/// Scenario: 200 callers at once, HTTP/1 and HTTP/2, through two workers to two instances.
/// Guarantees: each gets its own answer, and both instances serve.
#[tokio::test]
async fn many_callers_at_once() {
    let servers = [Server::echo().await, Server::echo().await];
    let mut config = outbound(&[servers[0].address, servers[1].address]);
    config.workers = 2;
    let proxy = Proxy::start(config);
    let address = proxy.address();
    let http2 = http2_caller(address).await;
    let callers = (0..100).map(|number: usize| {
        let mut http2 = http2.clone();
        tokio::spawn(async move {
            let mut http1 = Caller::connect(address).await;
            for turn in 0..5 {
                let text = format!("{number} {turn}");
                let request = Request::post("/").body(full(text.clone())).unwrap();
                assert_eq!(http1.send(request).await.body, text);
                let request = Request::post("http://inventory/").body(full(text.clone())).unwrap();
                let response = http2.send_request(request).await.unwrap();
                assert_eq!(Answer::read(response).await.unwrap().body, text);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let served: Vec<usize> = servers.iter().map(Server::requests).collect();
    assert_eq!(served.iter().sum::<usize>(), 1_000);
    assert!(served.iter().all(|&served| 200 < served), "{served:?}");
}

/// Scenario: nobody listens at the endpoint, or a server answers what is no HTTP, or hangs up.
/// Guarantees: 503 or 502 that says whose failure it was; gRPC callers get `UNAVAILABLE`.
#[tokio::test]
async fn failures_say_whose_they_are() {
    let dead = dead_address().await;
    let proxy = Proxy::start(outbound(&[dead]));
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-fusebox-failure"), "connect; edge=payment>inventory");
    assert!(!answer.headers.contains_key("x-fusebox-refused"), "a failure is no refusal");

    let mut http2 = http2_caller(proxy.address()).await;
    let request =
        Request::post("http://inventory/a.B/C").header("content-type", "application/grpc");
    let response = http2.send_request(request.body(full("")).unwrap()).await.unwrap();
    let answer = Answer::read(response).await.unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, "14"));

    let proxy = Proxy::start(inbound(dead));
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-fusebox-failure"), "connect; app=inventory");

    let switches = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    for script in ["this is no HTTP\r\n\r\n", "", switches] {
        let server = crate::world::Script::start(script).await;
        let proxy = Proxy::start(outbound(&[server]));
        let answer = get(proxy.address(), "/").await;
        assert_eq!(answer.status, 502, "{script:?}");
        assert_eq!(answer.header("x-fusebox-failure"), "no-answer; edge=payment>inventory");
    }
}

//! What a refused caller gets, from the command to the header.

use crate::collector::{Collector, Session};
use crate::world::{Answer, Caller, Proxy, Server, chunked, full, http2_caller, outbound, raw};
use fusebox_proto::command::{AckResult, Action, BreakerState, Verb};
use http::{Request, Response};
use hyper::body::Incoming;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// A proxy on the edge from payment to an inventory that fails where the path says so.
async fn world() -> (Server, Collector, Proxy, Session) {
    let server = Server::start(|request: Request<Incoming>| async move {
        let status = if request.uri().path() == "/fails" { 500 } else { 200 };
        Response::builder().status(status).body(full("")).unwrap()
    })
    .await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let session = collector.attached().await;
    (server, collector, proxy, session)
}

/// Scenario: an operator opens an edge under way; plain, gRPC and retrying callers call; then it
/// is reset.
/// Guarantees: acknowledged, it refuses at once with the answers of the contract, on a connection
/// that stays usable; the server gets nothing; reset, it serves at once.
#[tokio::test]
async fn an_open_edge_refuses_by_the_contract() {
    let (server, _collector, proxy, mut session) = world().await;
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(caller.get("/").await.status, 200);
    assert_eq!(session.trip(1, Action::Open).await.result, AckResult::Applied);

    let answer = caller.get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-fusebox-refused"), "forced-open; edge=payment>inventory");
    assert_eq!(answer.header("x-envoy-ratelimited"), "true");
    assert!(!answer.headers.contains_key("retry-after"));
    assert!(!answer.headers.contains_key("connection"));

    // The retry of a refused attempt is refused so that nobody repeats it.
    let traced = || Request::get("/").header("traceparent", TRACE).body(full("")).unwrap();
    assert_eq!(caller.send(traced()).await.status, 503);
    let answer = caller.send(traced()).await;
    assert_eq!(answer.status, 424);
    assert_eq!(
        answer.header("x-fusebox-refused"),
        "retries-muted; edge=payment>inventory; original=503"
    );
    assert_eq!(answer.header("x-envoy-ratelimited"), "true");

    let mut http2 = http2_caller(proxy.address()).await;
    let request =
        Request::post("http://inventory/a.B/C").header("content-type", "application/grpc");
    let response = http2.send_request(request.body(full("12345")).unwrap()).await.unwrap();
    let answer = Answer::read(response).await.unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, "14"));
    assert_eq!(answer.header("content-type"), "application/grpc");
    assert_eq!(answer.header("grpc-retry-pushback-ms"), "-1");
    assert_eq!(answer.header("x-envoy-ratelimited"), "true");
    assert_eq!(answer.header("x-fusebox-refused"), "forced-open; edge=payment>inventory");
    assert!(answer.trailers.is_empty() && answer.body.is_empty(), "trailers alone");

    assert_eq!(server.requests(), 1);
    let ack = session.command(2, Verb::Reset { at_once: true }).await;
    assert_eq!(ack.result, AckResult::Applied);
    assert_eq!(caller.get("/").await.status, 200);
}

/// Scenario: retries are muted, and a caller repeats what failed, with a body.
/// Guarantees: first attempts pass; the retry is answered 424 with the status of the attempt that
/// it repeats, and the server does not see it.
#[tokio::test]
async fn muted_retries_get_424() {
    let (server, _collector, proxy, mut session) = world().await;
    assert_eq!(
        session.trip(1, Action::MuteRetries { percent: 0 }).await.result,
        AckResult::Applied
    );
    let mut caller = Caller::connect(proxy.address()).await;
    let attempt = |span: &str| {
        let traceparent = TRACE.replace("00f067aa0ba902b7", span);
        let request = Request::post("/fails").header("traceparent", traceparent);
        request.body(full("the same body")).unwrap()
    };
    assert_eq!(caller.send(attempt("00f067aa0ba902b7")).await.status, 500);
    for span in ["00f067aa0ba902b7", "00f067aa0ba902b8"] {
        let answer = caller.send(attempt(span)).await;
        assert_eq!(answer.status, 424, "{span}");
        assert_eq!(
            answer.header("x-fusebox-refused"),
            "retries-muted; edge=payment>inventory; original=500"
        );
    }
    // However the same bytes are cut into chunks.
    let mut in_chunks = attempt("00f067aa0ba902ba");
    *in_chunks.body_mut() = chunked(&[b"the ", b"same", b" body"]);
    assert_eq!(caller.send(in_chunks).await.status, 424);
    assert_eq!(server.requests(), 1);
    let other = Request::post("/fails")
        .header("traceparent", attempt("00f067aa0ba902b9").headers()["traceparent"].clone());
    assert_eq!(caller.send(other.body(full("another body")).unwrap()).await.status, 500);
}

/// Scenario: a refused caller sends a body: at once, slowly, larger than is read, or only after a
/// `100 Continue`.
/// Guarantees: each gets its answer; where the body was read the connection serves the next.
#[tokio::test]
async fn bodies_of_refused_requests_are_drained() {
    let (_server, _collector, proxy, mut session) = world().await;
    session.trip(1, Action::Open).await;
    let mut caller = Caller::connect(proxy.address()).await;
    for len in [1, 100_000, 5_000_000] {
        let request = Request::post("/").body(full(vec![b'x'; len])).unwrap();
        assert_eq!(caller.send(request).await.status, 503, "{len}");
    }
    let huge = Request::post("/").body(full(vec![b'x'; 40_000_000])).unwrap();
    // Its answer comes, unless it is cut off while it still sends.
    if let Ok(answer) = caller.try_send(huge).await {
        assert_eq!(answer.status, 503);
    }
    let head = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let answer = raw(proxy.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// Scenario: commands that are old, for another service, or impossible; and what is held when the
/// proxy attaches again.
/// Guarantees: each is answered with what came of it; a proxy tells a collector that forgot.
#[tokio::test]
async fn commands_are_answered_and_leases_survive_the_collector() {
    let (_server, collector, proxy, mut session) = world().await;
    assert_eq!(session.hello.service.name(), "payment");
    assert_eq!(session.hello.endpoints.destinations[0].name(), "inventory");
    assert!(session.hello.held.is_empty());
    assert_eq!(session.trip(5, Action::Open).await.result, AckResult::Applied);
    let old = session.trip(4, Action::Open).await;
    assert_eq!(old.result, AckResult::Superseded { revision: 5 });
    let stranger = session.command_to("nobody", 6, Verb::Reset { at_once: true }).await;
    assert!(matches!(stranger.result, AckResult::Rejected { .. }), "{stranger:?}");

    drop(session);
    let session = collector.attached().await;
    assert_eq!(session.hello.held[0].command.revision, 5);
    assert_eq!(session.hello.held[0].state, BreakerState::ForcedOpen);

    let address = collector.url.strip_prefix("http://").unwrap().parse().unwrap();
    drop(session);
    collector.kill().await;
    assert_eq!(crate::world::get(proxy.address(), "/").await.status, 503, "the lease stands");
    let collector = Collector::start_at(address).await;
    assert_eq!(collector.attached().await.hello.held[0].command.revision, 5);
}

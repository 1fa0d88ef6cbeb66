//! Deadlines over real sockets, with looks every few milliseconds.

use super::*;
use crate::config::{self, Config};
use crate::forwarded::Peer;
use crate::proxy::Proxy;
use fusebox_proto::ServiceId;
use http_body_util::{BodyExt, Full};
use limits::Deadlines;
use std::error::Error as _;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A head within 1 s, which a late answer has, too; an exchange 300 ms, a connection 500 ms.
const QUICK: Deadlines = Deadlines {
    sweep_interval: Duration::from_millis(100),
    head_sweeps_max: 10,
    stuck_sweeps_max: 3,
    unused_sweeps_max: 5,
};

/// Both ends of a connection: the caller's, and ours.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (caller, listener.accept().await.unwrap().0)
}

fn watch(deadlines: Deadlines) -> Arc<Watch> {
    Arc::new(Watch::new(deadlines, Arc::default()))
}

/// What a caller gets that says `bytes` and then waits, from a server that answers with the body,
/// or with why there is none.
async fn got(bytes: &str) -> String {
    let (mut caller, stream) = pair().await;
    let respond = async |request: Box<Arrived>| match request.body.collect().await {
        Ok(body) => Response::new(text(body.to_bytes())),
        Err(error) => {
            let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
            let cause = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>());
            Response::new(text(format!("{:?}", cause.unwrap().kind())))
        }
    };
    let watch = watch(QUICK);
    tokio::spawn(serve_watched(stream, Bytes::new(), watch, false, move |request| {
        Box::pin(respond(request))
    }));
    caller.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // It waits for the server to close.
    caller.read_to_string(&mut answer).await.unwrap();
    answer
}

fn text(bytes: impl Into<Bytes>) -> http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError> {
    Full::new(bytes.into()).map_err(|error| match error {}).boxed_unsync()
}

/// Scenario: a caller that says nothing, half a head, half a body, or a whole request, and waits.
/// Guarantees: the connection is closed each time; half a body gets an answer first, a whole request
/// its own.
#[tokio::test]
async fn whoever_waits_for_nothing_is_cut() {
    assert_eq!(got("").await, "");
    assert_eq!(got("GET / HTTP/1.1\r\nhost").await, "");
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
    let late = got(&format!("{head}abc")).await;
    assert!(late.starts_with("HTTP/1.1 200") && late.ends_with("TimedOut"), "{late:?}");
    let whole = got(&format!("{head}abcde")).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("abcde"), "{whole:?}");
}

/// A caller's side of a connection that answers with the path while the body is still read, and its
/// watch. Nothing but sleep and the drain ends its being awake.
async fn echo() -> (TcpStream, Arc<Watch>) {
    let (caller, stream) = pair().await;
    let forever = 1_000_000;
    let watch = watch(Deadlines {
        head_sweeps_max: forever,
        stuck_sweeps_max: forever,
        unused_sweeps_max: forever,
        ..QUICK
    });
    let shared = Arc::clone(&watch);
    tokio::spawn(serve_watched(stream, Bytes::new(), shared, false, |request| {
        let path = request.head.uri.path().to_owned();
        tokio::spawn(request.body.collect());
        std::future::ready(Response::new(text(path)))
    }));
    (caller, watch)
}

/// Waits until as many hold the watch. Awake: the test, the connection, hyper's socket and, while
/// there is one, its service's request; asleep: the test and the connection; over: the test alone.
async fn held_by(watch: &Arc<Watch>, count: usize) {
    while Arc::strong_count(watch) != count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

async fn answer(caller: &mut TcpStream, path: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(path) {
        answer.push(char::from(caller.read_u8().await.unwrap()));
    }
    answer
}

/// Scenario: a caller makes a request in two parts, waits until nothing is left of its connection
/// but the socket, and makes the next.
/// Guarantees: the connection sleeps each time, goes on each time, and ends with its caller.
#[tokio::test]
async fn a_connection_that_slept_goes_on() {
    let (mut caller, watch) = echo().await;
    for path in ["/first", "/second", "/third"] {
        let request = request(path);
        let (one, other) = request.as_bytes().split_at(9);
        caller.write_all(one).await.unwrap();
        // By then it may have been read, or not: both are right.
        tokio::time::sleep(Duration::from_millis(1)).await;
        caller.write_all(other).await.unwrap();
        let answer = answer(&mut caller, path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        held_by(&watch, 2).await;
    }
    drop(caller);
    held_by(&watch, 1).await;
}

/// Scenario: a caller sends half of a body, which ends as a head does, gets its answer before the
/// rest, and waits; the rest looks like a request. Then it makes another request.
/// Guarantees: a connection does not fall asleep in a body: the rest is no request, the other is, and
/// after that it sleeps.
#[tokio::test]
async fn a_body_does_not_become_a_request() {
    let (mut caller, watch) = echo().await;
    let (half, rest) = ("half\r\n\r\n", request("/smuggled"));
    let len = half.len() + rest.len();
    let head = format!("POST /first HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n");
    caller.write_all(format!("{head}{half}").as_bytes()).await.unwrap();
    answer(&mut caller, "/first").await;
    tokio::time::sleep(QUICK.sweep_interval * 4).await;
    caller.write_all(format!("{rest}{}", request("/second")).as_bytes()).await.unwrap();
    let answer = answer(&mut caller, "/second").await;
    assert!(!answer.contains("/smuggled"), "{answer}");
    held_by(&watch, 2).await;
}

/// Scenario: the proxy drains while connections sleep; the caller of one makes a request just
/// before, that of the other none.
/// Guarantees: the one is answered and told that it was the last; both connections are closed.
#[tokio::test]
async fn a_drain_ends_sleep() {
    for is_silent in [true, false] {
        let (mut caller, watch) = echo().await;
        caller.write_all(request("/first").as_bytes()).await.unwrap();
        answer(&mut caller, "/first").await;
        held_by(&watch, 2).await;
        // In one go with the request: nothing can come between.
        if !is_silent {
            caller.try_write(request("/second").as_bytes()).unwrap();
        }
        let long = Duration::from_secs(100);
        watch.drain().begin(fusebox_proto::Now::read().instant, long, long);
        if !is_silent {
            let answer = answer(&mut caller, "/second").await;
            assert!(answer.contains("connection: close"), "{answer}");
        }
        assert_eq!(caller.read(&mut [0]).await.unwrap(), 0);
        held_by(&watch, 1).await;
    }
}

/// Scenario: through an outbound and through an inbound listener, to a server that reads on, a caller
/// sends half of a body and then nothing; another sends it whole, and the server says nothing.
/// Guarantees: the first is answered 408, which names the request's body; the other 504, which says
/// that it was the server (the access log takes its word from there); both connections end, and the
/// caller is told so.
#[tokio::test]
async fn who_is_late_is_said() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = listener.local_addr().unwrap();
    let mut config = Config::new(ServiceId::named("payment").unwrap());
    let at = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.inbound.push(config::Inbound { listen: at, app: server.into() });
    let (host, endpoints) = ("inventory".into(), vec![server.into()]);
    config.outbound.push(config::Outbound { listen: at, host, endpoints });
    let now = fusebox_proto::Now::read();
    let proxy = Proxy::new(config, crate::policy::InForce::default(), now).unwrap();
    for (is_outbound, body) in [(true, "abc"), (false, "abc"), (true, "abcde"), (false, "abcde")] {
        let (mut caller, stream) = pair().await;
        let (peer, watch) = (Arc::new(Peer::new(None)), watch(QUICK));
        if is_outbound {
            let to = Arc::clone(&proxy.outbound[0]);
            tokio::spawn(serve_watched(stream, Bytes::new(), watch, false, move |request| {
                Arc::clone(&to).respond(Arc::clone(&peer), request)
            }));
        } else {
            let to = Arc::clone(&proxy.inbound[0]);
            tokio::spawn(serve_watched(stream, Bytes::new(), watch, false, move |request| {
                Arc::clone(&to).respond(Arc::clone(&peer), request)
            }));
        }
        let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
        caller.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let (mut from, mut got) = (listener.accept().await.unwrap().0, Vec::new());
        // A reset is an end as well.
        let _ = from.read_to_end(&mut got).await;
        assert!(got.ends_with(body.as_bytes()), "{got:?}");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        let (status, word) = match body.len() {
            5 => ("504", "idle-timeout"),
            _ => ("408", "request-body"),
        };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!("x-fusebox-failure: {word}; ")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

//! Callers that are slow, or do nothing, and what they cost.
//!
//! Memory is that of the program's own process, without what the kernel keeps for its sockets.

use crate::process::{Probe, Process, is_long, now, raise_files_max};
use crate::world::{Answer, Server, full, http2_caller, read_head};
use bytes::Bytes;
use http::{Request, Response};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A clean request meanwhile; what is not optimised is not judged by its speed.
const CLEAN_MAX: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 10_000 } else { 100 });

/// A head that is not finished is cut after 10 s; what is not optimised has more time to see to it.
const CUT_MAX: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 15 });

/// Connections come in so many waves…
const WAVES: u32 = 10;
/// … so far apart: after a second an idle one is put to sleep.
const IDLE: Duration = Duration::from_millis(1_200);

/// What a slow reader may cost.
const READER_KIB_MAX: f64 = 64.0;
/// What an idle connection may cost.
const IDLE_KIB_MAX: f64 = 12.0;
/// Of HTTP/2: 28 KiB are buffers and tables of fixed size in h2, which it cannot do without.
const IDLE_HTTP2_KIB_MAX: f64 = 32.0;

async fn proxy() -> (Server, Process) {
    raise_files_max();
    let large = Bytes::from(vec![0; 8 << 20]);
    let server = Server::start(move |request| {
        let body = if request.uri().path() == "/large" { large.clone() } else { Bytes::new() };
        async { Response::new(full(body)) }
    })
    .await;
    let proxy = Process::start(server.address).await;
    // It has its first buffers from here on.
    clean(&proxy).await;
    (server, proxy)
}

/// Twenty clean requests in a row; the proxy has got to all that it had to do before they end.
async fn clean(proxy: &Process) -> (Duration, Duration) {
    let probe = Probe::start(proxy.address);
    let count = probe.count();
    while count.load(Relaxed) < 20 {
        tokio::task::yield_now().await;
    }
    probe.end().await
}

async fn ask(proxy: &Process, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
    stream
}

/// What each of `count` connections costs that `open` opens, KiB, beside clean requests.
async fn cost_kib<T>(name: &str, proxy: &Process, count: u32, open: impl AsyncFn() -> T) -> f64 {
    let before = proxy.memory_kib();
    let mut streams = Vec::new();
    for wave in 0..WAVES {
        for _ in 0..count / WAVES {
            streams.push(open().await);
        }
        if wave + 1 < WAVES {
            tokio::time::sleep(IDLE).await;
            // However busy the machine: the proxy has had its turn.
            clean(proxy).await;
        }
    }
    let (most, longest) = clean(proxy).await;
    let after = proxy.memory_kib();
    let each = after.saturating_sub(before) as f64 / f64::from(count);
    println!(
        "{count} {name}: {before} to {after} KiB, {each:.1} KiB each, \
         clean {most:?} (90 %) to {longest:?}"
    );
    assert!(most < CLEAN_MAX, "{most:?}");
    drop(streams);
    each
}

/// Scenario: callers that ask for 8 MB, read the head of the answer, and then nothing.
/// Guarantees: each costs at most 64 KiB, and clean requests are answered meanwhile.
#[tokio::test]
async fn slow_readers_are_cheap() {
    let (_server, proxy) = proxy().await;
    let count = if is_long() { 300 } else { 100 };
    let open = || ask(&proxy, "/large");
    let each = cost_kib("slow readers of 8 MB", &proxy, count, open).await;
    assert!(each <= READER_KIB_MAX, "{each:.1} KiB");
}

/// Scenario: connections that carried a request and then none.
/// Guarantees: each costs at most 12 KiB, and clean requests are answered meanwhile.
#[tokio::test]
async fn idle_connections_are_cheap() {
    let (_server, proxy) = proxy().await;
    let count = if is_long() { 10_000 } else { 1_000 };
    let each = cost_kib("idle connections", &proxy, count, || ask(&proxy, "/")).await;
    assert!(each <= IDLE_KIB_MAX, "{each:.1} KiB");
}

/// Scenario: HTTP/2 connections that carried a request and then none; their streams are over, but
/// both sides keep what they know of each other's headers.
/// Guarantees: each costs at most 32 KiB, and clean requests are answered meanwhile.
#[tokio::test]
async fn idle_http2_connections_are_cheap() {
    let (_server, proxy) = proxy().await;
    let count = if is_long() { 10_000 } else { 1_000 };
    let open = async || {
        let mut caller = http2_caller(proxy.address).await;
        let request = Request::get("http://x/").body(full("")).unwrap();
        let response = caller.send_request(request).await.unwrap();
        assert_eq!(Answer::read(response).await.unwrap().status, 200);
        caller
    };
    let each = cost_kib("idle HTTP/2 connections", &proxy, count, open).await;
    assert!(each <= IDLE_HTTP2_KIB_MAX, "{each:.1} KiB");
}

/// Scenario: a caller sends half of a body to a server that waits for all of it, and then nothing.
/// (With `FUSEBOX_LONG=1` only: it takes five minutes. The tests of `connection` do the same in less.)
/// Guarantees: after five minutes it is answered 408, and its connection is closed.
#[tokio::test]
async fn half_a_body_is_answered_408() {
    if !is_long() {
        return println!("skipped: takes five minutes; FUSEBOX_LONG=1 runs it");
    }
    let (server, start) = (Server::echo().await, now());
    let proxy = Process::start(server.address).await;
    let mut caller = TcpStream::connect(proxy.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n";
    caller.write_all(format!("{head}abc").as_bytes()).await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    let took_s = (now() - start).as_secs();
    println!("answered after {took_s} s");
    assert!(answer.starts_with("HTTP/1.1 408") && (295..330).contains(&took_s), "{answer}");
}

/// Scenario: callers whose head comes byte by byte and never ends, and some that say nothing.
/// Guarantees: all are cut, soon after the time for a head; clean requests are answered meanwhile.
#[tokio::test]
async fn slow_heads_are_cut() {
    let (_server, proxy) = proxy().await;
    let drip = async |is_silent: bool| {
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let dripping = async {
            let mut every = tokio::time::interval(Duration::from_millis(500));
            let mut bytes = b"GET / HTTP/1.1\r\nhost: ".iter().chain(std::iter::repeat(&b'x'));
            while !is_silent && to.write_u8(*bytes.next().unwrap()).await.is_ok() {
                every.tick().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            read = from.read_u8() => assert!(read.is_err(), "a slow head was answered"),
            () = dripping => (),
        }
    };
    let drips = (0..100).map(|n| drip(n % 2 == 0));
    let all = futures_util::future::join_all(drips);
    let probing = async {
        let (most, _) = clean(&proxy).await;
        assert!(most < CLEAN_MAX, "{most:?}");
    };
    let both = futures_util::future::join(all, probing);
    tokio::time::timeout(CUT_MAX, both).await.expect("all are cut");
}

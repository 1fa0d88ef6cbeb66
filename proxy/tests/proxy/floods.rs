//! HTTP/2 used as a weapon: frames that cost the sender nothing, written raw, without end.

use crate::process::{Probe, Process, is_long};
use crate::wire::frames::{self, ACK, END_HEADERS, END_STREAM, PADDED, frame, get, headers};
use crate::wire::hpack;
use crate::world::{Server, full};
use bytes::Bytes;
use http::Response;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Frames of one flood.
fn frames_max() -> u32 {
    if is_long() { 200_000 } else { 1_000 }
}
/// What a flood may add to the memory of the proxy.
const GROWTH_KIB_MAX: u64 = 8 * 1024;
/// A clean request meanwhile, half of the time; what is not optimised is not judged by its speed.
const CLEAN_MAX: Duration =
    Duration::from_millis(if cfg!(debug_assertions) { 10_000 } else { 100 });
/// Clean requests beside each flood, at least.
const CLEAN_MIN: usize = 3;

/// What is sent again and again, given the number of its kind, behind `opening`.
struct Flood {
    name: &'static str,
    opening: Vec<u8>,
    round: fn(u32) -> Vec<u8>,
}

fn flood(name: &'static str, opening: Vec<u8>, round: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, opening: [frames::opening(), opening].concat(), round }
}

/// The stream of the n-th request.
const fn stream(n: u32) -> u32 {
    2 * n + 1
}

/// A head of POST, and its stream stays open.
fn open(stream: u32) -> Vec<u8> {
    let fields =
        [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/held")];
    headers(0, stream, &fields)
}

fn settings(name: u16, value: u32) -> Vec<u8> {
    let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(frames::SETTINGS, 0, 0, &payload)
}

/// A block that puts 4,000 bytes into the table and then names them 16,000 times: 64 MB of headers.
fn bomb(stream: u32) -> Vec<u8> {
    let mut block = hpack::encode([
        (&b":method"[..], &b"GET"[..]),
        (b":scheme", b"http"),
        (b":authority", b"x"),
        (b":path", b"/"),
    ]);
    let literal = hpack::encode([(&b"a"[..], "b".repeat(4_000).as_bytes())]);
    block.push(0x40);
    block.extend_from_slice(&literal[1..]);
    block.extend(std::iter::repeat_n(0xbe, 12_000));
    frame(frames::HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

fn heads() -> Vec<Flood> {
    let torn = frame(frames::HEADERS, 0, 1, &[0x82, 0x86]);
    vec![
        flood("rapid reset", vec![], |n| {
            [get(stream(n), "/"), frame(frames::RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat()
        }),
        flood("rapid reset of bodies", vec![], |n| {
            [open(stream(n)), frame(frames::RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat()
        }),
        flood("reset by a wrong frame", vec![], |n| {
            let wrong = frame(frames::WINDOW_UPDATE, 0, stream(n), &[0, 0, 0, 0]);
            [open(stream(n)), wrong].concat()
        }),
        flood("many streams", vec![], |n| open(stream(n))),
        flood("many streams of no bytes back", settings(4, 0), |n| get(stream(n), "/large")),
        flood("CONTINUATION", torn.clone(), |_| {
            let block = hpack::encode([(&b"a"[..], &[b'b'; 1_000][..])]);
            frame(frames::CONTINUATION, 0, 1, &block)
        }),
        flood("empty CONTINUATION", torn, |_| frame(frames::CONTINUATION, 0, 1, &[])),
        flood("HPACK bomb", vec![], |n| bomb(stream(n))),
        flood("large header list", vec![], |n| {
            let value = "b".repeat(8_000);
            let mut fields =
                vec![(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")];
            fields.extend([("a", &*value), ("b", &*value)]);
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let block = hpack::encode(fields);
            let mut bytes = frame(frames::HEADERS, END_STREAM, stream(n), &block[..16_000]);
            for _ in 0..6 {
                let more = hpack::encode([(&b"c"[..], value.as_bytes())]);
                bytes.extend(frame(frames::CONTINUATION, 0, stream(n), &more));
            }
            bytes.extend(frame(frames::CONTINUATION, END_HEADERS, stream(n), &block[16_000..]));
            bytes
        }),
        flood("trailers", vec![], |n| {
            [open(stream(n)), headers(END_STREAM, stream(n), &[("a", "b")])].concat()
        }),
    ]
}

fn others() -> Vec<Flood> {
    vec![
        flood("SETTINGS", vec![], |_| frame(frames::SETTINGS, 0, 0, &[])),
        flood("SETTINGS that change a window", open(1), |n| settings(4, n % 2 * 65_535)),
        flood("SETTINGS that change a table", vec![], |n| settings(1, n % 2 * 4_096)),
        flood("SETTINGS acknowledged", vec![], |_| frame(frames::SETTINGS, ACK, 0, &[])),
        flood("PING", vec![], |n| {
            frame(frames::PING, 0, 0, &[n.to_be_bytes(), n.to_be_bytes()].concat())
        }),
        flood("PING acknowledged", vec![], |_| frame(frames::PING, ACK, 0, &[0; 8])),
        flood("WINDOW_UPDATE by one", open(1), |n| {
            frame(frames::WINDOW_UPDATE, 0, n % 2, &[0, 0, 0, 1])
        }),
        flood("WINDOW_UPDATE beyond all", open(1), |_| {
            frame(frames::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])
        }),
        flood("empty DATA", open(1), |_| frame(frames::DATA, 0, 1, &[])),
        flood("DATA by one byte", open(1), |_| frame(frames::DATA, 0, 1, b"a")),
        flood("DATA of padding", open(1), |_| frame(frames::DATA, PADDED, 1, &[0])),
        flood("PRIORITY", vec![], |n| frame(frames::PRIORITY, 0, stream(n), &[0, 0, 0, 0, 16])),
        flood("RST_STREAM of nothing", [get(1, "/")].concat(), |_| {
            frame(frames::RST_STREAM, 0, 1, &[0, 0, 0, 8])
        }),
        flood("unknown frames", vec![], |n| frame(0xfa, 0, n % 7, &[0; 16])),
        flood("GOAWAY", vec![], |_| frame(frames::GOAWAY, 0, 0, &[0; 8])),
    ]
}

/// Sends frames until there were enough of them and enough clean requests beside them; where the
/// proxy hangs up, on a new connection. A thread of its own: the clean ones shall wait for the proxy
/// alone.
fn send(proxy: SocketAddr, flood: &Flood, is_enough: impl Fn() -> bool) -> (u32, u32) {
    let (mut sent, mut connections) = (0, 0);
    let is_over = |sent| frames_max() <= sent && is_enough();
    while !is_over(sent) {
        connections += 1;
        let mut to = TcpStream::connect(proxy).unwrap();
        let mut from = to.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while from.read(&mut buffer).is_ok_and(|len| 0 < len) {}
        });
        let mut n = 0;
        // It may hang up at any time.
        let mut is_open = to.write_all(&flood.opening).is_ok();
        while is_open && !is_over(sent) {
            let rounds: Vec<u8> = (n..n + 10).flat_map(flood.round).collect();
            (n, sent) = (n + 10, sent + 10);
            is_open = to.write_all(&rounds).is_ok() && !reading.is_finished();
        }
        // It may have been closed by the other side.
        let _ = to.shutdown(Shutdown::Both);
        reading.join().unwrap();
    }
    (sent, connections)
}

/// One flood with clean requests beside it; says how it went.
async fn survive(proxy: &Process, flood: Flood, growth_kib_max: u64) {
    let (name, before) = (flood.name, proxy.memory_kib());
    let probe = Probe::start(proxy.address);
    let (address, count) = (proxy.address, probe.count());
    let is_enough = move || CLEAN_MIN <= count.load(Relaxed);
    let sending = tokio::task::spawn_blocking(move || send(address, &flood, is_enough));
    let (sent, connections) = sending.await.unwrap();
    let (most, longest) = probe.end().await;
    let after = proxy.memory_kib();
    let how = format!(
        "{name:32} {sent:>7} frames, {connections:>4} connections, {before} to {after} KiB, \
         clean {most:?} (90 %) to {longest:?}"
    );
    println!("{how}");
    assert!(after < before + growth_kib_max, "{how}");
    assert!(most < CLEAN_MAX, "{how}");
}

/// Scenario: floods of every kind of frame, each beside clean requests on connections of their own.
/// Guarantees: the proxy lives, its memory stays, and the clean requests are answered quickly.
#[tokio::test]
async fn floods_are_survived() {
    let large = Bytes::from(vec![0; 1 << 20]);
    let server = Server::start(move |request| {
        let large = large.clone();
        async move {
            match request.uri().path() {
                "/held" => std::future::pending().await,
                "/large" => Response::new(full(large)),
                _ => Response::new(full("")),
            }
        }
    })
    .await;
    let proxy = Process::start(server.address).await;
    // A process that has served nothing yet grows once, whoever asks, and by as many streams as there
    // may be at a time.
    let requests = flood("warm-up: requests", vec![], |n| get(stream(n), "/"));
    let streams = flood("warm-up: streams", vec![], |n| open(stream(n)));
    for warm_up in [requests, streams] {
        survive(&proxy, warm_up, 2 * GROWTH_KIB_MAX).await;
    }
    let first = proxy.memory_kib();
    for flood in heads().into_iter().chain(others()) {
        survive(&proxy, flood, GROWTH_KIB_MAX).await;
    }
    let last = proxy.memory_kib();
    assert!(last < first + GROWTH_KIB_MAX, "after all: {first} to {last} KiB");
}

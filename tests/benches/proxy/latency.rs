//! What a proxy adds to the latency at a fixed rate.

use super::peers::{self, Kind, Peer, Sink};
use hdrhistogram::Histogram;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Requests per second, over all connections.
const RATE: u32 = 2_000;
/// Connections, each with a thread of its own.
const CONNECTIONS: u32 = 32;
/// Our p99 over that of the origin alone, at most.
const ADDED_P99_MUST_US: u64 = 300;

/// Prints p50 and p99 of each peer, and returns the bars that were missed in a round.
pub(crate) fn run(rounds: usize, seconds: u32) -> Vec<String> {
    println!("\nLatency at {RATE} requests/s over {CONNECTIONS} connections, µs: p50/p99 by round");
    let sink = Sink::start();
    let origin = peers::origin(Kind::Http1);
    let mut direct = Vec::new();
    let mut all: Vec<Vec<Option<[u64; 2]>>> = Vec::new();
    for _ in 0..rounds {
        direct.push(measure(origin.at, seconds));
        all.push(
            Peer::ALL
                .into_iter()
                .map(|peer| {
                    peer.is_there().then(|| {
                        let proxy = peer.start(Kind::Http1, origin.at, &sink);
                        measure(proxy.at, 1);
                        measure(proxy.at, seconds)
                    })
                })
                .collect(),
        );
    }
    let show = |name: &str, figures: &mut dyn Iterator<Item = Option<[u64; 2]>>| {
        let figures = figures.map(|it| it.map_or("-".into(), |[p50, p99]| format!("{p50}/{p99}")));
        println!("  {name:22} {}", figures.collect::<Vec<_>>().join("  "));
    };
    show("origin, direct", &mut direct.iter().copied().map(Some));
    for (at, peer) in Peer::ALL.iter().enumerate() {
        show(peer.name(), &mut all.iter().map(|round| round[at]));
    }
    (0..rounds).filter_map(|round| judge(direct[round], &all[round], round)).collect()
}

fn judge(direct: [u64; 2], round: &[Option<[u64; 2]>], number: usize) -> Option<String> {
    let p99 = |peer: Peer| {
        let at = Peer::ALL.iter().position(|it| *it == peer)?;
        round[at].map(|[_, p99]| p99.saturating_sub(direct[1]))
    };
    let (ours, envoy) = (p99(Peer::Fusebox)?, p99(Peer::Envoy));
    println!("  round {}: added p99 {ours} µs, envoy {envoy:?} µs", number + 1);
    let is_met = ours <= ADDED_P99_MUST_US && envoy.is_some_and(|envoy| ours < envoy);
    (!is_met).then(|| {
        format!("added p99 {ours} µs; must be at most {ADDED_P99_MUST_US} and below {envoy:?}")
    })
}

/// p50 and p99 in µs, from when each request was due.
fn measure(at: SocketAddr, seconds: u32) -> [u64; 2] {
    let start = Instant::now() + Duration::from_millis(50);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|which| std::thread::spawn(move || connection(at, start, which, seconds)))
        .collect();
    let mut all = Histogram::<u64>::new(3).expect("3 digits");
    for thread in threads {
        all.add(thread.join().expect("no panic")).expect("the same shape");
    }
    [50.0, 99.0].map(|percentile| all.value_at_percentile(percentile))
}

fn connection(at: SocketAddr, start: Instant, which: u32, seconds: u32) -> Histogram<u64> {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_nodelay(true).expect("a TCP option");
    let mut histogram = Histogram::new(3).expect("3 digits");
    let mut answer = vec![0; 8_192];
    let step = Duration::from_secs(1) * CONNECTIONS / RATE;
    for number in 0..seconds * RATE / CONNECTIONS {
        // Connections take turns: no two are due at once.
        let due = start + step * number + Duration::from_secs(1) / RATE * which;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let trace = u64::from(number * CONNECTIONS + which) + 1;
        let request = format!(
            "GET /buy HTTP/1.1\r\nhost: inventory\r\ntraceparent: 00-{trace:032x}-{trace:016x}-01\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut len = 0;
        while !answer[..len].ends_with(b"xxxx") {
            let read = stream.read(&mut answer[len..]).expect("it answers");
            assert!(0 < read, "{}", String::from_utf8_lossy(&answer[..len]));
            len += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..len]));
        histogram.saturating_record(due.elapsed().as_micros() as u64);
    }
    histogram
}

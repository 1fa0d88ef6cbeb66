//! What a proxy adds to the latency at a fixed rate.

use super::machine;
use super::peers::{self, Kind, Peer, Sink};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Requests per second, over all connections.
const RATE: u32 = 2_000;
/// Connections.
const CONNECTIONS: u32 = 32;
/// Our p99 over that of the origin alone, at most.
const ADDED_P99_MUST_US: u64 = 300;
/// Seconds for each that is asked for: the median of three would be one of three.
const LONGER: u32 = 3;

/// Prints p50 and p99 of each peer, and returns the bars that were missed in a round.
pub(crate) fn run(rounds: usize, seconds: u32) -> Vec<String> {
    println!(
        "\nLatency at {RATE} requests/s over {CONNECTIONS} connections, µs, by round: p50 and p99 of the \
         median second, and p99 of all; cores kept awake, the collector gives way"
    );
    let sink = Sink::start();
    machine::give_way(sink.pid());
    let awake = [0, 1].map(machine::keep_awake);
    let origin = peers::origin(Kind::Http1);
    let mut direct = Vec::new();
    let mut all: Vec<Vec<Option<[u64; 3]>>> = Vec::new();
    for _ in 0..rounds {
        direct.push(measure(origin.at, seconds * LONGER));
        all.push(
            Peer::ALL
                .into_iter()
                .map(|peer| {
                    peer.is_there().then(|| {
                        let proxy = peer.start(Kind::Http1, origin.at, &sink);
                        measure(proxy.at, 1);
                        measure(proxy.at, seconds * LONGER)
                    })
                })
                .collect(),
        );
    }
    let show = |name: &str, figures: &mut dyn Iterator<Item = Option<[u64; 3]>>| {
        let figures = figures
            .map(|it| it.map_or("-".into(), |[p50, p99, of_all]| format!("{p50}/{p99}/{of_all}")));
        println!("  {name:22} {}", figures.collect::<Vec<_>>().join("  "));
    };
    assert!(awake.iter().all(|it| 0 < machine::cpu_ns(it.id())), "a core was not kept awake");
    show("origin, direct", &mut direct.iter().copied().map(Some));
    for (at, peer) in Peer::ALL.iter().enumerate() {
        show(peer.name(), &mut all.iter().map(|round| round[at]));
    }
    (0..rounds).filter_map(|round| judge(direct[round], &all[round], round)).collect()
}

fn judge(direct: [u64; 3], round: &[Option<[u64; 3]>], number: usize) -> Option<String> {
    let p99 = |peer: Peer| {
        let at = Peer::ALL.iter().position(|it| *it == peer)?;
        round[at].map(|[_, p99, _]| p99.saturating_sub(direct[1]))
    };
    let (ours, envoy) = (p99(Peer::Fusebox)?, p99(Peer::Envoy));
    println!("  round {}: added p99 {ours} µs, envoy {envoy:?} µs", number + 1);
    let is_met = ours <= ADDED_P99_MUST_US && envoy.is_some_and(|envoy| ours < envoy);
    (!is_met).then(|| {
        format!("added p99 {ours} µs; must be at most {ADDED_P99_MUST_US} and below {envoy:?}")
    })
}

/// p50 and p99 in µs, from when each request was due: the median of those of each second, and the p99
/// of all. A second in which the host of a virtual machine ran something else decides over the last
/// only.
///
/// One thread on the first core makes the load, asleep between what is due and what arrives: with a
/// thread for each connection the scheduler would be measured.
fn measure(at: SocketAddr, seconds: u32) -> [u64; 3] {
    let load = std::thread::spawn(move || {
        machine::pin_to_first_core();
        let start = Instant::now() + Duration::from_millis(20);
        let mut all: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::open(at)).collect();
        (0..seconds).map(|second| measure_second(&mut all, start, second)).collect::<Vec<_>>()
    });
    let seconds = load.join().expect("no panic");
    let of = |percentile| {
        let figures = seconds.iter().map(|it| it.value_at_percentile(percentile));
        let mut figures: Vec<u64> = figures.collect();
        figures.sort_unstable();
        figures[figures.len() / 2]
    };
    let mut all = Histogram::<u64>::new(3).expect("3 digits");
    for second in &seconds {
        all.add(second).expect("of one kind");
    }
    [of(50.0), of(99.0), all.value_at_percentile(99.0)]
}

fn measure_second(all: &mut [Connection], start: Instant, second: u32) -> Histogram<u64> {
    let mut histogram = Histogram::<u64>::new(3).expect("3 digits");
    let (mut sent, end) = (second * RATE, (second + 1) * RATE);
    while histogram.len() < u64::from(RATE) {
        let due = start + Duration::from_secs(1) / RATE * sent;
        let now = Instant::now();
        if sent < end && due <= now {
            // Connections take turns: no two are due at once.
            all[(sent % CONNECTIONS) as usize].due(sent, due);
            sent += 1;
            continue;
        }
        let rest = if sent < end { due - now } else { Duration::from_secs(1) };
        wait(all, rest);
        for connection in &mut *all {
            if let Some(took) = connection.read() {
                histogram.saturating_record(took.as_micros() as u64);
            }
        }
    }
    histogram
}

/// Sleeps until an answer comes, at most this long; marks the connections that have one.
fn wait(all: &mut [Connection], rest: Duration) {
    let mut polled: Vec<PollFd> =
        all.iter().map(|it| PollFd::new(&it.stream, PollFlags::IN)).collect();
    let rest = Timespec::try_from(rest).expect("a second at most");
    poll(&mut polled, Some(&rest)).expect("sockets can be polled");
    let ready: Vec<bool> = polled.iter().map(|it| !it.revents().is_empty()).collect();
    for (connection, ready) in all.iter_mut().zip(ready) {
        connection.is_ready = ready;
    }
}

/// A connection that carries one request at a time; what is due meanwhile waits, and its wait
/// counts.
struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    waiting: VecDeque<(u32, Instant)>,
    sent_for: Option<Instant>,
    is_ready: bool,
}

impl Connection {
    fn open(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).expect("it listens");
        stream.set_nodelay(true).expect("a TCP option");
        Self {
            stream,
            answer: Vec::with_capacity(8_192),
            waiting: VecDeque::new(),
            sent_for: None,
            is_ready: false,
        }
    }

    fn due(&mut self, number: u32, due: Instant) {
        self.waiting.push_back((number, due));
        self.send();
    }

    fn send(&mut self) {
        if self.sent_for.is_some() {
            return;
        }
        let Some((number, due)) = self.waiting.pop_front() else { return };
        let trace = number + 1;
        let request = format!(
            "GET /buy HTTP/1.1\r\nhost: inventory\r\ntraceparent: 00-{trace:032x}-{trace:016x}-01\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).expect("it reads");
        self.sent_for = Some(due);
    }

    /// How long the answer took that is now whole, from when its request was due.
    fn read(&mut self) -> Option<Duration> {
        if !std::mem::take(&mut self.is_ready) {
            return None;
        }
        let mut part = [0; 8_192];
        let len = self.stream.read(&mut part).expect("it answers");
        assert!(0 < len, "closed after {}", String::from_utf8_lossy(&self.answer));
        self.answer.extend_from_slice(&part[..len]);
        if !self.answer.ends_with(b"xxxx") {
            return None;
        }
        let text = String::from_utf8_lossy(&self.answer);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        self.answer.clear();
        let due = self.sent_for.take().expect("an answer follows its request");
        let took = due.elapsed();
        self.send();
        Some(took)
    }
}

//! Resident memory, idle and with a thousand connections.

use super::machine;
use super::peers::{self, Kind, Peer, Sink};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Connections that were used once and wait.
const CONNECTIONS: usize = 1_000;
/// What our proxy may take, MiB: idle, and with [`CONNECTIONS`] that wait.
const MUST_MIB: [f64; 2] = [10.0, 25.0];

/// By then a connection that waits is at rest.
const REST: Duration = Duration::from_secs(3);

/// Prints what each peer takes, and returns the bars that were missed.
pub(crate) fn run() -> Vec<String> {
    println!(
        "\nResident memory, MiB: idle; with {CONNECTIONS} connections, and after {REST:?}; at most"
    );
    let sink = Sink::start();
    let origin = peers::origin(Kind::Http1);
    let mut missed = Vec::new();
    for peer in Peer::ALL.into_iter().filter(|peer| peer.is_there()) {
        let proxy = peer.start(Kind::Http1, origin.at, &sink);
        drop(ask(proxy.at));
        let (idle, _) = machine::memory_kib(proxy.pid());
        let held: Vec<TcpStream> = (0..CONNECTIONS).map(|_| ask(proxy.at)).collect();
        let (at_once, _) = machine::memory_kib(proxy.pid());
        std::thread::sleep(REST);
        let (full, peak) = machine::memory_kib(proxy.pid());
        drop(held);
        let [idle, at_once, full, peak] =
            [idle, at_once, full, peak].map(|kib| kib as f64 / 1_024.0);
        println!("  {:22} {idle:6.1} {at_once:6.1} {full:6.1} {peak:6.1}", peer.name());
        if peer == Peer::Fusebox && (MUST_MIB[0] < idle || MUST_MIB[1] < full) {
            missed.push(format!("memory: {idle:.1} and {full:.1} MiB, must {MUST_MIB:?}"));
        }
    }
    missed
}

/// A connection on which one request was answered.
fn ask(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.write_all(b"GET /buy HTTP/1.1\r\nhost: inventory\r\n\r\n").expect("it reads");
    let mut answer = [0; 4_096];
    let mut len = 0;
    while !answer[..len].ends_with(b"xxxx") {
        let read = stream.read(&mut answer[len..]).expect("it answers");
        assert!(0 < read, "{}", String::from_utf8_lossy(&answer[..len]));
        len += read;
    }
    stream
}

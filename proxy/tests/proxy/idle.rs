//! Servers that close idle connections, and requests that cross it on their way.

use crate::world::{Caller, Proxy, full, outbound, read_head};
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A server that closes a connection on which nothing came for a while, and does not say so before.
struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Requests that were answered.
    answered: AtomicUsize,
    /// Connections that were closed because nothing came.
    closed: AtomicUsize,
    /// Connections that were closed after a request had come, and before it was read.
    crossed: AtomicUsize,
}

/// So often a request that comes on a kept connection is met by its close.
const CROSSES_EVERY: usize = 5;

impl Server {
    async fn start(idle: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Arc::<Counts>::default());
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let counts = Arc::clone(&counting);
                tokio::spawn(async move { serve(stream, idle, &counts).await });
            }
        });
        Self { address, counts }
    }
}

async fn serve(mut stream: TcpStream, idle: Duration, counts: &Counts) {
    let mut first = [0];
    // A connection that has not served yet is not idle.
    let mut is_alive = matches!(stream.peek(&mut first).await, Ok(1));
    while is_alive {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
        let answered = counts.answered.fetch_add(1, SeqCst) + 1;
        // Looking does not take: what is closed with a request unread was crossed by it.
        let looked = tokio::time::timeout(idle, stream.peek(&mut first)).await;
        let has_come = matches!(looked, Ok(Ok(1)));
        is_alive = has_come && !answered.is_multiple_of(CROSSES_EVERY);
        let count = if has_come { &counts.crossed } else { &counts.closed };
        count.fetch_add(usize::from(!is_alive), SeqCst);
    }
}

/// Scenario: callers send idempotent requests at just the pace at which the server closes idle
/// connections (20 ms, and with `FUSEBOX_LONG=1` 2 s, as real servers have it), so that many of them
/// come about when it does; and so that none of this hangs on luck, the server's patience is over
/// just when every fifth request on a kept connection has come.
/// Guarantees: connections are closed under the proxy again and again, also with a request on its
/// way that nobody read; each of those is sent again, and answered once; no caller ever sees a 502.
#[tokio::test]
async fn a_close_on_the_way_is_nobodys_failure() {
    let is_long = std::env::var_os("FUSEBOX_LONG").is_some_and(|value| value == "1");
    let idle = Duration::from_millis(if is_long { 2_000 } else { 20 });
    let callers = (0..4_u32).map(|number| {
        tokio::spawn(async move {
            // Each has a proxy and a server of its own: others would keep the connection busy.
            let server = Server::start(idle).await;
            let proxy = Proxy::start(outbound(&[server.address]));
            let mut caller = Caller::connect(proxy.address()).await;
            for turn in 0..40_u32 {
                // Around the server's patience, half a percent more or less at a time; and every
                // fifth well within it.
                let offset = f64::from((number * 7 + turn * 3) % 40) / 200.0 - 0.1;
                let is_soon = turn.is_multiple_of(CROSSES_EVERY as u32);
                let pace = if is_soon { 0.1 } else { 1.0 + offset };
                tokio::time::sleep(idle.mul_f64(pace)).await;
                let method = ["GET", "PUT", "DELETE"][(turn % 3) as usize];
                let request = Request::builder().method(method).uri("/").body(full("")).unwrap();
                let answer = caller.send(request).await;
                assert_eq!(answer.status, 200, "{number} {turn}: {:?}", answer.headers);
            }
            assert_eq!(server.counts.answered.load(SeqCst), 40, "each once");
            (server.counts.closed.load(SeqCst), server.counts.crossed.load(SeqCst))
        })
    });
    let (mut closed, mut crossed) = (0, 0);
    for caller in callers.collect::<Vec<_>>() {
        let counts = caller.await.unwrap();
        closed += counts.0;
        crossed += counts.1;
    }
    println!("160 requests, {closed} idle connections closed, {crossed} requests met a close");
    assert!(20 < closed && 4 <= crossed, "{closed} {crossed}");
}

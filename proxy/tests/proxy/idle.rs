//! Servers that close idle connections, and requests that cross it on their way.

use crate::world::{Caller, Proxy, full, outbound, read_head};
use http::Request;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// A server that closes a connection on which nothing came for `idle`, and does not say so before.
async fn server(idle: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, closed) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&closed);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let closed = Arc::clone(&count);
            tokio::spawn(async move {
                serve(stream, idle).await;
                closed.fetch_add(1, SeqCst);
            });
        }
    });
    (address, closed)
}

async fn serve(mut stream: TcpStream, idle: Duration) {
    let mut first = [0];
    // A connection that has not served yet is not idle.
    let mut is_alive = matches!(stream.peek(&mut first).await, Ok(1));
    while is_alive {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        if stream.write_all(answer).await.is_err() {
            return;
        }
        // Looking does not take: a request that comes as the patience ends meets a closed socket.
        let looked = tokio::time::timeout(idle, stream.peek(&mut first)).await;
        is_alive = matches!(looked, Ok(Ok(1)));
    }
}

/// Scenario: callers send idempotent requests at just the pace at which the server closes idle
/// connections, so that many requests cross a close on their way. (20 ms, and with `FUSEBOX_LONG=1`
/// 2 s, as real servers have it.)
/// Guarantees: connections are closed under the proxy again and again, and no caller ever sees a 502.
#[tokio::test]
async fn a_close_on_the_way_is_nobodys_failure() {
    let is_long = std::env::var_os("FUSEBOX_LONG").is_some_and(|value| value == "1");
    let idle = Duration::from_millis(if is_long { 2_000 } else { 20 });
    let callers = (0..4_u32).map(|number| {
        tokio::spawn(async move {
            // Each has a proxy and a server of its own: others would keep the connection busy.
            let (address, closed) = server(idle).await;
            let proxy = Proxy::start(outbound(&[address]));
            let mut caller = Caller::connect(proxy.address()).await;
            for turn in 0..40_u32 {
                // Around the server's patience, half a percent more or less at a time.
                let offset = f64::from((number * 7 + turn * 3) % 40) / 200.0 - 0.1;
                tokio::time::sleep(idle.mul_f64(1.0 + offset)).await;
                let method = ["GET", "PUT", "DELETE"][(turn % 3) as usize];
                let request = Request::builder().method(method).uri("/").body(full("")).unwrap();
                let answer = caller.send(request).await;
                assert_eq!(answer.status, 200, "{number} {turn}: {:?}", answer.headers);
            }
            closed.load(SeqCst)
        })
    });
    let mut closed = 0;
    for caller in callers.collect::<Vec<_>>() {
        closed += caller.await.unwrap();
    }
    println!("160 requests, {closed} connections closed under the proxy");
    assert!(20 < closed, "{closed}");
}

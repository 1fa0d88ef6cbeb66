//! A successor takes the listeners over.

use crate::binary::{listens, program};
use crate::collector::Collector;
use crate::process::{is_long, now};
use crate::shop::page;
use crate::world::{
    Answer, Caller, Proxy, Server, free_address, full, get, http2_caller, outbound,
};
use fusebox_proto::ServiceId;
use fusebox_proto::command::Action;
use fusebox_proxy::{Config, StartError, start};
use http::Request;
use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// Callers of each kind; each waits for its answer before its next request.
const CALLERS: usize = 8;

/// Steady load on one address by callers that never try a request twice.
struct Load {
    started: Instant,
    is_over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Keeps its HTTP/1 connection until it is told that it ends.
    Kept,
    /// A connection a request.
    Fresh,
    /// Keeps its HTTP/2 connection until it is told to go away.
    Http2,
}

impl Load {
    /// `rate`: requests a second of all callers together.
    fn start(address: SocketAddr, rate: usize) -> Self {
        let (is_over, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let kinds = [Kind::Kept, Kind::Fresh, Kind::Http2];
        let interval = Duration::from_secs(1) * (kinds.len() * CALLERS) as u32 / rate as u32;
        let callers = kinds.into_iter().cycle().take(kinds.len() * CALLERS).map(|kind| {
            let (is_over, sent) = (Arc::clone(&is_over), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(interval);
                let (mut line, mut lost) = (Line::default(), Vec::new());
                while !is_over.load(SeqCst) {
                    ticks.tick().await;
                    sent.fetch_add(1, SeqCst);
                    if let Err(error) = line.call(address, kind).await {
                        lost.push(error);
                        line = Line::default();
                    }
                }
                lost
            })
        });
        Self { started: now(), callers: callers.collect(), is_over, sent }
    }

    /// Returns once so many more requests were sent.
    async fn more(&self, count: usize) {
        let until = self.sent.load(SeqCst) + count;
        while self.sent.load(SeqCst) < until {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What was lost, of how many, and how many there were in a second.
    async fn stop(self) -> (Vec<String>, usize, f64) {
        self.is_over.store(true, SeqCst);
        let rate = self.sent.load(SeqCst) as f64 / (now() - self.started).as_secs_f64();
        let mut lost = Vec::new();
        for caller in self.callers {
            lost.extend(caller.await.unwrap());
        }
        (lost, self.sent.load(SeqCst), rate)
    }
}

/// The connection of one caller.
#[derive(Default)]
struct Line {
    http1: Option<Caller>,
    http2: Option<hyper::client::conn::http2::SendRequest<crate::world::Body>>,
}

impl Line {
    async fn call(&mut self, address: SocketAddr, kind: Kind) -> Result<(), String> {
        let answer = match kind {
            Kind::Kept | Kind::Fresh => self.http1(address, kind).await?,
            Kind::Http2 => self.http2(address).await?,
        };
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    }

    async fn http1(&mut self, address: SocketAddr, kind: Kind) -> Result<Answer, String> {
        let mut caller = match self.http1.take() {
            Some(caller) => caller,
            None => Caller::try_connect(address).await.map_err(|error| error.to_string())?,
        };
        let request = Request::get("/").body(full("")).unwrap();
        let answer = caller.try_send(request).await.map_err(|error| format!("{error:?}"))?;
        if matches!(kind, Kind::Kept) && answer.header("connection") != "close" {
            self.http1 = Some(caller);
        }
        Ok(answer)
    }

    async fn http2(&mut self, address: SocketAddr) -> Result<Answer, String> {
        let mut request = Request::get("http://inventory/").body(full("")).unwrap();
        loop {
            let mut sender = match self.http2.take() {
                Some(sender) => sender,
                None => http2_caller(address).await,
            };
            if sender.ready().await.is_err() {
                continue;
            }
            let sent = sender.try_send_request(request).await;
            let response = match sent {
                Ok(response) => response,
                // Told to go away before it was sent, or while it was: then the server says that it
                // did nothing with it (RFC 9113, 6.8), and it goes to the next connection.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => {
                        request = unsent;
                        continue;
                    }
                    None if is_unprocessed(error.error()) => {
                        request = Request::get("http://inventory/").body(full("")).unwrap();
                        continue;
                    }
                    None => return Err(format!("{:?}", error.into_error())),
                },
            };
            self.http2 = Some(sender);
            return Answer::read(response).await.map_err(|error| format!("{error:?}"));
        }
    }
}

/// A `GOAWAY` of the proxy, which names an earlier stream as its last.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && cause.is_go_away() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// A program with a successor to come, and what its successors are told.
struct Reign {
    place: tempfile::TempDir,
    admin: SocketAddr,
    address: SocketAddr,
    flags: String,
    current: tokio::process::Child,
    /// Not looked at, but kept open: whoever cannot say a word may end by it.
    logs: Vec<crate::binary::Lines>,
}

impl Reign {
    async fn start(server: &Server) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (admin, address) = (free_address().await, free_address().await);
        let flags = format!(
            "--service payment --takeover --state-dir {} --admin {admin} \
             --outbound {address}=inventory@{}",
            place.path().display(),
            server.address
        );
        let mut current = program(&flags).spawn().unwrap();
        let logs = vec![listens(&mut current).await.2];
        Self { place, admin, address, flags, current, logs }
    }

    /// A successor takes over, and the predecessor ends.
    async fn succeed(&mut self) {
        let mut next = program(&self.flags).spawn().unwrap();
        self.logs.push(listens(&mut next).await.2);
        let mut before = std::mem::replace(&mut self.current, next);
        assert_eq!(before.wait().await.unwrap().code(), Some(0));
    }

    /// Which process serves.
    async fn boot(&self) -> u64 {
        let config = get(self.admin, "/config").await.body;
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["drain"]["stage"], "serving");
        config["boot"].as_u64().unwrap()
    }
}

/// Scenario: the real program is replaced by a new one of itself, again and again, under steady load
/// of kept and fresh HTTP/1 and of HTTP/2 connections, whose callers never try twice what a proxy may
/// have seen.
/// (`FUSEBOX_LONG=1`: 20 times at 2,000 requests a second; at 400 where nothing is optimised.)
/// Guarantees: the load is what it shall be, and not one request is lost; each predecessor ends by
/// itself with exit code 0; the admin port is the newest one's.
#[tokio::test]
async fn no_request_is_lost() {
    let (takeovers, rate) = match (is_long(), cfg!(debug_assertions)) {
        (false, _) => (3, 300),
        (true, true) => (20, 400),
        (true, false) => (20, 2_000),
    };
    let server = Server::echo().await;
    let mut reign = Reign::start(&server).await;
    let load = Load::start(reign.address, rate);
    load.more(rate / 4).await;
    let mut boots = std::collections::BTreeSet::from([reign.boot().await]);
    for turn in 0..takeovers {
        reign.succeed().await;
        assert!(boots.insert(reign.boot().await), "{turn}: the old one answers");
        load.more(rate / 4).await;
    }
    let (lost, sent, reached) = load.stop().await;
    println!("{takeovers} takeovers, {sent} requests, {reached:.0}/s, {} lost", lost.len());
    assert_eq!(lost, Vec::<String>::new(), "of {sent}");
    // In its short form the machine may have anything else to do.
    let rate_min = rate as f64 * if is_long() { 0.95 } else { 0.1 };
    assert!(rate_min <= reached, "{reached:.0}/s of {rate}/s");
}

/// Scenario: under the same load, successors fail: one with a wrong flag; one of another service; one
/// that has the sockets already and then finds a further address taken; one that hangs up with the
/// sockets in its hands. Then a good one comes.
/// Guarantees: each says why; the predecessor serves on, and not one request is lost; the good one
/// takes over.
#[tokio::test]
async fn a_successor_that_fails_changes_nothing() {
    let server = Server::echo().await;
    let mut reign = Reign::start(&server).await;
    let load = Load::start(reign.address, 100);
    load.more(20).await;
    let boot = reign.boot().await;
    let taken = format!("--outbound {}=stock@127.0.0.1:1", server.address);
    let says = taken.split_whitespace().nth(1).unwrap().split('=').next().unwrap();
    for (more, code, says) in [
        ("--nonsense", 2, "--nonsense"),
        ("--workers 0", 2, "--workers"),
        ("--service checkout", 1, "payment"),
        (&*taken, 1, says),
    ] {
        let flags = if more.starts_with("--service") {
            reign.flags.replace("--service payment", more)
        } else {
            format!("{} {more}", reign.flags)
        };
        let output = program(&flags).output().await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{more}: {text}");
        assert!(text.contains(says), "{more}: {text}");
        assert_eq!(reign.boot().await, boot, "{more}");
        load.more(20).await;
    }
    for _ in 0..3 {
        let door = reign.place.path().join("takeover.sock");
        let mut dies = tokio::net::UnixStream::connect(door).await.unwrap();
        // The offer; the sockets are behind it.
        dies.read_u8().await.unwrap();
        drop(dies);
        load.more(20).await;
        assert_eq!(reign.boot().await, boot);
    }
    reign.succeed().await;
    assert_ne!(reign.boot().await, boot);
    load.more(20).await;
    let (lost, sent, _) = load.stop().await;
    assert_eq!(lost, Vec::<String>::new(), "of {sent}");
}

fn at(address: SocketAddr, server: &Server, state_dir: &Path) -> Config {
    let mut config = outbound(&[server.address]);
    config.outbound[0].listen = address;
    config.state_dir = Some(state_dir.to_owned());
    config.operation.takeover = true;
    config
}

/// Scenario: an operator trips an edge; the collector dies; successors with more workers and with
/// fewer take over, one after the other; then a stranger on the same directory wants to.
/// Guarantees: the lease goes along with the time that it has left; every socket is served; the
/// stranger is told whose proxy it is, and nothing changes.
#[tokio::test]
async fn leases_go_along() {
    let (server, collector) = (Server::echo().await, Collector::start().await);
    let place = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let mut config = at(address, &server, place.path());
    config.collector = Some(collector.url.clone());
    let mut proxy = Proxy::start(config);
    collector.attached().await.trip(7, Action::Open).await;
    collector.kill().await;
    for workers in [3, 1] {
        let mut config = at(address, &server, place.path());
        config.workers = workers;
        let heir = Proxy::start(config);
        proxy.drained().await;
        proxy = heir;
        for _ in 0..8 {
            let answer = get(address, "/").await;
            assert_eq!(answer.header("x-fusebox-refused"), "forced-open; edge=payment>inventory");
        }
        let breaker = page(&proxy, "/breakers").await["breakers"][0].clone();
        assert_eq!(breaker["revision"], 7);
        assert!(breaker["remaining_ms"].as_u64().unwrap() < 3_600_000, "{breaker}");
    }
    let mut stranger = at(address, &server, place.path());
    stranger.service = ServiceId::named("checkout").unwrap();
    let error = start(stranger).unwrap_err();
    assert!(matches!(error, StartError::Takeover { .. }));
    assert!(error.to_string().contains("payment"), "{error}");
    assert_eq!(get(address, "/").await.status, 503);
    assert_eq!(page(&proxy, "/config").await["drain"]["stage"], "serving");
}

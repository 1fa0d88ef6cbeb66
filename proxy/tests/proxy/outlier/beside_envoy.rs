//! The scripts through a real Envoy: one cluster a script, in step with our own detection.

use super::{Does, Replay, Step, scripts};
use crate::parts::is_real;
use crate::real::{self, Other};
use crate::world::{Caller, Server, free_address, full, get, read_head};
use futures_util::future::join_all;
use http::{Request, Response};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// Answers `/script/host/status` with that status, and says that it was asked.
async fn origin() -> Server {
    Server::start(|request: Request<Incoming>| async move {
        let status: u16 = request.uri().path().rsplit('/').next().unwrap().parse().unwrap();
        Response::builder().status(status).header("is", "origin").body(full("")).unwrap()
    })
    .await
}

/// A port of ours on which nobody listens but while its door is open.
struct Doorway {
    address: SocketAddr,
    /// Bound, so that nobody else gets the port.
    _held: TcpSocket,
}

/// A listener, until it is closed.
struct Door(JoinHandle<()>);

impl Doorway {
    fn new() -> Self {
        let held = Self::bind((Ipv4Addr::LOCALHOST, 0).into());
        Self { address: held.local_addr().unwrap(), _held: held }
    }

    fn bind(address: SocketAddr) -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        socket
    }

    /// Answers as [`origin`] does, one request a connection.
    fn open(&self) -> Door {
        let listener = Self::bind(self.address).listen(16).unwrap();
        Door(tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                let path = head.split(' ').nth(1).unwrap();
                let status = path.rsplit('/').next().unwrap();
                let rest = "is: origin\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let answer = format!("HTTP/1.1 {status} As-Asked\r\n{rest}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }))
    }
}

impl Door {
    /// Returns when nobody listens any more.
    async fn close(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// The hosts of a script.
enum Hosts {
    /// They answer whatever they are asked for; shared by all scripts.
    Served(Vec<SocketAddr>),
    /// Each refuses connections unless it has to answer.
    Doorways(Vec<Doorway>),
}

impl Hosts {
    fn of(script: &Value, origins: &[Server]) -> Self {
        let count = script["endpoints"].as_u64().unwrap() as usize;
        let refuses = |does: &Does| *does == Does::RefuseConnection;
        if super::answers(script).iter().any(|(_, _, does)| refuses(does)) {
            return Self::Doorways((0..count).map(|_| Doorway::new()).collect());
        }
        Self::Served(origins[..count].iter().map(|origin| origin.address).collect())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Served(addresses) => addresses.clone(),
            Self::Doorways(doorways) => doorways.iter().map(|one| one.address).collect(),
        }
    }

    /// The door of a host, if it has one.
    fn open(&self, host: u64) -> Option<Door> {
        match self {
            Self::Served(_) => None,
            Self::Doorways(doorways) => Some(doorways[host as usize - 1].open()),
        }
    }
}

/// A cluster of the script whose hosts can be asked one by one, and the routes to them. In panic
/// Envoy would ask ejected ones, too.
fn cluster(name: &str, script: &Value, hosts: &Hosts) -> (Value, Vec<Value>) {
    let mut cluster = real::cluster(&hosts.addresses());
    cluster["name"] = json!(name);
    cluster["load_assignment"]["cluster_name"] = json!(name);
    cluster["outlier_detection"] = script["outlier_detection"].clone();
    cluster["common_lb_config"] = json!({"healthy_panic_threshold": {"value": 0}});
    cluster["lb_subset_config"] = json!({"subset_selectors": [{"keys": ["host"]}]});
    let endpoints = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"];
    let routes = endpoints.as_array_mut().unwrap().iter_mut().zip(1..).map(|(endpoint, host)| {
        let metadata = json!({"filter_metadata": {"envoy.lb": {"host": host.to_string()}}});
        endpoint["metadata"] = metadata.clone();
        json!({
            "match": {"prefix": format!("/{name}/{host}/")},
            "route": {"cluster": name, "metadata_match": metadata},
        })
    });
    let routes = routes.collect();
    (cluster, routes)
}

/// An Envoy with a cluster a script.
struct Beside {
    _envoy: Other,
    _folder: tempfile::TempDir,
    address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    /// By script.
    hosts: BTreeMap<String, Hosts>,
}

impl Beside {
    async fn start(scripts: &[(String, Value)]) -> Self {
        let mut origins = Vec::new();
        for _ in 0..5 {
            origins.push(origin().await);
        }
        let hosts =
            scripts.iter().map(|(name, script)| (name.clone(), Hosts::of(script, &origins)));
        let hosts: BTreeMap<_, _> = hosts.collect();
        let made = scripts.iter().map(|(name, script)| cluster(name, script, &hosts[name]));
        let (clusters, routes): (Vec<_>, Vec<_>) = made.unzip();
        let folder = tempfile::tempdir().unwrap();
        let (log, admin) = (folder.path().join("ejections.json"), free_address().await);
        let routes = Value::from(routes.concat());
        let envoy = real::envoy_with(routes, json!(clusters), admin, Some(&log)).await;
        let address = envoy.http1;
        Self { _envoy: envoy, _folder: folder, address, admin, log, hosts }
    }

    /// The ejections and their ends of a cluster so far: which host, by what, when (seconds).
    fn events(&self, name: &str) -> Vec<(Happened, f64)> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // The last line may be in the writing.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let addresses = self.hosts[name].addresses();
        let of_cluster = lines.filter(|event| event["cluster_name"] == name);
        let events = of_cluster.filter_map(|event| {
            let address: SocketAddr = event["upstream_url"].as_str().unwrap().parse().unwrap();
            let at = addresses.iter().position(|host| *host == address).unwrap();
            let by = event["type"].as_str().unwrap_or("CONSECUTIVE_5XX").to_lowercase();
            let by = match event["action"].as_str() {
                Some("UNEJECT") => None,
                _ if event["enforced"] == true => Some(by),
                _ => return None,
            };
            Some((Happened { host: at as u64 + 1, by }, seconds(&event["timestamp"])))
        });
        events.collect()
    }

    async fn overflows(&self, name: &str) -> u64 {
        let stat = format!("cluster.{name}.outlier_detection.ejections_overflow");
        let page = get(self.admin, &format!("/stats?filter={stat}")).await;
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        page.trim().strip_prefix(&format!("{stat}: ")).unwrap().parse().unwrap()
    }

    /// Whether Envoy's admin interface has this host as ejected.
    async fn is_out(&self, name: &str, host: u64) -> bool {
        let page = get(self.admin, "/clusters?format=json").await;
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        let clusters = page["cluster_statuses"].as_array().unwrap();
        let cluster = clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
        let port = self.hosts[name].addresses()[host as usize - 1].port();
        let hosts = cluster["host_statuses"].as_array().unwrap();
        let of_port = |one: &&Value| one["address"]["socket_address"]["port_value"] == port;
        hosts.iter().find(of_port).unwrap()["health_status"]["failed_outlier_check"] == true
    }
}

/// An ejection by something, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Happened {
    host: u64,
    by: Option<String>,
}

/// The seconds of an RFC 3339 time, within its day.
fn seconds(timestamp: &Value) -> f64 {
    let text = timestamp.as_str().unwrap();
    let time = text.split('T').nth(1).unwrap().trim_end_matches('Z');
    time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

/// A walk through the steps of a script.
struct Walk<'a> {
    beside: &'a Beside,
    name: &'a str,
    caller: Caller,
    /// What Envoy did so far, and when.
    happened: Vec<(Happened, f64)>,
    /// Hosts that are out.
    out: BTreeSet<u64>,
    overflows: u64,
}

impl Walk<'_> {
    /// Asks a host that is not out. What it does must come through, unless a sweep may have been
    /// earlier than in the script and `may_be_out`.
    async fn ask(&mut self, host: u64, does: Does, may_be_out: bool) {
        if self.out.contains(&host) {
            return;
        }
        let status = match does {
            Does::Answer(status) => status,
            Does::RefuseConnection => 503,
        };
        let is_answer = does != Does::RefuseConnection;
        let door = if is_answer { self.beside.hosts[self.name].open(host) } else { None };
        let path = format!("/{}/{host}/{status}", self.name);
        let answer = self.caller.get(&path).await;
        if let Some(door) = door {
            door.close().await;
        }
        let says_refused = answer.body.starts_with(b"upstream connect error");
        if answer.header("is") == "origin" || says_refused {
            assert_eq!((answer.status, says_refused), (status, !is_answer), "{answer:?}");
        } else {
            assert!(may_be_out, "{}: {host} is out too early: {answer:?}", self.name);
            self.out.insert(host);
        }
    }

    /// Waits until Envoy has done this, in any order.
    async fn expect(&mut self, mut expected: Vec<Happened>) {
        let (from, until) = (self.happened.len(), self.happened.len() + expected.len());
        let Self { beside, name, .. } = *self;
        let is_so = async || until <= beside.events(name).len();
        eventually(&format!("{name}: {expected:?}"), is_so).await;
        let events = beside.events(name);
        let mut got: Vec<_> = events[from..until].iter().map(|(what, _)| what.clone()).collect();
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "{name}");
        self.happened = events[..until].to_vec();
        for Happened { host, by } in got {
            let is_out = by.is_some();
            if is_out {
                self.out.insert(host)
            } else {
                self.out.remove(&host)
            };
            let is_shown = beside.is_out(name, host).await == is_out;
            assert!(is_shown || until < beside.events(name).len(), "{name}: {host}");
        }
    }

    async fn overflow(&mut self) {
        self.overflows += 1;
        let Self { beside, name, overflows, .. } = *self;
        let what = format!("{name}: {overflows} overflows");
        eventually(&what, async || beside.overflows(name).await == overflows).await;
    }

    async fn through(&mut self, steps: &[Step], interval: Duration) {
        let mut rest = steps;
        let mut since_ms = None;
        while let Some(first) = rest.first() {
            let is_eject = matches!(first, Step::Eject { .. });
            let same = |step: &&Step| match step {
                Step::Eject { .. } => is_eject,
                Step::Uneject { .. } => !is_eject,
                Step::Ask { .. } | Step::Overflow => false,
            };
            let run = rest.iter().take_while(same).count();
            match *first {
                Step::Ask { at_ms, host, does } => {
                    // A pause of the script in which sweeps forgive; it may last longer, and on a
                    // busy machine Envoy's sweeps are late.
                    let pause = Duration::from_millis(at_ms - since_ms.take().unwrap_or(at_ms));
                    if interval <= pause {
                        tokio::time::sleep(pause + 2 * interval).await;
                    }
                    let next = rest.iter().find_map(|step| match step {
                        Step::Eject { host: other, by, .. } if *other == host => Some(*by),
                        _ => None,
                    });
                    let by_sweep = matches!(next, Some("success_rate" | "failure_percentage"));
                    self.ask(host, does, by_sweep).await;
                }
                Step::Overflow => self.overflow().await,
                Step::Eject { .. } | Step::Uneject { .. } => {
                    self.expect(rest[..run].iter().filter_map(Step::happened).collect()).await;
                    since_ms = rest[run - 1].at_ms();
                }
            }
            rest = &rest[run.max(1)..];
        }
        assert_eq!(self.beside.events(self.name).len(), self.happened.len(), "{}", self.name);
    }
}

impl Step {
    fn at_ms(&self) -> Option<u64> {
        match self {
            Self::Ask { at_ms, .. } | Self::Eject { at_ms, .. } | Self::Uneject { at_ms, .. } => {
                Some(*at_ms)
            }
            Self::Overflow => None,
        }
    }

    fn happened(&self) -> Option<Happened> {
        match *self {
            Self::Eject { host, by, .. } => Some(Happened { host, by: Some(by.to_owned()) }),
            Self::Uneject { host, .. } => Some(Happened { host, by: None }),
            Self::Ask { .. } | Self::Overflow => None,
        }
    }
}

/// How long each ejection lasted, seconds: by host, in order.
fn lasted(events: impl Iterator<Item = (Happened, f64)>) -> Vec<(u64, f64)> {
    let (mut out, mut lasted) = (BTreeMap::<u64, f64>::new(), Vec::new());
    for (Happened { host, by }, at) in events {
        match by {
            Some(_) => drop(out.insert(host, at)),
            // Midnight may be between the two.
            None => lasted.push((host, (at - out[&host]).rem_euclid(86_400.0))),
        }
    }
    lasted.sort_by_key(|&(host, _)| host);
    lasted
}

/// Scenario: each script's answers through a real Envoy with the script's own settings, one by one,
/// in step with our detection.
/// Guarantees: after the same answer the same host is out for the same reason, no sooner and no
/// later; what is found while too many are out is counted alike; the same hosts come back; no
/// ejection is shorter than ours by more than the interval, and what is longer by backoff is longer.
#[tokio::test]
async fn beside_envoy() {
    if !is_real("outlier detection beside Envoy") {
        return;
    }
    let scripts = scripts();
    let beside = Beside::start(&scripts).await;
    let walks = scripts.iter().map(async |(name, script)| {
        let steps = Replay::of(script);
        let interval = super::settings(&script["outlier_detection"]).interval;
        let caller = Caller::connect(beside.address).await;
        let mut walk = Walk {
            beside: &beside,
            name,
            caller,
            happened: Vec::new(),
            out: BTreeSet::new(),
            overflows: 0,
        };
        walk.through(&steps, interval).await;

        let ours = steps
            .iter()
            .filter_map(|step| Some((step.happened()?, step.at_ms()? as f64 / 1_000.0)));
        let (ours, envoys) = (lasted(ours), lasted(walk.happened.iter().cloned()));
        println!("{name}: ejections of {ours:?} s, Envoy's of {envoys:?} s");
        assert_eq!(ours.len(), envoys.len());
        let interval_s = interval.as_secs_f64();
        for (our, envoy) in ours.iter().zip(&envoys) {
            assert!(our.1 - interval_s < envoy.1 + 0.01, "{name}: {envoy:?}");
            for (longer, envoys_longer) in ours.iter().zip(&envoys) {
                let is_longer = our.1 + interval_s <= longer.1;
                assert!(!is_longer || envoy.1 < envoys_longer.1, "{name}: {envoys:?}");
            }
        }
    });
    join_all(walks).await;
}

async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), waiting).await.is_ok(), "never: {what}");
}

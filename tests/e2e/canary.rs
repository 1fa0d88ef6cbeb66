//! A canary moved and taken back by one command, with real proxies and traffic that does not stop.

use crate::policy::{FOUNDING, founding, json};
use fusebox_proto::Now;
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::{Mesh, Sidecar};
use fusebox_tests::process::free_port;
use fusebox_tests::upstream::{Answer, Upstream};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Requests of each proxy that are looked at in each state.
const ENOUGH: usize = 400;
/// So far a share may be from what is due after any number of requests (see the proxy's `turns`).
const AWAY_MAX: f64 = 5.0;

/// When a request began, and whether v2 answered it.
type Told = (Instant, bool);

/// A proxy of `payment`, with a caller that never stops.
struct Called {
    _proxy: Sidecar,
    told: Arc<Mutex<Vec<Told>>>,
    caller: JoinHandle<()>,
}

impl Called {
    async fn start(mesh: &Mesh, v1: SocketAddr, v2: SocketAddr) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let outbound = format!("{listen}=inventory@{v1};version=v1,{v2};version=v2");
        let proxy = mesh.proxy_with("payment", None, &[], &["--outbound", &outbound]).await;
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let telling = Arc::clone(&told);
        let caller = tokio::spawn(async move {
            loop {
                let began = Now::read().instant;
                let answer = client::get(listen, "/", &[]).await.expect("a proxy answers");
                assert_eq!(answer.status(), 200);
                telling.lock().expect("nobody panics with it").push((began, answer.body() == "v2"));
            }
        });
        Self { _proxy: proxy, told, caller }
    }

    /// Of the requests that began after `since`, once there are enough: all, and those of v2.
    async fn since(&self, since: Instant) -> (usize, usize) {
        eventually("there was enough traffic", Duration::from_mins(1), || async {
            assert!(!self.caller.is_finished(), "the caller met a failure");
            let told = self.told.lock().expect("nobody panics with it");
            let after: Vec<&Told> = told.iter().filter(|(began, _)| since < *began).collect();
            let v2 = after.iter().filter(|(_, is_v2)| *is_v2).count();
            if ENOUGH <= after.len() { Ok((after.len(), v2)) } else { Err(after.len()) }
        })
        .await
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        self.caller.abort();
    }
}

/// Runs a command that changes the policy; it must be in force on all three proxies within a second,
/// on the collector's clock and on the user's. Returns when it came back.
fn within_a_second(mesh: &Mesh, args: &[&str]) -> Instant {
    let args = [args, &["--output", "json"]].concat();
    let began = Now::read().instant;
    let finished = mesh.fusebox(&args);
    let back = Now::read().instant;
    let result = json(&finished, 0);
    let (applied_ms, took) = (result["applied_ms"].as_f64(), back - began);
    println!("{}: in force after {applied_ms:?} ms, back after {took:?}", args[0]);
    assert_eq!((&result["applied"], &result["proxies"]), (&3.into(), &3.into()), "{result}");
    assert!(applied_ms.is_some_and(|ms| ms < 1_000.0), "{result}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    back
}

/// That each proxy sends a tenth of what begins from now on to v2.
async fn is_a_tenth(proxies: &[Called], since: Instant) {
    for proxy in proxies {
        let (all, v2) = proxy.since(since).await;
        println!("{v2} of {all} to v2");
        let due = all as f64 / 10.0;
        assert!((v2 as f64 - due).abs() <= AWAY_MAX, "{v2} of {all}");
    }
}

/// Scenario: the four files of the founding guide, unchanged, under traffic through three real
/// proxies with both versions behind them; the canary is shifted to 0, and that is rolled back.
/// Guarantees: 90/10 on each proxy; each command is in force on all three in less than a second, and
/// back at the user's prompt; from then on not one request of any proxy goes to v2, and after the
/// rollback it is 90/10 again; nobody who calls notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_goes_to_zero_and_back_within_a_second() {
    let mesh = Mesh::start(&[]).await;
    let version = |name: &'static str| {
        Upstream::start(move |_, _| Answer { body: name.into(), ..Answer::status(200) })
    };
    let (v1, v2) = (version("v1").await, version("v2").await);
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Called::start(&mesh, v1.address(), v2.address()).await);
    }
    let files = FOUNDING.map(founding);
    let mut apply = vec!["apply"];
    apply.extend(files.iter().flat_map(|file| ["-f", file.as_str()]));
    let since = within_a_second(&mesh, &apply);
    is_a_tenth(&proxies, since).await;

    let since = within_a_second(&mesh, &["shift", "inventory", "v1=100", "v2=0"]);
    for proxy in &proxies {
        let (all, v2) = proxy.since(since).await;
        assert_eq!(v2, 0, "of {all} requests after the command came back");
    }

    let since = within_a_second(&mesh, &["rollback"]);
    is_a_tenth(&proxies, since).await;
}

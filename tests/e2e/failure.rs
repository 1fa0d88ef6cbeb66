//! What is lost when something dies: nothing.

use crate::trip::{Triangle, status};
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Sidecar;
use fusebox_tests::upstream::{Answer, Upstream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Calls a proxy without pause until told to stop; returns the statuses in order.
fn load(proxy: SocketAddr, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<u16>> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut seen = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            seen.push(status(proxy).await);
        }
        seen
    })
}

/// Scenario: a trip of 4 s is in force under load on two edges when the collector is killed with
/// SIGKILL; it comes back after the lease ended.
/// Guarantees: not one request is lost, the trip stands, its lease ends without the collector, and
/// proxies return to the new collector by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_outlives_the_collector_and_ends_by_itself() {
    let mut triangle = Triangle::start().await;
    let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--ttl", "4s"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    let stop = Arc::new(AtomicBool::new(false));
    let (a, c) = (triangle.a_proxy.outbound[0], triangle.c_proxy.outbound[0]);
    let (on_a, on_c) = (load(a, &stop), load(c, &stop));
    triangle.mesh.kill_collector();
    assert_eq!(status(a).await, 503, "the trip stands without the collector");
    eventually("the lease ends by itself", Duration::from_secs(30), || async {
        match status(a).await {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let (on_a, on_c) = (on_a.await.unwrap(), on_c.await.unwrap());
    assert!(on_c.iter().all(|&status| status == 200), "a request of c was lost");
    assert!(on_a.iter().all(|status| [200, 503].contains(status)), "a request of a was lost");
    assert!(on_a.contains(&503) && on_a.len() > 10, "load was running: {}", on_a.len());

    triangle.mesh.start_collector().await;
    triangle.mesh.edge("a", "b", |edge| edge["proxies"] == 1).await;
}

/// Scenario: the collector restarts while a long lease is in force.
/// Guarantees: the new collector, which knew nothing, learns of the trip from the proxies, and can
/// end it.
#[tokio::test]
async fn a_new_collector_learns_leases_from_proxies() {
    let mut triangle = Triangle::start().await;
    let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--ttl", "10m", "--reason", "drill"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    triangle.mesh.kill_collector();
    triangle.mesh.start_collector().await;
    let breaker = eventually("the breaker is known", Duration::from_secs(15), || async {
        let breakers = triangle.mesh.api("breakers").await.map_err(|e| e.to_string())?;
        let breaker = breakers["breakers"][0].clone();
        if breaker["applied"] == 1 { Ok(breaker) } else { Err(breakers.to_string()) }
    })
    .await;
    assert_eq!((&breaker["edge"], &breaker["reason"]), (&"a>b".into(), &"drill".into()));
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 503);
    let edge = triangle.mesh.edge("a", "b", |edge| edge["breaker"]["state"] == "forced_open").await;
    assert_eq!((&edge["breaker"]["applied"], &edge["breaker"]["proxies"]), (&1.into(), &1.into()));
    let reset = triangle.mesh.fusebox(&["reset", "a", "b", "--now"]);
    assert_eq!(reset.code, Some(0), "{reset:?}");
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 200);
}

/// Scenario: a proxy starts where no collector ever was.
/// Guarantees: it serves.
#[tokio::test]
async fn a_proxy_needs_no_collector() {
    let b = Upstream::start(|_, _| Answer::status(200)).await;
    let nobody = format!("http://127.0.0.1:{}", fusebox_tests::process::free_port());
    let proxy = Sidecar::start(&nobody, "a", None, &[("b", &[b.address()])]).await;
    assert_eq!(status(proxy.outbound[0]).await, 200);
    assert_eq!(proxy.process.terminate().code(), Some(0));
}

/// Scenario: an endpoint that is not there, and one that comes back.
/// Guarantees: the caller gets a clear 5xx at once, never a broken connection; then service.
#[tokio::test]
async fn a_dead_endpoint_is_answered_for() {
    let nobody = format!("http://127.0.0.1:{}", fusebox_tests::process::free_port());
    let port = SocketAddr::from(([127, 0, 0, 1], fusebox_tests::process::free_port()));
    let proxy = Sidecar::start(&nobody, "a", None, &[("b", &[port])]).await;
    assert!([502, 503].contains(&status(proxy.outbound[0]).await));
}

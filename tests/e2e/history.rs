//! A collector that dies, or whose disk is full, and what is known afterwards.

use crate::trip::{Triangle, parse, signal, status};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::upstream::{Answer, Upstream};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

async fn triangle(folder: &TempDir) -> Triangle {
    let path = folder.path().join("data");
    Triangle::start_with(&["--data-dir", path.to_str().expect("UTF-8")]).await
}

/// The only breaker that is not closed, or wished otherwise, once `is_so` holds for it.
async fn breaker(triangle: &Triangle, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually("the breaker", LIMIT, || async {
        let breakers = triangle.mesh.api("breakers").await.map_err(|e| e.to_string())?;
        let breaker = breakers["breakers"][0].clone();
        if is_so(&breaker) { Ok(breaker) } else { Err(breakers.to_string()) }
    })
    .await
}

/// Scenario: an edge is tripped; its proxy is stopped (SIGSTOP), the collector killed (SIGKILL) and
/// started again on the same data directory.
/// Guarantees: the lease is known with who, why and until when before the proxy is back, and holds
/// in it once it is; a reset by name then ends it.
#[tokio::test]
async fn a_lease_is_known_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut triangle = triangle(&folder).await;
    let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--ttl", "10m", "--reason", "drill"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    let before = breaker(&triangle, |breaker| breaker["applied"] == 1).await;
    signal("-STOP", &triangle.a_proxy);
    triangle.mesh.kill_collector();
    triangle.mesh.start_collector().await;
    let left = breaker(&triangle, |breaker| breaker["edge"] == "a>b").await;
    assert_eq!((&left["applied"], &left["reason"]), (&0.into(), &"drill".into()), "{left}");
    assert_eq!((&left["by"], &left["until"]), (&before["by"], &before["until"]), "{left}");
    signal("-CONT", &triangle.a_proxy);
    breaker(&triangle, |breaker| breaker["applied"] == 1).await;
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 503);
    let reset = triangle.mesh.fusebox(&["reset", "a", "b", "--now"]);
    assert_eq!(reset.code, Some(0), "{reset:?}");
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 200);
}

/// One request of a caller that tries five times, whatever it is told, without a pause.
pub(crate) async fn request(proxy: SocketAddr, number: u32) {
    let parent = format!("00-{number:032x}-{number:016x}-01");
    for _ in 0..5 {
        let _ = client::get(proxy, "/stock/1", &[("traceparent", &parent)]).await;
    }
}

/// Scenario: a retry storm; the collector is killed (SIGKILL) and started again on the same data
/// directory, first while the storm rages, then after it is over.
/// Guarantees: the incident is listed under its id each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incidents_are_listed_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut triangle = triangle(&folder).await;
    let failing = Upstream::start(|_, _| Answer::status(503)).await;
    let proxy = triangle.mesh.proxy("caller", None, &[("callee", &[failing.address()])]).await;
    let (stop, entry) = (Arc::new(AtomicBool::new(false)), proxy.outbound[0]);
    let is_over = Arc::clone(&stop);
    let load = tokio::spawn(async move {
        let mut number = 0;
        while !is_over.load(Ordering::Relaxed) {
            number += 1;
            request(entry, number).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let open = incident(&triangle, |incident| incident["state"] == "open").await;
    sync(&triangle, "a");
    triangle.mesh.kill_collector();
    triangle.mesh.start_collector().await;
    let left = incident(&triangle, |incident| incident["id"] == open["id"]).await;
    assert_eq!(
        (&left["state"], &left["opened_at"]),
        (&open["state"], &open["opened_at"]),
        "{left}"
    );
    // Its storm goes on, so it is the same one, with nothing left to say about a restart.
    let is_left = |incident: &Value| {
        let note = incident["data_quality"]["note"].as_str().expect("a note");
        note.contains("the collector restarted")
    };
    incident(&triangle, |incident| !is_left(incident)).await;
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let over = incident(&triangle, |incident| incident["state"] == "resolved").await;
    sync(&triangle, "c");
    triangle.mesh.kill_collector();
    triangle.mesh.start_collector().await;
    assert_eq!(incident(&triangle, |_| true).await, over);
}

/// Waits until everything that happened so far is on disk: a command is acknowledged only once it
/// is, and records are written in order.
fn sync(triangle: &Triangle, source: &str) {
    let trip = triangle.mesh.fusebox(&["trip", source, "b", "--ttl", "1s", "--output", "json"]);
    let result = parse(&trip.stdout);
    assert!(result["note"].as_str().is_none_or(|note| !note.contains("disk")), "{result}");
}

/// The only incident, once `is_so` holds for it.
async fn incident(triangle: &Triangle, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually("the incident", Duration::from_mins(1), || async {
        let incidents = triangle.mesh.api("incidents").await.map_err(|e| e.to_string())?;
        match &incidents["incidents"].as_array().expect("a list")[..] {
            [incident] if is_so(incident) => Ok(incident.clone()),
            _ => Err(incidents.to_string()),
        }
    })
    .await
}

/// Scenario: the collector's files may not grow any more (as with `ulimit -f`, whose signal would
/// end a program that does not expect it), an edge is tripped, and later they may again.
/// Guarantees: the trip is in force at once, and its answer says that it is not on disk; the status
/// says that something is not kept; once there is room, the lease is on disk after all: a collector
/// that is killed then knows it.
#[tokio::test]
async fn a_full_disk_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut triangle = triangle(&folder).await;
    let collector = triangle.mesh.collector_id();
    let allow = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        let pid = Pid::from_raw(collector.try_into().expect("a process id"));
        prlimit(pid, Resource::Fsize, limit).expect("our own child");
    };
    allow(Some(4_096));
    let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--ttl", "10m", "--output", "json"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    let result = parse(&trip.stdout);
    assert_eq!((&result["applied"], &result["proxies"]), (&1.into(), &1.into()), "{result}");
    let note = result["note"].as_str().expect("a note");
    assert!(note.contains("not on the collector's disk"), "{result}");
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 503);
    let told = eventually("the status tells", LIMIT, || async {
        let told = triangle.mesh.api("status").await.map_err(|e| e.to_string())?;
        if told["health"] == "degraded" { Ok(told) } else { Err(told.to_string()) }
    })
    .await;
    assert!(told["collector"]["dropped"]["history_records"].as_u64() > Some(0), "{told}");
    assert_eq!(told["collector"]["history"], "failing", "{told}");

    allow(None);
    // Nobody has to do anything for it: the collector tries by itself.
    eventually("it is written again", LIMIT, || async {
        let is_told = triangle.mesh.collector_says("the history is written again");
        is_told.then_some(()).ok_or("nothing of it in the log")
    })
    .await;
    sync(&triangle, "c");
    triangle.mesh.kill_collector();
    signal("-STOP", &triangle.a_proxy);
    triangle.mesh.start_collector().await;
    breaker(&triangle, |breaker| breaker["edge"] == "a>b" && breaker["applied"] == 0).await;
    signal("-CONT", &triangle.a_proxy);
}

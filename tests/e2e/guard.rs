//! Guard mode through the real programs: nobody is at the keys.

use crate::history::request;
use crate::trip::parse;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use fusebox_tests::process;
use fusebox_tests::upstream::{Answer, Upstream};
use serde_json::Value;
use std::time::Duration;

/// Scenario: a collector with `--guard act`; a caller whose client tries five times without a pause,
/// and a callee that fails from the first second; nobody touches anything.
/// Guarantees: retries are muted on that edge by `guard`, for the incident and with an end; the callee
/// gets one attempt per request; the API, the command line and the metrics say who did it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_stopped_with_nobody_at_the_keys() {
    let mesh = Mesh::start(&["--guard", "act"]).await;
    let failing = Upstream::start(|_, _| Answer::status(503)).await;
    let proxy = mesh.proxy("caller", None, &[("callee", &[failing.address()])]).await;
    let entry = proxy.outbound[0];
    let load = tokio::spawn(async move {
        for number in 1.. {
            request(entry, number).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let muted = eventually("the guard mutes retries", Duration::from_mins(1), || async {
        let breakers = mesh.api("breakers").await.map_err(|e| e.to_string())?;
        let breaker = breakers["breakers"][0].clone();
        let is_muted = breaker["state"] == "retries_muted" && breaker["applied"] == 1;
        if is_muted { Ok(breaker) } else { Err(breakers.to_string()) }
    })
    .await;
    assert_eq!((&muted["edge"], &muted["by"]), (&"caller>callee".into(), &"guard".into()));
    assert!(muted["until"].is_string(), "{muted}");
    let incidents = mesh.api("incidents").await.expect("JSON");
    let incident: &Value = &incidents["incidents"][0];
    let id = incident["id"].as_str().expect("an id");
    assert_eq!(muted["reason"], format!("incident #{id}"), "{muted}");
    assert_eq!(incident["guard"]["actions"], 1, "{incident}");

    let is_calm = |edge: &Value| edge["attempts_per_request"].as_f64().is_some_and(|it| it < 1.05);
    mesh.edge("caller", "callee", is_calm).await;
    load.abort();
    let status = parse(&mesh.fusebox(&["status", "--output", "json"]).stdout);
    let guard = &status["guard"];
    assert_eq!((&guard["mode"], &guard["actions"]), (&"act".into(), &1.into()), "{guard}");
    let table = mesh.fusebox(&["status"]).stdout;
    assert!(table.contains("guard      act, 1 lease taken, 1 in force"), "{table}");
    let metrics = mesh.metrics().await;
    assert!(metrics.contains("\nfusebox_guard_actions_total 1\n"), "{metrics}");
}

/// Scenario: guard flags that mean nothing.
/// Guarantees: exit 2, the flag, and what is allowed.
#[test]
fn what_guard_mode_may_be() {
    let check = |args: &[&str], expected: [&str; 2]| {
        let refused = process::run("fusebox-collector", args);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(expected.iter().all(|part| refused.stderr.contains(part)), "{refused:?}");
    };
    check(&["--guard", "maybe"], ["--guard", "off, suggest and act"]);
    check(&["--in-memory", "--guard-per-minute", "0"], ["--guard-per-minute", "1 to 60"]);
    check(&["--in-memory", "--guard-at-once", "1001"], ["--guard-at-once", "1 to 1000"]);
    check(&["--in-memory", "--guard-share", "101"], ["--guard-share", "1 to 100"]);
}

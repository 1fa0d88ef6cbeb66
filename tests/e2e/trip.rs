//! Three services with a proxy on each edge: what `fusebox trip` does, and to whom.

use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::{Mesh, Sidecar};
use fusebox_tests::upstream::{Answer, Upstream};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// `a` and `c` call `b`; each has its own proxy, and so has `b`.
pub(crate) struct Triangle {
    pub(crate) mesh: Mesh,
    pub(crate) b: Upstream,
    pub(crate) a_proxy: Sidecar,
    pub(crate) c_proxy: Sidecar,
    pub(crate) b_proxy: Sidecar,
}

impl Triangle {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With extra arguments for the collector.
    pub(crate) async fn start_with(extra: &[&str]) -> Self {
        let mesh = Mesh::start(extra).await;
        let b = Upstream::start(|_, _| Answer::status(200)).await;
        let b_proxy = mesh.proxy("b", Some(b.address()), &[]).await;
        let entry = b_proxy.inbound.expect("b has an application");
        let a_proxy = mesh.proxy("a", None, &[("b", &[entry])]).await;
        let c_proxy = mesh.proxy("c", None, &[("b", &[entry])]).await;
        let triangle = Self { mesh, b, a_proxy, c_proxy, b_proxy };
        for proxy in [&triangle.a_proxy, &triangle.c_proxy] {
            assert_eq!(status(proxy.outbound[0]).await, 200);
        }
        triangle.mesh.edge("a", "b", |edge| edge["proxies"] == 1).await;
        triangle.mesh.edge("c", "b", |edge| edge["proxies"] == 1).await;
        triangle
    }
}

pub(crate) async fn status(proxy: SocketAddr) -> u16 {
    client::get(proxy, "/stock/1", &[]).await.expect("a proxy always answers").status().as_u16()
}

pub(crate) fn parse(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|e| panic!("{e}: {stdout}"))
}

/// Scenario: `fusebox trip a b`, then `reset --now`.
/// Guarantees: every call of `a` to `b` is refused at once with the headers of the contract, no
/// such call reaches `b`, `c` still gets through, the API tells the same, and reset undoes it.
#[tokio::test]
async fn a_trip_refuses_on_its_edge_alone() {
    let triangle = Triangle::start().await;
    let Triangle { mesh, b, a_proxy, c_proxy, .. } = &triangle;
    let trip =
        mesh.fusebox(&["trip", "a", "b", "--ttl", "1m", "--reason", "drill", "--output", "json"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    let result = parse(&trip.stdout);
    assert_eq!((&result["applied"], &result["proxies"]), (&1.into(), &1.into()), "{result}");
    assert_eq!(result["edge"], serde_json::json!({"source": "a", "destination": "b"}));
    assert_eq!(result["action"], "open");
    assert!(result["applied_ms"].as_f64().is_some_and(|ms| ms < 100.0), "{result}");

    let before = b.count();
    let refused = client::get(a_proxy.outbound[0], "/stock/1", &[]).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["x-fusebox-refused"], "forced-open; edge=a>b");
    assert_eq!(refused.headers()["x-envoy-ratelimited"], "true");
    assert!(!refused.headers().contains_key("retry-after"));
    assert_eq!(b.count(), before, "a refused call reached b");
    assert_eq!(status(c_proxy.outbound[0]).await, 200);

    let edge = mesh.edge("a", "b", |edge| edge["breaker"]["state"] == "forced_open").await;
    assert_eq!(edge["breaker"]["applied"], 1);
    assert!(edge["breaker"]["until"].is_string(), "{edge}");
    let breakers = mesh.fusebox(&["breakers", "--output", "json"]);
    let breaker = parse(&breakers.stdout)["breakers"][0].clone();
    assert_eq!((&breaker["edge"], &breaker["reason"]), (&"a>b".into(), &"drill".into()));
    mesh.edge("c", "b", |edge| edge["breaker"]["state"] == "closed").await;

    let reset = mesh.fusebox(&["reset", "a", "b", "--now", "--output", "json"]);
    assert_eq!(reset.code, Some(0), "{reset:?}");
    assert_eq!(status(a_proxy.outbound[0]).await, 200);
    mesh.edge("a", "b", |edge| edge["breaker"]["state"] == "closed").await;
}

/// Scenario: trips on an edge that no proxy enforces, on unknown and on ambiguous names.
/// Guarantees: `applied: 0`, exit 1 and the reason; exit 2 and the candidates.
#[tokio::test]
async fn what_cannot_be_enforced_is_said() {
    let triangle = Triangle::start().await;
    let mesh = &triangle.mesh;
    let trip = mesh.fusebox(&["trip", "b", "a", "--output", "json"]);
    assert_eq!(trip.code, Some(1), "{trip:?}");
    let result = parse(&trip.stdout);
    assert_eq!((&result["applied"], &result["proxies"]), (&0.into(), &0.into()), "{result}");
    assert!(result["note"].as_str().is_some_and(|note| note.contains("prox")), "{result}");

    let unknown = mesh.fusebox(&["trip", "a", "bb"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(
        unknown.stderr.contains("bb") && unknown.stderr.contains("\"b\"")
            || unknown.stderr.contains(" b"),
        "{unknown:?}"
    );

    let other = triangle.b_proxy.inbound.expect("b has an application");
    let other = Sidecar::start(&mesh.control(), "payments", Some(other), &[]).await;
    let ambiguous = mesh.fusebox(&["trip", "a", "b", "--ttl", "2h"]);
    assert_eq!(ambiguous.code, Some(2), "{ambiguous:?}");
    drop(other);
}

/// Scenario: two proxies of `a`; one is stopped (SIGSTOP) when the trip comes.
/// Guarantees: the answer says 1 of 2 and exits with 4; once it runs again, it takes the trip.
#[tokio::test]
async fn a_partial_trip_is_told_as_partial() {
    let triangle = Triangle::start().await;
    let entry = triangle.b_proxy.inbound.expect("b has an application");
    let second = triangle.mesh.proxy("a", None, &[("b", &[entry])]).await;
    triangle.mesh.edge("a", "b", |edge| edge["proxies"] == 2).await;
    signal("-STOP", &second);
    let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--output", "json"]);
    signal("-CONT", &second);
    assert_eq!(trip.code, Some(4), "{trip:?}");
    let result = parse(&trip.stdout);
    assert_eq!((&result["applied"], &result["proxies"]), (&1.into(), &2.into()), "{result}");
    eventually("the stopped proxy takes the trip", Duration::from_secs(10), || async {
        match status(second.outbound[0]).await {
            503 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    triangle.mesh.edge("a", "b", |edge| edge["breaker"]["applied"] == 2).await;
}

pub(crate) fn signal(name: &str, proxy: &Sidecar) {
    let id = proxy.process.id().to_string();
    assert!(
        std::process::Command::new("kill").args([name, &id]).status().expect("kill runs").success()
    );
}

/// Scenario: `shed` at 50 % and `cap`, each with first attempts in a row.
/// Guarantees: each refuses some and lets some pass, with its own reason.
#[tokio::test]
async fn graduated_actions_refuse_a_part() {
    let triangle = Triangle::start().await;
    for (action, reason) in [("shed", "shed; edge=a>b"), ("cap", "capped; edge=a>b")] {
        // A cap is made from what is usual, so something must have been seen.
        let is_seen = |edge: &Value| edge["rate"].as_f64().is_some_and(|rate| 0.0 < rate);
        triangle.mesh.edge("a", "b", is_seen).await;
        let trip = triangle.mesh.fusebox(&["trip", "a", "b", "--action", action]);
        assert_eq!(trip.code, Some(0), "{trip:?}");
        let (mut passed, mut refused) = (0, 0);
        for _ in 0..200 {
            let answer = client::get(triangle.a_proxy.outbound[0], "/stock/1", &[]).await.unwrap();
            match answer.headers().get("x-fusebox-refused") {
                None => passed += 1,
                Some(why) => {
                    assert_eq!(why, reason);
                    assert_eq!(answer.status(), 503);
                    refused += 1;
                }
            }
        }
        assert!(0 < passed && 0 < refused, "{action}: {passed} passed, {refused} refused");
        let reset = triangle.mesh.fusebox(&["reset", "--all", "--now"]);
        assert_eq!(reset.code, Some(0), "{reset:?}");
    }
    assert_eq!(status(triangle.a_proxy.outbound[0]).await, 200);
}

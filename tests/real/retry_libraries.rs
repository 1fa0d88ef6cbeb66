//! Storms made by real retry libraries in their default settings, muted in the sidecar.

use crate::setup::{Service, is_real, node_service, otel, python_service};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use fusebox_tests::upstream::{Answer, Upstream};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Requests of each phase.
const REQUESTS: usize = 40;

struct Phase {
    attempts_per_request: f64,
    slowest: Duration,
}

/// Sends the requests one after the other; counts what reaches the callee.
async fn drive(caller: SocketAddr, callee: &Upstream) -> Phase {
    let before = callee.count();
    let mut slowest = Duration::ZERO;
    for _ in 0..REQUESTS {
        #[expect(clippy::disallowed_methods, reason = "measures a real library")]
        let start = Instant::now();
        client::get(caller, "/order", &[]).await.expect("the caller answers");
        #[expect(clippy::disallowed_methods, reason = "measures a real library")]
        let took = start.elapsed();
        slowest = slowest.max(took);
    }
    let attempts = callee.count() - before;
    Phase { attempts_per_request: attempts as f64 / REQUESTS as f64, slowest }
}

/// The storm of one library, before and after muting.
async fn check<F: Future<Output = Service>>(
    library: &str,
    attempts: f64,
    caller: impl FnOnce(Vec<(String, String)>) -> F,
) {
    let mesh = Mesh::start(&[]).await;
    let callee = Upstream::start(|_, _| Answer::status(503)).await;
    let proxy = mesh.proxy("caller", None, &[("callee", &[callee.address()])]).await;
    let mut variables = otel("caller", &mesh.otlp_http(), "http/protobuf");
    variables.push(("CALLS".into(), format!("http://{}/stock", proxy.outbound[0])));
    variables.push(("LIBRARY".into(), library.into()));
    let caller = caller(variables).await;

    let storm = drive(caller.address, &callee).await;
    assert!(
        (storm.attempts_per_request - attempts).abs() < 0.1,
        "{library}: {}",
        storm.attempts_per_request
    );
    // Recognised, not only counted: the ratio comes from first attempts and retries.
    let seen = mesh.edge("caller", "callee", |edge| !edge["attempts_per_request"].is_null()).await;
    let factor = |edge: &Value| edge["attempts_per_request"].as_f64();
    eventually("the factor", Duration::from_secs(5), || async {
        let edge = mesh.edge("caller", "callee", |edge| factor(edge).is_some()).await;
        let near = factor(&edge).is_some_and(|factor| (factor / attempts - 1.0).abs() < 0.1);
        if near { Ok(()) } else { Err(edge.to_string()) }
    })
    .await;
    assert!(seen["refused_per_s"].as_f64().is_none_or(|refused| refused == 0.0), "{seen}");

    let trip = mesh.fusebox(&["trip", "caller", "callee", "--action", "mute-retries"]);
    assert_eq!(trip.code, Some(0), "{trip:?}");
    let muted = drive(caller.address, &callee).await;
    assert!(muted.attempts_per_request <= 1.05, "{library}: {}", muted.attempts_per_request);
    assert!(1.0 <= muted.attempts_per_request, "{library}: first attempts must flow");
    let slack = Duration::from_millis(50);
    assert!(
        muted.slowest <= storm.slowest + slack,
        "{library}: {:?} > {:?}",
        muted.slowest,
        storm.slowest
    );
}

/// Scenario: urllib3's `Retry`: all attempts of a call under one `traceparent`.
/// Guarantees: recognised as four attempts a request; muted to one, and the caller waits no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urllib3_is_recognised_and_muted() {
    if is_real("urllib3") {
        check("urllib3", 4.0, |variables| python_service("caller", variables)).await;
    }
}

/// Scenario: tenacity around requests: a new span id for each attempt.
/// Guarantees: as for urllib3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenacity_is_recognised_and_muted() {
    if is_real("tenacity") {
        check("tenacity", 4.0, |variables| python_service("caller", variables)).await;
    }
}

/// Scenario: axios-retry: a new span id for each attempt.
/// Guarantees: as for urllib3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axios_retry_is_recognised_and_muted() {
    if is_real("axios-retry") {
        check("axios-retry", 4.0, node_service).await;
    }
}

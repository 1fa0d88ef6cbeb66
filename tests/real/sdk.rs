//! Real OpenTelemetry SDKs without any proxy.

use crate::setup::{Service, is_real, node_service, otel, python_service, redis};
use fusebox_tests::client;
use fusebox_tests::mesh::Mesh;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Scenario: two Python services under auto-instrumentation (one exports over gRPC, one over
/// HTTP) and a redis; the first calls the second, which counts in redis.
/// Guarantees: `fusebox services` and `fusebox edges` show exactly these, no node and no edge more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_graph_of_a_python_shop_is_exactly_what_is_there() {
    if !is_real("the graph of a Python shop") {
        return;
    }
    let mesh = Mesh::start(&[]).await;
    let (_redis, port) = redis();
    let mut variables = otel("inventory", &mesh.otlp_http(), "http/protobuf");
    variables.push(("REDIS".into(), port.to_string()));
    let inventory = python_service("inventory", variables).await;
    let mut variables = otel("payment", &mesh.otlp_grpc(), "grpc");
    variables.push(("CALLS".into(), format!("http://{}/stock", inventory.address)));
    let payment = python_service("payment", variables).await;
    for _ in 0..30 {
        let answer = client::get(payment.address, "/order", &[]).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let has_traffic = |edge: &Value| edge["rate"].as_f64().is_some_and(|rate| 0.0 < rate);
    mesh.edge("payment", "inventory", has_traffic).await;
    // Two redises would be two nodes.
    let redis = format!("redis@localhost:{port}");
    mesh.edge("inventory", &redis, has_traffic).await;

    let edges = mesh.api("edges").await.unwrap();
    let edges: BTreeSet<(&str, &str)> = (edges["edges"].as_array().unwrap().iter())
        .map(|edge| (edge["source"].as_str().unwrap(), edge["destination"].as_str().unwrap()))
        .collect();
    assert_eq!(edges, BTreeSet::from([("payment", "inventory"), ("inventory", &redis)]));
    let services = mesh.api("services").await.unwrap();
    let services: BTreeSet<(&str, &str)> = (services["services"].as_array().unwrap().iter())
        .map(|service| (service["name"].as_str().unwrap(), service["kind"].as_str().unwrap()))
        .collect();
    let expected = [("payment", "service"), ("inventory", "service"), (&redis, "database")];
    assert_eq!(services, BTreeSet::from(expected));
}

/// A Node service that calls a Python one that calls another, each under auto-instrumentation with
/// the SDKs' own settings: batches of five seconds.
async fn chain(mesh: &Mesh) -> [Service; 3] {
    let variables = |name: &str, calls: Option<&Service>, path: &str| {
        let mut variables = otel(name, &mesh.otlp_http(), "http/protobuf");
        variables.retain(|(name, _)| name != "OTEL_BSP_SCHEDULE_DELAY");
        let url = calls.map(|service| format!("http://{}{path}", service.address));
        variables.extend(url.map(|url| ("CALLS".into(), url)));
        variables
    };
    let inventory = python_service("inventory", variables("inventory", None, "")).await;
    let of_payment = variables("payment", Some(&inventory), "/stock");
    let payment = python_service("payment", of_payment).await;
    let frontend = node_service(variables("frontend", Some(&payment), "/order")).await;
    [frontend, payment, inventory]
}

/// Scenario: twenty seconds of traffic through a Node and two Python services without any proxy; then
/// the last one gets slow.
/// Guarantees: whoever asks for a diagnosis is told of it, before everybody who waits for it, within
/// eight seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_service_is_named_within_seconds() {
    if !is_real("a slow service behind real SDKs") {
        return;
    }
    let mesh = Mesh::start(&[]).await;
    let [frontend, _payment, inventory] = chain(&mesh).await;
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let visit = || async {
        let answer = client::get(frontend.address, "/order", &[]).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    };
    for _ in 0..400 {
        pace.tick().await;
        visit().await;
    }
    client::get(inventory.address, "/slow?ms=100", &[]).await.expect("an answer");
    #[expect(clippy::disallowed_methods, reason = "measures what a person waits")]
    let began = Instant::now();
    let mut told = Vec::new();
    let took = loop {
        visit().await;
        let diagnosis = mesh.api("diagnose").await.expect("a diagnosis");
        #[expect(clippy::disallowed_methods, reason = "measures what a person waits")]
        let after = began.elapsed();
        let first = diagnosis["suspects"][0]["service"].as_str().unwrap_or("nobody").to_owned();
        if first == "inventory" {
            break after;
        }
        told.push((after, first));
        assert!(after < Duration::from_secs(30), "{told:?}");
    };
    println!("named after {took:?}");
    let is_wrong = |(_, first): &&(Duration, String)| first != "nobody";
    assert_eq!(told.iter().find(is_wrong), None, "somebody else was suspected");
    assert!(took <= Duration::from_secs(8), "{took:?}: {told:?}");
    let text = mesh.fusebox(&["diagnose"]).stdout;
    assert!(text.contains("inventory") && text.contains("SUSPECT"), "{text}");
}

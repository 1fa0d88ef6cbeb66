//! Real OpenTelemetry SDKs without any proxy.

use crate::setup::{is_real, otel, python_service, redis};
use fusebox_tests::client;
use fusebox_tests::mesh::Mesh;
use serde_json::Value;
use std::collections::BTreeSet;

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

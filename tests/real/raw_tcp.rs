//! Databases as applications have them, through a proxy that does not know their protocol.

use crate::setup::{is_real, redis};
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

/// One run of redis' own client.
fn cli(address: SocketAddr, args: &[&str]) -> Output {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new("redis-cli");
    command.args(["-h", &host, "-p", &port]).args(args);
    command.output().unwrap_or_else(|e| panic!("redis-cli: {e}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Scenario: redis' own client and its benchmark speak to a real redis through a sidecar; then an
/// operator opens the edge.
/// Guarantees: values of every length come back unchanged, pipelined ones too; the sessions are an
/// edge of the graph with protocol tcp, and redis is a database; opened, the client is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_session_is_on_the_graph() {
    if !is_real("a redis session through a proxy") {
        return;
    }
    let mesh = Mesh::start(&[]).await;
    let (_redis, port) = redis();
    let server = SocketAddr::from(([127, 0, 0, 1], port));
    let sidecar = mesh.proxy("cart", None, &[("redis", &[server])]).await;
    let address = sidecar.outbound[0];
    eventually("redis answers", Duration::from_secs(20), || async {
        let output = cli(address, &["PING"]);
        if said(&output) == "PONG" { Ok(()) } else { Err(format!("{output:?}")) }
    })
    .await;
    for len in [1, 100, 100_000] {
        let value = "x".repeat(len);
        assert_eq!(said(&cli(address, &["SET", "key", &value])), "OK");
        assert_eq!(said(&cli(address, &["GET", "key"])), value);
    }
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut bench = Command::new("redis-benchmark");
    bench.args(["-h", &host, "-p", &port, "-n", "20000", "-c", "20", "-P", "16", "-t", "set,get"]);
    let output = bench.args(["-d", "2000", "--csv"]).output().expect("redis-benchmark runs");
    assert!(output.status.success(), "{output:?}");
    assert!(said(&output).contains("GET"), "{output:?}");

    let has_traffic = |edge: &serde_json::Value| 0.0 < edge["rate"].as_f64().unwrap_or(0.0);
    let edge = mesh.edge("cart", "redis", has_traffic).await;
    assert_eq!(edge["protocol"], "tcp");
    let services = mesh.api("services").await.unwrap();
    let services = services["services"].as_array().unwrap().clone();
    let redis = services.iter().find(|one| one["name"] == "redis").expect("it is there");
    assert_eq!(redis["kind"], "database");

    let tripped = mesh.fusebox(&["trip", "cart", "redis", "--action", "open", "--ttl", "1m"]);
    assert_eq!(tripped.code, Some(0), "{tripped:?}");
    let cut = cli(address, &["PING"]);
    assert_ne!(said(&cut), "PONG");
}

//! gRPC as applications have it, through two proxies.

use crate::setup::{is_real, python};
use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::mesh::Mesh;
use fusebox_tests::process::free_port;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What `python/grpc_calls.py` saw, by check: its server listens at `port`, its client calls
/// `target`.
fn calls(port: u16, target: SocketAddr) -> BTreeMap<String, Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("real/python/grpc_calls.py");
    let mut command = Command::new(python().join("python"));
    command.arg(script).args([port.to_string(), target.to_string()]);
    let output = command.output().expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let checks = lines.map(|line| serde_json::from_slice::<Value>(line).expect("an object a line"));
    checks.map(|check| (check["check"].as_str().expect("a name").to_owned(), check)).collect()
}

/// The statuses that `every_status` should have ended with: those it asked for.
fn every_status() -> Value {
    (1..=16).map(|status| (status.to_string(), json!(status))).collect()
}

/// What the client and the server of the script saw, against what there would be without proxies.
fn judge(told: &BTreeMap<String, Value>) {
    let expect = |check: &str, expected: Value| {
        let got = told.get(check).unwrap_or_else(|| panic!("no {check}"));
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(&got[key], value, "{key} of {got}");
        }
    };
    let fine = |more: Value| {
        let mut all = json!({"status": 0, "message": "", "trailers": []});
        let more = more.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(more);
        all
    };
    expect("unary", fine(json!({"answer": "hello", "empty": ""})));
    expect("server_streaming", fine(json!({"in_order": true})));
    expect("client_streaming", fine(json!({"in_order": true})));
    let answers: Vec<String> = (0..20).map(|n| format!("re: {n}")).collect();
    expect("bidirectional_streaming", fine(json!({"answers": answers, "rest": []})));
    expect("deadline", json!({"status": 4}));
    let had_s = told["deadline"]["server_had_s"].as_f64().expect("a time");
    // Of half a second; clients round it up.
    assert!(0.0 < had_s && had_s < 1.0, "the deadline goes along: {had_s}");
    expect("cancellation", json!({"answer": "re: word", "status": 1}));
    let every_byte: String = (0..=255u8)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect();
    let why = json!([["why", "test"], ["why-bin", every_byte]]);
    let words = "nothing at 100 %: \u{2713}\nnext line";
    expect("error", json!({"status": 5, "message": words, "trailers": why}));
    let lost = json!({"got_first": ["one", "two"], "status": 15, "message": "lost the third"});
    expect("error_after_messages", lost);
    expect("unknown_method", json!({"status": 12, "message": "Method not found!"}));
    let ends = json!([["t-end", "end"], ["t-end-bin", "00ff"]]);
    expect("metadata", json!({"unchanged": true, "status": 0, "trailers": ends}));
    expect("large_messages", json!({"there": true, "back": true, "packed": true}));
    expect("every_status", json!({"ended": every_status()}));
    assert_eq!(told.len(), 12, "{:?}", told.keys());
}

async fn metrics(admin: SocketAddr) -> Result<String, String> {
    let answer = client::get(admin, "/metrics", &[]).await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// The value of a counter on a page of metrics; 0 where it is not there.
fn counted(page: &str, name: &str) -> u64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or(0)
}

/// Scenario: a real client and a real server of gRPC with the caller's and the callee's proxy
/// between them: unary calls, streams of three kinds, deadline, cancellation, errors with and without
/// messages before them, metadata of words and of bytes, messages of 4 MiB, every status.
/// Guarantees: both sides see what they would see without proxies, word by word, and the server
/// learns of deadline and cancellation; both proxies count each call once, failures by gRPC status
/// and not by HTTP status; the edge is gRPC on the graph, and fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_through_two_proxies() {
    if !is_real("gRPC through two proxies") {
        return;
    }
    let mesh = Mesh::start(&[]).await;
    let port = free_port();
    let app = SocketAddr::from(([127, 0, 0, 1], port));
    let callee = mesh.proxy("greeter", Some(app), &[]).await;
    let caller = mesh.proxy("caller", None, &[("greeter", &[callee.inbound.unwrap()])]).await;
    judge(&calls(port, caller.outbound[0]));

    // Two of the calls the caller gives up, unless the server is first to say that one was late.
    let of_edge = |page: &str, outcome: &str| {
        let labels = "destination=\"greeter\",protocol=\"grpc\"";
        counted(page, &format!("fusebox_proxy_ended_total{{{labels},outcome=\"{outcome}\"}}"))
    };
    eventually("the caller's proxy counts 30 calls", Duration::from_secs(20), || async {
        let page = metrics(caller.admin).await?;
        let [fine, failed, late] =
            ["success", "failure", "timeout"].map(|outcome| of_edge(&page, outcome));
        let is_right = fine == 20 && failed + late == 10 && (1..=2).contains(&late);
        if is_right { Ok(()) } else { Err(page) }
    })
    .await;
    eventually("the callee's proxy counts 30 calls", Duration::from_secs(20), || async {
        let page = metrics(callee.admin).await?;
        let requests = counted(&page, "fusebox_proxy_inbound_requests_total{}");
        let failed = counted(&page, "fusebox_proxy_inbound_failures_total{}");
        let given_up = counted(&page, "fusebox_proxy_inbound_cancelled_total{}");
        let is_right = requests == 30 && failed + given_up == 10 && (1..=2).contains(&given_up);
        if is_right { Ok(()) } else { Err(page) }
    })
    .await;

    let is_failing = |edge: &Value| 0.0 < edge["error_ratio"].as_f64().unwrap_or(0.0);
    let edge = mesh.edge("caller", "greeter", is_failing).await;
    assert_eq!(edge["protocol"], "grpc");
}

//! Bodies exactly as real SDKs and Envoys sent them, sent again.

use crate::samples::{read, samples};
use crate::support::{Watcher, frame, grpc, post, start};
use fusebox_collector::Running;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One line of the samples' manifest.
#[derive(Debug, Deserialize)]
struct Sample {
    file: String,
    protocol: String,
    compression: String,
    signal: String,
    service: String,
    path: String,
    headers: BTreeMap<String, String>,
}

fn manifest(root: &Path) -> Vec<Sample> {
    serde_json::from_slice(&read(root, "MANIFEST.json")).expect("a manifest")
}

/// Headers that the client here sets itself.
const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "te"];

/// Sends one body as its SDK did, and holds the answer to the specification.
async fn resend(collector: &Running, root: &Path, sample: &Sample) {
    let body = read(root, &sample.file);
    let headers: Vec<(&str, &str)> = (sample.headers.iter())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !name.starts_with(':'))
        .filter(|(name, _)| !OURS.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    let is_compressed = sample.compression == "gzip";
    if sample.protocol == "grpc" {
        let framed = frame(is_compressed, &body);
        let answer = grpc(collector.otlp_grpc(), &sample.path, &headers, framed).await;
        assert_eq!((answer.status.as_str(), answer.message.len()), ("0", 0), "{sample:?}");
    } else {
        let answer = post(collector.otlp_http(), &sample.path, &headers, body).await;
        let is_json = sample.protocol == "http-json";
        let expected: &[u8] = if is_json { b"{}" } else { b"" };
        assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (200, expected));
        let kind = if is_json { "application/json" } else { "application/x-protobuf" };
        assert_eq!(answer.headers()["content-type"], kind, "{sample:?}");
    }
}

/// Scenario: traces, metrics and logs of Python, Node, Rust and Envoy, over gRPC and HTTP,
/// protobuf and JSON, gzip and none, each sent twice.
/// Guarantees: each is taken, also when it comes again, with an empty success in its own encoding;
/// the services that sent spans appear, each once, and each is a sender.
#[tokio::test(flavor = "multi_thread")]
async fn real_bodies_are_taken() {
    let Some(root) = samples() else { return };
    let samples = manifest(&root);
    let collector = start().await;
    for sample in samples.iter().chain(&samples) {
        resend(&collector, &root, sample).await;
    }
    let services: BTreeSet<&str> = (samples.iter())
        .filter(|sample| sample.signal == "traces")
        .map(|sample| sample.service.as_str())
        .collect();
    assert!(10 <= services.len(), "{services:?}");
    let mut watcher = Watcher::begin(collector.control()).await;
    watcher
        .until("every service that sent spans", |snapshot| {
            services.iter().all(|name| snapshot.services.iter().any(|s| s.name == **name))
        })
        .await;
    let names: BTreeSet<&str> = watcher.snapshot.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names.len(), watcher.snapshot.services.len(), "{names:?}");
    let status = &watcher.snapshot.status;
    assert!(services.len() as u64 <= status.collector.senders, "{status:?}");
    assert!(!status.collector.dropped.keys().any(|key| key.starts_with("otlp_")), "{status:?}");
}

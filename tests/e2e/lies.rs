//! A sender that lies, over OTLP/HTTP, to the real collector beside real proxies.

use crate::trip::{Triangle, status};
use bytes::Bytes;
use fusebox_proto::{Now, text};
use fusebox_tests::eventually::eventually;
use fusebox_tests::{client, is_asked_for};
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Services in one request, each with an instance, an operation, an edge and attributes of its own.
const NAMES: u64 = 2_000;
/// After 150,000 lies the collector of a test build was seen to have 191 MiB; what it may hold of spans
/// and of telemetry as it came is some hundred more. Beyond this something has no bound.
const RSS_KIB_MAX: u64 = 768 * 1_024;

/// Memory of a process, KiB.
fn rss_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

async fn post(address: SocketAddr, kind: &str, body: impl Into<Bytes>) -> u16 {
    let request = Request::post("/v1/traces")
        .header("host", address.to_string())
        .header("content-type", kind)
        .body(Full::new(body.into()))
        .expect("a request");
    client::send(address, request).await.expect("an answer").status().as_u16()
}

fn now_ns() -> u64 {
    Now::read().unix_ms * 1_000_000
}

/// Makes spans in JSON, each with ids of its own.
#[derive(Default)]
struct Liar {
    ids: u64,
}

impl Liar {
    /// A span of `trace` below `parent` that took 5 ms, with more fields; its id.
    fn span(&mut self, out: &mut String, trace: u64, parent: u64, kind: u8, more: &str) -> u64 {
        self.ids += 1;
        let (id, end) = (self.ids, now_ns());
        let times = if more.contains("startTimeUnixNano") {
            String::new()
        } else {
            format!(r#""startTimeUnixNano":"{}","endTimeUnixNano":"{end}","#, end - 5_000_000)
        };
        let parent = if parent == 0 { String::new() } else { format!("{parent:016x}") };
        let comma = if out.ends_with('}') { "," } else { "" };
        let _ = write!(
            out,
            r#"{comma}{{"traceId":"{trace:032x}","spanId":"{id:016x}","parentSpanId":"{parent}","kind":{kind},{times}{more}}}"#
        );
        id
    }

    /// Requests of `from` that are tried four times on `to` in vain.
    fn storm(&mut self, from: &str, to: &str, requests: u64) -> String {
        let (mut calls, mut answers) = (String::new(), String::new());
        let http = r#""name":"GET /","attributes":[{"key":"http.request.method","value":{"stringValue":"GET"}},{"key":"url.full","value":{"stringValue":"http://b/"}},{"key":"http.response.status_code","value":{"intValue":"503"}}]"#;
        for _ in 0..requests {
            let trace = self.ids + 1;
            let root = self.span(&mut calls, trace, 0, 2, http);
            for _ in 0..4 {
                let call = self.span(&mut calls, trace, root, 3, http);
                self.span(&mut answers, trace, call, 2, http);
            }
        }
        request(&[resource(from, "", &calls), resource(to, "", &answers)])
    }

    /// New names of everything.
    fn names(&mut self) -> String {
        let each = (0..NAMES).map(|_| {
            let number = self.ids;
            let mut spans = String::new();
            let more = format!(
                r#""name":"op-{number}-\u001b[2J\u202e","attributes":[{{"key":"key.{number}","value":{{"stringValue":"x"}}}},{{"key":"http.request.method","value":{{"stringValue":"GET"}}}},{{"key":"server.address","value":{{"stringValue":"host-{number}-\u001b]0;pwned\u0007"}}}}]"#
            );
            self.span(&mut spans, number + 1, 0, 3, &more);
            let name = format!("svc-{number}-\\u001b[31m\\u202e");
            resource(&name, &format!("instance-{number}"), &spans)
        });
        request(&each.collect::<Vec<_>>())
    }

    /// Times, weights, shapes and replays that cannot be, and names of 100 kB.
    fn nonsense(&mut self) -> String {
        let mut spans = String::new();
        let mut add = |trace: u64, more: &str| {
            let first = self.ids + 1;
            self.span(&mut spans, trace, first, 3, &format!(r#""name":"x",{more}"#));
        };
        for (start, end) in [
            ("1", "2"),
            ("1", "9223372036854775807"),
            ("4102444800000000000", "4102444800000000001"),
            ("9223372036854775807", "9223372036854775807"),
            ("4102444800000000000", "1"),
        ] {
            add(7, &format!(r#""startTimeUnixNano":"{start}","endTimeUnixNano":"{end}""#));
        }
        for moved in ["9223372036854775807", "-9223372036854775808", "-3599000000000"] {
            add(
                8,
                &format!(
                    r#""attributes":[{{"key":"fusebox.replay.moved_ns","value":{{"intValue":"{moved}"}}}}]"#
                ),
            );
        }
        add(9, r#""traceState":"ot=th:ffffffffffffff""#);
        add(
            10,
            &format!(
                r#""attributes":[{{"key":"http.route","value":{{"stringValue":"{}"}}}}]"#,
                "r".repeat(100_000)
            ),
        );
        let long = "n".repeat(100_000);
        request(&[
            resource(&long, &long, &spans),
            resource("", " ", &spans),
            resource("a", "", &spans),
        ])
    }

    /// Half of a trace of 100,000 spans, in a circle.
    fn endless(&mut self) -> String {
        let mut spans = String::new();
        let first = self.ids + 1;
        for nth in 0..50_000 {
            let parent = first + (nth + 1) % 50_000;
            self.span(&mut spans, u64::MAX, parent, 3, r#""name":"x""#);
        }
        request(&[resource("endless", "", &spans)])
    }
}

fn resource(service: &str, instance: &str, spans: &str) -> String {
    format!(
        r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}},{{"key":"service.instance.id","value":{{"stringValue":"{instance}"}}}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}}"#
    )
}

fn request(resources: &[String]) -> String {
    format!(r#"{{"resourceSpans":[{}]}}"#, resources.join(","))
}

/// Texts within JSON that would act on a terminal.
fn acting(value: &Value) -> Vec<String> {
    match value {
        Value::String(it) if text::visible(it) != *it => vec![it.clone()],
        Value::Array(all) => all.iter().flat_map(acting).collect(),
        Value::Object(all) => all.values().flat_map(acting).collect(),
        _ => Vec::new(),
    }
}

/// Scenario: `a` calls `b` through proxies, and all is well. Somebody sends the collector a storm of
/// `a` on `b`, times and weights and shapes that cannot be, a trace of 100,000 spans, tens of
/// thousands of new names (`FUSEBOX_LONG=1`: a million), and bodies that are no OTLP.
/// Guarantees: no incident suggests anything, and none is of `a` and `b`; the edge's figures are the
/// proxies'; what found no room is counted; memory stays within its bound; nothing acts on a
/// terminal; the collector still answers, and takes what is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_sender_moves_nobody() {
    let triangle = Triangle::start().await;
    let mesh = &triangle.mesh;
    let otlp: SocketAddr = mesh.otlp_http()["http://".len()..].parse().expect("an address");
    let proxy = triangle.a_proxy.outbound[0];
    let stop = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&stop);
    let calm = tokio::spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(status(proxy).await, 200);
        }
    });
    mesh.edge("a", "b", |edge| edge["rate"].as_f64().is_some_and(|rate| 5.0 < rate)).await;

    let mut liar = Liar::default();
    let json = "application/json";
    for body in [&b"\x0a\x05\x0a\x03\x0a\x01"[..], b"\xff\xff", b"{"] {
        assert_eq!(post(otlp, "application/x-protobuf", body).await, 400);
    }
    let hostile = resource("\u{fffd}", "", "").replace('\u{fffd}', "?");
    let invalid: Vec<u8> =
        request(&[hostile]).bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    assert_eq!(post(otlp, json, invalid).await, 400);
    for half in [liar.endless(), liar.endless()] {
        assert_eq!(post(otlp, json, half).await, 200);
    }
    let rounds = if is_asked_for("FUSEBOX_LONG") { 500 } else { 20 };
    let mut most_kib = 0;
    for _ in 0..rounds {
        for body in [liar.storm("a", "b", 40), liar.nonsense(), liar.names()] {
            // A collector that has too much to do says so, and is asked again later.
            let answer = post(otlp, json, body).await;
            assert!([200, 429, 503].contains(&answer), "{answer}");
        }
        most_kib = most_kib.max(rss_kib(mesh.collector_id()));
        let incidents = mesh.api("incidents").await.expect("it answers");
        for incident in incidents["incidents"].as_array().expect("a list") {
            assert!(incident["action"].is_null(), "{incident:#}");
            assert_ne!(incident["edge"]["destination"], "b", "{incident:#}");
        }
    }
    println!("{} spans, at most {} MiB", liar.ids, most_kib / 1_024);
    assert!(most_kib < RSS_KIB_MAX, "{most_kib} KiB");

    let told = eventually("what was dropped is told", Duration::from_secs(20), || async {
        let status = mesh.api("status").await.map_err(|error| error.to_string())?;
        let dropped = status["collector"]["dropped"].clone();
        let is_told = |reason: &&str| 0 < dropped[*reason].as_u64().unwrap_or(0);
        let all = ["services", "misdated_spans", "traces_cut"];
        if all.iter().all(is_told) { Ok(dropped) } else { Err(status) }
    });
    println!("{}", told.await);
    for noun in ["services", "edges", "incidents", "breakers", "proxies", "status"] {
        let page = mesh.api(noun).await.expect("it answers");
        assert_eq!(acting(&page), Vec::<String>::new(), "{noun}");
    }
    let edge = mesh.edge("a", "b", |edge| edge["attempts_per_request"] == 1.0).await;
    assert_eq!(edge["error_ratio"], 0.0, "{edge}");
    stop.store(true, Ordering::Relaxed);
    calm.await.expect("each call succeeds");
}

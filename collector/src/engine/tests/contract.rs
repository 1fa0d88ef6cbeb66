//! What the snapshot says, in the words of the contract.

use super::bench::{Bench, START_UNIX_MS, counts, inbound, window};
use crate::engine::Event;
use fusebox_proto::report::{Dropped, EdgeCounts};
use fusebox_proto::view::{Health, Mtls, ServiceKind};
use serde_json::Value;
use std::time::Duration;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// A storm through two proxies of payment, in its sixth second.
fn stormy() -> Bench {
    storm_of("payment", "inventory", 6)
}

/// A storm of so many seconds, after half a minute of calm.
fn storm_of(source: &str, destination: &str, seconds: u64) -> Bench {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", source, &[destination]);
    let mut two = bench.connect("payment-1", source, &[destination]);
    let mut callee = bench.connect("inventory-0", destination, &[]);
    for second in 0..30 + seconds {
        bench.advance(Duration::from_secs(1));
        let counts = if second < 30 { counts(200, 0, 2) } else { counts(200, 1_760, 1_900) };
        let attempts = counts.attempts() * 2;
        for sidecar in [&mut one, &mut two] {
            let edges = vec![window(destination, counts.clone(), 30_000)];
            bench.report(sidecar, edges, vec![inbound(200, 2, 40_000)]);
        }
        bench.report(&mut callee, Vec::new(), vec![inbound(attempts, 0, 20_000)]);
    }
    bench
}

/// Scenario: a storm of 9.8 attempts per request through two proxies.
/// Guarantees: the sentence of the product page, figures within the truth, evidence with its last
/// minute, the least harmful action for one key, and data that says it is exact.
#[test]
fn the_incident_reads_as_promised() {
    let bench = stormy();
    let incident = bench.incident();
    let expected = "payment sends inventory 9.8 attempts per request since 14:00:30; \
                    inventory is saturated.";
    assert_eq!(incident.summary, expected);
    assert!(incident.summary.chars().count() <= 110);
    assert_eq!((&*incident.kind, &*incident.phase), ("retry_storm", "storm"));
    assert!((incident.amplification.unwrap() - 9.8).abs() < 0.05);
    assert!(0.9 <= incident.confidence && incident.confidence <= 1.0);
    let opened_ms = incident.opened_at.0 - START_UNIX_MS;
    assert!((30_000..=32_000).contains(&opened_ms), "{opened_ms}");
    let signals: Vec<_> = incident.evidence.iter().map(|e| (&*e.signal, &*e.unit)).collect();
    let expected = [
        ("attempts per request", "×"),
        ("attempts on the victim", "/s"),
        ("retries among them", "%"),
        ("victim p99", "ms"),
        ("failed attempts", "%"),
        ("goodput", "/s"),
    ];
    assert_eq!(signals, expected);
    for evidence in &incident.evidence {
        assert_eq!(evidence.series.len(), 35, "{}", evidence.signal);
    }
    let load = &incident.evidence[1];
    assert_eq!((load.baseline, load.current), (Some(400.0), Some(3_920.0)));
    let action = incident.action.expect("proxies can act");
    assert_eq!(action.action.as_str(), "mute-retries");
    assert_eq!(action.tier, 0);
    assert!(action.predicted.starts_with("removes 3520 of 3920 attempts/s;"), "{action:?}");
    assert!((10..=300).contains(&action.ttl_s));
    let quality = incident.data_quality;
    assert_eq!((&*quality.source, &*quality.note), ("proxies", ""));
    assert_eq!((quality.coverage, quality.recognised), (Some(1.0), Some(1.0)));
}

/// Scenario: the same storm, as JSON.
/// Guarantees: the objects have the keys of the contract.
#[test]
fn json_has_the_keys_of_the_contract() {
    let json = serde_json::to_value(stormy().snapshot()).unwrap();
    let check = |value: &Value, expected: &[&str]| {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut keys = keys(value);
        keys.sort_unstable();
        assert_eq!(keys, expected);
    };
    let status =
        ["health", "embedded", "services", "edges", "proxies", "incidents_open", "collector"];
    check(&json["status"], &status);
    assert_eq!(json["status"]["health"], "incident");
    let collector = ["version", "uptime_s", "spans_per_s", "senders", "dropped", "history"];
    check(&json["status"]["collector"], &collector);
    let service = [
        "name",
        "namespace",
        "environment",
        "kind",
        "rate",
        "error_ratio",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "instances",
    ];
    check(&json["services"][0], &service);
    let edge = [
        "source",
        "destination",
        "protocol",
        "rate",
        "error_ratio",
        "refused_per_s",
        "attempts_per_request",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "mtls",
        "proxies",
        "breaker",
    ];
    check(&json["edges"][0], &edge);
    check(&json["edges"][0]["breaker"], &["state", "percent", "until", "applied", "proxies"]);
    let incident = [
        "id",
        "kind",
        "state",
        "phase",
        "opened_at",
        "resolved_at",
        "summary",
        "confidence",
        "originator",
        "victim",
        "subset",
        "edge",
        "amplification",
        "layers",
        "evidence",
        "counter_evidence",
        "suspects",
        "action",
        "alternatives",
        "data_quality",
    ];
    check(&json["incidents"][0], &incident);
    assert_eq!(json["incidents"][0]["opened_at"].as_str().unwrap().len(), 24, "RFC 3339 with ms");
}

/// Scenario: storms between services with long names.
/// Guarantees: the sentence fits on a line and is whole: names give way, nothing else.
#[test]
fn the_sentence_is_whole() {
    let check = |source: &str, destination: &str| {
        let summary = storm_of(source, destination, 6).incident().summary;
        assert!(summary.chars().count() <= 110, "{summary}");
        assert!(summary.contains(" 9.8 attempts per request since 14:00:30; "), "{summary}");
        assert!(summary.ends_with(" is saturated."), "{summary}");
        assert!(summary.starts_with(&source[..6]), "{summary}");
    };
    check("payment", "inventory");
    check("payment-orchestrator-eu-west", "inventory-reservation-service");
    check(&"payment-".repeat(9), &"inventory-".repeat(9));
}

/// Scenario: a storm that lasts longer than the windows remember.
/// Guarantees: the evidence still says what was usual before it.
#[test]
fn what_was_usual_is_not_forgotten() {
    let usual = |bench: &Bench| -> Vec<Option<f64>> {
        bench.incident().evidence.iter().map(|signal| signal.baseline).collect()
    };
    let (young, old) = (storm_of("payment", "inventory", 6), storm_of("payment", "inventory", 120));
    assert!(usual(&young).iter().all(Option::is_some), "{:?}", young.incident().evidence);
    assert_eq!(usual(&young), usual(&old));
}

/// Scenario: a storm that a key can stop; next to nothing of what it carries succeeds.
/// Guarantees: each other action is there with its own prediction and tier, least harm first, and
/// to open costs so little that one key does it.
#[test]
fn alternatives_have_their_own_tier() {
    let incident = stormy().incident();
    let all: Vec<_> =
        incident.alternatives.iter().map(|other| (other.action.as_str(), other.tier)).collect();
    assert_eq!(incident.action.unwrap().action.as_str(), "mute-retries");
    assert_eq!(all, [("cap", 0), ("shed", 0), ("open", 0)]);
    let predicted: Vec<_> = incident.alternatives.iter().map(|other| &*other.predicted).collect();
    assert!(predicted[0].starts_with("holds 3920 attempts/s at 500; "), "{predicted:?}");
    assert!(predicted[1].starts_with("removes 1960 of 3920 attempts/s, "), "{predicted:?}");
    assert!(predicted[2].starts_with("removes 3920 of 3920 attempts/s, "), "{predicted:?}");
}

/// Scenario: a service answers all that it sees, and its callers give up on most of it.
/// Guarantees: its error ratio is what its callers get.
#[test]
fn a_victim_is_not_green() {
    let snapshot = stormy().snapshot();
    let inventory = snapshot.services.iter().find(|service| service.name == "inventory").unwrap();
    assert!(0.85 < inventory.error_ratio.unwrap(), "{inventory:?}");
}

/// Scenario: traffic of 200 first attempts a second through each of two proxies, 1 % failing.
/// Guarantees: rates are over ten seconds, ratios and quantiles as the contract defines them, and
/// an unknown figure is null.
#[test]
fn figures_mean_what_the_contract_says() {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", "payment", &["inventory"]);
    for _ in 0..20 {
        bench.advance(Duration::from_secs(1));
        let refused = EdgeCounts { retries_refused: 3, ..counts(200, 20, 11) };
        let edges = vec![window("inventory", refused, 30_000)];
        bench.report(&mut one, edges, vec![inbound(50, 5, 2_000)]);
    }
    let edge = bench.edge("payment", "inventory");
    assert_eq!((edge.rate, edge.error_ratio), (Some(220.0), Some(0.05)));
    assert_eq!((edge.refused_per_s, edge.attempts_per_request), (Some(3.0), Some(1.1)));
    assert!((edge.p99_ms.unwrap() - 30.0).abs() < 0.3);
    assert_eq!((edge.protocol.as_str(), edge.mtls, edge.proxies), ("http/1.1", Mtls::Plaintext, 1));
    let snapshot = bench.snapshot();
    let names: Vec<_> = snapshot.services.iter().map(|s| (&*s.name, s.kind)).collect();
    assert_eq!(names, [("inventory", ServiceKind::External), ("payment", ServiceKind::Service)]);
    let [inventory, payment] = &snapshot.services[..] else { panic!("two services") };
    assert_eq!((payment.rate, payment.error_ratio), (Some(50.0), Some(0.1)));
    assert_eq!((payment.instances, inventory.instances), (Some(1), None));
    assert_eq!((inventory.rate, inventory.p50_ms), (None, None), "known from its callers only");
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.snapshot().status.health, Health::Ok);
    bench.advance(Duration::from_secs(70));
    let edge = bench.edge("payment", "inventory");
    assert_eq!((edge.rate, edge.p50_ms), (None, None), "nothing heard for a minute");
    assert_eq!(bench.snapshot().status.health, Health::Degraded, "a proxy is stale");
}

/// Scenario: drops in the shell and in a proxy, then a minute without.
/// Guarantees: every drop is counted by reason; health is degraded while they are fresh.
#[test]
fn drops_are_shown() {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", "payment", &["inventory"]);
    bench.handle(Event::Dropped { reason: "requests", count: 3 });
    let mut report = bench.report(&mut one, Vec::new(), Vec::new());
    report.number += 1;
    report.dropped = Dropped { spans: 7, ..Dropped::default() };
    bench.handle(Event::Report { connection: one.connection, report });
    bench.advance(Duration::from_millis(1_100));
    let status = bench.snapshot().status;
    let dropped: Vec<_> = status.collector.dropped.iter().map(|(k, n)| (&**k, *n)).collect();
    assert_eq!(dropped, [("proxy_spans", 7), ("requests", 3)]);
    assert_eq!(status.health, Health::Degraded);
    one.number += 1;
    for _ in 0..62 {
        bench.advance(Duration::from_secs(1));
        bench.report(&mut one, Vec::new(), Vec::new());
    }
    assert_eq!(bench.snapshot().status.health, Health::Ok);
}

//! The demo without a terminal: what happened, as JSON lines, against the truth of its scenario. A demo
//! takes a third of a core; as many tests run at a time as there are cores.

use fusebox_tests::client;
use fusebox_tests::eventually::eventually;
use fusebox_tests::process::{Finished, Process};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Whether to run what takes minutes: every scenario at its full length, ten seeds.
fn is_long() -> bool {
    fusebox_tests::is_asked_for("FUSEBOX_LONG")
}

fn start(scenario: &str, seed: u64, seconds: u32, act: &str) -> Process {
    let (seed, length) = (seed.to_string(), format!("{seconds}s"));
    let args = ["demo", "--headless", "--scenario", scenario, "--seed", &seed, "--for", &length];
    Process::start("fusebox", &[&args[..], &["--act", act, "--output", "json"]].concat())
}

fn events(finished: &Finished) -> Vec<Value> {
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    finished.stdout.lines().map(parse).collect()
}

fn demo(scenario: &str, seed: u64, seconds: u32, act: &str) -> Vec<Value> {
    events(&start(scenario, seed, seconds, act).finish())
}

fn event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    let found = events.iter().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no event {name} in {events:#?}"))
}

#[track_caller]
fn check_storm(events: &[Value]) {
    let started = event(events, "started");
    let expect = &started["expect"];
    assert_eq!(expect["kind"], "retry_storm", "{started}");
    let summary = events.last().expect("a summary");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["originator"], expect["originator"], "{summary}");
    assert_eq!(summary["victim"], expect["victim"], "{summary}");
    assert_eq!(summary["false_incidents"], 0, "{summary}");
    let figure = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("{name}: {summary}"));
    assert!(figure("detect_ms") <= 4_000.0, "{summary}");
    assert!(figure("act_ms") <= 100.0, "{summary}");
    assert!(figure("first_refusal_ms") <= 100.0, "{summary}");
    assert!(0.95 * figure("goodput_before") <= figure("goodput_after"), "{summary}");
}

/// Scenario: the founding story, headless, acting as suggested.
/// Guarantees: the guilty and the victim are named in time, the action reaches every proxy in
/// time, and service recovers.
#[test]
fn the_founding_storm_is_found_and_stopped() {
    // The whole of it, or the story and the ten seconds after the end of the fault.
    let (seeds, seconds) = if is_long() { (1..=11, 60) } else { (1..=1, 40) };
    for seed in seeds {
        check_storm(&demo("retry-storm", seed, seconds, "suggested"));
    }
}

/// Scenario: the metastable failure at its full length, with and without action.
/// Guarantees: it recovers because of the action, and stays down alone.
#[test]
fn a_metastable_failure_needs_the_action() {
    if !is_long() {
        println!("skipped: two runs of 120 s; FUSEBOX_LONG=1 runs them");
        return;
    }
    let acted = demo("metastable", 1, 120, "suggested");
    assert!(acted.last().unwrap()["recovered_ms"].is_number(), "{acted:#?}");
    let alone = demo("metastable", 1, 120, "none");
    let summary = alone.last().unwrap();
    let (before, after) = (&summary["goodput_before"], &summary["goodput_after"]);
    assert!(after.as_f64().unwrap() < 0.5 * before.as_f64().unwrap(), "{summary}");
}

/// Scenario: a slow leaf and a slow middle, over real sockets.
/// Guarantees: whoever takes the time is blamed, though callers are just as slow, and nobody else.
#[test]
fn who_is_slow_is_blamed() {
    if !is_long() {
        println!("skipped: two runs of minutes; FUSEBOX_LONG=1 runs them");
        return;
    }
    for (scenario, seconds) in [("slow-leaf", 180), ("slow-self", 120)] {
        let events = demo(scenario, 1, seconds, "none");
        let expect = &event(&events, "started")["expect"];
        let summary = events.last().expect("a summary");
        assert_eq!(summary["incident"], "latency_regression", "{events:#?}");
        assert_eq!(summary["originator"], expect["originator"], "{events:#?}");
        assert_eq!(summary["victim"], expect["victim"], "{events:#?}");
        assert_eq!(summary["false_incidents"], 0, "{events:#?}");
    }
}

/// Scenario: three layers of three attempts, while inventory fails; nobody acts.
/// Guarantees: the uppermost is the originator; each layer's factor is within a tenth of what the
/// callers counted, and so is the product.
#[test]
fn layers_of_retries_are_told_apart() {
    // To the end, or while it storms: what its end does to the figures, `sim/layers.rs` shows.
    let (seeds, seconds) = if is_long() { (1..=5, 60) } else { (1..=1, 34) };
    for seed in seeds {
        let events = demo("layered-retries", seed, seconds, "none");
        let summary = events.last().expect("a summary");
        let expect = &event(&events, "started")["expect"];
        assert_eq!(summary["originator"], expect["originator"], "{summary}");
        assert_eq!(summary["victim"], expect["victim"], "{summary}");
        assert_eq!(summary["false_incidents"], 0, "{summary}");
        assert_near(&summary["amplification"], &summary["amplification_true"], summary);
        let layers = |name: &str| summary[name].as_array().expect("layers").clone();
        let (said, counted) = (layers("layers"), layers("layers_true"));
        assert_eq!((said.len(), counted.len()), (3, 3), "{summary}");
        for (said, counted) in said.iter().zip(&counted) {
            assert_eq!(said["source"], counted["source"], "{summary}");
            assert_eq!(said["destination"], counted["destination"], "{summary}");
            assert_near(&said["factor"], &counted["factor"], summary);
        }
    }
}

#[track_caller]
fn assert_near(said: &Value, truth: &Value, summary: &Value) {
    let figure = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}: {summary}"));
    let (said, truth) = (figure(said), figure(truth));
    assert!((said - truth).abs() <= 0.1 * truth, "{said} for {truth}: {summary}");
}

/// Scenario: a new version of inventory gets a fifth of the traffic and fails a fifth of it; what is
/// suggested is done.
/// Guarantees: the subset is named, with the service and the caller; the weights are moved back on
/// every proxy, and service recovers; nothing else is told.
#[test]
fn a_bad_canary_is_named_and_taken_back() {
    let (seeds, seconds) = if is_long() { (1..=5, 75) } else { (1..=1, 60) };
    for seed in seeds {
        let events = demo("canary", seed, seconds, "suggested");
        let expect = &event(&events, "started")["expect"];
        let summary = events.last().expect("a summary");
        for field in ["originator", "victim", "subset"] {
            assert_eq!(summary[field], expect[field], "{events:#?}");
        }
        assert_eq!(summary["incident"], "canary_regression", "{events:#?}");
        assert_eq!(summary["false_incidents"], 0, "{events:#?}");
        assert_eq!(event(&events, "action_sent")["action"], "shift", "{events:#?}");
        let figure = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("{summary}"));
        assert!(figure("act_ms") < 1_000.0, "{summary}");
        assert!(0.95 * figure("goodput_before") <= figure("goodput_after"), "{summary}");
    }
}

/// Scenario: the collector dies while a lease is in force; half a minute later another is there, and
/// then the founding storm.
/// Guarantees: not one request failed for it; the lease ended before the new one came; all proxies
/// are back in seconds, and the storm is named.
#[test]
fn a_dead_collector_is_missed_by_nobody() {
    let seeds = if is_long() { 1..=5 } else { 1..=1 };
    for seed in seeds {
        let events = demo("dead-collector", seed, 75, "none");
        let expect = &event(&events, "started")["expect"];
        let summary = events.last().expect("a summary");
        assert_eq!(summary["failed_without_collector"], 0, "{events:#?}");
        let figure = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("{summary}"));
        // The lease and the ramp after it: 6 s, and four steps of 5 s.
        assert!(figure("refused_without_collector_ms") < 28_000.0, "{summary}");
        assert!(figure("reconnected_ms") < 7_000.0, "{summary}");
        assert_eq!(summary["originator"], expect["originator"], "{events:#?}");
        assert_eq!(summary["victim"], expect["victim"], "{events:#?}");
        assert_eq!(summary["false_incidents"], 0, "{events:#?}");
        assert!(figure("detect_ms") <= 4_000.0, "{summary}");
    }
}

/// What looks like a storm and is none: the scenario, how long it is watched, s, and of whom an advisory
/// is told.
const LOOKALIKES: [(&str, u32, Option<[&str; 3]>); 6] = [
    ("calm", 25, None),
    ("n-plus-one", 25, Some(["n_plus_one", "recommendation", "catalog"])),
    ("surge", 25, None),
    ("batch", 25, None),
    // One trace in ten is known, so that twenty of the questions since 6 s take as many seconds.
    ("polling", 45, Some(["polling", "email", "ledger"])),
    ("hedging", 35, Some(["hedging", "frontend", "catalog"])),
];

/// Scenario: everything that looks like a storm and is none.
/// Guarantees: no incident of kind `retry_storm`, and none that the scenario does not expect; N+1,
/// polling and hedging are told as what they are.
#[test]
fn lookalikes_raise_no_storm() {
    let seeds = if is_long() { 1..=5 } else { 1..=1 };
    for seed in seeds {
        // Two at a time, while other tests have a demo each: more would measure the machine.
        for some in LOOKALIKES.chunks(2) {
            std::thread::scope(|scope| {
                for (name, seconds, advisory) in some {
                    let seconds = if is_long() { 60 } else { *seconds };
                    scope.spawn(move || check_quiet((name, seed, seconds), advisory.as_ref()));
                }
            });
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn check_quiet(
    (name, seed, seconds): (&str, u64, u32),
    advisory: Option<&[&'static str; 3]>,
) {
    let mut demo = start(name, seed, seconds, "none");
    let started: Value = serde_json::from_str(&demo.line()).expect("JSON");
    if let Some([kind, edge @ ..]) = advisory {
        let address = started["http"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address: SocketAddr = address.expect("a URL").parse().expect("an address");
        let is_right = |one: &Value| {
            // Other seeds have other names.
            let is_there = seed != 1 || *edge == [&one["source"], &one["destination"]];
            one["kind"] == *kind && is_there
        };
        eventually("an advisory", Duration::from_secs(u64::from(seconds)), || async {
            let page = client::json(address, "/api/v1/incidents")
                .await
                .map_err(|e| json!(e.to_string()))?;
            let told = page["advisories"].as_array().is_some_and(|all| all.iter().any(is_right));
            if told { Ok(()) } else { Err(page) }
        })
        .await;
    }
    let events = events(&demo.finish());
    let storms = (events.iter())
        .filter(|event| event["event"] == "incident_opened")
        .filter(|event| event.to_string().contains("retry_storm"));
    assert_eq!(storms.count(), 0, "{name}, seed {seed}: {events:#?}");
    let summary = events.last().expect("a summary");
    assert_eq!(summary["false_incidents"], 0, "{name}, seed {seed}: {events:#?}");
}

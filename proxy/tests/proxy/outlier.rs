//! Sequences of answers as files, which a real Envoy can be given too.
//!
//! `outlier_detection` is Envoy's own configuration, to be put into a cluster as it is; what it
//! leaves out has Envoy's default. `answers` are sent to endpoints by number, at times in
//! milliseconds since the start. `expected` are the events of Envoy's outlier log, in order; where a
//! sweep decides, an Envoy whose interval began at another moment is late by up to one interval.

use fusebox_proto::Now;
use fusebox_proto::policy::{Consecutive, FailurePercentage, OutlierDetection, SuccessRate};
use fusebox_proxy::balance::EndpointId;
use fusebox_proxy::outlier::{Event, Observed, Outlier, What};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Times, endpoints and statuses, in order of time.
fn answers(script: &Value) -> Vec<(u64, u64, u16)> {
    let mut answers = Vec::new();
    for run in script["answers"].as_array().unwrap() {
        let number = |key: &str| run[key].as_u64().unwrap();
        let status = number("status") as u16;
        let each = (0..number("times")).map(|n| number("at_ms") + n * number("every_ms"));
        answers.extend(each.map(|at_ms| (at_ms, number("host"), status)));
    }
    answers.sort_by_key(|&(at_ms, ..)| at_ms);
    answers
}

/// Envoy's configuration with Envoy's defaults.
fn settings(envoy: &Value) -> OutlierDetection {
    let number = |key: &str, default: u32| match &envoy[key] {
        Value::Null => default,
        value => u32::try_from(value.as_u64().unwrap()).unwrap(),
    };
    let percent = |key: &str, default: u8| u8::try_from(number(key, default.into())).unwrap();
    let time = |key: &str, default: u64| match envoy[key].as_str() {
        None => Duration::from_secs(default),
        Some(text) => Duration::from_secs_f64(text.strip_suffix('s').unwrap().parse().unwrap()),
    };
    let known = ["consecutive_", "enforcing_", "success_rate_", "failure_percentage_"];
    let others = [
        "interval",
        "base_ejection_time",
        "max_ejection_time",
        "max_ejection_percent",
        "always_eject_one_host",
    ];
    for key in envoy.as_object().unwrap().keys() {
        let is_known = known.iter().any(|start| key.starts_with(start));
        assert!(is_known || others.contains(&key.as_str()), "{key}");
    }
    let consecutive = |key: &str, enforcing: u8| {
        Some(Consecutive {
            threshold: number(key, 5),
            enforcing_percent: percent(&format!("enforcing_{key}"), enforcing),
        })
    };
    OutlierDetection {
        interval: time("interval", 10),
        ejection_time_base: time("base_ejection_time", 30),
        ejection_time_max: time("max_ejection_time", 300),
        ejection_percent_max: percent("max_ejection_percent", 10),
        always_eject_one: envoy["always_eject_one_host"].as_bool().unwrap_or(false),
        consecutive_errors: consecutive("consecutive_5xx", 100),
        consecutive_gateway_errors: consecutive("consecutive_gateway_failure", 0),
        success_rate: Some(SuccessRate {
            endpoints_min: number("success_rate_minimum_hosts", 5),
            requests_min: number("success_rate_request_volume", 100),
            stdev_factor_thousandths: number("success_rate_stdev_factor", 1_900),
            enforcing_percent: percent("enforcing_success_rate", 100),
            enforcing_local_origin_percent: 0,
        }),
        failure_percentage: Some(FailurePercentage {
            threshold_percent: percent("failure_percentage_threshold", 85),
            endpoints_min: number("failure_percentage_minimum_hosts", 5),
            requests_min: number("failure_percentage_request_volume", 50),
            enforcing_percent: percent("enforcing_failure_percentage", 0),
            enforcing_local_origin_percent: 0,
        }),
        ejection_time_jitter_max: Duration::ZERO,
        panic_percent: 0,
        split_local_origin: false,
        error_statuses: Vec::new(),
        consecutive_local_origin_failures: None,
    }
}

/// One line of a log.
fn line(start: Instant, event: Event) -> Option<String> {
    let (at, host) = ((event.at - start).as_millis(), event.host.0);
    match event.what {
        What::Ejected { detection, .. } => {
            Some(format!("{at} eject {host} {}", detection.by.as_str()))
        }
        What::Unejected { .. } => Some(format!("{at} uneject {host}")),
        What::Shadowed { .. } | What::Unshadowed { .. } | What::Overflowed { .. } => None,
    }
}

/// The log of a script, and how often too many were out.
fn replay(script: &Value) -> (Vec<String>, u64) {
    let start = Now::read().instant;
    let mut outlier = Outlier::new(start, settings(&script["outlier_detection"]));
    let hosts = script["endpoints"].as_u64().unwrap();
    outlier.set_hosts(&(1..=hosts).map(EndpointId).collect::<Vec<_>>());
    let mut log = Vec::new();
    let mut sweep_until = |outlier: &mut Outlier, until: Instant| {
        while outlier.poll_timeout() <= until {
            let due = outlier.poll_timeout();
            outlier.handle_timeout(due, || 0.5);
            log.extend(outlier.take_events().filter_map(|event| line(start, event)));
        }
    };
    for (at_ms, host, status) in answers(script) {
        let now = start + Duration::from_millis(at_ms);
        sweep_until(&mut outlier, now);
        outlier.observed(now, EndpointId(host), now, Observed::Answered(status), || 0.5);
    }
    sweep_until(&mut outlier, start + Duration::from_secs(20));
    (log, outlier.counters().ejections_overflow)
}

/// Scenario: each file of answers, in virtual time.
/// Guarantees: the events are those that the file expects, to the millisecond.
#[test]
fn scripts_replay() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outlier");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for file in files {
        let script: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let expected = script["expected"].as_array().unwrap().iter().map(|event| {
            let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let line = format!("{} {} {}", event["at_ms"], word("action"), event["host"]);
            format!("{line} {}", word("type")).trim_end().to_owned()
        });
        let (log, overflows) = replay(&script);
        assert_eq!(log, expected.collect::<Vec<_>>(), "{}", file.display());
        assert_eq!(overflows, script["overflows"].as_u64().unwrap_or(0), "{}", file.display());
        count += 1;
    }
    assert_eq!(count, 6);
}

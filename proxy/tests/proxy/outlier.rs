//! Sequences of answers as files, for us and for a real Envoy.
//!
//! `outlier_detection` is Envoy's own configuration, to be put into a cluster as it is; what it
//! leaves out has Envoy's default. `answers` are what endpoints, by number, do at times in
//! milliseconds since the start: they answer with a `status`, or nobody listens there (`"fails":
//! "connect"`). `expected` are the events of Envoy's outlier log, in order; where a
//! sweep decides, an Envoy whose interval began at another moment is late by up to one interval.

mod beside_envoy;

use crate::shop::CIRCUIT_BREAKER;
use fusebox_proto::Now;
use fusebox_proto::policy::{
    self, Consecutive, FailurePercentage, OutlierDetection, Profile, SuccessRate,
};
use fusebox_proxy::balance::EndpointId;
use fusebox_proxy::outlier::{Event, Observed, Outlier, What};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What an endpoint that is asked does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Answer(u16),
    /// Nobody listens there.
    RefuseConnection,
}

/// Times, endpoints and what they do, in order of time.
fn answers(script: &Value) -> Vec<(u64, u64, Does)> {
    let mut answers = Vec::new();
    for run in script["answers"].as_array().unwrap() {
        let number = |key: &str| run[key].as_u64().unwrap();
        let does = match run["fails"].as_str() {
            None => Does::Answer(number("status") as u16),
            Some("connect") => Does::RefuseConnection,
            Some(other) => panic!("fails: {other}"),
        };
        let each = (0..number("times")).map(|n| number("at_ms") + n * number("every_ms"));
        answers.extend(each.map(|at_ms| (at_ms, number("host"), does)));
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
    let is_so = |key: &str| envoy[key].as_bool().unwrap_or(false);
    let known = ["consecutive_", "enforcing_", "success_rate_", "failure_percentage_"];
    let others = [
        "interval",
        "base_ejection_time",
        "max_ejection_time",
        "max_ejection_percent",
        "always_eject_one_host",
        "split_external_local_origin_errors",
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
        always_eject_one: is_so("always_eject_one_host"),
        consecutive_errors: consecutive("consecutive_5xx", 100),
        consecutive_gateway_errors: consecutive("consecutive_gateway_failure", 0),
        success_rate: Some(SuccessRate {
            endpoints_min: number("success_rate_minimum_hosts", 5),
            requests_min: number("success_rate_request_volume", 100),
            stdev_factor_thousandths: number("success_rate_stdev_factor", 1_900),
            enforcing_percent: percent("enforcing_success_rate", 100),
            enforcing_local_origin_percent: percent("enforcing_local_origin_success_rate", 100),
        }),
        failure_percentage: Some(FailurePercentage {
            threshold_percent: percent("failure_percentage_threshold", 85),
            endpoints_min: number("failure_percentage_minimum_hosts", 5),
            requests_min: number("failure_percentage_request_volume", 50),
            enforcing_percent: percent("enforcing_failure_percentage", 0),
            enforcing_local_origin_percent: percent("enforcing_failure_percentage_local_origin", 0),
        }),
        ejection_time_jitter_max: Duration::ZERO,
        panic_percent: 0,
        split_local_origin: is_so("split_external_local_origin_errors"),
        error_statuses: Vec::new(),
        consecutive_local_origin_failures: consecutive("consecutive_local_origin_failure", 100),
    }
}

/// What happens in a script, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A host is asked, and does this.
    Ask { at_ms: u64, host: u64, does: Does },
    /// It is ejected, by this.
    Eject { at_ms: u64, host: u64, by: &'static str },
    /// It is back.
    Uneject { at_ms: u64, host: u64 },
    /// It was found, but too many were out.
    Overflow,
}

/// An outlier detection in virtual time.
struct Replay {
    start: Instant,
    outlier: Outlier,
    steps: Vec<Step>,
    overflows: u64,
}

impl Replay {
    /// The steps of a script.
    fn of(script: &Value) -> Vec<Step> {
        let hosts = script["endpoints"].as_u64().unwrap();
        let mut replay = Self::new(settings(&script["outlier_detection"]), hosts);
        for (at_ms, host, does) in answers(script) {
            replay.ask(at_ms, host, does);
        }
        replay.until_ms(20_000)
    }

    /// A detection of endpoints 1 … `hosts`.
    fn new(settings: OutlierDetection, hosts: u64) -> Self {
        let start = Now::read().instant;
        let mut outlier = Outlier::new(start, settings);
        outlier.set_hosts(&(1..=hosts).map(EndpointId).collect::<Vec<_>>());
        Self { start, outlier, steps: Vec::new(), overflows: 0 }
    }

    /// A host is asked, and does this; as the proxy tells its detection of it.
    fn ask(&mut self, at_ms: u64, host: u64, does: Does) {
        let now = self.start + Duration::from_millis(at_ms);
        self.sweep_until(now);
        self.steps.push(Step::Ask { at_ms, host, does });
        let observed = match does {
            Does::Answer(status) => {
                self.outlier.connected(EndpointId(host));
                Observed::Answered(status)
            }
            Does::RefuseConnection => Observed::Broken,
        };
        self.outlier.observed(now, EndpointId(host), now, observed, || 0.5);
        self.note();
    }

    /// Lets time pass, and ends.
    fn until_ms(mut self, at_ms: u64) -> Vec<Step> {
        self.sweep_until(self.start + Duration::from_millis(at_ms));
        self.steps
    }

    fn sweep_until(&mut self, until: Instant) {
        while self.outlier.poll_timeout() <= until {
            let due = self.outlier.poll_timeout();
            self.outlier.handle_timeout(due, || 0.5);
            self.note();
        }
    }

    /// Notes what has happened since.
    fn note(&mut self) {
        for Event { host, at, what } in self.outlier.take_events() {
            let (at_ms, host) = ((at - self.start).as_millis() as u64, host.0);
            match what {
                What::Ejected { detection, .. } => {
                    self.steps.push(Step::Eject { at_ms, host, by: detection.by.as_str() });
                }
                What::Unejected { .. } => self.steps.push(Step::Uneject { at_ms, host }),
                What::Shadowed { .. } | What::Unshadowed { .. } | What::Overflowed { .. } => (),
            }
        }
        let overflows = self.outlier.counters().ejections_overflow;
        self.steps.extend((self.overflows..overflows).map(|_| Step::Overflow));
        self.overflows = overflows;
    }
}

/// The scripts by the names of their files.
fn scripts() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outlier");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.map(|file| {
        let script = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), script)
    });
    let scripts: Vec<_> = scripts.collect();
    assert_eq!(scripts.len(), 7);
    scripts
}

/// Scenario: each file of answers, in virtual time.
/// Guarantees: the events are those that the file expects, to the millisecond.
#[test]
fn scripts_replay() {
    for (name, script) in scripts() {
        let expected = script["expected"].as_array().unwrap().iter().map(|event| {
            let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let line = format!("{} {} {}", event["at_ms"], word("action"), event["host"]);
            format!("{line} {}", word("type")).trim_end().to_owned()
        });
        let steps = Replay::of(&script);
        let log = steps.iter().filter_map(|step| match step {
            Step::Eject { at_ms, host, by } => Some(format!("{at_ms} eject {host} {by}")),
            Step::Uneject { at_ms, host } => Some(format!("{at_ms} uneject {host}")),
            Step::Ask { .. } | Step::Overflow => None,
        });
        assert_eq!(log.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
        let overflows = steps.iter().filter(|step| **step == Step::Overflow).count() as u64;
        assert_eq!(overflows, script["overflows"].as_u64().unwrap_or(0), "{name}");
    }
}

/// Scenario: the circuit breaker of the founding guide, as it is read, over ten minutes: an endpoint
/// answers four errors, something else, five errors; once it is back five more; then it behaves.
/// Guarantees: the fifth error in a row ejects it, and nothing before; it is out for three minutes,
/// through 180 sweeps, and back at the next sweep, one `interval` later at most; the others stay.
#[test]
fn the_founding_breaker_ejects_for_three_minutes() {
    let documents = policy::read("payment-circuit-breaker.yaml", CIRCUIT_BREAKER).unwrap().0;
    let (policy, _) = policy::compile(&documents, Profile::default()).unwrap();
    let said = policy.destination_or_default("default", "payment").settings(None, 80);
    let outlier = said.outlier.clone().expect("the file has an outlier detection");
    let mut replay = Replay::new(outlier, 3);
    let mut run = |from_ms, statuses: &[u16]| {
        for (at_ms, status) in (from_ms..).step_by(10).zip(statuses) {
            replay.ask(at_ms, 1, Does::Answer(*status));
            replay.ask(at_ms, 2, Does::Answer(200));
        }
    };
    run(100, &[500, 502, 503, 504, 404, 500, 501, 502, 503, 504]);
    run(181_100, &[500, 500, 500, 500, 200, 500, 500, 500, 500]);
    let steps = replay.until_ms(600_000);
    let log: Vec<_> = steps.into_iter().filter(|step| !matches!(step, Step::Ask { .. })).collect();
    let by = "consecutive_5xx";
    let expected =
        [Step::Eject { at_ms: 190, host: 1, by }, Step::Uneject { at_ms: 181_000, host: 1 }];
    assert_eq!(log, expected);
}

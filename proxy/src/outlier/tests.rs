//! Lives of a detection in virtual time.

mod changes;
mod rules;
mod simulation;

use super::*;
use fusebox_proto::Now;
use fusebox_proto::policy::{Consecutive, FailurePercentage, SuccessRate};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Envoy's defaults, but all endpoints may be out, and nothing is detected yet.
fn nothing() -> OutlierDetection {
    OutlierDetection {
        interval: secs(10),
        ejection_time_base: secs(30),
        ejection_time_max: secs(300),
        ejection_time_jitter_max: Duration::ZERO,
        ejection_percent_max: 100,
        always_eject_one: false,
        panic_percent: 0,
        split_local_origin: false,
        error_statuses: Vec::new(),
        consecutive_errors: None,
        consecutive_gateway_errors: None,
        consecutive_local_origin_failures: None,
        success_rate: None,
        failure_percentage: None,
    }
}

const fn in_a_row(threshold: u32, enforcing_percent: u8) -> Consecutive {
    Consecutive { threshold, enforcing_percent }
}

/// Five errors in a row.
fn five() -> OutlierDetection {
    OutlierDetection { consecutive_errors: Some(in_a_row(5, 100)), ..nothing() }
}

/// Five errors in a row, or three gateway errors in a row.
fn gateway() -> OutlierDetection {
    OutlierDetection { consecutive_gateway_errors: Some(in_a_row(3, 100)), ..five() }
}

/// Five errors in a row, or three local failures in a row.
fn split() -> OutlierDetection {
    let consecutive_local_origin_failures = Some(in_a_row(3, 100));
    OutlierDetection { split_local_origin: true, consecutive_local_origin_failures, ..five() }
}

fn success_rate() -> OutlierDetection {
    let rule = SuccessRate {
        endpoints_min: 5,
        requests_min: 100,
        stdev_factor_thousandths: 1_900,
        enforcing_percent: 100,
        enforcing_local_origin_percent: 100,
    };
    OutlierDetection { success_rate: Some(rule), ..nothing() }
}

fn failure_percentage() -> OutlierDetection {
    let rule = FailurePercentage {
        threshold_percent: 85,
        endpoints_min: 5,
        requests_min: 50,
        enforcing_percent: 100,
        enforcing_local_origin_percent: 100,
    };
    OutlierDetection { failure_percentage: Some(rule), ..nothing() }
}

/// A detection of endpoints 1 … `hosts` with what happened in it.
struct Life {
    start: Instant,
    at: Duration,
    outlier: Outlier,
    /// What the dice always show.
    point: f64,
    log: Vec<String>,
}

impl Life {
    fn new(settings: OutlierDetection, hosts: u64) -> Self {
        let start = Now::read().instant;
        let mut outlier = Outlier::new(start, settings);
        outlier.set_hosts(&(1..=hosts).map(EndpointId).collect::<Vec<_>>());
        Self { start, at: Duration::ZERO, outlier, point: 0.5, log: Vec::new() }
    }

    fn observed(&mut self, host: u64, what: &str) {
        let (now, host, point) = (self.start + self.at, EndpointId(host), self.point);
        let observed = match what {
            "connect" => return self.outlier.connected(host),
            "open" => Observed::Opened,
            "broken" => Observed::Broken,
            "timeout" => Observed::TimedOut,
            status => Observed::Answered(status.parse().expect("a word of the script language")),
        };
        self.outlier.observed(now, host, now, observed, || point);
        self.note();
    }

    /// Lets time pass, with each sweep when it is due.
    fn pass(&mut self, time: Duration) {
        let end = self.start + self.at + time;
        while self.outlier.poll_timeout() <= end {
            let due = self.outlier.poll_timeout();
            self.at = due - self.start;
            let point = self.point;
            self.outlier.handle_timeout(due, || point);
            self.note();
        }
        self.at = end - self.start;
    }

    fn note(&mut self) {
        for event in self.outlier.take_events() {
            let (host, at) = (event.host.0, (event.at - self.start).as_secs_f64());
            let by = |detection: Detection| match detection.by {
                Detector::ConsecutiveErrors => "5xx",
                Detector::ConsecutiveGatewayErrors => "gateway",
                Detector::ConsecutiveLocalOriginFailures => "local",
                Detector::SuccessRate => "rate",
                Detector::SuccessRateLocalOrigin => "local-rate",
                Detector::FailurePercentage => "percentage",
                Detector::FailurePercentageLocalOrigin => "local-percentage",
            };
            self.log.push(match event.what {
                What::Ejected { detection, .. } => format!("-{host}:{}@{at}", by(detection)),
                What::Unejected { .. } => format!("+{host}@{at}"),
                What::Shadowed { detection, .. } => format!("(-{host}:{}@{at})", by(detection)),
                What::Unshadowed { cost: Cost { attempts, succeeded } } => {
                    format!("(+{host}@{at} {attempts}/{succeeded})")
                }
                What::Overflowed { detection } => format!("!{host}:{}@{at}", by(detection)),
            });
        }
    }

    /// One word of a script; see [`run`].
    fn word(&mut self, word: &str) {
        if let Some(seconds) = word.strip_prefix('+') {
            let seconds: f64 = seconds.parse().expect("seconds");
            return self.pass(Duration::from_secs_f64(seconds));
        }
        let (hosts, what) = word.split_once(':').expect("host:answer");
        let (what, times) = what.split_once('*').unwrap_or((what, "1"));
        let (first, last) = hosts.split_once('-').unwrap_or((hosts, hosts));
        for host in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
            for _ in 0..times.parse::<u32>().unwrap() {
                self.observed(host, what);
            }
        }
    }
}

/// Runs a script against endpoints 1 … `hosts`, and returns what happened to them.
///
/// `1:500*3` endpoint 1 answers 500 three times; `2-5:200` endpoints 2 to 5 answer 200; for the
/// status also `connect`, `open`, `broken`, `timeout`; `+9.5` time passes, in seconds. The dice
/// always show the middle. Out comes `-1:5xx@0` for an ejection, its reason and when, in seconds;
/// `+1@30` for its end; in parentheses for those that are not enforced, with attempts and successes
/// that would have gone elsewhere; `!1:5xx@0` for an overflow.
fn run(settings: OutlierDetection, hosts: u64, script: &str) -> Life {
    let mut life = Life::new(settings, hosts);
    script.split_whitespace().for_each(|word| life.word(word));
    life
}

#[track_caller]
fn check(settings: OutlierDetection, hosts: u64, script: &str, expected: &str) {
    assert_eq!(run(settings, hosts, script).log.join(" "), expected, "{script}");
}

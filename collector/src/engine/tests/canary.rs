//! A canary beside the stable subset, through the whole engine in virtual time: what is said of it, and
//! its end. By many seeds: `simulation/canary.rs`.

use super::bench::{Bench, Sidecar, service};
use super::policy::{Operate as _, request};
use crate::engine::Event;
use fusebox_proto::Latency;
use fusebox_proto::report::{EdgeCounts, EdgeWindow, Protocol};
use fusebox_proto::view::{Incident, IncidentState};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

const POLICY: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: inventory }
spec:
  host: inventory
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: inventory }
spec:
  hosts: [inventory]
  http:
  - name: split
    route:
    - { destination: { host: inventory, subset: v1 }, weight: 80 }
    - { destination: { host: inventory, subset: v2 }, weight: 20 }
";

/// What one subset does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    /// Share of requests that fail.
    pub(crate) fails: f64,
    /// Median of the latencies, µs.
    pub(crate) median_us: f64,
    /// So many of the requests take ten times as long.
    pub(crate) slow: f64,
}

pub(crate) const WELL: Health = Health { fails: 0.001, median_us: 20_000.0, slow: 0.0 };

impl Health {
    pub(crate) const fn failing(fails: f64) -> Self {
        Self { fails, ..WELL }
    }
}

/// Traffic of `payment` to `inventory`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Requests per second, of both subsets.
    pub(crate) rate: f64,
    /// Share of the canary, 0 … 1.
    pub(crate) share: f64,
    pub(crate) stable: Health,
    pub(crate) canary: Health,
    /// Everything fails by this share in bursts of five seconds, a minute apart by chance.
    pub(crate) bursts: f64,
    /// One instance of five stalls for a second, every five minutes by chance: what it has fails or
    /// takes long. The canary is one of the five.
    pub(crate) stalls: bool,
}

pub(crate) const HEALTHY: Traffic =
    Traffic { rate: 25.0, share: 0.2, stable: WELL, canary: WELL, bursts: 0.0, stalls: false };

pub(crate) struct Run {
    bench: Bench,
    sidecars: Vec<Sidecar>,
    random: StdRng,
    burst_s: u64,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        let sidecars: Vec<Sidecar> =
            ["p-1", "p-2"].map(|name| bench.connect(name, "payment", &["inventory"])).into();
        bench.apply("split", POLICY);
        for sidecar in &sidecars {
            bench.answer(sidecar, 1, None);
        }
        Self { bench, sidecars, random: StdRng::seed_from_u64(seed), burst_s: 0 }
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.random.random::<f64>()).cos()
    }

    fn chance(&mut self, share: f64) -> bool {
        self.random.random::<f64>() < share
    }

    /// A Poisson number, by arrivals.
    fn arrivals(&mut self, mean: f64) -> u64 {
        let (mut at, mut count) = (0.0, 0);
        loop {
            at -= (1.0 - self.random.random::<f64>()).ln();
            if mean < at {
                return count;
            }
            count += 1;
        }
    }

    fn window(&mut self, subset: &str, mean: f64, health: Health, stalled: f64) -> EdgeWindow {
        let count = self.arrivals(mean);
        let (mut latency, mut failures) = (Latency::default(), 0);
        for _ in 0..count {
            let is_stalled = self.chance(stalled);
            let mut us = health.median_us * (0.7 * self.normal()).exp();
            if self.chance(health.slow) || is_stalled {
                us *= 10.0;
            }
            latency.record_us(us as u64);
            let fails = if is_stalled { 0.5 } else { health.fails };
            failures += u64::from(self.chance(fails));
        }
        EdgeWindow {
            destination: service("inventory"),
            route: "split".to_owned(),
            subset: subset.to_owned(),
            protocol: Protocol::Http1,
            counts: EdgeCounts {
                first_attempts: count,
                successes: count - failures,
                failures,
                ..EdgeCounts::default()
            },
            latency,
            retry_waits: None,
        }
    }

    pub(crate) fn second(&mut self, traffic: Traffic) {
        self.bench.advance(Duration::from_secs(1));
        self.burst_s = self.burst_s.saturating_sub(1);
        if 0.0 < traffic.bursts && self.burst_s == 0 && self.chance(1.0 / 60.0) {
            self.burst_s = 5;
        }
        let stalled = if traffic.stalls && self.chance(1.0 / 300.0) {
            if self.chance(0.2) { (0.0, 1.0) } else { (0.25, 0.0) }
        } else {
            (0.0, 0.0)
        };
        let burst = if 0 < self.burst_s { traffic.bursts } else { 0.0 };
        let during = |health: Health| Health { fails: health.fails.max(burst), ..health };
        for at in 0..self.sidecars.len() {
            let rate = traffic.rate / self.sidecars.len() as f64;
            let stable = (1.0 - traffic.share) * rate;
            let mut edges = vec![self.window("v1", stable, during(traffic.stable), stalled.0)];
            if 0.0 < traffic.share {
                let canary = traffic.share * rate;
                edges.push(self.window("v2", canary, during(traffic.canary), stalled.1));
            }
            self.bench.report(&mut self.sidecars[at], edges, Vec::new());
        }
    }

    pub(crate) fn seconds(&mut self, seconds: u64, traffic: Traffic) {
        (0..seconds).for_each(|_| self.second(traffic));
    }

    pub(crate) fn incidents(&self) -> Vec<Incident> {
        self.bench.snapshot().incidents
    }

    /// Seconds until something is found, if it is within `most`.
    pub(crate) fn found_after(&mut self, traffic: Traffic, most: u64) -> Option<u64> {
        (1..=most).find(|_| {
            self.second(traffic);
            0 < self.bench.engine.incidents.open_count()
        })
    }
}

/// Scenario: a bad canary is found and taken back by the weights that were suggested; or it is mended
/// where it is; or its collector is replaced by one that knows nothing.
/// Guarantees: while the weights say 0 nothing more is suggested; the incident is over once nothing
/// goes there or it is as good as the stable; a new collector finds the same.
#[test]
fn a_canary_that_is_taken_back_or_mended_is_over() {
    let bad = Traffic { canary: Health::failing(0.2), ..HEALTHY };
    let found = || {
        let mut run = Run::new(7);
        run.seconds(60, Traffic { share: 0.0, ..bad });
        run.found_after(bad, 60).expect("it is found");
        run
    };
    let mut run = found();
    run.bench.shift("back", "inventory", &[("v1", 100), ("v2", 0)]);
    run.seconds(3, Traffic { share: 0.0, ..bad });
    let incident = run.bench.incident();
    assert_eq!((incident.phase.as_str(), &incident.action), ("draining", &None), "{incident:#?}");
    run.seconds(30, Traffic { share: 0.0, ..bad });
    let incident = run.bench.incident();
    assert_eq!(incident.state, IncidentState::Resolved, "{incident:#?}");
    assert!(incident.summary.ends_with("nothing goes to it any more."), "{}", incident.summary);

    let mut run = found();
    run.seconds(90, HEALTHY);
    let incident = run.bench.incident();
    assert_eq!(incident.state, IncidentState::Resolved, "{incident:#?}");

    let mut run = found();
    run.bench.restart();
    let connect = |name| run.bench.connect(name, "payment", &["inventory"]);
    run.sidecars = ["p-1", "p-2"].map(connect).into();
    run.found_after(bad, 90).expect("it is found again");
    let incident = run.bench.incident();
    assert_eq!((incident.subset.as_deref(), &incident.action), (Some("v2"), &None));
    let said = incident.counter_evidence.last().map(String::as_str).unwrap_or_default();
    assert!(said.starts_with("no policy of this collector splits"), "{incident:#?}");
}

/// Scenario: a bad canary whose failures its callers repeat at once, as long as they fail.
/// Guarantees: one incident, of the canary: no storm beside it.
#[test]
fn what_a_canary_causes_is_not_told_beside_it() {
    let mut run = Run::new(3);
    run.seconds(60, Traffic { share: 0.0, ..HEALTHY });
    let bad = Traffic { canary: Health::failing(1.0), ..HEALTHY };
    run.found_after(bad, 60).expect("it is found");
    for _ in 0..30 {
        run.bench.advance(Duration::from_secs(1));
        for at in 0..run.sidecars.len() {
            let stable = run.window("v1", 10.0, WELL, 0.0);
            let mut canary = run.window("v2", 10.0, Health::failing(1.0), 0.0);
            canary.counts.retries_certain = canary.counts.first_attempts;
            canary.counts.failures += canary.counts.first_attempts;
            run.bench.report(&mut run.sidecars[at], vec![stable, canary], Vec::new());
        }
    }
    let incident = run.bench.incident();
    assert_eq!(incident.kind, "canary_regression", "{incident:#?}");
}

/// Scenario: a policy splits traffic, and one of its subsets gets nothing; then it does.
/// Guarantees: that it is not heard of is told, as advice, and no longer once it is.
#[test]
fn a_subset_without_telemetry_is_a_finding() {
    let mut run = Run::new(1);
    let advice = |run: &Run| {
        let all = run.bench.snapshot().advisories;
        all.into_iter().map(|one| (one.kind, one.summary)).collect::<Vec<_>>()
    };
    run.seconds(5, Traffic { share: 0.0, ..HEALTHY });
    assert_eq!(advice(&run), [], "it is early");
    run.seconds(55, Traffic { share: 0.0, ..HEALTHY });
    let [(kind, summary)] = &advice(&run)[..] else { panic!("{:?}", advice(&run)) };
    assert_eq!(kind, "silent_subset");
    assert!(summary.starts_with("payment should send 20 % of its requests to inventory v2"));
    assert_eq!(run.incidents(), []);
    run.seconds(3, HEALTHY);
    assert_eq!(advice(&run), []);
    run.bench.handle(Event::Apply(Box::new(request("none", &POLICY.replace("20", "0")))));
    run.seconds(90, Traffic { share: 0.0, ..HEALTHY });
    assert_eq!(advice(&run), [], "nothing is to go there");
}

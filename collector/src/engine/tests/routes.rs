//! Routes of one edge that behave differently, through the engine in virtual time: what is slow on one
//! of them, and what only looks like it.

use super::bench::{Bench, Sidecar, inbound, window};
use crate::detect::{Subject, UsualLatency};
use crate::record::Part;
use fusebox_proto::report::{EdgeCounts, EdgeWindow, InboundWindow};
use fusebox_proto::view::{Incident, IncidentState};
use fusebox_proto::{Edge, Latency, ServiceId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// Requests a second on a route, and what they take, µs.
type Route = (&'static str, u64, u64);

const READ: Route = ("read", 50, 10_000);
const REPORT: Route = ("report", 30, 200_000);
const CHECKOUT: Route = ("checkout", 10, 20_000);

/// `payment` calls `inventory` on several routes, and that a database.
struct Run {
    bench: Bench,
    payment: Sidecar,
    inventory: Sidecar,
    second: u64,
}

impl Run {
    fn new() -> Self {
        let mut bench = Bench::new();
        let payment = bench.connect("payment-0", "payment", &["inventory"]);
        let inventory = bench.connect("inventory-0", "inventory", &["db"]);
        Self { bench, payment, inventory, second: 0 }
    }

    /// Seconds of these routes, of which the database takes 5 ms of each request, and `in_db_us` more
    /// of those that check out.
    fn seconds(&mut self, n: u64, routes: &[Route], in_db_us: u64) {
        for _ in 0..n {
            self.second += 1;
            self.bench.advance(Duration::from_secs(1));
            let mut edges = Vec::new();
            let (mut served, mut db) = (quiet(), Latency::default());
            let mut all = 0;
            for (route, requests, took_us) in routes {
                let mut latency = Latency::default();
                for request in 0..*requests {
                    // No two seconds are alike: 90 to 110 %.
                    let share = 90 + (10 * self.second + 13 * request) % 21;
                    latency.record_us(took_us * share / 100 + 1_000);
                    served.latency.record_us(took_us * share / 100);
                    let more_us = if *route == CHECKOUT.0 { in_db_us } else { 0 };
                    db.record_us(50 * share + more_us);
                }
                served.requests += requests;
                all += requests;
                edges.push(call("inventory", route, *requests, latency));
            }
            self.bench.report(&mut self.payment, edges, vec![inbound(all, 0, 250_000)]);
            let edges = vec![call("db", "", all, db)];
            self.bench.report(&mut self.inventory, edges, vec![served]);
        }
    }

    fn open(&self) -> Vec<Incident> {
        let incidents = self.bench.snapshot().incidents.into_iter();
        incidents.filter(|incident| incident.state == IncidentState::Open).collect()
    }
}

fn quiet() -> InboundWindow {
    inbound(0, 0, 0)
}

fn call(destination: &str, route: &str, requests: u64, latency: Latency) -> EdgeWindow {
    let counts =
        EdgeCounts { first_attempts: requests, successes: requests, ..EdgeCounts::default() };
    EdgeWindow { route: route.into(), latency, ..window(destination, counts, 0) }
}

/// Scenario: one edge with three routes, the slowest of which decides its p99 and the quickest its
/// median; checking out, ten a second, takes five times as long: in the service, or in its database.
/// Guarantees: within a minute the right service is named with the route and its figures, by one
/// incident, which is over once the route is well again.
#[test]
fn a_slow_route_is_found_beside_slower_ones() {
    let slow = (CHECKOUT.0, CHECKOUT.1, 5 * CHECKOUT.2);
    for (in_db_us, guilty) in [(0, "inventory"), (4 * CHECKOUT.2, "db")] {
        let mut run = Run::new();
        run.seconds(600, &[READ, REPORT, CHECKOUT], 0);
        assert!(run.open().is_empty(), "{:#?}", run.open());
        run.seconds(60, &[READ, REPORT, slow], in_db_us);
        let open = run.open();
        let [incident] = &open[..] else { panic!("one incident: {open:#?}") };
        assert_eq!(incident.kind, "latency_regression");
        assert_eq!(incident.originator.as_deref(), Some(guilty), "{incident:#?}");
        if guilty == "inventory" {
            let summary = &incident.summary;
            assert!(summary.contains("p99 23 ms → 111 ms on checkout"), "{summary}");
            let signals = incident.evidence.iter().map(|evidence| &*evidence.signal);
            assert!(signals.clone().any(|signal| signal == "p99 on checkout"), "{incident:#?}");
        }
        run.seconds(90, &[READ, REPORT, CHECKOUT], 0);
        assert!(run.open().is_empty(), "{:#?}", run.open());
    }
}

/// Scenario: a slow route is asked six times as often, too seldom to be load on the edge; nothing takes
/// longer than before.
/// Guarantees: the edge's p99 is twenty times as high, and nobody is accused.
#[test]
fn more_requests_on_a_slow_route_accuse_nobody() {
    let mut run = Run::new();
    let usual = [("read", 100, 10_000), ("report", 1, 200_000)];
    run.seconds(600, &usual, 0);
    let more = [("read", 100, 10_000), ("report", 6, 200_000)];
    for _ in 0..300 {
        run.seconds(1, &more, 0);
        assert!(run.open().is_empty(), "{:#?}", run.open());
    }
}

/// Scenario: after ten minutes on one route its requests are sent on another one, or on none, and take
/// longer there, in the service.
/// Guarantees: that is a regression of the service and stays one: what came with a fault is no usual
/// slow kind.
#[test]
fn a_route_that_came_with_the_fault_excuses_nobody() {
    let check = |after: &[Route]| {
        let mut run = Run::new();
        run.seconds(600, &[("v1", 100, 10_000), ("old", 1, 10_000)], 0);
        run.seconds(150, after, 0);
        let open = run.open();
        let [incident] = &open[..] else { panic!("{after:?}: one incident: {open:#?}") };
        assert_eq!(incident.originator.as_deref(), Some("inventory"), "{incident:#?}");
    };
    check(&[("v2", 100, 20_000), ("old", 1, 10_000)]);
    check(&[("v2", 100, 16_000), ("old", 1, 10_000)]);
    check(&[("", 100, 20_000), ("old", 1, 10_000)]);
}

/// Scenario: a busy service, which takes 5 ms or 95 ms, has a caller that makes one in a hundred of its
/// calls; on the way from that one 40 ms are lost.
/// Guarantees: the way is named, although the service's own time wanders by more than that in all.
#[test]
fn a_slow_way_to_a_busy_service_is_found() {
    let mut bench = Bench::new();
    let mut payment = bench.connect("payment-0", "payment", &["inventory"]);
    let mut web = bench.connect("web-0", "web", &["inventory"]);
    let mut inventory = bench.connect("inventory-0", "inventory", &[]);
    let mut rng = StdRng::seed_from_u64(1);
    for second in 0..700 {
        bench.advance(Duration::from_secs(1));
        let mut served = quiet();
        let mut calls = |requests: u64, way_us: u64| {
            let mut latency = Latency::default();
            for _ in 0..requests {
                let took_us = if rng.random_bool(0.2) { 5_000 } else { 95_000 };
                latency.record_us(took_us + way_us);
                served.latency.record_us(took_us);
            }
            served.requests += requests;
            call("inventory", "", requests, latency)
        };
        let lost_us = if second < 600 { 0 } else { 40_000 };
        let (few, many) = (calls(10, 1_000 + lost_us), calls(1_000, 1_000));
        bench.report(&mut payment, vec![few], vec![inbound(10, 0, 100_000)]);
        bench.report(&mut web, vec![many], vec![inbound(1_000, 0, 100_000)]);
        bench.report(&mut inventory, vec![], vec![served]);
    }
    let incidents = bench.snapshot().incidents;
    let [incident] = &incidents[..] else { panic!("one incident: {incidents:#?}") };
    assert!(incident.summary.contains("on the way"), "{incident:#?}");
    assert!(incident.summary.contains("p99 96 ms → 136 ms"), "{incident:#?}");
    let edge = incident.edge.as_ref().map(|edge| (&*edge.source, &*edge.destination));
    assert_eq!(edge, Some(("payment", "inventory")), "{incident:#?}");
}

/// Scenario: one route; two more, which then are quiet for longer than a minute, and come back.
/// Guarantees: a single route is not watched beside its edge. Of several each is watched for as long
/// as it is heard of: what is quiet takes nothing from what another has learned.
#[test]
fn what_is_quiet_takes_nothing_from_others() {
    let mut run = Run::new();
    let watched = |run: &Run| run.bench.engine.detectors.len();
    let minutes = |run: &Run| {
        let id = |name| ServiceId::named(name).unwrap();
        let edge = Edge::new(id("payment"), id("inventory"));
        let part = Part { edge, route: READ.0.into(), subset: "".into() };
        let latencies = run.bench.engine.detectors.latencies();
        latencies.usual(&Subject::Part(part)).map(UsualLatency::minutes)
    };
    run.seconds(20, &[READ], 0);
    let alone = watched(&run);
    assert_eq!(minutes(&run), None);
    run.seconds(20, &[READ, REPORT, CHECKOUT], 0);
    assert_eq!(watched(&run), alone + 3);
    run.seconds(80, &[READ], 0);
    assert_eq!(watched(&run), alone + 1);
    assert_eq!(minutes(&run), Some(1));
    run.seconds(20, &[READ, REPORT], 0);
    assert_eq!(watched(&run), alone + 2);
    assert_eq!(minutes(&run), Some(1), "20 s, 80 s and 20 s, the last minute of which is open");
}

//! Storms of several edges: one cause, one incident.

use super::bench::{Bench, Sidecar, counts, inbound, service, window};
use crate::engine::Output;
use crate::observe::{AttemptClass, Ending, Observation, Outcome};
use fusebox_proto::Edge;
use fusebox_proto::command::{AckResult, ActionKind};
use fusebox_proto::report::{EdgeCounts, Protocol};
use std::time::Duration;

/// One edge of a made-up mesh in one second: caller, callee, counts.
type Traffic<'a> = (&'a str, &'a str, EdgeCounts);

/// Services with one proxy each, which report what they are told.
struct Shop {
    bench: Bench,
    sidecars: Vec<Sidecar>,
}

impl Shop {
    fn open(services: &[&str]) -> Self {
        let mut bench = Bench::new();
        let connect = |name: &&str| bench.connect(&format!("{name}-0"), name, &[]);
        let sidecars = services.iter().map(connect).collect();
        Self { bench, sidecars }
    }

    /// Seconds of equal traffic.
    fn seconds(&mut self, seconds: u64, traffic: &[Traffic<'_>]) {
        for _ in 0..seconds {
            self.bench.advance(Duration::from_secs(1));
            for sidecar in &mut self.sidecars {
                let name = sidecar.hello.service.name().to_owned();
                let from = traffic.iter().filter(|(source, _, _)| *source == name);
                let edges =
                    from.map(|(_, to, counts)| window(to, counts.clone(), 20_000)).collect();
                let into: u64 = traffic
                    .iter()
                    .filter(|(_, destination, _)| *destination == name)
                    .map(|(_, _, counts)| counts.attempts())
                    .sum();
                self.bench.report(sidecar, edges, vec![inbound(into, 0, 10_000)]);
            }
        }
    }
}

/// Scenario: gateway, checkout, payment and inventory in a row; inventory fails, and each layer
/// makes three attempts. A fifth service calls inventory without retries.
/// Guarantees: one incident with three layers of 3 and their product; the uppermost edge is the
/// originator, inventory the victim.
#[test]
fn three_layers_of_three() {
    let mut shop = Shop::open(&["gateway", "checkout", "payment", "inventory", "search"]);
    let calm = [
        ("gateway", "checkout", counts(30, 0, 0)),
        ("checkout", "payment", counts(30, 0, 0)),
        ("payment", "inventory", counts(30, 0, 0)),
        ("search", "inventory", counts(30, 0, 0)),
    ];
    let storm = [
        ("gateway", "checkout", counts(30, 60, 85)),
        ("checkout", "payment", counts(90, 180, 265)),
        ("payment", "inventory", counts(270, 540, 800)),
        ("search", "inventory", counts(30, 0, 29)),
    ];
    shop.seconds(30, &calm);
    assert!(shop.bench.snapshot().incidents.is_empty());
    shop.seconds(12, &storm);
    let incident = shop.bench.incident();
    assert_eq!(incident.originator.as_deref(), Some("gateway"));
    assert_eq!(incident.victim.as_deref(), Some("inventory"));
    let layers: Vec<_> =
        incident.layers.iter().map(|l| (&*l.source, &*l.destination, l.factor)).collect();
    let expected =
        [("gateway", "checkout", 3.0), ("checkout", "payment", 3.0), ("payment", "inventory", 3.0)];
    assert_eq!(layers, expected);
    assert!((incident.amplification.unwrap() - 27.0).abs() < 1e-6);
    assert!(incident.summary.contains("27.0 times"), "{}", incident.summary);
    shop.seconds(20, &calm);
    let incident = shop.bench.incident();
    assert_eq!(incident.phase, "resolved");
    let amplification = incident.amplification.unwrap();
    assert!((24.3..=27.0).contains(&amplification), "{amplification}, as it was");
}

/// Scenario: the lowest of three layers shows first, and its retries are muted; the layers above go
/// on.
/// Guarantees: the lease does not hide them: the uppermost is the originator in the end, what is
/// suggested is about its edge, and the muted layer keeps the factor that it had.
#[test]
fn a_lease_below_does_not_hide_the_layers_above() {
    let mut shop = Shop::open(&["gateway", "checkout", "payment", "inventory"]);
    let path = ["gateway", "checkout", "payment", "inventory"];
    let edge = |at: usize, counts| (path[at], path[at + 1], counts);
    shop.seconds(30, &[0, 1, 2].map(|at| edge(at, counts(30, 0, 0))));
    let low = [edge(0, counts(30, 0, 5)), edge(1, counts(30, 0, 20)), edge(2, counts(30, 60, 85))];
    shop.seconds(3, &low);
    assert_eq!(shop.bench.incident().originator.as_deref(), Some("payment"));
    shop.bench.trip("t1", ("payment", "inventory"), ActionKind::MuteRetries, 60);
    let (connection, command) = shop.bench.pushed().remove(0);
    shop.bench.ack(connection, &command, AckResult::Applied);
    let muted = EdgeCounts { retries_refused: 540, ..counts(270, 0, 265) };
    let above = [edge(0, counts(30, 60, 85)), edge(1, counts(90, 180, 265)), edge(2, muted)];
    shop.seconds(12, &above);
    let incident = shop.bench.incident();
    assert_eq!(incident.originator.as_deref(), Some("gateway"));
    assert_eq!(incident.victim.as_deref(), Some("inventory"));
    let suggested = incident.action.expect("something to do about it");
    assert_eq!((&*suggested.source, &*suggested.destination), ("gateway", "checkout"));
    let factors: Vec<f64> = incident.layers.iter().map(|layer| layer.factor).collect();
    assert!(factors.len() == 3 && factors[..2].iter().all(|f| (2.7..=3.1).contains(f)));
    assert!((1.5..=3.1).contains(&factors[2]), "{factors:?}: as it was after three seconds");
}

/// Scenario: three layers of three that only spans tell, one in ten, in batches of five seconds.
/// Guarantees: the same verdict, with the same factors.
#[test]
fn layers_that_only_spans_tell() {
    let mut bench = Bench::new();
    let path = ["gateway", "checkout", "payment", "inventory"];
    for batch in 0..10 {
        let mut seen = Vec::new();
        for second in 0..5 {
            bench.advance(Duration::from_secs(1));
            for at in 0..3 {
                let each = if batch < 5 { [4, 0] } else { [4 * 3_u32.pow(at), 8 * 3_u32.pow(at)] };
                let outcome = if batch < 5 { Outcome::Success } else { Outcome::Failure };
                for (class, count) in
                    [AttemptClass::First, AttemptClass::Retry].into_iter().zip(each)
                {
                    let made = Observation::Attempt {
                        edge: Edge::new(service(path[at as usize]), service(path[at as usize + 1])),
                        protocol: Protocol::Http1,
                        ending: Ending { class, outcome },
                        latency_us: Some(20_000),
                        waited: None,
                        weight: 10.0,
                        at_unix_ms: bench.now.unix_ms - 200 * second,
                        from_proxy: false,
                    };
                    seen.extend((0..count).map(|_| made.clone()));
                }
            }
        }
        bench.engine.observe(bench.now, &seen);
    }
    let incident = bench.incident();
    assert_eq!(incident.originator.as_deref(), Some("gateway"));
    assert_eq!(incident.victim.as_deref(), Some("inventory"));
    let factors: Vec<f64> = incident.layers.iter().map(|layer| layer.factor).collect();
    assert!(factors.len() == 3 && factors.iter().all(|f| (2.7..=3.3).contains(f)), "{factors:?}");
}

/// Scenario: storms whose layers differ, that share a victim, whose victim lies below the storm,
/// that have nothing to do with each other, and that run in a circle.
/// Guarantees: the largest share is the originator; what failures connect is one incident, what
/// they do not connect are several.
#[test]
fn who_is_blamed() {
    let check = |name: &str, storm: &[Traffic<'_>], expected: &[(&str, &str)]| {
        let mut services: Vec<&str> = storm.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
        services.sort_unstable();
        services.dedup();
        let mut shop = Shop::open(&services);
        let calm = storm.iter().map(|(a, b, c)| (*a, *b, counts(c.first_attempts, 0, 0)));
        let calm: Vec<_> = calm.collect();
        shop.seconds(20, &calm);
        shop.seconds(12, storm);
        let mut blamed: Vec<(String, String)> = shop
            .bench
            .snapshot()
            .incidents
            .into_iter()
            .map(|incident| (incident.originator.unwrap(), incident.victim.unwrap()))
            .collect();
        blamed.sort();
        let blamed: Vec<_> = blamed.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(blamed, expected, "{name}");
    };
    let lower = [("a", "b", counts(40, 40, 75)), ("b", "c", counts(80, 240, 315))];
    check("the lower layer is heavier", &lower, &[("b", "c")]);
    let upper = [("a", "b", counts(40, 120, 155)), ("b", "c", counts(160, 160, 310))];
    check("the upper layer is heavier", &upper, &[("a", "c")]);
    let shared = [("a", "c", counts(40, 160, 190)), ("b", "c", counts(40, 80, 110))];
    check("two callers, one victim", &shared, &[("a", "c")]);
    let below = [("a", "b", counts(40, 120, 155)), ("b", "db", counts(160, 0, 150))];
    check("the victim is below", &below, &[("a", "db")]);
    let gap = [
        ("a", "b", counts(40, 80, 115)),
        ("b", "c", counts(120, 0, 115)),
        ("c", "d", counts(120, 240, 350)),
    ];
    check("a layer without retries between", &gap, &[("a", "d")]);
    let apart = [("a", "b", counts(40, 120, 155)), ("c", "d", counts(40, 80, 115))];
    check("nothing in common", &apart, &[("a", "b"), ("c", "d")]);
    let circle = [("a", "b", counts(40, 120, 155)), ("b", "a", counts(40, 120, 155))];
    check("a circle", &circle, &[("a", "b")]);
}

/// Scenario: a storm whose attempts time out and wait for the victim; the edge is opened for a second,
/// and then for as long as the collector suggests.
/// Guarantees: of the first lease it is said that it is too short, and what would do; the second is
/// taken without a word.
#[test]
fn a_lease_that_is_too_short_is_said() {
    let mut shop = Shop::open(&["payment", "inventory"]);
    let storm = EdgeCounts {
        first_attempts: 60,
        retries_certain: 180,
        timeouts: 235,
        successes: 5,
        ..EdgeCounts::default()
    };
    shop.seconds(30, &[("payment", "inventory", counts(60, 0, 0))]);
    shop.seconds(12, &[("payment", "inventory", storm)]);
    let incident = shop.bench.incident();
    let mut actions = incident.action.iter().chain(&incident.alternatives);
    let open = actions.find(|known| known.action == ActionKind::Open).expect("possible");
    let enough_s = open.ttl_s;
    assert!(10 < enough_s, "something waits: {incident:#?}");
    for (id, ttl_s, is_short) in [("t1", 1, true), ("t2", enough_s, false)] {
        shop.bench.trip(id, ("payment", "inventory"), ActionKind::Open, ttl_s);
        let (connection, command) = shop.bench.pushed().remove(0);
        shop.bench.ack(connection, &command, AckResult::Applied);
        let is_done = |output: &Output| matches!(output, Output::Done { .. });
        let at = shop.bench.outputs.iter().position(is_done).expect("an answer");
        let Output::Done { results, .. } = shop.bench.outputs.remove(at) else { unreachable!() };
        let said = format!("inventory may need longer to work off what waits for it: {enough_s} s");
        assert_eq!(results[0].note.starts_with(&said), is_short, "{id}: {:?}", results[0].note);
        assert_eq!(results[0].note.is_empty(), !is_short, "{id}: {:?}", results[0].note);
    }
}

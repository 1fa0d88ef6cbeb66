//! Where the figures come from: proxies' windows late, twice or with a wrong clock; spans alone;
//! requests that carry nothing to tell a retry by.

use super::bench::{Bench, START_UNIX_MS, counts, inbound, service, window};
use crate::engine::{Event, Output};
use crate::observe::{AttemptClass, Ending, Observation, Outcome};
use fusebox_proto::Edge;
use fusebox_proto::report::{EdgeCounts, Protocol, Report};
use fusebox_proto::view::ServiceKind;
use std::time::Duration;

/// Scenario: a storm is reported twice by each connection, as after a lost acknowledgement.
/// Guarantees: nothing counts twice, and the proxy is told each time what it may forget.
#[test]
fn resent_windows_count_once() {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", "payment", &["inventory"]);
    let mut reports: Vec<Report> = Vec::new();
    for _ in 0..12 {
        bench.advance(Duration::from_secs(1));
        let edges = vec![window("inventory", counts(20, 1, 0), 9_000)];
        reports.push(bench.report(&mut one, edges, Vec::new()));
    }
    let before = bench.edge("payment", "inventory");
    let again = bench.connect("payment-0", "payment", &["inventory"]);
    bench.outputs.clear();
    for report in reports.iter().rev() {
        let report = report.clone();
        bench.handle(Event::Report { connection: again.connection, report });
    }
    assert_eq!(bench.edge("payment", "inventory"), before);
    let taken = Output::Taken { connection: again.connection, boot: 1, number: 12 };
    assert_eq!(bench.outputs, vec![taken; 12]);
}

/// Scenario: the windows of a storm that is over come only now, when the proxy reaches the
/// collector again.
/// Guarantees: they update figures, but nothing fires.
#[test]
fn late_windows_do_not_fire() {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", "payment", &["inventory"]);
    bench.advance(Duration::from_mins(1));
    for number in 1..=25 {
        let storm = if number < 14 { counts(50, 300, 330) } else { counts(50, 0, 0) };
        let report = Report {
            number,
            start_unix_ms: bench.now.unix_ms - 1_000 * (26 - number),
            ..bench_report(window("inventory", storm, 9_000))
        };
        bench.handle(Event::Report { connection: one.connection, report });
    }
    one.number = 25;
    bench.advance(Duration::from_secs(1));
    bench.report(&mut one, vec![window("inventory", counts(50, 0, 0), 9_000)], Vec::new());
    assert!(bench.snapshot().incidents.is_empty());
    let edge = bench.edge("payment", "inventory");
    assert_eq!((edge.rate, edge.p95_ms.is_some()), (Some(50.0), true));
}

fn bench_report(edge: fusebox_proto::report::EdgeWindow) -> Report {
    Report {
        boot: 1,
        number: 1,
        start_unix_ms: START_UNIX_MS,
        duration_ms: 1_000,
        edges: vec![edge],
        inbound: Vec::new(),
        breakers: Vec::new(),
        transitions: Vec::new(),
        dropped: fusebox_proto::report::Dropped::default(),
        draining: false,
        endpoints: None,
        troubles: Vec::new(),
    }
}

/// Scenario: proxies whose clock is an hour ahead, or twenty seconds behind.
/// Guarantees: a storm through them is seen all the same.
#[test]
fn a_wrong_clock_does_not_hide_a_storm() {
    let check = |offset_ms: i64| {
        let mut bench = Bench::new();
        let one = bench.connect("payment-0", "payment", &["inventory"]);
        for number in 1..=60 {
            bench.advance(Duration::from_secs(1));
            let storm = if number < 40 { counts(50, 0, 0) } else { counts(50, 300, 330) };
            let report = Report {
                number,
                start_unix_ms: (bench.now.unix_ms - 1_000).saturating_add_signed(offset_ms),
                ..bench_report(window("inventory", storm, 9_000))
            };
            bench.handle(Event::Report { connection: one.connection, report });
        }
        let incident = bench.incident();
        assert!((6.0..=7.5).contains(&incident.amplification.unwrap()), "{offset_ms}");
    };
    check(0);
    check(3_600_000);
    check(-20_000);
}

fn attempt(bench: &Bench, ending: Ending, weight: f64) -> Observation {
    Observation::Attempt {
        edge: Edge::new(service("payment"), service("inventory")),
        protocol: Protocol::Http1,
        ending,
        latency_us: Some(1_000_000),
        waited: None,
        weight,
        at_unix_ms: bench.now.unix_ms - 1_500,
        from_proxy: false,
    }
}

/// Scenario: a storm that only spans tell, sampled at 10 %, in batches of five seconds.
/// Guarantees: it is named with the batch that shows it; rates are those of the traffic, evidence
/// is that of the spans; no action is suggested, because nobody could take it.
#[test]
fn spans_alone_name_a_storm() {
    let mut bench = Bench::new();
    let first = |outcome| Ending { class: AttemptClass::First, outcome };
    let retry = Ending { class: AttemptClass::Retry, outcome: Outcome::Timeout };
    let mut opened = None;
    for batch in 0..12 {
        let mut spans = Vec::new();
        for _ in 0..5 {
            bench.advance(Duration::from_secs(1));
            let is_stormy = 6 <= batch;
            let outcome = if is_stormy { Outcome::Timeout } else { Outcome::Success };
            spans.extend((0..3).map(|_| attempt(&bench, first(outcome), 10.0)));
            if is_stormy {
                spans.extend((0..9).map(|_| attempt(&bench, retry, 10.0)));
            }
        }
        bench.engine.observe(bench.now, &spans);
        if opened.is_none() && !bench.snapshot().incidents.is_empty() {
            opened = Some(batch);
        }
    }
    assert_eq!(opened, Some(6));
    let incident = bench.incident();
    assert!((3.6..=4.4).contains(&incident.amplification.unwrap()));
    assert!(incident.confidence <= 0.9 && incident.action.is_none());
    assert_eq!(
        (&*incident.data_quality.source, incident.data_quality.sampling),
        ("spans", Some(0.1))
    );
    let note = "from spans only, which come in batches; sampled; no proxy of payment could act";
    assert_eq!(incident.data_quality.note, note);
    let rate = bench.edge("payment", "inventory").rate.unwrap();
    assert!((100.0..=130.0).contains(&rate), "{rate}");
}

/// Scenario: spans of instances seen by a proxy, of a database, and of new versions.
/// Guarantees: a proxy's own spans add nothing to its counts; kinds and instances are shown; a new
/// version of a known service is an event.
#[test]
fn spans_beside_proxies() {
    let mut bench = Bench::new();
    let mut one = bench.connect("payment-0", "payment", &["inventory"]);
    let node = |name: &str, kind, instance: Option<&str>, version: &str| Observation::Node {
        service: service(name),
        kind,
        instance: instance.map(Into::into),
        version: Some(version.into()),
        at_unix_ms: START_UNIX_MS,
    };
    for second in 0..20 {
        bench.advance(Duration::from_secs(1));
        let ending = Ending { class: AttemptClass::First, outcome: Outcome::Success };
        let mut seen = attempt(&bench, ending, 1.0);
        if let Observation::Attempt { from_proxy, .. } = &mut seen {
            *from_proxy = true;
        }
        let version = if second < 15 { "2.13" } else { "2.14" };
        let payment = node("payment", ServiceKind::Service, Some("payment-0"), version);
        let database = node("stock-db", ServiceKind::Database, None, "16");
        bench.engine.observe(bench.now, &[seen.clone(), seen, payment, database]);
        bench.report(&mut one, vec![window("inventory", counts(4, 0, 0), 9_000)], Vec::new());
    }
    assert_eq!(bench.edge("payment", "inventory").rate, Some(4.0));
    let snapshot = bench.snapshot();
    let services: Vec<_> =
        snapshot.services.iter().map(|s| (&*s.name, s.kind, s.instances)).collect();
    let expected = [
        ("inventory", ServiceKind::External, None),
        ("payment", ServiceKind::Service, Some(1)),
        ("stock-db", ServiceKind::Database, None),
    ];
    assert_eq!(services, expected);
    let events: Vec<_> = snapshot.events.iter().map(|e| &*e.text).collect();
    assert_eq!(events, ["payment has a new version, 2.14", "proxy payment-0 connected"]);
}

/// Scenario: requests without trace context. Two calls each are usual; then each makes eight and
/// nearly all fail; or each makes eight and none fails; or demand is four times as much.
/// Guarantees: only the first is a storm, at reduced confidence, and its action needs no
/// recognition.
#[test]
fn retries_by_ratio() {
    let check = |requests: u64, attempts: u64, failed: u64, is_storm: bool| {
        let mut bench = Bench::new();
        let mut one = bench.connect("payment-0", "payment", &["inventory"]);
        for second in 0..150 {
            bench.advance(Duration::from_secs(1));
            let (requests, attempts, failed) =
                if second < 135 { (40, 80, 0) } else { (requests, attempts, failed) };
            let blind = EdgeCounts { unclassified: attempts, ..counts(attempts, 0, failed) };
            let edges = vec![window("inventory", blind, 9_000)];
            bench.report(&mut one, edges, vec![inbound(requests, 0, 9_000)]);
        }
        let incidents = bench.snapshot().incidents;
        assert_eq!(!incidents.is_empty(), is_storm, "{incidents:#?}");
        let Some(incident) = incidents.first() else { return };
        assert!((3.6..=4.4).contains(&incident.amplification.unwrap()), "{incident:?}");
        assert!(incident.confidence <= 0.6);
        assert_eq!(incident.data_quality.recognised, Some(0.0));
        assert_eq!(incident.action.as_ref().unwrap().action.as_str(), "cap");
        assert_eq!(incident.action.as_ref().unwrap().tier, 1);
    };
    check(40, 320, 300, true);
    check(40, 320, 0, false);
    check(160, 320, 300, false);
}

/// Scenario: a proxy carries raw sessions to a redis, to something without a telling name, and to a
/// service that reports itself.
/// Guarantees: all are edges with protocol tcp; the name makes a database of the first alone.
#[test]
fn raw_sessions_are_edges() {
    let mut bench = Bench::new();
    let mut cart = bench.connect("cart-0", "cart", &["redis", "legacy", "orders-db"]);
    bench.connect("orders-db-0", "orders-db", &[]);
    bench.advance(Duration::from_secs(1));
    let tcp = |destination| {
        let window = window(destination, counts(10, 0, 0), 300);
        fusebox_proto::report::EdgeWindow { protocol: Protocol::Tcp, ..window }
    };
    let edges = ["redis", "legacy", "orders-db"].map(tcp).to_vec();
    bench.report(&mut cart, edges, Vec::new());
    for destination in ["redis", "legacy", "orders-db"] {
        assert_eq!(bench.edge("cart", destination).protocol, "tcp");
    }
    let services = bench.snapshot().services;
    let kind = |name: &str| services.iter().find(|one| one.name == name).map(|one| one.kind);
    assert_eq!(kind("redis"), Some(ServiceKind::Database));
    assert_eq!(kind("legacy"), Some(ServiceKind::External));
    assert_eq!(kind("orders-db"), Some(ServiceKind::Service));
}

/// Scenario: a proxy says where its calls go, later that they go elsewhere, an older word again, one
/// of an earlier life; then that it drains, and it ends. Another one leaves some out.
/// Guarantees: the newest word of its life holds; that it drains is told while it is there, and once
/// among the events; nothing is said of endpoints where some are not known.
#[test]
fn what_a_proxy_says_of_itself() {
    use fusebox_proto::report::{Endpoint, Endpoints};
    let endpoints = |revision: u64, zones: &[&str], left_out: u64| {
        let endpoint = |zone: &&str| Endpoint {
            destination: service("inventory"),
            address: "127.0.0.1:1".into(),
            labels: vec![("zone".into(), (*zone).into())],
        };
        let all = zones.iter().map(endpoint).collect();
        Endpoints { revision, destinations: vec![service("inventory")], all, left_out }
    };
    let mut bench = Bench::new();
    let connection = bench.connect("payment-0", "payment", &["inventory"]).connection;
    let report = |number, boot, draining, endpoints| Report {
        boot,
        number,
        start_unix_ms: START_UNIX_MS + number * 1_000,
        draining,
        endpoints,
        ..bench_report(window("inventory", counts(1, 0, 0), 1_000))
    };
    let say = |bench: &mut Bench, number, boot, draining, endpoints| {
        bench.advance(Duration::from_secs(1));
        let report = report(number, boot, draining, endpoints);
        bench.handle(Event::Report { connection, report });
    };
    let zones = |bench: &Bench| -> Vec<String> {
        let all = bench.engine.proxies.endpoints_of(&service("inventory"));
        all.into_iter().flatten().map(|labels| labels[0].1.clone()).collect()
    };
    assert!(zones(&bench).is_empty());
    say(&mut bench, 1, 1, false, Some(endpoints(2, &["b", "c"], 0)));
    say(&mut bench, 2, 1, false, Some(endpoints(1, &["a"], 0)));
    say(&mut bench, 3, 1, false, None);
    say(&mut bench, 4, 0, false, Some(endpoints(7, &["z"], 0)));
    assert_eq!(zones(&bench), ["b", "c"]);
    let is_draining = |bench: &Bench| bench.snapshot().proxies[0].draining;
    assert!(!is_draining(&bench));
    say(&mut bench, 5, 1, true, None);
    say(&mut bench, 6, 1, true, Some(endpoints(3, &["d"], 0)));
    assert!(is_draining(&bench));
    let told = bench.snapshot().events;
    let told = told.iter().filter(|event| event.text == "proxy payment-0 draining").count();
    assert_eq!((told, zones(&bench)), (1, vec!["d".to_owned()]));
    say(&mut bench, 7, 1, true, Some(endpoints(4, &["d"], 1)));
    assert!(zones(&bench).is_empty());
    bench.handle(Event::Gone { connection });
    assert!(!is_draining(&bench));
}

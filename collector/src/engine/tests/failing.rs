//! Who fails, where proxies count: frontend calls payment, which calls inventory.

use super::bench::{Bench, Sidecar, inbound, window};
use super::keeping::{Disk, life};
use fusebox_proto::report::EdgeCounts;
use fusebox_proto::view::{Incident, IncidentState};
use std::time::Duration;

/// What happens in a second: requests, and percents of them.
#[derive(Clone, Copy)]
struct Second {
    requests: u64,
    /// Of inventory's answers.
    inventory: u64,
    /// Of inventory's that payment does not wait for.
    given_up: u64,
    /// Of frontend's own.
    frontend: u64,
}

const WELL: Second = Second { requests: 100, inventory: 1, given_up: 0, frontend: 0 };

struct Mesh {
    bench: Bench,
    disk: Disk,
    sidecars: [Sidecar; 3],
}

impl Mesh {
    fn new() -> Self {
        let (mut bench, disk) = life();
        let sidecars = connected(&mut bench);
        Self { bench, disk, sidecars }
    }

    fn restart(&mut self) {
        self.bench.restart_with(&self.disk.restored, Duration::from_secs(2), 0);
        self.sidecars = connected(&mut self.bench);
    }

    fn live(&mut self, seconds: u64, second: Second) {
        for _ in 0..seconds {
            self.bench.advance(Duration::from_secs(1));
            let of = |percent: u64| second.requests * percent / 100;
            let (failures, timeouts) = (of(second.inventory), of(second.given_up));
            let passed = failures + timeouts;
            let call = |failures: u64, timeouts: u64| EdgeCounts {
                first_attempts: second.requests,
                failures,
                timeouts,
                successes: second.requests - failures - timeouts,
                ..EdgeCounts::default()
            };
            let [frontend, payment, inventory] = &mut self.sidecars;
            let (out, own) = (window("payment", call(passed, 0), 30_000), of(second.frontend));
            let visited = inbound(second.requests, passed.max(own), 40_000);
            self.bench.report(frontend, vec![out], vec![visited]);
            let out = window("inventory", call(failures, timeouts), 20_000);
            self.bench.report(payment, vec![out], vec![inbound(second.requests, passed, 30_000)]);
            let mut served = inbound(second.requests, failures, 20_000);
            served.cancelled = timeouts;
            self.bench.report(inventory, Vec::new(), vec![served]);
            self.disk.sync(&mut self.bench);
        }
    }

    fn incidents(&self) -> Vec<Incident> {
        self.bench.snapshot().incidents
    }

    /// Seconds until there is an open incident, if it is within `most`.
    fn found_after(&mut self, second: Second, most: u64) -> Option<u64> {
        (1..=most).find(|_| {
            self.live(1, second);
            self.incidents().iter().any(|incident| incident.state == IncidentState::Open)
        })
    }
}

fn connected(bench: &mut Bench) -> [Sidecar; 3] {
    [
        bench.connect("frontend-0", "frontend", &["payment"]),
        bench.connect("payment-0", "payment", &["inventory"]),
        bench.connect("inventory-0", "inventory", &[]),
    ]
}

/// Scenario: a service fails some of its requests, or does not answer in time, until it is mended; all
/// who call it pass that on. Or the entry fails by itself; or a service fails from the first second on.
/// Guarantees: within 40 s, or 70 s where nothing is known, there is one incident, which names the service where it begins and who
/// suffers first, with shares of before and now; it is over soon after the fault, and stays so.
#[test]
fn who_fails_is_one_incident() {
    let check = |name: &str, bad: Second, guilty: &str, victim: Option<&str>, says: &str| {
        let mut mesh = Mesh::new();
        mesh.live(if name == "from the first" { 0 } else { 150 }, WELL);
        let found = mesh.found_after(bad, 90).unwrap_or_else(|| panic!("{name}: not found"));
        let within = if name == "from the first" { 58..=70 } else { 28..=40 };
        assert!(within.contains(&found), "{name}: {found} s");
        mesh.live(60, bad);
        let [open] = &mesh.incidents()[..] else { panic!("{name}: {:#?}", mesh.incidents()) };
        assert_eq!((&*open.kind, open.originator.as_deref()), ("error_surge", Some(guilty)));
        assert_eq!(open.victim.as_deref(), victim, "{name}: {open:#?}");
        assert!(open.summary.contains(says), "{name}: {}", open.summary);
        assert!(open.summary.chars().count() <= 110, "{name}: {}", open.summary);
        let is_more =
            open.evidence[0].baseline.is_none_or(|was| Some(was) < open.evidence[0].current);
        assert!(is_more, "{name}: {open:#?}");
        assert!(0.9 <= open.confidence && open.action.is_none(), "{name}: {open:#?}");
        assert_eq!(open.data_quality.source, "proxies", "{name}");
        mesh.live(30, WELL);
        let [over] = &mesh.incidents()[..] else { panic!("{name}: {:#?}", mesh.incidents()) };
        assert_eq!((over.state, &over.id), (IncidentState::Resolved, &open.id), "{name}");
        mesh.live(120, WELL);
        assert_eq!(mesh.incidents().len(), 1, "{name}");
    };
    let bad = Second { inventory: 40, ..WELL };
    check("failures", bad, "inventory", Some("payment"), "inventory fails 40 % of requests since ");
    let bad = Second { given_up: 60, ..WELL };
    check("timeouts", bad, "inventory", Some("payment"), "inventory does not answer 61 % of ");
    let bad = Second { inventory: 90, ..WELL };
    check("from the first", bad, "inventory", Some("payment"), "inventory fails 90 % of ");
    let bad = Second { frontend: 25, ..WELL };
    check("the entry", bad, "frontend", None, "frontend fails 25 % of requests since ");
}

/// Scenario: everything fails for 20 s; a few percent fail for long; 9 % do from the start; three
/// times the load comes, and half of it fails; the proxies fall silent.
/// Guarantees: none of it is an incident.
#[test]
fn what_is_no_incident() {
    let check = |name: &str, usual: Second, then: &[(u64, Second)]| {
        let mut mesh = Mesh::new();
        mesh.live(150, usual);
        for (seconds, second) in then {
            mesh.live(*seconds, *second);
        }
        mesh.live(60, usual);
        assert!(mesh.incidents().is_empty(), "{name}: {:#?}", mesh.incidents());
    };
    check("short", WELL, &[(20, Second { inventory: 100, ..WELL })]);
    check(
        "again and again",
        WELL,
        &[(20, Second { inventory: 100, ..WELL }), (20, WELL)].repeat(5),
    );
    check("little", WELL, &[(300, Second { inventory: 7, ..WELL })]);
    let always = Second { inventory: 9, ..WELL };
    check("always", always, &[(60, Second { inventory: 14, ..WELL })]);
    check("load", WELL, &[(90, Second { requests: 300, inventory: 50, ..WELL })]);
    check(
        "silence",
        WELL,
        &[(10, Second { inventory: 100, ..WELL }), (60, Second { requests: 0, ..WELL })],
    );
}

/// Scenario: the collector is killed while inventory fails, and comes back with its history.
/// Guarantees: it is the same incident, and ends as any other.
#[test]
fn failures_go_on_over_a_restart() {
    let bad = Second { inventory: 80, ..WELL };
    let mut mesh = Mesh::new();
    mesh.live(150, WELL);
    mesh.found_after(bad, 60).expect("it fails");
    let before = mesh.bench.incident();
    mesh.restart();
    mesh.live(60, bad);
    let back = mesh.bench.incident();
    assert_eq!((back.state, &back.id), (IncidentState::Open, &before.id), "{back:#?}");
    assert!(back.summary.contains("fails 80 %"), "{}", back.summary);
    mesh.live(30, WELL);
    let over = mesh.bench.incident();
    assert_eq!((over.state, &over.id), (IncidentState::Resolved, &before.id));
    assert!(over.summary.ends_with("it is over."), "{}", over.summary);
}

//! The lines of a run against the contract, and the arithmetic of the summary.

use fusebox_demo::catalogue;
use fusebox_demo::client::Outcome;
use fusebox_demo::event::{Event, Line, Started, Summary};
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::Expect;
use fusebox_demo::truth::{First, Seen, Truth};
use fusebox_demo::verdict::{Run, Verdict, summary};
use fusebox_proto::view::{Incident, IncidentState, Stamp};
use serde_json::{Value, json};
use std::time::Duration;

const BEGAN_UNIX_MS: u64 = 1_700_000_000_000;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn expect() -> Expect {
    Expect {
        kind: "retry_storm".to_owned(),
        originator: "payment".to_owned(),
        through: Vec::new(),
        victim: "inventory".to_owned(),
        subset: None,
    }
}

fn plan(name: &str) -> Plan {
    Plan::new(catalogue::find(name).expect("built in"), 1)
}

/// Scenario: lines of several kinds.
/// Guarantees: each is the object of the contract: `t_ms`, `event`, and its fields; what is not
/// known is null.
#[test]
fn lines_are_those_of_the_contract() {
    let check = |event: Event, expected: Value| {
        let line = serde_json::to_value(Line::new(at(1_500), event)).expect("serialises");
        assert_eq!(line, expected);
    };
    let started = Started {
        collector: "http://127.0.0.1:1".to_owned(),
        http: "http://127.0.0.1:2".to_owned(),
        otlp_grpc: "http://127.0.0.1:3".to_owned(),
        otlp_http: "http://127.0.0.1:4".to_owned(),
        seed: 7,
        scenario: "retry-storm".to_owned(),
        services: 12,
        proxies: 16,
        expect: Some(expect()),
    };
    check(
        Event::Started(started),
        json!({"t_ms": 1500, "event": "started", "collector": "http://127.0.0.1:1",
               "http": "http://127.0.0.1:2", "otlp_grpc": "http://127.0.0.1:3",
               "otlp_http": "http://127.0.0.1:4", "seed": 7, "scenario": "retry-storm",
               "services": 12, "proxies": 16,
               "expect": {"kind": "retry_storm", "originator": "payment", "victim": "inventory"}}),
    );
    check(
        Event::FaultInjected { fault: "slow".to_owned() },
        json!({"t_ms": 1500, "event": "fault_injected", "fault": "slow"}),
    );
    check(
        Event::ActionApplied { applied: 3, proxies: 3, note: String::new() },
        json!({"t_ms": 1500, "event": "action_applied", "applied": 3, "proxies": 3, "note": ""}),
    );
    check(
        Event::Summary(Summary {
            scenario: "calm".to_owned(),
            seed: 1,
            goodput_after: Some(21.9),
            ..Summary::default()
        }),
        json!({"t_ms": 1500, "event": "summary", "scenario": "calm", "seed": 1, "detect_ms": null,
               "incident": null, "originator": null, "victim": null, "act_ms": null,
               "first_refusal_ms": null, "recovered_ms": null, "goodput_before": null,
               "goodput_during": null, "goodput_after": 21.9, "false_incidents": 0,
               "amplification": null, "amplification_true": null,
               "layers": [], "layers_true": [], "subset": null, "failed_without_collector": null,
               "refused_without_collector_ms": null, "reconnected_ms": null}),
    );
}

/// Ten entry requests a second that succeed, from `from` to `to`.
fn entries(truth: &mut Truth, from_ms: u64, to_ms: u64) {
    (from_ms..to_ms).step_by(100).for_each(|ms| truth.entry_succeeded(at(ms)));
}

/// Fault at 12 s, first failure at 13 s, action at 16 s, refusal 40 ms later, back at 20 s, end at
/// 60 s.
fn storm() -> Truth {
    let mut truth = Truth::new(&plan("retry-storm"));
    entries(&mut truth, 0, 13_000);
    truth.fault(at(12_000));
    let failed = Seen {
        source: Some("payment"),
        destination: "inventory",
        attempt: 1,
        outcome: Outcome::TimedOut,
        refusal: None,
    };
    assert_eq!(truth.call_ended(at(13_000), failed), Some(First::Failure));
    assert_eq!(truth.call_ended(at(13_100), failed), None);
    truth.action(at(16_000));
    let refused =
        Seen { outcome: Outcome::Answered(424), refusal: Some("retries-muted"), ..failed };
    assert_eq!(truth.call_ended(at(16_040), refused), Some(First::Refusal));
    assert_eq!(truth.call_ended(at(16_050), refused), None);
    entries(&mut truth, 20_000, 60_000);
    truth
}

/// Scenario: goodput that falls to nothing and returns.
/// Guarantees: before, during and after are means of their stretches; recovery is found as soon as
/// five seconds have settled, once, and dated to their start.
#[test]
fn goodput_is_measured_in_its_stretches() {
    let mut truth = storm();
    assert_eq!(truth.before(), Some(10.0));
    assert_eq!(truth.during(at(60_000)), Some(2.5));
    assert_eq!(truth.after(at(60_000)), Some(10.0));
    // At 95 % of 50 requests, a stretch that begins two requests early is good enough.
    assert_eq!(truth.recovery(at(24_700)), None);
    assert_eq!(truth.recovery(at(24_900)), Some(at(19_800)));
    assert_eq!(truth.recovery(at(40_000)), None);
}

/// Scenario: two requests on the expected edge, one with three attempts, before an action; other
/// edges, refusals, and later attempts beside them.
/// Guarantees: attempts per request is of that edge, of what was let through, of that time.
#[test]
fn amplification_is_counted_by_the_callers() {
    let mut truth = Truth::new(&plan("retry-storm"));
    let mut call = |ms, source, attempt, refusal| {
        let outcome = Outcome::TimedOut;
        let seen =
            Seen { source: Some(source), destination: "inventory", attempt, outcome, refusal };
        truth.call_ended(at(ms), seen);
    };
    call(1_000, "payment", 1, None);
    call(2_000, "payment", 2, None);
    call(2_000, "cart", 2, None);
    call(3_000, "payment", 3, None);
    call(3_000, "payment", 1, None);
    call(3_500, "payment", 2, Some("retries-muted"));
    call(5_000, "payment", 2, None);
    let found = |truth: &Truth, end| truth.amplification(at(end)).expect("first attempts");
    assert!((found(&truth, 4_000) - 2.0).abs() < 1e-9);
    truth.action(at(6_000));
    assert!((found(&truth, 60_000) - 2.5).abs() < 1e-9);
}

/// Scenario: three layers under a fault that ends, with goodput that returns or does not; nobody
/// acts.
/// Guarantees: each layer is counted, and the product; a storm that ended with its fault is counted
/// during it, one that goes on is counted at the end.
#[test]
fn layers_are_counted_while_they_multiply() {
    let path = [("frontend", "checkout"), ("checkout", "payment"), ("payment", "inventory")];
    let check = |returns: bool, expected: [f64; 3]| {
        let mut truth = Truth::new(&plan("layered-retries"));
        entries(&mut truth, 0, 12_000);
        truth.fault(at(12_000));
        truth.fault_ended(at(20_000));
        for ms in (11_000..60_000).step_by(500) {
            for (layer, (source, destination)) in path.into_iter().enumerate() {
                let attempts = if (12_000..20_000).contains(&ms) { 3 + layer as u32 } else { 1 };
                for attempt in 1..=attempts {
                    let outcome = Outcome::Answered(500);
                    let source = Some(source);
                    let seen = Seen { source, destination, attempt, outcome, refusal: None };
                    truth.call_ended(at(ms), seen);
                }
            }
        }
        if returns {
            entries(&mut truth, 20_000, 60_000);
        }
        let found: Vec<f64> = truth.factors(at(60_000)).into_iter().flatten().collect();
        assert_eq!(found, expected);
        let product: f64 = expected.iter().product();
        assert!((truth.amplification(at(60_000)).expect("requests") - product).abs() < 1e-9);
    };
    check(true, [3.0, 4.0, 5.0]);
    check(false, [1.0, 1.0, 1.0]);
}

/// Scenario: the collector dies under a lease that refuses for a while, and requests fail before,
/// while it is away, and after; a new one comes, and proxies connect to it.
/// Guarantees: what failed and was refused is counted in its absence only; without an absence nothing
/// is known.
#[test]
fn an_absence_of_the_collector_is_measured() {
    let mut truth = Truth::new(&plan("dead-collector"));
    truth.entry_failed(at(9_000));
    assert_eq!(truth.failed_without_collector(), None);
    truth.collector_gone(at(10_000));
    let refused = Seen {
        source: Some("frontend"),
        destination: "recommendation",
        attempt: 1,
        outcome: Outcome::Answered(503),
        refusal: Some("forced-open"),
    };
    for ms in [9_500, 11_000, 14_000, 31_000] {
        if 30_000 < ms {
            truth.collector_back(at(30_000));
        }
        truth.call_ended(at(ms), refused);
        truth.entry_failed(at(ms));
    }
    truth.reconnected(at(32_500));
    assert_eq!(truth.failed_without_collector(), Some(2));
    assert_eq!(truth.refused_without_collector(), Some(at(4_000)));
    assert_eq!(truth.reconnected_after(), Some(at(2_500)));
}

/// Scenario: calls that fail, but not because of the fault: before it, of another service, refused.
/// Guarantees: none of them is the first failure.
#[test]
fn other_failures_are_not_the_faults() {
    let mut truth = Truth::new(&plan("retry-storm"));
    let check = |truth: &mut Truth, destination, outcome, refusal, expected| {
        let seen = Seen { source: None, destination, attempt: 1, outcome, refusal };
        assert_eq!(truth.call_ended(at(12_500), seen), expected, "{seen:?}");
    };
    check(&mut truth, "inventory", Outcome::TimedOut, None, None);
    truth.fault(at(12_000));
    check(&mut truth, "recommendation", Outcome::Answered(500), None, None);
    check(&mut truth, "inventory", Outcome::Answered(200), None, None);
    check(&mut truth, "inventory", Outcome::Answered(503), Some("open"), None);
    check(&mut truth, "inventory", Outcome::Broken, None, Some(First::Failure));
}

fn incident(id: &str, kind: &str, originator: &str, opened_ms: u64) -> Incident {
    Incident {
        id: id.to_owned(),
        kind: kind.to_owned(),
        opened_at: Stamp(BEGAN_UNIX_MS + opened_ms),
        originator: Some(originator.to_owned()),
        victim: Some("inventory".to_owned()),
        ..Incident::default()
    }
}

/// Scenario: the collector's incidents, poll by poll.
/// Guarantees: each opening and each end is told once.
#[test]
fn incidents_are_followed() {
    let mut verdict = Verdict::default();
    let open = incident("a", "retry_storm", "payment", 15_000);
    let resolved = Incident { state: IncidentState::Resolved, ..open.clone() };
    let count = |verdict: &mut Verdict, said: &Incident| verdict.take(vec![said.clone()]).len();
    assert_eq!(count(&mut verdict, &open), 1);
    assert_eq!(count(&mut verdict, &open), 0);
    assert_eq!(count(&mut verdict, &resolved), 1);
    assert_eq!(count(&mut verdict, &resolved), 0);
    let at_once = Incident { id: "b".to_owned(), ..resolved };
    assert_eq!(count(&mut verdict, &at_once), 2);
}

/// Scenario: verdicts that are right, wrong, late, double or missing, beside one truth.
/// Guarantees: the summary is about the expected incident where there is one, and counts all that
/// the truth does not expect.
#[test]
fn the_summary_puts_truth_beside_verdict() {
    let check = |said: &[(&str, &str, u64)], expect: Option<&Expect>, expected: Value| {
        let mut verdict = Verdict::default();
        for (i, (kind, originator, opened_ms)) in said.iter().enumerate() {
            verdict.take(vec![incident(&i.to_string(), kind, originator, *opened_ms)]);
        }
        let mut truth = storm();
        truth.recovery(at(60_000));
        let run = Run {
            scenario: "retry-storm",
            seed: 1,
            expect,
            began_unix_ms: BEGAN_UNIX_MS,
            end: at(60_000),
            act: Some(Duration::from_micros(12_340)),
        };
        let summary = summary(&run, &truth, &verdict);
        assert_eq!(summary.act_ms, Some(12.3));
        assert_eq!(summary.first_refusal_ms, Some(40.0));
        assert_eq!(summary.recovered_ms, Some(3_800.0));
        let found = json!([
            summary.incident,
            summary.originator,
            summary.detect_ms,
            summary.false_incidents
        ]);
        assert_eq!(found, expected, "{said:?}");
    };
    let storm = ("retry_storm", "payment", 15_500);
    let expect = expect();
    check(&[storm], Some(&expect), json!(["retry_storm", "payment", 2500.0, 0]));
    check(&[], Some(&expect), json!([null, null, null, 0]));
    check(&[storm], None, json!(["retry_storm", "payment", 2500.0, 1]));
    let wrong = ("retry_storm", "checkout", 14_000);
    check(&[wrong], Some(&expect), json!(["retry_storm", "checkout", 1000.0, 1]));
    check(&[wrong, storm], Some(&expect), json!(["retry_storm", "payment", 2500.0, 1]));
    let surge = ("error_surge", "inventory", 13_500);
    check(&[surge, storm], Some(&expect), json!(["retry_storm", "payment", 2500.0, 1]));
    check(&[storm, storm], Some(&expect), json!(["retry_storm", "payment", 2500.0, 0]));
}

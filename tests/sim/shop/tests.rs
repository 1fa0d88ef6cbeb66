//! Verdicts about a shop whose truth is known.

use super::Shop;
use crate::Plant;
use fusebox_demo::catalogue;
use fusebox_demo::event::Summary;
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::{Change, Fault};
use fusebox_proto::view::{Incident, IncidentState};
use std::time::Duration;

fn plan(name: &str, seed: u64) -> Plan {
    Plan::new(catalogue::find(name).expect("a built-in scenario"), seed)
}

/// Runs a scenario as it is written.
fn run(name: &str, seed: u64) -> (Summary, Vec<Incident>) {
    let plan = plan(name, seed);
    let end = Duration::from_secs_f64(plan.scenario.duration_s);
    Shop::new(plan, Plant::Nothing).run(end)
}

/// Runs a scenario whose faults begin late, when all that is usual is known.
fn run_late(name: &str, seed: u64, minutes: u64) -> (Summary, Vec<Incident>) {
    let mut plan = plan(name, seed);
    let later = Duration::from_mins(minutes);
    let end = later + Duration::from_secs_f64(plan.scenario.duration_s);
    plan.begin_faults_at(later);
    Shop::new(plan, Plant::Nothing).run(end)
}

fn seeds(short: u64, long: u64) -> std::ops::RangeInclusive<u64> {
    1..=if fusebox_tests::is_asked_for("FUSEBOX_LONG") { long } else { short }
}

fn told(incidents: &[Incident]) -> Vec<String> {
    let told = incidents.iter().map(|incident| {
        let Incident { kind, originator, victim, summary, suspects, .. } = incident;
        format!("{kind} {originator:?} {victim:?}: {summary} {suspects:?}")
    });
    told.collect()
}

/// Scenario: the slow middle is well again after a minute.
/// Guarantees: the incident is over soon, and there was one only.
#[test]
fn a_regression_ends_once() {
    for seed in seeds(1, 20) {
        let mut plan = plan("slow-self", seed);
        plan.scenario.faults[0].for_s = Some(60.0);
        let end_s = plan.scenario.faults[0].at_s + 60.0;
        let (_, incidents) = Shop::new(plan, Plant::Nothing).run(Duration::from_mins(5));
        let [incident] = &incidents[..] else { panic!("seed {seed}: {:#?}", told(&incidents)) };
        assert_eq!(incident.state, IncidentState::Resolved, "seed {seed}");
        let resolved = incident.resolved_at.expect("resolved").0 - super::START_UNIX_MS;
        let after_s = resolved as f64 / 1_000.0 - end_s;
        println!("slow-self, seed {seed}: over after {after_s:.0} s, {}", incident.summary);
        assert!((0.0..=60.0).contains(&after_s), "seed {seed}: over after {after_s} s");
    }
}

/// Scenario: everything gets three times as slow at once, as on a machine that has something else to
/// do.
/// Guarantees: nobody is accused.
#[test]
fn what_slows_everybody_accuses_nobody() {
    for seed in seeds(1, 20) {
        let mut plan = plan("slow-self", seed);
        let fault = plan.scenario.faults.remove(0);
        let roles: Vec<String> = plan.scenario.services.keys().cloned().collect();
        plan.scenario.faults = roles
            .into_iter()
            .map(|service| Fault {
                change: Change::Slow { service, factor: 3.0, percent: 100.0 },
                ..fault.clone()
            })
            .collect();
        let (_, incidents) = Shop::new(plan, Plant::Nothing).run(Duration::from_mins(3));
        assert!(incidents.is_empty(), "seed {seed}: {:#?}", told(&incidents));
    }
}

/// Scenario: the scenarios in which nothing got slow by itself: a long calm day, a surge into
/// overload; when all that is usual is known.
/// Guarantees: no incident.
#[test]
fn nobody_is_blamed_for_what_is_usual() {
    for seed in seeds(1, 20) {
        let (_, incidents) = run_late("surge", seed, 3);
        assert!(incidents.is_empty(), "surge, seed {seed}: {:#?}", told(&incidents));
        let plan = plan("calm", seed);
        let (_, incidents) = Shop::new(plan, Plant::Nothing).run(Duration::from_mins(5));
        assert!(incidents.is_empty(), "calm, seed {seed}: {:#?}", told(&incidents));
    }
}

/// Scenario: the lookalike that slows a callee for half a minute, as it is written, and when all that
/// is usual is known.
/// Guarantees: as written nothing is said; later only who is really slow is blamed, never the one
/// that calls it more often.
#[test]
fn more_calls_are_no_regression() {
    for seed in seeds(1, 20) {
        let (_, incidents) = run("n-plus-one", seed);
        assert!(incidents.is_empty(), "n-plus-one, seed {seed}: {:#?}", told(&incidents));
        let catalog = plan("n-plus-one", seed).name("catalog").to_owned();
        let (_, incidents) = run_late("n-plus-one", seed, 3);
        println!("n-plus-one, seed {seed}: {:#?}", told(&incidents));
        let is_true = |incident: &Incident| incident.originator.as_ref() == Some(&catalog);
        assert!(incidents.iter().all(is_true), "seed {seed}: {:#?}", told(&incidents));
    }
}

/// Scenario: a service deep down, one in the middle, or the entry fails a part of what it is asked for
/// a minute; nobody repeats anything.
/// Guarantees: one incident, of failures, that names it within 45 s and is over within 45 s of the end;
/// whoever passes the failures on is not accused.
#[test]
fn who_fails_is_blamed() {
    for seed in seeds(1, 20) {
        for (role, percent) in [("inventory", 30.0), ("checkout", 50.0), ("frontend", 20.0)] {
            let mut plan = plan("slow-self", seed);
            let (at_s, for_s) = (plan.scenario.faults[0].at_s, 60.0);
            plan.scenario.faults[0].for_s = Some(for_s);
            let change = Change::Errors { service: role.to_owned(), percent };
            plan.scenario.faults[0].change = change;
            let guilty = plan.name(role).to_owned();
            let (_, incidents) = Shop::new(plan, Plant::Nothing).run(Duration::from_secs(190));
            let [incident] = &incidents[..] else {
                panic!("{role}, {seed}: {:#?}", told(&incidents))
            };
            println!("{role}, seed {seed}: {}", incident.summary);
            assert_eq!(incident.kind, "error_surge", "{role}, {seed}: {:#?}", told(&incidents));
            assert_eq!(incident.originator.as_ref(), Some(&guilty), "{role}, seed {seed}");
            let after_s = |at_ms: u64| (at_ms - super::START_UNIX_MS) as f64 / 1_000.0 - at_s;
            let opened = after_s(incident.opened_at.0);
            let over = after_s(incident.resolved_at.expect("it is over").0) - for_s;
            assert!(opened <= 45.0 && over <= 45.0, "{role}, {seed}: {opened} s, {over} s");
        }
    }
}

/// Scenario: the storms, when all that is usual is known.
/// Guarantees: they are one incident, their own: what is slow because of them is no other.
#[test]
fn a_storm_explains_who_is_slow() {
    for seed in seeds(1, 20) {
        for name in ["retry-storm", "metastable"] {
            let (summary, incidents) = run_late(name, seed, 3);
            assert_eq!(summary.false_incidents, 0, "{name}, seed {seed}: {:#?}", told(&incidents));
            assert_eq!(incidents.len(), 1, "{name}, seed {seed}: {:#?}", told(&incidents));
        }
    }
}

/// Scenario: the founding storm by clients that space their retries: at once, evenly, longer each time,
/// by chance, or both; and three layers that are each careful.
/// Guarantees: the incident tells how each layer spaces them, with the waits that its library makes, and
/// says for the careful that they are.
#[test]
fn the_spacing_of_retries_is_told() {
    let storm = |name: &str, seed: u64, spacing: Option<(u64, f64)>| {
        let mut plan = plan(name, seed);
        if let (Change::Release { client, .. }, Some((backoff_ms, jitter_percent))) =
            (&mut plan.scenario.faults[0].change, spacing)
        {
            // Five tries: of ten that are so far apart few would be made within the storm.
            (client.attempts, client.backoff_ms, client.jitter_percent) =
                (5, backoff_ms, jitter_percent);
        }
        let (_, incidents) = Shop::new(plan, Plant::Nothing).run(Duration::from_secs(40));
        let storm = incidents.into_iter().find(|incident| incident.kind == "retry_storm");
        storm.unwrap_or_else(|| panic!("{name}, seed {seed}: no storm"))
    };
    let current = |incident: &Incident, signal: &str| {
        let evidence = incident.evidence.iter().find(|evidence| evidence.signal == signal);
        evidence.and_then(|evidence| evidence.current)
    };
    for seed in seeds(1, 20) {
        for (spacing, wait_ms, words) in [
            ((0, 0.0), 0.0..=1.0, "no backoff, no jitter"),
            ((40, 0.0), 40.0..=41.0, "with backoff, no jitter"),
            ((40, 100.0), 5.0..=35.0, "with backoff, with jitter"),
        ] {
            let incident = storm("retry-storm", seed, Some(spacing));
            let said = &incident.suspects[0];
            let case =
                format!("{spacing:?}, seed {seed}: {:#?}", told(std::slice::from_ref(&incident)));
            assert!(said.service == "payment" && said.reason.ends_with(words), "{case}");
            let wait = current(&incident, "wait before a retry");
            assert!(wait.is_some_and(|ms| wait_ms.contains(&ms)), "{wait:?} {case}");
            let is_careful = incident.counter_evidence.iter().any(|it| it.contains("is careful"));
            assert_eq!(is_careful, words == "with backoff, with jitter", "{case}");
        }
        let incident = storm("layered-retries", seed, None);
        println!("{:#?}", told(std::slice::from_ref(&incident)));
        for suspect in &incident.suspects {
            assert!(suspect.reason.ends_with("with backoff, with jitter"), "{suspect:?}");
        }
        let names: Vec<_> = incident.suspects.iter().map(|it| it.service.clone()).collect();
        assert_eq!(
            (names.len(), names.first()),
            (3, incident.originator.as_ref()),
            "{incident:#?}"
        );
    }
}

//! The operator's part and the failure-driven part of one breaker, together.

use super::service::tests::three;
use super::tests::{Life, trip};
use super::*;
use fusebox_proto::command::Action;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// Runs a script of one-letter events (those of [`Life`]) against a breaker that also opens after
/// three failures in a row, for 5 s at first.
fn run(script: &str) -> Life {
    let mut life = Life::new();
    life.breaker.set_service(life.now, Some(three()), 1);
    script.chars().for_each(|event| life.event(event));
    life
}

#[track_caller]
fn check(script: &str, expected: &str) {
    assert_eq!(run(script).log, expected, "{script}");
}

/// Scenario: failures, without any operator.
/// Guarantees: the circuit opens, lets a probe pass, and closes or opens again.
#[test]
fn failures_alone() {
    check("--+--", "");
    check("---+r", "Oxx");
    check("---1+", "OHC");
    check("---1-1+", "OHOx");
    check("---1-2+", "OHOHC");
}

/// Scenario: an operator's lease over a circuit that failures opened, and the other way round.
/// Guarantees: an attempt crosses if both parts let it; the state is that of the part that refuses
/// more; what the other part hides is no change.
#[test]
fn the_part_that_refuses_more_is_seen() {
    check("---F+", "OFx");
    check("---FN+", "OFC");
    check("M---1+", "MOHM");
    check("M---r1r+r", "MOxHxMx");
    check("F6+-", "FHx");
    // Forced open hides the end of the open time; its ramp then needs the probe too.
    check("---F6%+1%", "OFH25 50 ");
    check("---F1N+", "OFC");
}

/// Scenario: failures open the circuit while a ramp is under way.
/// Guarantees: the ramp is not stuck by what the failures refuse: it ends in time, and the circuit
/// closes.
#[test]
fn a_ramp_beneath_an_open_circuit() {
    let mut life = run("F63++++-+++-");
    life.log.clear();
    "---".chars().for_each(|event| life.event(event));
    assert_eq!(life.log, "O");
    life.log.clear();
    "999".chars().for_each(|event| life.event(event));
    assert_eq!(life.log, "H");
    life.event('+');
    assert_eq!(life.log, "HC");
}

/// Scenario: an operator resets, through the ramp and at once.
/// Guarantees: both parts move towards closed.
#[test]
fn a_reset_moves_both() {
    check("---R+", "OHC");
    check("---N+", "OC");
    check("---FR", "OFH");
    check("---FN+++", "OFC");
}

/// Scenario: the standing and the timeout while the circuit is open by failures, under a lease or
/// not.
/// Guarantees: cause, time left and revision are those of the part that refuses more.
#[test]
fn a_standing_is_of_the_part_that_refuses_more() {
    let standing = |script: &str| {
        let life = run(script);
        let Standing { state, cause, remaining, percent, .. } =
            life.breaker.standing(life.now.instant);
        (state, cause, remaining.map(|left| left.as_secs()), percent)
    };
    let failures = Cause::ConsecutiveFailures;
    assert_eq!(standing("---"), (BreakerState::Open, failures, Some(5), None));
    assert_eq!(standing("m---"), (BreakerState::Open, failures, Some(5), None));
    assert_eq!(standing("---m"), (BreakerState::Open, failures, Some(5), None));
    let elapsed = Cause::EjectionElapsed;
    assert_eq!(standing("---m1"), (BreakerState::HalfOpen, elapsed, None, None));
    let (operator, muted) = (Cause::Operator, BreakerState::RetriesMuted);
    assert_eq!(standing("---m1+"), (muted, operator, Some(25), Some(60)));
    assert_eq!(standing("---F"), (BreakerState::ForcedOpen, operator, Some(30), None));
    let life = run("---m");
    assert_eq!(life.breaker.poll_timeout(), Some(life.now.instant + Duration::from_secs(5)));
}

/// Scenario: a shell that wakes an hour after both parts had work to do.
/// Guarantees: what was due is told in order, as of when it was due.
#[test]
fn both_parts_keep_time() {
    let mut life = run("---");
    let ttl = Duration::from_secs(3);
    let verb = Verb::Trip { action: Action::MuteRetries { percent: 0 }, ttl, proxies: 1 };
    life.order(verb);
    let start = life.now;
    life.breaker.handle_timeout(start.plus(Duration::from_hours(1)));
    let changes: Vec<_> = life
        .breaker
        .take_changes()
        .map(|change| (change.to, change.cause, change.at_unix_ms - start.unix_ms))
        .collect();
    // The lease and its ramp, from 3 s to 23 s, lie beneath: half-open is half-open.
    assert_eq!(changes, [(BreakerState::HalfOpen, Cause::EjectionElapsed, 5_000)]);
}

/// Scenario: a policy comes and goes while failures hold the circuit open.
/// Guarantees: without it the circuit is closed at once, and that is told; permits of before are
/// taken back without harm; in shadow nothing is refused, and trips are told.
#[test]
fn a_policy_comes_and_goes() {
    let mut life = run("---");
    let (now, first) = (life.now, Crossing { kind: Kind::First, trace: None });
    life.breaker.set_service(now, None, 1);
    life.event('+');
    let permit = life.breaker.admit(now, first).unwrap();
    let shadow = policy::ServiceBreaker { shadow: true, ..three() };
    life.breaker.set_service(now, Some(shadow), 1);
    life.breaker.on_outcome(now, permit, Outcome::Failure);
    assert_eq!(life.breaker.take_changes().map(|change| change.to).next(), None, "closed already");
    for outcome in [[Outcome::Failure; 3].as_slice(), &[Outcome::Success; 2]].concat() {
        life.ask(Kind::First, outcome);
    }
    let shadow = life.breaker.shadow(life.now.instant).unwrap();
    assert_eq!((shadow.standing.state, shadow.standing.refused), (BreakerState::Open, 2));
    life.now = life.now.plus(Duration::from_secs(5));
    life.ask(Kind::First, Outcome::Success);
    let changes: Vec<_> = life.breaker.take_changes().collect();
    assert!(changes.iter().all(|change| change.shadow));
    let states = changes.iter().map(|change| change.to).collect::<Vec<_>>();
    assert_eq!(states, [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);
    let trips: Vec<_> = life.breaker.take_shadow_trips().collect();
    assert_eq!(
        trips.iter().map(|trip| (trip.refused, trip.succeeded)).collect::<Vec<_>>(),
        [(2, 2)]
    );
    assert_eq!(life.log, "OC");
    assert_eq!(life.breaker.state(), BreakerState::Closed);
}

/// Scenario: 64 lives of a thousand random events from a seed each, of operators and of failures;
/// then all callers leave, and a day passes.
/// Guarantees: changes form a chain that ends in the state; an open circuit refuses everything; and
/// in the end two attempts pass and the circuit is closed.
#[test]
fn a_breaker_always_closes_again() {
    let events: Vec<char> = "++++++------ccrrqhFMmKSRN1112".chars().collect();
    for seed in 1..=64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut life = run("");
        let mut out = Vec::new();
        for _ in 0..1_000 {
            let state = life.breaker.state();
            let refusals = life.log.matches('x').count();
            let event = *events.choose(&mut rng).unwrap();
            life.event(event);
            if BreakerState::Open <= state && "+-crqh".contains(event) {
                assert_eq!(life.log.matches('x').count(), refusals + 1, "seed {seed}");
            }
            let first = Crossing { kind: Kind::First, trace: None };
            if rng.random_ratio(1, 10) {
                out.extend(life.breaker.admit(life.now, first));
            } else if rng.random_ratio(1, 10)
                && let Some(permit) = out.pop()
            {
                life.breaker.on_outcome(life.now, permit, Outcome::Failure);
            }
        }
        for permit in out {
            life.breaker.on_outcome(life.now, permit, Outcome::Cancelled);
        }
        life.now = life.now.plus(Duration::from_hours(24));
        life.log.clear();
        "++".chars().for_each(|event| life.event(event));
        assert!(!life.log.contains('x'), "seed {seed}: {}", life.log);
        assert_eq!(life.breaker.state(), BreakerState::Closed, "seed {seed}");
    }
}

/// Scenario: a trip while failures hold the circuit open.
/// Guarantees: it is applied, and its refusals carry the operator's reason.
#[test]
fn the_operators_word_comes_first() {
    let mut life = run("---");
    let first = Crossing { kind: Kind::First, trace: None };
    assert_eq!(life.breaker.admit(life.now, first).unwrap_err(), Refused::Open);
    life.order(trip(Action::Open));
    assert_eq!(life.breaker.admit(life.now, first).unwrap_err(), Refused::ForcedOpen);
    life.order(trip(Action::Cap { attempts_per_s: 1e6 }));
    assert_eq!(life.breaker.admit(life.now, first).unwrap_err(), Refused::Open);
}

//! An edge that failures open, as its callers and the collector see it.

use super::tests::{FAILED, GIVEN_UP, Life, OK, OURS};
use super::*;
use fusebox_proto::report::{Cause, Refusals};
use std::time::Duration;

/// Opens after three failures in a row, for five seconds at first.
fn policy(shadow: bool) -> policy::ServiceBreaker {
    policy::ServiceBreaker {
        consecutive_failures: Some(3),
        success_window: None,
        open_min: Duration::from_secs(5),
        open_max: Duration::from_mins(1),
        jitter: 0.0,
        shadow,
    }
}

/// An edge with this policy that met three failures.
fn failed(shadow: bool) -> Life {
    let mut life = Life::new();
    life.core.set_service_breaker(life.now, Some(policy(shadow)));
    for trace in 1..=3 {
        life.attempt(trace, 1, FAILED);
    }
    life
}

/// Scenario: three failures, then callers that come anew, that retry, and a probe.
/// Guarantees: first attempts are told `open`, retries what they repeat, both are counted as what
/// they are; the probe closes the circuit; reports tell state, cause and changes.
#[test]
fn failures_open_an_edge() {
    let mut life = failed(false);
    assert_eq!(life.refused(10, 1), "open");
    assert_eq!(life.refused(1, 1), "retries-muted; original=500");
    let closed = life.close();
    let counts = &closed.edges[0].counts;
    assert_eq!(counts.refused, Refusals { open: 1, ..Refusals::default() });
    assert_eq!((counts.retries_refused, counts.failures), (1, 3));
    let [status] = &closed.breakers[..] else { panic!("{:?}", closed.breakers) };
    assert_eq!((status.state, status.cause), (BreakerState::Open, Cause::ConsecutiveFailures));
    assert_eq!((status.refused_total, status.shadow), (2, false));
    assert_eq!(closed.transitions.len(), 1);

    life.pass(5_000);
    let probe = life.forwarded(11, 1);
    assert_eq!(life.refused(12, 1), "half-open");
    life.end(probe, OK);
    life.attempt(13, 1, OK);
    let closed = life.close();
    let changes: Vec<_> =
        closed.transitions.iter().map(|change| (change.to, change.cause)).collect();
    let half_open = (BreakerState::HalfOpen, Cause::EjectionElapsed);
    assert_eq!(changes, [half_open, (BreakerState::Closed, Cause::ProbeSucceeded)]);
    assert_eq!(life.close().breakers, []);
}

/// Scenario: probes that are not sent because the pool is full, whose caller leaves, or whose end is
/// ours.
/// Guarantees: each frees its place for the next.
#[test]
fn a_probe_that_says_nothing_frees_its_place() {
    let mut life = failed(false);
    life.pass(5_000);
    let probe = life.forwarded(11, 1);
    let _ = life.core.overflowed(life.now, probe, Overflow::Pending);
    life.attempt(12, 1, GIVEN_UP);
    life.attempt(13, 1, OURS);
    let probe = life.forwarded(14, 1);
    assert_eq!(life.refused(15, 1), "half-open");
    life.end(probe, FAILED);
    assert_eq!(life.refused(16, 1), "open");
}

/// Scenario: the same failures under a policy in shadow.
/// Guarantees: nothing is refused; the report tells what would be, marked as such, and the trip says
/// what it would have refused and how much of that succeeded.
#[test]
fn a_shadow_is_told_as_one() {
    let mut life = failed(true);
    life.attempt(10, 1, OK);
    life.attempt(11, 1, FAILED);
    let closed = life.close();
    let [status] = &closed.breakers[..] else { panic!("{:?}", closed.breakers) };
    assert_eq!((status.state, status.shadow, status.refused_total), (BreakerState::Open, true, 2));
    assert_eq!(status.succeeded_total, 1);
    assert!(closed.transitions.iter().all(|change| change.shadow));
    assert_eq!(closed.edges[0].counts.refused, Refusals::default());
    assert_eq!(life.core.status(life.now).state, BreakerState::Closed);
    life.pass(5_000);
    life.attempt(12, 1, OK);
    let trips: Vec<_> = life.core.take_shadow_trips().collect();
    assert_eq!(
        trips.iter().map(|trip| (trip.refused, trip.succeeded)).collect::<Vec<_>>(),
        [(2, 1)]
    );
    let shadow = life.core.shadow(life.now).unwrap();
    assert_eq!((shadow.refused, shadow.standing.state), (2, BreakerState::Closed));
    let closed = life.close();
    let [status] = &closed.breakers[..] else { panic!("{:?}", closed.breakers) };
    let cost = (status.refused_total, status.succeeded_total);
    assert_eq!((status.state, status.shadow, cost), (BreakerState::Closed, true, (2, 1)));
    assert_eq!(life.close().breakers, []);
}

/// Scenario: an operator resets an edge that failures opened, by command, and a policy goes.
/// Guarantees: the circuit closes, and the cause is told.
#[test]
fn an_edge_is_closed_by_hand_or_by_policy() {
    let mut life = failed(false);
    let reset = super::tests::command(1, fusebox_proto::command::Verb::Reset { at_once: true });
    assert_eq!(life.core.command(life.now, &reset), AckResult::Applied);
    let cause = |life: &mut Life| life.close().transitions.last().map(|last| (last.to, last.cause));
    assert_eq!(cause(&mut life), Some((BreakerState::Closed, Cause::Operator)));
    for trace in 21..=23 {
        life.attempt(trace, 1, FAILED);
    }
    life.core.set_service_breaker(life.now, None);
    assert_eq!(cause(&mut life), Some((BreakerState::Closed, Cause::Policy)));
    life.attempt(24, 1, OK);
}

/// Scenario: the probe of an open edge is answered with a tunnel, which stays for ten windows.
/// Guarantees: it is a success at once, with the latency of its handshake, and closes the circuit;
/// it stays in flight until it is closed.
#[test]
fn a_tunnel_is_answered_at_once() {
    let mut life = failed(false);
    life.pass(5_000);
    let probe = life.forwarded(11, 1);
    let tunnel = life.core.switched(life.now, probe, OK);
    life.attempt(12, 1, OK);
    let closed = life.close();
    let counts = &closed.edges[0].counts;
    assert_eq!((counts.successes, counts.in_flight), (2, 1));
    assert_eq!(closed.edges[0].latency.count(), 5);
    assert_eq!(life.core.status(life.now).state, BreakerState::Closed);
    for _ in 0..10 {
        life.pass(1_000);
        let closed = life.close();
        assert_eq!((closed.edges[0].counts.successes, life.core.in_flight()), (0, 1));
    }
    life.core.closed(tunnel);
    assert_eq!(life.core.in_flight(), 0);
    assert_eq!(life.close().edges, []);
}

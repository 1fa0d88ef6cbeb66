use super::*;
use crate::classify::End;
use fusebox_proto::command::{Action, Verb};
use fusebox_proto::report::{Cause, EdgeCounts, Refusals};
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use std::time::Duration;

/// An edge with what its callers got.
pub(super) struct Life {
    pub(super) now: Now,
    pub(super) core: EdgeCore,
    revision: u64,
}

pub(super) fn destination() -> ServiceId {
    ServiceId::named("inventory").unwrap()
}

pub(super) fn context(trace: u64, span: u64) -> TraceContext {
    let trace = u128::from(trace).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    TraceContext {
        trace_id: TraceId::from_bytes(&trace.to_be_bytes()).unwrap(),
        parent_id: SpanId::from_bytes(&span.to_be_bytes()).unwrap(),
        flags: 1,
    }
}

/// `GET /stock` of this span of this trace; trace 0 is none.
pub(super) fn head(trace: u64, span: u64) -> RequestHead<'static> {
    RequestHead {
        trace: (trace != 0).then(|| context(trace, span)),
        method: "GET",
        authority: "inventory",
        path_and_query: "/stock",
        idempotency_key: None,
        grpc_previous_attempts: 0,
        body: BodyDigest::Empty,
        protocol: Protocol::Http1,
        arrivals: None,
    }
}

pub(super) fn command(revision: u64, verb: Verb) -> Command {
    Command {
        id: format!("c{revision}"),
        revision,
        destination: destination(),
        verb,
        by: "ada".into(),
        reason: "storm".into(),
    }
}

pub(super) const OK: Ended = Ended { outcome: Outcome::Success, status: 200, latency_us: 10_000 };
pub(super) const FAILED: Ended =
    Ended { outcome: Outcome::Failure, status: 500, latency_us: 20_000 };
pub(super) const GIVEN_UP: Ended =
    Ended { outcome: Outcome::Cancelled, status: 0, latency_us: 1_000_000 };
pub(super) const OURS: Ended = Ended { outcome: Outcome::Ours, status: 502, latency_us: 1_000 };

impl Life {
    pub(super) fn new() -> Self {
        let now = Now::read();
        Self { now, core: EdgeCore::new(now, destination(), 42), revision: 0 }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn trip(&mut self, action: Action) {
        self.revision += 1;
        let ttl = Duration::from_mins(5);
        let command = command(self.revision, Verb::Trip { action, ttl, proxies: 1 });
        assert_eq!(self.core.command(self.now, &command), AckResult::Applied);
    }

    fn admit(&mut self, trace: u64, span: u64) -> Decision {
        self.pass(1);
        self.core.admit(self.now, &head(trace, span))
    }

    pub(super) fn forwarded(&mut self, trace: u64, span: u64) -> Ticket {
        match self.admit(trace, span) {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(super) fn end(&mut self, ticket: Ticket, ended: Ended) {
        self.pass(ended.latency_us / 1_000);
        self.core.ended(self.now, ticket, ended);
    }

    pub(super) fn attempt(&mut self, trace: u64, span: u64, ended: Ended) {
        let ticket = self.forwarded(trace, span);
        self.end(ticket, ended);
    }

    /// The answer to an attempt that must be refused, as the header tells it.
    pub(super) fn refused(&mut self, trace: u64, span: u64) -> String {
        match self.admit(trace, span) {
            Decision::Forward(_) => panic!("forwarded"),
            Decision::Refuse(refusal) => match refusal.retry_of {
                None => refusal.word().into(),
                Some(original) => format!("{}; original={original}", refusal.word()),
            },
        }
    }

    pub(super) fn close(&mut self) -> ClosedWindow {
        self.core.close_window(self.now, 0)
    }

    fn counts(&mut self) -> EdgeCounts {
        let closed = self.close();
        assert!(closed.edges.len() <= 1);
        closed.edges.into_iter().next().map_or_else(EdgeCounts::default, |window| window.counts)
    }
}

/// Scenario: first attempts and retries under each action.
/// Guarantees: each refusal says what refused it; a refused retry says what it repeats, our own 503
/// among that.
#[test]
fn refusals_say_what_the_product_promises() {
    let mut life = Life::new();
    life.attempt(1, 1, FAILED);
    life.attempt(2, 1, GIVEN_UP);
    life.trip(Action::MuteRetries { percent: 0 });
    assert_eq!(life.refused(1, 1), "retries-muted; original=500");
    assert_eq!(life.refused(1, 2), "retries-muted; original=500");
    assert_eq!(life.refused(2, 1), "retries-muted; original=timeout");
    life.attempt(3, 1, OK);
    life.trip(Action::Open);
    assert_eq!(life.refused(4, 1), "forced-open");
    assert_eq!(life.refused(4, 2), "retries-muted; original=503");
    assert_eq!(life.refused(4, 3), "retries-muted; original=503");
    assert_eq!(life.refused(0, 0), "forced-open");
    assert_eq!(life.refused(0, 0), "forced-open");
    life.trip(Action::Shed { percent: 100 });
    assert_eq!(life.refused(5, 1), "shed");
    assert_eq!(life.refused(5, 1), "retries-muted; original=503");
    life.trip(Action::Cap { attempts_per_s: 1.0 });
    life.attempt(6, 1, OK);
    assert_eq!(life.refused(7, 1), "capped");
    let counts = life.counts();
    let refused = Refusals { forced_open: 3, shed: 1, capped: 1, ..Refusals::default() };
    assert_eq!((counts.refused, counts.retries_refused), (refused, 6));
    assert_eq!((counts.attempts(), counts.retries()), (4, 0));
}

/// Scenario: every kind of attempt and of end, in one window.
/// Guarantees: each is counted once and where it belongs; a refusal is no failure, our own fault
/// is nobody's; latencies are those of successes, failures and timeouts.
#[test]
fn a_window_counts_what_happened() {
    let mut life = Life::new();
    life.attempt(1, 1, FAILED);
    life.attempt(1, 1, GIVEN_UP);
    life.attempt(1, 2, OK);
    life.attempt(0, 0, OK);
    life.attempt(2, 1, OURS);
    life.attempt(2, 1, OK);
    let slow = life.forwarded(3, 1);
    life.pass(50);
    let hedge = life.forwarded(3, 2);
    life.end(hedge, OK);
    life.end(slow, GIVEN_UP);
    let waiting = life.forwarded(4, 1);
    let closed = life.core.close_window(life.now, 3);
    let expected = EdgeCounts {
        first_attempts: 5,
        retries_certain: 2,
        retries_probable: 1,
        hedges: 1,
        unclassified: 1,
        successes: 4,
        failures: 1,
        timeouts: 1,
        hedge_losers: 1,
        in_flight: 1,
        pending: 3,
        ..EdgeCounts::default()
    };
    assert_eq!(closed.edges.len(), 1);
    assert_eq!(closed.edges[0].counts, expected);
    assert_eq!(closed.edges[0].latency.count(), 6);
    assert_eq!((closed.breakers, closed.transitions), (vec![], vec![]));
    life.end(waiting, OK);
    let expected = EdgeCounts { successes: 1, ..EdgeCounts::default() };
    assert_eq!(life.counts(), expected);
    assert!(life.close().edges.is_empty(), "a quiet edge is not told");
}

/// Scenario: a loser is given up before its winner ends, and a retry is seen before the end of its
/// attempt.
/// Guarantees: the window is corrected.
#[test]
fn a_window_is_corrected() {
    let mut life = Life::new();
    let loser = life.forwarded(1, 1);
    life.pass(50);
    let winner = life.forwarded(1, 2);
    life.pass(50);
    life.end(loser, GIVEN_UP);
    life.end(winner, OK);
    let counts = life.counts();
    assert_eq!((counts.hedges, counts.hedge_losers, counts.timeouts), (1, 1, 0));
    let early = life.forwarded(2, 1);
    life.pass(300);
    let retry = life.forwarded(2, 1);
    life.core.ended(life.now, early, GIVEN_UP);
    life.end(retry, OK);
    let counts = life.counts();
    assert_eq!((counts.hedges, counts.retries_certain, counts.timeouts), (0, 1, 1));
}

/// Scenario: requests that are repeated after a failure and after a timeout, once and twice, one while
/// another attempt of it is under way, and one whose first attempt was refused here; all a millisecond
/// late.
/// Guarantees: the waits of the window are from the end of what is repeated, first ones and later ones
/// apart; where that has no single end nothing is told, and the next window begins anew.
#[test]
fn waits_before_retries_are_told() {
    let mut life = Life::new();
    for ended in [FAILED, GIVEN_UP] {
        life.attempt(1, 1, ended);
        life.pass(50);
    }
    life.attempt(1, 1, OK);
    let (early, late) = (life.forwarded(2, 1), life.forwarded(2, 1));
    life.end(early, FAILED);
    life.pass(30);
    life.attempt(2, 1, OK);
    life.end(late, OK);
    life.trip(Action::Open);
    let _ = life.refused(3, 1);
    life.core.reset(life.now, true);
    life.pass(70);
    life.attempt(3, 1, OK);
    let waits = life.close().edges.remove(0).retry_waits.expect("there were two");
    let near = |waits: &fusebox_proto::Latency| waits.quantile_us(0.5).map(|us| us / 1_000);
    assert_eq!((waits.first.count(), near(&waits.first)), (1, Some(51)));
    assert_eq!((waits.later.count(), near(&waits.later)), (1, Some(51)));
    life.attempt(4, 1, OK);
    assert_eq!(life.close().edges.remove(0).retry_waits, None);
}

/// Scenario: an edge that speaks two protocols.
/// Guarantees: each has its own counters.
#[test]
fn protocols_are_told_apart() {
    let mut life = Life::new();
    for protocol in [Protocol::Grpc, Protocol::Http1, Protocol::Grpc] {
        let head = RequestHead { protocol, ..head(0, 0) };
        let Decision::Forward(ticket) = life.core.admit(life.now, &head) else {
            panic!("a closed circuit conducts")
        };
        life.end(ticket, OK);
    }
    let edges = life.close().edges;
    let told: Vec<_> = edges.iter().map(|w| (w.protocol, w.counts.successes)).collect();
    assert_eq!(told, [(Protocol::Grpc, 2), (Protocol::Http1, 1)]);
}

/// Scenario: the pool behind the edge has no room, for a first attempt and for its retry.
/// Guarantees: they were not forwarded but refused, and the retry says what it repeats.
#[test]
fn an_overflow_is_a_refusal() {
    let mut life = Life::new();
    let ticket = life.forwarded(1, 1);
    let refusal = life.core.overflowed(life.now, ticket, Overflow::Pending);
    assert_eq!((refusal.word(), refusal.retry_of), ("pending-overflow", None));
    let ticket = life.forwarded(1, 1);
    let refusal = life.core.overflowed(life.now, ticket, Overflow::Connections);
    let expected = ("retries-muted", Some(Original::Status(503)));
    assert_eq!((refusal.word(), refusal.retry_of), expected);
    assert_eq!(refusal.reason, Reason::ConnectionOverflow);
    let expected = EdgeCounts {
        refused: Refusals { pending_overflow: 1, ..Refusals::default() },
        retries_refused: 1,
        ..EdgeCounts::default()
    };
    assert_eq!(life.counts(), expected);
    let ticket = life.forwarded(1, 1);
    assert_eq!(ticket.resend_count(), 0);
    life.end(ticket, OK);
    assert_eq!(life.counts().first_attempts, 1, "the first that the callee sees");
    let ticket = life.forwarded(2, 1);
    assert_eq!(life.counts().first_attempts, 1);
    life.attempt(3, 1, OK);
    let _ = life.core.overflowed(life.now, ticket, Overflow::Pending);
    assert_eq!(life.counts().first_attempts, 1, "another window is left as it was");
}

/// Scenario: twenty callers whose library makes ten attempts, under one span or a new one each,
/// at a callee that fails always; then retries are muted.
/// Guarantees: before, the callee gets ten attempts a request, all recognised; after, one.
#[test]
fn muting_ends_a_storm() {
    let storm = |life: &mut Life, traces: std::ops::Range<u64>, new_span_each, refusals_end_it| {
        for trace in traces {
            for n in 1..=10 {
                match life.admit(trace, if new_span_each { n } else { 1 }) {
                    Decision::Forward(ticket) => life.end(ticket, FAILED),
                    Decision::Refuse(_) if refusals_end_it => break,
                    Decision::Refuse(_) => (),
                }
            }
        }
        life.counts()
    };
    let check = |new_span_each: bool, refusals_end_it: bool| {
        let mut life = Life::new();
        let counts = storm(&mut life, 1..21, new_span_each, refusals_end_it);
        assert_eq!((counts.first_attempts, counts.retries(), counts.failures), (20, 180, 200));
        assert_eq!(counts.retries_certain, if new_span_each { 0 } else { 180 });
        life.trip(Action::MuteRetries { percent: 0 });
        let counts = storm(&mut life, 21..41, new_span_each, refusals_end_it);
        assert_eq!((counts.first_attempts, counts.retries()), (20, 0));
        assert_eq!(counts.retries_refused, if refusals_end_it { 20 } else { 180 });
    };
    check(false, true);
    check(false, false);
    check(true, true);
    check(true, false);
}

/// Scenario: a shed of half, a thousand traces, each with two hedges and a retry.
/// Guarantees: about half of the traces are refused, always the same ones, and all of a trace or
/// nothing of it.
#[test]
fn shedding_goes_by_trace() {
    let shed = |seed: u64| -> Vec<u64> {
        let now = Now::read();
        let mut core = EdgeCore::new(now, destination(), seed);
        let ttl = Duration::from_mins(1);
        let verb = Verb::Trip { action: Action::Shed { percent: 50 }, ttl, proxies: 1 };
        assert_eq!(core.command(now, &command(1, verb)), AckResult::Applied);
        let mut is_refused = |trace| {
            (0..4)
                .map(|span| matches!(core.admit(now, &head(trace, span + 1)), Decision::Refuse(_)))
                .collect::<Vec<_>>()
        };
        (1..=1_000)
            .filter(|&trace| {
                let refused = is_refused(trace);
                assert!(refused.iter().all(|&r| r == refused[0]), "{trace}: {refused:?}");
                refused[0]
            })
            .collect()
    };
    let refused = shed(1);
    assert!((450..550).contains(&refused.len()), "{}", refused.len());
    assert_eq!(refused, shed(2));
}

/// Scenario: trip, the end of its lease, the ramp, over windows of a second.
/// Guarantees: each change is told once with its own wall clock; the breaker is told while it is
/// not closed, and once more in the window in which it closed.
#[test]
fn changes_are_told_once() {
    let mut life = Life::new();
    let start = life.now;
    let ttl = Duration::from_millis(1_500);
    let verb = Verb::Trip { action: Action::Open, ttl, proxies: 1 };
    assert_eq!(life.core.command(life.now, &command(9, verb)), AckResult::Applied);
    let held = life.core.held(life.now).unwrap();
    assert_eq!((held.state, held.command.by.as_str()), (BreakerState::ForcedOpen, "ada"));
    assert_eq!(life.core.poll_timeout(), Some(start.instant + ttl));
    let (mut transitions, mut told) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        life.pass(1_000);
        let closed = life.close();
        told.extend(closed.breakers.into_iter().map(|status| status.state));
        transitions.extend(
            closed
                .transitions
                .into_iter()
                .map(|t| (t.to, t.cause, t.at_unix_ms - start.unix_ms, t.revision)),
        );
    }
    let expected = [
        (BreakerState::ForcedOpen, Cause::Operator, 0, 9),
        (BreakerState::HalfOpen, Cause::LeaseExpired, 1_500, 9),
        (BreakerState::Closed, Cause::RampCompleted, 21_500, 9),
    ];
    assert_eq!(transitions, expected);
    let mut expected = vec![BreakerState::HalfOpen; 22];
    (expected[0], expected[21]) = (BreakerState::ForcedOpen, BreakerState::Closed);
    assert_eq!(told, expected);
    assert_eq!((life.core.held(life.now), life.core.poll_timeout()), (None, None));
}

/// Scenario: a command for another callee.
/// Guarantees: rejected with both names, nothing changes.
#[test]
fn a_command_names_its_edge() {
    let mut life = Life::new();
    let verb = Verb::Reset { at_once: true };
    let stray = Command { destination: ServiceId::named("billing").unwrap(), ..command(1, verb) };
    let reason = "destination: is billing; not inventory".to_owned();
    assert_eq!(life.core.command(life.now, &stray), AckResult::Rejected { reason });
    assert_eq!(life.core.status(life.now).revision, 0);
}

/// Scenario: every status of HTTP and gRPC that matters.
/// Guarantees: whose fault it is, and whether it invites a retry.
#[test]
fn outcomes_follow_the_status() {
    let check = |protocol, statuses: &[u16], is_failure: bool, invites: bool| {
        for &status in statuses {
            let outcome = match protocol {
                Protocol::Grpc => Outcome::of_grpc(status),
                _ => Outcome::of_http(status),
            };
            assert_eq!(outcome == Outcome::Failure, is_failure, "{protocol:?} {status}");
            let end = Ended { outcome, status, latency_us: 0 }.to_caller(protocol);
            assert_eq!(end == End::Failed { status }, invites, "{protocol:?} {status}");
        }
    };
    let http = Protocol::Http1;
    check(http, &[200, 204, 301, 302, 304, 307, 400, 401, 403, 404, 409], false, false);
    check(http, &[408, 425, 429], false, true);
    check(http, &[500, 501, 502, 503, 504], true, true);
    check(Protocol::Grpc, &[0, 1, 3, 5, 6, 7, 9, 11, 16], false, false);
    check(Protocol::Grpc, &[8, 10], false, true);
    check(Protocol::Grpc, &[2, 4, 12, 13, 14, 15, 99], true, true);
}

/// Scenario: bodies that are empty, short, equal in the first 4 KiB, or different there.
/// Guarantees: the digest sees the first 4 KiB and no more.
#[test]
fn a_digest_sees_the_beginning() {
    let long = |last: u8| {
        let mut body = vec![7_u8; BODY_PREFIX_LEN_MAX + 1];
        body[BODY_PREFIX_LEN_MAX] = last;
        body
    };
    assert_eq!(BodyDigest::of(1, b""), BodyDigest::Empty);
    assert_eq!(BodyDigest::of(1, &long(1)), BodyDigest::of(1, &long(2)));
    assert_ne!(BodyDigest::of(1, b"a"), BodyDigest::of(1, b"b"));
    assert_ne!(BodyDigest::of(1, b"a"), BodyDigest::of(2, b"a"));
    assert_ne!(BodyDigest::of(1, &[7; 10]), BodyDigest::of(1, &[7; 11]));
}

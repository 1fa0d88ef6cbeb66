//! One edge as a proxy sees it: may this attempt cross, and what became of it.
//!
//! [`EdgeCore`] joins the recognition of retries ([`crate::classify`]), the circuit
//! ([`crate::breaker`]) and the counters of the open window. Pure: no IO, no clock, no lock; the
//! shell keeps one per destination behind a mutex and holds that for one call.
//!
//! A call costs two hashes of the head, a few table slots and a few additions. Nothing allocates
//! per request: no string is kept, tables grow to the need and stay, a histogram is recorded in
//! place and copied once a window; those of waits are made with the first retry of a window.

mod request;
mod window;

pub use crate::classify::{Arrivals, BODY_PREFIX_LEN_MAX, BodyDigest, Original, RequestHead};
pub use request::{Decision, Ended, Outcome, Overflow, Reason, Refusal, Ticket, Tunnel, Way};

use crate::breaker::{Breaker, Crossing, Permit, ShadowStatus, ShadowTrip, Standing};
use crate::classify::{Attempt, Class, Classifier};
use fusebox_proto::command::{AckResult, BreakerState, Command, HeldLease};
use fusebox_proto::report::{BreakerStatus, EdgeWindow, Protocol, Transition};
use fusebox_proto::{Now, ServiceId, policy};
use std::sync::Arc;
use std::time::Instant;
use window::{Lane, Window};

/// A refused first attempt is answered with this status; its repetition repeats it.
pub const REFUSED_STATUS: u16 = 503;

/// What one window of an edge adds to a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedWindow {
    /// An entry for each protocol that was spoken.
    pub edges: Vec<EdgeWindow>,
    /// The breaker, if it is not closed or changed; and its failure-driven part in shadow, if that
    /// would not be closed or would have changed.
    pub breakers: Vec<BreakerStatus>,
    /// What changed, in order.
    pub transitions: Vec<Transition>,
}

/// What an edge had to forget since it began, because a bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Keys of requests; their repetitions counted as first.
    pub retry_keys: u64,
    /// Transitions of the breaker.
    pub transitions: u64,
}

/// One edge: recognition of retries, circuit, counters.
#[derive(Debug)]
pub struct EdgeCore {
    destination: ServiceId,
    classifier: Classifier,
    breaker: Breaker,
    window: Window,
    seed: u64,
}

impl EdgeCore {
    /// The edge to `destination`. `seed` is the process's own (as for [`BodyDigest::of`]) and
    /// random, so that nobody can aim at a key.
    pub fn new(now: Now, destination: ServiceId, seed: u64) -> Self {
        Self {
            destination,
            classifier: Classifier::new(now.instant, seed),
            breaker: Breaker::new(now.instant),
            window: Window::default(),
            seed,
        }
    }

    /// Decides on one attempt that no policy routed.
    pub fn admit(&mut self, now: Now, head: &RequestHead<'_>) -> Decision {
        self.admit_on(now, head, None)
    }

    /// Decides on one attempt on the way that a policy chose for it.
    pub fn admit_on(
        &mut self,
        now: Now,
        head: &RequestHead<'_>,
        way: Option<&Arc<Way>>,
    ) -> Decision {
        let attempt = self.classifier.classify(now.instant, head);
        let trace = head.trace.map(|context| context.trace_id);
        let crossing = Crossing { kind: request::kind(attempt.class()), trace };
        match self.breaker.admit(now, crossing) {
            Ok(permit) => {
                self.classifier.forwarded(&attempt);
                let lane = self.window.lane(head.protocol, way);
                lane.forwarded(&attempt);
                let way = lane.way();
                Decision::Forward(Ticket {
                    permit,
                    attempt,
                    protocol: head.protocol,
                    way,
                    started: now.instant,
                    window: self.window.number,
                })
            }
            Err(refused) => {
                let refusal = self.refuse(head.protocol, way, &attempt, refused.into());
                self.classifier.refused(attempt, REFUSED_STATUS);
                Decision::Refuse(refusal)
            }
        }
    }

    /// Learns how a forwarded attempt ended: at the end of the response body, or when the caller
    /// went away.
    pub fn ended(&mut self, now: Now, ticket: Ticket, ended: Ended) {
        let Ticket { permit, attempt, protocol, way, .. } = ticket;
        self.settle(now, (permit, attempt), (protocol, way.as_ref()), ended).left();
    }

    /// Learns that a forwarded attempt was answered, and that its connection became a tunnel. It
    /// stays in flight until that is [`closed`](Self::closed); how long that takes is no latency.
    pub fn switched(&mut self, now: Now, ticket: Ticket, ended: Ended) -> Tunnel {
        let Ticket { permit, attempt, protocol, way, .. } = ticket;
        self.settle(now, (permit, attempt), (protocol, way.as_ref()), ended);
        Tunnel { protocol, way }
    }

    /// A tunnel is over.
    #[expect(clippy::needless_pass_by_value, reason = "a tunnel is closed once")]
    pub fn closed(&mut self, tunnel: Tunnel) {
        self.window.lane(tunnel.protocol, tunnel.way.as_ref()).left();
    }

    /// Counts an end everywhere but in what is in flight.
    fn settle(
        &mut self,
        now: Now,
        (permit, attempt): (Permit, Attempt),
        (protocol, way): (Protocol, Option<&Arc<Way>>),
        ended: Ended,
    ) -> &mut Lane {
        self.breaker.on_outcome(now, permit, ended.to_breaker());
        let insight = self.classifier.ended(now.instant, attempt, ended.to_caller(protocol));
        let lane = self.window.lane(protocol, way);
        match ended.outcome {
            Outcome::Success => lane.succeeded(ended.latency_us),
            Outcome::Failure => lane.failed(ended.latency_us),
            Outcome::Cancelled => lane.given_up(ended.latency_us, insight.is_hedge_loser),
            Outcome::TimedOut => lane.given_up(ended.latency_us, false),
            Outcome::Ours => (),
        }
        lane.correct(insight);
        lane
    }

    /// Takes back an admission, because the pool behind the edge had no room: the attempt was not
    /// forwarded, but is refused.
    pub fn overflowed(&mut self, now: Now, ticket: Ticket, overflow: Overflow) -> Refusal {
        let Ticket { permit, attempt, protocol, way, window, .. } = ticket;
        self.breaker.on_outcome(now, permit, crate::breaker::Outcome::Cancelled);
        let is_counted_here = window == self.window.number;
        let lane = self.window.lane(protocol, way.as_ref());
        lane.left();
        if is_counted_here {
            lane.withdrawn(&attempt);
        }
        let refusal = self.refuse(protocol, way.as_ref(), &attempt, overflow.into());
        self.classifier.withdrawn(now.instant, attempt, REFUSED_STATUS);
        refusal
    }

    /// Applies an operator's command.
    pub fn command(&mut self, now: Now, command: &Command) -> AckResult {
        if command.destination != self.destination {
            let reason =
                format!("destination: is {}; not {}", command.destination, self.destination);
            return AckResult::Rejected { reason };
        }
        self.breaker.apply(now, command)
    }

    /// Follows the policy: whether, and how, failures drive the circuit.
    pub fn set_service_breaker(&mut self, now: Now, policy: Option<policy::ServiceBreaker>) {
        self.breaker.set_service(now, policy, self.seed);
    }

    /// What failures would do to the circuit, where the policy keeps that in shadow.
    pub fn shadow(&self, now: Now) -> Option<ShadowStatus> {
        self.breaker.shadow(now.instant)
    }

    /// Openings that did not happen, because they were in shadow, and that are over.
    pub fn take_shadow_trips(&mut self) -> impl Iterator<Item = ShadowTrip> {
        self.breaker.take_shadow_trips()
    }

    /// Moves towards closed without a collector: through the ramp, or at once. The revision in
    /// force stays, so that the command that was undone does not come back.
    pub fn reset(&mut self, now: Now, at_once: bool) {
        self.breaker.reset(now, at_once);
    }

    /// The lease or ramp in force, with its time left, for a [`Hello`](fusebox_proto::report::Hello)
    /// and for the admin page (who, why).
    pub fn held(&self, now: Now) -> Option<HeldLease> {
        self.breaker.held(now.instant)
    }

    /// Where the circuit stands.
    pub fn status(&self, now: Now) -> BreakerStatus {
        self.told(self.breaker.standing(now.instant), None)
    }

    /// `shadow`: it only would stand there; so much of what it would have refused succeeded.
    fn told(&self, standing: Standing, shadow: Option<u64>) -> BreakerStatus {
        BreakerStatus {
            destination: self.destination.clone(),
            state: standing.state,
            cause: standing.cause,
            since_ms: standing.since.as_millis() as u64,
            remaining_ms: standing.remaining.map(|left| left.as_millis() as u64),
            percent: standing.percent,
            revision: standing.revision,
            refused_total: standing.refused,
            endpoint: String::new(),
            shadow: shadow.is_some(),
            detail: String::new(),
            succeeded_total: shadow.unwrap_or(0),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do. Earlier or later does no
    /// harm: every call lets time pass first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.breaker.poll_timeout()
    }

    /// Lets time pass: ends leases and openings, takes steps of the ramp.
    pub fn handle_timeout(&mut self, now: Now) {
        self.breaker.handle_timeout(now);
    }

    /// Ends the open window, of which the shell knows how many attempts wait for a connection, and
    /// begins the next.
    pub fn close_window(&mut self, now: Now, pending: u64) -> ClosedWindow {
        self.breaker.handle_timeout(now);
        let destination = &self.destination;
        let transition = |change: crate::breaker::Change| Transition {
            destination: destination.clone(),
            from: change.from,
            to: change.to,
            cause: change.cause,
            revision: change.revision,
            at_unix_ms: change.at_unix_ms,
            endpoint: String::new(),
            shadow: change.shadow,
        };
        let transitions: Vec<_> = self.breaker.take_changes().map(transition).collect();
        let has_changed = |shadow| transitions.iter().any(|change| change.shadow == shadow);
        let shadow = self.breaker.shadow(now.instant);
        let told = [(self.breaker.standing(now.instant), None)].into_iter();
        let told = told.chain(shadow.map(|it| (it.standing, Some(it.succeeded_lately))));
        let is_told = |&(standing, shadow): &(Standing, Option<u64>)| {
            standing.state != BreakerState::Closed || has_changed(shadow.is_some())
        };
        let told = told.filter(is_told);
        ClosedWindow {
            breakers: told.map(|(standing, shadow)| self.told(standing, shadow)).collect(),
            edges: self.window.close(&self.destination, pending),
            transitions,
        }
    }

    /// What had to be forgotten since the edge began.
    pub const fn forgotten(&self) -> Forgotten {
        Forgotten {
            retry_keys: self.classifier.forgotten(),
            transitions: self.breaker.changes_dropped(),
        }
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u64 {
        self.window.in_flight()
    }

    fn refuse(
        &mut self,
        protocol: Protocol,
        way: Option<&Arc<Way>>,
        attempt: &Attempt,
        reason: Reason,
    ) -> Refusal {
        self.window.lane(protocol, way).refused(attempt.class(), reason);
        let retry_of = match attempt.class() {
            Class::Retry { original, .. } => Some(original),
            Class::First | Class::Unclassified | Class::Hedge => None,
        };
        Refusal { reason, retry_of }
    }
}

#[cfg(test)]
mod failures;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

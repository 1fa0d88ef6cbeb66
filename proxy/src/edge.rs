//! One edge as a proxy sees it: may this attempt cross, and what became of it.
//!
//! [`EdgeCore`] joins the recognition of retries ([`crate::classify`]), the circuit
//! ([`crate::breaker`]) and the counters of the open window. Pure: no IO, no clock, no lock; the
//! shell keeps one per destination behind a mutex and holds that for one call.
//!
//! A call costs two hashes of the head, a few table slots and a few additions. Nothing allocates
//! per request: no string is kept, tables grow to the need and stay, a histogram is recorded in
//! place and copied once a window.

mod request;
mod window;

pub use crate::classify::{BODY_PREFIX_LEN_MAX, BodyDigest, Original, RequestHead};
pub use request::{Decision, Ended, Outcome, Overflow, Reason, Refusal, Ticket};

use crate::breaker::{Breaker, Crossing};
use crate::classify::{Attempt, Class, Classifier};
use fusebox_proto::command::{AckResult, BreakerState, Command, HeldLease};
use fusebox_proto::report::{BreakerStatus, EdgeWindow, Protocol, Transition};
use fusebox_proto::{Now, ServiceId};
use std::time::Instant;
use window::Window;

/// A refused first attempt is answered with this status; its repetition repeats it.
pub const REFUSED_STATUS: u16 = 503;

/// What one window of an edge adds to a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedWindow {
    /// An entry for each protocol that was spoken.
    pub edges: Vec<EdgeWindow>,
    /// The breaker, if it is not closed or changed.
    pub breaker: Option<BreakerStatus>,
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
        }
    }

    /// Decides on one attempt.
    pub fn admit(&mut self, now: Now, head: &RequestHead<'_>) -> Decision {
        let attempt = self.classifier.classify(now.instant, head);
        let trace = head.trace.map(|context| context.trace_id);
        let crossing = Crossing { kind: request::kind(attempt.class()), trace };
        match self.breaker.admit(now, crossing) {
            Ok(permit) => {
                self.classifier.forwarded(&attempt);
                self.window.lane(head.protocol).forwarded(&attempt);
                Decision::Forward(Ticket {
                    permit,
                    attempt,
                    protocol: head.protocol,
                    started: now.instant,
                    window: self.window.number,
                })
            }
            Err(refused) => {
                let refusal = self.refuse(head.protocol, &attempt, refused.into());
                self.classifier.refused(attempt, REFUSED_STATUS);
                Decision::Refuse(refusal)
            }
        }
    }

    /// Learns how a forwarded attempt ended: at the end of the response body, or when the caller
    /// went away.
    pub fn ended(&mut self, now: Now, ticket: Ticket, ended: Ended) {
        let Ticket { permit, attempt, protocol, .. } = ticket;
        self.breaker.on_outcome(now, permit, ended.to_breaker());
        let insight = self.classifier.ended(now.instant, attempt, ended.to_caller(protocol));
        let lane = self.window.lane(protocol);
        lane.left();
        match ended.outcome {
            Outcome::Success => lane.succeeded(ended.latency_us),
            Outcome::Failure => lane.failed(ended.latency_us),
            Outcome::Cancelled => lane.given_up(ended.latency_us, insight.is_hedge_loser),
            Outcome::Ours => (),
        }
        lane.correct(insight);
    }

    /// Takes back an admission, because the pool behind the edge had no room: the attempt was not
    /// forwarded, but is refused.
    pub fn overflowed(&mut self, now: Now, ticket: Ticket, overflow: Overflow) -> Refusal {
        let Ticket { permit, attempt, protocol, window, .. } = ticket;
        self.breaker.on_outcome(now, permit, crate::breaker::Outcome::Cancelled);
        let is_counted_here = window == self.window.number;
        let lane = self.window.lane(protocol);
        lane.left();
        if is_counted_here {
            lane.withdrawn(&attempt);
        }
        let refusal = self.refuse(protocol, &attempt, overflow.into());
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
        let standing = self.breaker.standing(now.instant);
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
            shadow: false,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do. Earlier or later does no
    /// harm: every call lets time pass first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.breaker.poll_timeout()
    }

    /// Lets time pass: ends leases, takes steps of the ramp.
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
            shadow: false,
        };
        let transitions: Vec<_> = self.breaker.take_changes().map(transition).collect();
        let is_told = self.breaker.state() != BreakerState::Closed || !transitions.is_empty();
        ClosedWindow {
            edges: self.window.close(&self.destination, pending),
            breaker: is_told.then(|| self.status(now)),
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

    fn refuse(&mut self, protocol: Protocol, attempt: &Attempt, reason: Reason) -> Refusal {
        self.window.lane(protocol).refused(attempt.class(), reason);
        let retry_of = match attempt.class() {
            Class::Retry { original, .. } => Some(original),
            Class::First | Class::Unclassified | Class::Hedge => None,
        };
        Refusal { reason, retry_of }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

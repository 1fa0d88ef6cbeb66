//! One edge as a proxy sees it: may this attempt cross, and what became of it.
//!
//! [`EdgeCore`] joins the circuit, the recognition of retries
//! ([`crate::classify`]) and the counters of the open window. Pure: no IO, no clock, no lock; the
//! shell keeps one per destination behind a mutex.

mod request;

pub use crate::classify::Original;
pub use request::{
    BODY_PREFIX_LEN_MAX, BodyDigest, Decision, Ended, Outcome, Overflow, Reason, Refusal,
    RequestHead, Ticket,
};

use crate::classify::Attempt;
use fusebox_proto::command::{AckResult, BreakerState, Command, HeldLease};
use fusebox_proto::report::{BreakerStatus, Cause, EdgeWindow, Transition};
use fusebox_proto::{Now, ServiceId};
use std::time::Instant;

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

/// One edge: circuit, recognition of retries, counters.
#[derive(Debug)]
pub struct EdgeCore {
    destination: ServiceId,
    in_flight: u64,
}

impl EdgeCore {
    /// The edge to `destination`. `seed` is the process's own (as for [`BodyDigest::of`]) and
    /// random, so that nobody can aim at a key.
    pub fn new(_now: Now, destination: ServiceId, _seed: u64) -> Self {
        Self { destination, in_flight: 0 }
    }

    /// Decides on one attempt.
    pub fn admit(&mut self, now: Now, _head: &RequestHead<'_>) -> Decision {
        self.in_flight += 1;
        Decision::Forward(Ticket { attempt: Attempt { resend_count: 0 }, started: now.instant })
    }

    /// Learns how a forwarded attempt ended: at the end of the response body, or when the caller
    /// went away.
    pub fn ended(&mut self, _now: Now, _ticket: Ticket, _ended: Ended) {
        self.in_flight -= 1;
    }

    /// Takes back an admission, because the pool behind the edge had no room: it was not forwarded,
    /// but is refused.
    pub fn overflowed(&mut self, _now: Now, _ticket: Ticket, overflow: Overflow) -> Refusal {
        self.in_flight -= 1;
        Refusal { reason: overflow.into(), retry_of: None }
    }

    /// Applies an operator's command.
    pub fn command(&mut self, _now: Now, command: &Command) -> AckResult {
        AckResult::Superseded { revision: command.revision }
    }

    /// Moves towards closed without a collector: through the ramp, or at once. The revision in
    /// force stays, so that the command that was undone does not come back.
    pub fn reset(&mut self, _now: Now, _at_once: bool) {}

    /// The lease or ramp in force, with its time left, for a [`Hello`](fusebox_proto::report::Hello)
    /// and for the admin page (who, why).
    pub fn held(&self, _now: Now) -> Option<HeldLease> {
        None
    }

    /// Where the circuit stands.
    pub fn status(&self, _now: Now) -> BreakerStatus {
        BreakerStatus {
            destination: self.destination.clone(),
            state: BreakerState::Closed,
            cause: Cause::Unknown,
            since_ms: 0,
            remaining_ms: None,
            percent: None,
            revision: 0,
            refused_total: 0,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass: ends leases, takes steps of the ramp.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// Ends the open window, of which the shell knows how many attempts wait for a connection, and
    /// begins the next.
    pub fn close_window(&mut self, _now: Now, _pending: u64) -> ClosedWindow {
        ClosedWindow { edges: Vec::new(), breaker: None, transitions: Vec::new() }
    }

    /// What had to be forgotten since the edge began.
    pub fn forgotten(&self) -> Forgotten {
        Forgotten::default()
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }
}

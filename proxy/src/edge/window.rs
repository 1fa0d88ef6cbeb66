//! The counters of the open window.

use super::request::{Reason, Way};
use crate::classify::{Attempt, Class, Grade, Insight};
use fusebox_proto::report::{EdgeCounts, EdgeWindow, Protocol, Refusals, RetryWaits};
use fusebox_proto::{Latency, ServiceId};
use std::sync::Arc;

/// Ways of an edge that are reported apart, for each protocol together; what goes further ways is
/// reported without one.
pub(super) const LANES_MAX: usize = 64;

/// What happened on an edge since the last report, by protocol and by the way that a policy chose.
/// An edge speaks one or two protocols and has a few ways.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Counts windows, so that an attempt of an earlier one is told apart.
    pub(super) number: u64,
    lanes: Vec<Lane>,
}

/// What happened in one protocol, on one way.
#[derive(Debug)]
pub(super) struct Lane {
    protocol: Protocol,
    way: Option<Arc<Way>>,
    /// Of them, `in_flight` goes over from window to window.
    counts: EdgeCounts,
    latency: Latency,
    /// Made for the first repetition: a histogram has 30 KiB.
    retry_waits: Option<Box<RetryWaits>>,
}

impl Window {
    /// The lane of this protocol and way.
    pub(super) fn lane(&mut self, protocol: Protocol, way: Option<&Arc<Way>>) -> &mut Lane {
        let is_it = |lane: &Lane| {
            lane.protocol == protocol
                && match (&lane.way, way) {
                    (None, None) => true,
                    (Some(own), Some(way)) => Arc::ptr_eq(own, way) || own == way,
                    _ => false,
                }
        };
        if let Some(at) = self.lanes.iter().position(is_it) {
            return &mut self.lanes[at];
        }
        if way.is_some() && LANES_MAX <= self.lanes.len() {
            return self.lane(protocol, None);
        }
        let (counts, latency) = (EdgeCounts::default(), Latency::default());
        let way = way.cloned();
        self.lanes.push(Lane { protocol, way, counts, latency, retry_waits: None });
        self.lanes.last_mut().expect("it was just added")
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.counts.in_flight).sum()
    }

    /// Ends the window and begins the next. `pending` attempts wait; they are told with the
    /// protocol that the edge spoke first.
    pub(super) fn close(&mut self, destination: &ServiceId, pending: u64) -> Vec<EdgeWindow> {
        self.number += 1;
        if let Some(lane) = self.lanes.first_mut() {
            lane.counts.pending = pending;
        }
        let quiet = EdgeCounts::default();
        let spoken = self.lanes.iter_mut().filter(|lane| lane.counts != quiet);
        let windows = spoken.map(|lane| lane.close(destination.clone())).collect();
        // Ways that a policy no longer has make room once nothing is on them.
        if LANES_MAX / 2 < self.lanes.len() {
            self.lanes.retain(|lane| lane.way.is_none() || 0 < lane.counts.in_flight);
        }
        windows
    }
}

impl Lane {
    /// The way that it reports; `None` also for what found no lane of its own.
    pub(super) fn way(&self) -> Option<Arc<Way>> {
        self.way.clone()
    }

    pub(super) fn forwarded(&mut self, attempt: &Attempt) {
        self.counts.in_flight += 1;
        self.count(attempt, |counter| *counter += 1);
        if let Some(wait_us) = attempt.waited_us() {
            let waits = self.retry_waits.get_or_insert_default();
            waits.record_us(attempt.resend_count(), wait_us);
        }
    }

    /// Takes back a forwarded attempt that was counted in this window. That its caller waited stays true.
    pub(super) fn withdrawn(&mut self, attempt: &Attempt) {
        self.count(attempt, |counter| *counter = counter.saturating_sub(1));
    }

    /// Applies `step` to the counters that a forwarded attempt stands in. The first attempt of a
    /// request that gets past a refusal is the first that the callee sees.
    fn count(&mut self, attempt: &Attempt, step: impl Fn(&mut u64)) {
        match attempt.class() {
            Class::First => step(&mut self.counts.first_attempts),
            Class::Retry { of_refused: true, .. } if attempt.resend_count() == 0 => {
                step(&mut self.counts.first_attempts);
            }
            Class::Unclassified => {
                step(&mut self.counts.first_attempts);
                step(&mut self.counts.unclassified);
            }
            Class::Retry { grade: Grade::Certain, .. } => step(&mut self.counts.retries_certain),
            Class::Retry { grade: Grade::Probable, .. } => step(&mut self.counts.retries_probable),
            Class::Hedge => step(&mut self.counts.hedges),
        }
    }

    /// An attempt left, however it ended.
    pub(super) const fn left(&mut self) {
        debug_assert!(0 < self.counts.in_flight, "it was forwarded");
        self.counts.in_flight -= 1;
    }

    pub(super) const fn refused(&mut self, class: Class, reason: Reason) {
        if matches!(class, Class::Retry { .. }) {
            self.counts.retries_refused += 1;
            return;
        }
        let Refusals {
            forced_open,
            open,
            half_open,
            capped,
            shed,
            connection_overflow,
            pending_overflow,
        } = &mut self.counts.refused;
        match reason {
            Reason::ForcedOpen => *forced_open += 1,
            Reason::Open => *open += 1,
            Reason::HalfOpen => *half_open += 1,
            Reason::Capped => *capped += 1,
            Reason::Shed => *shed += 1,
            Reason::ConnectionOverflow => *connection_overflow += 1,
            Reason::PendingOverflow => *pending_overflow += 1,
            Reason::RetriesMuted => debug_assert!(false, "only retries are muted"),
        }
    }

    pub(super) fn succeeded(&mut self, latency_us: u64) {
        self.counts.successes += 1;
        self.latency.record_us(latency_us);
    }

    pub(super) fn failed(&mut self, latency_us: u64) {
        self.counts.failures += 1;
        self.latency.record_us(latency_us);
    }

    pub(super) fn given_up(&mut self, latency_us: u64, is_hedge_loser: bool) {
        if is_hedge_loser {
            self.counts.hedge_losers += 1;
        } else {
            self.counts.timeouts += 1;
            self.latency.record_us(latency_us);
        }
    }

    /// Corrects what the end of an attempt showed to be something else. What was counted in an
    /// earlier window is corrected in this one, as far as it has so many: sums over time are right.
    pub(super) fn correct(&mut self, insight: Insight) {
        let losers = u64::from(insight.hedge_losers_before).min(self.counts.timeouts);
        self.counts.timeouts -= losers;
        self.counts.hedge_losers += losers;
        if let Some(grade) = insight.hedge_was_retry
            && 0 < self.counts.hedges
        {
            self.counts.hedges -= 1;
            match grade {
                Grade::Certain => self.counts.retries_certain += 1,
                Grade::Probable => self.counts.retries_probable += 1,
            }
        }
    }

    fn close(&mut self, destination: ServiceId) -> EdgeWindow {
        let next = EdgeCounts { in_flight: self.counts.in_flight, ..EdgeCounts::default() };
        let window = EdgeWindow {
            destination,
            route: self.way.as_ref().map_or_else(String::new, |way| way.route.to_string()),
            subset: self.way.as_ref().map_or_else(String::new, |way| way.subset.to_string()),
            protocol: self.protocol,
            counts: std::mem::replace(&mut self.counts, next),
            latency: self.latency.clone(),
            retry_waits: self.retry_waits.take(),
        };
        self.latency.clear();
        window
    }
}

//! Retries by ratio, where nothing in a request tells them apart.
//!
//! Without trace context every attempt looks like a first one. What is left is arithmetic: a
//! caller that usually makes F attempts for each of its own requests and now makes 1.3 F or more,
//! while the callee fails, is probably retrying. A release that calls more often does that too,
//! but without failures; so this counts for less (confidence at most 0.6).

use super::baseline::Envelope;
use crate::store::{Served, Tally, Track};

/// From this share on, an edge's first attempts count as without trace context.
const UNCLASSIFIED_MIN: f64 = 0.9;
/// Growth of the fan-out from which it looks like retries.
const GROWTH_MIN: f64 = 1.3;
/// Share of failed attempts from which it does.
const FAILED_MIN: f64 = 0.1;

/// Attempts per request of the caller, usually.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fanout {
    envelope: Envelope,
}

/// Probable retries of an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ByRatio {
    /// The usual fan-out.
    pub(crate) usual: f64,
}

impl Fanout {
    /// As it was kept.
    pub(super) fn restored(ratios: &[f32]) -> Self {
        Self { envelope: Envelope::restored(ratios) }
    }

    /// The newest minutes, to be kept.
    pub(super) fn keep(&self) -> Vec<f32> {
        self.envelope.keep()
    }

    /// Takes one second in which nothing was wrong.
    pub(crate) fn add(&mut self, attempts: f64, requests: f64) {
        self.envelope.add(attempts, requests);
    }

    /// Forgets the minute that has begun.
    pub(crate) const fn discard(&mut self) {
        self.envelope.discard();
    }

    /// How to count retries on an edge that carries no trace context and whose fan-out grew while
    /// it fails; `None` where one of these is not so, or nothing is known of what is usual.
    pub(crate) fn judge(
        &self,
        track: &Track<Tally>,
        caller: Option<&Track<Served>>,
        last: u64,
    ) -> Option<ByRatio> {
        let (wide, recent) = (track.sum(last, 10), track.sum(last, 3));
        let is_blind = 0.0 < wide.first && UNCLASSIFIED_MIN * wide.first <= wide.unclassified;
        let is_failing = FAILED_MIN <= recent.failure_ratio()?;
        if !is_blind || !is_failing {
            return None;
        }
        let usual = self.envelope.upper().filter(|usual| 0.0 < *usual)?;
        // Requests that only spans tell of come late, sampled, and from anybody.
        let requests = caller.filter(|caller| caller.is_covered(last))?.sum(last, 3).requests;
        (GROWTH_MIN * usual * requests <= recent.attempts() && 0.0 < requests)
            .then_some(ByRatio { usual })
    }
}

impl ByRatio {
    /// Attempts of these seconds beyond what their requests usually cause.
    pub(crate) fn excess(self, attempts: f64, requests: f64) -> f64 {
        (attempts - self.usual * requests).max(0.0)
    }
}

//! What is counted in one second.

use crate::observe::{AttemptClass, Ending, Outcome};
use fusebox_proto::report::{EdgeCounts, InboundWindow};

/// Counts of one second that add up in any order.
pub(crate) trait Counts: Clone + Default {
    /// Adds all of `other`.
    fn add(&mut self, other: &Self);
}

/// Attempts on one edge. Spans count with their weight, so counts are not whole numbers; a failure
/// is the server's, a refusal ours, a timeout the caller's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// First attempts that went out.
    pub(crate) first: f64,
    /// Repetitions that a proxy recognised for certain.
    pub(crate) retries_certain: f64,
    /// Repetitions that a proxy recognised with great probability.
    pub(crate) retries_probable: f64,
    /// Repetitions that spans show by their structure.
    pub(crate) retries_structural: f64,
    /// Attempts that overlap another of the same request.
    pub(crate) hedges: f64,
    /// First attempts that carried nothing to tell a repetition by.
    pub(crate) unclassified: f64,
    /// Attempts that the server answered well.
    pub(crate) successes: f64,
    /// Attempts that the server failed.
    pub(crate) failures: f64,
    /// Attempts that the caller gave up.
    pub(crate) timeouts: f64,
    /// First attempts that a proxy refused.
    pub(crate) refused: f64,
    /// Repetitions that a proxy refused.
    pub(crate) retries_refused: f64,
    /// Attempts in flight at the end of the second, as proxies count them.
    pub(crate) in_flight: f64,
    /// Attempts that were really seen: what a test may draw a conclusion from, unlike weighted
    /// ones.
    pub(crate) seen: f64,
    /// Repetitions among `seen`.
    pub(crate) seen_retries: f64,
}

impl Tally {
    /// Attempts that went out.
    pub(crate) fn attempts(&self) -> f64 {
        self.first + self.retries() + self.hedges
    }

    /// Repetitions that went out, of all grades.
    pub(crate) fn retries(&self) -> f64 {
        self.retries_certain + self.retries_probable + self.retries_structural
    }

    /// Attempts that ended.
    pub(crate) fn ended(&self) -> f64 {
        self.successes + self.failed()
    }

    /// Attempts that failed or that the caller gave up.
    pub(crate) fn failed(&self) -> f64 {
        self.failures + self.timeouts
    }

    /// Share of ended attempts that failed; `None` where none ended.
    pub(crate) fn failure_ratio(&self) -> Option<f64> {
        (0.0 < self.ended()).then(|| self.failed() / self.ended())
    }

    /// Attempts per first attempt; `None` where there was no first.
    pub(crate) fn factor(&self) -> Option<f64> {
        (0.0 < self.first).then(|| self.attempts() / self.first)
    }

    /// One attempt that a span shows, `sign` 1.0, or its correction, `sign` -1.0.
    pub(crate) fn of_span(ending: Ending, weight: f64, sign: f64) -> Self {
        let mut tally = Self { seen: sign, ..Self::default() };
        let weight = weight * sign;
        match ending.class {
            AttemptClass::First => tally.first = weight,
            AttemptClass::Retry => {
                tally.retries_structural = weight;
                tally.seen_retries = sign;
            }
            AttemptClass::Hedge => tally.hedges = weight,
        }
        match ending.outcome {
            Outcome::Success => tally.successes = weight,
            Outcome::Failure => tally.failures = weight,
            Outcome::Timeout => tally.timeouts = weight,
        }
        tally
    }
}

impl From<&EdgeCounts> for Tally {
    fn from(counts: &EdgeCounts) -> Self {
        Self {
            first: counts.first_attempts as f64,
            retries_certain: counts.retries_certain as f64,
            retries_probable: counts.retries_probable as f64,
            retries_structural: 0.0,
            hedges: counts.hedges as f64,
            unclassified: counts.unclassified as f64,
            successes: counts.successes as f64,
            failures: counts.failures as f64,
            timeouts: counts.timeouts as f64,
            refused: counts.refused.total() as f64,
            retries_refused: counts.retries_refused as f64,
            in_flight: counts.in_flight as f64,
            seen: counts.attempts() as f64,
            seen_retries: counts.retries() as f64,
        }
    }
}

impl Counts for Tally {
    fn add(&mut self, other: &Self) {
        self.first += other.first;
        self.retries_certain += other.retries_certain;
        self.retries_probable += other.retries_probable;
        self.retries_structural += other.retries_structural;
        self.hedges += other.hedges;
        self.unclassified += other.unclassified;
        self.successes += other.successes;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.refused += other.refused;
        self.retries_refused += other.retries_refused;
        self.in_flight += other.in_flight;
        self.seen += other.seen;
        self.seen_retries += other.seen_retries;
    }
}

/// Requests that one service answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Served {
    /// Requests that came in.
    pub(crate) requests: f64,
    /// Requests that failed.
    pub(crate) failures: f64,
    /// Requests that the caller gave up.
    pub(crate) cancelled: f64,
    /// Requests in the service at the end of the second, as proxies count them.
    pub(crate) in_flight: f64,
    /// Requests that were really seen, as in [`Tally`].
    pub(crate) seen: f64,
}

impl Served {
    /// One request that a span shows.
    pub(crate) fn of_span(outcome: Outcome, weight: f64) -> Self {
        let is = |which| if outcome == which { weight } else { 0.0 };
        Self {
            requests: weight,
            failures: is(Outcome::Failure),
            cancelled: is(Outcome::Timeout),
            in_flight: 0.0,
            seen: 1.0,
        }
    }
}

impl From<&InboundWindow> for Served {
    fn from(window: &InboundWindow) -> Self {
        Self {
            requests: window.requests as f64,
            failures: window.failures as f64,
            cancelled: window.cancelled as f64,
            in_flight: window.in_flight as f64,
            seen: window.requests as f64,
        }
    }
}

impl Counts for Served {
    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.cancelled += other.cancelled;
        self.in_flight += other.in_flight;
        self.seen += other.seen;
    }
}

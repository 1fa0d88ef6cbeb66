//! One edge or one service over the last minute, from proxies and from spans.

use super::ring::Ring;
use super::sparse::{LatencyTotal, SparseLatency, moments_ms};
use super::tally::Counts;

/// Figures are about this many seconds.
pub(crate) const MINUTE: u64 = 60;
/// Windows come late, so somewhat more is kept.
pub(super) const KEPT_SECONDS: u64 = MINUTE + 4;
/// For so long after a proxy's window its silence means "no traffic", and spans still do not
/// count; then they take over.
const COVER_SECONDS: u64 = 10;
/// SDKs send in batches, 5 s apart by default; one that lags further is not waited for.
const SPAN_LAG_MAX_S: u64 = 8;

/// Counts and latencies by second.
///
/// A second is *covered* where a proxy reported it, or one of the ten before. In a covered second
/// only proxies count: their counters see every attempt, while spans may be sampled, late, and of
/// the same attempts. Spans that came first are taken out again. Instances of the same service
/// that have no proxy are then missing from its edge; that is better than to count the others
/// twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track<C> {
    seconds: Ring<Second<C>>,
    latency: LatencyTotal,
    covered_to: Option<u64>,
    span_lag_s: u64,
}

/// One second.
#[derive(Clone, Debug, Default)]
struct Second<C> {
    counts: C,
    latency: SparseLatency,
    is_covered: bool,
}

impl<C: Counts> Track<C> {
    /// Adds a proxy's window. `false` if it is too old to be kept.
    pub(crate) fn add_proxy(&mut self, second: u64, counts: &C, latency: &SparseLatency) -> bool {
        let total = &mut self.latency;
        let Some(cell) = self.seconds.cell_mut(second, |gone| total.subtract(&gone.latency)) else {
            return false;
        };
        if !cell.is_covered {
            total.subtract(&cell.latency);
            *cell = Second { is_covered: true, ..Second::default() };
        }
        cell.counts.add(counts);
        cell.latency.merge(latency);
        total.add(latency);
        if self.covered_to.is_none_or(|to| to < second) {
            self.covered_to = Some(second);
        }
        true
    }

    /// Adds what a span shows, unless proxies cover that second. `latency` may be empty.
    /// `false` if it is too old to be kept.
    pub(crate) fn add_span(&mut self, second: u64, counts: &C, latency: &SparseLatency) -> bool {
        if self.is_covered(second) {
            return true;
        }
        let total = &mut self.latency;
        let Some(cell) = self.seconds.cell_mut(second, |gone| total.subtract(&gone.latency)) else {
            return false;
        };
        cell.counts.add(counts);
        cell.latency.merge(latency);
        total.add(latency);
        true
    }

    /// Spans of `second` came at `now_second`.
    pub(crate) fn note_span_lag(&mut self, second: u64, now_second: u64) {
        let lag = now_second.saturating_sub(second + 1).min(SPAN_LAG_MAX_S);
        self.span_lag_s = self.span_lag_s.max(lag);
    }

    /// Whether only proxies count in `second`.
    pub(crate) fn is_covered(&self, second: u64) -> bool {
        let is_after = |to: u64| to < second && second <= to + COVER_SECONDS;
        self.seconds.get(second).is_some_and(|cell| cell.is_covered)
            || self.covered_to.is_some_and(is_after)
    }

    /// Lets go of what is older than a minute.
    pub(crate) fn age(&mut self, now_second: u64) {
        let total = &mut self.latency;
        self.seconds.forget_before(now_second.saturating_sub(KEPT_SECONDS), |gone| {
            total.subtract(&gone.latency);
        });
    }

    /// The newest second that is as complete as it is going to be soon. Proxies report at the end
    /// of a window: `source_front` is the last second that all of them have reported. Spans come
    /// when their sender's batch is full.
    pub(crate) fn front(&self, now_second: u64, source_front: Option<u64>) -> u64 {
        if self.is_covered(now_second.saturating_sub(2)) {
            let front = source_front.unwrap_or(0);
            front.clamp(now_second.saturating_sub(3), now_second.saturating_sub(1))
        } else {
            now_second.saturating_sub(1 + self.span_lag_s.max(1))
        }
    }

    /// The counts of `second`; `None` where nothing was counted.
    pub(crate) fn at(&self, second: u64) -> Option<&C> {
        self.seconds.get(second).map(|cell| &cell.counts)
    }

    /// The latencies of `second`; `None` where nothing was counted.
    pub(crate) fn latency_at(&self, second: u64) -> Option<&SparseLatency> {
        self.seconds.get(second).map(|cell| &cell.latency)
    }

    /// The sum of the `length` seconds that end with `last`.
    pub(crate) fn sum(&self, last: u64, length: u64) -> C {
        let mut sum = C::default();
        for (_, cell) in self.seconds.range((last + 1).saturating_sub(length), last) {
            sum.add(&cell.counts);
        }
        sum
    }

    /// How many of the `length` seconds that end with `last` have passed since the first count;
    /// `None` where nothing was counted.
    pub(crate) fn known_seconds(&self, last: u64, length: u64) -> Option<f64> {
        let (first, _) = self.seconds.range(0, last).next()?;
        Some((last + 1 - first).min(length) as f64)
    }

    /// One figure for each of the 60 seconds that end with `last`, oldest first; seconds before
    /// the first count are left out.
    pub(crate) fn series(&self, last: u64, figure: impl Fn(&C) -> f64) -> Vec<f64> {
        let zero = C::default();
        let from = (last + 1).saturating_sub(MINUTE);
        let first = self.seconds.range(from, last).next().map_or(last + 1, |(second, _)| second);
        (first..=last).map(|second| figure(self.at(second).unwrap_or(&zero))).collect()
    }

    /// Latencies of the last minute.
    pub(crate) const fn latency(&self) -> &LatencyTotal {
        &self.latency
    }

    /// The newest second in which something was counted.
    pub(crate) const fn newest(&self) -> u64 {
        self.seconds.newest()
    }

    /// Whether nothing is left of the last minute.
    pub(crate) fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }
}

/// Latencies by second, whatever is counted beside them.
pub(crate) trait Latent {
    /// A quantile of each of the 60 seconds that end with `last`, in ms, oldest first; 0 where
    /// nothing ended.
    fn latency_series(&self, last: u64, q: f64) -> Vec<f64>;

    /// Latencies of the `length` seconds that end with `last`.
    fn latency_of(&self, last: u64, length: u64) -> LatencyTotal;

    /// How many latencies the `length` seconds that end with `last` have, their mean and variance, in
    /// ms and ms²; `None` below two.
    fn moments_ms(&self, last: u64, length: u64) -> Option<(f64, f64, f64)>;

    /// Whether proxies measured any of the `length` seconds that end with `last`.
    fn was_covered(&self, last: u64, length: u64) -> bool;
}

impl<C: Counts> Latent for Track<C> {
    fn latency_series(&self, last: u64, q: f64) -> Vec<f64> {
        let from = (last + 1).saturating_sub(MINUTE);
        let first = self.seconds.range(from, last).next().map_or(last + 1, |(second, _)| second);
        let quantile = |second| self.seconds.get(second)?.latency.quantile_ms(q);
        (first..=last).map(|second| quantile(second).unwrap_or(0.0)).collect()
    }

    fn latency_of(&self, last: u64, length: u64) -> LatencyTotal {
        let mut total = LatencyTotal::default();
        for (_, cell) in self.seconds.range((last + 1).saturating_sub(length), last) {
            total.add(&cell.latency);
        }
        total
    }

    fn moments_ms(&self, last: u64, length: u64) -> Option<(f64, f64, f64)> {
        let seconds = self.seconds.range((last + 1).saturating_sub(length), last);
        let buckets = seconds.flat_map(|(_, cell)| cell.latency.buckets());
        moments_ms(buckets.map(|(us, count)| (*us as f64, *count as f64)))
    }

    fn was_covered(&self, last: u64, length: u64) -> bool {
        ((last + 1).saturating_sub(length)..=last).any(|second| self.is_covered(second))
    }
}

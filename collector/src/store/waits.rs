//! How long callers waited before they repeated a request, over the last minute of each edge that has
//! repetitions.
//!
//! As elsewhere, of a second that proxies tell of spans do not count.

use super::ring::Ring;
use super::sparse::{LatencyTotal, SparseLatency};
use super::track::MINUTE;
use crate::observe::Waited;
use fusebox_proto::{Edge, report};
use std::collections::HashMap;

/// Waits of one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RetryWaits {
    /// Before the first repetition of a request.
    first: SparseLatency,
    /// Before later ones.
    later: SparseLatency,
    is_covered: bool,
}

/// Of all edges. There are no more than have tracks: each comes with something that one took, and goes
/// when it is as old.
#[derive(Debug, Default)]
pub(crate) struct Waits(HashMap<Edge, Ring<RetryWaits>>);

impl Waits {
    /// Adds what a proxy tells of `second` on an edge that has a track. Spans that came first are taken
    /// out again.
    pub(super) fn add_proxy(&mut self, edge: &Edge, second: u64, waits: &report::RetryWaits) {
        if let Some(cell) = self.cell(edge, second) {
            if !cell.is_covered {
                *cell = RetryWaits { is_covered: true, ..RetryWaits::default() };
            }
            cell.first.merge(&(&waits.first).into());
            cell.later.merge(&(&waits.later).into());
        }
    }

    /// Adds what a span tells of `second`, unless a proxy did.
    pub(super) fn add_span(&mut self, edge: &Edge, second: u64, waited: Waited, weight: f64) {
        if let Some(cell) = self.cell(edge, second).filter(|cell| !cell.is_covered) {
            let waits = if waited.attempts_before <= 1 { &mut cell.first } else { &mut cell.later };
            waits.merge(&super::sparse(Some(waited.wait_us), weight));
        }
    }

    fn cell(&mut self, edge: &Edge, second: u64) -> Option<&mut RetryWaits> {
        self.0.entry(edge.clone()).or_default().cell_mut(second, |_| ())
    }

    /// Lets go of what is older than a minute.
    pub(super) fn age(&mut self, now_second: u64) {
        self.0.retain(|_, seconds| {
            seconds.forget_before(now_second.saturating_sub(MINUTE + 4), |_| ());
            !seconds.is_empty()
        });
    }

    /// Waits in the `length` seconds that end with `last`: before first repetitions, and before later
    /// ones.
    pub(crate) fn sum(&self, edge: &Edge, last: u64, length: u64) -> [LatencyTotal; 2] {
        let mut sums = [LatencyTotal::default(), LatencyTotal::default()];
        if let Some(seconds) = self.0.get(edge) {
            for (_, waits) in seconds.range((last + 1).saturating_sub(length), last) {
                sums[0].add(&waits.first);
                sums[1].add(&waits.later);
            }
        }
        sums
    }

    /// The median wait before first repetitions in each of the 60 seconds that end with `last`, ms, from
    /// the first known on; 0 where there was none.
    pub(crate) fn series(&self, edge: &Edge, last: u64) -> Vec<f64> {
        let Some(seconds) = self.0.get(edge) else { return Vec::new() };
        let mut known = seconds.range((last + 1).saturating_sub(MINUTE), last);
        let Some((first, _)) = known.next() else { return Vec::new() };
        let median = |second| seconds.get(second)?.first.quantile_ms(0.5);
        (first..=last).map(|second| median(second).unwrap_or(0.0)).collect()
    }
}

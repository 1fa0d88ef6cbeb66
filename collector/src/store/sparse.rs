//! Latency windows that cost only what they hold.
//!
//! A full HDR histogram has 26 KiB, sixty of them for each of thousands of edges are gigabytes; a
//! second of one edge touches a few dozen buckets. So a second keeps its buckets in a sorted list,
//! and the running total of the last minute adds what comes and subtracts what goes.

use fusebox_proto::Latency;
use std::collections::BTreeMap;

/// Latencies of one second: (highest latency of the bucket in µs, count), sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SparseLatency(Vec<(u64, u64)>);

impl From<&Latency> for SparseLatency {
    fn from(latency: &Latency) -> Self {
        Self(latency.buckets().collect())
    }
}

impl SparseLatency {
    /// `count` equal latencies.
    pub(crate) fn of_us(latency_us: u64, count: u64) -> Self {
        Self(vec![(bucket_us(latency_us), count)])
    }

    /// Each of some latencies, µs.
    #[cfg(test)]
    pub(crate) fn of_all(latencies_us: &[u64]) -> Self {
        let mut buckets: Vec<u64> = latencies_us.iter().map(|us| bucket_us(*us)).collect();
        buckets.sort_unstable();
        Self(buckets.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect())
    }

    /// The latency below which the share `q` of all lie, in milliseconds; `None` without any.
    pub(crate) fn quantile_ms(&self, q: f64) -> Option<f64> {
        quantile_ms(self.0.iter().copied(), self.count(), q)
    }

    /// How many latencies were counted.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// How many lie in buckets above that which ends with `limit_us`.
    pub(crate) fn count_above(&self, limit_us: u64) -> u64 {
        let from = self.0.partition_point(|(us, _)| *us <= limit_us);
        self.0[from..].iter().map(|(_, count)| count).sum()
    }

    /// The latency of the `rank`-th from above, in µs: 0 is the longest. `None` if there are fewer.
    pub(crate) fn ranked_us(&self, rank: u64) -> Option<u64> {
        let mut above = 0;
        let found = self.0.iter().rev().find(|(_, count)| {
            above += count;
            rank < above
        });
        found.map(|(us, _)| *us)
    }

    /// Buckets that hold something, as (highest latency of the bucket in µs, count), sorted.
    pub(crate) fn buckets(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Forgets everything, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for &(us, count) in &other.0 {
            match self.0.binary_search_by_key(&us, |bucket| bucket.0) {
                Ok(at) => self.0[at].1 += count,
                Err(at) => self.0.insert(at, (us, count)),
            }
        }
    }
}

/// The highest latency in the bucket of `latency_us`, as [`Latency`] has it: two significant
/// decimal digits are eight bits.
fn bucket_us(latency_us: u64) -> u64 {
    let us = latency_us.clamp(1, fusebox_proto::latency::LATENCY_US_MAX);
    let bits = u64::BITS - (us | 0xff).leading_zeros();
    us | ((1 << (bits - 8)) - 1)
}

/// The sum of many [`SparseLatency`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LatencyTotal {
    buckets: BTreeMap<u64, u64>,
    count: u64,
}

impl LatencyTotal {
    /// Adds a window.
    pub(crate) fn add(&mut self, window: &SparseLatency) {
        for &(us, count) in &window.0 {
            *self.buckets.entry(us).or_default() += count;
            self.count += count;
        }
    }

    /// Takes away a window that was added before.
    pub(crate) fn subtract(&mut self, window: &SparseLatency) {
        for &(us, count) in &window.0 {
            let left = self.buckets.get(&us).copied().unwrap_or(0);
            self.count -= left.min(count);
            if left <= count {
                self.buckets.remove(&us);
            } else {
                self.buckets.insert(us, left - count);
            }
        }
    }

    /// How many latencies were counted.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The latency below which the share `q` of all lie, in milliseconds; `None` below
    /// `samples_min`.
    pub(crate) fn quantile_ms(&self, q: f64, samples_min: u64) -> Option<f64> {
        if self.count < samples_min {
            return None;
        }
        quantile_ms(self.buckets.iter().map(|(us, count)| (*us, *count)), self.count, q)
    }
}

/// Of latencies in buckets of µs: their count, mean and variance, in ms and ms²; `None` below two.
pub(crate) fn moments_ms(buckets: impl Iterator<Item = (f64, f64)>) -> Option<(f64, f64, f64)> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (us, weight) in buckets {
        let ms = us / 1_000.0;
        count += weight;
        sum += weight * ms;
        squares += weight * ms * ms;
    }
    let mean = sum / count;
    (2.0 <= count).then(|| (count, mean, (squares / count - mean * mean).max(0.0)))
}

/// The quantile `q` of `count` latencies in buckets, lowest first.
fn quantile_ms(mut buckets: impl Iterator<Item = (u64, u64)>, count: u64, q: f64) -> Option<f64> {
    let rank = ((q * count as f64).ceil() as u64).max(1);
    let mut below = 0;
    let found = buckets.find(|(_, count)| {
        below += count;
        rank <= below
    });
    found.map(|(us, _)| us as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Scenario: any latencies, as a full histogram and as sparse windows.
        /// Guarantees: buckets and quantiles are those of the histogram, and what was added and
        /// subtracted leaves no trace.
        #[test]
        fn sparse_is_the_histogram(a in prop::collection::vec(0_u64..5_000_000_000, 1..80), b in prop::collection::vec(0_u64..9_000_000, 1..80)) {
            let mut full = Latency::default();
            let mut one_by_one = SparseLatency::default();
            for &us in &a {
                full.record_us(us);
                one_by_one.merge(&SparseLatency::of_us(us, 1));
            }
            prop_assert_eq!(&one_by_one, &SparseLatency::from(&full));
            let mut total = LatencyTotal::default();
            total.add(&one_by_one);
            let before = total.clone();
            let mut other = SparseLatency::default();
            for &us in &b {
                other.merge(&SparseLatency::of_us(us, 2));
            }
            total.add(&other);
            total.subtract(&other);
            prop_assert_eq!(&total, &before);
            for q in [0.01, 0.5, 0.95, 0.99, 1.0] {
                prop_assert_eq!(total.quantile_ms(q, 1), full.quantile_ms(q, 1));
                prop_assert_eq!(one_by_one.quantile_ms(q), full.quantile_ms(q, 1));
            }
        }
    }
}

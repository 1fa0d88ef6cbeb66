//! What is usual in one series: latencies of the last hours, minute by minute.
//!
//! A minute counts two minutes after its end, so that a regression is found before it is taken for
//! usual; the first ones count at once, because before them nothing can be said at all.

use super::super::baseline::{BLOCK_SECONDS, kept_after};
use super::kept::{UsualBaseline, rounded};
use crate::store::{SparseLatency, moments_ms};
use std::collections::VecDeque;

/// So many full minutes wait before the oldest counts.
const WAITING_BLOCKS: usize = 2;
/// And so many at most, while there is doubt.
const WAITING_MAX: usize = 16;
/// No p99 is known from fewer.
pub(super) const SAMPLES_MIN: f64 = 299.0;

/// One minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    /// Its latencies.
    pub(super) latency: SparseLatency,
    /// How many were really seen, of those that were counted: 0 … 1.
    pub(super) seen_share: f64,
    /// ln of how much higher the p99 and the median usually are at its hour.
    pub(super) lifts: [f64; 2],
    seen: f64,
    seconds: u64,
}

/// Latencies of the last hours; the newer, the more they count.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsualLatency {
    /// (highest latency of the bucket in µs, weight), sorted; a latency fits in 32 bits.
    buckets: Vec<(u32, f32)>,
    /// Requests that were counted.
    requests: f64,
    /// Those of them that were really seen.
    seen: f64,
    seconds: f64,
    blocks: u64,
    current: Block,
    waiting: VecDeque<Block>,
}

impl UsualLatency {
    /// As it was kept. What cannot be is left out.
    pub(super) fn restored(kept: &UsualBaseline) -> Self {
        let is_sound = |bucket: &&(u32, f32)| bucket.1.is_finite() && 0.0 < bucket.1;
        let mut buckets: Vec<(u32, f32)> = kept.buckets.iter().filter(is_sound).copied().collect();
        buckets.sort_by_key(|bucket| bucket.0);
        buckets.dedup_by_key(|bucket| bucket.0);
        let weight: f64 = buckets.iter().map(|bucket| f64::from(bucket.1)).sum();
        let requests = kept.requests.max(0.0);
        Self {
            buckets,
            requests,
            seen: kept.seen.clamp(0.0, weight),
            seconds: kept.seconds.max(0.0),
            blocks: kept.minutes,
            ..Self::default()
        }
    }

    /// To be kept.
    pub(super) fn keep(&self) -> UsualBaseline {
        UsualBaseline {
            buckets: self.buckets.iter().map(|&(us, weight)| (us, rounded(weight))).collect(),
            requests: self.requests,
            seen: self.seen,
            seconds: self.seconds,
            minutes: self.blocks,
        }
    }

    /// Takes one second in which nothing was wrong, as far as is known. Where minutes are to be
    /// counted now, [`due`](Self::due) gives them.
    pub(super) fn learn(&mut self, window: Option<&SparseLatency>, seen: f64, lifts: [f64; 2]) {
        self.current.lifts = lifts;
        if let Some(window) = window {
            self.current.latency.merge(window);
        }
        self.current.seen += seen;
        self.current.seconds += 1;
        if self.current.seconds < BLOCK_SECONDS {
            return;
        }
        let mut block = std::mem::take(&mut self.current);
        let count = block.latency.count() as f64;
        block.seen_share = if 0.0 < count { (block.seen / count).min(1.0) } else { 1.0 };
        if WAITING_MAX <= self.waiting.len() {
            self.waiting.pop_front();
        }
        self.waiting.push_back(block);
    }

    /// The next minute that is to be counted: call [`count`](Self::count) with it.
    pub(super) fn due(&mut self) -> Option<Block> {
        let is_due = !self.is_known() || WAITING_BLOCKS < self.waiting.len();
        is_due.then(|| self.waiting.pop_front()).flatten()
    }

    /// Something was wrong: what waits is not counted.
    pub(super) fn discard(&mut self) {
        self.current = Block::default();
        self.waiting.clear();
    }

    /// Counts a minute.
    pub(super) fn count(&mut self, block: &Block) {
        let kept = kept_after(block.seconds);
        for bucket in &mut self.buckets {
            bucket.1 *= kept as f32;
        }
        for &(us, count) in block.latency.buckets() {
            let us = u32::try_from(us).unwrap_or(u32::MAX);
            match self.buckets.binary_search_by_key(&us, |bucket| bucket.0) {
                Ok(at) => self.buckets[at].1 += count as f32,
                Err(at) => self.buckets.insert(at, (us, count as f32)),
            }
        }
        self.buckets.retain(|bucket| 1e-3 < bucket.1);
        self.requests = self.requests * kept + block.latency.count() as f64;
        self.seen = self.seen * kept + block.seen;
        self.seconds = self.seconds * kept + block.seconds as f64;
        self.blocks += 1;
    }

    /// Whether there is enough to speak of a p99.
    pub(crate) fn is_known(&self) -> bool {
        SAMPLES_MIN <= self.seen
    }

    /// How many minutes have been counted since the start.
    pub(crate) const fn minutes(&self) -> u64 {
        self.blocks
    }

    /// Requests that were really seen.
    pub(super) const fn samples(&self) -> f64 {
        self.seen
    }

    /// Requests per second; `None` before the first minute.
    pub(crate) fn rate(&self) -> Option<f64> {
        (0.0 < self.seconds).then(|| self.requests / self.seconds)
    }

    /// Their weight, mean and variance, in ms and ms².
    pub(crate) fn moments_ms(&self) -> Option<(f64, f64, f64)> {
        moments_ms(self.buckets.iter().map(|(us, weight)| (f64::from(*us), f64::from(*weight))))
    }

    /// The highest latency of the bucket in which the `rank`-th of `n` from above lies, in µs.
    pub(super) fn ranked_us(&self, rank: u64, n: f64) -> Option<u64> {
        let share = (rank as f64 + 0.5) / n;
        let wanted = share * self.weight();
        let mut above = 0.0;
        let found = self.buckets.iter().rev().find(|(_, weight)| {
            above += f64::from(*weight);
            wanted <= above
        });
        found.map(|(us, _)| u64::from(*us))
    }

    /// The latency below which the share `q` lies, in ms.
    pub(crate) fn quantile_ms(&self, q: f64) -> Option<f64> {
        let us = self.ranked_us(((1.0 - q) * self.seen) as u64, self.seen)?;
        Some(us as f64 / 1_000.0)
    }

    /// The share that lies above `limit_us`.
    pub(super) fn share_above(&self, limit_us: u64) -> f64 {
        let from = self.buckets.partition_point(|(us, _)| u64::from(*us) <= limit_us);
        let above: f64 = self.buckets[from..].iter().map(|(_, weight)| f64::from(*weight)).sum();
        above / self.weight().max(1e-9)
    }

    fn weight(&self) -> f64 {
        self.buckets.iter().map(|(_, weight)| f64::from(*weight)).sum()
    }
}

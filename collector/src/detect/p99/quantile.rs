//! The test on one quantile of a series: do more requests take longer than it than used to?

use super::super::baseline::Envelope;
use super::super::sequential::{Bet, Evidence, Onset};
use super::heights::Heights;
use super::hours::Hours;
use super::kept::QuantileBaseline;
use super::rank;
use super::usual::{Block, UsualLatency};
use crate::store::SparseLatency;
use std::collections::VecDeque;

/// A second counts for so much at most: alone, none raises an alarm, nor do a few in ten minutes.
const LN_RATIO_MAX: f64 = 2.0;
/// The share that is usual is no higher than this: beyond it there is nothing to bet on.
const SHARE_MAX: f64 = 0.9;
/// So many times as slow is worth a word, beyond both bounds.
pub(crate) const EFFECT: f64 = 1.1;
/// A regression is slower by this at least, in µs.
pub(crate) const EFFECT_US_MIN: f64 = 1_000.0;
/// It must still be there: more than usual in both halves of so many seconds, or of more where
/// few requests come.
const HELD_SECONDS: [usize; 4] = [10, 20, 30, 60];
/// Seconds are enough if so many slow requests would be usual in them.
const HELD_HITS: f64 = 2.0;
/// A regression is over once ln of the evidence for that is so much.
const LN_OVER: f64 = 10.0;
/// And a second counts for so much there: it takes ten to be over.
const LN_OVER_RATIO_MAX: f64 = 1.0;

/// Which quantile, and what is bet on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) q: f64,
    /// Whether it is held against the median.
    is_tail: bool,
    bet: Bet,
    /// Fewer requests since it began prove nothing.
    samples_min: u64,
}

/// The tail, by what the middle does not explain: that the whole series wanders moves both.
pub(super) const P99: Kind = Kind {
    q: 0.99,
    is_tail: true,
    bet: Bet { multiples: [2.0, 4.0, 8.0, 16.0], ln_ratio_max: LN_RATIO_MAX },
    samples_min: 299,
};
/// The middle: finds what slows all requests, sooner where few come.
pub(super) const P50: Kind = Kind {
    q: 0.5,
    is_tail: false,
    bet: Bet { multiples: [1.2, 1.4, 1.6, 1.8], ln_ratio_max: LN_RATIO_MAX },
    samples_min: 29,
};

/// The test on one quantile of one series.
#[derive(Clone, Debug)]
pub(super) struct Quantile {
    kind: Kind,
    /// The quantile is no higher than this, µs; `None` before it is known.
    limit_us: Option<u64>,
    /// The share above it that is usual.
    p0: f64,
    /// ln of how much higher it usually is at this hour than in the last hours; of the tail, beyond
    /// what the median is.
    lift: f64,
    envelope: Envelope,
    /// The quantile itself, minute by minute; of the tail as a multiple of the median.
    heights: Heights,
    /// Minutes with too few requests for a height.
    few: SparseLatency,
    evidence: Evidence,
    onset: Onset,
    latency: SparseLatency,
    /// Requests, and slow ones among them, of the last minute.
    recent: VecDeque<(f32, f32)>,
    over: f64,
}

impl Quantile {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            limit_us: None,
            p0: 0.0,
            lift: 0.0,
            envelope: Envelope::default(),
            heights: Heights::default(),
            few: SparseLatency::default(),
            evidence: Evidence::default(),
            onset: Onset::default(),
            latency: SparseLatency::default(),
            recent: VecDeque::new(),
            over: 0.0,
        }
    }

    /// One that wandered as it was kept; [`aim`](Self::aim) makes it whole.
    pub(super) fn restored(kind: Kind, kept: &QuantileBaseline) -> Self {
        let envelope = Envelope::restored(&kept.beyond);
        Self { envelope, heights: Heights::restored(&kept.heights), ..Self::new(kind) }
    }

    /// How it wanders, to be kept.
    pub(super) fn keep(&self) -> QuantileBaseline {
        QuantileBaseline { beyond: self.envelope.keep(), heights: self.heights.keep() }
    }

    /// A minute is about to be counted: what of it is beyond the limit is usual. `lift`: as it was
    /// in that minute.
    pub(super) fn allow(&mut self, block: &Block, lift: f64) {
        if let Some(limit_us) = self.limit_us {
            let seen = |count: u64| count as f64 * block.seen_share;
            let beyond = seen(block.latency.count_above(limit_us));
            self.envelope.add_block(beyond, seen(block.latency.count()));
        }
        self.few.merge(&block.latency);
        if self.kind.samples_min <= self.few.count() {
            if let Some((ln_height, variance)) = self.height(&self.few) {
                self.heights.add(ln_height - lift, variance);
            }
            self.few.clear();
        }
    }

    /// ln of how high the quantile is, of the tail as a multiple of the median, and its variance.
    fn height(&self, latency: &SparseLatency) -> Option<(f64, f64)> {
        let q = self.kind.q;
        let n = latency.count() as f64;
        let ln_at = |rank: u64| Some((latency.ranked_us(rank)?.max(1) as f64).ln());
        let ln = ln_at((n * (1.0 - q)) as u64)?;
        let (upper, lower) = (ln_at(rank::upper(n, q)?)?, ln_at(rank::lower(n, q)?)?);
        let variance = ((upper - lower) / (2.0 * rank::SURE_Z)).powi(2);
        let middle = if self.kind.is_tail { ln_at((n / 2.0) as u64)? } else { 0.0 };
        Some((ln - middle, variance))
    }

    /// Takes aim anew: what is usual has changed. `hour_us`: at this hour the quantile is usually
    /// no higher than this, and the median higher by `median_lift` (ln).
    pub(super) fn aim(&mut self, usual: &UsualLatency, hour_us: Option<u64>, median_lift: f64) {
        let n = usual.samples();
        let rank = if usual.is_known() { rank::upper(n, self.kind.q) } else { None };
        let usual_us = rank.and_then(|rank| usual.ranked_us(rank, n));
        self.limit_us = usual_us.map(|us| us.max(hour_us.unwrap_or(0)));
        let Some(limit_us) = self.limit_us else { return };
        let mut share = rank::share_upper(usual.share_above(limit_us) * n, n);
        self.lift = 0.0;
        if let (Some(usual_us), Some(hour_us)) = (usual_us, hour_us)
            && usual_us < hour_us
        {
            share = share.max(Hours::share_above(self.kind.q));
            self.lift = ((hour_us as f64 / usual_us.max(1) as f64).ln() - median_lift).max(0.0);
        }
        self.p0 = self.envelope.upper().map_or(share, |upper| upper.max(share)).min(SHARE_MAX);
    }

    /// Takes a second. `seen_share`: of the latencies that are counted, so many were really seen.
    pub(super) fn step(&mut self, second: u64, window: &SparseLatency, seen_share: f64) {
        let Some(limit_us) = self.limit_us else { return };
        let (n, hits) = self.count(window, seen_share, limit_us);
        let Kind { bet, .. } = self.kind;
        self.evidence.step(n, hits, self.p0, &bet);
        if self.onset.step(second, bet.ln_ratio(n, hits, self.p0, bet.multiples[0])) {
            self.latency.clear();
        }
        self.latency.merge(window);
    }

    /// Takes a second of a regression that this test has found.
    pub(super) fn follow(&mut self, window: &SparseLatency, seen_share: f64) {
        let Some(limit_us) = self.limit_us else { return };
        let (n, hits) = self.count(window, seen_share, limit_us);
        self.latency.merge(window);
        let count = self.latency.count().max(1) as f64;
        let is = self.latency.count_above(limit_us) as f64 / count;
        // Halfway between what is usual and what it was.
        let p1 = f64::midpoint(self.p0, is).clamp(1.05 * self.p0, 0.95);
        let others = n - hits;
        let ln_ratio = hits * (self.p0 / p1).ln() + others * ((1.0 - self.p0) / (1.0 - p1)).ln();
        self.over = (self.over.exp().ln_1p() + ln_ratio.min(LN_OVER_RATIO_MAX)).max(-30.0);
    }

    fn count(&mut self, window: &SparseLatency, seen_share: f64, limit_us: u64) -> (f64, f64) {
        let n = window.count() as f64 * seen_share;
        let hits = window.count_above(limit_us) as f64 * seen_share;
        if HELD_SECONDS[HELD_SECONDS.len() - 1] <= self.recent.len() {
            self.recent.pop_front();
        }
        self.recent.push_back((n as f32, hits as f32));
        (n, hits)
    }

    /// Whether a regression is shown.
    pub(super) fn is_slow(&self, ln_alarm: f64) -> bool {
        ln_alarm <= self.evidence.ln() && self.has_effect() && self.is_held()
    }

    /// Beyond both bounds, by enough.
    fn has_effect(&self) -> bool {
        let Some(limit_us) = self.limit_us else { return false };
        let count = self.latency.count();
        let lower = rank::lower(count as f64, self.kind.q);
        let Some(is_us) = lower.and_then(|rank| self.latency.ranked_us(rank)) else {
            return false;
        };
        let wandered = self.heights.upper().and_then(|ln| {
            let middle_us = if self.kind.is_tail { self.latency.ranked_us(count / 2)? } else { 1 };
            Some((ln + self.lift).exp() * middle_us as f64)
        });
        let was_us = wandered.unwrap_or(0.0).max(limit_us as f64);
        self.kind.samples_min <= count
            && was_us + EFFECT_US_MIN <= is_us as f64
            && EFFECT * was_us <= is_us as f64
    }

    fn is_held(&self) -> bool {
        let sum = |from: usize, to: usize| {
            let newest_first = self.recent.iter().rev().skip(from).take(to - from);
            newest_first
                .fold((0.0, 0.0), |sum, one| (sum.0 + f64::from(one.0), sum.1 + f64::from(one.1)))
        };
        let is_enough = |seconds: &&usize| HELD_HITS <= self.p0 * sum(0, **seconds).0;
        let seconds = HELD_SECONDS.iter().find(is_enough).copied();
        let seconds = seconds.unwrap_or(HELD_SECONDS[HELD_SECONDS.len() - 1]);
        let halves = [sum(0, seconds / 2), sum(seconds / 2, seconds)];
        halves.iter().all(|(n, hits)| self.p0 * n < *hits)
    }

    /// Whether a regression that this test has found is over.
    pub(super) fn is_over(&self) -> bool {
        LN_OVER <= self.over
    }

    /// ln of how much higher it usually is at this hour.
    pub(super) const fn lift(&self) -> f64 {
        self.lift
    }

    /// Evidence, ln.
    pub(super) fn ln_evidence(&self) -> f64 {
        self.evidence.ln()
    }

    /// The second in which it began.
    pub(super) const fn since(&self) -> u64 {
        self.onset.since()
    }

    /// Forgets what was found; what is usual stays.
    pub(super) fn forget(&mut self) {
        self.evidence = Evidence::default();
        self.onset.forget();
        self.over = 0.0;
        self.latency.clear();
        self.recent.clear();
    }
}

//! Is it worse after than before? In nats, against a baseline that is not trusted to be calm.
//!
//! A sample is *bad* where it exceeds a quantile of the baseline by 10 % and 1 ms. After the onset
//! `x` of `n` samples are bad, where the baseline lets one expect a share of at most `p`; then the
//! evidence is `n · KL(x/n ‖ p)`, the exponent of Chernoff's bound on the binomial tail, which holds
//! for any `n`: four requests can be enough, if all four are beyond what eighty were.
//!
//! Real baselines wander, stall, and contain incidents that are over. So `p` is the envelope: what
//! the worst blocks of the baseline showed, and its last block; and `x/n` is what the best blocks
//! after the onset still show, the first and the last among them. What was over before the end, or
//! began later, or was there before, has no evidence.
//!
//! Requests are not independent: a page sends twenty at once, a stall of the machine slows all that
//! happen in it. For a guess they are taken as if they were; for a verdict one *moment* says no more
//! than that it is none of those which are disturbed in the baseline too. So 200 s without a
//! disturbance allow 2.4 nats for each 10 s after, however many requests were in them. A cap only
//! lowers the evidence: the bound holds.

use super::series::Series;

/// Fewer samples before are no baseline: a bad share below 5 % could not be told from none.
pub(super) const BEFORE_MIN: usize = 20;
/// Fewer samples after say nothing, whatever they are.
pub(super) const AFTER_MIN: usize = 3;
/// A block of the baseline has so many samples: fewer have no share, more hide a stall.
const BLOCK_LEN: std::ops::RangeInclusive<usize> = 20..=60;
/// After the onset there are four blocks or more, of at least so many samples.
const BLOCK_LEN_AFTER_MIN: usize = 4;
/// Blocks within this share of all count as the worst.
const ENVELOPE: f64 = 0.025;
/// What happens within so long happens once: a garbage collection, a neighbour's burst, a page.
const MOMENT_NS: u64 = 10_000_000_000;
/// A moment is disturbed from this part of what is seen now.
const DISTURBED: f64 = 0.5;
/// Quantiles of the baseline that are tried; the evidence pays for the choice.
const QUANTILES: [f64; 5] = [0.5, 0.75, 0.9, 0.97, 1.0];
/// The effect gate: slower by less than this is nobody's incident.
const GATE_RATIO: f32 = 1.1;
/// As above, ms.
pub(super) const GATE_MS: f32 = 1.0;

/// What is taken to be independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Requests: enough for a guess, and for the search of the onset.
    Requests,
    /// Moments only: what a verdict needs. Never more evidence than of requests.
    Moments,
}

/// Evidence that the samples from `split` on take longer than those before, nats; not above zero
/// where there is none.
pub(super) fn slower(series: &Series, split: usize, trust: Trust) -> f64 {
    let mut sorted = series.order.iter().filter(|at| (**at as usize) < split);
    let (mut best, mut passed) = (0.0_f64, 0);
    for quantile in QUANTILES {
        let rank = ((quantile * split as f64) as usize).min(split - 1);
        // The same sample again where there are few.
        let Some(at) = rank.checked_sub(passed).and_then(|skip| sorted.nth(skip)) else { continue };
        passed = rank + 1;
        let limit = series.values[*at as usize] * GATE_RATIO + GATE_MS;
        best = best.max(more_often(series, split, limit, trust));
    }
    best - (QUANTILES.len() as f64).ln()
}

/// Evidence that more of the samples from `split` on exceed `limit` than of those before, nats.
pub(super) fn more_often(series: &Series, split: usize, limit: f32, trust: Trust) -> f64 {
    let (before, after) = series.values.split_at(split);
    let now = share_after(after, limit);
    let expected = share_expected(before, after.len(), limit);
    if now <= expected {
        return 0.0;
    }
    let nats = after.len() as f64 * divergence(now, expected);
    match trust {
        Trust::Requests => nats,
        Trust::Moments => nats.min(by_moments(series, split, limit, (now, expected))),
    }
}

/// The log-likelihood ratio of the shares `now` and `expected`, moment by moment, each capped.
fn by_moments(series: &Series, split: usize, limit: f32, (now, expected): (f64, f64)) -> f64 {
    let (before, after) = series.values.split_at(split);
    let (then, since) = series.at_ns.split_at(split);
    let earlier: Vec<f64> =
        moments(before, then, limit).map(|(good, bad)| bad / (good + bad)).collect();
    let disturbed = earlier.iter().filter(|share| now * DISTURBED <= **share).count() as f64;
    let cap = -upper(disturbed, earlier.len() as f64).min(1.0).ln();
    let of_bad = (now / expected).ln();
    let of_good = ((1.0 - now) / (1.0 - expected)).max(f64::MIN_POSITIVE).ln();
    let later = moments(after, since, limit);
    later.map(|(good, bad)| (good * of_good + bad * of_bad).min(cap)).sum()
}

/// Of each moment in which there are samples, how many do not exceed `limit`, and how many do.
fn moments(values: &[f32], at_ns: &[u64], limit: f32) -> impl Iterator<Item = (f64, f64)> {
    let mut rest = values;
    at_ns.chunk_by(|a, b| a / MOMENT_NS == b / MOMENT_NS).map(move |of_moment| {
        let (here, later) = rest.split_at(of_moment.len());
        rest = later;
        let bad = here.iter().filter(|value| limit < **value).count();
        ((here.len() - bad) as f64, bad as f64)
    })
}

/// Laplace's estimate of a share, and one standard error: it is never known to be zero.
fn upper(hits: f64, count: f64) -> f64 {
    let mean = (hits + 1.0) / (count + 2.0);
    mean + (mean * (1.0 - mean) / count).sqrt()
}

/// The share above `limit`.
pub(super) fn share(values: &[f32], limit: f32) -> f64 {
    let count = values.iter().filter(|value| limit < **value).count();
    count as f64 / values.len().max(1) as f64
}

/// The largest share that the baseline lets one expect.
fn share_expected(before: &[f32], after_len: usize, limit: f32) -> f64 {
    let len = before.len() as f64;
    let mean = upper(share(before, limit) * len, len);
    let block_len = after_len.clamp(*BLOCK_LEN.start(), *BLOCK_LEN.end());
    if before.len() < 2 * block_len {
        return mean.min(0.98);
    }
    let mut shares = shares(before, block_len, limit);
    let last = shares[shares.len() - 1];
    mean.max(last).max(ranked(&mut shares, 1.0 - ENVELOPE)).min(0.98)
}

/// The smallest share that holds throughout.
fn share_after(after: &[f32], limit: f32) -> f64 {
    let mean = share(after, limit);
    if after.len() < 2 * BLOCK_LEN_AFTER_MIN {
        return mean;
    }
    let block_len = (after.len() / 4).clamp(BLOCK_LEN_AFTER_MIN, *BLOCK_LEN.end());
    let mut shares = shares(after, block_len, limit);
    let (first, last) = (shares[0], shares[shares.len() - 1]);
    mean.min(first).min(last).min(ranked(&mut shares, ENVELOPE))
}

/// The share above `limit` in each block of about `block_len` samples.
fn shares(values: &[f32], block_len: usize, limit: f32) -> Vec<f64> {
    let blocks = (values.len() / block_len).max(1);
    let cut = |block: usize| values.len() * block / blocks;
    (0..blocks).map(|block| share(&values[cut(block)..cut(block + 1)], limit)).collect()
}

fn ranked(shares: &mut [f64], quantile: f64) -> f64 {
    shares.sort_unstable_by(f64::total_cmp);
    shares[(quantile * (shares.len() - 1) as f64).round() as usize]
}

/// Kullback–Leibler divergence of two coins, nats.
fn divergence(now: f64, expected: f64) -> f64 {
    let term = |now: f64, expected: f64| if now <= 0.0 { 0.0 } else { now * (now / expected).ln() };
    term(now, expected) + term(1.0 - now, 1.0 - expected)
}

/// How much slower it got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Effect {
    /// Mean of log2 of the quantiles' ratio, less twice the baseline's own drift.
    pub(super) doublings: f64,
    /// Mean difference of the quantiles, ms.
    pub(super) excess_ms: f64,
}

/// Compares quantiles from p10 to p95. The smallest of three ratios counts, so that a slope is no
/// step: against all of the baseline, against its later half, and of the first after the onset
/// against the last before. And twice what the baseline drifted by itself, from half to half, is
/// taken off: a trend goes on.
pub(super) fn effect(before: &[f32], after: &[f32]) -> Effect {
    let (early, late) = before.split_at(before.len() / 2);
    let last = &before[before.len() - (before.len() / 8).clamp(BEFORE_MIN, before.len())..];
    let first = &after[..(after.len() / 4).max(10).min(after.len())];
    let [all, late, early] = [before, late, early].map(quantiles);
    let now = quantiles(after);
    let step = doublings(&quantiles(first), &quantiles(last));
    let drift = doublings(&late, &early).abs();
    let smallest = doublings(&now, &all).min(doublings(&now, &late)).min(step);
    let excess = now.iter().zip(&all).map(|(now, then)| now - then).sum::<f64>();
    Effect { doublings: smallest - 2.0 * drift, excess_ms: excess / now.len() as f64 }
}

const GRID: usize = 18;

/// p10, p15, … p95, each between two samples.
fn quantiles(values: &[f32]) -> [f64; GRID] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    std::array::from_fn(|at| between(&sorted, 0.10 + 0.05 * at as f64))
}

/// The median.
pub(super) fn median(values: &[f32]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    between(&sorted, 0.5)
}

fn between(sorted: &[f32], quantile: f64) -> f64 {
    let place = quantile * sorted.len().saturating_sub(1) as f64;
    let at = |at: usize| sorted.get(at).or(sorted.last()).map_or(0.0, |value| f64::from(*value));
    let (low, high) = (at(place as usize), at(place as usize + 1));
    low + (high - low) * place.fract()
}

/// Mean of log2 of the ratios. 0.1 ms on both sides: below, clocks and schedulers decide.
fn doublings(now: &[f64; GRID], then: &[f64; GRID]) -> f64 {
    let floor_ms = 0.1;
    let ratio = |(now, then): (&f64, &f64)| ((now + floor_ms) / (then + floor_ms)).log2();
    now.iter().zip(then).map(ratio).sum::<f64>() / GRID as f64
}

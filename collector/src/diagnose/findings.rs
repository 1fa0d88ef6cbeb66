//! What is worse since an onset, series by series; and the onset itself.

use super::evidence::{self, AFTER_MIN, BEFORE_MIN, Effect, GATE_MS, Trust};
use super::series::{Measure, Series};

/// A slowdown by less than this is not looked at: ×1.1, the effect gate.
const DOUBLINGS_MIN: f64 = 0.15;
/// More than ×4 weighs no more than ×4 when the onset is sought.
const DOUBLINGS_MAX: f64 = 2.0;
/// A set of calls that more than this share made before is a habit: then it is the mix that
/// changed.
const HABIT: f64 = 0.05;
/// An increase of the failing share by less than this is no surge.
const SURGE_MIN: f64 = 0.02;
/// First as many onsets are tried, then as many again on each side of the best.
const COARSE: u64 = 64;
const FINE: u64 = 6;
/// Of what began just now, onsets are tried so far from each other: one further from the truth than this
/// has too much of what is worse before it, or too much of what is well after it.
const RECENT_STEP_NS: u64 = 1_000_000_000;
/// Onsets closer to each other than this are not told apart.
const STEP_NS_MIN: u64 = 500_000_000;

/// How near to the end an onset is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The last one is so long before the end, ns, or a tenth of the time.
    pub(super) length_ns: u64,
    /// Whether of the last moments each second is tried: in a long time steps are of many seconds.
    pub(super) is_fine: bool,
}

/// One series that got worse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    /// Which series.
    pub(super) series: usize,
    /// Evidence beyond chance if requests are independent, nats; above zero.
    pub(super) nats: f64,
    /// For times.
    pub(super) effect: Effect,
    /// For times: the sum over all calls since, ms.
    pub(super) excess_ms: f64,
    /// For failures and sets of calls: the share of requests before and after.
    pub(super) shares: (f64, f64),
}

impl Finding {
    /// What it weighs when the onset is sought: evidence, and for times the effect squared, since
    /// weak shifts are many and faults are strong.
    pub(super) fn weight(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Time => self.nats * self.effect.doublings.min(DOUBLINGS_MAX).powi(2),
            Measure::Failed | Measure::Shape { .. } => self.nats,
        }
    }
}

/// What was compared, and what was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    /// The findings, in the order of the series.
    pub(super) findings: Vec<Finding>,
    /// Among so many series, one has so much evidence by chance, nats: Bonferroni's.
    pub(super) chance: f64,
    /// For each series of times whether there was enough to compare.
    pub(super) is_compared: Vec<bool>,
}

impl Comparison {
    /// The sum of the weights.
    pub(super) fn weight(&self, all: &[Series]) -> f64 {
        self.findings.iter().map(|finding| finding.weight(all[finding.series].measure)).sum()
    }
}

/// Evidence beyond chance of what was found in `series`, if only moments are independent, nats.
pub(super) fn firm_nats(series: &Series, onset_ns: u64, chance: f64) -> f64 {
    let split = series.before(onset_ns);
    let nats = match series.measure {
        Measure::Time => evidence::slower(series, split, Trust::Moments),
        _ => evidence::more_often(series, split, 0.0, Trust::Moments),
    };
    nats - chance
}

/// Compares all series at `onset_ns`.
pub(super) fn compare(all: &[Series], onset_ns: u64) -> Comparison {
    let is_enough = |series: &Series| {
        let split = series.before(onset_ns);
        BEFORE_MIN <= split && AFTER_MIN <= series.values.len() - split
    };
    let is_compared: Vec<bool> = all.iter().map(is_enough).collect();
    let times = all.iter().zip(&is_compared);
    let times = times.filter(|(series, is)| **is && series.measure == Measure::Time).count();
    let chance = (times.max(1) as f64).ln();
    let findings = (0..all.len()).filter(|at| is_compared[*at]);
    let findings = findings.filter_map(|at| finding(all, at, onset_ns, chance)).collect();
    Comparison { findings, chance, is_compared }
}

fn finding(all: &[Series], at: usize, onset_ns: u64, chance: f64) -> Option<Finding> {
    let series = &all[at];
    let split = series.before(onset_ns);
    let (before, after) = series.values.split_at(split);
    let none = Effect { doublings: 0.0, excess_ms: 0.0 };
    if series.measure == Measure::Time {
        let nats = evidence::slower(series, split, Trust::Requests) - chance;
        if nats <= 0.0 {
            return None;
        }
        let effect = evidence::effect(before, after);
        let calls: f32 = series.calls[split..].iter().sum();
        let is_real = DOUBLINGS_MIN < effect.doublings && f64::from(GATE_MS) < effect.excess_ms;
        let excess_ms = effect.excess_ms * f64::from(calls);
        return is_real.then_some(Finding {
            series: at,
            nats,
            effect,
            excess_ms,
            shares: (0.0, 0.0),
        });
    }
    let shares = (evidence::share(before, 0.0), evidence::share(after, 0.0));
    let is_news = match series.measure {
        Measure::Shape { .. } => shares.0 <= HABIT,
        _ => SURGE_MIN <= shares.1 - shares.0,
    };
    if !is_news {
        return None;
    }
    let nats = evidence::more_often(series, split, 0.0, Trust::Requests) - chance;
    (0.0 < nats).then_some(Finding { series: at, nats, effect: none, excess_ms: 0.0, shares })
}

/// The onset between `from_ns` and the end of the capture, since when most is worse, and how many
/// were tried; `None` where nothing is worse since any.
pub(super) fn onset(
    all: &[Series],
    (from_ns, end_ns): (u64, u64),
    tail: Tail,
) -> (Option<u64>, u64) {
    let tail_ns = tail.length_ns.min(end_ns.saturating_sub(from_ns) / 10);
    search(all, (from_ns, end_ns.saturating_sub(tail_ns)), tail.is_fine)
}

/// As [`onset`], no further than `reach_ns` from one that was named.
pub(super) fn onset_near(
    all: &[Series],
    named_ns: u64,
    reach_ns: u64,
    (from_ns, end_ns): (u64, u64),
) -> (Option<u64>, u64) {
    let from_ns = named_ns.saturating_sub(reach_ns).max(from_ns);
    search(all, (from_ns, named_ns.saturating_add(reach_ns).min(end_ns)), false)
}

fn search(all: &[Series], (from_ns, to_ns): (u64, u64), is_fine: bool) -> (Option<u64>, u64) {
    let step_ns = (to_ns.saturating_sub(from_ns) / COARSE).max(STEP_NS_MIN);
    let mut tried = 0;
    let mut best: Option<(f64, u64)> = None;
    let mut attempt = |at_ns: u64| {
        tried += 1;
        let weight = compare(all, at_ns).weight(all);
        if 0.0 < weight && best.is_none_or(|(most, _)| most < weight) {
            best = Some((weight, at_ns));
        }
        best
    };
    let mut found = None;
    let recent_ns = if is_fine { 2 * step_ns } else { 0 };
    let recent_ns = to_ns.saturating_sub(recent_ns).max(from_ns)..to_ns;
    let coarse = (from_ns..=to_ns).step_by(step_ns as usize);
    for at_ns in coarse.chain(recent_ns.step_by(RECENT_STEP_NS as usize)) {
        found = attempt(at_ns);
    }
    if let Some((_, middle_ns)) = found {
        let fine_ns = (step_ns / FINE).max(1);
        let first_ns = middle_ns.saturating_sub(step_ns).max(from_ns);
        for at_ns in
            (first_ns..middle_ns.saturating_add(step_ns).min(to_ns)).step_by(fine_ns as usize)
        {
            found = attempt(at_ns);
        }
    }
    (found.map(|(_, at_ns)| at_ns), tried)
}

//! How high a quantile is from minute to minute: what of its ups and downs is usual.
//!
//! A minute's quantile differs from the next one's by chance, because a minute has so many requests,
//! and because everything wanders: caches, neighbours, the hour. The bounds of [`super::rank`] know the
//! first part only. The second is what remains of the variance of the minutes, as variance between
//! studies is what is beyond that within them (R. `DerSimonian`, N. Laird, *Meta-analysis in clinical
//! trials*, 1986); here in logarithms, since latencies wander by factors.

use super::super::baseline::KEPT_MINUTES;
use super::kept::rounded;
use std::collections::VecDeque;

/// Minutes that are remembered: four hours.
const MINUTES_MAX: usize = 240;
/// Before anything is known, minutes are taken to wander by this much (standard deviation, ln) ...
const PRIOR: f64 = 0.04;
/// ... which counts as much as so many minutes.
const PRIOR_MINUTES: f64 = 10.0;
/// Minutes in a row are alike: so many say as much about the mean as one.
const ALIKE_MINUTES: f64 = 3.0;
/// By so many standard deviations nothing wanders: a thousand series have 1.4 million minutes in a day,
/// and their standard deviations are known to a tenth or so.
const DEVIATIONS: f64 = 5.5;

/// Heights of the last minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Heights {
    /// (ln of the height, its variance by chance)
    minutes: VecDeque<(f32, f32)>,
}

impl Heights {
    /// As they were kept. What cannot be is left out.
    pub(super) fn restored(minutes: &[(f32, f32)]) -> Self {
        let is_sound = |(height, variance): &&(f32, f32)| {
            height.is_finite() && variance.is_finite() && 0.0 <= *variance
        };
        Self { minutes: minutes.iter().filter(is_sound).take(MINUTES_MAX).copied().collect() }
    }

    /// The newest, to be kept.
    pub(super) fn keep(&self) -> Vec<(f32, f32)> {
        let newest = self.minutes.iter().skip(self.minutes.len().saturating_sub(KEPT_MINUTES));
        newest.map(|&(height, variance)| (rounded(height), rounded(variance))).collect()
    }

    /// Takes a minute in which nothing was wrong.
    pub(super) fn add(&mut self, ln_height: f64, variance: f64) {
        if MINUTES_MAX <= self.minutes.len() {
            self.minutes.pop_front();
        }
        self.minutes.push_back((ln_height as f32, variance as f32));
    }

    /// ln of the height that is not reached by wandering; `None` before the first minute.
    pub(super) fn upper(&self) -> Option<f64> {
        let n = self.minutes.len() as f64;
        let mean = self.minutes.iter().map(|(height, _)| f64::from(*height)).sum::<f64>() / n;
        let beyond = self.minutes.iter().map(|(height, variance)| {
            (f64::from(*height) - mean).powi(2) - f64::from(*variance) * (1.0 - 1.0 / n)
        });
        let beyond = beyond.sum::<f64>() + PRIOR_MINUTES * PRIOR * PRIOR;
        let wander = beyond.max(0.0) / (PRIOR_MINUTES + n - 1.0);
        let of_mean = 1.0 + ALIKE_MINUTES / n;
        (0.0 < n).then(|| mean + DEVIATIONS * (wander * of_mean).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: minutes that differ by chance only, that wander, few and many of them, and more than
    /// are remembered.
    /// Guarantees: chance alone hardly raises the bound beyond the mean; wandering does, by so many of its
    /// own standard deviations; one minute leaves room for what is not known yet; what is older than four
    /// hours is forgotten.
    #[test]
    fn bounds_of_heights() {
        let upper = |heights: &[f64], variance: f64| {
            let mut all = Heights::default();
            for height in heights {
                all.add(*height, variance);
            }
            all.upper()
        };
        let check = |heights: &[f64], variance: f64, expected: f64| {
            let upper = upper(heights, variance).unwrap();
            assert!((upper - expected).abs() < 0.01, "{upper} for {expected}");
        };
        assert_eq!(upper(&[], 0.0), None);
        let around = |by: f64, minutes: usize| [by, -by].repeat(minutes / 2);
        check(&[1.0], 0.01, 1.0 + 5.5 * 0.04 * 2.0);
        check(&around(0.1, 240), 0.01, 0.056);
        check(&around(0.1, 240), 0.0, 5.5 * 0.1);
        check(&[around(1.0, 240), around(0.1, 240)].concat(), 0.0, 5.5 * 0.1);
        assert!(upper(&around(0.1, 4), 0.0) < upper(&around(0.1, 40), 0.0));
    }
}

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
/// Minutes in a row are alike: so many say as much as one. What wanders within 100 s makes minutes that
/// correlate by 0.55 = r, and (1 + r) / (1 - r) of them.
const ALIKE_MINUTES: f64 = 3.5;
/// By so many standard deviations nothing wanders: a thousand series have 1.4 million minutes in a day,
/// and their variances are known to a fifth or so.
const DEVIATIONS: f64 = 5.5;
const VARIANCE_KNOWN_TO: f64 = 0.2;

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
        let spread = self.minutes.iter().map(|(height, _)| (f64::from(*height) - mean).powi(2));
        let spread: f64 = spread.sum();
        let chance: f64 = self.minutes.iter().map(|(_, variance)| f64::from(*variance)).sum();
        let beyond = spread - chance * (1.0 - 1.0 / n) + PRIOR_MINUTES * PRIOR * PRIOR;
        // Of few minutes the spread is known worse than that, and what remains of it is, too: a standard
        // error more.
        let known_to = (2.0 * ALIKE_MINUTES / n).sqrt();
        let doubt = spread * (known_to - VARIANCE_KNOWN_TO).max(0.0);
        let freedom = PRIOR_MINUTES + (n - ALIKE_MINUTES).max(0.0);
        let wander = (beyond.max(0.0) + doubt) / freedom;
        let of_mean = wander * ALIKE_MINUTES / n + chance / (n * n);
        (0.0 < n).then(|| mean + DEVIATIONS * (wander + of_mean).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: minutes that differ by chance only, that wander, few and many of them, and more than
    /// are remembered.
    /// Guarantees: chance alone hardly raises the bound beyond the mean; wandering does, by so many of its
    /// own standard deviations; one minute leaves room for what is not known yet, and few requests for
    /// more; what is older than four hours is forgotten.
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
        check(&[1.0], 0.0, 1.0 + 5.5 * 0.04 * 4.5_f64.sqrt());
        check(&[1.0], 0.01, 1.0 + 5.5 * (4.5 * 0.04 * 0.04 + 0.01_f64).sqrt());
        check(&around(0.1, 240), 0.01, 0.065);
        check(&around(0.1, 240), 0.0, 5.5 * 0.1);
        check(&[around(1.0, 240), around(0.1, 240)].concat(), 0.0, 5.5 * 0.1);
        assert!(upper(&around(0.1, 40), 0.0) < upper(&around(0.2, 40), 0.0));
    }
}

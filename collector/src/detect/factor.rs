//! Attempts per request, now.
//!
//! A short window is up to date, a long one is calm. A caller that makes ten attempts of one
//! second each needs ten seconds until all of them are on the wire, and twenty until a window of
//! ten shows them all: so a young storm is read from several windows. Once it is older, the window grows with it, and gives way only to a change that
//! chance does not explain.

use crate::store::{Tally, Track};

/// Candidates while a storm is young, longest first.
const WINDOWS_YOUNG: [u64; 3] = [10, 5, 3];
/// The window where there is no storm, and the shortest once it is older.
const WINDOW: u64 = 10;
/// The longest.
const WINDOW_MAX: u64 = 30;
/// A storm is young for so many seconds: its attempts are not all on the wire.
const YOUNG_SECONDS: u64 = 20;
/// Seconds between a request and the middle of its retries.
const RETRY_AGE: u64 = 5;
/// A window of fewer first attempts says nothing.
const FIRST_MIN: f64 = 30.0;
/// A calm window is right that differs from a newer one by no more than this, and chance.
const DIFFERENCE: f64 = 0.07;
/// Chance changes a ratio by so many deviations at most.
const DEVIATIONS: f64 = 3.0;

/// Attempts per first attempt on an edge in the seconds that end with `last`, where a storm began
/// in the second `onset`. `None` without a first attempt.
pub(crate) fn factor(track: &Track<Tally>, last: u64, onset: Option<u64>) -> Option<f64> {
    let usual = track.sum(last, WINDOW);
    let age = match onset {
        Some(onset) => last.saturating_sub(onset),
        None => return usual.factor(),
    };
    if age < YOUNG_SECONDS + WINDOW {
        return young(track, last).or_else(|| usual.factor());
    }
    let (calm, _) = settled(track, last, (age - YOUNG_SECONDS).min(WINDOW_MAX))?;
    let Some((now, first)) = settled(track, last, WINDOW) else { return Some(calm) };
    let chance = DEVIATIONS / first.sqrt();
    Some(if (now - calm).abs() <= calm * (DIFFERENCE + chance) { calm } else { now })
}

/// Attempts per first attempt, and the first attempts. Retries are of requests that began a while
/// ago: where demand falls they are measured against what it was, or the end of all traffic would
/// look like the worst of the storm.
fn settled(track: &Track<Tally>, last: u64, length: u64) -> Option<(f64, f64)> {
    let window = track.sum(last, length);
    let earlier = track.sum(last.saturating_sub(RETRY_AGE), length);
    let first = window.first.max(earlier.first);
    (0.0 < first).then(|| (window.attempts() / first, first))
}

/// The middle one of a short, a shorter and a longer window: the long one lags behind a factor
/// that climbs, the short one jumps with the chance of few first attempts.
fn young(track: &Track<Tally>, last: u64) -> Option<f64> {
    let windows = WINDOWS_YOUNG.map(|length| track.sum(last, length));
    let told = windows.iter().filter(|window| FIRST_MIN <= window.first);
    let mut factors: Vec<f64> = told.filter_map(Tally::factor).collect();
    factors.sort_by(f64::total_cmp);
    factors.get(factors.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SparseLatency;

    /// Scenario: callers that make `attempts` attempts a second apart, at a steady rate of first
    /// attempts, seen some seconds after the trouble began.
    /// Guarantees: the factor is within 10 % of the truth as soon as all attempts are on the wire,
    /// never above it, and not when demand ends either.
    #[test]
    fn the_factor_is_true_as_soon_as_it_can_be() {
        let check = |attempts: u64, rate: f64, after_s: u64| {
            let mut track = Track::default();
            for second in 0..60 {
                let since = u64::saturating_sub(second + 1, 20);
                let each = 1 + since.min(attempts - 1);
                let counts = Tally {
                    first: rate,
                    retries_certain: rate * (each - 1) as f64,
                    ..Tally::default()
                };
                track.add_proxy(1_000 + second, &counts, &SparseLatency::default());
            }
            let factor = factor(&track, 1_019 + after_s, Some(1_020)).unwrap();
            let truth = attempts as f64;
            assert!((0.9 * truth..=truth + 1e-9).contains(&factor), "{factor} for {truth}");
        };
        for after_s in 16..40 {
            check(10, 20.0, after_s);
        }
        let mut ending = Track::default();
        for second in 0..60 {
            let first = if second < 55 { 20.0 } else { 0.0 };
            let retries_certain = if second < 10 { 0.0 } else { 180.0 };
            let counts = Tally { first, retries_certain, ..Tally::default() };
            ending.add_proxy(1_000 + second, &counts, &SparseLatency::default());
        }
        let at_the_end = factor(&ending, 1_059, Some(1_010)).unwrap();
        assert!((9.0..=10.0).contains(&at_the_end), "{at_the_end}");
        check(10, 400.0, 13);
        check(10, 400.0, 39);
        check(3, 20.0, 5);
        check(3, 5.0, 13);
        check(1, 5.0, 3);
    }
}

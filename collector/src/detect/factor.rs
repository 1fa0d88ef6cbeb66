//! Attempts per request, now.

use crate::store::{Tally, Track};

/// Candidates, longest first: a long window is calm, a short one is up to date.
const WINDOWS: [u64; 3] = [10, 5, 3];
/// A longer window is preferred while it is not below the shortest by more than this.
const AGREE: f64 = 0.07;

/// Attempts per first attempt on an edge in the seconds that end with `last`: over ten seconds
/// where these agree with the last three, over fewer while the factor still climbs. A caller that
/// makes ten attempts of one second each needs ten seconds until all of them are on the wire, and
/// twenty until a window of ten shows them all. `None` without a first attempt.
pub(crate) fn factor(track: &Track<Tally>, last: u64) -> Option<f64> {
    let shortest = WINDOWS[WINDOWS.len() - 1];
    let newest = track.sum(last, shortest);
    // Few attempts make a short window noisy: then it has to differ by more.
    let noise = if 0.0 < newest.first { 0.7 / newest.first.sqrt() } else { 1.0 };
    let Some(now) = newest.factor() else { return track.sum(last, WINDOWS[0]).factor() };
    let floor = now * (1.0 - AGREE.max(noise));
    WINDOWS.into_iter().filter_map(|length| track.sum(last, length).factor()).find(|f| floor <= *f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SparseLatency;

    /// Scenario: callers that make `attempts` attempts a second apart, at a steady rate of first
    /// attempts, seen some seconds after the trouble began.
    /// Guarantees: the factor is within 10 % of the truth as soon as all attempts are on the wire,
    /// and never above it.
    #[test]
    fn the_factor_is_true_as_soon_as_it_can_be() {
        let check = |attempts: u64, rate: f64, after_s: u64| {
            let mut track = Track::default();
            for second in 0..40 {
                let since = u64::saturating_sub(second + 1, 20);
                let each = 1 + since.min(attempts - 1);
                let counts = Tally {
                    first: rate,
                    retries_certain: rate * (each - 1) as f64,
                    ..Tally::default()
                };
                track.add_proxy(1_000 + second, &counts, &SparseLatency::default());
            }
            let factor = factor(&track, 1_020 + after_s).unwrap();
            let truth = attempts as f64;
            assert!((0.9 * truth..=truth + 1e-9).contains(&factor), "{factor} for {truth}");
        };
        check(10, 20.0, 12);
        check(10, 20.0, 19);
        check(10, 400.0, 11);
        check(3, 20.0, 4);
        check(2, 5.0, 3);
        check(1, 5.0, 3);
    }
}

//! Whether a difference that is sure is also worth a word.

use super::super::p99::rank;
use super::contest::Trials;
use crate::store::{LatencyTotal, Latent as _, Tally, Track};
use std::collections::VecDeque;

/// Seconds over which a difference is looked at: where few requests come it takes longer.
const LENGTHS: [usize; 4] = [10, 30, 60, 300];
/// Fewer requests of the canary prove nothing.
const CANARY_MIN: f64 = 20.0;
/// Nor do fewer bad ones.
const BAD_MIN: f64 = 3.0;
/// The canary must fail by so many times the share of the stable.
const TIMES_MIN: f64 = 1.5;
/// And by so much more.
const MORE_MIN: f64 = 0.01;
/// Both beyond the bounds of what was seen, so many standard deviations: it is looked at in every second
/// over several lengths, and where a small difference is sure, chance makes a large one of it some time.
const SURE_Z: f64 = 3.0;
/// Latencies are slower by this at least, in ms.
const SLOWER_MS_MIN: f64 = 1.0;
/// Latencies are compared over so many seconds.
const SECONDS: u64 = 60;

/// Both groups, second by second, newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<(u64, Trials, Trials)>);

impl Recent {
    pub(super) fn push(&mut self, second: u64, canary: Trials, stable: Trials) {
        if LENGTHS[3] <= self.0.len() {
            self.0.pop_front();
        }
        self.0.push_back((second, canary, stable));
    }

    /// The newest so many seconds of both.
    pub(super) fn sum(&self, length: usize) -> (Trials, Trials) {
        let mut sum = (Trials::default(), Trials::default());
        for (_, canary, stable) in self.0.iter().rev().take(length) {
            sum.0.all += canary.all;
            sum.0.bad += canary.bad;
            sum.1.all += stable.all;
            sum.1.bad += stable.bad;
        }
        sum
    }

    /// Since when the canary fails by more than the stable, and by which share, if it does so by
    /// enough to be worth a word.
    pub(super) fn worse(&self) -> Option<(u64, f64)> {
        let length = LENGTHS.into_iter().find(|&length| {
            let (canary, stable) = self.sum(length);
            is_worse(canary, stable)
        })?;
        let began = self.0.iter().rev().take(length).rev().find(|(_, canary, _)| 0.0 < canary.bad);
        Some((began?.0, self.sum(length).0.share()?))
    }
}

fn is_worse(canary: Trials, stable: Trials) -> bool {
    if canary.all < CANARY_MIN || canary.bad < BAD_MIN || stable.all < CANARY_MIN {
        return false;
    }
    let (least, _) = rank::share_bounds(canary.bad, canary.all, SURE_Z);
    let (_, most) = rank::share_bounds(stable.bad, stable.all, SURE_Z);
    TIMES_MIN * most <= least && most + MORE_MIN <= least
}

/// Whether a quantile of the canary's latencies is higher than the stable's, by `times` and a
/// millisecond beyond the bounds of both.
pub(super) fn is_slower(
    canary: &Track<Tally>,
    stable: &Track<Tally>,
    last: u64,
    (q, times): (f64, f64),
) -> bool {
    let of = |track: &Track<Tally>| track.latency_of(last, SECONDS);
    let (canary, stable) = (of(canary), of(stable));
    let bound = |latency: &LatencyTotal, rank: fn(f64, f64) -> Option<u64>| {
        let n = latency.count() as f64;
        let rank = rank(n, q)? as f64;
        latency.quantile_ms((n - rank) / n, 1)
    };
    let least =
        bound(&canary, rank::lower).filter(|_| rank::upper(canary.count() as f64, q).is_some());
    let most = bound(&stable, rank::upper);
    least.zip(most).is_some_and(|(least, most)| (times * most).max(most + SLOWER_MS_MIN) <= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: requests of both and the bad ones among them.
    /// Guarantees: few requests, few bad ones, and a small difference are not worth a word, however
    /// sure; a large one is.
    #[test]
    fn what_is_worth_a_word() {
        let check = |canary: (f64, f64), stable: (f64, f64), expected: bool| {
            let trials = |(all, bad)| Trials { all, bad };
            assert_eq!(is_worse(trials(canary), trials(stable)), expected, "{canary:?} {stable:?}");
        };
        check((60.0, 12.0), (240.0, 0.0), true);
        check((30.0, 6.0), (120.0, 0.0), false);
        check((19.0, 10.0), (120.0, 0.0), false);
        check((60.0, 2.0), (1e4, 0.0), false);
        check((30.0, 6.0), (120.0, 24.0), false);
        check((1e5, 500.0), (1e6, 1_000.0), false);
        check((1e5, 3_000.0), (1e6, 1_000.0), true);
        check((1e5, 3_000.0), (1e6, 25_000.0), false);
    }
}

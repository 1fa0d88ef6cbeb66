//! A sequential test on two groups at once: does more of the canary's traffic fail than of the
//! stable's, at the same time?
//!
//! Of a second with `a` requests of the canary and `b` of the stable, the evidence is the likelihood
//! of what happened under "they fail by these two shares" over that under "they fail by one, their
//! mean weighted by a and b". Whatever the one share truly is, the mean of this ratio is no more than
//! 1 (Turner, Ly, Grünwald, *Generic E-variables for exact sequential k-sample tests*, 2x2 case); it
//! may be another share in each second. So load, hours of the day and a callee that fails for
//! everybody are no evidence, and it may be looked at in every second. The mean stays below 1, too,
//! where the canary fails less.
//!
//! The two shares must be fixed before the second: the stable's is what it was lately, and the
//! canary's are some that are worse. Over seconds the evidence is that of a Shiryaev-Roberts
//! e-detector, as in [`super::super::sequential`].

/// Of what the stable does well, the canary fails these shares.
const WORSE_BY: [f64; 4] = [0.03, 0.1, 0.3, 0.7];
/// Evidence is held below e^this.
const LN_EVIDENCE_MAX: f64 = 600.0;
/// What both did fades by this in a second: half of it is gone in a minute.
const FADING: f64 = 0.988;
/// Shares that are assumed are no nearer to 0 and 1 than this.
const SHARE_MIN: f64 = 0.001;
/// ln of the evidence for "it is as good as the stable" from which it is over.
const LN_OVER: f64 = 10.0;
/// A second counts for so much there: it takes ten to be over.
const LN_OVER_RATIO_MAX: f64 = 1.0;

/// Requests of one group in some time, and the bad ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Trials {
    /// All.
    pub(crate) all: f64,
    /// Those that failed, or were slow.
    pub(crate) bad: f64,
}

impl Trials {
    /// The bad share; `None` of none.
    pub(crate) fn share(self) -> Option<f64> {
        (0.0 < self.all).then(|| self.bad / self.all)
    }

    /// What was fades, and a second is added.
    fn fade(&mut self, second: Self) {
        self.all = FADING * self.all + second.all;
        self.bad = FADING * self.bad + second.bad;
    }

    fn ln_likelihood(self, share: f64) -> f64 {
        self.bad * share.ln() + (self.all - self.bad).max(0.0) * (1.0 - share).ln()
    }
}

/// The test between two groups on one kind of badness.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    /// A second counts for so much at most, in nats: alone, none raises an alarm.
    ln_ratio_max: f64,
    evidence: [f64; 4],
    /// What both did lately, fading.
    stable: Trials,
    canary: Trials,
    over: f64,
}

impl Contest {
    /// A test without evidence.
    pub(super) const fn new(ln_ratio_max: f64) -> Self {
        let none = Trials { all: 0.0, bad: 0.0 };
        Self { ln_ratio_max, evidence: [0.0; 4], stable: none, canary: none, over: 0.0 }
    }

    /// The share that the stable is taken to fail by, before the next second.
    fn usual(&self) -> f64 {
        let share = (self.stable.bad + 0.5) / (self.stable.all + 20.0);
        share.clamp(SHARE_MIN, 1.0 - SHARE_MIN)
    }

    /// Takes a second.
    pub(super) fn step(&mut self, canary: Trials, stable: Trials) {
        let all = canary.all + stable.all;
        let usual = self.usual();
        for (evidence, worse_by) in self.evidence.iter_mut().zip(WORSE_BY) {
            let worse = usual + worse_by * (1.0 - usual);
            let ln_ratio = if 0.0 < canary.all && 0.0 < stable.all {
                let one = (canary.all * worse + stable.all * usual) / all;
                canary.ln_likelihood(worse) + stable.ln_likelihood(usual)
                    - canary.ln_likelihood(one)
                    - stable.ln_likelihood(one)
            } else {
                0.0
            };
            let ln_after = evidence.ln_1p() + ln_ratio.min(self.ln_ratio_max);
            *evidence = ln_after.min(LN_EVIDENCE_MAX).exp();
        }
        self.stable.fade(stable);
        self.canary.fade(canary);
    }

    /// The bad share of the canary lately.
    pub(super) fn canary_share(&self) -> f64 {
        self.canary.share().unwrap_or(0.0)
    }

    /// ln of the mean over the alternatives; minus infinity where there is no evidence.
    pub(super) fn ln(&self) -> f64 {
        (self.evidence.iter().sum::<f64>() / self.evidence.len() as f64).ln()
    }

    /// Takes a second after the canary was found to fail by the share `found`: is it over?
    pub(super) fn follow(&mut self, found: f64, canary: Trials, stable: Trials) {
        let good = self.usual();
        let bad = f64::midpoint(good, found.max(good)).clamp(good, 1.0 - SHARE_MIN);
        let ln_ratio = canary.ln_likelihood(good) - canary.ln_likelihood(bad);
        self.over = (self.over + ln_ratio.min(LN_OVER_RATIO_MAX)).max(0.0);
        self.stable.fade(stable);
    }

    /// Whether what was found is over.
    pub(super) fn is_over(&self) -> bool {
        LN_OVER <= self.over
    }

    /// Begins anew; what the stable does stays known.
    pub(super) const fn forget(&mut self) {
        self.evidence = [0.0; 4];
        self.canary = Trials { all: 0.0, bad: 0.0 };
        self.over = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: seconds of the canary's and the stable's requests, so many of them bad.
    /// Guarantees: the alarm of one split comes after as many seconds as the theory says, or never
    /// where both are equally bad, the canary is better, or one of them has no traffic.
    #[test]
    fn seconds_to_the_alarm() {
        let check = |canary: (f64, f64), stable: (f64, f64), expected: Option<u32>| {
            let trials = |(all, bad)| Trials { all, bad };
            let mut contest = Contest::new(4.0);
            let alarm = (1..=10_000).find(|_| {
                contest.step(trials(canary), trials(stable));
                super::super::super::sequential::ln_alarm(3) <= contest.ln()
            });
            assert_eq!(alarm, expected, "{canary:?} beside {stable:?}");
        };
        check((5.0, 1.0), (20.0, 0.0), Some(11));
        check((50.0, 10.0), (450.0, 0.0), Some(4));
        check((5.0, 1.0), (20.0, 4.0), None);
        check((5.0, 5.0), (20.0, 20.0), None);
        check((5.0, 0.0), (20.0, 4.0), None);
        check((5.0, 5.0), (0.0, 0.0), None);
        check((0.0, 0.0), (20.0, 4.0), None);
        check((5.0, 0.0), (20.0, 0.0), None);
    }
}

//! A test that may look at every second and still means its promise.
//!
//! A Shiryaev-Roberts e-detector (Shin, Ramdas, Rinaldo, *E-detectors*, NEJSDS) on a share: of
//! retries among attempts, of slow requests among all. For each alternative above the usual share
//! p0, every second multiplies the evidence by its likelihood ratio, and one is added for "it may
//! have begun just now". While the share stays at or below p0, the mean over the alternatives
//! reaches 1/α on average no sooner than after 1/α seconds, whatever the traffic looks like.

/// No alternative is beyond this share.
const SHARE_MAX: f64 = 0.95;
/// Evidence is held below e^this: enough for any confidence, and a number.
const LN_EVIDENCE_MAX: f64 = 600.0;
/// One false alarm in so many seconds, for all edges together: 30 days.
const SECONDS_PER_FALSE_ALARM: f64 = 30.0 * 86_400.0;

/// ln(1/α) where `edges` are watched.
pub(crate) fn ln_alarm(edges: usize) -> f64 {
    (SECONDS_PER_FALSE_ALARM * edges.max(1) as f64).ln()
}

/// From so much evidence on something is odd: chance gives it once in a few minutes.
pub(crate) const LN_SUSPICIOUS: f64 = 4.6;
/// But what is odd for so long, and no more, is taken for usual.
pub(crate) const DOUBT_SECONDS_MAX: u64 = 600;
/// And what was found and went on for so long has become usual.
pub(crate) const FOUND_SECONDS_MAX: u64 = 6 * 3_600;

/// How sure evidence makes, 0 … 1: a half where an alarm is raised.
pub(crate) fn sureness(ln_evidence: f64, ln_alarm: f64) -> f64 {
    let ln_ratio = (ln_evidence / ln_alarm).max(0.0);
    1.0 - 1.0 / (1.0 + ln_ratio)
}

/// What is held against the usual share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bet {
    /// How much worse than usual the alternatives are.
    pub(crate) multiples: [f64; 4],
    /// One second counts for so much at most, in nats. A limit only lowers the evidence, so the
    /// promise holds; and no single bad second raises an alarm.
    pub(crate) ln_ratio_max: f64,
}

/// Retries come in earnest or not at all.
pub(crate) const RETRIES: Bet =
    Bet { multiples: [1.5, 2.0, 3.0, 4.0], ln_ratio_max: f64::INFINITY };

impl Bet {
    /// ln of the likelihood ratio of one second, `p0 * multiple` against `p0`.
    pub(crate) fn ln_ratio(&self, trials: f64, hits: f64, p0: f64, multiple: f64) -> f64 {
        let others = (trials - hits).max(0.0);
        let p1 = (p0 * multiple).min(SHARE_MAX);
        let ln_ratio = hits * (p1 / p0).ln() + others * ((1.0 - p1) / (1.0 - p0)).ln();
        ln_ratio.min(self.ln_ratio_max)
    }
}

/// Since when? Evidence for the weakest alternative since it was nothing last (E. S. Page,
/// *Continuous inspection schemes*, 1954).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Onset {
    ln_evidence: f64,
    since: u64,
}

impl Onset {
    /// Takes a second and its ln of the likelihood ratio; whether it may be the first.
    pub(crate) fn step(&mut self, second: u64, ln_ratio: f64) -> bool {
        let is_first = self.ln_evidence <= 0.0;
        if is_first {
            self.since = second;
        }
        self.ln_evidence = (self.ln_evidence + ln_ratio).max(0.0);
        is_first
    }

    /// The second in which it began.
    pub(crate) const fn since(&self) -> u64 {
        self.since
    }

    /// The next second may be the first.
    pub(crate) const fn forget(&mut self) {
        self.ln_evidence = 0.0;
    }
}

/// The evidence against "the share is p0 at most".
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Evidence([f64; 4]);

impl Evidence {
    /// Takes one second of `trials`, `hits` of which are what is looked for.
    pub(crate) fn step(&mut self, trials: f64, hits: f64, p0: f64, bet: &Bet) {
        for (evidence, multiple) in self.0.iter_mut().zip(bet.multiples) {
            let ln_after = evidence.ln_1p() + bet.ln_ratio(trials, hits, p0, multiple);
            *evidence = ln_after.min(LN_EVIDENCE_MAX).exp();
        }
    }

    /// ln of the mean over the alternatives; minus infinity where there is none.
    pub(crate) fn ln(&self) -> f64 {
        (self.0.iter().sum::<f64>() / self.0.len() as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: seconds of equal traffic: attempts, retries among them, edges watched.
    /// Guarantees: the alarm comes after as many seconds as the theory says, or never.
    #[test]
    fn seconds_to_the_alarm() {
        let check = |attempts: f64, retries: f64, edges: usize, expected: Option<u32>| {
            let mut evidence = Evidence::default();
            let alarm = (1..=100_000).find(|_| {
                evidence.step(attempts, retries, 0.1304, &RETRIES);
                ln_alarm(edges) <= evidence.ln()
            });
            assert_eq!(alarm, expected, "{retries} of {attempts} on {edges} edges");
        };
        check(0.0, 0.0, 1, None);
        check(100.0, 0.0, 1, None);
        check(1_000.0, 130.0, 1, None);
        check(200.0, 100.0, 1_000, Some(1));
        check(50.0, 25.0, 12, Some(1));
        check(40.0, 20.0, 12, Some(2));
        check(4.0, 3.0, 1_000, Some(7));
        check(1e6, 9e5, 1, Some(1));
    }
}

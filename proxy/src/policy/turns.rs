//! Points 0…1 that fall evenly, for shares of traffic.
//!
//! With dice a share of 10 % is anything from 4 to 16 of a hundred requests; a canary that gets so few
//! tells nobody anything. Equal steps round a circle (Weyl's sequence; Knuth, TAOCP 3, 6.4) are even
//! after any number of them and from any start, if their length is badly approximated by fractions, as
//! square roots are; and also where only every other step, or every third, is looked at: whoever sends
//! two kinds of requests in turn finds both shared out alike. Rules do not all step alike: a caller of
//! two services with a canary each would always, or never, meet both.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Parts of the circle, times 2⁶⁴ and odd: of the golden ratio, and of the roots of 2, 3, 13 and 7.
/// None is a sum of fractions of the others.
const STEPS: [u64; 5] = [
    0x9e37_79b9_7f4a_7c15,
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x4d82_b446_159f_360f,
    0xa54f_f53a_5f1d_36f1,
];

/// A place on the circle.
#[derive(Debug)]
pub(crate) struct Turns {
    at: AtomicU64,
    step: u64,
}

impl Turns {
    /// Begins at `start`, a random number: proxies that begin at different places do not all turn to
    /// the canary at once.
    pub(crate) const fn new(start: u64) -> Self {
        Self { at: AtomicU64::new(start), step: STEPS[(start % STEPS.len() as u64) as usize] }
    }

    /// The turns of the `nth` share beside this one, in the same rule: they step differently, so that a
    /// mirror of a tenth does not copy the canary's tenth of the requests, or none of it.
    pub(crate) fn beside(&self, nth: usize, start: u64) -> Self {
        let own = STEPS.iter().position(|step| *step == self.step).unwrap_or_default();
        Self { at: AtomicU64::new(start), step: STEPS[(own + 1 + nth) % STEPS.len()] }
    }

    /// The next point: at least 0, less than 1.
    pub(crate) fn next(&self) -> f64 {
        let at = self.at.fetch_add(self.step, Relaxed);
        (at >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Scenario: a share of traffic, from any start, looked at after every request; of all
        /// requests, and of each second, third or seventh.
        /// Guarantees: the requests that it got are never more than five away from what it should have
        /// got, up to 2,000 of them, and no more than eleven where others come between. (Dice are 37
        /// away, one time in ten.)
        #[test]
        fn shares_are_kept_at_any_time(start: u64, share in 0.0..=1.0_f64) {
            for (every, away_max) in [(1, 5.0), (2, 6.0), (3, 11.0), (7, 11.0)] {
                let turns = Turns::new(start);
                let mut got = 0.0;
                for sent in 1..=2_000 {
                    let points: Vec<f64> = (0..every).map(|_| turns.next()).collect();
                    prop_assert!(points.iter().all(|point| (0.0..1.0).contains(point)));
                    got += f64::from(u8::from(points[0] < share));
                    let due = share * f64::from(sent);
                    prop_assert!((got - due).abs() <= away_max, "{got} of {sent}, each {every}.");
                }
            }
        }
    }

    /// Scenario: two rules that step differently, or a rule and a mirror of it, each with a share of
    /// 10 %, taken in turn.
    /// Guarantees: one request of a hundred falls into both shares, as with dice.
    #[test]
    fn rules_do_not_step_alike() {
        let pairs = (0..5).flat_map(|one| (0..one).map(move |other| (one, other)));
        let rules = pairs.map(|(one, other)| (Turns::new(one), Turns::new(other)));
        let mirrors = (0..5).map(|own| (Turns::new(own), Turns::new(own).beside(0, own)));
        for (one, other) in rules.chain(mirrors) {
            let both = (0..100_000).filter(|_| one.next().max(other.next()) < 0.1).count();
            assert!((900..=1_100).contains(&both), "{both} of 100,000");
        }
    }
}

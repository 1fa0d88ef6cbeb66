//! Points 0…1 that fall evenly, for shares of traffic.
//!
//! With dice a share of 10 % is anything from 4 to 16 of a hundred requests; a canary that gets so few
//! tells nobody anything. Steps of the golden ratio round a circle (Weyl's sequence; Knuth, TAOCP 3,
//! 6.4) are as even as steps can be, after any number of them and from any start, and also where only
//! every other one, or every third, is looked at: whoever sends two kinds of requests in turn finds
//! both shared out alike.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 2⁶⁴ ÷ golden ratio, odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A place on the circle.
#[derive(Debug)]
pub(crate) struct Turns(AtomicU64);

impl Turns {
    /// Begins at `start`: proxies that begin at different places do not all turn to the canary at
    /// once.
    pub(crate) const fn new(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }

    /// The next point: at least 0, less than 1.
    pub(crate) fn next(&self) -> f64 {
        let at = self.0.fetch_add(STEP, Relaxed);
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
        /// Guarantees: the requests that it got are never more than four away from what it should have
        /// got, up to 2,000 of them, and no more than eleven where others come between. (Dice are 37
        /// away, one time in ten.)
        #[test]
        fn shares_are_kept_at_any_time(start: u64, share in 0.0..=1.0_f64) {
            for (every, away_max) in [(1, 4.0), (2, 6.0), (3, 7.0), (7, 11.0)] {
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
}

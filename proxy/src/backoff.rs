//! How long to wait before the next attempt: to reach the collector, or an endpoint.

use std::time::Duration;

/// The first wait is below this.
pub const WAIT_FIRST: Duration = Duration::from_millis(200);
/// No wait is longer: a collector that comes back has its proxies within this time.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted as long was a good one: after it, waits begin short again.
pub const STABLE_MIN: Duration = Duration::from_secs(10);

/// Exponential backoff with full jitter: a wait is anywhere between nothing and a bound that doubles
/// with each failure, from `first` to `max`. Of all jitters this one keeps a thousand callers of a
/// restarted server furthest apart
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). `random` is evenly
/// spread over all values: the shell's dice.
pub fn full_jitter(first: Duration, max: Duration, failures: u32, random: u64) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(failures)).min(max);
    let bound_us = u128::from(u64::try_from(doubled.as_micros()).unwrap_or(u64::MAX));
    Duration::from_micros(((bound_us * u128::from(random)) >> u64::BITS) as u64)
}

/// Waits between attempts to reach the collector, with [`full_jitter`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and says how long to wait. `random` as for [`full_jitter`].
    pub fn wait(&mut self, random: u64) -> Duration {
        let wait = full_jitter(WAIT_FIRST, WAIT_MAX, self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// A connection was lost after `lasted`.
    pub fn disconnected(&mut self, lasted: Duration) {
        if STABLE_MIN <= lasted {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE_MAX: u64 = u64::MAX;

    /// The longest wait after `failures` failures.
    fn bound(failures: u32) -> Duration {
        Backoff { failures }.wait(DICE_MAX)
    }

    /// Scenario: failures in a row, with the highest dice.
    /// Guarantees: the bound doubles.
    #[test]
    fn bounds_double() {
        let mut backoff = Backoff::default();
        let waits = [(); 4].map(|()| backoff.wait(DICE_MAX).as_millis());
        assert_eq!(waits, [199, 399, 799, 1_599]);
    }

    /// Scenario: a collector that stays away for days.
    /// Guarantees: no wait is longer than the maximum, and no count overflows.
    #[test]
    fn waits_are_capped() {
        assert!(bound(5) < WAIT_MAX);
        assert!(bound(100) < WAIT_MAX);
        assert!(bound(u32::MAX) < WAIT_MAX);
        assert!(WAIT_MAX.mul_f64(0.999) < bound(u32::MAX));
    }

    /// Scenario: the same failure with all dice.
    /// Guarantees: full jitter: waits are spread over everything from nothing to the bound.
    #[test]
    fn jitter_is_full() {
        let wait = |dice: u64| Backoff { failures: 3 }.wait(dice).as_millis();
        assert_eq!([wait(0), wait(DICE_MAX / 4), wait(DICE_MAX / 2)], [0, 399, 799]);
    }

    /// Scenario: a connection that held for a while is lost.
    /// Guarantees: waits begin short again.
    #[test]
    fn a_stable_connection_resets() {
        let mut backoff = Backoff { failures: 9 };
        backoff.disconnected(STABLE_MIN);
        assert!(backoff.wait(DICE_MAX) < WAIT_FIRST);
    }

    /// Scenario: a collector accepts and hangs up, again and again.
    /// Guarantees: that is no reason to come back faster.
    #[test]
    fn a_short_connection_does_not_reset() {
        let mut backoff = Backoff::default();
        for _ in 0..9 {
            let _ = backoff.wait(DICE_MAX);
            backoff.disconnected(STABLE_MIN / 2);
        }
        assert!(WAIT_FIRST * 10 < backoff.wait(DICE_MAX));
    }
}

//! Exact counts over a window that slides in whole buckets.
//!
//! Linkerd's argument for buckets instead of a moving average: a tight burst gives each sample of an
//! average almost no weight, and can hide a total outage.

use fusebox_proto::policy::SuccessWindow;
use std::time::{Duration, Instant};

/// Of one window.
const BUCKETS: usize = SuccessWindow::BUCKETS as usize;

/// `N` counts over the last [`BUCKETS`] buckets, of which the newest is still filling: a window of
/// between nine and ten tenths of its length.
#[derive(Clone, Debug)]
pub(crate) struct Buckets<const N: usize> {
    begun: Instant,
    bucket: Duration,
    /// Of the newest bucket, counted from `begun`.
    number: u128,
    counts: [[u64; N]; BUCKETS],
    /// Of each count over all buckets.
    sums: [u64; N],
}

impl<const N: usize> Buckets<N> {
    /// An empty window of this length.
    pub(crate) fn new(now: Instant, window: Duration) -> Self {
        let bucket = (window / SuccessWindow::BUCKETS).max(Duration::from_nanos(1));
        Self { begun: now, bucket, number: 0, counts: [[0; N]; BUCKETS], sums: [0; N] }
    }

    /// Adds one to the count `which`.
    pub(crate) fn add(&mut self, now: Instant, which: usize) {
        self.pass(now);
        self.newest()[which] += 1;
        self.sums[which] += 1;
    }

    /// The counts of the window.
    pub(crate) fn sums(&mut self, now: Instant) -> [u64; N] {
        self.pass(now);
        self.sums
    }

    /// Drops what left the window. Time that goes backwards is no time.
    fn pass(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.begun);
        let number = elapsed.as_nanos() / self.bucket.as_nanos();
        let passed = number.saturating_sub(self.number).min(BUCKETS as u128);
        for _ in 0..passed {
            self.number += 1;
            let old = std::mem::replace(self.newest(), [0; N]);
            self.sums.iter_mut().zip(old).for_each(|(sum, old)| *sum -= old);
        }
        self.number = self.number.max(number);
    }

    fn newest(&mut self) -> &mut [u64; N] {
        let at = (self.number % BUCKETS as u128) as usize;
        &mut self.counts[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::Now;
    use proptest::prelude::*;

    proptest! {
        /// Scenario: events of two kinds at random times, also bursts and long pauses.
        /// Guarantees: at each of them the sums are those of the events in the last ten buckets,
        /// counted one by one.
        #[test]
        fn sums_are_exact(
            events in prop::collection::vec((0_u64..400, 0_usize..2), 1..200),
            pause_ms in 0_u64..5_000,
        ) {
            let start = Now::read().instant;
            let mut buckets = Buckets::<2>::new(start, Duration::from_secs(1));
            let mut at_ms = pause_ms;
            let mut log: Vec<(u64, usize)> = Vec::new();
            for (step_ms, which) in events {
                at_ms += step_ms;
                buckets.add(start + Duration::from_millis(at_ms), which);
                log.push((at_ms, which));
                let seen = |which| {
                    let is_in = |event: &&(u64, usize)| {
                        event.1 == which && at_ms / 100 < event.0 / 100 + BUCKETS as u64
                    };
                    log.iter().filter(is_in).count() as u64
                };
                let sums = buckets.sums(start + Duration::from_millis(at_ms));
                prop_assert_eq!(sums, [seen(0), seen(1)]);
            }
        }
    }

    /// Scenario: a window of no length, a clock that goes back, and a year of silence.
    /// Guarantees: nothing overflows, nothing old is left.
    #[test]
    fn odd_times_do_no_harm() {
        let start = Now::read().instant;
        let mut buckets = Buckets::<1>::new(start, Duration::ZERO);
        buckets.add(start, 0);
        assert_eq!(buckets.sums(start + Duration::from_hours(9_000)), [0]);
        let mut buckets = Buckets::<1>::new(start, Duration::from_secs(1));
        buckets.add(start + Duration::from_secs(5), 0);
        buckets.add(start, 0);
        assert_eq!(buckets.sums(start + Duration::from_secs(5)), [2]);
    }
}

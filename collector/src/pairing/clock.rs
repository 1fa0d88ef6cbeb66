//! Where on our clock a sender's times belong.

use crate::spans::Origin;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Spans of a live sender arrive within a batch delay, 5 s by default in every SDK. Who is always
/// later than that has a clock that is behind.
const LAG_TRUSTED_MS: i64 = 5_000;
/// Exporters give up after about a minute of backoff: a batch that would be later than this, had it
/// been sent by the clock that is the most ahead, was sent by another one.
const DELAY_MS_MAX: u64 = 120_000;
/// For this long the smallest lag counts, and for as long again: a clock that was set is noticed.
const EPOCH: Duration = Duration::from_mins(1);
/// Senders whose clocks are watched; those beyond are taken to be right.
const SENDERS_MAX: usize = 16_384;

/// What is known of the senders' clocks.
///
/// The smallest lag between the end of a span and its arrival holds the offset of the sender's
/// clock: all else in it is delay, which is never negative. So spans "from the future" show a
/// clock that is ahead, and only a lag that never falls below the batch delay one that is behind.
/// A batch that is late once (resent after an outage) changes nothing: it stays where it belongs.
/// Nor does one that comes in a sender's name with a clock of another century: it moves itself alone.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    senders: HashMap<Arc<Origin>, Lag>,
}

/// Smallest lag, ms, in this epoch and in the one before.
#[derive(Debug)]
struct Lag {
    began: Instant,
    current: i64,
    previous: i64,
}

impl Clocks {
    /// Takes note of a batch whose newest span ended at `newest_unix_ms` on the sender's clock.
    /// What must be added to the sender's times, ms.
    pub(super) fn shift_ms(
        &mut self,
        now: Instant,
        now_unix_ms: u64,
        origin: &Arc<Origin>,
        newest_unix_ms: u64,
    ) -> i64 {
        let lag = now_unix_ms.cast_signed().saturating_sub(newest_unix_ms.cast_signed());
        if SENDERS_MAX <= self.senders.len() && !self.senders.contains_key(origin) {
            self.senders.retain(|_, lag| now.saturating_duration_since(lag.began) < 2 * EPOCH);
            if SENDERS_MAX <= self.senders.len() {
                return 0;
            }
        }
        let known = self.senders.entry(Arc::clone(origin)).or_insert(Lag {
            began: now,
            current: lag,
            previous: lag,
        });
        let age = now.saturating_duration_since(known.began);
        if EPOCH <= age {
            known.previous = if age < 2 * EPOCH { known.current } else { lag };
            known.current = lag;
            known.began = now;
        }
        known.current = known.current.min(lag);
        let smallest = known.current.min(known.previous);
        let is_other = smallest < 0 && DELAY_MS_MAX < lag.abs_diff(smallest);
        let smallest = if is_other { lag } else { smallest };
        if (0..=LAG_TRUSTED_MS).contains(&smallest) { 0 } else { smallest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::{Now, ServiceId};

    /// Scenario: a live sender, one whose clock is ahead, one whose clock is behind, a batch that
    /// is resent after an outage, a clock that is set, and somebody who sends in the sender's name
    /// from years ahead or behind.
    /// Guarantees: only a clock that is wrong is corrected, and soon after it was set anew.
    #[test]
    fn only_wrong_clocks_are_corrected() {
        const YEARS: i64 = 1_500_000_000_000;
        let start = Now::read();
        let origin = Arc::new(Origin {
            service: ServiceId::named("a").unwrap(),
            instance: None,
            version: None,
        });
        // Each sender: (seconds since the start, lag in ms, expected shift).
        let check = |batches: &[(u64, i64, i64)]| {
            let mut clocks = Clocks::default();
            for &(at_s, lag, expected) in batches {
                let now = start.plus(Duration::from_secs(at_s));
                let newest = now.unix_ms.checked_add_signed(-lag).unwrap();
                let shift = clocks.shift_ms(now.instant, now.unix_ms, &origin, newest);
                assert_eq!(shift, expected, "{batches:?} at {at_s}");
            }
        };
        check(&[(0, 20, 0), (5, 4_900, 0), (10, 61_000, 0)]);
        check(&[(0, -7_000, -7_000), (5, -3_000, -7_000)]);
        check(&[(0, -300, -300)]);
        check(&[(0, 3_600_000, 3_600_000), (5, 3_602_000, 3_600_000)]);
        check(&[(0, 60_000, 60_000), (5, 100, 0), (10, 65_000, 0)]);
        check(&[(0, -7_000, -7_000), (61, 100, -7_000), (122, 100, 0)]);
        check(&[(0, -7_000, -7_000), (500, 100, 0)]);
        check(&[(0, 20, 0), (1, -YEARS, -YEARS), (2, 30, 0), (3, 4_000, 0), (4, -YEARS, -YEARS)]);
        check(&[(0, 20, 0), (1, YEARS, 0), (2, 30, 0)]);
    }
}

//! What a client library does when an attempt ends: the rule, without the sockets.

use crate::scenario::Client;
use std::fmt;
use std::time::Duration;

/// How an attempt ended, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a status.
    Answered(u16),
    /// The caller's patience ended first.
    TimedOut,
    /// Without an answer.
    Broken,
}

impl Outcome {
    /// Whether the caller got what it wanted.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered {status}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Broken => f.write_str("broke off"),
        }
    }
}

impl Client {
    /// Patience for one attempt.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// When a hedge starts, if ever.
    pub const fn hedge_after(&self) -> Option<Duration> {
        match self.hedge_after_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// How long to wait before the next attempt, after `attempts` of which the last ended with
    /// `outcome`; `None` where there is none. `jitter` is a random number from 0 to 1.
    pub fn again_after(&self, attempts: u32, outcome: Outcome, jitter: f64) -> Option<Duration> {
        let may_repeat = match outcome {
            Outcome::Answered(status) => self.retry_status.contains(&status),
            Outcome::TimedOut => self.retry_timeouts,
            Outcome::Broken => true,
        };
        if !may_repeat || self.attempts <= attempts {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let full = Duration::from_millis(self.backoff_ms << doublings);
        Some(full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) * self.jitter_percent / 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: ends of attempts under a library with three attempts, backoff and jitter.
    /// Guarantees: it repeats failures and timeouts only, waits twice as long each time, less by
    /// the jitter, and gives up after the third.
    #[test]
    fn the_library_repeats_what_it_is_told_to() {
        let library =
            Client { attempts: 3, backoff_ms: 100, jitter_percent: 50.0, ..Client::default() };
        let check = |attempts, outcome, jitter, expected: Option<u64>| {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(library.again_after(attempts, outcome, jitter), expected, "{outcome:?}");
        };
        check(1, Outcome::Answered(503), 0.0, Some(100));
        check(1, Outcome::TimedOut, 1.0, Some(50));
        check(2, Outcome::Broken, 0.0, Some(200));
        check(3, Outcome::TimedOut, 0.0, None);
        check(1, Outcome::Answered(200), 0.0, None);
        check(1, Outcome::Answered(404), 0.0, None);
        check(1, Outcome::Answered(424), 0.0, None);
    }

    /// Scenario: a library without backoff, one that never repeats, and one that repeats errors but
    /// not timeouts.
    /// Guarantees: the first repeats at once, the second not at all, the third what it is told to.
    #[test]
    fn no_backoff_is_at_once() {
        let careless = Client { attempts: 10, ..Client::default() };
        assert_eq!(careless.again_after(9, Outcome::TimedOut, 0.3), Some(Duration::ZERO));
        assert_eq!(Client::default().again_after(1, Outcome::TimedOut, 0.3), None);
        let patient = Client { attempts: 2, retry_timeouts: false, ..Client::default() };
        assert_eq!(patient.again_after(1, Outcome::TimedOut, 0.3), None);
        assert_eq!(patient.again_after(1, Outcome::Answered(500), 0.3), Some(Duration::ZERO));
    }
}

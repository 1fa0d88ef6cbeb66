//! The time of a recording, and what happens in it.

use fusebox_collector::replay::{Attempt, End};
use fusebox_proto::Now;
use std::time::Duration;

/// The recording's own time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) start: Now,
    /// What the start is, µs since the Unix epoch.
    pub(super) start_unix_us: u64,
}

impl Clock {
    pub(super) const fn new(now: Now, start_unix_us: u64) -> Self {
        Self { start: now, start_unix_us }
    }

    /// A moment of the recording; none is before the start.
    pub(super) fn at(self, unix_us: u64) -> Now {
        let since = Duration::from_micros(unix_us.saturating_sub(self.start_unix_us));
        Now { instant: self.start.instant + since, unix_ms: unix_us / 1_000 }
    }
}

/// What happens to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    /// It is sent, or refused.
    Sent,
    /// It ends.
    Ended(End),
}

/// Tells when each attempt is sent and ends (µs since the Unix epoch, which of them, what), in order.
pub(super) fn happen(attempts: &[Attempt], mut each: impl FnMut(u64, usize, Moment)) {
    let sent = |(at, attempt): (usize, &Attempt)| (attempt.sent_unix_us, Moment::Sent, at);
    let ended = |(at, attempt): (usize, &Attempt)| {
        attempt.end.map(|(end_us, end)| (end_us.max(attempt.sent_unix_us), Moment::Ended(end), at))
    };
    let mut all: Vec<(u64, Moment, usize)> = attempts.iter().enumerate().map(sent).collect();
    all.extend(attempts.iter().enumerate().filter_map(ended));
    // Of one moment, what is sent comes first: nothing ends before it is.
    all.sort_unstable();
    for (at_us, moment, which) in all {
        each(at_us, which, moment);
    }
}

//! Time since the load began: the one clock of a run.

use fusebox_proto::Now;
use std::time::Duration;
use tokio::time::Instant;

/// A clock that began when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Now,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self { began: Now::read() }
    }

    /// Time since it began.
    pub(crate) fn elapsed(self) -> Duration {
        Now::read().instant.saturating_duration_since(self.began.instant)
    }

    /// The moment so long after it began, for a timer.
    pub(crate) fn moment(self, at: Duration) -> Instant {
        Instant::from_std(self.began.instant + at)
    }

    /// Wall clock of its beginning, ms since the Unix epoch.
    pub(crate) fn began_unix_ms(self) -> u64 {
        self.began.unix_ms
    }
}

//! Where a circuit stands, and how it got there.

use fusebox_proto::command::BreakerState;
use fusebox_proto::report::Cause;
use std::collections::VecDeque;
use std::time::Duration;

/// More changes than this between two reports are dropped, oldest first, and counted.
pub const CHANGES_MAX: usize = 64;

/// A change of state, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// Why.
    pub cause: Cause,
    /// Of the newest command applied; 0 before the first.
    pub revision: u64,
    /// Wall clock, ms since the Unix epoch.
    pub at_unix_ms: u64,
    /// It only would have: the failure-driven part is in shadow.
    pub shadow: bool,
}

/// Changes that nobody took yet.
#[derive(Debug)]
pub(super) struct Changes {
    all: VecDeque<Change>,
    /// Because nobody took them.
    pub(super) dropped: u64,
}

impl Changes {
    pub(super) const fn new() -> Self {
        Self { all: VecDeque::new(), dropped: 0 }
    }

    pub(super) fn note(&mut self, change: Change) {
        if self.all.len() == CHANGES_MAX {
            self.all.pop_front();
            self.dropped += 1;
        }
        self.all.push_back(change);
    }

    pub(super) fn take(&mut self) -> impl Iterator<Item = Change> {
        self.all.drain(..)
    }
}

/// Where a circuit stands, for reports and the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: BreakerState,
    /// Why it is there.
    pub cause: Cause,
    /// For how long.
    pub since: Duration,
    /// Time to the end of the lease, to the latest end of the ramp, or to the probe.
    pub remaining: Option<Duration>,
    /// Share in percent: of retries that pass when muted, of first attempts refused when shedding,
    /// of what the lease refused that passes in a ramp.
    pub percent: Option<u8>,
    /// Of the newest command applied; 0 before the first.
    pub revision: u64,
    /// Attempts refused since the state began.
    pub refused: u64,
}

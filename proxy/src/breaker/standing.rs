//! Where a circuit stands, and how it got there.

use fusebox_proto::command::BreakerState;
use fusebox_proto::report::Cause;
use std::time::Duration;

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

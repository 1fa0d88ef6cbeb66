//! Time as a parameter.

use std::time::{Duration, Instant};

/// The moment at which an event is handled, on both clocks. Only a shell makes one from the
/// operating system; a core adds to the one that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic: for durations, leases and timeouts.
    pub instant: Instant,
    /// Wall clock, milliseconds since the Unix epoch: for what people read.
    pub unix_ms: u64,
}

impl Now {
    /// Reads both clocks of the operating system. For shells.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    pub fn read() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix_ms: unix.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The moment `later` after this one, on both clocks.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let ms = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        Self { instant: self.instant + later, unix_ms: self.unix_ms.saturating_add(ms) }
    }
}

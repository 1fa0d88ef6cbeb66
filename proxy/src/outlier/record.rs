//! The ejections of one endpoint, real or imagined, and how long each lasts.

use super::{Cost, Detection, Ejection};
use fusebox_proto::policy::OutlierDetection;
use std::time::{Duration, Instant};

/// Ejections of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Record {
    running: Option<Running>,
    /// So far.
    pub(super) count: u32,
    /// Times the base time that an ejection lasts.
    backoff: u32,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// An ejection that lasts.
#[derive(Clone, Copy, Debug)]
struct Running {
    detection: Detection,
    since: Instant,
    jitter: Duration,
}

impl Record {
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Begins an ejection; returns its earliest end.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        detection: Detection,
        settings: &OutlierDetection,
        dice: &mut dyn FnMut() -> f64,
    ) -> Instant {
        debug_assert!(!self.is_running());
        let jitter = jitter(settings.ejection_time_jitter_max, dice);
        self.count = self.count.saturating_add(1);
        let OutlierDetection { ejection_time_base: base, ejection_time_max: max, .. } = *settings;
        if base.saturating_mul(self.backoff) < max.saturating_add(base) {
            self.backoff = self.backoff.saturating_add(1);
        }
        self.running = Some(Running { detection, since: now, jitter });
        now + self.length(settings, jitter)
    }

    /// Ends an ejection that is over by now; returns how long it lasted.
    pub(super) fn end(&mut self, now: Instant, settings: &OutlierDetection) -> Option<Duration> {
        let Running { since, jitter, .. } = self.running?;
        let lasted = now.saturating_duration_since(since);
        if lasted < self.length(settings, jitter) {
            return None;
        }
        self.running = None;
        self.ended = Some(now);
        Some(lasted)
    }

    /// An imagined ejection that a real one overtakes, or that is out of date.
    pub(super) const fn abort(&mut self) {
        self.running = None;
    }

    /// Forgives a little after an interval without ejection.
    pub(super) fn decay(&mut self, now: Instant, settings: &OutlierDetection) {
        let is_quiet = self.ended.is_some_and(|ended| {
            !self.is_running() && settings.interval <= now.saturating_duration_since(ended)
        });
        if is_quiet {
            self.backoff = self.backoff.saturating_sub(1);
        }
    }

    /// The ejection that lasts.
    pub(super) fn status(&self, settings: &OutlierDetection) -> Option<Ejection> {
        let Running { detection, since, jitter } = self.running?;
        Some(Ejection { detection, since, until: since + self.length(settings, jitter) })
    }

    fn length(&self, settings: &OutlierDetection, jitter: Duration) -> Duration {
        let grown = settings.ejection_time_base.saturating_mul(self.backoff);
        grown.min(settings.ejection_time_max).saturating_add(jitter)
    }
}

/// Whole milliseconds from nothing to `max`, both included, as Envoy draws them.
fn jitter(max: Duration, dice: &mut dyn FnMut() -> f64) -> Duration {
    let max_ms = max.as_millis() as u64;
    if max_ms == 0 {
        return Duration::ZERO;
    }
    Duration::from_millis(((dice() * (max_ms + 1) as f64) as u64).min(max_ms))
}

/// Ejections that are detected but not enforced.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    pub(super) record: Record,
    /// Of the one that runs.
    cost: Cost,
}

impl Shadow {
    /// Counts an attempt that would have gone elsewhere: one that began while the ejection would
    /// have lasted.
    pub(super) fn passed(&mut self, started: Instant, has_succeeded: bool) {
        if self.record.running.is_some_and(|running| running.since <= started) {
            self.cost.attempts += 1;
            self.cost.succeeded += u64::from(has_succeeded);
        }
    }

    /// What it would have cost so far.
    pub(super) const fn cost(&self) -> Cost {
        self.cost
    }

    /// What it would have cost, at its end.
    pub(super) fn take_cost(&mut self) -> Cost {
        std::mem::take(&mut self.cost)
    }
}

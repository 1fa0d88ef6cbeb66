//! How much telemetry comes, and from how many.

use fusebox_proto::Now;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A sender counts for so long after its last request.
const SENDER_FOR: Duration = Duration::from_mins(1);
/// More senders than this are not told apart.
const SENDERS_MAX: usize = 4_096;
/// Spans per second are a mean over so many seconds.
const SECONDS: u64 = 10;
/// For so long after a drop the collector counts as degraded.
const DROPPED_FOR: Duration = Duration::from_mins(1);

/// Counters of what came in and of what was dropped.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    senders: HashMap<Arc<str>, Instant>,
    spans: BTreeMap<u64, u64>,
    dropped: BTreeMap<&'static str, u64>,
    dropped_total: u64,
    dropped_at: Option<Instant>,
}

impl Meter {
    /// An OTLP request brought spans.
    pub(crate) fn spans(&mut self, now: Now, sender: Option<Arc<str>>, spans: u64) {
        if let Some(sender) = sender
            && (self.senders.len() < SENDERS_MAX || self.senders.contains_key(&sender))
        {
            self.senders.insert(sender, now.instant);
        }
        *self.spans.entry(now.unix_ms / 1_000).or_default() += spans;
    }

    /// Something was dropped.
    pub(crate) fn dropped(&mut self, reason: &'static str, count: u64) {
        *self.dropped.entry(reason).or_default() += count;
    }

    /// What was dropped here since the start, by reason.
    pub(crate) fn dropped_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.dropped.iter().map(|(reason, count)| (*reason, *count))
    }

    /// A second passed, and `dropped_total` is what was dropped in all.
    pub(crate) fn age(&mut self, now: Now, dropped_total: u64) {
        self.senders.retain(|_, at| now.instant.saturating_duration_since(*at) < SENDER_FOR);
        let oldest = (now.unix_ms / 1_000).saturating_sub(SECONDS);
        self.spans = self.spans.split_off(&oldest);
        if self.dropped_total < dropped_total {
            self.dropped_at = Some(now.instant);
        }
        self.dropped_total = dropped_total;
    }

    /// Whether something was dropped lately.
    pub(crate) fn is_dropping(&self, now: Now) -> bool {
        self.dropped_at.is_some_and(|at| now.instant.saturating_duration_since(at) < DROPPED_FOR)
    }

    /// OTLP senders of the last minute.
    pub(crate) fn senders(&self) -> u64 {
        self.senders.len() as u64
    }

    /// Spans per second.
    pub(crate) fn spans_per_s(&self, now: Now) -> f64 {
        let second = now.unix_ms / 1_000;
        let recent = self.spans.range(second.saturating_sub(SECONDS)..second);
        recent.map(|(_, spans)| *spans).sum::<u64>() as f64 / SECONDS as f64
    }
}

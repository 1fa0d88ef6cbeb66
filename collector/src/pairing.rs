//! Spans → [`Observation`]s: who called whom, how often, and how it ended.

use crate::observe::Observation;
use crate::spans::SpanBatch;
use fusebox_proto::Now;
use std::time::Instant;

/// Joins spans within their traces.
#[derive(Debug, Default)]
pub struct Pairing {
    dropped: Dropped,
}

/// What was dropped since the start because a bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans that came while the join table was full.
    pub spans: u64,
    /// Spans that had been seen before: resent ones. Nothing is lost by them.
    pub duplicates: u64,
    /// Calls whose callee never became known.
    pub unplaced: u64,
    /// Names beyond the limit, taken as `other`.
    pub names: u64,
}

impl Pairing {
    /// An empty join table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the spans of one export request, and appends what they say.
    pub fn handle(&mut self, now: Now, batch: SpanBatch, out: &mut Vec<Observation>) {
        let _ = (now, batch, out);
    }

    /// When [`Pairing::handle_timeout`] is due; `None` while nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass: what waited long enough is settled without what never came.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Observation>) {
        let _ = (now, out);
    }

    /// What was dropped since the start.
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }
}

//! A trace while its spans come in.

use super::callee::Callee;
use super::ledger::Ledger;
use super::sequences::Told;
use crate::spans::{Span, SpanKind};
use fusebox_proto::trace::{SpanId, TraceId};
use std::collections::HashMap;
use std::time::Instant;

/// The spans of one trace so far, and what they were counted as.
#[derive(Debug)]
pub(super) struct Trace {
    spans: Vec<Held>,
    index: HashMap<SpanId, usize>,
    pub(super) ledger: Ledger,
    /// Of calls in sequence.
    pub(super) sequences: Told,
    /// When the first span came.
    pub(super) opened: Instant,
    /// When the last span came.
    pub(super) touched: Instant,
    /// When it was last looked at; `None` if it never was.
    pub(super) evaluated: Option<Instant>,
    /// When it must be looked at again.
    pub(super) due: Instant,
}

/// A span, and what is known of its arrival.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) span: Span,
    /// When it came.
    pub(super) arrived: Instant,
    /// To be added to its times, which its sender's clock gave.
    pub(super) shift_ms: i64,
    /// The queue that a linked span of another trace sent its message to.
    pub(super) linked: Option<Callee>,
}

impl Held {
    /// A time of this span's sender on our clock, ms since the Unix epoch.
    pub(super) fn unix_ms(&self, unix_ns: u64) -> u64 {
        (unix_ns / 1_000_000).saturating_add_signed(self.shift_ms)
    }
}

impl Trace {
    /// An empty one.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            spans: Vec::new(),
            index: HashMap::new(),
            ledger: Ledger::default(),
            sequences: Told::default(),
            opened: now,
            touched: now,
            evaluated: None,
            due: now,
        }
    }

    /// Adds a span that was not there before.
    pub(super) fn push(&mut self, held: Held) {
        self.touched = held.arrived;
        self.index.insert(held.span.span_id, self.spans.len());
        self.spans.push(held);
    }

    /// Looks up what the messages of consumers without a parent were sent to. What was found once is
    /// kept: the producer's trace may be forgotten first.
    pub(super) fn resolve_links(&mut self, look_up: impl Fn(TraceId, SpanId) -> Option<Callee>) {
        for held in &mut self.spans {
            if held.span.kind == SpanKind::Consumer && held.linked.is_none() {
                held.linked = held.span.links.iter().find_map(|&(trace, id)| look_up(trace, id));
            }
        }
    }

    /// All spans, in order of arrival.
    pub(super) fn spans(&self) -> &[Held] {
        &self.spans
    }

    /// Where each span is.
    pub(super) const fn index(&self) -> &HashMap<SpanId, usize> {
        &self.index
    }

    /// One span.
    pub(super) fn get(&self, id: SpanId) -> Option<&Span> {
        self.index.get(&id).map(|&at| &self.spans[at].span)
    }
}

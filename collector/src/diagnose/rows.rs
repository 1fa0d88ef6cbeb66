//! The spans of a capture, each in few bytes, with everything that it is named by kept once.

use crate::decode::visible;
use crate::spans::{Peer, Span, SpanBatch, SpanKind};
use fusebox_proto::ServiceId;
use fusebox_proto::trace::TraceId;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

/// Spans beyond this many are not taken. One takes at most some 300 bytes until the report is
/// made: 600 MB.
pub const SPANS_MAX: usize = 2_000_000;
/// Services beyond this many are one.
pub(super) const SERVICES_MAX: usize = 5_000;
/// Operations and peers beyond this many are one.
pub(super) const WORDS_MAX: usize = 50_000;

/// When spans were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// At a time that is known to be good: before everything else, whatever its clock says.
    Baseline,
    /// In what is to be diagnosed.
    Capture,
}

/// There is no room for more spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {SPANS_MAX} spans; take a shorter time or a sample of the traces")]
pub struct Full;

/// One span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) trace: u32,
    /// Unique in the trace.
    pub(super) id: u64,
    /// 0 for a root.
    pub(super) parent: u64,
    pub(super) service: u32,
    pub(super) operation: u32,
    /// A client's name for the other side, if it has one.
    pub(super) peer: Option<u32>,
    pub(super) kind: SpanKind,
    pub(super) is_failed: bool,
    pub(super) is_baseline: bool,
    /// Made by something beside the application.
    pub(super) is_sidecar: bool,
    pub(super) weight: f32,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// The spans of a capture, and of the baseline beside it.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    pub(super) rows: Vec<Row>,
    pub(super) services: Words<ServiceId>,
    pub(super) words: Words<Arc<str>>,
    traces: HashMap<TraceId, u32, foldhash::fast::RandomState>,
}

impl Spans {
    /// Adds spans, in any order.
    ///
    /// # Errors
    /// If there is no room for all of them: then some were added.
    pub fn add(&mut self, batch: SpanBatch, period: Period) -> Result<(), Full> {
        for span in batch.spans {
            if self.rows.len() == SPANS_MAX {
                return Err(Full);
            }
            // What a proxy refused was never an attempt.
            if !span.is_refused {
                let next = self.traces.len() as u32;
                let trace = *self.traces.entry(span.trace_id).or_insert(next);
                let mut row = Row::new(&span, trace, &mut self.services, &mut self.words);
                row.is_baseline = period == Period::Baseline;
                self.rows.push(row);
            }
        }
        Ok(())
    }

    /// Spans that were read before.
    pub(super) fn of(rows: Vec<Row>, services: Words<ServiceId>, words: Words<Arc<str>>) -> Self {
        Self { rows, services, words, ..Self::default() }
    }

    /// How many traces there are.
    pub(super) fn traces(&self) -> usize {
        let traces = self.rows.iter().map(|row| row.trace);
        traces.collect::<HashSet<u32, foldhash::fast::RandomState>>().len()
    }
}

impl Row {
    /// A span of the trace with this number.
    pub(super) fn new(
        span: &Span,
        trace: u32,
        services: &mut Words<ServiceId>,
        words: &mut Words<Arc<str>>,
    ) -> Self {
        let number = |id: &[u8; 8]| u64::from_be_bytes(*id);
        let peer = span.peer.as_deref().and_then(peer_name);
        Self {
            trace,
            id: number(span.span_id.as_bytes()),
            parent: span.parent_id.map_or(0, |parent| number(parent.as_bytes())),
            service: services.number(&span.origin.service, SERVICES_MAX),
            operation: words.number(&span.operation, WORDS_MAX),
            peer: peer.map(|peer| words.number(&Arc::from(peer), WORDS_MAX)),
            kind: span.kind,
            is_failed: span.outcome != crate::observe::Outcome::Success,
            is_baseline: false,
            is_sidecar: span.is_sidecar(),
            weight: span.weight as f32,
            start_ns: span.start_unix_ns,
            end_ns: span.end_unix_ns,
        }
    }

    /// Takes the numbers of other names for the same.
    pub(super) fn rename(
        &mut self,
        (services, words): (&Words<ServiceId>, &Words<Arc<str>>),
        (services_now, words_now): (&mut Words<ServiceId>, &mut Words<Arc<str>>),
    ) {
        self.operation = words_now.number(words.get(self.operation), WORDS_MAX);
        self.peer = self.peer.map(|peer| words_now.number(words.get(peer), WORDS_MAX));
        self.service = services_now.number(services.get(self.service), SERVICES_MAX);
    }
}

/// What a client calls the other side: a service, an address, a kind of store.
fn peer_name(peer: &Peer) -> Option<String> {
    let names = [&peer.service, &peer.address, &peer.destination, &peer.system];
    let name = names.into_iter().find(|name| !name.is_empty())?;
    Some(visible(name))
}

/// Names by number, each kept once. The last number stands for all that came too late.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words<T: Eq + Hash> {
    all: Vec<T>,
    numbers: HashMap<T, u32, foldhash::fast::RandomState>,
}

impl<T: Eq + Hash> Default for Words<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: HashMap::default() }
    }
}

impl<T: Clone + Eq + Hash> Words<T> {
    pub(super) fn number(&mut self, word: &T, len_max: usize) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.all.len().min(len_max - 1);
        if number == self.all.len() {
            self.all.push(word.clone());
            self.numbers.insert(word.clone(), number as u32);
        }
        number as u32
    }

    pub(super) fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }

    pub(super) fn find(&self, word: &T) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.iter()
    }
}

//! The attempts of a trace: from its shape, from what was learned, and from nothing else, so that
//! the order in which spans came makes no difference.
//!
//! ```text
//! shape A: one CLIENT span, k spans of the callee below it: the library repeats out of sight.
//! shape B: k CLIENT spans side by side: same owner, same target, same callee.
//! ```
//!
//! Both become *tries*. Tries of one call, in order of their start, are classed by what went before:
//! after one that did not succeed it is a retry, beside one that still runs a hedge, and after a
//! success something new (N+1, polling, a redirect). Times are compared between spans of one process
//! only.

use super::callee::{self, Callee, Learned};
use super::sequences::Sequences;
use super::shape::Shape;
use super::trace::Held;
use super::tries::Try;
use crate::observe::{AttemptClass, Ending, Waited};
use crate::spans::{Emitter, Span, SpanKind, Target};
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::SpanId;
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Edge, ServiceId};
use std::collections::BTreeMap;
use std::time::Instant;

/// An attempt, ready to be told.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) edge: Edge,
    /// What source and destination are.
    pub(super) kinds: [ServiceKind; 2],
    pub(super) protocol: Protocol,
    pub(super) ending: Ending,
    pub(super) latency_us: Option<u64>,
    pub(super) waited: Option<Waited>,
    pub(super) weight: f64,
    pub(super) at_unix_ms: u64,
    pub(super) from_proxy: bool,
}

/// What a look at a trace gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// All attempts whose callee is known.
    pub(super) attempts: Vec<Attempt>,
    /// Calls of one request that went well.
    pub(super) sequences: Sequences,
    /// When the first of those must be looked at again whose callee is not known yet.
    pub(super) waits_until: Option<Instant>,
    /// Calls that nothing is known of, after the wait.
    pub(super) unplaced: u64,
}

/// Tries that may be repetitions of each other: one owner, one target, one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call<'a> {
    owner: Option<SpanId>,
    pub(super) target: Option<Target>,
    address: &'a str,
    /// A span, where nothing tells what was asked for: then it is like no other.
    alone: Option<SpanId>,
}

/// A look at one trace.
pub(super) struct Reader<'a> {
    pub(super) shape: &'a Shape<'a>,
    pub(super) now: Instant,
    /// Nothing more is waited for.
    pub(super) is_last: bool,
    calls: BTreeMap<Call<'a>, Vec<(Option<Callee>, Try)>>,
    pub(super) found: Found,
}

/// All attempts of a trace, as far as its spans tell at `now`. With `is_last`, nothing more is
/// waited for.
pub(super) fn of(shape: &Shape<'_>, learned: &mut Learned, now: Instant, is_last: bool) -> Found {
    let mut reader =
        Reader { shape, now, is_last, calls: BTreeMap::new(), found: Found::default() };
    for at in 0..shape.spans.len() {
        if shape.is_leaf(at) {
            reader.leaf(at, learned);
        } else {
            if shape.is_self_call(at) {
                reader.self_call(at, learned);
            }
            for &entry in shape.entries(at) {
                reader.bare_entry(entry, at, learned);
            }
        }
        if shape.spans[at].span.kind == SpanKind::Consumer && !shape.is_inner_consumer(at) {
            reader.consumer(at);
        }
    }
    for (call, tries) in std::mem::take(&mut reader.calls) {
        reader.call(call, tries, learned);
    }
    reader.found
}

impl<'a> Reader<'a> {
    pub(super) fn span(&self, at: usize) -> &'a Span {
        &self.shape.spans[at].span
    }

    pub(super) fn held(&self, at: usize) -> &'a Held {
        &self.shape.spans[at]
    }

    /// A client span at the edge of its service.
    fn leaf(&mut self, at: usize, learned: &mut Learned) {
        let exits: Vec<usize> = self.shape.exits(at).collect();
        let top = exits.last().copied().unwrap_or(at);
        if self.span(at).is_refused {
            return;
        }
        let queue = exits.iter().rev().find_map(|&exit| queue(self.span(exit)));
        if let Some(queue) = queue {
            self.message(at, &queue);
            return;
        }
        let entries: Vec<usize> = self.shape.entries(at).to_vec();
        let entries: Vec<usize> =
            entries.into_iter().filter(|&at| self.span(at).kind != SpanKind::Consumer).collect();
        let certain = exits.iter().rev().find_map(|&exit| callee::certain(self.span(exit)));
        let target = exits.iter().rev().find_map(|&exit| self.span(exit).target);
        let call = Call {
            owner: self.shape.owner(top),
            target,
            address: self.span(top).peer.as_ref().map_or("", |peer| &*peer.address),
            alone: target.is_none().then_some(self.span(at).span_id),
        };
        for (service, attempt) in super::tries::of_leaf(self.shape, at, top, &entries) {
            let seen = service.map(|service| Callee { service, kind: ServiceKind::Service });
            if let Some(seen) = &seen {
                for &exit in &exits {
                    learned.learn(self.now, self.span(exit), seen);
                }
            }
            let callee = seen.or_else(|| certain.clone());
            self.calls.entry(call).or_default().push((callee, attempt));
        }
    }

    /// A client span of a service that calls itself: no edge, also when the answer does not come.
    fn self_call(&self, at: usize, learned: &mut Learned) {
        let service = self.span(at).origin.service.clone();
        let itself = Callee { service, kind: ServiceKind::Service };
        for exit in self.shape.exits(at) {
            learned.learn(self.now, self.span(exit), &itself);
        }
    }

    /// A span below one of another service that is no client span: the caller's library has no
    /// instrumentation, but passed the context on.
    fn bare_entry(&mut self, entry: usize, caller: usize, learned: &mut Learned) {
        let span = self.span(entry);
        if span.kind == SpanKind::Consumer {
            return;
        }
        let above = self.span(caller);
        let owner = match above.kind {
            SpanKind::Internal => self.shape.owner(caller),
            _ => Some(above.span_id),
        };
        let alone = span.target.is_none().then_some(span.span_id);
        let call = Call { owner, target: span.target, address: "", alone };
        let callee = Callee { service: span.origin.service.clone(), kind: ServiceKind::Service };
        if self.shape.is_exit(caller) {
            for exit in self.shape.exits(caller) {
                learned.learn(self.now, self.span(exit), &callee);
            }
        }
        let attempt = super::tries::of_entry(self.shape, entry, caller);
        self.calls.entry(call).or_default().push((Some(callee), attempt));
    }

    /// A message was sent to a queue by the span `at`; who has a span of kind server below it took
    /// it from there.
    fn message(&mut self, at: usize, queue: &Callee) {
        let sent = super::tries::of_leaf(self.shape, at, at, &[]);
        let service = &self.span(at).origin.service;
        for (_, attempt) in sent {
            let ends = [(service, ServiceKind::Service), (&queue.service, ServiceKind::Messaging)];
            self.attempt(&attempt, ends, AttemptClass::First);
        }
        for &entry in self.shape.entries(at) {
            if self.span(entry).kind != SpanKind::Consumer {
                self.taken(entry, queue);
            }
        }
    }

    /// A message was taken from a queue by the span `at`. Its producer's name for the queue counts,
    /// where that is known: some consumers see an exchange or a routing key.
    fn consumer(&mut self, at: usize) {
        let span = self.span(at);
        let producer = self.shape.caller(at);
        let exits = producer.into_iter().flat_map(|producer| self.shape.exits(producer));
        let by_parent = exits.collect::<Vec<_>>().into_iter().rev();
        let mut by_parent = by_parent.filter_map(|exit| queue(self.span(exit)));
        let by_link = || self.held(at).linked.clone();
        match by_parent.next().or_else(by_link).or_else(|| callee::destination(span)) {
            Some(queue) => self.taken(at, &queue),
            None => {
                if let Some(producer) = producer {
                    let source = &self.span(producer).origin.service;
                    let ends = [source, &span.origin.service].map(|it| (it, ServiceKind::Service));
                    let attempt = super::tries::of_entry(self.shape, at, producer);
                    self.attempt(&attempt, ends, AttemptClass::First);
                }
            }
        }
    }

    fn taken(&mut self, at: usize, queue: &Callee) {
        let service = &self.span(at).origin.service;
        let ends = [(&queue.service, ServiceKind::Messaging), (service, ServiceKind::Service)];
        let attempt = super::tries::of_entry(self.shape, at, at);
        self.attempt(&attempt, ends, AttemptClass::First);
    }

    /// An attempt between these ends was made.
    pub(super) fn attempt(
        &mut self,
        attempt: &Try,
        ends: [(&ServiceId, ServiceKind); 2],
        class: AttemptClass,
    ) {
        let [(source, source_kind), (destination, destination_kind)] = ends;
        if source == destination {
            return;
        }
        let exits: Vec<usize> =
            attempt.leaf.into_iter().flat_map(|leaf| self.shape.exits(leaf)).collect();
        let spans = || exits.iter().copied().chain(attempt.entry).map(|at| self.span(at));
        let protocols = spans().map(|span| span.protocol);
        let found = Attempt {
            edge: Edge::new(source.clone(), destination.clone()),
            kinds: [source_kind, destination_kind],
            protocol: protocols
                .into_iter()
                .find(|&protocol| protocol != Protocol::Unknown)
                .unwrap_or_default(),
            ending: Ending { class, outcome: attempt.outcome },
            latency_us: attempt.latency_us,
            waited: attempt.waited,
            weight: spans().next().map_or(1.0, |span| span.weight),
            at_unix_ms: attempt.at_unix_ms,
            from_proxy: exits.iter().any(|&exit| self.span(exit).emitter == Emitter::Proxy),
        };
        self.found.attempts.push(found);
    }
}

/// What a span sends a message to; `None` if it sends none.
pub(super) fn queue(span: &Span) -> Option<Callee> {
    let is_message = span.kind == SpanKind::Producer || span.protocol == Protocol::Messaging;
    if is_message { callee::destination(span) } else { None }
}

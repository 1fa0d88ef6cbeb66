//! The shape of a trace: which spans leave a service, and which enter one.
//!
//! ```text
//! A: SERVER ── INTERNAL ── CLIENT ── [Envoy or proxy of A] ──┐        exits of A, one chain
//!                                                            │        crossing
//!                    B: [Envoy or proxy of B] ── SERVER ─────┘        entry of B
//! ```
//!
//! Parents are compared by the service that sent them. What stays within a service (an application
//! and its sidecars, a client library within another, a service that calls itself) is one hop: of
//! a chain of exits the last, the *leaf*, makes the attempts, and the first, the *top*, is the call
//! as the application meant it.

use super::let_in::shortest_around;
use super::trace::Held;
use crate::spans::{Emitter, Origin, Span, SpanKind};
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::SpanId;
use std::collections::HashMap;

/// An ancestor further away than this is not looked for; it also ends circles.
const ANCESTORS_MAX: usize = 64;

/// What the spans of a trace are to each other, by index.
pub(super) struct Shape<'a> {
    pub(super) spans: &'a [Held],
    parents: Vec<Option<usize>>,
    exits: Vec<bool>,
    /// Exits that have another exit of their service below them.
    inner: Vec<bool>,
    /// Exits that lead back into their own service.
    selves: Vec<bool>,
    /// Requests that a proxy let in, by proxy.
    let_in: HashMap<&'a Origin, Vec<usize>>,
    /// The first span without a parent here, where all others without one are beside it.
    beginning: Option<usize>,
    /// For each span those below it that belong to another service.
    entries: Vec<Vec<usize>>,
}

impl<'a> Shape<'a> {
    /// Looks at all spans of a trace.
    pub(super) fn of(spans: &'a [Held], index: &HashMap<SpanId, usize>) -> Self {
        let parents: Vec<Option<usize>> = spans
            .iter()
            .enumerate()
            .map(|(at, held)| {
                let parent = held.span.parent_id.and_then(|id| index.get(&id).copied());
                parent.filter(|&parent| parent != at)
            })
            .collect();
        let mut let_in: HashMap<&Origin, Vec<usize>> = HashMap::new();
        for (at, Held { span, .. }) in spans.iter().enumerate() {
            if (span.emitter, span.kind) == (Emitter::Proxy, SpanKind::Server) {
                let_in.entry(&*span.origin).or_default().push(at);
            }
        }
        let mut shape = Self {
            spans,
            entries: vec![Vec::new(); spans.len()],
            let_in,
            exits: vec![false; spans.len()],
            inner: vec![false; spans.len()],
            selves: vec![false; spans.len()],
            beginning: None,
            parents,
        };
        let mut tops = (0..spans.len()).filter(|&at| shape.parents[at].is_none());
        let first = tops.next();
        let beginning = first.filter(|&first| tops.all(|top| shape.is_beside(top, first)));
        shape.beginning = beginning;
        for at in 0..spans.len() {
            if let Some(parent) = shape.parents[at].filter(|&parent| !shape.is_same(at, parent)) {
                shape.entries[parent].push(at);
            }
        }
        for at in 0..spans.len() {
            shape.exits[at] = shape.leaves(at);
        }
        for at in 0..spans.len() {
            shape.relate(at);
        }
        shape
    }

    fn is_same(&self, a: usize, b: usize) -> bool {
        self.spans[a].span.origin.service == self.spans[b].span.origin.service
    }

    /// Whether a span leaves its service, by its kind and its neighbours.
    fn leaves(&self, at: usize) -> bool {
        let span = &self.spans[at].span;
        let has_entries = !self.entries[at].is_empty();
        let parent = self.parents[at].filter(|&parent| self.is_same(at, parent));
        match (span.emitter, span.kind) {
            // `dns.lookup` is a client span too, and names nobody.
            (Emitter::Application, SpanKind::Client | SpanKind::Producer) => {
                has_entries
                    || span.protocol != Protocol::Unknown
                    || span.target.is_some()
                    || span
                        .peer
                        .as_ref()
                        .is_some_and(|peer| !peer.address.is_empty() || !peer.service.is_empty())
            }
            (Emitter::Proxy | Emitter::Envoy, SpanKind::Client) => true,
            (Emitter::Envoy, SpanKind::Server) => has_entries || parent.is_some(),
            // One upstream attempt of the Envoy above, in or out.
            (Emitter::EnvoyRouter, _) => {
                has_entries
                    || parent.is_some_and(|above| {
                        self.spans[above].span.emitter == Emitter::Envoy && self.leaves(above)
                    })
            }
            _ => false,
        }
    }

    /// Marks the exits above span `at`, within its service.
    fn relate(&mut self, at: usize) {
        if self.is_request(at) {
            let above = self.parents[at].filter(|&above| self.is_same(at, above));
            let is_message = self.spans[at].span.kind == SpanKind::Consumer;
            if let Some(exit) = above.filter(|&above| self.exits[above] && !is_message) {
                self.selves[exit] = true;
            }
        } else if self.exits[at] {
            let above: Vec<usize> = self.exits(at).skip(1).collect();
            for exit in above {
                self.inner[exit] = true;
            }
        }
    }

    /// Whether a span handles a request of its service, so that what is above it is another one.
    fn is_request(&self, at: usize) -> bool {
        let span = &self.spans[at].span;
        match (span.kind, span.emitter) {
            // An egress Envoy may call itself a server; then its application is above it.
            (SpanKind::Server, Emitter::Envoy) => {
                self.parents[at].is_none_or(|parent| !self.is_same(at, parent))
            }
            (SpanKind::Server | SpanKind::Consumer, _) => true,
            _ => false,
        }
    }

    /// Whether span `at` leaves its service.
    pub(super) fn is_exit(&self, at: usize) -> bool {
        self.exits[at]
    }

    /// Whether span `at` makes the attempts of a call to another service.
    pub(super) fn is_leaf(&self, at: usize) -> bool {
        self.exits[at] && !self.inner[at] && !self.selves[at]
    }

    /// Whether span `at` is a call of the service to itself.
    pub(super) fn is_self_call(&self, at: usize) -> bool {
        self.selves[at]
    }

    /// Spans of other services right below span `at`.
    pub(super) fn entries(&self, at: usize) -> &[usize] {
        &self.entries[at]
    }

    /// The span that a span of another service is below.
    pub(super) fn caller(&self, at: usize) -> Option<usize> {
        self.parents[at].filter(|&parent| !self.is_same(at, parent))
    }

    /// Whether all of the trace is below span `at`, which has no parent here, and others of its service
    /// with the same parent, which is not there.
    pub(super) fn is_beginning(&self, at: usize) -> bool {
        self.beginning.is_some_and(|top| self.is_beside(at, top))
    }

    fn is_beside(&self, a: usize, b: usize) -> bool {
        self.is_same(a, b) && self.spans[a].span.parent_id == self.spans[b].span.parent_id
    }

    /// Ancestors of span `at` within its service, the nearest first; `at` itself is the first.
    pub(super) fn chain(&self, at: usize) -> impl Iterator<Item = usize> {
        let next = |&at: &usize| self.parents[at].filter(|&parent| self.is_same(at, parent));
        std::iter::successors(Some(at), next).take(ANCESTORS_MAX)
    }

    /// The exits from `at`, itself one, upwards to the request that they serve.
    pub(super) fn exits(&self, at: usize) -> impl Iterator<Item = usize> {
        let above = self.chain(at).skip(1).take_while(|&at| !self.is_request(at));
        std::iter::once(at).chain(above.filter(|&at| self.exits[at]))
    }

    /// Who made the call of span `at`: its nearest ancestor that is more than a step within the
    /// process. Calls of one owner may be repetitions of each other.
    pub(super) fn owner(&self, at: usize) -> Option<SpanId> {
        let mut owner = self.spans[at].span.parent_id;
        for ancestor in self.chain(at).skip(1) {
            let span = &self.spans[ancestor].span;
            if span.kind != SpanKind::Internal {
                return Some(span.span_id);
            }
            owner = Some(span.parent_id.unwrap_or(span.span_id));
        }
        owner
    }

    /// The request that span `at`, the top of a call, is made for. While the span of the application is
    /// not there that a proxy's own is below, the proxy's requests tell.
    pub(super) fn request(&self, at: usize) -> Option<SpanId> {
        let call = &self.spans[at].span;
        if call.emitter != Emitter::Proxy || self.parents[at].is_some() {
            return self.owner(at);
        }
        let requests = self.let_in.get(&*call.origin)?.iter().map(|&at| &self.spans[at].span);
        let times = |span: &Span| [span.start_unix_ns, span.end_unix_ns];
        shortest_around(times(call), requests.map(|span| (span.span_id, times(span))))
    }

    /// Whether a message handler within another one: the same message, seen by two layers.
    pub(super) fn is_inner_consumer(&self, at: usize) -> bool {
        let mut above = self.chain(at).skip(1).take_while(|&above| !self.exits[above]);
        above.any(|above| self.spans[above].span.kind == SpanKind::Consumer)
    }

    /// Requests that only a sidecar of the service saw, because its application sends no spans.
    pub(super) fn served_unseen(&self) -> impl Iterator<Item = usize> {
        let is_sidecar_request =
            |at: usize| self.spans[at].span.is_sidecar() && self.is_request(at);
        let mut seen = vec![false; self.spans.len()];
        for at in (0..self.spans.len()).filter(|&at| self.is_request(at)) {
            // Of two sidecars in a row, the outer one stands for both.
            let is_sidecar = self.spans[at].span.is_sidecar();
            seen[at] |= is_sidecar && self.chain(at).skip(1).any(is_sidecar_request);
            if !is_sidecar {
                self.chain(at).for_each(|above| seen[above] = true);
            }
        }
        (0..self.spans.len()).filter(move |&at| is_sidecar_request(at) && !seen[at])
    }
}

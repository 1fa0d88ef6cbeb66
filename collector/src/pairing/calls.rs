//! Tries of one call: who was called, and which of them are repetitions.

use super::attempts::{Call, Reader};
use super::callee::{self, Callee, Learned};
use super::sequences;
use super::tries::{self, Try};
use crate::observe::{AttemptClass, Observation, Outcome};
use crate::spans::{Span, SpanKind};
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Edge, ServiceId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// For this long a client span waits for a span of its callee, before what it calls is taken for
/// something without telemetry; and for the span that it was made for. SDKs export every 5 s, and the
/// two ends of a call come up to 5.1 s apart.
const REORDER_WAIT: Duration = Duration::from_secs(7);

impl Reader<'_> {
    /// All tries of one call.
    pub(super) fn call(
        &mut self,
        call: Call<'_>,
        mut tries: Vec<(Option<Callee>, Try)>,
        learned: &mut Learned,
    ) {
        tries.sort_by_key(|(_, attempt)| attempt.order);
        let mut seen: Vec<Callee> = tries
            .iter()
            .filter(|(_, it)| it.entry.is_some())
            .filter_map(|(it, _)| it.clone())
            .collect();
        seen.dedup();
        let sibling = if let [only] = &seen[..] { Some(only.clone()) } else { None };
        let mut callees: BTreeMap<ServiceId, (ServiceKind, Vec<Try>)> = BTreeMap::new();
        for (known, attempt) in tries {
            let callee =
                known.or_else(|| sibling.clone()).or_else(|| self.callee(attempt.leaf?, learned));
            if let Some(Callee { service, kind }) = callee {
                callees.entry(service).or_insert((kind, Vec::new())).1.push(attempt);
            }
        }
        for (service, (kind, tries)) in callees {
            self.classify(call, &service, kind, tries);
        }
    }

    /// Who is called by a client span that nobody answered.
    fn callee(&mut self, leaf: usize, learned: &mut Learned) -> Option<Callee> {
        let exits: Vec<&Span> = self.shape.exits(leaf).map(|exit| self.span(exit)).collect();
        let known = exits.iter().find_map(|exit| learned.look_up(self.now, exit));
        if let Some(known) = known {
            return Some(known.clone());
        }
        if self.waits(leaf) {
            return None;
        }
        // Above a sidecar the address is the sidecar's own.
        let is_sidecar = self.span(leaf).is_sidecar();
        let named = if is_sidecar { &exits[..1] } else { &exits[..] };
        let external = named.iter().find_map(|exit| callee::external(exit));
        match &external {
            Some(external) => learned.guess(self.now, self.span(leaf), external),
            None => self.found.unplaced += 1,
        }
        external
    }

    /// A first attempt went well: it may be one of many.
    fn in_sequence(&mut self, call: Call<'_>, edge: &Edge, attempt: &Try) {
        let request = attempt.top.and_then(|top| self.shape.request(top));
        let (Some(leaf), Some(request), Some(target)) = (attempt.leaf, request, call.target) else {
            return;
        };
        if edge.source == edge.destination {
            return;
        }
        let held = self.held(leaf);
        let span = &held.span;
        let named = attempt.entry.map_or(span, |entry| self.span(entry));
        let one = sequences::Call {
            start_ns: span.start_unix_ns,
            end_ns: span.end_unix_ns,
            at_unix_ms: held.unix_ms(span.end_unix_ns),
            operation: Arc::clone(&named.operation),
            weight: span.weight,
        };
        self.found.sequences.add(edge, target.kind, request, one);
    }

    /// A first attempt may be for nobody's request: its trace begins in the caller, with no request.
    /// Where it names a parent, as below a job without a span or a service without an SDK, that one may
    /// still come.
    fn unasked(&mut self, edge: &Edge, attempt: &Try) {
        let Some(top) = attempt.top else { return };
        let root_at = self.shape.chain(top).last().unwrap_or(top);
        let root = self.span(root_at);
        let is_request = matches!(root.kind, SpanKind::Server | SpanKind::Consumer);
        if is_request || root.origin.service != edge.source || !self.shape.is_beginning(root_at) {
            return;
        }
        if root.parent_id.is_some() && self.waits(top) {
            return;
        }
        let held = self.held(top);
        let span = &held.span;
        let unasked = Observation::Unasked {
            edge: edge.clone(),
            instance: span.origin.instance.clone().unwrap_or_default(),
            operation: Arc::clone(&span.operation),
            asked_for: span.asked_for(),
            at_unix_ms: held.unix_ms(span.start_unix_ns),
            took_ms: span.duration_us() / 1_000,
        };
        self.found.sequences.add_unasked(unasked);
    }

    /// Whether spans that explain span `at` may still come; then the trace is read again.
    fn waits(&mut self, at: usize) -> bool {
        let waits_until = self.held(at).arrived + REORDER_WAIT;
        let waits = self.now < waits_until && !self.is_last;
        if waits {
            let until = self.found.waits_until.get_or_insert(waits_until);
            *until = waits_until.min(*until);
        }
        waits
    }

    /// Tells apart what is new and what is a repetition, among all tries of one call on one callee.
    fn classify(
        &mut self,
        call: Call<'_>,
        service: &ServiceId,
        kind: ServiceKind,
        mut tries: Vec<Try>,
    ) {
        for at in 0..tries.len() {
            let Some(top) = tries[at].top else { continue };
            let is_last = tries.get(at + 1).is_none_or(|next| next.top != Some(top));
            if is_last && tries[at].leaf != Some(top) {
                tries[at].outcome = tries::under_top(self.span(top), tries[at].outcome);
            }
        }
        let is_whole = call.target.is_some_and(|target| target.is_whole);
        let (mut running_until_ns, mut repeated) = (0, 0);
        for (at, attempt) in tries.iter().enumerate() {
            let previous = at.checked_sub(1).map(|at| &tries[at]);
            let is_same_leaf =
                previous.is_some_and(|it| it.leaf.is_some() && it.leaf == attempt.leaf);
            let leaf = attempt.leaf.map(|leaf| self.span(leaf));
            let overlaps = !is_same_leaf
                && leaf.is_some_and(|leaf| {
                    leaf.start_unix_ns.saturating_add(tries::ROUNDING_NS) < running_until_ns
                });
            let says_retry = !is_same_leaf
                && [attempt.leaf, attempt.top]
                    .into_iter()
                    .flatten()
                    .any(|exit| 0 < self.span(exit).resend_count);
            let failed_before = previous.is_some_and(|it| it.outcome != Outcome::Success);
            let class = match () {
                () if says_retry => AttemptClass::Retry,
                () if overlaps && is_whole => AttemptClass::Hedge,
                () if overlaps => AttemptClass::First,
                () if failed_before => AttemptClass::Retry,
                () => AttemptClass::First,
            };
            repeated = if class == AttemptClass::Retry { repeated + 1 } else { 0 };
            let waited = previous.filter(|_| class == AttemptClass::Retry);
            let waited = waited.and_then(|it| tries::waited(self.shape, it, attempt, repeated));
            if let Some(leaf) = leaf {
                running_until_ns = running_until_ns.max(leaf.end_unix_ns);
            }
            let entry = attempt.entry.and_then(|entry| self.shape.caller(entry));
            if let Some(caller) = attempt.leaf.or(entry) {
                let source = (&self.span(caller).origin.service, ServiceKind::Service);
                let told = Try { waited, ..attempt.clone() };
                self.attempt(&told, [source, (service, kind)], class);
                let edge = Edge::new(source.0.clone(), service.clone());
                if class == AttemptClass::First {
                    self.unasked(&edge, attempt);
                }
                if class == AttemptClass::First && attempt.outcome == Outcome::Success {
                    self.in_sequence(call, &edge, attempt);
                }
            }
        }
    }
}

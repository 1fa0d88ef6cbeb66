//! Spans → [`Observation`]s: who called whom, how often, and how it ended.
//!
//! Spans of one trace come from many senders, in any order, over some ten seconds, and some of them
//! twice. The spans of a trace are kept until it has been quiet for a while; whenever some come,
//! the whole trace is read anew ([`shape`], [`attempts`]), and the difference to what was told
//! before is told ([`ledger`]). So an attempt is told as soon as its callee is known, and what is
//! told in the end does not depend on the order in which spans came.
//!
//! ```text
//!  spans ─ seen? ─ clock ─ names ─▶ trace ─▶ shape ─▶ attempts ─▶ ledger ─▶ observations
//!                                              ▲ learned: (caller, address) → callee
//! ```

mod attempts;
mod callee;
mod calls;
mod clock;
mod ledger;
mod let_in;
mod names;
mod seen;
mod sequences;
mod shape;
#[cfg(test)]
mod tests;
mod trace;
mod tries;

pub(crate) use let_in::shortest_around;

use crate::observe::Observation;
use crate::spans::{Emitter, Origin, Span, SpanBatch, SpanKind};
use attempts::Attempt;
use fusebox_proto::trace::TraceId;
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Now, ServiceId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trace::{Held, Trace};

/// A trace that was quiet for this long is forgotten. The server span of an attempt that its caller
/// gave up came up to 10.7 s after the caller's.
const QUIET_MAX: Duration = Duration::from_secs(20);
/// A trace is cut after this long, so that a job of hours does not fill the table; what comes later
/// is read as if it were another trace.
const OPEN_MAX: Duration = Duration::from_mins(2);
/// A trace is cut at this many spans.
const TRACE_SPANS_MAX: usize = 4_096;
/// Spans in the table, some 300 B each. Beyond, the traces that would be forgotten next are
/// forgotten at once.
const SPANS_MAX: usize = 262_144;
/// A trace of more spans than this is read anew at most every [`LARGE_EVERY`], so that who sends
/// it span by span does not have it read thousands of times.
const SMALL_MAX: usize = 256;
/// See [`SMALL_MAX`].
const LARGE_EVERY: Duration = Duration::from_millis(250);
/// A node that is known from its callers only is told again at most this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(30);
/// Such nodes that are remembered; beyond, they are told more often.
const ANNOUNCED_MAX: usize = 16_384;

/// Joins spans within their traces.
#[derive(Debug)]
pub struct Pairing {
    traces: HashMap<TraceId, Trace>,
    /// All traces by when they must be looked at.
    due: BTreeSet<(Instant, TraceId)>,
    spans_held: usize,
    spans_max: usize,
    seen: seen::Seen,
    clocks: clock::Clocks,
    names: names::Names,
    learned: callee::Learned,
    announced: HashMap<ServiceId, Instant>,
    dropped: Dropped,
}

/// What was dropped since the start because a bound was reached, and what is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans forgotten early because the table was full: a call whose other end comes later is
    /// seen from one end only.
    pub spans: u64,
    /// Traces cut because they were too long, with the same effect at the cut.
    pub traces_cut: u64,
    /// Spans that had been seen before: resent ones. Nothing is lost by them.
    pub duplicates: u64,
    /// Calls whose callee never became known.
    pub unplaced: u64,
    /// Names beyond the limit, taken as `other`.
    pub names: u64,
    /// Addresses that could not be remembered.
    pub addresses: u64,
}

impl Pairing {
    /// An empty join table.
    pub fn new() -> Self {
        Self {
            traces: HashMap::new(),
            due: BTreeSet::new(),
            spans_held: 0,
            spans_max: SPANS_MAX,
            seen: seen::Seen::default(),
            clocks: clock::Clocks::default(),
            names: names::Names::default(),
            learned: callee::Learned::default(),
            announced: HashMap::new(),
            dropped: Dropped::default(),
        }
    }

    /// Takes the spans of one export request, and appends what they say.
    pub fn handle(&mut self, now: Now, batch: SpanBatch, out: &mut Vec<Observation>) {
        let senders = self.senders(now, &batch.spans, out);
        let mut touched: BTreeSet<TraceId> = BTreeSet::new();
        for mut span in batch.spans {
            if !self.seen.insert(now.instant, span.trace_id, span.span_id) {
                self.dropped.duplicates += 1;
                continue;
            }
            let Some((origin, shift_ms)) = senders.get(&Arc::as_ptr(&span.origin)) else {
                continue;
            };
            span.origin = Arc::clone(origin);
            let held = Held { span, arrived: now.instant, shift_ms: *shift_ms, linked: None };
            if is_served_for_certain(&held.span) {
                out.push(served(&held, false));
            }
            let id = held.span.trace_id;
            touched.insert(id);
            if self.hold(now.instant, held) {
                self.close(now, id, out);
                self.dropped.traces_cut += 1;
            }
        }
        for id in touched {
            self.look(now, id, out);
        }
        while self.spans_max < self.spans_held {
            let Some(&(_, next)) = self.due.first() else { break };
            let before = self.spans_held;
            self.close(now, next, out);
            self.dropped.spans += (before - self.spans_held) as u64;
        }
    }

    /// When [`Pairing::handle_timeout`] is due; `None` while nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Lets time pass: what waited long enough is settled without what never came.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Observation>) {
        while let Some(&(at, id)) = self.due.first() {
            if now.instant < at {
                break;
            }
            let is_over = self.traces.get(&id).is_none_or(|trace| {
                QUIET_MAX <= now.instant.saturating_duration_since(trace.touched)
            });
            if is_over {
                self.close(now, id, out);
            } else {
                self.look(now, id, out);
            }
        }
    }

    /// What was dropped since the start.
    pub fn dropped(&self) -> Dropped {
        Dropped { names: self.names.overflowed, addresses: self.learned.overflowed, ..self.dropped }
    }

    /// For each resource of a batch its sender, interned, and what to add to the sender's times.
    fn senders(
        &mut self,
        now: Now,
        spans: &[Span],
        out: &mut Vec<Observation>,
    ) -> HashMap<*const Origin, (Arc<Origin>, i64)> {
        let mut resources: HashMap<*const Origin, Arc<Origin>> = HashMap::new();
        let mut newest: HashMap<Arc<Origin>, u64> = HashMap::new();
        for span in spans {
            let resource = resources.entry(Arc::as_ptr(&span.origin));
            let origin = resource.or_insert_with(|| self.names.origin(now.instant, &span.origin));
            let end = newest.entry(Arc::clone(origin)).or_default();
            *end = (span.end_unix_ns / 1_000_000).max(*end);
        }
        let mut shifts: HashMap<Arc<Origin>, i64> = HashMap::new();
        for (origin, newest_ms) in newest {
            let shift = self.clocks.shift_ms(now.instant, now.unix_ms, &origin, newest_ms);
            out.push(Observation::Node {
                service: origin.service.clone(),
                kind: ServiceKind::Service,
                instance: origin.instance.clone(),
                version: origin.version.clone(),
                at_unix_ms: newest_ms.saturating_add_signed(shift),
            });
            shifts.insert(origin, shift);
        }
        let shift = |origin: &Arc<Origin>| shifts.get(origin).copied().unwrap_or(0);
        resources
            .into_iter()
            .map(|(key, origin)| (key, (Arc::clone(&origin), shift(&origin))))
            .collect()
    }

    /// Puts a span into its trace; whether the trace is now as large as it may be.
    fn hold(&mut self, now: Instant, held: Held) -> bool {
        let id = held.span.trace_id;
        let trace = self.traces.entry(id).or_insert_with(|| {
            let trace = Trace::new(now);
            self.due.insert((trace.due, id));
            trace
        });
        trace.push(held);
        self.spans_held += 1;
        TRACE_SPANS_MAX <= trace.spans().len()
            || OPEN_MAX <= now.saturating_duration_since(trace.opened)
    }

    /// Reads a trace anew, unless it is large and was read just now.
    fn look(&mut self, now: Now, id: TraceId, out: &mut Vec<Observation>) {
        let Some(mut trace) = self.traces.remove(&id) else { return };
        self.due.remove(&(trace.due, id));
        let is_large = SMALL_MAX < trace.spans().len();
        let next = trace.evaluated.map(|at| at + LARGE_EVERY).filter(|_| is_large);
        trace.due = match next {
            Some(next) if now.instant < next => next,
            _ => {
                let waits_until = self.read(now, &mut trace, false, out);
                let forgotten = trace.touched + QUIET_MAX;
                waits_until.map_or(forgotten, |until| until.min(forgotten))
            }
        };
        self.due.insert((trace.due, id));
        self.traces.insert(id, trace);
    }

    /// Reads a trace for the last time and forgets it.
    fn close(&mut self, now: Now, id: TraceId, out: &mut Vec<Observation>) {
        let Some(mut trace) = self.traces.remove(&id) else { return };
        self.due.remove(&(trace.due, id));
        self.spans_held -= trace.spans().len();
        self.read(now, &mut trace, true, out);
        let shape = shape::Shape::of(trace.spans(), trace.index());
        let unseen = shape.served_unseen().map(|at| &trace.spans()[at]);
        out.extend(unseen.map(|held| served(held, held.span.emitter == Emitter::Proxy)));
    }

    /// Tells what is new in a trace. When it must be read again at the latest, if something in it
    /// still waits.
    fn read(
        &mut self,
        now: Now,
        trace: &mut Trace,
        is_last: bool,
        out: &mut Vec<Observation>,
    ) -> Option<Instant> {
        trace.evaluated = Some(now.instant);
        let traces = &self.traces;
        trace.resolve_links(|trace, id| attempts::queue(traces.get(&trace)?.get(id)?));
        let shape = shape::Shape::of(trace.spans(), trace.index());
        let found = attempts::of(&shape, &mut self.learned, now.instant, is_last);
        if is_last {
            self.dropped.unplaced += found.unplaced;
        }
        let (corrections, fresh) = trace.ledger.settle(found.attempts);
        out.extend(corrections);
        for attempt in fresh {
            self.announce(now, &attempt, out);
            out.push(attempt.into());
        }
        found.sequences.settle(&mut trace.sequences, out);
        found.waits_until
    }

    /// Tells of the ends of an attempt that do not speak for themselves.
    fn announce(&mut self, now: Now, attempt: &Attempt, out: &mut Vec<Observation>) {
        let ends = [&attempt.edge.source, &attempt.edge.destination].into_iter().zip(attempt.kinds);
        for (service, kind) in ends.filter(|&(_, kind)| kind != ServiceKind::Service) {
            let last = self.announced.get(service);
            let is_fresh =
                |at: &Instant| now.instant.saturating_duration_since(*at) < ANNOUNCE_EVERY;
            if last.is_some_and(is_fresh) {
                continue;
            }
            if ANNOUNCED_MAX <= self.announced.len() {
                self.announced.clear();
            }
            self.announced.insert(service.clone(), now.instant);
            out.push(Observation::Node {
                service: service.clone(),
                kind,
                instance: None,
                version: None,
                at_unix_ms: attempt.at_unix_ms,
            });
        }
    }
}

impl Default for Pairing {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Attempt> for Observation {
    fn from(attempt: Attempt) -> Self {
        Self::Attempt {
            edge: attempt.edge,
            protocol: attempt.protocol,
            ending: attempt.ending,
            latency_us: attempt.latency_us,
            waited: attempt.waited,
            weight: attempt.weight,
            at_unix_ms: attempt.at_unix_ms,
            from_proxy: attempt.from_proxy,
        }
    }
}

/// Whether an application says that it handled a request. A span whose parent is known to be in the
/// same process is another layer of the same request.
fn is_served_for_certain(span: &Span) -> bool {
    let is_request = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
    // A root says "not remote" too: it has no parent at all.
    let is_outermost = span.parent_id.is_none() || span.parent_is_remote != Some(false);
    is_request && is_outermost && !span.is_sidecar()
}

fn served(held: &Held, from_proxy: bool) -> Observation {
    let span = &held.span;
    Observation::Served {
        service: span.origin.service.clone(),
        version: span.origin.version.clone(),
        outcome: span.outcome,
        latency_us: span.duration_us(),
        weight: span.weight,
        at_unix_ms: held.unix_ms(span.end_unix_ns),
        from_proxy,
    }
}

//! N+1: calls that one request makes one after the other, for things of one kind.
//!
//! A page of twelve items asks for each of them. Only what went well counts: what is asked again because
//! it failed is a retry. None begins before the one before it ended, or they would not add up to a long
//! wait; and pauses between them are short, or somebody asks every so often whether a thing is done.
//! Clocks of whole milliseconds let short calls that were made at once seem to follow each other: but then
//! they take longer, all in all, than they could have after each other.

use super::tries::ROUNDING_NS;
use crate::observe::Observation;
use fusebox_proto::Edge;
use fusebox_proto::trace::SpanId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many calls are a sequence.
const CALLS_MIN: usize = 5;
/// The mean pause between two of them is no longer than this, or than a call takes: who polls waits
/// longer, but who is short of processors is slow in both.
const PAUSE_NS_MAX: u64 = 50_000_000;

const MS_NS: u64 = 1_000_000;
const US_NS: u64 = 1_000;

/// Calls of the requests of one trace that went well.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    calls: BTreeMap<(Edge, u64, SpanId), Vec<Call>>,
    /// A call that was made for nobody's request.
    unasked: Option<Observation>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// On its caller's clock, ns since the Unix epoch.
    pub(super) start_ns: u64,
    /// On its caller's clock, ns since the Unix epoch.
    pub(super) end_ns: u64,
    /// Wall clock of its end, corrected.
    pub(super) at_unix_ms: u64,
    /// What was asked for, in few words.
    pub(super) operation: Arc<str>,
    /// 1 ÷ sampling probability.
    pub(super) weight: f64,
}

/// What was told of a trace.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of sequences how many requests and calls, by edge and kind of thing.
    sequences: BTreeMap<(Edge, u64), [usize; 2]>,
    is_unasked: bool,
}

impl Sequences {
    /// Takes a call of the request `request` for a thing of this kind.
    pub(super) fn add(&mut self, edge: &Edge, kind: u64, request: SpanId, call: Call) {
        self.calls.entry((edge.clone(), kind, request)).or_default().push(call);
    }

    /// Takes a call that was made for nobody's request; the first of a trace is told.
    pub(super) fn add_unasked(&mut self, unasked: Observation) {
        self.unasked.get_or_insert(unasked);
    }

    /// Tells what is more than what was told before. A trace that is read anew may know better whose
    /// calls they were: so what counts is how many there are, and never less than before.
    pub(super) fn settle(self, told: &mut Told, out: &mut Vec<Observation>) {
        if let Some(unasked) = self.unasked.filter(|_| !told.is_unasked) {
            told.is_unasked = true;
            out.push(unasked);
        }
        let mut sums: BTreeMap<(Edge, u64), ([usize; 2], Call)> = BTreeMap::new();
        for ((edge, kind, _), calls) in self.calls {
            let Some((count, last)) = sequence(calls) else { continue };
            let ([requests, all], newest) =
                sums.entry((edge, kind)).or_insert(([0, 0], last.clone()));
            (*requests, *all) = (*requests + 1, *all + count);
            if newest.at_unix_ms < last.at_unix_ms {
                *newest = last;
            }
        }
        for (key, (now, last)) in sums {
            let before = told.sequences.entry(key.clone()).or_default();
            let more = [0, 1].map(|at| now[at].saturating_sub(before[at]));
            *before = [0, 1].map(|at| now[at].max(before[at]));
            if more != [0, 0] {
                out.push(Observation::Sequence {
                    edge: key.0,
                    operation: last.operation,
                    requests: more[0] as u64,
                    calls: more[1] as u64,
                    weight: last.weight,
                    at_unix_ms: last.at_unix_ms,
                });
            }
        }
    }
}

/// How many of these calls are a sequence, and the last of them; `None` where they are none.
fn sequence(mut calls: Vec<Call>) -> Option<(usize, Call)> {
    calls.sort_by_key(|call| (call.end_ns, call.start_ns));
    let mut chain: Vec<Call> = Vec::new();
    for call in calls {
        let until_ns = chain.last().map_or(0, |last| last.end_ns);
        if until_ns <= call.start_ns.saturating_add(call.rounding_ns()) {
            chain.push(call);
        }
    }
    let (first, last) = (chain.first()?, chain.last()?);
    let length_ns = |call: &Call| call.end_ns.saturating_sub(call.start_ns);
    let busy_ns = chain.iter().map(length_ns).fold(0, u64::saturating_add);
    let whole_ns = last.end_ns.saturating_sub(first.start_ns);
    let rounding_ns = chain.iter().map(Call::rounding_ns).max()?;
    let is_after_each_other =
        rounding_ns <= busy_ns && busy_ns <= whole_ns.saturating_add(rounding_ns);
    let calls = chain.len() as u64;
    let pause_ns_max = PAUSE_NS_MAX.max(busy_ns / calls).saturating_mul(calls - 1);
    let is_one = CALLS_MIN <= chain.len()
        && is_after_each_other
        && whole_ns.saturating_sub(busy_ns) <= pause_ns_max;
    is_one.then(|| (chain.len(), last.clone()))
}

impl Call {
    /// By how much it can seem to begin too early, ns: a clock that gives whole milliseconds rounds; else
    /// it is the microsecond of those who keep no more.
    const fn rounding_ns(&self) -> u64 {
        if self.start_ns.is_multiple_of(MS_NS) { ROUNDING_NS } else { US_NS }
    }
}

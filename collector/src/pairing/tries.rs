//! What one client span tells: the tries that it made.

use super::shape::Shape;
use super::trace::Held;
use crate::observe::{Outcome, Waited};
use crate::spans::{Evidence, Span};
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::SpanId;
use std::collections::BTreeMap;

/// Node rounds the start of a span down to whole milliseconds and keeps its duration: two calls
/// one after the other can seem to overlap by that much.
pub(super) const ROUNDING_NS: u64 = 2_000_000;

/// A try to call someone.
#[derive(Clone, Debug)]
pub(super) struct Try {
    /// The client span that made it; `None` if the caller has none there.
    pub(super) leaf: Option<usize>,
    /// The client span that it belongs to; of several libraries in a row the outermost.
    pub(super) top: Option<usize>,
    /// The span of the callee, if it came.
    pub(super) entry: Option<usize>,
    /// Start of top, leaf and entry, each on its own clock, to put tries in order.
    pub(super) order: (u64, u64, u64, SpanId),
    pub(super) outcome: Outcome,
    pub(super) latency_us: Option<u64>,
    pub(super) at_unix_ms: u64,
    /// Of a repetition, how long its caller waited.
    pub(super) waited: Option<Waited>,
}

/// The tries of the leaf `at` below `top`, for each service that answered; one of `None` if none
/// did.
pub(super) fn of_leaf(
    shape: &Shape<'_>,
    at: usize,
    top: usize,
    entries: &[usize],
) -> Vec<(Option<ServiceId>, Try)> {
    let leaf = &shape.spans[at];
    let order = |entry: Option<&Span>| {
        let entry_start = entry.map_or(0, |entry| entry.start_unix_ns);
        let id = entry.map_or(leaf.span.span_id, |entry| entry.span_id);
        (shape.spans[top].span.start_unix_ns, leaf.span.start_unix_ns, entry_start, id)
    };
    let one = Try {
        leaf: Some(at),
        top: Some(top),
        entry: None,
        order: order(None),
        outcome: leaf.span.outcome,
        latency_us: Some(leaf.span.duration_us()),
        at_unix_ms: leaf.unix_ms(leaf.span.end_unix_ns),
        waited: None,
    };
    let mut callees: BTreeMap<&ServiceId, Vec<usize>> = BTreeMap::new();
    for &entry in entries {
        callees.entry(&shape.spans[entry].span.origin.service).or_default().push(entry);
    }
    let mut tries = Vec::new();
    for (service, mut entries) in callees {
        entries.sort_by_key(|&at| {
            let span = &shape.spans[at].span;
            (span.start_unix_ns, span.span_id)
        });
        let first = &shape.spans[entries[0]].span;
        for (place, &entry_at) in entries.iter().enumerate() {
            let entry = &shape.spans[entry_at];
            let mut attempt =
                Try { entry: Some(entry_at), order: order(Some(&entry.span)), ..one.clone() };
            if let Some(&next) = entries.get(place + 1) {
                repeated(leaf, entry, &shape.spans[next].span, &mut attempt);
            } else {
                attempt.outcome = last(&leaf.span, &entry.span);
                if 0 < place {
                    let waited_ns = entry.span.start_unix_ns - first.start_unix_ns;
                    let left_us = leaf.span.duration_us().saturating_sub(waited_ns / 1_000);
                    attempt.latency_us = Some(entry.span.duration_us().min(left_us));
                }
            }
            tries.push((Some(service.clone()), attempt));
        }
    }
    if tries.is_empty() {
        tries.push((None, one));
    }
    tries
}

/// A span of the callee without a client span above it.
pub(super) fn of_entry(shape: &Shape<'_>, at: usize, caller: usize) -> Try {
    let entry = &shape.spans[at];
    let span = &entry.span;
    Try {
        leaf: None,
        top: None,
        entry: Some(at),
        order: (
            shape.spans[caller].span.start_unix_ns,
            span.start_unix_ns,
            span.start_unix_ns,
            span.span_id,
        ),
        outcome: span.outcome,
        latency_us: Some(span.duration_us()),
        at_unix_ms: entry.unix_ms(span.end_unix_ns),
        waited: None,
    }
}

/// From the end of `previous` to the start of its repetition `attempt`, which comes after so many:
/// between two client spans, and out of sight of those between two spans of one callee's process. A
/// callee that was given up does not know when.
pub(super) fn waited(
    shape: &Shape<'_>,
    previous: &Try,
    attempt: &Try,
    attempts_before: usize,
) -> Option<Waited> {
    let span = |at: usize| &shape.spans[at].span;
    let (from, to) = match (previous.leaf, attempt.leaf) {
        (Some(from), Some(to)) if from != to => (span(from), span(to)),
        _ if previous.outcome == Outcome::Timeout => return None,
        _ => (span(previous.entry?), span(attempt.entry?)),
    };
    let wait_ns = to.start_unix_ns.checked_sub(from.end_unix_ns)?;
    let attempts_before = u16::try_from(attempts_before).unwrap_or(u16::MAX);
    (from.origin == to.origin).then_some(Waited { attempts_before, wait_us: wait_ns / 1_000 })
}

/// A try that its library followed by another one within the same client span. The callee may
/// think that it did well: it is told nothing when its caller loses patience.
fn repeated(leaf: &Held, entry: &Held, next: &Span, attempt: &mut Try) {
    let span = &entry.span;
    let end = span.end_unix_ns.min(next.start_unix_ns.max(span.start_unix_ns));
    attempt.latency_us = Some((end - span.start_unix_ns) / 1_000);
    attempt.at_unix_ms = entry.unix_ms(end);
    attempt.outcome = match (span.outcome, span.evidence) {
        (Outcome::Failure | Outcome::Timeout, _) => span.outcome,
        // Redirects and challenges are answered by another request, and are no failures.
        (Outcome::Success, Evidence::Status(300..=399 | 401 | 407)) => Outcome::Success,
        // A client library ends its span with the first answer that it takes.
        (Outcome::Success, evidence) if is_one_request(&leaf.span, span, next) => match evidence {
            Evidence::Status(400..) => Outcome::Failure,
            _ => Outcome::Timeout,
        },
        _ if next.start_unix_ns.saturating_add(ROUNDING_NS) < span.end_unix_ns => Outcome::Timeout,
        _ => Outcome::Success,
    };
}

/// Whether a client span stands for one request, and two spans of the callee for its repetitions.
fn is_one_request(leaf: &Span, entry: &Span, next: &Span) -> bool {
    let has_request = matches!(leaf.protocol, Protocol::Http1 | Protocol::Http2 | Protocol::Grpc);
    has_request && entry.target == next.target
}

/// How the last try of a client span ended: as the client says, where it says something.
fn last(leaf: &Span, entry: &Span) -> Outcome {
    match (leaf.outcome, leaf.evidence) {
        (Outcome::Success, Evidence::None) => entry.outcome,
        // An error of no known kind, after which the callee answered well: it came too late.
        (Outcome::Failure, Evidence::UnknownError) => match entry.outcome {
            Outcome::Success => Outcome::Timeout,
            outcome => outcome,
        },
        (outcome, _) => outcome,
    }
}

/// How a try ended that the application gave up, whatever the sidecar says that made it.
pub(super) fn under_top(top: &Span, outcome: Outcome) -> Outcome {
    match (outcome, top.outcome, top.evidence) {
        (Outcome::Success, Outcome::Timeout, _) | (Outcome::Success, _, Evidence::UnknownError) => {
            Outcome::Timeout
        }
        (Outcome::Success, Outcome::Failure, Evidence::Error) => Outcome::Failure,
        _ => outcome,
    }
}

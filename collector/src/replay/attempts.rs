//! What went over some edges of a recording, attempt by attempt, in order, each with its end: what a
//! breaker has to be told to know what it would have done.
//!
//! Where proxies tell, their counters are taken, as everywhere: they are exact, but of a second each,
//! and so are spread evenly within it (`windows`). Else spans are read and paired as they are live
//! (`spans`), to the millisecond.

mod spans;
mod windows;

use super::recording::Recording;
use fusebox_proto::{Edge, Now};
use std::collections::{BTreeMap, BTreeSet};

/// One attempt that crossed an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attempt {
    /// When it was sent, µs since the Unix epoch.
    pub sent_unix_us: u64,
    /// When it ended, and how; `None` where the recording ends before.
    pub end: Option<(u64, End)>,
    /// What it was to its request.
    pub kind: Kind,
    /// Which of the source's proxies sent it, from 0; 0 where spans tell.
    pub proxy: usize,
    /// It stands for so many: 1 ÷ sampling probability; 1 where proxies tell.
    pub weight: f64,
}

/// What an attempt was to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The first.
    First,
    /// A repetition.
    Retry,
    /// A second one beside one in flight.
    Hedge,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Well.
    Success,
    /// The callee failed.
    Failure,
    /// The caller lost patience, or had another answer: a breaker learns nothing of the callee by that.
    GivenUp,
}

/// Who tells of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Counters of proxies, each window spread evenly.
    Proxies,
    /// Spans, one by one.
    Spans,
}

/// All that crossed an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Crossings {
    /// In order of their sending.
    pub attempts: Vec<Attempt>,
    /// Who tells.
    pub source: Source,
    /// Proxies of the source that told; 0 where spans tell.
    pub proxies: usize,
    /// What proxies refused then, beside the attempts.
    pub refused: u64,
    /// Attempts beyond the limit, in windows that are not among these.
    pub left_out: u64,
}

/// What crossed these edges; those that nothing crossed are left out. Of `now` only the instant
/// matters.
pub fn crossings(
    recording: &Recording,
    now: Now,
    edges: &BTreeSet<Edge>,
) -> BTreeMap<Edge, Crossings> {
    let mut all = windows::read(recording, edges);
    let others = edges.iter().filter(|edge| !all.contains_key(edge)).cloned().collect();
    all.extend(spans::read(recording, now, &others));
    for crossings in all.values_mut() {
        // Stable, and what is read is in one order: so is this.
        crossings.attempts.sort_by_key(|attempt| attempt.sent_unix_us);
    }
    all
}

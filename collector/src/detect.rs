//! Detectors: what is wrong on this edge?
//!
//! A detector judges one edge from its seconds and keeps only what the judgement needs. What
//! follows from several edges together, and whether someone is told, is the business of
//! [`crate::incident`].
//!
//! Two clocks matter. *Data* arrives late: a proxy's window a second after it began, an SDK's
//! batch after five. So a second stays open for [`OPEN_SECONDS`]; open seconds are judged anew at
//! each arrival, so that a storm is named with the report that shows it; then the second is
//! closed, and what comes later updates figures but never fires.

mod baseline;
mod canary;
mod course;
mod factor;
mod failures;
mod fanout;
mod hedging;
mod kept;
mod latencies;
mod n_plus_one;
pub(crate) mod p99;
mod polling;
mod retry_storm;
mod sequential;
mod silent;
mod words;

pub(crate) use canary::{Canaries, Finding, Worse};
pub(crate) use factor::factor;
#[cfg(test)]
pub(crate) use failures::{Ended, FailureWatch};
pub(crate) use failures::{Failures, Surge};
pub(crate) use hedging::{Hedge, Hedging};
pub use kept::{BaselineRecord, RetryBaseline, Subject};
pub(crate) use latencies::Latencies;
pub(crate) use n_plus_one::{Many, NPlusOne, NPlusOnes};
pub(crate) use p99::UsualLatency;
pub(crate) use polling::{Poll, Polling, Unasked};
pub(crate) use retry_storm::Watch;
pub(crate) use silent::{Silent, SilentSubsets};
pub(crate) use words::{Grade, Phase, Sight, Usual};

use crate::store::Store;
use fusebox_proto::{Edge, ServiceId};
use kept::Parked;
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// A second is judged for so long: an SDK's batch of 5 s, its way, and the pairing of its spans.
pub(crate) const OPEN_SECONDS: u64 = 10;

/// Seconds that are looked back at, at most: what the store keeps.
const BACK_SECONDS_MAX: u64 = 60;

/// What a round of judging needs to know beside the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round<'a> {
    /// The second of the collector's clock.
    pub(crate) now_second: u64,
    /// Of each source with connected proxies: the last second that all of them have reported.
    pub(crate) fronts: &'a HashMap<ServiceId, u64>,
    /// Edges on which a lease is in force.
    pub(crate) refused: &'a HashSet<Edge>,
}

/// The complete seconds up to `front` that come after `judged_to`, which is `front` then; 0: before
/// any.
fn unjudged(judged_to: &mut u64, front: u64) -> RangeInclusive<u64> {
    let from = match *judged_to {
        0 => front,
        known => (known + 1).max(front.saturating_sub(BACK_SECONDS_MAX)),
    };
    *judged_to = front.max(*judged_to);
    from..=front
}

/// The detectors of all edges.
#[derive(Debug, Default)]
pub(crate) struct Detectors {
    watches: HashMap<Edge, Watch>,
    /// What was usual of those that are not seen now.
    parked: Parked<Edge, RetryBaseline>,
    latencies: Latencies,
    failures: Failures,
    canaries: Canaries,
}

impl Detectors {
    /// Judges one edge; whether its phase changed.
    pub(crate) fn judge(&mut self, round: Round<'_>, store: &Store, edge: &Edge) -> bool {
        let Some(track) = store.edge(edge) else { return false };
        let edges = self.watches.len().max(1);
        let source_front = round.fronts.get(&edge.source).copied();
        let sight = Sight {
            track,
            caller: store.service(&edge.source),
            callee: store.service(&edge.destination),
            now_second: round.now_second,
            front: track.front(round.now_second, source_front),
            is_heard: source_front.is_some_and(|front| round.now_second <= front + 3),
            is_refused: round.refused.contains(edge),
            edges,
        };
        let watch = self.watches.entry(edge.clone()).or_insert_with(|| {
            self.parked.take(edge).map_or_else(Watch::default, |kept| Watch::resumed(&kept))
        });
        let before = watch.phase();
        watch.judge(&sight);
        before != watch.phase()
    }

    /// Judges all edges: closes seconds, ends what is over.
    pub(crate) fn judge_all(&mut self, round: Round<'_>, store: &Store) {
        for (edge, _) in store.edges() {
            self.judge(round, store, edge);
        }
        // An edge that fell silent keeps its envelope for as long as the graph knows it; a storm
        // must not outlive its data.
        for (edge, watch) in &mut self.watches {
            if store.edge(edge).is_none() {
                watch.fell_silent();
            }
        }
    }

    /// The detector of one edge.
    pub(crate) fn get(&self, edge: &Edge) -> Option<&Watch> {
        self.watches.get(edge)
    }

    /// Edges with a storm that is not over, in order.
    pub(crate) fn storms(&self) -> Vec<&Edge> {
        let mut storms: Vec<&Edge> = self
            .watches
            .iter()
            .filter(|(_, w)| w.phase().is_storm())
            .map(|(edge, _)| edge)
            .collect();
        storms.sort();
        storms
    }

    /// Judges latencies and failures, once a second. `explained` are services within reach of a storm.
    pub(crate) fn judge_latencies(
        &mut self,
        round: Round<'_>,
        store: &Store,
        explained: HashSet<ServiceId>,
    ) {
        self.latencies.judge_all(round, store, explained);
        self.failures.judge_all(round, store, &self.latencies);
    }

    /// Judges canaries, once a second.
    pub(crate) fn judge_canaries(&mut self, round: Round<'_>, store: &Store) {
        self.canaries.judge_all(round, store);
    }

    /// The detectors of canaries.
    pub(crate) const fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// The detectors of failures.
    pub(crate) const fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The detectors of latencies.
    pub(crate) const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// How many edges and series are watched.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.watches.len() + self.latencies.len()
    }

    /// What is usual and was not kept for the next process lately; at the end of this one, all.
    pub(crate) fn take_baselines(&mut self, now_second: u64, is_end: bool) -> Vec<BaselineRecord> {
        let due = self.latencies.due(now_second, is_end).into_iter();
        due.map(|(subject, latency)| {
            let watch = match &subject {
                Subject::Edge(edge) => self.watches.get(edge),
                Subject::Service(_) | Subject::Part(_) => None,
            };
            let retries = watch.map_or_else(RetryBaseline::default, Watch::keep);
            let failed = self.failures.keep(&subject);
            BaselineRecord { subject, latency, retries, failed }
        })
        .collect()
    }

    /// Begins with what was usual when an earlier process ended.
    pub(crate) fn restore(&mut self, records: &[BaselineRecord]) {
        // Where there are more than have room, the newest stay.
        let mut records: Vec<_> = records.iter().collect();
        records.sort_by_key(|record| record.latency.to_second);
        for BaselineRecord { subject, latency, retries, failed } in records {
            if let Subject::Edge(edge) = subject {
                self.parked.put(edge.clone(), retries.clone());
            }
            // Failures of parts are not watched.
            if !matches!(subject, Subject::Part(_)) {
                self.failures.restore(subject.clone(), failed.clone());
            }
            self.latencies.restore(subject.clone(), latency.clone());
        }
    }

    /// Watches an edge no longer, which left the graph; what was usual is remembered.
    pub(crate) fn forget(&mut self, edge: &Edge) {
        if let Some(watch) = self.watches.remove(edge) {
            self.parked.put(edge.clone(), watch.keep());
        }
        self.forget_subject(edge.clone().into());
    }

    /// Watches a service no longer, which left the graph; what was usual is remembered.
    pub(crate) fn forget_service(&mut self, service: &ServiceId) {
        self.forget_subject(service.clone().into());
    }

    fn forget_subject(&mut self, subject: Subject) {
        self.failures.forget(&subject);
        self.latencies.forget(subject);
    }
}

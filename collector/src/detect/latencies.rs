//! The latencies of all edges and services, each watched for a regression.
//!
//! A second is judged once, when it is complete; what comes later updates figures but never fires.

use super::Round;
use super::p99::{Series, Slow, UsualLatency, Window};
use crate::store::{Counts, SparseLatency, Store, Track};
use fusebox_proto::{Edge, ServiceId};
use std::collections::{HashMap, HashSet};

/// What a storm explains, it explains for so many seconds after its end: queues drain.
const EXPLAINED_SECONDS: u64 = 30;
/// Seconds that are looked back at, at most: what the store keeps.
const BACK_SECONDS_MAX: u64 = 60;
/// Where proxies begin or cease to report, latencies are measured elsewhere: for so many seconds
/// they are not compared, then what is usual is learned anew.
const OTHER_SECONDS_MAX: u64 = 300;

/// What has latencies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Requests to a service, as it sees them itself.
    Service(ServiceId),
    /// Calls, as the caller sees them.
    Edge(Edge),
}

/// All series.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    series: HashMap<Subject, Watched>,
    /// Services whose latencies a storm explains, and up to which second.
    explained: HashMap<ServiceId, u64>,
}

#[derive(Debug, Default)]
struct Watched {
    series: Series,
    judged_to: u64,
    is_covered: bool,
    other_seconds: u64,
}

impl Latencies {
    /// Judges what has become complete. `explained` are services within reach of a storm.
    pub(crate) fn judge_all(
        &mut self,
        round: Round<'_>,
        store: &Store,
        explained: HashSet<ServiceId>,
    ) {
        let until = round.now_second + EXPLAINED_SECONDS;
        self.explained.extend(explained.into_iter().map(|service| (service, until)));
        self.explained.retain(|_, until| round.now_second <= *until);
        let watched = self.series.len().max(1);
        let is_explained = |service| self.explained.contains_key(service);
        for (edge, track) in store.edges() {
            let watch = self.series.entry(Subject::Edge(edge.clone())).or_default();
            let front = track.front(round.now_second, round.fronts.get(&edge.source).copied());
            let is_explained = is_explained(&edge.source)
                || is_explained(&edge.destination)
                || round.refused.contains(edge);
            let seen = |second| track.at(second).map_or((0.0, 0.0), |t| (t.seen, t.attempts()));
            watch.judge(track, front, seen, is_explained, watched);
        }
        for (service, track) in store.services() {
            let watch = self.series.entry(Subject::Service(service.clone())).or_default();
            let front = track.front(round.now_second, round.fronts.get(service).copied());
            let seen = |second| track.at(second).map_or((0.0, 0.0), |t| (t.seen, t.requests));
            watch.judge(track, front, seen, is_explained(service), watched);
        }
    }

    /// The regression of one series.
    pub(crate) fn slow(&self, subject: &Subject) -> Option<Slow> {
        self.series.get(subject)?.series.slow()
    }

    /// What is usual of one series.
    pub(crate) fn usual(&self, subject: &Subject) -> Option<&UsualLatency> {
        self.series.get(subject).map(|watched| watched.series.usual())
    }

    /// All that are slow, in order.
    pub(crate) fn all_slow(&self) -> Vec<(&Subject, Slow)> {
        let slow = self.series.iter();
        let slow = slow.filter_map(|(subject, watched)| Some((subject, watched.series.slow()?)));
        let mut slow: Vec<_> = slow.collect();
        slow.sort_by_key(|(subject, _)| *subject);
        slow
    }

    /// Whether a storm explains how slow a service is.
    pub(crate) fn is_explained(&self, service: &ServiceId) -> bool {
        self.explained.contains_key(service)
    }

    /// How many series are watched.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Forgets an edge that left the graph.
    pub(crate) fn forget_edge(&mut self, edge: &Edge) {
        self.series.remove(&Subject::Edge(edge.clone()));
    }

    /// Forgets a service that left the graph.
    pub(crate) fn forget_service(&mut self, service: &ServiceId) {
        self.series.remove(&Subject::Service(service.clone()));
    }
}

impl Watched {
    /// Judges the seconds up to `front`. `seen`: of a second, what was seen and what was counted.
    fn judge<C: Counts>(
        &mut self,
        track: &Track<C>,
        front: u64,
        seen: impl Fn(u64) -> (f64, f64),
        is_explained: bool,
        watched: usize,
    ) {
        let from = match self.judged_to {
            0 => front,
            judged_to => (judged_to + 1).max(front.saturating_sub(BACK_SECONDS_MAX)),
        };
        for second in from..=front {
            self.judged_to = second;
            let latency = track.latency_at(second).filter(|latency| !is_empty(latency));
            if latency.is_some() && self.is_elsewhere(track.is_covered(second)) {
                continue;
            }
            let (seen, requests) = seen(second);
            let seen_share = if 0.0 < requests { (seen / requests).clamp(0.0, 1.0) } else { 1.0 };
            let window = Window { second, latency, seen_share, requests, is_explained };
            self.series.judge(window, watched);
        }
    }

    /// Whether latencies are measured elsewhere than those that are usual.
    fn is_elsewhere(&mut self, is_covered: bool) -> bool {
        if self.series.usual().rate().is_none() || is_covered == self.is_covered {
            self.is_covered = is_covered;
            self.other_seconds = 0;
            return false;
        }
        self.other_seconds += 1;
        if OTHER_SECONDS_MAX < self.other_seconds {
            *self = Self { judged_to: self.judged_to, is_covered, ..Self::default() };
            return false;
        }
        true
    }
}

fn is_empty(latency: &SparseLatency) -> bool {
    latency.buckets().is_empty()
}

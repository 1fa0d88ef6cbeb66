//! What is usual, for the process after this one, and for what comes back.

use super::p99::SeriesBaseline;
use crate::store::Part;
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// More are not remembered while they are not seen.
const PARKED_MAX: usize = 16_384;
/// So many routes and subsets besides: however many there are, no edge is forgotten for them.
const PARTS_PARKED_MAX: usize = 4_096;

/// What has latencies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Requests to a service, as it sees them itself.
    Service(ServiceId),
    /// Calls, as the caller sees them.
    Edge(Edge),
    /// Those of one route or subset, where an edge has several.
    Part(Part),
}

impl Subject {
    /// Who is slow, or waits: the service itself, or who calls.
    pub(crate) fn sufferer(&self) -> &ServiceId {
        match self {
            Self::Service(service) => service,
            Self::Edge(edge) | Self::Part(Part { edge, .. }) => &edge.source,
        }
    }
}

impl From<Edge> for Subject {
    fn from(edge: Edge) -> Self {
        Self::Edge(edge)
    }
}

impl From<ServiceId> for Subject {
    fn from(service: ServiceId) -> Self {
        Self::Service(service)
    }
}

/// What is usual of one edge or service, or of a part of an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineRecord {
    /// Of which.
    pub subject: Subject,
    /// Its latencies.
    pub latency: SeriesBaseline,
    /// Retries of an edge.
    pub retries: RetryBaseline,
    /// Of each of the last minutes the share that failed; nothing of a part.
    pub failed: Vec<f32>,
}

/// What is usual of the retries of an edge in the last hour.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RetryBaseline {
    /// Of each minute the share of retries in all attempts.
    pub retried: Vec<f32>,
    /// Of each minute the attempts for one request of the caller.
    pub fanout: Vec<f32>,
}

/// What was usual of those that are not seen now, at most `MAX`: who came here first goes first.
#[derive(Debug)]
pub(super) struct Parked<K, V, const MAX: usize = PARKED_MAX> {
    kept: HashMap<K, (u64, V)>,
    /// The same, by when they came.
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K, V, const MAX: usize> Default for Parked<K, V, MAX> {
    fn default() -> Self {
        Self { kept: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash, V, const MAX: usize> Parked<K, V, MAX> {
    /// Remembers one.
    pub(super) fn put(&mut self, key: K, kept: V) {
        self.next += 1;
        if let Some((before, _)) = self.kept.insert(key.clone(), (self.next, kept)) {
            self.order.remove(&before);
        }
        self.order.insert(self.next, key);
        if MAX < self.kept.len()
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.kept.remove(&oldest);
        }
    }

    /// It is seen again.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        let (at, kept) = self.kept.remove(key)?;
        self.order.remove(&at);
        Some(kept)
    }
}

/// Latencies that are not seen now.
#[derive(Debug, Default)]
pub(super) struct ParkedSeries {
    whole: Parked<Subject, SeriesBaseline>,
    parts: Parked<Part, SeriesBaseline, PARTS_PARKED_MAX>,
}

impl ParkedSeries {
    /// Remembers one.
    pub(super) fn put(&mut self, subject: Subject, kept: SeriesBaseline) {
        match subject {
            Subject::Part(part) => self.parts.put(part, kept),
            whole => self.whole.put(whole, kept),
        }
    }

    /// It is seen again.
    pub(super) fn take(&mut self, subject: &Subject) -> Option<SeriesBaseline> {
        match subject {
            Subject::Part(part) => self.parts.take(part),
            whole => self.whole.take(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detectors, Round};
    use super::*;
    use crate::store::Store;
    use fusebox_proto::Latency;
    use fusebox_proto::report::{EdgeCounts, EdgeWindow, Protocol};
    use std::collections::HashSet;

    /// Scenario: four are parked where three have room, one of them twice; one is seen again.
    /// Guarantees: who came first goes first, whoever comes anew is new; what is taken makes room.
    #[test]
    fn the_oldest_goes_first() {
        let mut parked: Parked<&str, u32, 3> = Parked::default();
        for (key, kept) in [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("d", 5)] {
            parked.put(key, kept);
        }
        assert_eq!(["b", "a"].map(|key| parked.take(&key)), [None, Some(3)]);
        parked.put("e", 6);
        assert_eq!(["c", "d", "e"].map(|key| parked.take(&key)), [Some(4), Some(5), Some(6)]);
        assert!(parked.kept.is_empty() && parked.order.is_empty());
    }

    fn edge() -> Edge {
        let id = |name| ServiceId::named(name).expect("a name");
        Edge::new(id("payment"), id("inventory"))
    }

    fn part(n: usize) -> Subject {
        let (edge, route, subset) = (edge(), n.to_string().into(), "".into());
        Subject::Part(Part { edge, route, subset })
    }

    /// Scenario: latencies of an edge are parked, then those of more routes than edges have room.
    /// Guarantees: the edge is still known, and the newest of the routes.
    #[test]
    fn parts_push_no_edge_out() {
        let mut parked = ParkedSeries::default();
        parked.put(edge().into(), SeriesBaseline::default());
        (0..=PARKED_MAX).for_each(|n| parked.put(part(n), SeriesBaseline::default()));
        assert!(parked.take(&edge().into()).is_some());
        let oldest = PARKED_MAX + 1 - PARTS_PARKED_MAX;
        assert!(parked.take(&part(oldest - 1)).is_none());
        assert!(parked.take(&part(oldest)).is_some());
    }

    /// Scenario: a history of an edge that fails now and then, and of more routes than edges have room,
    /// all learned later; then the edge is seen.
    /// Guarantees: what it usually fails is known, too: nobody watches failures of routes.
    #[test]
    fn routes_take_no_room_of_failures() {
        const NOW: u64 = 1_700_000_000;
        let record = |subject: Subject, to_second, failed| BaselineRecord {
            subject,
            latency: SeriesBaseline { to_second, ..SeriesBaseline::default() },
            retries: RetryBaseline::default(),
            failed,
        };
        let routes = (0..=PARKED_MAX).map(|n| record(part(n), NOW - 60, Vec::new()));
        let mut records: Vec<_> = routes.collect();
        records.push(record(edge().into(), NOW - 120, vec![0.25; 30]));
        let mut detectors = Detectors::default();
        detectors.restore(&records);
        let mut store = Store::new(1, 1);
        let window = EdgeWindow {
            destination: edge().destination,
            route: String::new(),
            subset: String::new(),
            protocol: Protocol::Http1,
            counts: EdgeCounts::default(),
            latency: Latency::default(),
            retry_waits: None,
        };
        store.add_edge_window(&edge(), NOW, &window);
        let (fronts, refused) = (HashMap::new(), HashSet::new());
        let round = Round { now_second: NOW + 2, fronts: &fronts, refused: &refused };
        detectors.judge_latencies(round, &store, HashSet::new());
        assert_eq!(detectors.failures().keep(&edge().into()), vec![0.25; 30]);
    }
}

//! What is usual, for the process after this one, and for what comes back.

use super::p99::SeriesBaseline;
use crate::store::Part;
use fusebox_proto::{Edge, ServiceId};
use std::collections::HashMap;
use std::hash::Hash;

/// More are not remembered while they are not seen.
const PARKED_MAX: usize = 16_384;

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

/// What is usual of one edge or service.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineRecord {
    /// Of which.
    pub subject: Subject,
    /// Its latencies.
    pub latency: SeriesBaseline,
    /// Retries of an edge.
    pub retries: RetryBaseline,
    /// Of each of the last minutes the share that failed.
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

/// What was usual of those that are not seen now, by when they came here: the oldest goes first.
#[derive(Debug)]
pub(super) struct Parked<K, V> {
    kept: HashMap<K, (u64, V)>,
    next: u64,
}

impl<K, V> Default for Parked<K, V> {
    fn default() -> Self {
        Self { kept: HashMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Parked<K, V> {
    /// Remembers one.
    pub(super) fn put(&mut self, key: K, kept: V) {
        self.next += 1;
        self.kept.insert(key, (self.next, kept));
        if PARKED_MAX < self.kept.len() {
            let oldest =
                self.kept.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone());
            oldest.map(|key| self.kept.remove(&key));
        }
    }

    /// It is seen again.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        self.kept.remove(key).map(|(_, kept)| kept)
    }
}

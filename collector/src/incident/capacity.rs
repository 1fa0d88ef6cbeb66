//! What a service can serve, and how much is waiting for it.

use crate::store::{MINUTE, Store};
use fusebox_proto::{Edge, ServiceId};
use std::collections::HashMap;

/// Each second, the best served rate is believed a little less: half of it after an hour.
const BELIEF: f64 = 0.999_807;
/// A service whose best rate has decayed below this is forgotten.
const RATE_MIN: f64 = 1e-3;

/// The best rate that each service was seen to serve, in successes per second.
#[derive(Debug, Default)]
pub(crate) struct Capacity {
    best: HashMap<ServiceId, f64>,
    judged_to: u64,
}

impl Capacity {
    /// Learns from the seconds up to `second`, which are complete by now.
    pub(crate) fn learn(&mut self, store: &Store, second: u64) {
        if second <= self.judged_to {
            return;
        }
        let from = self.judged_to.max(second.saturating_sub(MINUTE)) + 1;
        self.judged_to = second;
        let mut served: HashMap<&ServiceId, f64> = HashMap::new();
        for at in from..=second {
            served.clear();
            for (edge, track) in store.edges() {
                let successes = track.at(at).map_or(0.0, |tally| tally.successes);
                *served.entry(&edge.destination).or_default() += successes;
            }
            for (service, rate) in &served {
                let best = self.best.entry((*service).clone()).or_default();
                *best = best.max(*rate);
            }
        }
        for best in self.best.values_mut() {
            *best *= BELIEF;
        }
        self.best.retain(|_, best| RATE_MIN < *best);
    }

    /// How many services are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.best.len()
    }

    /// Forgets a service that left the graph.
    pub(crate) fn forget(&mut self, service: &ServiceId) {
        self.best.remove(service);
    }

    /// The best rate of a service; `None` where it never served anything.
    pub(crate) fn of(&self, service: &ServiceId) -> Option<f64> {
        self.best.get(service).copied()
    }
}

/// Attempts that were sent to `victim` from the second `onset` on, and that it cannot have worked
/// off yet at `capacity` per second: also those that their callers gave up, because a service
/// that does not notice works on them all the same. What it failed at once did not wait.
pub(super) fn backlog(
    store: &Store,
    victim: &ServiceId,
    onset: u64,
    last: u64,
    capacity: f64,
) -> f64 {
    let edges: Vec<_> = store.edges_into(victim).map(|(_, track)| track).collect();
    let mut waiting: f64 = 0.0;
    for second in onset.max(last.saturating_sub(MINUTE))..=last {
        let came: f64 = edges
            .iter()
            .filter_map(|track| track.at(second))
            .map(|tally| tally.attempts() - tally.failures)
            .sum();
        waiting = (waiting + came - capacity).max(0.0);
    }
    let in_flight = edges.iter().filter_map(|track| track.at(last)).map(|tally| tally.in_flight);
    waiting.max(in_flight.sum())
}

/// Attempts per second into `victim`, over the five seconds up to `last`.
pub(super) fn load(store: &Store, victim: &ServiceId, last: u64) -> f64 {
    store.edges_into(victim).map(|(_, track)| track.sum(last, 5).attempts() / 5.0).sum()
}

/// Requests per second that enter the mesh: those of services that nobody calls.
pub(super) fn ingress(store: &Store, graph: &crate::graph::Graph, last: u64) -> f64 {
    let is_root = |service: &ServiceId| graph.callers(service).next().is_none();
    let roots = graph.nodes().filter(|node| is_root(&node.service));
    let rate = |service: &ServiceId| {
        store.service(service).map_or(0.0, |track| track.sum(last, 5).requests / 5.0)
    };
    roots.map(|node| rate(&node.service)).sum()
}

/// Whether any of the edge's figures came from spans: then not all attempts may be known.
pub(super) fn is_covered(store: &Store, edge: &Edge, last: u64) -> bool {
    store.edge(edge).is_some_and(|track| track.is_covered(last))
}

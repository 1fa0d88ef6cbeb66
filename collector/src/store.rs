//! The last minute of every edge and every service, second by second.
//!
//! Proxies' windows are placed by their own clock, spans by their end; both merge in any order.
//! What of both counts where they overlap is said at [`Track`]. Nothing here judges.

mod ring;
mod routes;
mod sparse;
mod subsets;
mod tally;
mod track;
mod waits;

pub(crate) use sparse::{LatencyTotal, SparseLatency, moments_ms};
pub use subsets::Part;
pub(crate) use subsets::{Split, Subsets};
pub(crate) use tally::{Counts, Served, Tally};
pub(crate) use track::{Latent, MINUTE, Track};

use crate::graph::Witness;
use crate::observe::Observation;
use fusebox_proto::report::{EdgeWindow, InboundWindow};
use fusebox_proto::{Edge, ServiceId};
use std::collections::HashMap;
use waits::Waits;

/// Stamps further in the future than this many seconds are taken as now: a clock is wrong.
const AHEAD_MAX: u64 = 2;

/// Windows of all edges and services.
#[derive(Debug)]
pub(crate) struct Store {
    edges: HashMap<Edge, Track<Tally>>,
    services: HashMap<ServiceId, Track<Served>>,
    subsets: Subsets,
    waits: Waits,
    edges_max: usize,
    services_max: usize,
    dropped: Dropped,
    taken: u64,
    late: u64,
}

/// What was not counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Windows and observations of edges beyond the limit.
    pub(crate) edges: u64,
    /// Windows and observations of services beyond the limit.
    pub(crate) services: u64,
    /// Windows and observations of routes and subsets beyond the limit.
    pub(crate) subsets: u64,
    /// Windows and observations older than a minute.
    pub(crate) too_late: u64,
}

impl Store {
    /// An empty store.
    pub(crate) fn new(edges_max: usize, services_max: usize) -> Self {
        Self {
            edges: HashMap::new(),
            services: HashMap::new(),
            subsets: Subsets::default(),
            waits: Waits::default(),
            edges_max,
            services_max,
            dropped: Dropped::default(),
            taken: 0,
            late: 0,
        }
    }

    /// Adds what a proxy of `edge.source` saw in `second`.
    pub(crate) fn add_edge_window(&mut self, edge: &Edge, second: u64, window: &EdgeWindow) {
        let Some(track) = slot(&mut self.edges, edge, self.edges_max) else {
            self.dropped.edges += 1;
            return;
        };
        let (counts, latency) = (Tally::from(&window.counts), SparseLatency::from(&window.latency));
        let is_kept = track.add_proxy(second, &counts, &latency);
        self.dropped.too_late += u64::from(!is_kept);
        if is_kept && let Some(waits) = &window.retry_waits {
            self.waits.add_proxy(edge, second, waits);
        }
        if is_kept && (!window.route.is_empty() || !window.subset.is_empty()) {
            let part = Part {
                edge: edge.clone(),
                route: window.route.as_str().into(),
                subset: window.subset.as_str().into(),
            };
            self.subsets.add_proxy(part, second, (&counts, &latency));
        }
    }

    /// Adds what a proxy of `service` saw coming in in `second`.
    pub(crate) fn add_inbound_window(
        &mut self,
        service: &ServiceId,
        second: u64,
        window: &InboundWindow,
    ) {
        let Some(track) = slot(&mut self.services, service, self.services_max) else {
            self.dropped.services += 1;
            return;
        };
        let latency = SparseLatency::from(&window.latency);
        let is_kept = track.add_proxy(second, &Served::from(window), &latency);
        self.dropped.too_late += u64::from(!is_kept);
    }

    /// Adds what spans show. What a proxy of ours saw is left to its report.
    pub(crate) fn observe(&mut self, now_second: u64, observation: &Observation) {
        match observation {
            Observation::Attempt {
                edge,
                ending,
                latency_us,
                waited,
                weight,
                at_unix_ms,
                from_proxy: false,
                ..
            } => {
                let second = self.second_of(now_second, *at_unix_ms);
                let edges_max = Witness::Spans.room(self.edges_max);
                let Some(track) = slot(&mut self.edges, edge, edges_max) else {
                    self.dropped.edges += 1;
                    return;
                };
                let latency = sparse(*latency_us, *weight);
                track.note_span_lag(second, now_second);
                let counts = Tally::of_span(*ending, *weight, 1.0);
                let is_kept = track.add_span(second, &counts, &latency);
                self.dropped.too_late += u64::from(!is_kept);
                if let Some(waited) = waited.filter(|_| is_kept && !track.is_covered(second)) {
                    self.waits.add_span(edge, second, waited, *weight);
                }
            }
            Observation::Corrected { edge, was, is, weight, at_unix_ms, from_proxy: false } => {
                let second = *at_unix_ms / 1_000;
                let track = self.edges.get_mut(edge);
                let Some(track) = track.filter(|track| track.at(second).is_some()) else { return };
                let mut counts = Tally::of_span(*was, *weight, -1.0);
                if let Some(is) = is {
                    counts.add(&Tally::of_span(*is, *weight, 1.0));
                }
                track.add_span(second, &counts, &SparseLatency::default());
            }
            Observation::Served {
                service,
                version,
                outcome,
                latency_us,
                weight,
                at_unix_ms,
                from_proxy,
            } => {
                let second = (*at_unix_ms / 1_000).min(now_second + AHEAD_MAX);
                let latency = sparse(Some(*latency_us), *weight);
                let served = Served::of_span(*outcome, *weight);
                // No proxy reports the version of its application.
                if let Some(version) = version {
                    let at = (second, now_second);
                    self.subsets.add_served((service, version), at, (&served, &latency));
                }
                if *from_proxy {
                    return;
                }
                self.note_taken(second, now_second);
                let services_max = Witness::Spans.room(self.services_max);
                let Some(track) = slot(&mut self.services, service, services_max) else {
                    self.dropped.services += 1;
                    return;
                };
                track.note_span_lag(second, now_second);
                let is_kept = track.add_span(second, &served, &latency);
                self.dropped.too_late += u64::from(!is_kept);
            }
            _ => (),
        }
    }

    fn second_of(&mut self, now_second: u64, at_unix_ms: u64) -> u64 {
        let second = (at_unix_ms / 1_000).min(now_second + AHEAD_MAX);
        self.note_taken(second, now_second);
        second
    }

    /// Counts one window or observation, and whether it came late.
    pub(crate) fn note_taken(&mut self, second: u64, now_second: u64) {
        self.taken += 1;
        self.late += u64::from(second + crate::detect::OPEN_SECONDS < now_second);
    }

    /// One edge.
    pub(crate) fn edge(&self, edge: &Edge) -> Option<&Track<Tally>> {
        self.edges.get(edge)
    }

    /// One service.
    pub(crate) fn service(&self, service: &ServiceId) -> Option<&Track<Served>> {
        self.services.get(service)
    }

    /// All edges, in no particular order.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&Edge, &Track<Tally>)> {
        self.edges.iter()
    }

    /// All services, in no particular order.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceId, &Track<Served>)> {
        self.services.iter()
    }

    /// Edges into `destination`, in no particular order.
    pub(crate) fn edges_into(
        &self,
        destination: &ServiceId,
    ) -> impl Iterator<Item = (&Edge, &Track<Tally>)> {
        self.edges.iter().filter(move |(edge, _)| edge.destination == *destination)
    }

    /// Lets go of what is older than a minute, and of tracks that are empty then.
    pub(crate) fn age(&mut self, now_second: u64) {
        self.edges.retain(|_, track| {
            track.age(now_second);
            !track.is_empty()
        });
        self.services.retain(|_, track| {
            track.age(now_second);
            !track.is_empty()
        });
        self.subsets.age(now_second);
        self.waits.age(now_second);
    }

    /// How long callers waited before they repeated requests.
    pub(crate) const fn waits(&self) -> &Waits {
        &self.waits
    }

    /// The subsets behind splits.
    pub(crate) const fn subsets(&self) -> &Subsets {
        &self.subsets
    }

    /// What was not counted since the start.
    pub(crate) const fn dropped(&self) -> Dropped {
        Dropped { subsets: self.subsets.dropped(), ..self.dropped }
    }

    /// Share of windows and observations that came too late to be judged; `None` before the first.
    pub(crate) fn late_ratio(&self) -> Option<f64> {
        (self.taken != 0).then(|| self.late as f64 / self.taken as f64)
    }
}

/// The track of `key`, made if there is room.
fn slot<'a, K: Clone + Eq + std::hash::Hash, C: Default + Counts>(
    tracks: &'a mut HashMap<K, Track<C>>,
    key: &K,
    tracks_max: usize,
) -> Option<&'a mut Track<C>> {
    if tracks.len() < tracks_max || tracks.contains_key(key) {
        return Some(tracks.entry(key.clone()).or_default());
    }
    None
}

fn sparse(latency_us: Option<u64>, weight: f64) -> SparseLatency {
    let count = (weight.round() as u64).max(1);
    latency_us.map_or_else(SparseLatency::default, |us| SparseLatency::of_us(us, count))
}

#[cfg(test)]
mod tests;

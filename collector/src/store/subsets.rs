//! The last minute of each part of the traffic: of what a route sends on, and of each subset behind a
//! split, such as a canary and the others at the same time.
//!
//! Proxies report the route, and the subset that it chose. Where only spans speak, a server span's
//! `service.version` is the subset; then all callers of the service are one split.

use super::sparse::SparseLatency;
use super::tally::{Served, Tally};
use super::track::Track;
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// More subsets of one split are not told apart.
const SUBSETS_MAX: usize = 8;
/// More routes and subsets in all are not kept: a track has some kilobytes.
const TRACKS_MAX: usize = 4_096;

/// Where traffic is split.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Split {
    /// Who is called.
    pub(crate) destination: ServiceId,
    /// Who calls; `None`: whoever does.
    pub(crate) source: Option<ServiceId>,
    /// The rule that splits; empty where none is known.
    pub(crate) route: Arc<str>,
}

impl Split {
    /// The edge, where there is one.
    pub(crate) fn edge(&self) -> Option<Edge> {
        let source = self.source.clone()?;
        Some(Edge::new(source, self.destination.clone()))
    }
}

/// What one route sends on to one subset, or to all that there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// Who calls whom.
    pub edge: Edge,
    /// The rule of the policy; empty where none chose.
    pub route: Arc<str>,
    /// Empty where the route chose none.
    pub subset: Arc<str>,
}

/// All routes and splits.
#[derive(Debug, Default)]
pub(crate) struct Subsets {
    splits: HashMap<Split, BTreeMap<Arc<str>, Track<Tally>>>,
    /// Routes that choose no subset.
    routes: HashMap<Split, Track<Tally>>,
    tracks: usize,
    dropped: u64,
}

impl Subsets {
    /// Adds what a proxy saw in `second`. `false` where it is too old, or there is no room.
    pub(super) fn add_proxy(
        &mut self,
        part: Part,
        second: u64,
        (counts, latency): (&Tally, &SparseLatency),
    ) -> bool {
        let Part { edge: Edge { source, destination }, route, subset } = part;
        let split = Split { destination, source: Some(source), route };
        let track = match &*subset {
            "" => self.route_slot(split),
            _ => self.slot(&split, &subset),
        };
        track.is_some_and(|track| track.add_proxy(second, counts, latency))
    }

    /// Adds a request that a span of this version shows.
    pub(super) fn add_served(
        &mut self,
        (service, version): (&ServiceId, &Arc<str>),
        (second, now_second): (u64, u64),
        (served, latency): (&Served, &SparseLatency),
    ) -> bool {
        let (destination, source) = (service.clone(), None);
        let split = Split { destination, source, route: Arc::default() };
        let counts = Tally {
            first: served.requests,
            successes: served.requests - served.failures - served.cancelled,
            failures: served.failures,
            timeouts: served.cancelled,
            seen: served.seen,
            ..Tally::default()
        };
        self.slot(&split, version).is_some_and(|track| {
            track.note_span_lag(second, now_second);
            track.add_span(second, &counts, latency)
        })
    }

    fn route_slot(&mut self, split: Split) -> Option<&mut Track<Tally>> {
        if !self.routes.contains_key(&split) {
            if TRACKS_MAX <= self.tracks {
                self.dropped += 1;
                return None;
            }
            self.tracks += 1;
        }
        Some(self.routes.entry(split).or_default())
    }

    fn slot(&mut self, split: &Split, subset: &Arc<str>) -> Option<&mut Track<Tally>> {
        let known = self.splits.get(split);
        if known.is_none_or(|known| !known.contains_key(subset)) {
            let is_full = known.is_some_and(|known| SUBSETS_MAX <= known.len());
            if is_full || TRACKS_MAX <= self.tracks {
                self.dropped += 1;
                return None;
            }
            self.tracks += 1;
        }
        let subsets = self.splits.entry(split.clone()).or_default();
        Some(subsets.entry(Arc::clone(subset)).or_default())
    }

    /// Lets go of what is older than a minute, and of what has nothing left.
    pub(super) fn age(&mut self, now_second: u64) {
        let is_left = |track: &mut Track<Tally>| {
            track.age(now_second);
            !track.is_empty()
        };
        self.routes.retain(|_, track| is_left(track));
        self.splits.retain(|_, subsets| {
            subsets.retain(|_, track| is_left(track));
            !subsets.is_empty()
        });
        self.tracks = self.splits.values().map(BTreeMap::len).sum::<usize>() + self.routes.len();
    }

    /// Each split and its subsets, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Split, &BTreeMap<Arc<str>, Track<Tally>>)> {
        self.splits.iter()
    }

    /// Each part of the traffic on an edge that proxies tell apart, in no particular order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part, &Track<Tally>)> {
        let part = |split: &Split, subset: &Arc<str>| {
            let (route, subset) = (Arc::clone(&split.route), Arc::clone(subset));
            Some(Part { edge: split.edge()?, route, subset })
        };
        let splits = self.splits.iter().flat_map(move |(split, subsets)| {
            let parts = subsets.iter();
            parts.filter_map(move |(subset, track)| Some((part(split, subset)?, track)))
        });
        let routes = self.routes.iter();
        let none: Arc<str> = Arc::default();
        splits.chain(routes.filter_map(move |(split, track)| Some((part(split, &none)?, track))))
    }

    /// One of them.
    pub(crate) fn part(&self, part: &Part) -> Option<&Track<Tally>> {
        let Part { edge, route, subset } = part;
        let split = Split {
            destination: edge.destination.clone(),
            source: Some(edge.source.clone()),
            route: Arc::clone(route),
        };
        match &**subset {
            "" => self.routes.get(&split),
            subset => self.splits.get(&split)?.get(subset),
        }
    }

    /// The subsets behind one split.
    pub(crate) fn get(&self, split: &Split) -> Option<&BTreeMap<Arc<str>, Track<Tally>>> {
        self.splits.get(split)
    }

    /// Windows and observations that found no room since the start.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: nine versions of one service; then a minute passes.
    /// Guarantees: the ninth finds no room and is counted; what is older than a minute goes, and its
    /// room is free again.
    #[test]
    fn subsets_are_bounded_and_age() {
        const NOW: u64 = 1_700_000_000;
        let mut subsets = Subsets::default();
        let service = ServiceId::named("inventory").unwrap();
        let add = |subsets: &mut Subsets, name: String, second: u64| {
            let served = Served { requests: 1.0, seen: 1.0, ..Served::default() };
            let version: Arc<str> = name.into();
            let latency = SparseLatency::of_us(1_000, 1);
            subsets.add_served((&service, &version), (second, second), (&served, &latency))
        };
        let kept = (0..9).filter(|n| add(&mut subsets, format!("v{n}"), NOW)).count();
        assert_eq!((kept, subsets.dropped()), (8, 1));
        subsets.age(NOW + 70);
        assert_eq!(subsets.iter().count(), 0);
        assert!(add(&mut subsets, "v9".to_owned(), NOW + 70));
    }
}

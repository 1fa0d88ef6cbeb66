//! The last minute of each part of the traffic: of what a route sends on, and of each subset behind a
//! split, such as a canary and the others at the same time.
//!
//! Proxies report the route, and the subset that it chose. Where only spans speak, a server span's
//! `service.version` is the subset; then all callers of the service are one split.

use super::routes::Routes;
use super::sparse::SparseLatency;
use super::tally::{Served, Tally};
use super::track::Track;
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// More subsets of one split are not told apart.
const SUBSETS_MAX: usize = 8;
/// More subsets in all are not kept: a track has some kilobytes.
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
    /// How many tracks those are.
    tracks: usize,
    /// Routes that choose no subset have a room of their own: each edge may have some.
    routes: Routes,
    dropped: u64,
}

impl Subsets {
    /// Adds what a proxy saw in `second`, where there is room.
    pub(super) fn add_proxy(
        &mut self,
        part: Part,
        second: u64,
        (counts, latency): (&Tally, &SparseLatency),
    ) {
        let are_several = self.routes.note(&part, second);
        let Part { edge, route, subset } = part;
        let track = if !subset.is_empty() {
            let Edge { source, destination } = edge;
            self.slot(&Split { destination, source: Some(source), route }, &subset)
        } else if are_several {
            self.routes.slot(&edge, &route)
        } else {
            // Its edge tells of it.
            return;
        };
        match track {
            // One too old was not kept for the edge either, which counts it.
            Some(track) => _ = track.add_proxy(second, counts, latency),
            None => self.dropped += 1,
        }
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
        let Some(track) = self.slot(&split, version) else {
            self.dropped += 1;
            return false;
        };
        track.note_span_lag(second, now_second);
        track.add_span(second, &counts, latency)
    }

    fn slot(&mut self, split: &Split, subset: &Arc<str>) -> Option<&mut Track<Tally>> {
        let known = self.splits.get(split);
        if known.is_none_or(|known| !known.contains_key(subset)) {
            let is_full = known.is_some_and(|known| SUBSETS_MAX <= known.len());
            if is_full || TRACKS_MAX <= self.tracks {
                return None;
            }
            self.tracks += 1;
        }
        let subsets = self.splits.entry(split.clone()).or_default();
        Some(subsets.entry(Arc::clone(subset)).or_default())
    }

    /// Lets go of what is older than a minute, and of what has nothing left.
    pub(super) fn age(&mut self, now_second: u64) {
        self.routes.age(now_second);
        self.splits.retain(|_, subsets| {
            subsets.retain(|_, track| {
                track.age(now_second);
                !track.is_empty()
            });
            !subsets.is_empty()
        });
        self.tracks = self.splits.values().map(BTreeMap::len).sum();
    }

    /// Each split and its subsets, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Split, &BTreeMap<Arc<str>, Track<Tally>>)> {
        self.splits.iter()
    }

    /// Each part of the traffic on edges where proxies saw several lately, in no particular order:
    /// one alone is the edge.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Part, &Track<Tally>)> {
        let several = self.splits.iter().filter_map(|(split, subsets)| {
            let edge = split.edge().filter(|edge| self.routes.are_several(edge))?;
            Some((edge, &split.route, subsets))
        });
        let subsets = several.flat_map(|(edge, route, subsets)| {
            subsets.iter().map(move |(subset, track)| {
                let (route, subset) = (Arc::clone(route), Arc::clone(subset));
                (Part { edge: edge.clone(), route, subset }, track)
            })
        });
        subsets.chain(self.routes.iter())
    }

    /// Whether [`parts`](Self::parts) has it.
    pub(crate) fn is_apart(&self, part: &Part) -> bool {
        self.routes.are_several(&part.edge) && self.part(part).is_some()
    }

    /// One of them.
    pub(crate) fn part(&self, part: &Part) -> Option<&Track<Tally>> {
        let Part { edge, route, subset } = part;
        if subset.is_empty() {
            return self.routes.get(edge, route);
        }
        let split = Split {
            destination: edge.destination.clone(),
            source: Some(edge.source.clone()),
            route: Arc::clone(route),
        };
        self.splits.get(&split)?.get(subset)
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

    const NOW: u64 = 1_700_000_000;

    fn edge(destination: &str) -> Edge {
        let id = |name: &str| ServiceId::named(name).unwrap();
        Edge::new(id("payment"), id(destination))
    }

    /// One request on a route, to a subset or to none.
    fn add(subsets: &mut Subsets, edge: &Edge, (route, subset): (&str, &str), second: u64) {
        let part = Part { edge: edge.clone(), route: route.into(), subset: subset.into() };
        let counts = Tally { first: 1.0, successes: 1.0, seen: 1.0, ..Tally::default() };
        subsets.add_proxy(part, second, (&counts, &SparseLatency::of_us(1_000, 1)));
    }

    fn routes_of(subsets: &Subsets, edge: &Edge) -> Vec<String> {
        let parts = subsets.parts().filter(|(part, _)| part.edge == *edge);
        let mut routes: Vec<_> = parts.map(|(part, _)| part.route.to_string()).collect();
        routes.sort();
        routes
    }

    /// Scenario: a mesh of 10,000 edges, each with one plain route, for two minutes; then a canary
    /// rollout on one edge more.
    /// Guarantees: nothing is dropped, and the canary has a track: what has one route is told by its
    /// edge.
    #[test]
    fn plain_routes_leave_room_for_canaries() {
        let mut subsets = Subsets::default();
        let edges: Vec<Edge> = (0..10_000).map(|n| edge(&format!("inventory-{n}"))).collect();
        for second in [NOW, NOW + 60, NOW + 120] {
            for edge in &edges {
                add(&mut subsets, edge, ("read", ""), second);
            }
            subsets.age(second);
        }
        let canary = edge("checkout");
        for subset in ["v1", "v2"] {
            add(&mut subsets, &canary, ("split", subset), NOW + 120);
        }
        assert_eq!(subsets.dropped(), 0);
        assert_eq!(subsets.iter().map(|(_, subsets)| subsets.len()).sum::<usize>(), 2);
    }

    /// Scenario: more routes in all than are kept, each edge with two; then canaries.
    /// Guarantees: what finds no room is counted, and takes none from canaries.
    #[test]
    fn routes_and_canaries_have_rooms_of_their_own() {
        let mut subsets = Subsets::default();
        for n in 0..2_100 {
            let edge = edge(&format!("inventory-{n}"));
            for route in ["a", "b", "a"] {
                add(&mut subsets, &edge, (route, ""), NOW);
            }
        }
        let full = subsets.dropped();
        assert!(0 < full, "4,200 routes");
        add(&mut subsets, &edge("checkout"), ("split", "v2"), NOW);
        assert_eq!((subsets.dropped(), subsets.iter().count()), (full, 1));
    }

    /// Scenario: an edge with 70 routes; then a minute of silence.
    /// Guarantees: 64 are told apart, the others counted; all of it goes with its minute.
    #[test]
    fn routes_of_an_edge_are_bounded() {
        let mut subsets = Subsets::default();
        let edge = edge("inventory");
        for second in NOW..NOW + 3 {
            for n in 0..70 {
                add(&mut subsets, &edge, (&format!("r{n}"), ""), second);
            }
        }
        assert_eq!(subsets.parts().count(), 64);
        assert!(0 < subsets.dropped());
        subsets.age(NOW + 70);
        assert_eq!(subsets.parts().count(), 0);
        add(&mut subsets, &edge, ("r70", ""), NOW + 70);
        assert_eq!(routes_of(&subsets, &edge), [""; 0], "one is the edge");
    }

    /// Scenario: an edge with one route; a second one comes, or a subset; that is quiet for most of an
    /// hour, then for more than one.
    /// Guarantees: the route is told apart from the second part on, and for as long as another is
    /// seen each hour: what comes now and then takes nothing from what is always there.
    #[test]
    fn a_route_is_told_apart_beside_others() {
        for (route, subset, both) in
            [("write", "", vec!["read", "write"]), ("read", "v2", vec!["read"; 2])]
        {
            let mut subsets = Subsets::default();
            let edge = edge("inventory");
            let read = |subsets: &mut Subsets, seconds: std::ops::Range<u64>| {
                for second in seconds {
                    add(subsets, &edge, ("read", ""), NOW + second);
                    subsets.age(NOW + second);
                }
            };
            read(&mut subsets, 0..100);
            assert_eq!(routes_of(&subsets, &edge), [""; 0]);
            add(&mut subsets, &edge, (route, subset), NOW + 100);
            read(&mut subsets, 100..110);
            assert_eq!(routes_of(&subsets, &edge), both);
            read(&mut subsets, 110..3_000);
            assert_eq!(routes_of(&subsets, &edge), ["read"]);
            add(&mut subsets, &edge, (route, subset), NOW + 3_000);
            read(&mut subsets, 3_000..6_000);
            assert_eq!(routes_of(&subsets, &edge), ["read"]);
            read(&mut subsets, 6_000..6_700);
            assert_eq!(routes_of(&subsets, &edge), [""; 0]);
        }
    }
}

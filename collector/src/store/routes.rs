//! Which edges have several parts, and the last minute of each of their routes that choose no subset.
//!
//! Most edges of a mesh have one plain route. What it does is what its edge does, which has a track
//! already: so a route has one of its own only once something else was seen on its edge.

use super::subsets::Part;
use super::tally::Tally;
use super::track::{KEPT_SECONDS, MINUTE, Track};
use fusebox_proto::Edge;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// More routes of one edge are not told apart: as many as a proxy reports apart.
const ROUTES_MAX: usize = 64;
/// More routes in all are not kept: a track has some kilobytes.
const TRACKS_MAX: usize = 4_096;
/// What comes once an hour comes again. An edge whose traffic was all of one part for longer has one
/// part, such as after a rollout; where there is no room for others, already after a minute.
const ALONE_SECONDS_MAX: u64 = 3_600;

/// The parts of all edges, as many as the store keeps edges: an edge is known here for as long as
/// there.
#[derive(Debug, Default)]
pub(super) struct Routes {
    edges: HashMap<Edge, Seen>,
    tracks: usize,
}

/// What was seen on one edge.
#[derive(Debug)]
struct Seen {
    /// The route and subset seen last, and the newest second.
    last: (Arc<str>, Arc<str>),
    newest: u64,
    /// When another was seen than before; `None`: there is one.
    several_at: Option<u64>,
    tracks: BTreeMap<Arc<str>, Track<Tally>>,
}

impl Routes {
    /// Takes note of a part that was seen in `second`. Whether its edge has several.
    pub(super) fn note(&mut self, part: &Part, second: u64) -> bool {
        let Part { edge, route, subset } = part;
        let seen = self.edges.entry(edge.clone()).or_insert_with(|| Seen {
            last: (Arc::clone(route), Arc::clone(subset)),
            newest: second,
            several_at: None,
            tracks: BTreeMap::new(),
        });
        seen.newest = seen.newest.max(second);
        if (&seen.last.0, &seen.last.1) != (route, subset) {
            seen.last = (Arc::clone(route), Arc::clone(subset));
            seen.several_at = seen.several_at.max(Some(second));
        }
        seen.several_at.is_some()
    }

    /// The track of a route that was noted; `None` where there is no room.
    pub(super) fn slot(&mut self, edge: &Edge, route: &Arc<str>) -> Option<&mut Track<Tally>> {
        let tracks = &mut self.edges.get_mut(edge)?.tracks;
        if !tracks.contains_key(route) {
            if ROUTES_MAX <= tracks.len() || TRACKS_MAX <= self.tracks {
                return None;
            }
            self.tracks += 1;
        }
        Some(tracks.entry(Arc::clone(route)).or_default())
    }

    /// Lets go of what is older than a minute, and of the routes of edges that have no other part any
    /// more.
    pub(super) fn age(&mut self, now_second: u64) {
        let alone_max = if TRACKS_MAX <= self.tracks { MINUTE } else { ALONE_SECONDS_MAX };
        self.tracks = 0;
        self.edges.retain(|_, seen| {
            if seen.several_at.is_some_and(|at| at + alone_max < now_second) {
                seen.several_at = None;
                seen.tracks.clear();
            }
            seen.tracks.retain(|_, track| {
                track.age(now_second);
                !track.is_empty()
            });
            let is_left = now_second <= seen.newest + KEPT_SECONDS;
            self.tracks += if is_left { seen.tracks.len() } else { 0 };
            is_left
        });
    }

    /// Whether several parts were seen on an edge lately.
    pub(super) fn are_several(&self, edge: &Edge) -> bool {
        self.edges.get(edge).is_some_and(|seen| seen.several_at.is_some())
    }

    /// One of them.
    pub(super) fn get(&self, edge: &Edge, route: &str) -> Option<&Track<Tally>> {
        self.edges.get(edge)?.tracks.get(route)
    }

    /// Each that has a track, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Part, &Track<Tally>)> {
        self.edges.iter().flat_map(|(edge, seen)| {
            let part = |route| Part { edge: edge.clone(), route, subset: Arc::default() };
            seen.tracks.iter().map(move |(route, track)| (part(Arc::clone(route)), track))
        })
    }
}

//! A directed graph on integer cells: layered from left to right, routed through channels, stable.
//!
//! The layout is Sugiyama's, cut to what a terminal needs. Cycles are broken
//! where traffic enters them ([`rank`]); each node gets the rank of its longest path. A call that skips ranks runs through
//! them in a *lane*, one lane a caller, so that all calls of a caller form one tree. Ranks are
//! ordered by barycentres with exchanges ([`order`]), rows are found by isotonic regression, which
//! puts each item as near to its neighbours as the order allows ([`place`]). Between two ranks lies
//! a *channel*, in which each caller has one vertical *trunk* on a track of its own ([`route`]).
//!
//! Stability is worth more than beauty: a person who looks away for a moment must find everything
//! where it was. [`Plan::extend`] puts new nodes and lanes into free places and moves nothing; calls
//! that the pinned ranks cannot take forward run backwards, dashed as those of a cycle are. Only
//! [`Plan::new`] lays out anew; the model decides when.

mod order;
mod place;
mod rank;
mod route;

pub use route::{Drawing, NodeBox, Path, PathCell};

use std::collections::{BTreeMap, BTreeSet};

/// Rows of a node.
pub const NODE_HEIGHT: i32 = 2;
/// Longest name that is given room; longer ones are cut.
const NAME_WIDTH_MAX: usize = 14;
/// Shortest node that looks like one.
const NAME_WIDTH_MIN: usize = 9;
/// Bar on the left and a space or badge on the right.
const NODE_FRAME: usize = 2;

/// Caller and callee.
pub type Call = (String, String);

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Column, counted from the left.
    pub rank: usize,
    /// Its first row.
    pub y: i32,
}

/// Positions of a graph's nodes and lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    spots: BTreeMap<String, Spot>,
    lanes: BTreeMap<Lane, i32>,
    calls: BTreeSet<Call>,
    columns: Vec<Column>,
    laid_out: usize,
}

/// What runs through a rank without stopping there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    owner: Owner,
    rank: usize,
}

/// Whose lane or trunk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// All forward calls of a caller.
    Caller(String),
    /// One call against the direction.
    Back(String, String),
}

/// A rank on the screen; pinned with the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    /// Width of its nodes.
    width: usize,
    /// Tracks of the channel on its left.
    tracks: usize,
}

impl Plan {
    /// Lays out a graph anew. Calls to or from what is not in `nodes` are left out.
    pub fn new(nodes: &BTreeSet<String>, calls: &BTreeSet<Call>) -> Self {
        let names: Vec<&String> = nodes.iter().collect();
        let index = |name: &String| names.binary_search(&name).ok();
        let calls: BTreeSet<Call> =
            calls.iter().filter(|(a, b)| nodes.contains(a) && nodes.contains(b)).cloned().collect();
        let pairs: Vec<(usize, usize)> =
            calls.iter().filter_map(|(a, b)| Some((index(a)?, index(b)?))).collect();
        let ranks = rank::ranks(names.len(), &pairs);
        let layers = order::Layers::new(&ranks, &pairs);
        let rows = place::rows(&layers);
        let mut plan = Self { laid_out: calls.len(), calls, ..Self::default() };
        for (item, row) in layers.items.iter().zip(rows) {
            match item.kind {
                order::Kind::Node(at) => {
                    let spot = Spot { rank: item.rank, y: row };
                    plan.spots.insert(names[at].clone(), spot);
                }
                order::Kind::Lane(at) => {
                    let owner = Owner::Caller(names[at].clone());
                    plan.lanes.insert(Lane { owner, rank: item.rank }, row);
                }
                order::Kind::Back(from, to) => {
                    let owner = Owner::Back(names[from].clone(), names[to].clone());
                    plan.lanes.insert(Lane { owner, rank: item.rank }, row);
                }
            }
        }
        plan.measure();
        plan
    }

    /// Takes in what is new without moving anything. What vanished keeps its place.
    pub fn extend(&mut self, nodes: &BTreeSet<String>, calls: &BTreeSet<Call>) {
        let known = |(a, b): &&Call| nodes.contains(a) && nodes.contains(b);
        self.calls = calls.iter().filter(known).cloned().collect();
        // Callees of what is placed come first, so that a chain of new nodes grows rightwards.
        let mut missing: Vec<&String> =
            nodes.iter().filter(|n| !self.spots.contains_key(*n)).collect();
        while !missing.is_empty() {
            let at = missing.iter().position(|n| self.has_placed_caller(n)).unwrap_or(0);
            let name = missing.remove(at);
            self.put(name);
        }
        for lane in self.lanes_needed() {
            if !self.lanes.contains_key(&lane) {
                let wish = self.lane_wish(&lane);
                let row = self.free_row(lane.rank, wish, 1);
                self.lanes.insert(lane, row);
            }
        }
    }

    /// Where a node is.
    pub fn spot(&self, name: &str) -> Option<Spot> {
        self.spots.get(name).copied()
    }

    /// Calls that are drawn.
    pub fn calls(&self) -> &BTreeSet<Call> {
        &self.calls
    }

    /// Whether this much has come since the last layout that a new one would be better.
    pub fn is_outgrown(&self) -> bool {
        self.laid_out + (self.laid_out / 4).max(2) < self.calls.len()
    }

    /// Whether a call runs against the direction: it closes a cycle, or the ranks were pinned.
    pub fn is_back(&self, source: &str, destination: &str) -> bool {
        match (self.spots.get(source), self.spots.get(destination)) {
            (Some(a), Some(b)) => b.rank <= a.rank,
            _ => false,
        }
    }

    /// The drawing of these nodes, all of them placed before.
    pub fn draw(&self, nodes: &BTreeSet<String>) -> Drawing {
        route::draw(self, nodes)
    }

    fn has_placed_caller(&self, name: &str) -> bool {
        self.calls.iter().any(|(a, b)| b == name && self.spots.contains_key(a))
    }

    /// Places a new node next to what it calls or is called by.
    fn put(&mut self, name: &str) {
        let spot_of = |other: &String| self.spots.get(other).copied();
        let callers: Vec<Spot> =
            self.calls.iter().filter(|(_, b)| b == name).filter_map(|(a, _)| spot_of(a)).collect();
        let callees: Vec<Spot> =
            self.calls.iter().filter(|(a, _)| a == name).filter_map(|(_, b)| spot_of(b)).collect();
        let after = callers.iter().map(|s| s.rank + 1).max();
        let before = callees.iter().map(|s| s.rank.saturating_sub(1)).min();
        let rank = after.or(before).unwrap_or(0);
        let near = if callers.is_empty() { &callees } else { &callers };
        let count = i32::try_from(near.len()).unwrap_or(1).max(1);
        let wish = near.iter().map(|s| s.y).sum::<i32>() / count;
        while self.columns.len() <= rank {
            self.columns.push(Column { width: node_width(name), tracks: 2 });
        }
        let y = self.free_row(rank, wish, NODE_HEIGHT);
        self.spots.insert(name.to_owned(), Spot { rank, y });
    }

    /// The row nearest to `wish` where `height` rows of a column are free, with a row between two
    /// nodes.
    fn free_row(&self, rank: usize, wish: i32, height: i32) -> i32 {
        let nodes = self.spots.values().filter(|s| s.rank == rank).map(|s| (s.y, NODE_HEIGHT));
        let lanes = self.lanes.iter().filter(|(l, _)| l.rank == rank).map(|(_, y)| (*y, 1));
        let taken: Vec<(i32, i32)> = nodes.chain(lanes).collect();
        let is_free = |y: i32| {
            taken.iter().all(|&(at, tall)| {
                let gap = i32::from(height == NODE_HEIGHT && tall == NODE_HEIGHT);
                y + height + gap <= at || at + tall + gap <= y
            })
        };
        // Below everything there is always room.
        let below = taken.iter().map(|(at, tall)| at + tall + 1).max().unwrap_or(0).max(wish);
        let near = (0..=below).flat_map(|d| [wish + d, wish - d]);
        near.filter(|y| 0 <= *y).find(|&y| is_free(y)).unwrap_or(below)
    }

    fn lanes_needed(&self) -> BTreeSet<Lane> {
        let mut needed = BTreeSet::new();
        for (a, b) in &self.calls {
            let (Some(from), Some(to)) = (self.spots.get(a), self.spots.get(b)) else { continue };
            let (owner, ranks) = if from.rank < to.rank {
                (Owner::Caller(a.clone()), from.rank + 1..to.rank)
            } else {
                (Owner::Back(a.clone(), b.clone()), to.rank + 1..from.rank)
            };
            needed.extend(ranks.map(|rank| Lane { owner: owner.clone(), rank }));
        }
        needed
    }

    fn lane_wish(&self, lane: &Lane) -> i32 {
        let name = match &lane.owner {
            Owner::Caller(name) | Owner::Back(_, name) => name,
        };
        self.spots.get(name).map_or(0, |spot| spot.y)
    }

    /// Pins widths of columns and channels.
    fn measure(&mut self) {
        let ranks = self.spots.values().map(|s| s.rank + 1).max().unwrap_or(0);
        self.columns = (0..ranks)
            .map(|rank| {
                let names = self.spots.iter().filter(|(_, s)| s.rank == rank);
                let width = names.map(|(name, _)| node_width(name)).max().unwrap_or(0);
                Column { width, tracks: usize::MAX }
            })
            .collect();
        for (rank, tracks) in route::tracks(self).into_iter().enumerate() {
            if let Some(column) = self.columns.get_mut(rank) {
                column.tracks = tracks;
            }
        }
    }
}

fn node_width(name: &str) -> usize {
    use unicode_width::UnicodeWidthStr as _;
    name.width().clamp(NAME_WIDTH_MIN, NAME_WIDTH_MAX) + NODE_FRAME
}

#[cfg(test)]
mod tests;

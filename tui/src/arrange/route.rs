//! Routes: each caller's calls as one tree through the channels between ranks.
//!
//! In a channel a caller has one trunk: a vertical on a track of its own, fed from the left by the
//! caller or its lane, with a branch to the right for each callee in the next rank and one for the
//! lane beyond. The order of tracks is chosen pair by pair: a trunk left of another crosses it with
//! those of its branches that leave within the other's extent. Two trunks whose extents do not
//! touch share a track. Calls against the direction use the second row of their nodes.

mod track;

use super::{Lane, Owner, Plan};
use std::collections::{BTreeMap, BTreeSet};
use track::Trunk;

/// A graph on cells, without colours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// Nodes by name.
    pub nodes: Vec<NodeBox>,
    /// Calls by caller and callee.
    pub paths: Vec<Path>,
    /// Columns of cells.
    pub width: i32,
    /// Rows of cells.
    pub height: i32,
}

/// A node on cells, [`super::NODE_HEIGHT`] rows high.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBox {
    /// Service.
    pub name: String,
    /// First column.
    pub x: i32,
    /// First row.
    pub y: i32,
    /// Columns.
    pub width: i32,
}

/// The cells of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Caller.
    pub source: String,
    /// Callee.
    pub destination: String,
    /// Against the direction.
    pub back: bool,
    /// From left to right.
    pub cells: Vec<PathCell>,
    /// Where its head is.
    pub head: (i32, i32),
    /// Paths of the same tree may join.
    pub tree: usize,
}

/// One cell of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCell {
    /// Column.
    pub x: i32,
    /// Row.
    pub y: i32,
    /// Leaves it upwards, to the right, downwards, to the left.
    pub leaves: [bool; 4],
    /// On the last stretch into the callee, which all its callers share.
    pub entry: bool,
}

const UP: usize = 0;
const RIGHT: usize = 1;
const DOWN: usize = 2;
const LEFT: usize = 3;

/// Tracks that the channel on the left of each rank needs.
pub(super) fn tracks(plan: &Plan) -> Vec<usize> {
    let nodes = plan.spots.keys().cloned().collect();
    let router = Router::new(plan, &nodes);
    router.channels.iter().map(|trunks| track::count(trunks)).collect()
}

/// The drawing of these nodes.
pub(super) fn draw(plan: &Plan, nodes: &BTreeSet<String>) -> Drawing {
    let router = Router::new(plan, nodes);
    let mut drawing = Drawing::default();
    for name in nodes {
        if let Some(spot) = plan.spots.get(name) {
            let width = router.columns[spot.rank].1;
            let x = router.columns[spot.rank].0;
            drawing.nodes.push(NodeBox { name: name.clone(), x, y: spot.y, width });
            drawing.width = drawing.width.max(x + width);
            drawing.height = drawing.height.max(spot.y + super::NODE_HEIGHT);
        }
    }
    for (tree, (call, stops)) in router.stops.iter().enumerate() {
        if let Some(path) = router.path(call, stops, tree) {
            let lowest = path.cells.iter().map(|c| c.y + 1).max().unwrap_or(0);
            let right = path.cells.iter().map(|c| c.x + 1).max().unwrap_or(0);
            drawing.height = drawing.height.max(lowest);
            drawing.width = drawing.width.max(right);
            drawing.paths.push(path);
        }
    }
    drawing
}

/// What one call does in one channel: comes in at a row on the left, leaves at a row on the right.
#[derive(Clone, Debug)]
struct Stop {
    channel: usize,
    left: Option<i32>,
    right: i32,
}

struct Router<'a> {
    plan: &'a Plan,
    /// Trunks of the channel on the left of each rank.
    channels: Vec<Vec<Trunk<Owner>>>,
    stops: BTreeMap<(String, String), Vec<Stop>>,
    /// First column and width of the nodes of each rank.
    columns: Vec<(i32, i32)>,
    /// First column of the channel on the left of each rank.
    gaps: Vec<i32>,
}

impl<'a> Router<'a> {
    fn new(plan: &'a Plan, nodes: &BTreeSet<String>) -> Self {
        let stops: BTreeMap<_, _> = plan
            .calls
            .iter()
            .filter(|(a, b)| a != b && nodes.contains(a) && nodes.contains(b))
            .filter_map(|call| Some((call.clone(), stops(plan, call)?)))
            .collect();
        let mut trunks: Vec<BTreeMap<Owner, Trunk<Owner>>> =
            vec![BTreeMap::new(); plan.columns.len()];
        for (call, stops) in &stops {
            let owner = owner(plan, call);
            for stop in stops {
                let trunk = trunks[stop.channel]
                    .entry(owner.clone())
                    .or_insert_with(|| Trunk::new(owner.clone()));
                trunk.add(stop.left, stop.right);
            }
        }
        let channels: Vec<_> = trunks
            .into_iter()
            .map(|by_owner| track::assign(by_owner.into_values().collect()))
            .collect();
        let mut router = Self { plan, channels, stops, columns: Vec::new(), gaps: Vec::new() };
        router.measure(nodes);
        router
    }

    /// Columns without a visible node or line take no room.
    fn measure(&mut self, nodes: &BTreeSet<String>) {
        let mut x = 0;
        for (rank, column) in self.plan.columns.iter().enumerate() {
            let has_nodes =
                nodes.iter().any(|n| self.plan.spots.get(n).is_some_and(|s| s.rank == rank));
            let needed = track::count(&self.channels[rank]);
            let tracks = i32::try_from(needed.min(column.tracks)).unwrap_or(0);
            let is_used = has_nodes || !self.channels[rank].is_empty();
            self.gaps.push(x);
            let pinned = i32::try_from(column.tracks).unwrap_or(tracks);
            let gap = match (rank, is_used) {
                (_, false) => 0,
                (0, true) if pinned == 0 => 0,
                _ => 2 + pinned,
            };
            let width = if has_nodes { i32::try_from(column.width).unwrap_or(0) } else { 0 };
            self.columns.push((x + gap, width));
            x += gap + width;
        }
    }

    fn path(&self, call: &(String, String), stops: &[Stop], tree: usize) -> Option<Path> {
        let (a, b) = (self.plan.spots.get(&call.0)?, self.plan.spots.get(&call.1)?);
        let back = b.rank <= a.rank;
        let owner = owner(self.plan, call);
        let tree = match &owner {
            Owner::Caller(name) => self.stops.keys().position(|(from, _)| from == name)?,
            Owner::Back(..) => self.stops.len() + tree,
        };
        let mut line = Line::default();
        let last = stops.len() - 1;
        for (at, stop) in stops.iter().enumerate() {
            let track = self.track_x(stop.channel, &owner)?;
            let start = if at == 0 { self.gaps[stop.channel] } else { line.x };
            let end = self.columns[stop.channel].0 - 1;
            if let Some(left) = stop.left {
                line.begin(start, left, at == 0);
                if left != stop.right {
                    line.go_right(track);
                }
                line.entry = at == last && !back;
                line.go_to_row(stop.right);
                line.go_right(end);
            } else {
                line.begin(end, a.y + 1, false);
                line.loop_left(track, stop.right, end);
            }
            if at < last {
                let (column, width) = self.columns[stop.channel];
                line.go_right(column + width);
            }
        }
        let same_rank = a.rank == b.rank;
        let head = if back && !same_rank {
            (self.columns[b.rank].0 + self.columns[b.rank].1, b.y + 1)
        } else {
            (self.columns[b.rank].0 - 1, b.y)
        };
        let (source, destination) = call.clone();
        Some(Path { source, destination, back, cells: line.finish(), head, tree })
    }

    fn track_x(&self, channel: usize, owner: &Owner) -> Option<i32> {
        let trunk = self.channels[channel].iter().find(|t| t.owner == *owner)?;
        let cap = self.columns[channel].0 - 2;
        let x = self.gaps[channel] + 1 + i32::try_from(trunk.track).unwrap_or(0);
        (self.gaps[channel] <= cap).then_some(x.min(cap))
    }
}

fn owner(plan: &Plan, (a, b): &(String, String)) -> Owner {
    if plan.is_back(a, b) { Owner::Back(a.clone(), b.clone()) } else { Owner::Caller(a.clone()) }
}

fn stops(plan: &Plan, call: &(String, String)) -> Option<Vec<Stop>> {
    let (a, b) = (plan.spots.get(&call.0)?, plan.spots.get(&call.1)?);
    if a.rank == b.rank {
        return Some(vec![Stop { channel: a.rank, left: None, right: b.y }]);
    }
    let owner = owner(plan, call);
    let lane = |rank| {
        let lane = Lane { owner: owner.clone(), rank };
        plan.lanes.get(&lane).copied().unwrap_or_else(|| plan.lane_wish(&lane))
    };
    let ((from, first), (to, end)) = if a.rank < b.rank {
        ((a.rank, a.y), (b.rank, b.y))
    } else {
        ((b.rank, b.y + 1), (a.rank, a.y + 1))
    };
    let row = |rank| {
        if rank == from {
            first
        } else if rank == to {
            end
        } else {
            lane(rank)
        }
    };
    Some(
        (from + 1..=to)
            .map(|channel| Stop { channel, left: Some(row(channel - 1)), right: row(channel) })
            .collect(),
    )
}

/// A pen that remembers in which directions each of its cells is left.
#[derive(Default)]
struct Line {
    x: i32,
    y: i32,
    entry: bool,
    cells: BTreeMap<(i32, i32), ([bool; 4], bool)>,
}

impl Line {
    /// Sets the pen down; the first time at the edge of a node, which is on its left.
    fn begin(&mut self, x: i32, y: i32, at_node: bool) {
        (self.x, self.y) = (x, y);
        if at_node {
            self.mark(LEFT);
        }
    }

    fn mark(&mut self, direction: usize) {
        let cell = self.cells.entry((self.x, self.y)).or_default();
        cell.0[direction] = true;
        cell.1 |= self.entry;
    }

    fn go_right(&mut self, x: i32) {
        while self.x < x {
            self.mark(RIGHT);
            self.x += 1;
            self.mark(LEFT);
        }
    }

    fn go_to_row(&mut self, y: i32) {
        while self.y != y {
            let down = self.y < y;
            self.mark(if down { DOWN } else { UP });
            self.y += if down { 1 } else { -1 };
            self.mark(if down { UP } else { DOWN });
        }
        // The corner belongs to the entry, the trunk does not.
        if self.entry {
            let corner = (self.x, self.y);
            for (at, cell) in &mut self.cells {
                cell.1 &= at.1 == corner.1;
            }
        }
    }

    /// From a node's second row around to the first row of another node of the same rank.
    fn loop_left(&mut self, track: i32, row: i32, end: i32) {
        self.mark(RIGHT);
        while track < self.x {
            self.mark(LEFT);
            self.x -= 1;
            self.mark(RIGHT);
        }
        self.go_to_row(row);
        self.go_right(end);
    }

    fn finish(self) -> Vec<PathCell> {
        self.cells
            .into_iter()
            .map(|((x, y), (leaves, entry))| PathCell { x, y, leaves, entry })
            .collect()
    }
}

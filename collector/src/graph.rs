//! The live graph: services and who calls whom, on petgraph.

use fusebox_proto::report::Protocol;
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Edge, ServiceId};
use petgraph::Direction;
use petgraph::algo::tarjan_scc;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Nodes and edges that nothing touched for this long are forgotten: longer than the pause between
/// two runs of a job every five minutes, short enough that a renamed service leaves the screen
/// while the one who renamed it still looks.
pub const UNSEEN_MAX: Duration = Duration::from_mins(10);
/// More nodes than this are not taken: ten times the largest mesh that a console can show.
pub const NODES_MAX: usize = 10_000;
/// More edges than this are not taken.
pub const EDGES_MAX: usize = 50_000;
/// Of the places for nodes and edges one in so many is for proxies alone: whoever sends spans of a
/// million names does not keep out what proxies see.
const PROXIES_SHARE: usize = 4;
/// Ageing looks at every node and edge, so it runs at most this often.
const AGE_EVERY: Duration = Duration::from_secs(10);

/// Services and the calls between them. Bounded; what is not seen for [`UNSEEN_MAX`] ages out.
#[derive(Debug, Default)]
pub struct Graph {
    mesh: StableDiGraph<Node, Link>,
    index: HashMap<ServiceId, NodeIndex>,
    dropped: Dropped,
    aged_at: Option<Instant>,
}

/// Who gives evidence of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// One of our proxies.
    Proxy,
    /// Spans, which anybody can send.
    Spans,
}

impl Witness {
    /// Of so many places, those that may be taken on this evidence.
    pub(crate) const fn room(self, places: usize) -> usize {
        match self {
            Self::Proxy => places,
            Self::Spans => places - places / PROXIES_SHARE,
        }
    }
}

/// A service on the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which.
    pub service: ServiceId,
    /// What it is; a service that speaks for itself is no longer external.
    pub kind: ServiceKind,
    /// When there was last evidence of it.
    pub seen_at: Instant,
}

/// A call dependency on the graph.
#[derive(Clone, Debug)]
pub struct Link {
    /// The last protocol seen that is not `Unknown`.
    pub protocol: Protocol,
    /// When there was last evidence of it.
    pub seen_at: Instant,
    /// Pieces of evidence that were not taken back.
    sightings: u64,
}

/// What did not fit since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Sightings of nodes beyond [`NODES_MAX`].
    pub nodes: u64,
    /// Sightings of edges beyond [`EDGES_MAX`], or to a node that did not fit.
    pub edges: u64,
}

/// What aged out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Aged {
    /// Nodes.
    pub services: Vec<ServiceId>,
    /// Edges, also those of aged nodes.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// There is evidence of a node. Whether it is on the graph now.
    pub fn touch_node(
        &mut self,
        (now, by): (Instant, Witness),
        service: &ServiceId,
        kind: ServiceKind,
    ) -> bool {
        self.node((now, by), service, Some(kind)).is_some()
    }

    /// There is evidence of an edge, and so of its two ends. An end that is not known yet is taken
    /// for external until it says otherwise itself. Whether it is on the graph now.
    pub fn touch_edge(
        &mut self,
        (now, by): (Instant, Witness),
        edge: &Edge,
        protocol: Protocol,
    ) -> bool {
        let ends = self
            .node((now, by), &edge.source, None)
            .and_then(|source| Some((source, self.node((now, by), &edge.destination, None)?)));
        let Some((source, destination)) = ends else {
            self.dropped.edges += 1;
            return false;
        };
        if let Some(index) = self.mesh.find_edge(source, destination) {
            let link = &mut self.mesh[index];
            link.seen_at = now;
            link.sightings = link.sightings.saturating_add(1);
            if protocol != Protocol::Unknown {
                link.protocol = protocol;
            }
        } else if by.room(EDGES_MAX) <= self.mesh.edge_count() {
            self.dropped.edges += 1;
            return false;
        } else {
            self.mesh.add_edge(source, destination, Link { protocol, seen_at: now, sightings: 1 });
        }
        true
    }

    /// One piece of the evidence of an edge was wrong. When all of it was, the edge goes with the
    /// next [`Graph::age`], and so do its ends where they have no other edge and never spoke for
    /// themselves.
    pub fn retract_edge(&mut self, edge: &Edge) {
        let index = |service| self.index.get(service).copied();
        let ends = index(&edge.source).zip(index(&edge.destination));
        let found = ends.and_then(|(from, to)| self.mesh.find_edge(from, to));
        if let Some(link) = found.and_then(|index| self.mesh.edge_weight_mut(index)) {
            link.sightings = link.sightings.saturating_sub(1);
        }
    }

    /// The node of `service`, made or refreshed; `None` if there is no place for it.
    fn node(
        &mut self,
        (now, by): (Instant, Witness),
        service: &ServiceId,
        kind: Option<ServiceKind>,
    ) -> Option<NodeIndex> {
        if let Some(&index) = self.index.get(service) {
            let node = &mut self.mesh[index];
            node.seen_at = now;
            match (node.kind, kind) {
                (ServiceKind::Service, _) | (_, None) => (),
                (_, Some(kind)) => node.kind = kind,
            }
            return Some(index);
        }
        if by.room(NODES_MAX) <= self.mesh.node_count() {
            self.dropped.nodes += 1;
            return None;
        }
        let kind = kind.unwrap_or(ServiceKind::External);
        let index = self.mesh.add_node(Node { service: service.clone(), kind, seen_at: now });
        self.index.insert(service.clone(), index);
        Some(index)
    }

    /// Forgets what nothing touched for [`UNSEEN_MAX`], and says what that was. Cheap to call
    /// often.
    pub fn age(&mut self, now: Instant) -> Aged {
        let mut aged = Aged::default();
        let is_due = self.aged_at.is_none_or(|at| AGE_EVERY <= now.saturating_duration_since(at));
        if !is_due {
            return aged;
        }
        self.aged_at = Some(now);
        let is_old = |seen_at: Instant| UNSEEN_MAX < now.saturating_duration_since(seen_at);
        let mut orphans: HashSet<NodeIndex> = HashSet::new();
        let links = self.mesh.edge_references();
        let edges: Vec<EdgeIndex> = links
            .filter(|edge| edge.weight().sightings == 0 || is_old(edge.weight().seen_at))
            .map(|edge| edge.id())
            .collect();
        for index in edges {
            if self.mesh[index].sightings == 0 {
                let (source, destination) = self.mesh.edge_endpoints(index).unzip();
                orphans.extend(source.into_iter().chain(destination));
            }
            aged.edges.extend(self.edge_of(index));
            self.mesh.remove_edge(index);
        }
        let is_orphan = |node: NodeIndex| {
            orphans.contains(&node)
                && self.mesh[node].kind != ServiceKind::Service
                && self.mesh.neighbors_undirected(node).next().is_none()
        };
        // An edge keeps its ends alive: a node that is left is not older than its edges.
        let nodes: Vec<NodeIndex> = self
            .mesh
            .node_indices()
            .filter(|&node| is_old(self.mesh[node].seen_at) || is_orphan(node))
            .collect();
        for index in nodes {
            if let Some(node) = self.mesh.remove_node(index) {
                self.index.remove(&node.service);
                aged.services.push(node.service);
            }
        }
        aged
    }

    fn edge_of(&self, index: EdgeIndex) -> Option<Edge> {
        let (source, destination) = self.mesh.edge_endpoints(index)?;
        let name = |node: NodeIndex| self.mesh[node].service.clone();
        Some(Edge::new(name(source), name(destination)))
    }

    /// All nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.mesh.node_weights()
    }

    /// All edges with what is known of them, in no particular order.
    pub fn edges(&self) -> impl Iterator<Item = (Edge, &Link)> {
        self.mesh
            .edge_indices()
            .filter_map(|index| Some((self.edge_of(index)?, self.mesh.edge_weight(index)?)))
    }

    /// What is known of one node.
    pub fn get(&self, service: &ServiceId) -> Option<&Node> {
        self.mesh.node_weight(*self.index.get(service)?)
    }

    /// Whom `service` calls.
    pub fn callees(&self, service: &ServiceId) -> impl Iterator<Item = &ServiceId> {
        self.neighbors(service, Direction::Outgoing)
    }

    /// Who calls `service`.
    pub fn callers(&self, service: &ServiceId) -> impl Iterator<Item = &ServiceId> {
        self.neighbors(service, Direction::Incoming)
    }

    fn neighbors(
        &self,
        service: &ServiceId,
        direction: Direction,
    ) -> impl Iterator<Item = &ServiceId> {
        let index = self.index.get(service).copied();
        index
            .into_iter()
            .flat_map(move |index| self.mesh.neighbors_directed(index, direction))
            .map(|neighbor| &self.mesh[neighbor].service)
    }

    /// Services that call each other in a circle: the strongly connected components of more than
    /// one node, each sorted.
    pub fn cycles(&self) -> Vec<Vec<ServiceId>> {
        let mut cycles: Vec<Vec<ServiceId>> = tarjan_scc(&self.mesh)
            .into_iter()
            .filter(|component| 1 < component.len())
            .map(|component| {
                let mut names: Vec<ServiceId> =
                    component.into_iter().map(|node| self.mesh[node].service.clone()).collect();
                names.sort();
                names
            })
            .collect();
        cycles.sort();
        cycles
    }

    /// From `last` upstream, along the heaviest edge into each node, for as long as `weight` gives
    /// one: the edges of the path, the uppermost first, `last` at the end. No node is passed
    /// twice, so a cycle ends the walk. Of equal edges the first by name is taken.
    pub fn heaviest_path(
        &self,
        last: &Edge,
        mut weight: impl FnMut(&Edge) -> Option<f64>,
    ) -> Vec<Edge> {
        let mut path = vec![last.clone()];
        let mut passed: HashSet<NodeIndex> =
            self.index.get(&last.destination).copied().into_iter().collect();
        let mut at = self.index.get(&last.source).copied();
        while let Some(node) = at {
            if !passed.insert(node) {
                break;
            }
            let heaviest = self
                .mesh
                .edges_directed(node, Direction::Incoming)
                .filter(|edge| !passed.contains(&edge.source()))
                .filter_map(|edge| {
                    let name = self.edge_of(edge.id())?;
                    Some((weight(&name)?, name, edge.source()))
                })
                .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
            at = heaviest.map(|(_, edge, source)| {
                path.push(edge);
                source
            });
        }
        path.reverse();
        path
    }

    /// What did not fit since the start.
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }
}

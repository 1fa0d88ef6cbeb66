//! What the graph shows and where.
//!
//! Positions are facts of the model, not of a frame: they change only here, when the set of calls
//! changes. While an incident is open nothing is laid out anew; what is new goes into free places.
//! Where the whole graph is too large for the screen or for the eye, the part around the incident
//! is shown, else the neighbourhood of the chosen node.

use super::rows::name_of;
use super::{Model, Screen};
use crate::arrange::{Call, Drawing, Plan};
use fusebox_proto::view::{EdgeName, Incident, Service, ServiceKind};
use std::collections::{BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash as _, Hasher as _};

/// A person does not read more nodes than this.
pub const NODES_MAX: usize = 40;

/// Which part of the graph is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    #[default]
    All,
    /// What an incident touches, by its id: from the way in to its edge (0) to all that could feel
    /// it (3).
    Incident(String, usize),
    /// A node with its callers and callees.
    Around(String),
}

/// Positions of the graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Databases and queues are nodes, not badges.
    pub unfolded: bool,
    /// Which part is shown.
    pub scope: Scope,
    /// Positions.
    pub plan: Plan,
    /// What is shown of the plan.
    pub nodes: BTreeSet<String>,
    /// Nodes that are not shown.
    pub hidden: usize,
    /// How the screen is shared.
    pub shares: Shares,
    topology: u64,
}

impl Graph {
    /// Lets the next settling lay out anew.
    pub fn forget(&mut self) {
        *self = Self { unfolded: self.unfolded, ..Self::default() };
    }

    /// The drawing of what is shown.
    pub fn drawing(&self) -> Drawing {
        self.plan.draw(&self.nodes)
    }
}

/// How the screen is shared between the graph and what explains it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Rows of the graph.
    pub graph: u16,
    /// Rows of the inspector below it.
    pub inspector: u16,
    /// Rows of the legend.
    pub legend: u16,
}

impl Shares {
    /// Of a screen with so many rows. `tight` gives the graph all that can be spared.
    fn of(rows: u16, has_banner: bool, tight: bool) -> Self {
        let body = rows.saturating_sub(3 + u16::from(has_banner));
        let (inspector, legend) = match body {
            30.. => (8, 1),
            18..30 if !tight => (5, 1),
            14..30 => (3, 0),
            _ => (0, 0),
        };
        Self { graph: body - inspector - legend, inspector, legend }
    }
}

impl Model {
    /// Brings the graph in line with facts, choice and size.
    pub(super) fn settle_graph(&mut self) {
        if self.screen != Screen::Graph && self.graph.plan != Plan::default() {
            // Positions are kept until they are looked at again.
            return;
        }
        let topology = self.topology();
        if topology == self.graph.topology {
            return;
        }
        self.graph.topology = topology;
        let (nodes, calls) = self.visible();
        let pinned = self.open_incidents().next().is_some();
        let shares = [false, true].map(|tight| Shares::of(self.size.1, pinned, tight));
        for scope in self.scopes(nodes.len()) {
            let part = self.part(&scope, &nodes, &calls);
            let plan = if scope == self.graph.scope && self.graph.plan != Plan::default() {
                let mut plan = self.graph.plan.clone();
                plan.extend(&part, &calls);
                if plan.is_outgrown() && !pinned { Plan::new(&part, &calls) } else { plan }
            } else {
                Plan::new(&part, &calls)
            };
            let drawing = plan.draw(&part);
            let is_narrow = drawing.width <= i32::from(self.size.0);
            let fitting = shares.iter().find(|s| drawing.height <= i32::from(s.graph));
            if (is_narrow && fitting.is_some()) || matches!(scope, Scope::Around(_)) {
                self.graph.shares = *fitting.unwrap_or(&shares[0]);
                self.graph.hidden = nodes.len() - part.len();
                self.graph.nodes = part;
                self.graph.scope = scope;
                self.graph.plan = plan;
                return;
            }
        }
    }

    /// Nodes and calls to draw. Folded, databases and queues that call nobody are badges of their
    /// callers, unless an incident is about them.
    fn visible(&self) -> (BTreeSet<String>, BTreeSet<Call>) {
        let snapshot = &self.snapshot;
        let calls: BTreeSet<Call> =
            snapshot.edges.iter().map(|e| (e.source.clone(), e.destination.clone())).collect();
        let callers: BTreeSet<&String> = calls.iter().map(|(a, _)| a).collect();
        let accused: BTreeSet<String> = self.open_incidents().flat_map(named).collect();
        let is_folded = |service: &Service| {
            let is_infra = matches!(service.kind, ServiceKind::Database | ServiceKind::Messaging);
            let name = &service.name;
            !self.graph.unfolded && is_infra && !callers.contains(name) && !accused.contains(name)
        };
        let mut nodes: BTreeSet<String> =
            snapshot.services.iter().map(|s| s.name.clone()).collect();
        nodes.extend(calls.iter().flat_map(|(a, b)| [a.clone(), b.clone()]));
        for service in snapshot.services.iter().filter(|s| is_folded(s)) {
            nodes.remove(&service.name);
        }
        (nodes, calls)
    }

    /// What the graph depends on, in one number.
    fn topology(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for service in &self.snapshot.services {
            (&service.name, service.kind).hash(&mut hasher);
        }
        for edge in &self.snapshot.edges {
            (&edge.source, &edge.destination).hash(&mut hasher);
        }
        (self.size, self.graph.unfolded, self.incident().map(|i| &i.id)).hash(&mut hasher);
        if self.graph.scope != Scope::All || self.graph.plan == Plan::default() {
            self.selection.service.hash(&mut hasher);
        }
        // Never 0, which stands for a graph that was forgotten.
        hasher.finish().max(1)
    }

    /// Parts to try, largest first.
    fn scopes(&self, count: usize) -> Vec<Scope> {
        let mut scopes = Vec::new();
        // In an incident the part that is looked at stays the part, as long as it fits.
        let is_held = match (&self.graph.scope, self.incident()) {
            (Scope::All, Some(_)) => self.graph.plan != Plan::default(),
            (Scope::Incident(id, _), Some(incident)) => *id == incident.id,
            _ => false,
        };
        if is_held {
            scopes.push(self.graph.scope.clone());
        }
        if count <= NODES_MAX {
            scopes.push(Scope::All);
        }
        if let Some(incident) = self.incident() {
            scopes.extend((0..4).rev().map(|steps| Scope::Incident(incident.id.clone(), steps)));
        }
        let centre = self.selection.service.clone().or_else(|| self.default_service());
        scopes.push(Scope::Around(centre.unwrap_or_default()));
        scopes
    }

    fn part(
        &self,
        scope: &Scope,
        all: &BTreeSet<String>,
        calls: &BTreeSet<Call>,
    ) -> BTreeSet<String> {
        match scope {
            Scope::All => all.clone(),
            Scope::Incident(id, steps) => {
                let incident = self.open_incidents().find(|i| i.id == *id);
                let part = incident.map(|i| around_incident(i, *steps, calls)).unwrap_or_default();
                part.into_iter().filter(|name| all.contains(name)).collect()
            }
            Scope::Around(centre) => {
                let mut part = step(&BTreeSet::from([centre.clone()]), calls, true, true);
                part.retain(|name| all.contains(name));
                part.into_iter().take(NODES_MAX).collect()
            }
        }
    }

    /// The node that is chosen where the operator chose none: the victim, else the worst.
    pub(super) fn default_service(&self) -> Option<String> {
        let (nodes, _) = self.visible();
        let edge = self.incident().and_then(super::act::incident_edge);
        let victim = edge.map(|e| e.destination).filter(|name| nodes.contains(name));
        victim.or_else(|| {
            let rows = self.service_rows();
            rows.iter().map(|(_, s)| s.name.clone()).find(|name| nodes.contains(name))
        })
    }

    /// The chosen edge of the chosen node: callers first, then callees, each by name.
    pub fn graph_edge(&self) -> Option<EdgeName> {
        let edges = self.edges_of_node();
        let chosen = self.selection.edge.as_ref().filter(|e| edges.contains(e));
        let named = || self.incident().and_then(super::act::incident_edge);
        chosen
            .cloned()
            .or_else(|| named().filter(|e| edges.contains(e)))
            .or_else(|| self.worst_of(&edges))
    }

    /// Edges of the chosen node.
    pub(super) fn edges_of_node(&self) -> Vec<EdgeName> {
        let Some(node) = self.selection.service.as_ref() else { return Vec::new() };
        let of = |is_caller: bool| {
            self.snapshot
                .edges
                .iter()
                .filter(move |e| if is_caller { &e.destination == node } else { &e.source == node })
        };
        of(true).chain(of(false)).map(name_of).collect()
    }

    fn worst_of(&self, edges: &[EdgeName]) -> Option<EdgeName> {
        let severity = |name: &EdgeName| self.edge(name).map(|e| self.edge_severity(e));
        // The first of the worst, so that equals do not change places.
        edges.iter().rev().max_by_key(|name| severity(name)).cloned()
    }
}

/// Services that an incident names.
fn named(incident: &Incident) -> impl Iterator<Item = String> {
    let edge = incident.edge.iter().flat_map(|e| [e.source.clone(), e.destination.clone()]);
    let layers = incident.layers.iter().flat_map(|l| [l.source.clone(), l.destination.clone()]);
    let ends = [incident.originator.clone(), incident.victim.clone()];
    edge.chain(layers).chain(ends.into_iter().flatten())
}

/// What an incident touches. The edge, its layers and the shortest ways in to it; then all callers
/// of the originator; then who else calls the victim and whom it calls; then all that could feel
/// it. Only the topology decides, so that nothing comes and goes with the figures.
fn around_incident(incident: &Incident, reach: usize, calls: &BTreeSet<Call>) -> BTreeSet<String> {
    let mut part: BTreeSet<String> = named(incident).collect();
    let origin = incident.originator.iter().chain(incident.edge.iter().map(|e| &e.source)).cloned();
    let origin: BTreeSet<String> = origin.collect();
    let victim: BTreeSet<String> = incident.victim.iter().cloned().collect();
    if reach == 0 {
        part.extend(shortest_ways_in(&origin, calls));
    } else {
        part.extend(upstream(&origin, calls));
    }
    if 2 <= reach {
        part.extend(step(&victim, calls, true, true));
        part.extend(step(&origin, calls, false, true));
    }
    if 3 <= reach {
        part.extend(upstream(&part, calls));
    }
    part.into_iter().take(NODES_MAX).collect()
}

/// These nodes and all that call them, however far.
fn upstream(nodes: &BTreeSet<String>, calls: &BTreeSet<Call>) -> BTreeSet<String> {
    let mut found = nodes.clone();
    loop {
        let more = step(&found, calls, true, false);
        if more.len() == found.len() || NODES_MAX < more.len() {
            return found;
        }
        found = more;
    }
}

/// Nodes on the shortest ways from where nobody calls to these nodes.
fn shortest_ways_in(nodes: &BTreeSet<String>, calls: &BTreeSet<Call>) -> BTreeSet<String> {
    let is_called = |name: &String| calls.iter().any(|(_, b)| b == name);
    let mut rings = vec![nodes.clone()];
    let mut seen = nodes.clone();
    while let Some(last) = rings.last().filter(|ring| ring.iter().all(is_called)) {
        let ring: BTreeSet<String> =
            step(last, calls, true, false).into_iter().filter(|n| !seen.contains(n)).collect();
        if ring.is_empty() {
            break;
        }
        seen.extend(ring.iter().cloned());
        rings.push(ring);
    }
    let mut way: BTreeSet<String> =
        rings.pop().unwrap_or_default().into_iter().filter(|n| !is_called(n)).collect();
    for ring in rings.iter().rev() {
        let next = step(&way, calls, false, true);
        way.extend(next.into_iter().filter(|n| ring.contains(n)));
    }
    way
}

/// These nodes and those one call away.
fn step(
    nodes: &BTreeSet<String>,
    calls: &BTreeSet<Call>,
    callers: bool,
    callees: bool,
) -> BTreeSet<String> {
    let mut out = nodes.clone();
    for (a, b) in calls {
        if callers && nodes.contains(b) {
            out.insert(a.clone());
        }
        if callees && nodes.contains(a) {
            out.insert(b.clone());
        }
    }
    out
}

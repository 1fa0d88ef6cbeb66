//! Who calls whom, as rows: each call once, below its caller, the worst first.
//!
//! A service that several call has one place where its own calls hang: below the call that an incident
//! names, else below the one that is worst, and while none is bad, below the one that is nearest to
//! where requests come in. Its other rows
//! point there. Calls that close a circle never carry the rest.

use super::Model;
use super::act::incident_edge;
use super::rows::{failures, magnitude};
use super::severity::Severity;
use fusebox_proto::view::{EdgeName, EdgeView, Service};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Where the calls of a row's service are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below this row.
    Here,
    /// Below a row further up.
    Above,
    /// Below a row further down.
    Below,
}

/// A call, or a service that nobody calls.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The service that is called.
    pub name: &'a str,
    /// The call; [`None`]: requests come in here.
    pub edge: Option<&'a EdgeView>,
    /// Its own figures.
    pub service: Option<&'a Service>,
    /// For each step from the left whether more calls of the same caller follow.
    pub guides: Vec<bool>,
    /// Where its own calls are.
    pub place: Place,
    /// Rows that are folded away below it.
    pub hidden: usize,
    /// Its own; where rows are folded away, the worst of theirs too.
    pub severity: Severity,
}

/// What a row is chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A call.
    Call(EdgeName),
    /// A service that nobody calls.
    Entry(String),
}

impl Row<'_> {
    /// What it is chosen by.
    pub fn key(&self) -> Key {
        match self.edge {
            Some(edge) => Key::Call(super::rows::name_of(edge)),
            None => Key::Entry(self.name.to_owned()),
        }
    }

    /// How far it is from where requests come in.
    pub fn depth(&self) -> usize {
        self.guides.len()
    }
}

/// The graph by index. Calls of a service to itself are rows, and nothing hangs below them.
struct Tree<'a> {
    names: Vec<&'a str>,
    calls: Vec<Call<'a>>,
    /// Calls of each service.
    out: Vec<Vec<usize>>,
    /// The call below which the calls of a service hang; [`None`]: it is an entry.
    carrier: Vec<Option<usize>>,
    /// The worst on a service or anywhere below it.
    worst: Vec<Rank>,
}

/// What is not bad.
const CALM: Rank = (false, Severity::Ok, i32::MIN);

/// Whether an incident names a call; how bad it is; by the power of two, how much of it fails.
type Rank = (bool, Severity, i32);

struct Call<'a> {
    edge: &'a EdgeView,
    from: usize,
    to: usize,
    rank: Rank,
    /// Whether it closes a circle.
    is_back: bool,
}

impl Model {
    /// Rows that the filter and folding leave, in the order of the table.
    pub fn tree_rows(&self) -> Vec<Row<'_>> {
        let mut rows = Tree::of(self).rows(self);
        if !self.filter.trim().is_empty() {
            // From below: what matches, and whoever is above it.
            let mut above = 0;
            rows.reverse();
            rows.retain(|row| {
                let is_kept = self.shows(&[row.name]) || row.depth() < above;
                above = if is_kept { row.depth() } else { above };
                is_kept
            });
            rows.reverse();
        }
        let mut shown: Vec<Row<'_>> = Vec::new();
        for row in rows {
            match shown.last_mut() {
                Some(folded) if self.is_folded(folded) && folded.depth() < row.depth() => {
                    folded.hidden += 1;
                    folded.severity = folded.severity.max(row.severity);
                }
                _ => shown.push(row),
            }
        }
        guide(&mut shown);
        shown
    }

    fn is_folded(&self, row: &Row<'_>) -> bool {
        row.place == Place::Here && self.folded.contains(row.name)
    }

    /// What is chosen of the tree: the chosen call, else the chosen service where its calls hang, else
    /// the call that the incident is about, else the first row.
    pub fn selected_row<'a>(&self, rows: &'a [Row<'_>]) -> Option<(usize, &'a Row<'a>)> {
        let call = self.selection.edge.as_ref().map(|edge| Key::Call(edge.clone()));
        let by_call = call.and_then(|call| rows.iter().position(|row| row.key() == call));
        let name = self.selection.service.as_deref();
        let is_home = |row: &Row<'_>| Some(row.name) == name && row.place == Place::Here;
        let by_incident = || {
            let call = Key::Call(self.incident().and_then(incident_edge)?);
            rows.iter().position(|row| row.key() == call)
        };
        let at = by_call.or_else(|| rows.iter().position(is_home)).or_else(by_incident);
        let at = at.unwrap_or(0);
        rows.get(at).map(|row| (at, row))
    }
}

impl<'a> Tree<'a> {
    fn of(model: &'a Model) -> Self {
        let snapshot = &model.snapshot;
        let ends = snapshot.edges.iter().flat_map(|e| [e.source.as_str(), e.destination.as_str()]);
        let mut names: Vec<&str> = ends.collect();
        names.extend(snapshot.services.iter().map(|service| service.name.as_str()));
        names.sort_unstable();
        names.dedup();
        let index: HashMap<&str, usize> =
            names.iter().enumerate().map(|(at, n)| (*n, at)).collect();
        let named: Vec<EdgeName> = model.open_incidents().filter_map(incident_edge).collect();
        let calls = snapshot.edges.iter().map(|edge| Call {
            edge,
            from: index[edge.source.as_str()],
            to: index[edge.destination.as_str()],
            rank: rank(edge, model.edge_severity(edge), &named),
            is_back: false,
        });
        let calls: Vec<Call<'_>> = calls.collect();
        let mut out = vec![Vec::new(); names.len()];
        for (at, call) in calls.iter().enumerate() {
            out[call.from].push(at);
        }
        let mut worst = vec![CALM; names.len()];
        for service in &snapshot.services {
            let severity = model.service_severity(service).max(Severity::Ok);
            worst[index[service.name.as_str()]] = (false, severity, i32::MIN);
        }
        let carrier = vec![None; names.len()];
        let mut tree = Self { names, calls, out, carrier, worst };
        let order = tree.cut_circles();
        tree.hang(&order);
        tree
    }

    /// Marks the calls that close a circle; services in an order in which callers come first.
    /// Walks by name, so that a circle is cut in the same place whatever its figures are.
    fn cut_circles(&mut self) -> Vec<usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            No,
            OnTheWay,
            Done,
        }
        let mut is_called = vec![false; self.names.len()];
        self.calls.iter().filter(|call| call.from != call.to).for_each(|c| is_called[c.to] = true);
        let mut starts: Vec<usize> = (0..self.names.len()).collect();
        starts.sort_by_key(|&at| is_called[at]);
        let mut seen = vec![Seen::No; self.names.len()];
        let mut done = Vec::new();
        for start in starts {
            if seen[start] != Seen::No {
                continue;
            }
            seen[start] = Seen::OnTheWay;
            let mut way = vec![(start, 0)];
            while let Some((at, next)) = way.last_mut() {
                let Some(&call) = self.out[*at].get(*next) else {
                    seen[*at] = Seen::Done;
                    done.push(*at);
                    way.pop();
                    continue;
                };
                *next += 1;
                let to = self.calls[call].to;
                match seen[to] {
                    Seen::OnTheWay => self.calls[call].is_back = true,
                    Seen::Done => (),
                    Seen::No => {
                        seen[to] = Seen::OnTheWay;
                        way.push((to, 0));
                    }
                }
            }
        }
        done.reverse();
        done
    }

    /// Finds where the calls of each service hang, and what is worst below each.
    fn hang(&mut self, order: &[usize]) {
        let mut steps = vec![0_usize; self.names.len()];
        let mut best: Vec<Option<(Reverse<Rank>, usize, usize)>> = vec![None; self.names.len()];
        for &at in order {
            self.carrier[at] = best[at].map(|(_, _, call)| call);
            steps[at] = best[at].map_or(0, |(_, step, _)| step);
            for &call in &self.out[at] {
                let Call { to, rank, is_back, .. } = self.calls[call];
                let rank = if rank.1 < Severity::Bad { CALM } else { rank };
                let claim = (Reverse(rank), steps[at] + 1, call);
                if !is_back && best[to].is_none_or(|other| claim < other) {
                    best[to] = Some(claim);
                }
            }
        }
        for &at in order.iter().rev() {
            for &call in &self.out[at] {
                self.worst[at] = self.worst[at].max(self.worst_of(call));
            }
        }
    }

    /// The worst of a call and of what hangs below it.
    fn worst_of(&self, call: usize) -> Rank {
        let Call { to, rank, .. } = self.calls[call];
        if self.carrier[to] == Some(call) { rank.max(self.worst[to]) } else { rank }
    }

    fn rows(mut self, model: &'a Model) -> Vec<Row<'a>> {
        let services: HashMap<&str, &Service> =
            model.snapshot.services.iter().map(|s| (s.name.as_str(), s)).collect();
        let mut out = std::mem::take(&mut self.out);
        for calls in &mut out {
            calls.sort_by_key(|&at| (Reverse(self.worst_of(at)), self.calls[at].to));
        }
        let mut entries: Vec<usize> =
            (0..self.names.len()).filter(|&at| self.carrier[at].is_none()).collect();
        entries.sort_by_key(|&at| Reverse(self.worst[at]));
        let mut rows: Vec<Row<'a>> = Vec::new();
        let mut has_come = vec![false; self.names.len()];
        for entry in entries {
            let mut stack = vec![(entry, None, 0)];
            while let Some((at, call, depth)) = stack.pop() {
                let name = self.names[at];
                let service = services.get(name).copied();
                let place = match (self.carrier[at] == call, has_come[at]) {
                    (true, _) => Place::Here,
                    (false, true) => Place::Above,
                    (false, false) => Place::Below,
                };
                let own = service.map_or(Severity::Idle, |s| model.service_severity(s));
                let edge = call.map(|call| self.calls[call].edge);
                let severity = edge.map_or(own, |edge| model.edge_severity(edge));
                let guides = vec![false; depth];
                rows.push(Row { name, edge, service, guides, place, hidden: 0, severity });
                if place == Place::Here {
                    has_come[at] = true;
                    let below = out[at].iter().rev();
                    stack.extend(below.map(|&c| (self.calls[c].to, Some(c), depth + 1)));
                }
            }
        }
        rows
    }
}

fn rank(edge: &EdgeView, severity: Severity, named: &[EdgeName]) -> Rank {
    let is_named =
        |name: &EdgeName| (&name.source, &name.destination) == (&edge.source, &edge.destination);
    // What is not bad keeps its place, however its figures move.
    let failing = if severity < Severity::Bad { i32::MIN } else { magnitude(failures(edge)) };
    (named.iter().any(is_named), severity.max(Severity::Ok), failing)
}

/// Says of each step from the left whether more follow there.
fn guide(rows: &mut [Row<'_>]) {
    let mut open: Vec<bool> = Vec::new();
    for row in rows.iter_mut().rev() {
        let depth = row.depth();
        open.resize(depth, false);
        row.guides.clone_from(&open);
        if let Some(last) = open.last_mut() {
            *last = true;
        }
    }
}

#[cfg(test)]
mod tests;

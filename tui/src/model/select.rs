//! Moving the selection: over rows in the tables, over cells on the graph. What is chosen is kept
//! by its name.

use super::rows::name_of;
use super::tree::{Key, Place};
use super::{Model, Screen};
use crate::arrange::NodeBox;
use crate::keys::Action;
use fusebox_proto::view::{EdgeName, Event};

/// Rows of a page, where the height of a table is not at hand.
const PAGE: usize = 10;

impl Model {
    /// Moves the selection of the view.
    pub(super) fn move_selection(&mut self, action: Action) {
        match self.screen {
            Screen::Triage => self.move_incident(action),
            Screen::Graph => self.move_node(action),
            Screen::Services => self.move_row(action),
            Screen::Edges => {
                let rows: Vec<EdgeName> = self.edge_rows().into_iter().map(name_of).collect();
                let chosen = self.selected_edge();
                self.selection.edge = moved(&rows, chosen.as_ref(), action);
            }
            Screen::Timeline => {
                let rows: Vec<Event> = self.timeline_rows().into_iter().cloned().collect();
                let chosen = self.selected_event().cloned();
                self.selection.event = moved(&rows, chosen.as_ref(), action);
            }
            Screen::Breakers => {
                let rows: Vec<_> = self
                    .breaker_rows()
                    .into_iter()
                    .map(|b| (b.edge.clone(), b.endpoint.clone()))
                    .collect();
                self.selection.breaker = moved(&rows, self.selection.breaker.as_ref(), action);
            }
        }
    }

    fn move_row(&mut self, action: Action) {
        let rows = self.tree_rows();
        let Some((at, row)) = self.selected_row(&rows) else { return };
        let to = match action {
            Action::Fold => {
                let name = row.name.to_owned();
                if row.place == Place::Here && !self.folded.remove(&name) {
                    self.folded.insert(name);
                }
                return;
            }
            // Out of a branch: to the caller. Into it: to the first call, or to where the calls are.
            Action::Left => rows[..at].iter().rposition(|above| above.depth() < row.depth()),
            Action::Right if row.place == Place::Here => Some(at + 1)
                .filter(|next| rows.get(*next).is_some_and(|next| row.depth() < next.depth())),
            Action::Right => {
                rows.iter().position(|it| it.name == row.name && it.place == Place::Here)
            }
            _ => {
                let all: Vec<usize> = (0..rows.len()).collect();
                moved(&all, Some(&at), action)
            }
        };
        if let Some(to) = to {
            let key = rows[to].key();
            self.choose_row(key);
        }
    }

    fn choose_row(&mut self, key: Key) {
        (self.selection.edge, self.selection.service) = match key {
            Key::Call(edge) => (Some(edge.clone()), Some(edge.destination)),
            Key::Entry(name) => (None, Some(name)),
        };
    }

    fn move_incident(&mut self, action: Action) {
        let ids: Vec<String> = self.open_incidents().map(|i| i.id.clone()).collect();
        let chosen = self.incident().map(|i| i.id.clone());
        self.selection.incident = moved(&ids, chosen.as_ref(), action);
    }

    fn move_node(&mut self, action: Action) {
        if let Action::NextEdge | Action::PreviousEdge = action {
            let edges = self.edges_of_node();
            let at = self.graph_edge().and_then(|e| edges.iter().position(|x| *x == e));
            if let Some(at) = at {
                let by = if action == Action::NextEdge { 1 } else { edges.len() - 1 };
                self.selection.edge = Some(edges[(at + by) % edges.len()].clone());
            }
            return;
        }
        let drawing = self.graph.drawing();
        let Some(from) =
            drawing.nodes.iter().find(|n| Some(&n.name) == self.selection.service.as_ref())
        else {
            return;
        };
        if let Some(to) = nearest(&drawing.nodes, from, action) {
            let name = self.preferred_neighbour(from, action).unwrap_or_else(|| to.name.clone());
            self.choose_service(name);
        }
    }

    /// Left and right follow the worst call, if there is one; only then do they go by distance.
    fn preferred_neighbour(&self, from: &NodeBox, action: Action) -> Option<String> {
        let rightwards = match action {
            Action::Right => true,
            Action::Left => false,
            _ => return None,
        };
        let ends = |e: &fusebox_proto::view::EdgeView| {
            if rightwards {
                (e.source.clone(), e.destination.clone())
            } else {
                (e.destination.clone(), e.source.clone())
            }
        };
        self.snapshot
            .edges
            .iter()
            .filter(|e| ends(e).0 == from.name && self.graph.nodes.contains(&ends(e).1))
            .filter(|e| !self.graph.plan.is_back(&e.source, &e.destination))
            .max_by_key(|e| self.edge_severity(e))
            .map(|e| ends(e).1)
    }

    fn choose_service(&mut self, name: String) {
        self.selection.service = Some(name);
        self.selection.edge = None;
        self.selection.edge = self.graph_edge();
    }

    /// Shows the target on the graph; on a calm Triage the worst service.
    pub(super) fn show_on_graph(&mut self) {
        if let Some(edge) = self.target() {
            self.selection.service = Some(edge.destination.clone());
            self.selection.edge = Some(edge);
        }
        self.screen = Screen::Graph;
    }

    /// Shows the incident that names the target, else the newest.
    pub(super) fn show_incident(&mut self) {
        let target = self.target();
        let named = self.open_incidents().find(|i| super::act::incident_edge(i) == target);
        let id = named.or_else(|| self.open_incidents().next()).map(|i| i.id.clone());
        self.selection.incident = id.or(self.selection.incident.take());
        self.screen = Screen::Triage;
    }

    /// Pins what is chosen, so that data that changes does not move it; what vanished is let go.
    pub(super) fn settle_selection(&mut self) {
        self.selection.incident = self.incident().map(|i| i.id.clone());
        match self.screen {
            Screen::Triage => {}
            Screen::Graph => {
                let known = self
                    .selection
                    .service
                    .as_ref()
                    .is_some_and(|name| self.snapshot.services.iter().any(|s| &s.name == name));
                if !known {
                    self.selection.service = self.default_service();
                    self.selection.edge = None;
                }
                self.selection.edge = self.graph_edge();
            }
            Screen::Services => {
                let known = |name: &String| self.snapshot.services.iter().any(|s| s.name == *name);
                let folded = self.folded.iter().filter(|name| known(name)).cloned().collect();
                self.folded = folded;
                let rows = self.tree_rows();
                let key = self.selected_row(&rows).map(|(_, row)| row.key());
                if let Some(key) = key {
                    self.choose_row(key);
                }
            }
            Screen::Edges => self.selection.edge = self.selected_edge(),
            // The newest stays chosen for as long as nobody has chosen another.
            Screen::Timeline => {
                let chosen = self.selection.event.take();
                self.selection.event = chosen.filter(|event| self.snapshot.events.contains(event));
            }
            Screen::Breakers => {
                let rows = self.breaker_rows();
                let row = rows.iter().find(|b| self.is_selected(b)).or_else(|| rows.first());
                self.selection.breaker = row.map(|b| (b.edge.clone(), b.endpoint.clone()));
            }
        }
    }
}

/// The row that a movement leads to.
fn moved<T: PartialEq + Clone>(rows: &[T], chosen: Option<&T>, action: Action) -> Option<T> {
    let last = rows.len().checked_sub(1)?;
    let at = chosen.and_then(|c| rows.iter().position(|row| row == c)).unwrap_or(0);
    let to = match action {
        Action::Up => at.saturating_sub(1),
        Action::Down => (at + 1).min(last),
        Action::PageUp => at.saturating_sub(PAGE),
        Action::PageDown => (at + PAGE).min(last),
        Action::First => 0,
        Action::Last => last,
        _ => at,
    };
    Some(rows[to].clone())
}

/// The node next to this one in a direction.
fn nearest<'a>(nodes: &'a [NodeBox], from: &NodeBox, action: Action) -> Option<&'a NodeBox> {
    let others = nodes.iter().filter(|n| n.name != from.name);
    let distance = |n: &NodeBox| ((n.y - from.y).abs(), (n.x - from.x).abs());
    match action {
        Action::Up => others.filter(|n| n.x == from.x && n.y < from.y).min_by_key(|n| distance(n)),
        Action::Down => {
            others.filter(|n| n.x == from.x && from.y < n.y).min_by_key(|n| distance(n))
        }
        Action::Left => others.filter(|n| n.x < from.x).min_by_key(|n| (from.x - n.x, distance(n))),
        Action::Right => {
            others.filter(|n| from.x < n.x).min_by_key(|n| (n.x - from.x, distance(n)))
        }
        _ => None,
    }
}

//! How an incident of a service begins, comes back and ends, whatever it is about.

use super::blame::Blame;
use super::regression::fitting;
use super::sentence::time_of_day;
use super::{Before, Cause, Happened, Incident, Incidents, OPEN_MAX, REOPEN_MS, Scene, id, line};
use fusebox_proto::Edge;
use fusebox_proto::view::{self, IncidentState, Stamp};

/// What begins.
pub(super) struct Beginning {
    /// In the words of the contract.
    pub(super) kind: String,
    /// From whoever suffers most to the service.
    pub(super) edge: Edge,
    /// Unix time in seconds.
    pub(super) onset: u64,
    /// What it is about.
    pub(super) cause: Cause,
}

impl Incidents {
    /// Whether one more may open; what may not is counted.
    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.open.len() < OPEN_MAX;
        self.dropped += u64::from(!has_room);
        has_room
    }

    /// Opens an incident, or the same again that was over a moment ago. `join` has the first word
    /// on it.
    pub(super) fn begin(
        &mut self,
        scene: &Scene<'_>,
        beginning: Beginning,
        is_same: impl Fn(&Incident) -> bool,
        join: impl FnOnce(&mut Incident),
        happened: &mut Vec<Happened>,
    ) {
        let is_back = |past: &Incident| {
            let until = past.view.resolved_at.map_or(0, |at| at.0);
            is_same(past) && scene.now.unix_ms < until + REOPEN_MS
        };
        let past = self.past.iter().position(is_back).and_then(|at| self.past.remove(at));
        let (mut incident, what) = match past {
            Some(mut past) => {
                past.view.state = IncidentState::Open;
                past.view.resolved_at = None;
                past.left = None;
                past.cause = beginning.cause;
                (past, "is back")
            }
            None => (Incident::of_service(scene, beginning), "opened"),
        };
        join(&mut incident);
        incident.refresh(scene);
        while self.find(&incident.view.id).is_some() {
            incident.view.id.push('x');
        }
        happened.push(line(scene, what, &incident.view));
        self.open.push(incident);
    }
}

impl Incident {
    fn of_service(scene: &Scene<'_>, beginning: Beginning) -> Self {
        let Beginning { kind, edge, onset, cause } = beginning;
        let view = view::Incident {
            id: id(&kind, &edge, onset),
            kind,
            opened_at: Stamp(scene.now.unix_ms),
            ..view::Incident::default()
        };
        let victim = edge.source.clone();
        Self {
            cause,
            edges: [edge.clone()].into(),
            onset,
            blame: Blame { edge, victim, layers: Vec::new(), amplification: 1.0 },
            before: Before::default(),
            view,
            left: None,
            told: None,
        }
    }

    /// How one ends of which the detectors say nothing any more; `None` while those of a new
    /// process may still find it.
    pub(super) fn end_unheard(&self, scene: &Scene<'_>) -> Option<&'static str> {
        match self.left {
            Some(left) if !left.is_over(scene.now) => None,
            Some(_) => Some("not seen since the collector restarted."),
            None => Some("it is over."),
        }
    }

    /// Ends it: the service `was` something from then until now, and why no longer.
    pub(super) fn end(&mut self, scene: &Scene<'_>, was: &str, why: &str) {
        let view = &mut self.view;
        view.state = IncidentState::Resolved;
        view.resolved_at = Some(Stamp(scene.now.unix_ms));
        view.phase = "resolved".into();
        view.action = None;
        let (from, to) = (time_of_day(self.onset * 1_000), time_of_day(scene.now.unix_ms));
        let name = scene.names.print(&self.blame.edge.destination);
        view.summary = fitting(&name, |name| format!("{name} {was} from {from} to {to}; {why}"));
    }
}

//! What incidents suggest, as guard mode looks at it, and what it made of it.

use super::{Incident, Incidents, Scene};
use crate::guard::{self, Case, Path};
use crate::store::{Latent as _, Tally, Track};
use fusebox_proto::command::{ActionKind, Verb};
use fusebox_proto::view::{IncidentGuard, Remedy, Stamp, SuggestedAction};
use fusebox_proto::{Edge, Now};

/// What succeeds now, over so many seconds.
const SECONDS: u64 = 3;
/// What the evidence is of, over so many seconds at most: as many as the detector judges by.
const EVIDENCE_SECONDS: u64 = 10;

impl Incidents {
    /// Open incidents that suggest something, oldest first.
    pub(crate) fn suggesting(&self) -> Vec<String> {
        let mut open: Vec<_> = self.open.iter().filter(|open| open.view.action.is_some()).collect();
        open.sort_by(|a, b| (a.view.opened_at, &a.view.id).cmp(&(b.view.opened_at, &b.view.id)));
        open.into_iter().map(|incident| incident.view.id.clone()).collect()
    }

    /// What an incident suggests, and what a decision about it rests on.
    pub(crate) fn suggestion(
        &self,
        scene: &Scene<'_>,
        id: &str,
    ) -> Option<(SuggestedAction, Case)> {
        let incident = self.open.iter().find(|incident| incident.view.id == id)?;
        let suggestion = incident.view.action.clone()?;
        let case = incident.case(scene, &suggestion);
        Some((suggestion, case))
    }

    /// Guard mode acted on an incident.
    pub(crate) fn guard_acted(&mut self, now: Now, id: &str) {
        if let Some(guard) = self.guard_of(id) {
            guard.actions += 1;
            guard.acted_at = Some(Stamp(now.unix_ms));
            guard.refused = None;
        }
    }

    /// Guard mode does not act on an incident, and why.
    pub(crate) fn guard_refused(&mut self, id: &str, why: String) {
        if let Some(guard) = self.guard_of(id) {
            guard.refused = Some(why);
        }
    }

    fn guard_of(&mut self, id: &str) -> Option<&mut IncidentGuard> {
        let incident = self.open.iter_mut().find(|incident| incident.view.id == id)?;
        Some(incident.view.guard.get_or_insert_default())
    }
}

impl Incident {
    fn case(&self, scene: &Scene<'_>, suggestion: &SuggestedAction) -> Case {
        let edge = &self.blame.edge;
        let action = match &suggestion.action {
            Remedy::Trip(kind) => Some(*kind),
            Remedy::Shift(_) => None,
        };
        let held = scene.desired.get(edge).filter(|wish| wish.is_lease(scene.now));
        let leases = scene.desired.iter().filter(|(_, wish)| wish.is_lease(scene.now));
        Case {
            acted: self.view.guard.as_ref().map_or(0, |guard| guard.actions),
            edge: edge.clone(),
            action,
            confidence: self.view.confidence,
            tier: suggestion.tier,
            is_counted: self.is_counted(scene),
            stale: scene.proxies.stale(scene.now, &edge.source),
            recognised: scene.recognised(edge),
            path: path(scene, edge).unwrap_or_default(),
            held_by: held.map(|wish| wish.command.by.clone()),
            leases: leases.filter(|(_, wish)| wish.command.by == guard::PRINCIPAL).count(),
            edges: scene.graph.edges().count(),
        }
    }

    /// Whether proxies counted each of the seconds that the evidence is of.
    fn is_counted(&self, scene: &Scene<'_>) -> bool {
        let Some((track, front)) = scene.track(&self.blame.edge) else { return false };
        let from = self.onset.max((front + 1).saturating_sub(EVIDENCE_SECONDS)).min(front);
        (from..=front).all(|second| track.is_covered(second))
            && track.is_covered(scene.now_second().saturating_sub(2))
    }
}

/// What succeeds around an edge.
fn path(scene: &Scene<'_>, edge: &Edge) -> Option<Path> {
    let (track, front) = scene.track(edge)?;
    let on = track.sum(front, SECONDS);
    let is_open = |other: &Edge| {
        let wish = scene.desired.get(other).filter(|wish| wish.is_lease(scene.now));
        wish.is_some_and(|wish| {
            let verb = wish.command.verb;
            matches!(verb, Verb::Trip { action, .. } if action.kind() == ActionKind::Open)
        })
    };
    let others = scene.store.edges().filter(|(other, _)| other.source == edge.source);
    let held = others.filter(|(other, _)| *other != edge && is_open(other));
    let successes = |track: &Track<Tally>| track.sum(front, SECONDS).successes;
    let good = scene.served(&edge.source).filter(|(track, front)| track.is_covered(*front));
    let good = good.map(|(track, front)| {
        let ended = track.latency_of(front, SECONDS).count() as f64;
        let served = track.sum(front, SECONDS);
        (ended - served.failures - served.cancelled).max(0.0)
    });
    Some(Path {
        good,
        first: on.first,
        over: on.successes,
        held: held.map(|(_, track)| successes(track)).sum(),
    })
}

//! What there is to ask of each incident, as it stood when it fired.

use fusebox_collector::replay::{Player, Recording, crossings};
use fusebox_demo::what_if::{Lease, Question, WhatIf, what_if};
use fusebox_proto::command::{Action, TTL_DEFAULT, Verb};
use fusebox_proto::view::{Incident, Snapshot, Stamp};
use fusebox_proto::{Edge, Now};
use std::collections::{BTreeMap, BTreeSet};

/// Incidents that are asked about; an engine has fewer open ones.
const ASKED_MAX: usize = 256;

/// Questions, by incident.
#[derive(Debug, Default)]
pub(super) struct Asked {
    of_incident: BTreeMap<String, Question>,
}

impl Asked {
    /// Takes note of what is new in a snapshot of the player.
    pub(super) fn see(&mut self, player: &Player, snapshot: &Snapshot, ends_at: Stamp) {
        for incident in &snapshot.incidents {
            let is_new = !self.of_incident.contains_key(&incident.id);
            if is_new && self.of_incident.len() < ASKED_MAX {
                let question = question(player, incident, ends_at);
                self.of_incident.extend(question.map(|it| (incident.id.clone(), it)));
            }
            let Some(question) = self.of_incident.get_mut(&incident.id) else { continue };
            if question.lease.is_none() {
                // What is suggested at once is taken when the incident fires.
                let at = if is_new { incident.opened_at } else { Stamp(player.now().unix_ms) };
                let suggested = suggested(player, incident, at);
                if let Some((edge, lease)) = suggested.filter(|(edge, _)| *edge == question.edge) {
                    (question.edge, question.lease) = (edge, Some(lease));
                }
            }
        }
    }

    /// What would have been, incident by incident as they fired. Of `now` only the instant matters.
    pub(super) fn answers(
        self,
        recording: &Recording,
        now: Now,
        incidents: &[Incident],
    ) -> Vec<WhatIf> {
        let edges: BTreeSet<Edge> =
            self.of_incident.values().map(|question| question.edge.clone()).collect();
        let crossings = crossings(recording, now, &edges);
        let answer = |incident: &Incident| {
            let question = self.of_incident.get(&incident.id)?;
            let question = Question {
                lease: question.lease.or_else(|| unsuggested(incident)),
                ..question.clone()
            };
            Some(what_if(now, &question, crossings.get(&question.edge)?))
        };
        incidents.iter().filter_map(answer).collect()
    }
}

/// `None` where an incident is not about one edge.
fn question(player: &Player, incident: &Incident, ends_at: Stamp) -> Option<Question> {
    let name = incident.edge.clone()?;
    Some(Question {
        incident: incident.id.clone(),
        opened_at: incident.opened_at,
        edge: player.edge(&name)?,
        name,
        lease: None,
        ends_at,
    })
}

/// What it suggests, as proxies would be told it.
fn suggested(player: &Player, incident: &Incident, at: Stamp) -> Option<(Edge, Lease)> {
    let (edge, verb) = player.order(incident.action.as_ref()?)?;
    let Verb::Trip { action, ttl, proxies } = verb else { return None };
    Some((edge, Lease { action, ttl, proxies, at, is_suggested: true }))
}

/// Where only spans tell of a storm, nothing is suggested, because no proxy could do it: what the
/// least harmful action would have done, had there been one.
fn unsuggested(incident: &Incident) -> Option<Lease> {
    (incident.kind == "retry_storm").then_some(Lease {
        action: Action::MuteRetries { percent: 0 },
        ttl: TTL_DEFAULT,
        proxies: 1,
        at: incident.opened_at,
        is_suggested: false,
    })
}

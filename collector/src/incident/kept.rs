//! Incidents over a restart of the collector.
//!
//! What was resolved is shown as it was. What was open may still go on: detectors begin anew, so
//! it stays open until they have had time to see its storm again. If they do it is the same
//! incident; if not it ends with a note, because when it ended is not known.

use super::before::Before;
use super::{Cause, Incident, Incidents, OPEN_MAX, PAST_MAX};
use super::{canary, found, regression};
use crate::incident::sentence::time_of_day;
use crate::record::IncidentRecord;
use fusebox_proto::Now;
use fusebox_proto::view::{EdgeName, IncidentState};
use std::time::{Duration, Instant};

/// A storm that goes on shows within this time: proxies are back after 5 s, and SDKs send a batch;
/// the detector looks at ten seconds.
const SEEN_WITHIN: Duration = Duration::from_secs(30);
/// Failures show once they have gone on for half a minute.
const FAILING_SEEN_WITHIN: Duration = Duration::from_secs(45);
/// Figures of an open incident are this old at most in the history: they say much more after two
/// seconds than when it opened.
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// An incident that an earlier process left open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    until: Instant,
}

impl Left {
    /// Whether its storm would have shown by now.
    pub(super) fn is_over(self, now: Now) -> bool {
        self.until <= now.instant
    }
}

/// What of an incident is worth a record of its own when it changes.
#[derive(Clone, Debug)]
pub(super) struct Told {
    state: IncidentState,
    phase: String,
    victim: Option<String>,
    edge: Option<EdgeName>,
    at: Instant,
}

impl Incident {
    /// Its record, if the history should have it anew.
    pub(super) fn news(&mut self, now: Now) -> Option<IncidentRecord> {
        let view = &self.view;
        if let Some(told) = &self.told
            && told.state == view.state
            && told.phase == view.phase
            && told.victim == view.victim
            && told.edge == view.edge
            && (view.state == IncidentState::Resolved || now.instant < told.at + TELL_INTERVAL)
        {
            return None;
        }
        self.told = Some(Told {
            state: view.state,
            phase: view.phase.clone(),
            victim: view.victim.clone(),
            edge: view.edge.clone(),
            at: now.instant,
        });
        Some(IncidentRecord {
            edges: self.edges.clone(),
            onset_unix_s: self.onset,
            blame: self.blame.clone(),
            view: view.clone(),
        })
    }
}

impl Incidents {
    /// Begins with what an earlier process knew.
    pub(crate) fn restore(&mut self, now: Now, records: &[IncidentRecord]) {
        let mut records: Vec<&IncidentRecord> = records.iter().collect();
        records.sort_by_key(|record| record.view.resolved_at.unwrap_or(record.view.opened_at));
        for record in records {
            let cause = match &*record.view.kind {
                regression::KIND => Cause::Slow(Box::default()),
                canary::KIND => Cause::Canary(Box::default()),
                found::KIND_FAILING => Cause::Found(Box::default()),
                _ => Cause::Storm,
            };
            let mut incident = Incident {
                cause,
                edges: record.edges.clone(),
                onset: record.onset_unix_s,
                blame: record.blame.clone(),
                before: Before::default(),
                view: record.view.clone(),
                left: None,
                told: None,
            };
            if incident.view.state == IncidentState::Resolved {
                // Marks it as known to the history, which it came from.
                let _ = incident.news(now);
                self.past.push_back(incident);
            } else if self.open.len() < OPEN_MAX {
                let restarted = time_of_day(now.unix_ms);
                incident.view.data_quality.note =
                    format!("not seen since the collector restarted at {restarted}");
                // Proxies come first: nobody could enforce it now.
                incident.view.action = None;
                incident.view.alternatives = Vec::new();
                let is_failing = incident.view.kind == found::KIND_FAILING;
                let within = if is_failing { FAILING_SEEN_WITHIN } else { SEEN_WITHIN };
                incident.left = Some(Left { until: now.instant + within });
                self.open.push(incident);
            } else {
                self.dropped += 1;
            }
        }
        while PAST_MAX < self.past.len() {
            self.past.pop_front();
        }
    }

    /// All of them are to be written once more.
    pub(crate) fn change_all(&mut self, now: Now) {
        for incident in self.open.iter_mut().chain(&mut self.past) {
            incident.told = None;
            self.changed.extend(incident.news(now));
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Vec<IncidentRecord> {
        std::mem::take(&mut self.changed)
    }
}

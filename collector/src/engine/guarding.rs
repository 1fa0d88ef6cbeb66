//! Guard mode acts: on the way that an operator's trip takes, under its own name.

use super::Engine;
use crate::guard::{PRINCIPAL, Reason, Verdict};
use fusebox_proto::Now;
use fusebox_proto::command::{TTL_MAX, TTL_MIN, TripRequest, Verb};
use fusebox_proto::view::{Guard, GuardMode, Remedy, SuggestedAction};
use std::time::Duration;

/// What whoever asks calls itself, where that is the name of guard mode.
const IMPOSTOR: &str = "guard (an operator)";

/// The name of an operator: nobody else acts as guard mode.
pub(super) fn principal(by: &str) -> &str {
    if by.trim() == PRINCIPAL { IMPOSTOR } else { by }
}

impl Engine {
    /// Does what incidents suggest, as far as it may.
    pub(super) fn guard(&mut self, now: Now) {
        if self.guard.mode() != GuardMode::Act {
            return;
        }
        for id in self.incidents.suggesting() {
            let Some((suggestion, case)) = self.incidents.suggestion(&self.scene(now), &id) else {
                continue;
            };
            match self.guard.decide(now, &case) {
                Verdict::Act if self.act(now, &id, &suggestion) => {
                    self.guard.acted(now, &case.edge);
                    self.incidents.guard_acted(now, &id);
                }
                Verdict::Act => self.guard_refuses(now, &id, &Reason::Impossible),
                Verdict::Refuse(reason) => self.guard_refuses(now, &id, &reason),
                Verdict::Wait => (),
            }
        }
    }

    /// Takes the lease. Whether it could be asked for.
    fn act(&mut self, now: Now, id: &str, suggestion: &SuggestedAction) -> bool {
        let Remedy::Trip(action) = suggestion.action else { return false };
        self.trip(
            now,
            &TripRequest {
                request_id: format!("{PRINCIPAL}-{id}-{}", now.unix_ms),
                source: suggestion.source.clone(),
                destination: suggestion.destination.clone(),
                action,
                percent: None,
                ttl: Duration::from_secs(suggestion.ttl_s).clamp(TTL_MIN, TTL_MAX),
                reason: format!("incident #{id}"),
                by: PRINCIPAL.to_owned(),
            },
        )
    }

    fn guard_refuses(&mut self, now: Now, id: &str, reason: &Reason) {
        let text = reason.text();
        if self.guard.refused(now, id, reason) {
            let line = format!("{PRINCIPAL} does not act on #{id}: {text}");
            self.journal.note(now.unix_ms, "guard", &line);
        }
        self.incidents.guard_refused(id, text);
    }

    /// Guard mode as it stands.
    pub(crate) fn guard_view(&self, now: Now) -> Guard {
        let leases = self.desired.iter().filter(|(_, wish)| wish.is_lease(now));
        let own = leases.filter(|(_, wish)| wish.command.by == PRINCIPAL).count();
        self.guard.view(own as u64)
    }

    /// What an earlier process did, and what persons said then, as far as wishes tell it.
    pub(super) fn restore_guard(&mut self, now: Now) {
        let ago = |unix_ms: u64| Duration::from_millis(now.unix_ms.saturating_sub(unix_ms));
        for (edge, wish) in self.desired.iter() {
            let issued = ago(wish.issued.unix_ms);
            match wish.command.verb {
                Verb::Trip { .. } if wish.command.by == PRINCIPAL => {
                    self.guard.note_act(now, edge, issued);
                }
                Verb::Reset { .. } => self.guard.person_reset(now, edge, issued),
                Verb::Trip { .. } => (),
            }
        }
    }
}

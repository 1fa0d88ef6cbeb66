//! How far each connected proxy is with the newest version.

use crate::engine::ConnectionId;
use fusebox_proto::text::cut;
use fusebox_proto::view::{PolicyProxy, PolicyStanding};
use fusebox_proto::{Now, ProxyId};
use std::collections::{BTreeMap, BTreeSet};

/// Proxies of which it is remembered that a version was sent to them. One that is not remembered
/// and names the version makes it be numbered anew, which harms nobody.
const SENT_MAX: usize = 16_384;
/// Proxies that one answer names.
const NAMED_MAX: usize = 3;
/// Bytes of a proxy's reason in an answer.
const REASON_LEN_MAX: usize = 200;

/// All connected proxies.
#[derive(Debug, Default)]
pub(super) struct Standings {
    by_id: BTreeMap<ProxyId, Standing>,
    /// To whom the newest version was sent, connected or not.
    sent: BTreeSet<ProxyId>,
}

#[derive(Debug)]
struct Standing {
    connection: ConnectionId,
    /// The version in force there; 0: none.
    in_force: u64,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// There is no version to have, and it has none.
    Nothing,
    /// It was sent.
    Pending,
    /// It is in force.
    Applied { at: Now },
    /// It was refused, for this reason.
    Rejected(String),
    /// It has a version that this collector does not have, and keeps it.
    Foreign,
}

impl Standings {
    /// There is a new version: everybody has to answer anew. The streams to send it on.
    pub(super) fn begin(&mut self) -> Vec<ConnectionId> {
        self.sent = self.by_id.keys().take(SENT_MAX).cloned().collect();
        let standings = self.by_id.values_mut();
        standings
            .map(|standing| {
                standing.state = State::Pending;
                standing.connection
            })
            .collect()
    }

    /// A proxy connected that has version `held`.
    pub(super) fn connect(
        &mut self,
        now: Now,
        id: &ProxyId,
        connection: ConnectionId,
        held: u64,
        newest: Option<u64>,
        is_foreign: bool,
    ) {
        let state = match newest {
            _ if is_foreign => State::Foreign,
            None => State::Nothing,
            Some(newest) if newest == held => State::Applied { at: now },
            Some(_) => {
                if self.sent.len() < SENT_MAX {
                    self.sent.insert(id.clone());
                }
                State::Pending
            }
        };
        self.by_id.insert(id.clone(), Standing { connection, in_force: held, state });
    }

    /// Whether the newest version was sent to it.
    pub(super) fn was_sent(&self, id: &ProxyId) -> bool {
        self.sent.contains(id)
    }

    /// A proxy answered to `version`.
    pub(super) fn acked(
        &mut self,
        now: Now,
        id: &ProxyId,
        (version, rejected): (u64, Option<&str>),
        newest: Option<u64>,
    ) {
        let Some(standing) = self.by_id.get_mut(id) else { return };
        if rejected.is_none() {
            standing.in_force = version;
        }
        if newest == Some(version) {
            standing.state = match rejected {
                None => State::Applied { at: now },
                Some(reason) => State::Rejected(reason.to_owned()),
            };
        }
    }

    /// A proxy's stream ended.
    pub(super) fn gone(&mut self, id: &ProxyId) {
        self.by_id.remove(id);
    }

    /// The version in force in a proxy.
    pub(super) fn in_force(&self, id: &ProxyId) -> Option<u64> {
        self.by_id.get(id).map(|standing| standing.in_force).filter(|version| *version != 0)
    }

    /// Whether an answer is still to come.
    pub(super) fn is_any_pending(&self) -> bool {
        self.by_id.values().any(|standing| standing.state == State::Pending)
    }

    /// Proxies in which the newest version is in force, and all.
    pub(super) fn counts(&self) -> (u64, u64) {
        let is_applied = |s: &&Standing| matches!(s.state, State::Applied { .. });
        let applied = self.by_id.values().filter(is_applied).count();
        (applied as u64, self.by_id.len() as u64)
    }

    /// From `asked` to the last answer; `None` while one is missing or is no, or nobody is there.
    pub(super) fn completed_ms(&self, asked: Now) -> Option<f64> {
        let mut last = None;
        for standing in self.by_id.values() {
            let State::Applied { at } = standing.state else { return None };
            last = last.max(Some(at.instant));
        }
        Some(last?.saturating_duration_since(asked.instant).as_secs_f64() * 1_000.0)
    }

    /// Why the newest version is not in force everywhere.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        let mut more = 0;
        for (id, standing) in &self.by_id {
            let note = match &standing.state {
                State::Pending => format!("{id} has not answered"),
                State::Rejected(reason) => {
                    format!("{id} refused: {}", cut(reason, REASON_LEN_MAX))
                }
                State::Nothing | State::Applied { .. } | State::Foreign => continue,
            };
            if notes.len() < NAMED_MAX {
                notes.push(note);
            } else {
                more += 1;
            }
        }
        if 0 < more {
            notes.push(format!("and {more} more"));
        }
        if self.by_id.is_empty() {
            notes.push("no proxy is connected; those that connect get it".to_owned());
        }
        notes
    }

    /// The highest version that proxies have and this collector does not.
    pub(super) fn foreign(&self) -> Option<u64> {
        let foreign = self.by_id.values().filter(|standing| standing.state == State::Foreign);
        foreign.map(|standing| standing.in_force).max()
    }

    /// The same for people.
    pub(super) fn notice(&self) -> Option<String> {
        let version = self.foreign()?;
        Some(format!(
            "the mesh runs policy version {version}, which this collector does not have; it stays \
             in force until a policy is applied here"
        ))
    }

    /// As consoles show them.
    pub(super) fn views(&self, newest: Option<u64>) -> Vec<PolicyProxy> {
        let view = |(id, standing): (&ProxyId, &Standing)| {
            let (result, reason) = match &standing.state {
                State::Nothing => return None,
                State::Pending => (PolicyStanding::Pending, String::new()),
                State::Applied { .. } => (PolicyStanding::Applied, String::new()),
                State::Rejected(reason) => (PolicyStanding::Rejected, reason.clone()),
                State::Foreign => {
                    let reason = "this collector does not have that version".to_owned();
                    let is_newest = newest.is_none();
                    let result =
                        if is_newest { PolicyStanding::Applied } else { PolicyStanding::Pending };
                    (result, reason)
                }
            };
            let version = Some(standing.in_force).filter(|version| *version != 0);
            Some(PolicyProxy { id: id.to_string(), version, result, reason })
        };
        self.by_id.iter().filter_map(view).collect()
    }
}

//! What was asked of an edge, and how much of it is true: intent and fact side by side.

use super::Model;
use super::commands::{Command, Outcome, Verb};
use fusebox_proto::command::{ActionKind, BreakerState};
use fusebox_proto::view::{Breaker, EdgeName, EdgeView, TripResult};
use std::time::{Duration, Instant};

/// A failed request is told at its edge for this long.
const FAILURE_FOR: Duration = Duration::from_secs(30);
/// Coverage from here on is all of the edge.
const COVERED: f64 = 0.995;

/// Where an edge stands between intent and fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing was asked, the circuit conducts.
    Nothing,
    /// Asked, not answered.
    Asked(Verb),
    /// Asked, and nothing came of it.
    Failed {
        /// What was asked.
        verb: Verb,
        /// Why nothing came of it.
        reason: String,
    },
    /// A fact of some number of proxies.
    Fact(Fact),
}

/// A circuit that does not simply conduct.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The most restrictive state.
    pub state: BreakerState,
    /// Share that passes or is refused, percent.
    pub percent: Option<u8>,
    /// Proxies in which it is in force.
    pub applied: u64,
    /// Proxies that should have it.
    pub proxies: u64,
    /// From my command to the last acknowledgement.
    pub applied_ms: Option<f64>,
    /// Share of the edge's attempts that it covers, where that is known and not all.
    pub coverage: Option<f64>,
    /// Time left.
    pub left: Option<Duration>,
    /// The whole lease, where its beginning is known.
    pub whole: Option<Duration>,
    /// Who did it, if it was not this console's operator.
    pub by: Option<String>,
    /// Why it is not in force everywhere.
    pub note: String,
    /// Why what was asked since came to nothing, if it did.
    pub failed: Option<String>,
    /// Whether `u` ends it.
    pub undoable: bool,
}

impl Fact {
    /// Whether some proxies do not have it.
    pub fn is_partial(&self) -> bool {
        self.applied < self.proxies
    }
}

impl Model {
    /// Where this edge stands.
    pub fn standing(&self, edge: &EdgeName) -> Standing {
        let intent = self.commands.newest(edge).and_then(|command| self.intent(command));
        let held = self.edge(edge).filter(|view| view.breaker.state != BreakerState::Closed);
        let fact = held.map(|view| self.fact(edge, view));
        match (intent, fact) {
            // An answer that was lost says nothing of the proxies: a failure is told beside what
            // they hold, not instead of it.
            (Some(Standing::Failed { reason, .. }), Some(fact)) => {
                Standing::Fact(Fact { failed: Some(reason), ..fact })
            }
            (Some(standing), _) => standing,
            (None, Some(fact)) => Standing::Fact(fact),
            (None, None) => Standing::Nothing,
        }
    }

    /// What a request says by itself: while it waits, when it failed, and until the first update
    /// that can know its answer.
    fn intent(&self, command: &Command) -> Option<Standing> {
        let verb = command.verb;
        let failed = |at: Instant, reason: String| {
            let ago = self.now.instant.saturating_duration_since(at);
            (ago < FAILURE_FOR).then_some(Standing::Failed { verb, reason })
        };
        match &command.outcome {
            Outcome::Waiting => Some(Standing::Asked(verb)),
            Outcome::Failed(reason) => failed(command.sent_at, reason.clone()),
            Outcome::Answered { result, at } if result.applied == 0 => {
                failed(*at, no_proxy(&command.edge, result))
            }
            Outcome::Answered { at, .. } if self.updated.is_some_and(|updated| *at < updated) => {
                None
            }
            Outcome::Answered { result, .. } => match verb {
                Verb::Trip(kind) => Some(Standing::Fact(self.answered_fact(command, kind, result))),
                Verb::Reset { at_once: true } if result.applied == result.proxies => {
                    Some(Standing::Nothing)
                }
                // What other proxies hold, and the ramp, is told of by the data; so are weights.
                Verb::Reset { .. } | Verb::Shift => None,
            },
        }
    }

    fn fact(&self, edge: &EdgeName, view: &EdgeView) -> Fact {
        let row = self.operator_breaker(edge);
        let mine = self.my_lease(edge);
        let until = view.breaker.until.or_else(|| row.and_then(|b| b.until));
        let since = row.and_then(|b| b.since);
        let span = since.zip(until).map(|(a, b)| Duration::from_millis(b.0.saturating_sub(a.0)));
        Fact {
            state: view.breaker.state,
            percent: view.breaker.percent,
            applied: view.breaker.applied,
            proxies: view.breaker.proxies,
            applied_ms: mine.and_then(|(_, result)| result.applied_ms),
            coverage: mine.and_then(|(_, r)| r.coverage).filter(|share| *share < COVERED),
            left: until.map(|at| Duration::from_millis(at.0.saturating_sub(self.wall().0))),
            whole: mine.map(|(ttl, _)| ttl).or(span),
            by: row.and_then(|b| b.by.clone()).filter(|by| *by != self.session.by),
            note: mine.map(|(_, result)| result.note.clone()).unwrap_or_default(),
            failed: None,
            undoable: self.undoable().is_some_and(|command| command.edge == *edge),
        }
    }

    fn answered_fact(&self, command: &Command, kind: ActionKind, result: &TripResult) -> Fact {
        let left = |at: fusebox_proto::view::Stamp| at.0.saturating_sub(self.wall().0);
        Fact {
            state: kind.state(),
            percent: None,
            applied: result.applied,
            proxies: result.proxies,
            applied_ms: result.applied_ms,
            coverage: result.coverage.filter(|share| *share < COVERED),
            left: result.expires_at.map(|at| Duration::from_millis(left(at))),
            whole: Some(command.ttl),
            by: None,
            note: result.note.clone(),
            failed: None,
            undoable: self.undoable().is_some_and(|undoable| undoable.id == command.id),
        }
    }

    fn my_lease(&self, edge: &EdgeName) -> Option<(Duration, &TripResult)> {
        let command = self.commands.newest(edge).filter(|command| !command.undone)?;
        match (&command.outcome, command.verb) {
            (Outcome::Answered { result, .. }, Verb::Trip(_)) if 0 < result.applied => {
                Some((command.ttl, result))
            }
            _ => None,
        }
    }

    /// The operator's breaker of an edge.
    pub fn operator_breaker(&self, edge: &EdgeName) -> Option<&Breaker> {
        let name = format!("{}>{}", edge.source, edge.destination);
        self.snapshot.breakers.iter().find(|b| b.kind == "operator" && b.edge == name)
    }
}

fn no_proxy(edge: &EdgeName, result: &TripResult) -> String {
    if result.note.is_empty() {
        format!("no proxy enforces {}→{}", edge.source, edge.destination)
    } else {
        result.note.clone()
    }
}

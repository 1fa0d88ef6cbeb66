//! From a key to a request: which edge, how dangerous, may it fire.
//!
//! The target is an edge, by name: that of the chosen incident on Triage, the chosen one
//! elsewhere. How dangerous an action is (its *tier*) the collector computes, for what it suggests
//! and for what else could be done on the edge of an incident; everything else asks.

use super::commands::{Command, Holder, Outcome, Request, Verb};
use super::guard::{ARM_FOR, Armed, TARGET_CHANGED};
use super::{Effect, Model, Overlay, Screen};
use crate::format;
use crate::keys::{Action, Chord};
use fusebox_proto::command::{
    ActionKind, BreakerState, REASON_LEN_MAX, ResetRequest, ResetScope, TTL_DEFAULT, TTL_MAX,
    TTL_MIN, TripRequest,
};
use fusebox_proto::policy::ShiftRequest;
use fusebox_proto::text;
use fusebox_proto::view::{EdgeName, Incident, Remedy, Shift, SuggestedAction};
use std::time::{Duration, Instant};

/// An action that waits for consent.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// On which edge: fixed when the panel opened, whatever the data does since.
    pub edge: EdgeName,
    /// What.
    pub what: Remedy,
    /// For how long, if it is a lease.
    pub ttl: Duration,
    /// What the collector predicts, where it does.
    pub predicted: Option<String>,
    /// Why it asks.
    pub why: String,
    /// Tier 2: what was typed so far of the edge's name.
    pub typed: Option<String>,
}

impl Ask {
    /// What is to be typed in tier 2.
    pub fn name(&self) -> String {
        format!("{}>{}", self.edge.source, self.edge.destination)
    }
}

/// What an action does, as an order.
fn verb(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::MuteRetries => "mute retries of",
        ActionKind::Cap => "cap",
        ActionKind::Shed => "shed a share of",
        ActionKind::Open => "open",
    }
}

/// What would be done, in words.
pub fn order(what: &Remedy, edge: &EdgeName, ttl: Duration) -> String {
    match what {
        Remedy::Trip(kind) => {
            let ttl = format::countdown(ttl);
            format!("{} {}→{} for {ttl}", verb(*kind), edge.source, edge.destination)
        }
        Remedy::Shift(shift) => format!("shift {shift}"),
    }
}

/// What a key that acts would do now.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// On which edge.
    pub edge: EdgeName,
    /// What.
    pub kind: ActionKind,
    /// For how long.
    pub ttl: Duration,
    /// 0 fires at once, 1 asks, 2 wants the name.
    pub tier: u8,
    /// What the collector predicts, where it suggested just this.
    pub predicted: Option<String>,
}

impl Model {
    /// The edge that keys act on, named by the footer at all times.
    pub fn target(&self) -> Option<EdgeName> {
        match self.screen {
            Screen::Triage => {
                self.incident().and_then(incident_edge).or_else(|| self.leased_edge())
            }
            Screen::Graph => self.graph_edge(),
            Screen::Services => {
                self.selection.edge.clone().filter(|edge| self.edge(edge).is_some())
            }
            Screen::Edges => self.selected_edge(),
            Screen::Breakers => self.selected_breaker_edge(),
            // The past is for reading.
            Screen::Timeline => None,
        }
    }

    /// What the collector suggests for this edge in an open incident.
    pub fn suggestion(&self, edge: &EdgeName) -> Option<&SuggestedAction> {
        let is_for =
            |a: &&SuggestedAction| a.source == edge.source && a.destination == edge.destination;
        self.open_incidents().filter_map(|i| i.action.as_ref()).find(is_for)
    }

    /// What is suggested for the target, where neither `t` nor `m` does it.
    pub fn suggested_otherwise(&self) -> Option<&SuggestedAction> {
        let suggestion = self.suggestion(&self.target()?)?;
        let has_key =
            suggestion.action == ActionKind::Open || suggestion.action == ActionKind::MuteRetries;
        (!has_key).then_some(suggestion)
    }

    /// What the collector knows of an action on this edge, suggested or not.
    fn advice(&self, edge: &EdgeName, kind: ActionKind) -> Option<&SuggestedAction> {
        let all = self.open_incidents().flat_map(|i| i.action.iter().chain(&i.alternatives));
        let is_it = |a: &&SuggestedAction| {
            a.action == kind && a.source == edge.source && a.destination == edge.destination
        };
        all.filter(is_it).max_by_key(|advice| advice.tier)
    }

    /// What opening or muting the target would be.
    pub fn plan(&self, kind: ActionKind) -> Option<Plan> {
        let edge = self.target()?;
        let exact = self.advice(&edge, kind);
        let unknown = || self.suggestion(&edge).map_or(1, |suggestion| suggestion.tier.max(1));
        let tier = exact.map_or_else(unknown, |advice| advice.tier);
        let ttl =
            exact.map_or(TTL_DEFAULT, |s| Duration::from_secs(s.ttl_s).clamp(TTL_MIN, TTL_MAX));
        let predicted = exact.map(|s| s.predicted.clone()).filter(|p| !p.is_empty());
        let predicted = predicted.or_else(|| self.effect(&edge, kind));
        Some(Plan { edge, kind, ttl, tier, predicted })
    }

    /// What an action would refuse, from the figures of its edge.
    fn effect(&self, edge: &EdgeName, kind: ActionKind) -> Option<String> {
        let view = self.edge(edge)?;
        let rate = view.rate.filter(|rate| rate.is_finite())?;
        let per_s = format::count;
        Some(match kind {
            ActionKind::Open => {
                let passing = rate * (1.0 - view.error_ratio.unwrap_or(0.0));
                format!(
                    "refuses all {} attempts/s; {}/s of them succeed now",
                    per_s(rate),
                    per_s(passing)
                )
            }
            ActionKind::MuteRetries => {
                let first = rate / view.attempts_per_request.unwrap_or(1.0).max(1.0);
                format!(
                    "refuses about {} of {} attempts/s: the retries",
                    per_s(rate - first),
                    per_s(rate)
                )
            }
            ActionKind::Cap => format!("holds {} attempts/s at the usual rate", per_s(rate)),
            ActionKind::Shed => format!("refuses half of {} attempts/s", per_s(rate)),
        })
    }

    /// The target, if its circuit is held by a lease that can be ended.
    pub fn resettable(&self) -> Option<EdgeName> {
        let edge = self.target()?;
        let state = self.edge(&edge)?.breaker.state;
        (state != BreakerState::Closed).then_some(edge)
    }

    /// My newest lease that may still be in force.
    pub fn undoable(&self) -> Option<&Command> {
        self.commands.undoable(self.wall(), |edge, after| self.holder(edge, after))
    }

    /// Whose lease is in force on an edge, as data tells that came after this time.
    fn holder(&self, edge: &EdgeName, after: Option<Instant>) -> Holder {
        let row = self.operator_breaker(edge).filter(|row| row.until.is_some());
        match row.and_then(|row| row.by.as_ref()) {
            Some(_) if after.is_some_and(|at| self.updated.is_none_or(|came| came <= at)) => {
                Holder::Unknown
            }
            Some(by) if *by == self.session.by => Holder::Me,
            Some(_) => Holder::Other,
            None => Holder::Unknown,
        }
    }

    /// An acting key was pressed: it fires, asks, is armed, or is refused with the reason.
    pub(super) fn press(&mut self, chord: Chord, action: Action) -> Vec<Effect> {
        if let Some(reason) = self.refusal(action) {
            self.say(reason, true);
            return Vec::new();
        }
        let at = self.now.instant;
        if self.guard.armed.as_ref().is_none_or(|armed| armed.action != action) {
            let undoes = self.undoable().filter(|_| action == Action::Undo);
            let undoes = undoes.map(|command| command.edge.clone());
            self.guard.armed = Some(Armed { at, chord, action, undoes });
        }
        Vec::new()
    }

    /// Fires what was armed, when its time has come.
    pub(super) fn fire_armed(&mut self) -> Vec<Effect> {
        let now = self.now.instant;
        let Some(armed) = self.guard.armed.take_if(|armed| armed.at + ARM_FOR <= now) else {
            return Vec::new();
        };
        match armed.action {
            Action::Trip => self.fire_or_ask(ActionKind::Open),
            Action::Mute => self.fire_or_ask(ActionKind::MuteRetries),
            Action::Suggested => match self.suggested_otherwise().cloned() {
                Some(SuggestedAction { action: Remedy::Trip(kind), .. }) => self.fire_or_ask(kind),
                Some(suggestion) => self.shift_or_ask(suggestion),
                None => Vec::new(),
            },
            Action::Reset => {
                self.resettable().map(|edge| self.reset(edge, false)).into_iter().collect()
            }
            Action::Undo => self.undo(armed.undoes.as_ref()),
            Action::Confirm => self.confirm(),
            _ => Vec::new(),
        }
    }

    /// Why an acting key does nothing now, if it does nothing.
    fn refusal(&self, action: Action) -> Option<String> {
        if self.playback.is_some() {
            return Some("this is a recording: nobody trips the past".into());
        }
        if self.session.read_only {
            return Some("read-only: this console changes nothing".into());
        }
        // What makes things safer again needs no fresh data; what refuses traffic does.
        let refuses_traffic = !matches!(action, Action::Reset | Action::Undo);
        if refuses_traffic && self.is_stale() {
            let age = self.data_age().map(format::age);
            return Some(match age {
                Some(age) => format!("refused: data is {age} old; `fusebox trip` acts blind"),
                None => "refused: there is no data yet".into(),
            });
        }
        if let Some(reason) = self.guard.refuses(self.now.instant) {
            return Some(reason.into());
        }
        let nothing = match action {
            Action::Trip | Action::Mute if self.target().is_none() => "no edge to act on",
            Action::Suggested if self.suggested_otherwise().is_none() => {
                "nothing else is suggested"
            }
            Action::Reset if self.resettable().is_none() => {
                "the circuit is closed: nothing to reset"
            }
            Action::Undo if self.undoable().is_none() => "nothing of yours is in force",
            _ => return None,
        };
        Some(nothing.into())
    }

    fn fire_or_ask(&mut self, kind: ActionKind) -> Vec<Effect> {
        let Some(plan) = self.plan(kind) else { return Vec::new() };
        if plan.tier == 0 {
            return self.trip(plan.edge, plan.kind, plan.ttl);
        }
        let why = match (plan.tier, self.suggestion(&plan.edge)) {
            (2.., _) => "this edge is critical: type its name",
            (_, None) => "no incident names this edge",
            (_, Some(s)) if s.action == kind => {
                "the collector is not certain enough to fire at once"
            }
            (_, Some(_)) => "this may refuse what still succeeds",
        };
        self.overlay = Some(Overlay::Ask(Ask {
            edge: plan.edge,
            what: kind.into(),
            ttl: plan.ttl,
            predicted: plan.predicted,
            why: why.into(),
            typed: (2 <= plan.tier).then(String::new),
        }));
        Vec::new()
    }

    /// Consent was given: carries out what the panel asks about.
    pub(super) fn confirm(&mut self) -> Vec<Effect> {
        if let Some(reason) = self.refusal(Action::Confirm) {
            self.say(reason, true);
            return Vec::new();
        }
        match self.overlay.take() {
            Some(Overlay::Ask(ask)) => match ask.what {
                Remedy::Trip(kind) => self.trip(ask.edge, kind, ask.ttl),
                Remedy::Shift(shift) => self.shift(ask.edge, shift),
            },
            other => {
                self.overlay = other;
                Vec::new()
            }
        }
    }

    fn trip(&mut self, edge: EdgeName, kind: ActionKind, ttl: Duration) -> Vec<Effect> {
        let verb = Verb::Trip(kind);
        if self.is_asked(&edge, verb) {
            return Vec::new();
        }
        let request_id = self.commands.next_id(self.session.seed);
        let request = TripRequest {
            request_id: request_id.clone(),
            source: edge.source.clone(),
            destination: edge.destination.clone(),
            action: kind,
            percent: None,
            ttl,
            reason: self.reason(&edge),
            by: self.session.by.clone(),
        };
        self.remember(request_id, edge, verb, ttl);
        vec![Effect::Send(Request::Trip(request))]
    }

    /// Moves traffic between subsets as the collector suggests, or asks first.
    fn shift_or_ask(&mut self, suggestion: SuggestedAction) -> Vec<Effect> {
        let SuggestedAction { action, source, destination, tier, predicted, .. } = suggestion;
        let edge = EdgeName { source, destination };
        match action {
            Remedy::Shift(shift) if tier == 0 => self.shift(edge, shift),
            what => {
                let (ttl, typed) = (Duration::ZERO, (2 <= tier).then(String::new));
                let why = "this moves much of the traffic, or the data is not exact".into();
                let predicted = Some(predicted);
                self.overlay = Some(Overlay::Ask(Ask { edge, what, ttl, predicted, why, typed }));
                Vec::new()
            }
        }
    }

    fn shift(&mut self, edge: EdgeName, shift: Shift) -> Vec<Effect> {
        if self.is_asked(&edge, Verb::Shift) {
            return Vec::new();
        }
        let request_id = self.commands.next_id(self.session.seed);
        let request = ShiftRequest {
            request_id: request_id.clone(),
            host: shift.host,
            weights: shift.weights.into_iter().collect(),
            reason: self.reason(&edge),
            by: self.session.by.clone(),
        };
        self.remember(request_id, edge, Verb::Shift, Duration::ZERO);
        vec![Effect::Send(Request::Shift(request))]
    }

    /// Whether the same was asked and is not answered; says so.
    fn is_asked(&mut self, edge: &EdgeName, verb: Verb) -> bool {
        let is_same = |c: &Command| c.verb == verb && c.outcome == Outcome::Waiting;
        let is_asked = self.commands.newest(edge).is_some_and(is_same);
        if is_asked {
            self.say("already asked; waiting for the proxies", false);
        }
        is_asked
    }

    /// Why an operator acts on an edge: the incident there.
    fn reason(&self, edge: &EdgeName) -> String {
        let incident = self.open_incidents().find(|i| incident_edge(i).as_ref() == Some(edge));
        let reason = incident.map_or_else(String::new, |i| i.summary.clone());
        text::cut(&reason, REASON_LEN_MAX).into_owned()
    }

    fn undo(&mut self, named: Option<&EdgeName>) -> Vec<Effect> {
        let Some(edge) = self.undoable().map(|command| command.edge.clone()) else {
            return Vec::new();
        };
        if named != Some(&edge) {
            self.say(TARGET_CHANGED, true);
            return Vec::new();
        }
        self.commands.mark_undone(&edge);
        vec![self.reset(edge, true)]
    }

    fn reset(&mut self, edge: EdgeName, at_once: bool) -> Effect {
        let request_id = self.commands.next_id(self.session.seed);
        let request = ResetRequest {
            request_id: request_id.clone(),
            scope: ResetScope::Edge {
                source: edge.source.clone(),
                destination: edge.destination.clone(),
            },
            at_once,
            reason: String::new(),
            by: self.session.by.clone(),
        };
        self.commands.mark_undone(&edge);
        self.remember(request_id, edge, Verb::Reset { at_once }, Duration::ZERO);
        Effect::Send(Request::Reset(request))
    }

    fn remember(&mut self, id: String, edge: EdgeName, verb: Verb, ttl: Duration) {
        let sent_at = self.now.instant;
        let outcome = Outcome::Waiting;
        self.commands.sent(Command { id, edge, verb, sent_at, ttl, outcome, undone: false });
    }

    /// An edge that an operator holds: the target of a calm Triage, so that it can be reset there.
    pub fn leased_edge(&self) -> Option<EdgeName> {
        let leased = self.snapshot.edges.iter().find(|e| e.breaker.until.is_some())?;
        Some(EdgeName { source: leased.source.clone(), destination: leased.destination.clone() })
    }
}

/// The edge to act on in an incident.
pub fn incident_edge(incident: &Incident) -> Option<EdgeName> {
    match &incident.action {
        Some(action) => Some(EdgeName {
            source: action.source.clone(),
            destination: action.destination.clone(),
        }),
        None => incident.edge.clone(),
    }
}

//! What an honest screen may say: the console's shadow.
//!
//! It keeps what was pressed, what left the console and what came back, from outside of the model,
//! and holds each edge's standing against it and against what the proxies truly did.

use crate::truth::{Behind, Truth};
use fusebox::keys::{self, Action, Chord};
use fusebox::model::commands::{ANSWER_WITHIN, COMMANDS_MAX, Request, Verb};
use fusebox::model::guard::ARM_FOR;
use fusebox::model::standing::{Fact, Standing};
use fusebox::model::{Model, Overlay};
use fusebox_proto::Now;
use fusebox_proto::command::{BreakerState, ResetScope};
use fusebox_proto::view::{EdgeName, EdgeView, TripResult};
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A lease ends in each proxy when it got there, so the last ends so much after the first.
const MOMENT: Duration = Duration::from_secs(2);

/// The console's shadow.
#[derive(Debug, Default)]
pub(crate) struct Book {
    sent: VecDeque<Sent>,
    aim: Option<Aim>,
    /// What stands behind the newest update.
    behind: Behind,
    /// When the collector made the newest update, and when that came.
    updated: Option<(Instant, Instant)>,
}

/// A request that left the console.
#[derive(Debug)]
struct Sent {
    id: String,
    edge: EdgeName,
    verb: Verb,
    at: Instant,
    answer: Option<Answer>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    result: Result<TripResult, String>,
    /// When the collector gave it, and when it came.
    made: Instant,
    came: Instant,
}

/// An acting key, and the edge that the footer named when it went down.
#[derive(Debug)]
struct Aim {
    at: Instant,
    edge: Option<EdgeName>,
}

impl Book {
    /// A key goes down.
    pub(crate) fn pressed(&mut self, now: Now, model: &Model, chord: Chord) {
        let binding = keys::find(model, chord).filter(|binding| binding.acts());
        let edge = match (binding.map(|binding| binding.action), &model.overlay) {
            (None, Some(Overlay::Ask(ask))) if ask.typed.is_some() => Some(ask.edge.clone()),
            (None, _) => return,
            (Some(Action::Confirm), Some(Overlay::Ask(ask))) => Some(ask.edge.clone()),
            (Some(Action::Undo), _) => model.undoable().map(|command| command.edge.clone()),
            (Some(_), _) => model.target(),
        };
        self.aim = Some(Aim { at: now.instant, edge });
    }

    /// A request leaves: an acting key went down just now, and this is the edge it was meant for.
    pub(crate) fn sends(
        &mut self,
        now: Now,
        model: &Model,
        request: &Request,
    ) -> Result<(), String> {
        let (edge, verb) = match request {
            Request::Trip(trip) => {
                let (source, destination) = (trip.source.clone(), trip.destination.clone());
                (EdgeName { source, destination }, Verb::Trip(trip.action))
            }
            Request::Reset(reset) => {
                let ResetScope::Edge { source, destination } = reset.scope.clone() else {
                    return Err(format!("no key resets everything: {request:?}"));
                };
                (EdgeName { source, destination }, Verb::Reset { at_once: reset.at_once })
            }
            Request::Shift(_) => return Err(format!("nothing is split here: {request:?}")),
        };
        let is_meant =
            |aim: &Aim| now.instant <= aim.at + ARM_FOR && aim.edge.as_ref() == Some(&edge);
        if !self.aim.as_ref().is_some_and(is_meant) {
            return Err(format!("nobody asked for {request:?}: {:?}", self.aim));
        }
        if verb == (Verb::Reset { at_once: true }) && self.is_anothers(model, &edge) {
            return Err(format!("an undo of what somebody else did: {request:?}"));
        }
        if self.sent.len() == COMMANDS_MAX {
            self.sent.pop_front();
        }
        let id = request.id().to_owned();
        self.sent.push_back(Sent { id, edge, verb, at: now.instant, answer: None });
        Ok(())
    }

    /// Whether somebody else is seen to hold an edge since the last answer about it.
    fn is_anothers(&self, model: &Model, edge: &EdgeName) -> bool {
        let last = self.sent.iter().rev().find(|sent| sent.edge == *edge);
        let is_seen_since = last.is_some_and(|last| match (&last.answer, self.updated) {
            (Some(answer), Some((_, came))) => answer.came < came,
            _ => false,
        });
        let row = model.operator_breaker(edge).filter(|row| row.until.is_some());
        let holder = row.and_then(|row| row.by.as_ref());
        is_seen_since && holder.is_some_and(|by| *by != model.session.by)
    }

    /// An answer comes, as the collector gave it at `made`.
    pub(crate) fn hears(
        &mut self,
        now: Now,
        made: Instant,
        id: &str,
        result: &Result<TripResult, String>,
    ) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.id == id) {
            sent.answer = Some(Answer { result: result.clone(), made, came: now.instant });
        }
    }

    /// An update comes, made at `made`, with what stood behind it.
    pub(crate) fn sees(&mut self, now: Now, made: Instant, behind: Behind) {
        self.updated = Some((made, now.instant));
        self.behind = behind;
    }

    /// Every edge that was shown or asked about.
    pub(crate) fn edges(&self, model: &Model) -> BTreeSet<EdgeName> {
        let shown = model.snapshot.edges.iter().map(fusebox::model::rows::name_of);
        shown.chain(self.sent.iter().map(|sent| sent.edge.clone())).collect()
    }

    /// What the model says of each edge is what was asked, or what proxies did.
    pub(crate) fn check(&self, now: Now, model: &Model, truth: &Truth) -> Result<(), String> {
        for edge in self.edges(model) {
            let standing = model.standing(&edge);
            let sent = self.sent.iter().rev().find(|sent| sent.edge == edge);
            let view = model.edge(&edge).filter(|v| v.breaker.state != BreakerState::Closed);
            self.judge(now, &standing, sent, view, truth)
                .and_then(|()| undoable(model, &edge, &standing, sent))
                .map_err(|wrong| {
                    let breaker = view.map(|view| &view.breaker);
                    format!("{wrong}: {edge:?} is {standing:?}; {sent:?}; {breaker:?}")
                })?;
        }
        Ok(())
    }

    fn judge(
        &self,
        now: Now,
        standing: &Standing,
        sent: Option<&Sent>,
        view: Option<&EdgeView>,
        truth: &Truth,
    ) -> Result<(), &'static str> {
        let waiting = sent.filter(|sent| sent.waits(now));
        let is_asked = matches!(standing, Standing::Asked(_));
        check(waiting.is_some() == is_asked, "what is asked is not what is shown as asked")?;
        match standing {
            Standing::Asked(verb) => {
                check(waiting.is_some_and(|w| w.verb == *verb), "something else was asked")
            }
            Standing::Failed { verb, .. } => {
                let is_true = sent.is_some_and(|sent| sent.verb == *verb && sent.failed());
                check(is_true, "nothing failed")?;
                check(view.is_none(), "a failure hides what is held")
            }
            Standing::Fact(fact) => {
                let is_told = sent.is_some_and(|sent| self.is_told_by(fact, sent, truth));
                let is_seen = view.is_some_and(|view| self.is_seen_in(fact, view, truth));
                check(is_told || is_seen, "more than proxies did")?;
                check(fact.failed.is_none() || sent.is_some_and(Sent::failed), "nothing failed")
            }
            Standing::Nothing => {
                let is_closed = view.is_none() || sent.is_some_and(|s| self.is_ended_by(s, truth));
                check(is_closed, "a circuit that is held is shown as closed")
            }
        }
    }

    /// The result of a request, until an update follows it that was made after it.
    fn newest_answer<'a>(&self, sent: &'a Sent) -> Option<&'a TripResult> {
        let answer = sent.answer.as_ref()?;
        let follows = |(made, came)| answer.came < came && answer.made < made;
        answer.result.as_ref().ok().filter(|_| !self.updated.is_some_and(follows))
    }

    /// Whether a fact is what the answer to the newest request says, and that is true.
    fn is_told_by(&self, fact: &Fact, sent: &Sent, truth: &Truth) -> bool {
        let Verb::Trip(kind) = sent.verb else { return false };
        self.newest_answer(sent).is_some_and(|result| {
            fact.state == kind.state()
                && (fact.applied, fact.proxies) == (result.applied, result.proxies)
                && fact.applied <= truth.count_applied(&sent.edge, &sent.id)
        })
    }

    /// Whether the newest request ended the lease in all proxies.
    fn is_ended_by(&self, sent: &Sent, truth: &Truth) -> bool {
        let is_everywhere = |result: &TripResult| {
            0 < result.applied
                && result.applied == result.proxies
                && result.applied <= truth.count_applied(&sent.edge, &sent.id)
        };
        matches!(sent.verb, Verb::Reset { .. })
            && self.newest_answer(sent).is_some_and(is_everywhere)
    }

    /// Whether a fact is what the newest update says, and that is true.
    fn is_seen_in(&self, fact: &Fact, view: &EdgeView, truth: &Truth) -> bool {
        let breaker = &view.breaker;
        let edge = fusebox::model::rows::name_of(view);
        let true_count = match self.behind.get(&edge) {
            Some(id) => truth.count_applied(&edge, id),
            // A ramp is told of by whoever acknowledges a reset, with a lease or without one.
            None if breaker.state == BreakerState::HalfOpen => breaker.proxies,
            None => truth.count_held(&edge, breaker.state),
        };
        (fact.state, fact.applied, fact.proxies)
            == (breaker.state, breaker.applied, breaker.proxies)
            && fact.applied <= true_count
    }
}

impl Sent {
    fn waits(&self, now: Now) -> bool {
        self.answer.is_none() && now.instant < self.at + ANSWER_WITHIN
    }

    fn failed(&self) -> bool {
        match &self.answer {
            Some(Answer { result: Ok(result), .. }) => result.applied == 0,
            Some(Answer { result: Err(_), .. }) | None => true,
        }
    }
}

fn check(holds: bool, wrong: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(wrong) }
}

/// What is in force by this console's newest request can be undone.
fn undoable(
    model: &Model,
    edge: &EdgeName,
    standing: &Standing,
    sent: Option<&Sent>,
) -> Result<(), &'static str> {
    let lasts = |fact: &Fact| fact.left.is_some_and(|left| MOMENT < left);
    let is_lease = matches!(standing, Standing::Fact(fact)
        if fact.state != BreakerState::HalfOpen && lasts(fact));
    let is_mine =
        model.operator_breaker(edge).is_some_and(|row| row.by.as_ref() == Some(&model.session.by));
    let is_trip = sent.is_some_and(|sent| matches!(sent.verb, Verb::Trip(_)));
    let can_be_undone = model.undoable().is_some();
    check(can_be_undone || !(is_lease && is_mine && is_trip), "what is mine cannot be undone")
}

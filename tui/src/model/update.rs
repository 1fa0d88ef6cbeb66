//! `update`: one message in, the model changed, effects out. Pure: the only time it knows is the
//! one it is told.

use super::{Arrival, Effect, FILTER_LEN_MAX, Link, Message, Model, Overlay, Screen};
use crate::keys::{self, Action, Chord, Key};
use fusebox_proto::Now;
use fusebox_proto::delta::Delta;
use fusebox_proto::view::{Snapshot, Stamp};
use std::time::Duration;

/// Takes a message. Effects are for the shell, in order.
pub fn update(model: &mut Model, now: Now, message: Message) -> Vec<Effect> {
    model.now = now;
    let by_operator = matches!(message, Message::Key(_));
    let mut effects = model.fire_armed();
    match message {
        Message::Key(chord) => effects.extend(model.key(chord)),
        Message::Paste(text) => model.paste(&text),
        Message::Focus => model.guard.focused(now.instant),
        Message::Resize { width, height } => model.size = (width, height),
        Message::Snapshot(snapshot) => model.snapshot(*snapshot),
        Message::Delta(delta) => model.delta(*delta),
        Message::Link(link) => model.link(link),
        Message::Saved(Ok(path)) => model.say(format!("kept as {path}"), false),
        Message::Saved(Err(why)) => model.say(format!("not kept: {why}"), true),
        Message::Playback(playback) => model.playback(playback),
        Message::Answer { id, result } => model.answer(&id, result),
        Message::Tick => {}
    }
    model.commands.expire(now.instant);
    if model.notice.as_ref().is_some_and(|notice| notice.until <= now.instant) {
        model.notice = None;
    }
    model.settle_selection();
    model.settle_dossier();
    model.settle_graph();
    let target = model.target();
    model.guard.target_is(now.instant, target, by_operator);
    effects
}

impl Model {
    fn snapshot(&mut self, mut snapshot: Snapshot) {
        snapshot.sort();
        let at = snapshot.at;
        let newer = self.snapshot.at < at || self.arrival.is_none();
        self.snapshot = snapshot;
        self.arrived(at, newer);
    }

    fn delta(&mut self, delta: Delta) {
        let at = delta.at;
        let newer = self.snapshot.at < at;
        self.snapshot.apply(delta);
        self.arrived(at, newer);
    }

    /// Data came. Its age is measured on our own clock from when it first came, so that clocks that
    /// differ make nothing stale for longer than a second.
    fn arrived(&mut self, at: Stamp, newer: bool) {
        self.link = Link::Live;
        self.updated = Some(self.now.instant);
        if newer && at != Stamp::default() {
            let first = self.arrival.is_none();
            let age = if first { self.now.unix_ms.saturating_sub(at.0) } else { 0 };
            self.arrival = Some(Arrival { at: self.now.instant, age: Duration::from_millis(age) });
        }
        self.history.sample(&self.snapshot);
    }

    fn link(&mut self, link: Link) {
        self.link = link;
    }

    fn answer(&mut self, id: &str, result: Result<fusebox_proto::view::TripResult, String>) {
        let failure = result.as_ref().err().cloned();
        let known = self.commands.answered(self.now.instant, id, result).is_some();
        if let (true, Some(reason)) = (known, failure) {
            self.say(format!("failed: {reason}"), true);
        }
    }

    fn key(&mut self, chord: Chord) -> Vec<Effect> {
        let bursts = self.guard.typed(self.now.instant, chord);
        let types = match &self.overlay {
            Some(Overlay::Filter) => true,
            Some(Overlay::Ask(ask)) => ask.typed.is_some(),
            _ => false,
        };
        if types && !chord.ctrl && chord.key != Key::Esc {
            return self.type_key(chord.key);
        }
        let disarmed = self.guard.armed.as_ref().is_some_and(|armed| armed.chord != chord);
        let binding = keys::find(self, chord);
        // Consent answers a panel that a lone key opened: that it comes soon makes it no typing.
        let fires = |b: &keys::Binding| b.acts() && b.action != Action::Confirm;
        if disarmed || (bursts && binding.is_some_and(fires)) {
            self.guard.armed = None;
            self.say("ignored: that looked like typing; press the key alone", true);
            if binding.is_none_or(keys::Binding::acts) {
                return Vec::new();
            }
        }
        let Some(binding) = binding else { return Vec::new() };
        if binding.acts() { self.press(chord, binding.action) } else { self.act(binding.action) }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Leave => return vec![Effect::Quit],
            Action::Quit if self.overlay.is_none() => return vec![Effect::Quit],
            Action::Quit | Action::Back => self.back(),
            Action::Redraw => return vec![Effect::Redraw],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Help => self.overlay = Some(Overlay::Help),
            Action::Filter => self.overlay = Some(Overlay::Filter),
            Action::Show(screen) => self.screen = screen,
            Action::NextScreen => self.turn(1),
            Action::PreviousScreen => self.turn(Screen::ALL.len() - 1),
            Action::Sort => self.sort = self.sort.next(),
            Action::SortReverse => self.sort.reversed = !self.sort.reversed,
            Action::Unfold => self.graph.unfolded = !self.graph.unfolded,
            Action::Relayout => self.graph.forget(),
            Action::Incident => self.show_incident(),
            Action::Dossier => self.open_dossier(),
            Action::Open => self.show_on_graph(),
            Action::Save => return self.save().into_iter().collect(),
            Action::Copy => return self.copy().into_iter().collect(),
            Action::Pause | Action::Faster | Action::Slower | Action::JumpBack | Action::JumpOn => {
                return self.play(action);
            }
            action if matches!(self.overlay, Some(Overlay::Dossier(_))) => self.read_on(action),
            action => self.move_selection(action),
        }
        Vec::new()
    }

    /// One step back: out of the overlay, else to Triage with no filter. Never out of the program.
    fn back(&mut self) {
        match self.overlay.take() {
            Some(Overlay::Filter) => self.filter.clear(),
            Some(_) => {}
            None if !self.filter.is_empty() => self.filter.clear(),
            None => self.screen = Screen::Triage,
        }
    }

    /// Has the incident that is shown kept as a file; that it is under way is said.
    fn save(&mut self) -> Option<Effect> {
        let id = self.incident().filter(|_| self.playback.is_none())?.id.clone();
        self.say(format!("keeping incident {id} as a file …"), false);
        Some(Effect::Save(id))
    }

    fn turn(&mut self, by: usize) {
        let at = Screen::ALL.iter().position(|s| *s == self.screen).unwrap_or(0);
        self.screen = Screen::ALL[(at + by) % Screen::ALL.len()];
    }

    fn type_key(&mut self, key: Key) -> Vec<Effect> {
        match (&mut self.overlay, key) {
            (Some(Overlay::Filter), Key::Enter) => self.overlay = None,
            (Some(Overlay::Filter), Key::Backspace) => drop(self.filter.pop()),
            (Some(Overlay::Filter), Key::Char(c)) => push(&mut self.filter, c),
            (Some(Overlay::Filter), Key::Up) => self.move_selection(Action::Up),
            (Some(Overlay::Filter), Key::Down) => self.move_selection(Action::Down),
            (Some(Overlay::Ask(ask)), Key::Backspace) => {
                ask.typed.as_mut().and_then(String::pop);
            }
            (Some(Overlay::Ask(ask)), Key::Char(c)) => {
                let name = ask.name();
                let typed = ask.typed.get_or_insert_default();
                push(typed, c);
                if *typed == name {
                    return self.confirm();
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// Pasted text is text: it goes into a filter that is being typed, and nowhere else.
    fn paste(&mut self, text: &str) {
        if self.overlay == Some(Overlay::Filter) {
            for c in fusebox_proto::text::visible(text.trim()).chars() {
                push(&mut self.filter, c);
            }
        } else {
            self.say("pasted text is not taken for keys", true);
        }
    }
}

/// Names are at most as long as [`fusebox_proto::name::NAME_LEN_MAX`] each; a filter is shorter.
fn push(text: &mut String, c: char) {
    let max = FILTER_LEN_MAX.max(2 * fusebox_proto::name::NAME_LEN_MAX + 1);
    if text.chars().count() < max && !c.is_control() {
        text.push(c);
    }
}

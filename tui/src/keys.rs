//! The one table of keys. Dispatch, the footer and the help screen are made from it, so that they
//! cannot disagree.

use crate::model::{Model, Overlay, Screen};
use std::fmt;

/// A key without its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A character, with shift already applied.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and tab.
    BackTab,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Backspace.
    Backspace,
}

/// A key with control or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chord {
    /// The key.
    pub key: Key,
    /// Whether control is held.
    pub ctrl: bool,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open the circuit of the target.
    Trip,
    /// Refuse the retries of the target.
    Mute,
    /// Do to the target what the collector suggests, where no other key does.
    Suggested,
    /// Close the circuit of the target through its ramp.
    Reset,
    /// Close at once what I opened last.
    Undo,
    /// Carry out what the panel asks about.
    Confirm,
    /// Show a view.
    Show(Screen),
    /// The next view.
    NextScreen,
    /// The view before.
    PreviousScreen,
    /// Move up.
    Up,
    /// Move down.
    Down,
    /// Move left.
    Left,
    /// Move right.
    Right,
    /// Move a page up.
    PageUp,
    /// Move a page down.
    PageDown,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Look closer.
    Open,
    /// The next edge of the node.
    NextEdge,
    /// The edge before.
    PreviousEdge,
    /// To the incident of the target.
    Incident,
    /// All that is known of the incident.
    Dossier,
    /// Sort by the next column.
    Sort,
    /// Turn the order around.
    SortReverse,
    /// Type a filter.
    Filter,
    /// Fold the calls of a service away, or show them.
    Fold,
    /// Show infrastructure as nodes.
    Unfold,
    /// Lay the graph out anew.
    Relayout,
    /// Keep the incident as a file.
    Save,
    /// The incident as text on the clipboard.
    Copy,
    /// Stand still, or go on.
    Pause,
    /// Twice as fast.
    Faster,
    /// Half as fast.
    Slower,
    /// Half a minute back.
    JumpBack,
    /// Half a minute on.
    JumpOn,
    /// Every key of this view.
    Help,
    /// Paint everything anew.
    Redraw,
    /// Leave to the shell.
    Suspend,
    /// One step back.
    Back,
    /// Leave, or close what lies over the view.
    Quit,
    /// Leave.
    Leave,
}

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On every screen and under every overlay, except while text is typed.
    Everywhere,
    /// On every screen without an overlay.
    Screens,
    /// On these screens without an overlay.
    On(&'static [Screen]),
    /// While a panel asks for `y`.
    Asking,
    /// While a dossier is read.
    Reading,
    /// On every screen of a recording without an overlay.
    Replay,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Keys; the first is the one that is shown.
    pub chords: &'static [Chord],
    /// What they do.
    pub action: Action,
    /// Where they do it.
    pub place: Place,
    /// For the footer; empty: not in the footer.
    pub short: &'static str,
    /// For the help screen.
    pub help: &'static str,
}

const fn key(key: Key) -> Chord {
    Chord { key, ctrl: false }
}

const fn char(c: char) -> Chord {
    Chord { key: Key::Char(c), ctrl: false }
}

const fn ctrl(c: char) -> Chord {
    Chord { key: Key::Char(c), ctrl: true }
}

const fn row(
    chords: &'static [Chord],
    action: Action,
    place: Place,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { chords, action, place, short, help }
}

const LISTS: Place =
    Place::On(&[Screen::Services, Screen::Edges, Screen::Breakers, Screen::Timeline]);
const TIMELINE: Place = Place::On(&[Screen::Timeline]);
const OTHERS: Place = Place::On(&[
    Screen::Graph,
    Screen::Services,
    Screen::Edges,
    Screen::Breakers,
    Screen::Timeline,
]);
const TARGETS: Place =
    Place::On(&[Screen::Triage, Screen::Graph, Screen::Services, Screen::Edges, Screen::Breakers]);
const TREE: Place = Place::On(&[Screen::Services]);
const GRAPH: Place = Place::On(&[Screen::Graph]);
const TRIAGE: Place = Place::On(&[Screen::Triage]);

/// Every key there is, in the order in which footer and help show them.
pub const TABLE: &[Binding] = &[
    row(&[char('y')], Action::Confirm, Place::Asking, "yes, do it", "carry out what is asked"),
    row(&[char('t')], Action::Trip, Place::Screens, "trip", "open the target's circuit"),
    row(&[char('m')], Action::Mute, Place::Screens, "mute retries", "refuse its retries only"),
    row(&[char('o')], Action::Suggested, Place::Screens, "as suggested", "do what is suggested"),
    row(&[char('W')], Action::Save, Place::Screens, "", "the incident as a file"),
    row(&[char('Y')], Action::Copy, Place::Screens, "", "copy the incident as text"),
    row(&[char('p'), char(' ')], Action::Pause, Place::Replay, "pause", "pause, or go on"),
    row(&[char('{')], Action::JumpBack, Place::Replay, "{ } 30 s", "half a minute back"),
    row(&[char('}')], Action::JumpOn, Place::Replay, "", "half a minute on"),
    row(&[char('+'), char('=')], Action::Faster, Place::Replay, "- + speed", "twice as fast"),
    row(&[char('-')], Action::Slower, Place::Replay, "", "half as fast"),
    row(&[char('r')], Action::Reset, Place::Screens, "reset", "close it through the ramp"),
    row(&[char('u')], Action::Undo, Place::Screens, "undo", "undo my last, at once"),
    row(&[key(Key::Up), char('k')], Action::Up, Place::Screens, "", "up"),
    row(&[key(Key::Down), char('j')], Action::Down, Place::Screens, "↑↓ pick", "down"),
    row(&[key(Key::Left), char('h')], Action::Left, GRAPH, "", "left, against the calls"),
    row(&[key(Key::Right), char('l')], Action::Right, GRAPH, "←→ move", "right, along the calls"),
    row(&[key(Key::Left), char('h')], Action::Left, TREE, "", "to the caller"),
    row(&[key(Key::Right), char('l')], Action::Right, TREE, "", "to its calls"),
    row(&[char('f')], Action::Fold, TREE, "fold", "fold its calls, or unfold"),
    row(&[key(Key::Tab)], Action::NextEdge, GRAPH, "edge", "next edge of the node"),
    row(&[key(Key::BackTab)], Action::PreviousEdge, GRAPH, "", "edge before"),
    row(&[char('x')], Action::Unfold, GRAPH, "infra", "databases as nodes"),
    row(&[char('R')], Action::Relayout, GRAPH, "", "lay the graph out anew"),
    row(&[key(Key::PageUp)], Action::PageUp, LISTS, "", "a page up"),
    row(&[key(Key::PageDown)], Action::PageDown, LISTS, "", "a page down"),
    row(&[key(Key::Home), char('g')], Action::First, LISTS, "", "first row"),
    row(&[key(Key::End), char('G')], Action::Last, LISTS, "", "last row"),
    row(&[char('s')], Action::Sort, Place::On(&[Screen::Edges]), "sort", "sort by the next column"),
    row(
        &[char('S')],
        Action::SortReverse,
        Place::On(&[Screen::Edges]),
        "",
        "turn the order around",
    ),
    row(&[char('/')], Action::Filter, LISTS, "filter", "rows with this text"),
    row(&[key(Key::Enter)], Action::Open, TARGETS, "graph", "the target on the graph"),
    row(&[char('i')], Action::Incident, OTHERS, "incident", "incident of the target"),
    row(&[key(Key::Up), char('k')], Action::Up, Place::Reading, "", "up"),
    row(&[key(Key::Down), char('j')], Action::Down, Place::Reading, "↑↓ read on", "down"),
    row(&[key(Key::PageUp), char('b')], Action::PageUp, Place::Reading, "", "a page up"),
    row(&[key(Key::PageDown), char(' ')], Action::PageDown, Place::Reading, "", "a page down"),
    row(&[key(Key::Home), char('g')], Action::First, Place::Reading, "", "the beginning"),
    row(&[key(Key::End), char('G')], Action::Last, Place::Reading, "", "the end"),
    row(&[char('Y')], Action::Copy, Place::Reading, "copy", "copy it as text"),
    row(&[char('i')], Action::Back, Place::Reading, "", "close it"),
    row(
        &[char('1')],
        Action::Show(Screen::Triage),
        Place::Screens,
        "",
        "what is wrong, what to do",
    ),
    row(&[char('2')], Action::Show(Screen::Graph), Place::Screens, "", "who calls whom"),
    row(&[char('3')], Action::Show(Screen::Services), Place::Screens, "", "the calls as a tree"),
    row(&[char('4')], Action::Show(Screen::Edges), Place::Screens, "", "every edge in figures"),
    row(&[char('6')], Action::Show(Screen::Breakers), Place::Screens, "", "circuits not closed"),
    row(&[char('7')], Action::Show(Screen::Timeline), Place::Screens, "", "what happened"),
    row(&[char(']')], Action::NextScreen, Place::Screens, "", "next view"),
    row(&[char('[')], Action::PreviousScreen, Place::Screens, "", "view before"),
    row(&[char('?')], Action::Help, Place::Screens, "help", "this page"),
    row(&[char('i')], Action::Dossier, TRIAGE, "why", "all that is known of it"),
    row(&[key(Key::Enter)], Action::Dossier, TIMELINE, "why", "all known of the incident"),
    row(&[ctrl('l')], Action::Redraw, Place::Everywhere, "", "paint everything anew"),
    row(&[ctrl('z')], Action::Suspend, Place::Everywhere, "", "to the shell, fg returns"),
    row(&[key(Key::Esc)], Action::Back, Place::Everywhere, "", "one step back, never out"),
    row(&[char('q')], Action::Quit, Place::Everywhere, "quit", "out; closes a panel"),
    row(&[ctrl('c')], Action::Leave, Place::Everywhere, "", "out, always"),
];

/// The binding of this chord here and now, if there is one.
pub fn find(model: &Model, chord: Chord) -> Option<&'static Binding> {
    TABLE.iter().find(|b| b.chords.contains(&chord) && b.holds(model))
}

/// Bindings that do something here and now, in the table's order.
pub fn valid(model: &Model) -> impl Iterator<Item = &'static Binding> + '_ {
    TABLE.iter().filter(|b| b.holds(model) && model.can(b.action))
}

impl Binding {
    /// Whether it holds where the operator is.
    pub fn holds(&self, model: &Model) -> bool {
        match (self.place, &model.overlay) {
            (Place::Everywhere, _)
            | (Place::Screens, None)
            | (Place::Reading, Some(Overlay::Dossier(_))) => true,
            (Place::On(screens), None) => screens.contains(&model.screen),
            (Place::Replay, None) => model.playback.is_some(),
            (Place::Asking, Some(Overlay::Ask(ask))) => ask.typed.is_none(),
            _ => false,
        }
    }

    /// Whether it changes something outside this console.
    pub fn acts(&self) -> bool {
        matches!(
            self.action,
            Action::Trip
                | Action::Mute
                | Action::Suggested
                | Action::Reset
                | Action::Undo
                | Action::Confirm
        )
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        let name = match self.key {
            Key::Char(c) => return write!(f, "{c}"),
            Key::Enter => "enter",
            Key::Esc => "esc",
            Key::Tab => "tab",
            Key::BackTab => "shift-tab",
            Key::Up => "↑",
            Key::Down => "↓",
            Key::Left => "←",
            Key::Right => "→",
            Key::PageUp => "pgup",
            Key::PageDown => "pgdn",
            Key::Home => "home",
            Key::End => "end",
            Key::Backspace => "backspace",
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests;

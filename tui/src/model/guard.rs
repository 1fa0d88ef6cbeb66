//! What keeps a key that acts from firing by accident.
//!
//! Three guards. A *typing burst*: three characters within 120 ms are someone (or a paste without
//! brackets) typing into the wrong window. Its first character cannot know that yet, so an acting
//! key is *armed* for 40 ms and fires only if no other character follows. A *moved target*: when
//! the data changes what the key would act on, the key is swallowed for 700 ms. And the moment
//! after the window got the *focus*.

use crate::keys::{Action, Chord, Key};
use fusebox_proto::view::EdgeName;
use std::time::{Duration, Instant};

/// An acting key waits this long for a second character: less than anyone notices.
pub const ARM_FOR: Duration = Duration::from_millis(40);
/// Three characters within this are typing.
pub const BURST_WITHIN: Duration = Duration::from_millis(120);
/// A target that the data changed this recently is not acted on.
pub const TARGET_SETTLES: Duration = Duration::from_millis(700);
/// What is said where a key is not taken because its target changed.
pub const TARGET_CHANGED: &str = "target changed; press again";
/// Keys within this after the focus came were meant for another window.
pub const FOCUS_SETTLES: Duration = Duration::from_millis(300);

/// An acting key that fires soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// When it was pressed.
    pub at: Instant,
    /// The key, so that its own repetition is not taken for typing.
    pub chord: Chord,
    /// What it does.
    pub action: Action,
    /// Of an undo, the edge that the footer named: an answer may make it another.
    pub undoes: Option<EdgeName>,
}

/// What keeps keys from firing by accident.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// An acting key that fires soon.
    pub armed: Option<Armed>,
    characters: [Option<Instant>; 2],
    last: Option<Chord>,
    focused: Option<Instant>,
    target: Option<EdgeName>,
    target_moved: Option<Instant>,
}

impl Guard {
    /// Sees a key; says whether it is part of a typing burst. Another character disarms.
    pub fn typed(&mut self, now: Instant, chord: Chord) -> bool {
        let is_character = matches!(chord.key, Key::Char(_) | Key::Enter) && !chord.ctrl;
        let is_repeat = self.last == Some(chord);
        self.last = Some(chord);
        if !is_character || is_repeat {
            return false;
        }
        let [first, second] = self.characters;
        self.characters = [second, Some(now)];
        first.is_some_and(|at| now.saturating_duration_since(at) <= BURST_WITHIN)
    }

    /// Sees the focus come.
    pub fn focused(&mut self, now: Instant) {
        self.focused = Some(now);
    }

    /// Why an acting key must not fire now, if it must not.
    pub fn refuses(&self, now: Instant) -> Option<&'static str> {
        let within = |at: Option<Instant>, time| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        if within(self.focused, FOCUS_SETTLES) {
            return Some("ignored: the window just got the focus; press again");
        }
        if within(self.target_moved, TARGET_SETTLES) {
            return Some(TARGET_CHANGED);
        }
        None
    }

    /// Sees the target after each message. `by_operator`: they moved it themselves and know it.
    pub fn target_is(&mut self, now: Instant, target: Option<EdgeName>, by_operator: bool) {
        if target == self.target {
            return;
        }
        // From nothing to something is no change: nobody was aiming at nothing.
        if self.target.is_some() && target.is_some() && !by_operator {
            self.target_moved = Some(now);
        }
        self.armed = None;
        self.target = target;
    }
}

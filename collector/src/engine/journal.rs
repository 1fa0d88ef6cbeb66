//! What happened, newest last, for "recent events".

use fusebox_proto::text::cut;
use fusebox_proto::view::{Event, Stamp};
use std::collections::VecDeque;

/// More than this are not kept here; the oldest goes.
pub(crate) const EVENTS_MAX: usize = 200;
/// A line has at most so many bytes.
const TEXT_MAX: usize = 240;

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    events: VecDeque<Event>,
    /// How many of the newest were noted since [`take_fresh`](Journal::take_fresh).
    fresh: usize,
}

impl Journal {
    /// Takes note. `kind` as in [`Event::kind`].
    pub(crate) fn note(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        let text = cut(text, TEXT_MAX).into_owned();
        self.push(Event { at: Stamp(at_unix_ms), kind: kind.into(), text });
        self.fresh = (self.fresh + 1).min(EVENTS_MAX);
    }

    /// Begins with what an earlier process noted, oldest first.
    pub(crate) fn restore(&mut self, events: &[Event]) {
        events.iter().cloned().for_each(|event| self.push(event));
    }

    fn push(&mut self, event: Event) {
        if EVENTS_MAX <= self.events.len() {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// What was noted since the last call, oldest first.
    pub(crate) fn take_fresh(&mut self) -> Vec<Event> {
        let fresh = std::mem::take(&mut self.fresh);
        self.events.iter().skip(self.events.len() - fresh).cloned().collect()
    }

    /// Newest first; of the same time, in the order in which they were noted.
    pub(crate) fn newest_first(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.events.iter().rev().cloned().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events
    }
}

//! What happened, newest last, for "recent events".

use fusebox_proto::text::cut;
use fusebox_proto::view::{Event, Stamp};
use std::collections::VecDeque;

/// More than this are not kept; the oldest goes.
const EVENTS_MAX: usize = 200;
/// A line has at most so many bytes.
const TEXT_MAX: usize = 240;

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Journal(VecDeque<Event>);

impl Journal {
    /// Takes note. `kind` as in [`Event::kind`].
    pub(crate) fn note(&mut self, at_unix_ms: u64, kind: &str, text: &str) {
        if EVENTS_MAX <= self.0.len() {
            self.0.pop_front();
        }
        let text = cut(text, TEXT_MAX).into_owned();
        self.0.push_back(Event { at: Stamp(at_unix_ms), kind: kind.into(), text });
    }

    /// Newest first; of the same time, in the order in which they were noted.
    pub(crate) fn newest_first(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.0.iter().rev().cloned().collect();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        events
    }
}

//! Time and the network of the simulation: a heap of what will arrive when.
//!
//! A stream delivers in order, late, and may break: then what is in flight is lost, and its two
//! ends learn of it at different times. Across streams nothing is ordered.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// What will happen, by time; equal times in the order of their scheduling.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    payloads: HashMap<u64, T>,
    scheduled: u64,
}

type Entry = (Instant, u64);

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), payloads: HashMap::new(), scheduled: 0 }
    }
}

impl<T> Agenda<T> {
    /// Schedules `what` for `at`.
    pub(crate) fn put(&mut self, at: Instant, what: T) {
        self.heap.push(Reverse((at, self.scheduled)));
        self.payloads.insert(self.scheduled, what);
        self.scheduled += 1;
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next thing that is due at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? <= now {
            let Reverse((_, id)) = self.heap.pop()?;
            self.payloads.remove(&id)
        } else {
            None
        }
    }

    /// Forgets everything for which `keep` does not hold.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.payloads.retain(|_, what| keep(what));
        let left: Vec<_> =
            self.heap.drain().filter(|Reverse((_, id))| self.payloads.contains_key(id)).collect();
        self.heap.extend(left);
    }
}

/// One direction of one stream: when did the last message arrive?
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lane {
    last: Option<Instant>,
}

impl Lane {
    /// When a message sent at `now` with this delay arrives: never before an earlier one.
    pub(crate) fn arrival(&mut self, now: Instant, delay: Duration) -> Instant {
        let at = self.last.map_or(now + delay, |last| last.max(now + delay));
        self.last = Some(at);
        at
    }
}

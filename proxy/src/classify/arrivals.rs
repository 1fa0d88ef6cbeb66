//! When each trace last came in at this proxy.
//!
//! Where several layers repeat, the lower ones get the same order again in the same trace, and what
//! they send then looks like a repetition of theirs. It is not: whoever called them repeats. What
//! tells the two apart is that the trace came in again in between.
//!
//! One word for each place, written by whoever took the request in and read by the edges: nobody
//! waits, nothing allocates. A newer trace takes the place of an older one; what is forgotten so is
//! judged as if it had never come in.

use super::REQUEST_AGE_MAX;
use super::head::Hash;
use fusebox_proto::trace::TraceContext;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Traces that are remembered, 8 bytes each; a power of two. An order needs its place only until
/// the calls that it causes are made: at 5,000 orders a second, for 20 ms each, two in a hundred
/// lose it.
pub const ARRIVALS_MAX: usize = 8 * 1024;
/// The lower bits of a word are microseconds, which go round every 12 days; the upper ones are of
/// the trace.
const TICK_BITS: u32 = 40;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// The last arrival of each trace, shared by everything in one process.
pub struct Arrivals {
    hash: Hash,
    /// Where ticks begin.
    start: Instant,
    words: Box<[AtomicU64]>,
}

impl Arrivals {
    /// Nothing came in yet. `seed` is secret, so that nobody can aim at a place.
    pub fn new(now: Instant, seed: u64) -> Self {
        let words = (0..ARRIVALS_MAX).map(|_| AtomicU64::new(0)).collect();
        Self { hash: Hash::new(seed), start: now, words }
    }

    /// A request of this trace comes in.
    pub fn came_in(&self, now: Instant, trace: &TraceContext) {
        let (place, tag) = self.place(trace);
        place.store(tag | self.ticks(now), Ordering::Release);
    }

    /// When a request of this trace last came in, as far as that still matters.
    pub(super) fn last(&self, now: Instant, trace: &TraceContext) -> Option<Instant> {
        let (place, tag) = self.place(trace);
        let word = place.load(Ordering::Acquire);
        let age_us = self.ticks(now).wrapping_sub(word) & TICK_MASK;
        let age = Duration::from_micros(age_us);
        let is_known = word != 0 && word & !TICK_MASK == tag && age < REQUEST_AGE_MAX;
        if is_known { now.checked_sub(age) } else { None }
    }

    /// Where a trace is kept, and what it is known by there.
    fn place(&self, trace: &TraceContext) -> (&AtomicU64, u64) {
        let hash = self.hash.trace(trace).hash();
        (&self.words[hash as usize % ARRIVALS_MAX], hash & !TICK_MASK)
    }

    /// Microseconds since the beginning, as far as they fit into a word.
    fn ticks(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64 & TICK_MASK
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

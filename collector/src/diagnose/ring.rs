//! The spans of the last minutes, for a diagnosis that looks again and again.
//!
//! Spans lie in blocks by when their trace was first heard of: a trace goes as a whole, the oldest
//! first. Where a window of some minutes has no room, fewer traces are taken, chosen by their id, so
//! that each is there as a whole or not at all; what was taken stands for the others.
//!
//! A replay at another speed says of its spans when they were made, and to a ring that holds nothing
//! but a replay that is their time. Beside others it is not: everybody can say so, and who does
//! would move the minutes of all that are compared. So the first span from life clears a replay
//! away, and among spans from life those of a replay lie where they came.

use super::rows::{Row, SERVICES_MAX, Spans, WORDS_MAX, Words};
use crate::spans::{Span, SpanBatch};
use fusebox_proto::trace::TraceId;
use fusebox_proto::{Now, ServiceId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Spans that are held: 64 bytes each, and at most as much again for the ids of their traces.
const ROWS_MAX: usize = 200_000;
/// Traces that were first heard of within so long are one block.
const BLOCK_MS: u64 = 10_000;
/// Spans are held for so long. Quiet services need long baselines: detection.md §3.
const WINDOW_MS: u64 = 20 * 60_000;
/// Before a window is shorter than this, fewer traces are taken.
const WINDOW_MS_MIN: u64 = 8 * 60_000;
/// What came within so long is not let go for the sake of what was before an incident.
const RECENT_MS: u64 = 2 * 60_000;
/// No fewer than one of so many traces is taken.
const SHARE_MIN: f32 = 1.0 / 4_096.0;
/// What lies further from the newest is of another time, such as that of another replay.
const OTHER_TIME_NS: u64 = 3_600_000_000_000;
/// A span whose clock is further off cannot be placed among the others.
const SKEW_MS_MAX: u64 = 10 * 60_000;
/// A span that took longer than the ring is long is no request that its minutes tell of.
const LENGTH_NS_MAX: u64 = 3_600_000_000_000;
/// A trace of more spans than this is no request: what comes beyond is not taken, so that one trace
/// does not leave all others without room.
const TRACE_ROWS_MAX: u32 = 4_096;
/// More operations and peers than this are looked through for those that are not used any more.
const WORDS_TIDY: usize = 10_000;
/// As [`WORDS_TIDY`], of services.
const SERVICES_TIDY: usize = SERVICES_MAX / 2;

/// The spans of the last minutes.
#[derive(Debug)]
pub(crate) struct Ring {
    blocks: VecDeque<Block>,
    traces: HashMap<TraceId, Place, foldhash::fast::RandomState>,
    services: Words<ServiceId>,
    words: Words<Arc<str>>,
    /// Of all traces, so many are taken.
    share: f32,
    rows: usize,
    rows_max: usize,
    trace_next: u32,
    block_next: u64,
    words_tidy: usize,
    services_tidy: usize,
    /// What began before this is kept, ns since the Unix epoch: the baseline of an incident.
    held_ns: Option<u64>,
    newest_ns: u64,
    /// Whether all that is held is a replay's, at its own times.
    is_replay: bool,
    shed: u64,
    misdated: u64,
}

/// Where a trace is.
#[derive(Clone, Copy, Debug)]
struct Place {
    block: u64,
    number: u32,
    rows: u32,
}

/// The traces of some seconds.
#[derive(Debug)]
struct Block {
    number: u64,
    opened_ms: u64,
    /// When its first span began.
    from_ns: u64,
    /// Of all traces so many were taken.
    share: f32,
    rows: Arc<Vec<Row>>,
    traces: Vec<TraceId>,
}

/// What a ring holds at one moment. Cheap to take; what is made of it is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    blocks: Vec<Arc<Vec<Row>>>,
    services: Words<ServiceId>,
    words: Words<Arc<str>>,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            traces: HashMap::default(),
            services: Words::default(),
            words: Words::default(),
            share: 1.0,
            rows: 0,
            rows_max: ROWS_MAX,
            trace_next: 0,
            block_next: 0,
            words_tidy: WORDS_TIDY,
            services_tidy: SERVICES_TIDY,
            held_ns: None,
            newest_ns: 0,
            is_replay: false,
            shed: 0,
            misdated: 0,
        }
    }
}

impl Ring {
    /// Takes what came at `now`.
    pub(crate) fn add(&mut self, now: Now, batch: &SpanBatch) {
        for span in batch.spans.iter().filter(|span| !span.is_refused) {
            let is_dated = is_dated(now, span);
            self.misdated += u64::from(!is_dated);
            if !(is_dated && self.take(now, span)) {
                self.shed += 1;
            }
            if self.rows_max < self.rows {
                self.make_room(now);
            }
        }
    }

    /// Takes a span, unless its trace is not taken.
    fn take(&mut self, now: Now, span: &Span) -> bool {
        let is_replayed = span.moved_ns.is_some();
        if self.rows == 0 {
            self.is_replay = is_replayed;
        } else if self.is_replay && !is_replayed {
            self.clear();
        }
        // Of a replay, the time in which it was made: in the replay's own, minutes are seconds.
        let moved_ns = span.moved_ns.filter(|_| self.is_replay).unwrap_or(0);
        let made_ns = |at_ns: u64| at_ns.saturating_add_signed(moved_ns.saturating_neg());
        let (start_ns, end_ns) = (made_ns(span.start_unix_ns), made_ns(span.end_unix_ns));
        if 0 < self.newest_ns && OTHER_TIME_NS < self.newest_ns.abs_diff(end_ns) {
            let is_replay = self.is_replay;
            self.clear();
            self.is_replay = is_replay;
        }
        if self.blocks.back().is_none_or(|block| block.opened_ms + BLOCK_MS <= now.unix_ms) {
            self.age(now);
            self.blocks.push_back(Block {
                number: self.block_next,
                opened_ms: now.unix_ms,
                from_ns: u64::MAX,
                share: self.share,
                rows: Arc::default(),
                traces: Vec::new(),
            });
            self.block_next += 1;
        }
        let Some((at, trace)) = self.place(&span.trace_id) else { return false };
        let mut row = Row::new(span, trace, &mut self.services, &mut self.words);
        (row.start_ns, row.end_ns) = (start_ns, end_ns);
        let block = &mut self.blocks[at];
        row.weight /= block.share;
        block.from_ns = block.from_ns.min(start_ns);
        Arc::make_mut(&mut block.rows).push(row);
        self.rows += 1;
        // A clock that is ahead does not make what others send the past.
        let latest_ns = if self.is_replay { u64::MAX } else { now.unix_ms * 1_000_000 };
        self.newest_ns = self.newest_ns.max(start_ns.min(latest_ns));
        true
    }

    /// Forgets all spans, but not what was counted.
    fn clear(&mut self) {
        let shed = self.shed + self.rows as u64;
        let Self { rows_max, misdated, .. } = *self;
        *self = Self { rows_max, shed, misdated, ..Self::default() };
    }

    /// In which block a span of this trace belongs, and the number of the trace; `None` where the
    /// trace is not taken, or was let go.
    fn place(&mut self, trace: &TraceId) -> Option<(usize, u32)> {
        if let Some(place) = self.traces.get_mut(trace) {
            let at = self.blocks.binary_search_by_key(&place.block, |block| block.number).ok()?;
            place.rows = place.rows.saturating_add(1);
            return (place.rows <= TRACE_ROWS_MAX).then_some((at, place.number));
        }
        if !is_taken(trace, self.share) {
            return None;
        }
        let number = self.trace_next;
        self.trace_next = self.trace_next.wrapping_add(1);
        let block = self.blocks.back_mut()?;
        block.traces.push(*trace);
        self.traces.insert(*trace, Place { block: block.number, number, rows: 1 });
        Some((self.blocks.len() - 1, number))
    }

    /// Lets go what is too old.
    pub(crate) fn age(&mut self, now: Now) {
        let is_old = |block: &Block| block.opened_ms + WINDOW_MS <= now.unix_ms;
        while let Some(at) =
            self.blocks.iter().position(|block| is_old(block) && !self.holds(block))
        {
            self.drop_block(at);
        }
        if self.rows < self.rows_max / 4 {
            self.share = (2.0 * self.share).min(1.0);
        }
        if self.words_tidy < self.words.len() || self.services_tidy < self.services.len() {
            self.tidy();
        }
    }

    /// Keeps what began before `at_ns` for longer than other spans, or nothing.
    pub(crate) fn hold(&mut self, at_ns: Option<u64>) {
        self.held_ns = at_ns;
    }

    fn holds(&self, block: &Block) -> bool {
        self.held_ns.is_some_and(|held| block.from_ns < held)
    }

    fn make_room(&mut self, now: Now) {
        let since = |block: &Block| now.unix_ms.saturating_sub(block.opened_ms);
        let length_ms = self.blocks.front().map_or(0, since);
        if length_ms < WINDOW_MS_MIN && SHARE_MIN < self.share {
            self.thin();
            return;
        }
        let is_least = |block: &Block| !self.holds(block) && RECENT_MS < since(block);
        let at = self.blocks.iter().position(is_least).unwrap_or(0);
        self.shed += self.blocks[at].rows.len() as u64;
        self.drop_block(at);
    }

    /// From now on every second trace only, and of what is there, too.
    fn thin(&mut self) {
        self.share /= 2.0;
        let share = self.share;
        self.traces.retain(|trace, _| is_taken(trace, share));
        self.rows = 0;
        for block in &mut self.blocks {
            block.traces.retain(|trace| is_taken(trace, share));
            let numbers = block.traces.iter().filter_map(|trace| self.traces.get(trace));
            let kept: std::collections::HashSet<u32, foldhash::fast::RandomState> =
                numbers.map(|place| place.number).collect();
            let rows = Arc::make_mut(&mut block.rows);
            let before = rows.len();
            rows.retain(|row| kept.contains(&row.trace));
            let stands_for = block.share / share;
            for row in rows.iter_mut() {
                row.weight *= stands_for;
            }
            block.share = share;
            self.shed += (before - rows.len()) as u64;
            self.rows += rows.len();
        }
    }

    fn drop_block(&mut self, at: usize) {
        let Some(block) = self.blocks.remove(at) else { return };
        self.rows -= block.rows.len();
        for trace in block.traces {
            self.traces.remove(&trace);
        }
    }

    /// Forgets names that no span has any more.
    fn tidy(&mut self) {
        let services = std::mem::take(&mut self.services);
        let words = std::mem::take(&mut self.words);
        for block in &mut self.blocks {
            for row in Arc::make_mut(&mut block.rows) {
                row.rename((&services, &words), (&mut self.services, &mut self.words));
            }
        }
        // Where there is no room left, names are looked through again and again until there is.
        self.words_tidy = (2 * self.words.len()).clamp(WORDS_TIDY, WORDS_MAX - 1);
        self.services_tidy = (2 * self.services.len()).clamp(SERVICES_TIDY, SERVICES_MAX - 1);
    }

    /// When the newest span began, ns since the Unix epoch.
    pub(crate) const fn newest_ns(&self) -> u64 {
        self.newest_ns
    }

    /// Spans that were let go before their time, or not taken, since the start.
    pub(crate) const fn shed(&self) -> u64 {
        self.shed
    }

    /// Spans that were not taken because their times cannot be right, since the start.
    pub(crate) const fn misdated(&self) -> u64 {
        self.misdated
    }

    /// One with room for so many spans.
    #[cfg(test)]
    pub(super) fn of(rows_max: usize) -> Self {
        Self { rows_max, ..Self::default() }
    }
}

impl Held {
    /// All that a ring holds.
    pub(super) fn of(ring: &Ring) -> Self {
        Self {
            blocks: ring.blocks.iter().map(|block| Arc::clone(&block.rows)).collect(),
            services: ring.services.clone(),
            words: ring.words.clone(),
        }
    }

    /// Each span.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.blocks.iter().flat_map(|rows| rows.iter())
    }

    #[cfg(test)]
    pub(super) fn words_len(&self) -> usize {
        self.words.len()
    }

    #[cfg(test)]
    pub(super) fn service(&self, number: u32) -> &ServiceId {
        self.services.get(number)
    }

    #[cfg(test)]
    pub(super) fn word(&self, number: u32) -> &str {
        self.words.get(number)
    }

    /// The spans for which `is_in`.
    pub(super) fn spans(&self, is_in: impl Fn(&Row) -> bool) -> Spans {
        let rows = self.rows().filter(|row| is_in(row)).copied().collect();
        Spans::of(rows, self.services.clone(), self.words.clone())
    }
}

/// Whether a span ended about now and was no longer than can be: what is off by more cannot be
/// placed among the others.
fn is_dated(now: Now, span: &Span) -> bool {
    now.unix_ms.abs_diff(span.end_unix_ns / 1_000_000) <= SKEW_MS_MAX
        && span.end_unix_ns.saturating_sub(span.start_unix_ns) <= LENGTH_NS_MAX
}

/// Whether a trace is among so many of all: a matter of its random bits alone.
fn is_taken(trace: &TraceId, share: f32) -> bool {
    let bytes = trace.as_bytes();
    let low = bytes[8..].iter().fold(0_u64, |low, byte| low << 8 | u64::from(*byte));
    // Not every SDK's ids are random throughout.
    let mixed = (low ^ low >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (mixed as f32) < share * 16_777_216.0
}

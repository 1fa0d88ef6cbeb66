//! A regression of the p99 in one series of latencies, of an edge or a service.
//!
//! ```text
//!             evidence, effect, still there
//!   normal ────────────────────────────────▶ slow
//!     ▲                                        │ evidence that it is over, or
//!     └────────────────────────────────────────┘ six hours: it has become usual
//! ```
//!
//! A sequential test ([`super::sequential`]) on how many requests take longer than the usual p99,
//! and one on the usual median ([`quantile`]). Against what is usual speaks the worst of the last
//! minutes, so that wander and stalls are no news; a second has a limited say; and the difference
//! must be worth a word: 10 % and 1 ms beyond the bounds of both ([`rank`]), and beyond how far the
//! series wanders from minute to minute ([`heights`]). What is usual is
//! learned over hours, and not while something is wrong ([`usual`]); what comes every week, or every
//! day, at the same hour is usual, too ([`hours`]). Sources and simulations: detection.md §2.

mod heights;
mod hours;
mod kept;
mod quantile;
pub(super) mod rank;
mod usual;

use super::sequential::{DOUBT_SECONDS_MAX, FOUND_SECONDS_MAX, LN_SUSPICIOUS, ln_alarm};
use crate::store::SparseLatency;
use hours::{Hours, Level};
use quantile::{P50, P99, Quantile};
use std::collections::VecDeque;

pub(crate) use hours::Level as HourLevel;
pub(crate) use kept::SeriesBaseline;
pub(in crate::detect) use kept::rounded;
#[cfg(test)]
pub(crate) use kept::{QuantileBaseline, UsualBaseline};
pub(crate) use quantile::{EFFECT, EFFECT_US_MIN};
pub(crate) use usual::UsualLatency;

/// More requests than so many times the usual are load, and slow because of it.
const LOAD_MAX: f64 = 2.0;
/// Load is looked at over so many seconds, and what queued meanwhile needs as long.
const LOAD_SECONDS: usize = 10;

/// A regression that is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slow {
    /// The second in which it began.
    pub(crate) onset: u64,
    /// The second in which it was found.
    pub(crate) found: u64,
    /// Whether the p99 showed it.
    pub(crate) by_tail: bool,
    /// Whether the median showed it.
    pub(crate) by_middle: bool,
}

/// One second of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// Which.
    pub(crate) second: u64,
    /// Latencies that ended in it; `None` where none did.
    pub(crate) latency: Option<&'a SparseLatency>,
    /// Share of them that was really seen, 0 … 1: sampled spans stand for others.
    pub(crate) seen_share: f64,
    /// Requests that came in it: more than ended, where they queue.
    pub(crate) requests: f64,
    /// Whether a storm or a lease explains what it shows.
    pub(crate) is_explained: bool,
}

/// The detector of one series.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    usual: UsualLatency,
    hours: Hours,
    tail: Quantile,
    middle: Quantile,
    slow: Option<Slow>,
    counts: VecDeque<f32>,
    loaded_until: u64,
    doubtful_seconds: u64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            usual: UsualLatency::default(),
            hours: Hours::default(),
            tail: Quantile::new(P99),
            middle: Quantile::new(P50),
            slow: None,
            counts: VecDeque::new(),
            loaded_until: 0,
            doubtful_seconds: 0,
        }
    }
}

impl Series {
    /// What is usual.
    pub(crate) const fn usual(&self) -> &UsualLatency {
        &self.usual
    }

    /// What is usual at this hour of the week, or of the day, where that is known.
    pub(crate) fn usual_now(&self) -> Option<Level> {
        self.hours.usual()
    }

    /// Whether more than twice the usual came lately, up to `second`.
    pub(crate) const fn was_loaded(&self, second: u64) -> bool {
        second <= self.loaded_until
    }

    /// The regression, if there is one.
    pub(crate) const fn slow(&self) -> Option<Slow> {
        self.slow
    }

    /// Takes the next second, where `series` are watched.
    pub(crate) fn judge(&mut self, window: Window<'_>, series: usize) {
        let is_loaded = self.is_loaded(&window);
        if window.is_explained {
            // It is somebody else's finding, also what of it was found here.
            self.calm();
            return;
        }
        if self.hours.learn(window.second, window.latency, window.seen_share) {
            self.aim();
        }
        if let Some(slow) = self.slow {
            self.follow(slow, window);
            return;
        }
        if is_loaded {
            if self.is_doubted_long() {
                self.learn(&window);
                self.count();
            }
            return;
        }
        if let Some(latency) = window.latency {
            self.tail.step(window.second, latency, window.seen_share);
            self.middle.step(window.second, latency, window.seen_share);
        }
        // Two tests on each series.
        let ln_alarm = ln_alarm(2 * series);
        let by_tail = self.tail.is_slow(ln_alarm);
        let by_middle = self.middle.is_slow(ln_alarm);
        if by_tail || by_middle {
            let first = if by_tail { &self.tail } else { &self.middle };
            let onset = first.since();
            self.slow = Some(Slow { onset, found: window.second, by_tail, by_middle });
            self.usual.discard();
            return;
        }
        self.learn(&window);
        let is_suspicious = LN_SUSPICIOUS <= self.tail.ln_evidence().max(self.middle.ln_evidence());
        if !is_suspicious {
            self.doubtful_seconds = 0;
            self.count();
        } else if self.is_doubted_long() {
            self.count();
        }
    }

    /// Whether more comes than twice the usual, or did a moment ago.
    fn is_loaded(&mut self, window: &Window<'_>) -> bool {
        if LOAD_SECONDS <= self.counts.len() {
            self.counts.pop_front();
        }
        self.counts.push_back(window.requests as f32);
        let Some(usual) = self.usual.rate() else { return false };
        let expected = usual * LOAD_SECONDS as f64;
        // Chance alone makes some seconds of a quiet series busy ones.
        let most = LOAD_MAX * expected + 3.0 * expected.sqrt();
        let count: f32 = self.counts.iter().sum();
        if most < f64::from(count) {
            self.loaded_until = window.second + LOAD_SECONDS as u64;
        }
        window.second <= self.loaded_until
    }

    /// Whether something has been odd for so long that it is no longer odd.
    fn is_doubted_long(&mut self) -> bool {
        self.doubtful_seconds += 1;
        let is_long = DOUBT_SECONDS_MAX < self.doubtful_seconds;
        if is_long {
            self.tail.forget();
            self.middle.forget();
        }
        is_long
    }

    fn learn(&mut self, window: &Window<'_>) {
        let count = window.latency.map_or(0, SparseLatency::count) as f64;
        let lifts = [self.tail.lift(), self.middle.lift()];
        self.usual.learn(window.latency, count * window.seen_share, lifts);
    }

    /// Counts the minutes that are due. What was suspicious waits until it is known to have been
    /// nothing, and counts then: without its highest minutes a series would look calmer than it is.
    fn count(&mut self) {
        while let Some(block) = self.usual.due() {
            self.tail.allow(&block, block.lifts[0]);
            self.middle.allow(&block, block.lifts[1]);
            self.usual.count(&block);
            self.aim();
        }
    }

    /// Takes aim anew: what is usual has changed.
    fn aim(&mut self) {
        let hour = self.hours.usual();
        self.middle.aim(&self.usual, hour.map(|hour| hour.p50_us.into()), 0.0);
        self.tail.aim(&self.usual, hour.map(|hour| hour.p99_us.into()), self.middle.lift());
    }

    fn follow(&mut self, slow: Slow, window: Window<'_>) {
        if let Some(latency) = window.latency {
            self.tail.follow(latency, window.seen_share);
            self.middle.follow(latency, window.seen_share);
        }
        let is_over =
            (!slow.by_tail || self.tail.is_over()) && (!slow.by_middle || self.middle.is_over());
        if slow.found + FOUND_SECONDS_MAX < window.second {
            *self = Self { hours: std::mem::take(&mut self.hours), ..Self::default() };
        } else if is_over {
            self.calm();
        }
    }

    fn calm(&mut self) {
        self.slow = None;
        self.tail.forget();
        self.middle.forget();
        self.usual.discard();
        self.doubtful_seconds = 0;
    }
}

//! Who fails more than usual, where proxies count: each edge and each service, second by second.
//!
//! ```text
//!            evidence, 10 % and twice the usual, in each five of 30 s
//!   normal ───────────────────────────────────────────────────────────▶ failing
//!     ▲                                                                    │
//!     └──────────────── ten seconds at the usual share, or six hours ──────┘
//! ```
//!
//! The same sequential test as for storms ([`super::sequential`]), on the share of failed attempts
//! against the worst usual minutes. What is over within half a minute is no incident: a restart, a
//! burst, a job that asks again. What comes of twice the usual load is load, and what a storm
//! explains is told there.

use super::baseline::{BLOCK_SECONDS, Envelope, kept_after};
use super::kept::{Parked, Subject};
use super::p99::rank::share_bounds;
use super::sequential::{
    Bet, DOUBT_SECONDS_MAX, Evidence, FOUND_SECONDS_MAX, LN_SUSPICIOUS, Onset, ln_alarm, sureness,
};
use super::{Latencies, Round, unjudged};
use crate::store::{Counts, Served, Store, Tally, Track};
use std::collections::{HashMap, VecDeque};

/// The share that is nobody's business; and before anything is known of what is usual.
const SHARE_USUAL: f64 = 0.05;
const SHARE_UNKNOWN: f64 = 0.25;
/// From this share on it is worth a word, and from this multiple of the usual one.
const SHARE_MIN: f64 = 0.1;
const TIMES_MIN: f64 = 2.0;
/// It must be so for so long, in each part of so many seconds: some stalls in a row are none ...
const HELD_SECONDS: u64 = 30;
const PART_SECONDS: usize = 5;
/// ... and for so long where nothing is known of what is usual: of the load neither.
const UNKNOWN_SECONDS: u64 = 60;
/// Of few requests a share is known badly: bounds lie so many standard deviations away.
const SURE_Z: f64 = 3.0;
/// It is over once so many seconds show no more than usual.
const WELL_SECONDS: usize = 10;
/// Fewer failures prove nothing.
const FAILED_MIN: f64 = 10.0;
/// A few seconds alone raise no alarm.
const BET: Bet = Bet { multiples: [1.5, 2.0, 4.0, 8.0], ln_ratio_max: 2.0 };
/// What was heard of last so long ago is not failing any more.
const SILENT_SECONDS: u64 = 60;

/// Failures that are not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Surge {
    /// The second in which it began.
    pub(crate) onset: u64,
    /// The second in which it was found.
    pub(crate) found: u64,
    /// The share of the worst usual minutes, 0 … 1; `None` where no minute was known.
    pub(crate) usual: Option<f64>,
    /// How sure it is, 0 … 1.
    pub(crate) confidence: f64,
    last_heard: u64,
}

/// All watches.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    watches: HashMap<Subject, Watched>,
    /// What was usual of those that are not seen now: shares of minutes.
    parked: Parked<Subject, Vec<f32>>,
}

#[derive(Debug, Default)]
struct Watched {
    watch: FailureWatch,
    judged_to: u64,
}

/// How an edge or a service ended what it was asked, in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    /// All that ended.
    pub(crate) all: f64,
    /// Those that failed.
    pub(crate) failed: f64,
}

impl From<&Tally> for Ended {
    fn from(tally: &Tally) -> Self {
        Self { all: tally.ended(), failed: tally.failed() }
    }
}

impl From<&Served> for Ended {
    fn from(served: &Served) -> Self {
        // Whom a caller does not wait for did not fail.
        Self { all: (served.requests - served.cancelled).max(0.0), failed: served.failures }
    }
}

/// The detector of one edge or service.
#[derive(Debug, Default)]
pub(crate) struct FailureWatch {
    envelope: Envelope,
    /// All that was learned, the older the less: one minute of few requests says little.
    learned: Ended,
    minute: Ended,
    minute_seconds: u64,
    evidence: Evidence,
    onset: Onset,
    recent: VecDeque<Ended>,
    doubtful_seconds: u64,
    surge: Option<Surge>,
}

impl Failures {
    /// Judges what has become complete. `latencies` know load, and what a storm explains.
    pub(super) fn judge_all(&mut self, round: Round<'_>, store: &Store, latencies: &Latencies) {
        let watched = self.watches.len().max(1);
        for (edge, track) in store.edges() {
            let is_explained = latencies.is_explained(&edge.source)
                || latencies.is_explained(&edge.destination)
                || round.refused.contains(edge);
            let front = track.front(round.now_second, round.fronts.get(&edge.source).copied());
            let subject = Subject::Edge(edge.clone());
            let is_excused = is_explained || latencies.is_loaded(&subject, front);
            self.watch(subject).judge(track, front, is_excused, watched);
        }
        for (service, track) in store.services() {
            let front = track.front(round.now_second, round.fronts.get(service).copied());
            let subject = Subject::Service(service.clone());
            let is_excused =
                latencies.is_explained(service) || latencies.is_loaded(&subject, front);
            self.watch(subject).judge(track, front, is_excused, watched);
        }
        for Watched { watch, .. } in self.watches.values_mut() {
            watch.fell_silent(round.now_second);
        }
    }

    fn watch(&mut self, subject: Subject) -> &mut Watched {
        let Self { watches, parked } = self;
        watches.entry(subject).or_insert_with_key(|subject| {
            let usual = parked.take(subject).unwrap_or_default();
            let envelope = Envelope::restored(&usual);
            let watch = FailureWatch { envelope, ..FailureWatch::default() };
            Watched { watch, ..Watched::default() }
        })
    }

    /// The failures of one edge or service.
    pub(crate) fn surge(&self, subject: &Subject) -> Option<Surge> {
        self.watches.get(subject)?.watch.surge
    }

    /// Whether it fails, or seems to: what begins at once everywhere is not found everywhere in the
    /// same second.
    pub(crate) fn seems_to_fail(&self, subject: &Subject) -> bool {
        self.watches.get(subject).is_some_and(|known| {
            known.watch.surge.is_some() || LN_SUSPICIOUS <= known.watch.evidence.ln()
        })
    }

    /// All that fail, in order.
    pub(crate) fn surges(&self) -> Vec<(&Subject, Surge)> {
        let all = self.watches.iter();
        let all = all.filter_map(|(subject, watched)| Some((subject, watched.watch.surge?)));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(subject, _)| *subject);
        all
    }

    /// What is usual, to be kept: the share of failures in each of the last minutes.
    pub(super) fn keep(&self, subject: &Subject) -> Vec<f32> {
        self.watches.get(subject).map_or_else(Vec::new, |known| known.watch.envelope.keep())
    }

    /// What an earlier process knew of `subject`.
    pub(super) fn restore(&mut self, subject: Subject, usual: Vec<f32>) {
        self.parked.put(subject, usual);
    }

    /// Watches `subject` no longer, which left the graph; what was usual is remembered.
    pub(super) fn forget(&mut self, subject: &Subject) {
        if let Some(known) = self.watches.remove(subject) {
            self.parked.put(subject.clone(), known.watch.envelope.keep());
        }
    }
}

impl Watched {
    /// Judges the seconds up to `front` that proxies count.
    fn judge<C: Counts>(&mut self, track: &Track<C>, front: u64, is_excused: bool, watched: usize)
    where
        for<'a> Ended: From<&'a C>,
    {
        for second in unjudged(&mut self.judged_to, front) {
            if track.is_covered(second) {
                let ended = track.at(second).map_or_else(Ended::default, Ended::from);
                self.watch.judge(second, ended, is_excused, watched);
            }
        }
    }
}

impl FailureWatch {
    /// What is found, if anything.
    #[cfg(test)]
    pub(crate) const fn surge(&self) -> Option<Surge> {
        self.surge
    }

    /// Takes the next second, where `watched` are watched. `is_excused`: something else explains it.
    pub(crate) fn judge(&mut self, second: u64, ended: Ended, is_excused: bool, watched: usize) {
        if HELD_SECONDS as usize <= self.recent.len() {
            self.recent.pop_front();
        }
        self.recent.push_back(ended);
        if is_excused {
            // It is somebody else's finding, also what of it was found here.
            self.calm();
            return;
        }
        let usual = self.usual();
        let p0 = share_usual(usual);
        self.evidence.step(ended.all, ended.failed, p0, &BET);
        let ln_alarm = ln_alarm(watched);
        let confidence = sureness(self.evidence.ln(), ln_alarm);
        if let Some(surge) = &mut self.surge {
            surge.confidence = surge.confidence.max(confidence);
            if 0.0 < ended.all {
                surge.last_heard = second;
            }
            let found = surge.found;
            if found + FOUND_SECONDS_MAX < second {
                *self = Self::default();
            } else if found + WELL_SECONDS as u64 <= second && self.is_well(p0) {
                self.calm();
            }
            return;
        }
        let ln_ratio = BET.ln_ratio(ended.all, ended.failed, p0, BET.multiples[0]);
        self.onset.step(second, ln_ratio);
        let onset = self.onset.since();
        let least = if usual.is_some() { HELD_SECONDS } else { UNKNOWN_SECONDS };
        let has_lasted = onset + least <= second + 1;
        if ln_alarm <= self.evidence.ln() && has_lasted && self.is_held(share_min(usual)) {
            let surge = Surge { onset, found: second, usual, confidence, last_heard: second };
            self.surge = Some(surge);
            self.discard();
            return;
        }
        self.learn(ended);
    }

    fn learn(&mut self, ended: Ended) {
        let is_suspicious = LN_SUSPICIOUS <= self.evidence.ln();
        self.doubtful_seconds = if is_suspicious { self.doubtful_seconds + 1 } else { 0 };
        if is_suspicious && self.doubtful_seconds <= DOUBT_SECONDS_MAX {
            self.discard();
            return;
        }
        if is_suspicious {
            self.forget();
        }
        self.minute = sum(&[self.minute, ended]);
        self.minute_seconds += 1;
        if BLOCK_SECONDS <= self.minute_seconds {
            let Ended { all, failed } = self.minute;
            self.envelope.add_block(failed, all);
            let kept = kept_after(BLOCK_SECONDS);
            let Ended { all: before, failed: failed_before } = self.learned;
            self.learned =
                Ended { all: before * kept + all, failed: failed_before * kept + failed };
            self.discard();
        }
    }

    /// Forgets the minute that has begun: something was wrong in it.
    const fn discard(&mut self) {
        self.minute = Ended { all: 0.0, failed: 0.0 };
        self.minute_seconds = 0;
    }

    /// The share that is usual is no higher than this; `None` before the first minute.
    fn usual(&self) -> Option<f64> {
        let Ended { all, failed } = self.learned;
        let upper = if 0.0 < all { share_bounds(failed, all, SURE_Z).1 } else { 0.0 };
        self.envelope.upper().map(|envelope| envelope.max(upper))
    }

    /// Whether at least the share `least` failed all the while.
    fn is_held(&self, least: f64) -> bool {
        let newest: Vec<Ended> = self.recent.iter().copied().collect();
        let mut parts = newest.chunks(PART_SECONDS).map(sum);
        let whole = sum(&newest);
        newest.len() == HELD_SECONDS as usize
            && FAILED_MIN <= whole.failed
            && least <= share_bounds(whole.failed, whole.all, SURE_Z).0
            && parts.all(|part| 0.0 < part.all && least * part.all <= part.failed)
    }

    /// Whether no more than the share `usual` failed in the newest seconds.
    fn is_well(&self, usual: f64) -> bool {
        let newest: Vec<Ended> = self.recent.iter().rev().take(WELL_SECONDS).copied().collect();
        let now = sum(&newest);
        0.0 < now.all && now.failed <= usual * now.all
    }

    /// Nothing was heard of it for long: then it does not go on.
    fn fell_silent(&mut self, now_second: u64) {
        if self.surge.is_some_and(|surge| surge.last_heard + SILENT_SECONDS < now_second) {
            self.calm();
        }
    }

    fn calm(&mut self) {
        self.surge = None;
        self.forget();
        self.discard();
    }

    fn forget(&mut self) {
        self.evidence = Evidence::default();
        self.onset.forget();
        self.doubtful_seconds = 0;
    }
}

/// What is held against what fails now, where this share is usual.
fn share_usual(usual: Option<f64>) -> f64 {
    usual.map_or(SHARE_UNKNOWN, |usual| usual.clamp(SHARE_USUAL, 0.5))
}

/// From this share on it is worth a word.
fn share_min(usual: Option<f64>) -> f64 {
    let usual = usual.unwrap_or(SHARE_UNKNOWN);
    // Where most fails anyhow, half of what is left must fail, too.
    (TIMES_MIN * usual).min(f64::midpoint(1.0, usual)).max(SHARE_MIN)
}

fn sum(seconds: &[Ended]) -> Ended {
    seconds.iter().fold(Ended::default(), |sum, one| Ended {
        all: sum.all + one.all,
        failed: sum.failed + one.failed,
    })
}

//! A canary against the stable subset: live, on the same edge and route, at the same time.
//!
//! ```text
//!           evidence, effect
//!   equal ────────────────────▶ worse
//!     ▲                           │ evidence that it is as good as the stable,
//!     └───────────────────────────┘ or nothing goes there any more
//! ```
//!
//! Three questions are asked of each canary ([`contest`]): does more of it fail, is more of it slower
//! than the stable's p99, and than the stable's median? What is sure must be worth a word, too
//! ([`gate`]). The *stable* is the subset that was there first; of those that a collector found there
//! the one with most requests: a canary begins small. If it is the stable that is worse, that is a
//! release that mends something, and no finding.

mod contest;
mod gate;

use super::Round;
use super::sequential::ln_alarm;
use crate::store::{Latent as _, Split, Store, Tally, Track};
use contest::{Contest, Trials};
use gate::{Recent, is_slower};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A second of failures counts for so much at most: it takes four of them.
const LN_FAILED_MAX: f64 = 4.0;
/// A second of slow answers counts for less: stalls are common, and are told from a slow release by
/// going on.
const LN_SLOW_MAX: f64 = 2.0;
/// A quantile, and how many times as slow is worth a word: as for a regression over time.
const TAIL: (f64, f64) = (0.99, 1.1);
const MIDDLE: (f64, f64) = (0.5, 1.3);
/// A limit for slow answers is made of so many of the stable's, as its quantile needs them.
const TAIL_SAMPLES_MIN: u64 = 299;
const MIDDLE_SAMPLES_MIN: u64 = 29;
/// The limit follows the stable in steps of so many seconds.
const LIMIT_SECONDS: u64 = 10;
/// Which subset is stable is decided once so many seconds and requests are known.
const DECIDE_SECONDS: u64 = 10;
const DECIDE_REQUESTS: f64 = 20.0;
/// Subsets that came within so many seconds of each other came together.
const TOGETHER_SECONDS: u64 = 10;
/// Nothing went to a canary for so long: it was taken back.
const SILENT_SECONDS: u64 = 10;
/// Seconds that are looked back at, at most: what the store keeps.
const BACK_SECONDS_MAX: u64 = 60;

/// All splits with several subsets.
#[derive(Debug, Default)]
pub(crate) struct Canaries(BTreeMap<Split, Watch>);

/// The subsets of one split.
#[derive(Debug, Default)]
struct Watch {
    judged_to: u64,
    /// Since when each is there.
    since: BTreeMap<Arc<str>, u64>,
    stable: Option<Arc<str>>,
    pairs: BTreeMap<Arc<str>, Pair>,
}

/// A canary that is worse than the stable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Worse {
    /// The second in which it began.
    pub(crate) onset: u64,
    /// Whether more of it fails.
    pub(crate) fails: bool,
    /// Whether its p99 is higher.
    pub(crate) by_tail: bool,
    /// Whether its median is higher.
    pub(crate) by_middle: bool,
    /// How many times as much evidence as an alarm needs, in logarithms.
    pub(crate) ln_ratio: f64,
    /// Whether nothing goes there any more.
    pub(crate) is_silent: bool,
}

/// A canary that is worse, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding<'a> {
    /// The traffic that is split.
    pub(crate) split: &'a Split,
    /// Which subset.
    pub(crate) canary: &'a Arc<str>,
    /// Beside which.
    pub(crate) stable: &'a Arc<str>,
    /// How.
    pub(crate) worse: Worse,
}

impl Canaries {
    /// Judges what has become complete, once a second.
    pub(crate) fn judge_all(&mut self, round: Round<'_>, store: &Store) {
        self.0.retain(|split, _| store.subsets().get(split).is_some());
        let splits = self.0.len().max(1);
        for (split, subsets) in store.subsets().iter() {
            let front = if let Some(edge) = split.edge() {
                let source = round.fronts.get(&edge.source).copied();
                store.edge(&edge).map(|track| track.front(round.now_second, source))
            } else {
                subsets.values().map(|track| track.front(round.now_second, None)).min()
            };
            let Some(front) = front else { continue };
            if 1 < subsets.len() || self.0.contains_key(split) {
                let watch = self.0.entry(split.clone()).or_default();
                watch.judge(subsets, front, splits);
            }
        }
    }

    /// Canaries that are worse, in order.
    pub(crate) fn findings(&self) -> impl Iterator<Item = Finding<'_>> {
        self.0.iter().flat_map(|(split, watch)| {
            let pairs = watch.pairs.iter().filter_map(|(canary, pair)| Some((canary, pair.worse?)));
            let stable = watch.stable.as_ref();
            pairs.filter_map(move |(canary, worse)| {
                Some(Finding { split, canary, stable: stable?, worse })
            })
        })
    }

    /// How a canary is worse, if it is.
    pub(crate) fn get(&self, split: &Split, canary: &str) -> Option<Worse> {
        self.0.get(split)?.pairs.get(canary)?.worse
    }
}

impl Watch {
    fn judge(&mut self, subsets: &BTreeMap<Arc<str>, Track<Tally>>, front: u64, splits: usize) {
        let from = match self.judged_to {
            0 => front.saturating_sub(DECIDE_SECONDS),
            judged_to => (judged_to + 1).max(front.saturating_sub(BACK_SECONDS_MAX)),
        };
        self.since.retain(|subset, _| subsets.contains_key(subset));
        for second in from..=front {
            self.judged_to = second;
            for (subset, track) in subsets {
                if track.at(second).is_some_and(|tally| 0.0 < tally.ended()) {
                    self.since.entry(Arc::clone(subset)).or_insert(second);
                }
            }
            self.decide(subsets, second);
            let Some(stable) = self.stable.clone() else { continue };
            let Some(stable_track) = subsets.get(&stable) else { continue };
            for (canary, track) in subsets.iter().filter(|(subset, _)| **subset != stable) {
                let pair = self.pairs.entry(Arc::clone(canary)).or_default();
                pair.judge(second, track, stable_track, splits);
            }
        }
        // A canary of which nothing is left is over, too.
        self.pairs.retain(|canary, _| subsets.contains_key(canary));
    }

    /// Decides which subset is the stable one; that stays as long as it has requests.
    fn decide(&mut self, subsets: &BTreeMap<Arc<str>, Track<Tally>>, second: u64) {
        if self.stable.as_ref().is_some_and(|stable| self.since.contains_key(stable)) {
            return;
        }
        self.stable = None;
        self.pairs.clear();
        let Some(first) = self.since.values().min().copied() else { return };
        let requests = |subset: &Arc<str>| {
            subsets.get(subset).map_or(0.0, |track| track.sum(second, 60).ended())
        };
        let all: f64 = self.since.keys().map(requests).sum();
        if second < first + DECIDE_SECONDS || all < DECIDE_REQUESTS {
            return;
        }
        let old = self.since.iter().filter(|(_, since)| **since <= first + TOGETHER_SECONDS);
        let most = old.max_by(|a, b| requests(a.0).total_cmp(&requests(b.0)).then(b.0.cmp(a.0)));
        self.stable = most.map(|(subset, _)| Arc::clone(subset));
    }
}

/// A canary beside the stable.
#[derive(Clone, Debug)]
struct Pair {
    fails: Contest,
    tail: Contest,
    middle: Contest,
    recent: Recent,
    /// The stable's p99 and median, µs, as they were before this second.
    limits_us: (Option<u64>, Option<u64>),
    worse: Option<Worse>,
    /// Bad shares of the canary when it was found: failed, beyond the p99, beyond the median.
    found: [f64; 3],
    silent_seconds: u64,
}

impl Default for Pair {
    fn default() -> Self {
        Self {
            fails: Contest::new(LN_FAILED_MAX),
            tail: Contest::new(LN_SLOW_MAX),
            middle: Contest::new(LN_SLOW_MAX),
            recent: Recent::default(),
            limits_us: (None, None),
            worse: None,
            found: [0.0; 3],
            silent_seconds: 0,
        }
    }
}

impl Pair {
    /// Takes the next second, where so many `splits` are watched.
    fn judge(&mut self, second: u64, canary: &Track<Tally>, stable: &Track<Tally>, splits: usize) {
        if second.is_multiple_of(LIMIT_SECONDS) || self.limits_us.1.is_none() {
            let before = stable.latency_of(second.saturating_sub(1), 60);
            let limit = |q, samples_min| {
                before.quantile_ms(q, samples_min).map(|ms| (ms * 1_000.0).round() as u64)
            };
            self.limits_us = (limit(TAIL.0, TAIL_SAMPLES_MIN), limit(MIDDLE.0, MIDDLE_SAMPLES_MIN));
        }
        let failed = [canary, stable].map(|track| failed(track, second));
        let tail = [canary, stable].map(|track| slow(track, second, self.limits_us.0));
        let middle = [canary, stable].map(|track| slow(track, second, self.limits_us.1));
        self.recent.push(second, failed[0], failed[1]);
        let is_silent = failed[0].all <= 0.0;
        self.silent_seconds = if is_silent { self.silent_seconds + 1 } else { 0 };
        if self.worse.is_some() {
            self.follow([failed, tail, middle]);
            return;
        }
        self.fails.step(failed[0], failed[1]);
        self.tail.step(tail[0], tail[1]);
        self.middle.step(middle[0], middle[1]);
        // Three questions of each.
        let ln_alarm = ln_alarm(3 * splits);
        let sure = |contest: &Contest| ln_alarm <= contest.ln();
        let by_failed = self.recent.worse().filter(|_| sure(&self.fails));
        let by_tail = sure(&self.tail) && is_slower(canary, stable, second, TAIL);
        let by_middle = sure(&self.middle) && is_slower(canary, stable, second, MIDDLE);
        if by_failed.is_none() && !by_tail && !by_middle {
            return;
        }
        let contests = [&self.fails, &self.tail, &self.middle];
        let most = contests.into_iter().map(Contest::ln).fold(0.0, f64::max);
        let (onset, share) = by_failed.unwrap_or((second, 0.0));
        self.found = [share, self.tail.canary_share(), self.middle.canary_share()];
        self.worse = Some(Worse {
            onset,
            fails: by_failed.is_some(),
            by_tail,
            by_middle,
            ln_ratio: most / ln_alarm,
            is_silent: false,
        });
    }

    fn follow(&mut self, [failed, tail, middle]: [[Trials; 2]; 3]) {
        let Some(worse) = &mut self.worse else { return };
        worse.is_silent = SILENT_SECONDS <= self.silent_seconds;
        self.fails.follow(self.found[0], failed[0], failed[1]);
        self.tail.follow(self.found[1], tail[0], tail[1]);
        self.middle.follow(self.found[2], middle[0], middle[1]);
        let is_over = (!worse.fails || self.fails.is_over())
            && (!worse.by_tail || self.tail.is_over())
            && (!worse.by_middle || self.middle.is_over());
        if is_over || 2 * SILENT_SECONDS <= self.silent_seconds {
            self.worse = None;
            self.fails.forget();
            self.tail.forget();
            self.middle.forget();
        }
    }
}

/// Requests that were really seen, and those that failed.
fn failed(track: &Track<Tally>, second: u64) -> Trials {
    let Some(tally) = track.at(second) else { return Trials::default() };
    let seen = seen_share(tally);
    Trials { all: seen * tally.ended(), bad: seen * tally.failed() }
}

/// Requests that were really seen, and those that took longer than `limit_us`.
fn slow(track: &Track<Tally>, second: u64, limit_us: Option<u64>) -> Trials {
    let (Some(limit_us), Some(latency)) = (limit_us, track.latency_at(second)) else {
        return Trials::default();
    };
    let seen = track.at(second).map_or(1.0, seen_share);
    Trials { all: seen * latency.count() as f64, bad: seen * latency.count_above(limit_us) as f64 }
}

/// Of weighted spans few were seen; what was not is no evidence.
fn seen_share(tally: &Tally) -> f64 {
    if 0.0 < tally.attempts() { (tally.seen / tally.attempts()).clamp(0.0, 1.0) } else { 1.0 }
}

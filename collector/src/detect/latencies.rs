//! The latencies of all edges and services, each watched for a regression; where the traffic of an
//! edge has several routes or subsets, each of them too: what is slow on one that few requests take
//! is lost among the others, and more requests on a slow one make the edge slow without any being
//! slower.
//!
//! A second is judged once, when it is complete; what comes later updates figures but never fires.

use super::kept::{ParkedSeries, Subject};
use super::p99::{HourLevel, Series, SeriesBaseline, Slow, UsualLatency, Window};
use super::{Round, unjudged};
use crate::store::{Counts, MINUTE, Part, SparseLatency, Store, Tally, Track};
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeSet, HashMap, HashSet};

/// What a storm explains, it explains for so many seconds after its end: queues drain.
const EXPLAINED_SECONDS: u64 = 30;
/// Where proxies begin or cease to report, latencies are measured elsewhere: for so many seconds
/// they are not compared, then what is usual is learned anew.
const OTHER_SECONDS_MAX: u64 = 300;
/// What is usual is kept for the next process this often, and where it is known for twice as long as
/// when it was kept last: it changes over hours.
const KEPT_INTERVAL_SECONDS: u64 = 1_800;

/// All series.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    series: HashMap<Subject, Watched>,
    /// What was usual of those that are not seen now.
    parked: ParkedSeries,
    /// Of each edge, its routes and subsets that are watched.
    parts: HashMap<Edge, BTreeSet<Subject>>,
    /// Services whose latencies a storm explains, and up to which second.
    explained: HashMap<ServiceId, u64>,
}

#[derive(Debug, Default)]
struct Watched {
    series: Series,
    since: u64,
    judged_to: u64,
    is_covered: bool,
    other_seconds: u64,
    /// When it was kept last, and how many minutes it knew then.
    kept_at: u64,
    kept_minutes: u64,
}

impl Latencies {
    /// What an earlier process knew of `subject`.
    pub(super) fn restore(&mut self, subject: Subject, kept: SeriesBaseline) {
        self.parked.put(subject, kept);
    }

    /// The next that are to be kept, those first that wait longest; of one, what changed since it
    /// was kept last. At the end of a process, all.
    pub(super) fn due(&mut self, now_second: u64, is_end: bool) -> Vec<(Subject, SeriesBaseline)> {
        let is_due = |watched: &Watched| {
            let minutes = watched.series.usual().minutes();
            let is_time = watched.kept_at + KEPT_INTERVAL_SECONDS <= now_second;
            let is_young = 2 * watched.kept_minutes <= minutes;
            (is_end || is_time || is_young)
                && minutes != watched.kept_minutes
                && watched.series.usual().is_known()
        };
        let due = self.series.iter().filter(|(_, watched)| is_due(watched));
        let mut due: Vec<_> = due.map(|(subject, w)| (w.kept_at, subject.clone())).collect();
        due.sort();
        if !is_end {
            // All within half the interval, however many they are.
            due.truncate(1 + 2 * self.series.len() / KEPT_INTERVAL_SECONDS as usize);
        }
        let keep = |(_, subject): (u64, Subject)| {
            let watched = self.series.get_mut(&subject)?;
            watched.kept_at = now_second;
            watched.kept_minutes = watched.series.usual().minutes();
            let kept = watched.keep()?;
            Some((subject, kept))
        };
        due.into_iter().filter_map(keep).collect()
    }

    /// Judges what has become complete. `explained` are services within reach of a storm.
    pub(crate) fn judge_all(
        &mut self,
        round: Round<'_>,
        store: &Store,
        explained: HashSet<ServiceId>,
    ) {
        let until = round.now_second + EXPLAINED_SECONDS;
        self.explained.extend(explained.into_iter().map(|service| (service, until)));
        self.explained.retain(|_, until| round.now_second <= *until);
        let watched = self.series.len().max(1);
        self.forget_parts(store);
        for (edge, track) in store.edges() {
            self.judge_calls(round, edge.clone().into(), edge, (track, watched));
        }
        for (part, track) in store.subsets().parts() {
            let edge = part.edge.clone();
            self.judge_calls(round, Subject::Part(part), &edge, (track, watched));
        }
        for (service, track) in store.services() {
            let is_explained = self.is_explained(service);
            let front = track.front(round.now_second, round.fronts.get(service).copied());
            let seen = |second| track.at(second).map_or((0.0, 0.0), |t| (t.seen, t.requests));
            let watch = self.watched(service.clone().into(), round);
            watch.judge(track, front, seen, is_explained, watched);
        }
    }

    /// Judges the calls on `edge`, or a part of them.
    fn judge_calls(
        &mut self,
        round: Round<'_>,
        subject: Subject,
        edge: &Edge,
        (track, watched): (&Track<Tally>, usize),
    ) {
        let is_explained = self.is_explained(&edge.source)
            || self.is_explained(&edge.destination)
            || round.refused.contains(edge);
        let front = track.front(round.now_second, round.fronts.get(&edge.source).copied());
        let seen = |second| track.at(second).map_or((0.0, 0.0), |t| (t.seen, t.attempts()));
        let watch = self.watched(subject, round);
        watch.judge(track, front, seen, is_explained, watched);
    }

    /// The series of `subject`; a new one begins with what was usual of it before.
    fn watched(&mut self, subject: Subject, round: Round<'_>) -> &mut Watched {
        let Self { series, parked, parts, .. } = self;
        series.entry(subject).or_insert_with_key(|subject| {
            if let Subject::Part(part) = subject {
                parts.entry(part.edge.clone()).or_default().insert(subject.clone());
            }
            let kept = parked.take(subject);
            let new = || Watched { since: round.now_second, ..Watched::default() };
            kept.map_or_else(new, |kept| Watched::resumed(&kept, round.now_second))
        })
    }

    /// Forgets the routes and subsets that are not heard of any more, or have been the only one of
    /// their edge for long.
    fn forget_parts(&mut self, store: &Store) {
        let is_gone = |subject: &&Subject| match subject {
            Subject::Part(part) => !store.subsets().is_apart(part),
            Subject::Service(_) | Subject::Edge(_) => false,
        };
        let watched = self.parts.values().flatten();
        let gone: Vec<Subject> = watched.filter(is_gone).cloned().collect();
        for subject in gone {
            self.forget(subject);
        }
    }

    /// What is watched of the calls on `edge`, each alike in itself: its routes and subsets where it
    /// has several.
    pub(crate) fn alike(&self, edge: &Edge) -> impl Iterator<Item = &Subject> + use<'_> {
        let parts = self.parts.get(edge);
        let whole = match parts {
            Some(_) => None,
            None => self.series.get_key_value(&Subject::Edge(edge.clone())),
        };
        parts.into_iter().flatten().chain(whole.map(|(subject, _)| subject))
    }

    /// The regression of one series.
    pub(crate) fn slow(&self, subject: &Subject) -> Option<Slow> {
        self.series.get(subject)?.series.slow()
    }

    /// Since which second one series is watched, by this process or the one before.
    pub(crate) fn since(&self, subject: &Subject) -> Option<u64> {
        self.series.get(subject).map(|watched| watched.since)
    }

    /// What is usual of one series.
    pub(crate) fn usual(&self, subject: &Subject) -> Option<&UsualLatency> {
        self.series.get(subject).map(|watched| watched.series.usual())
    }

    /// What is usual of one series at this hour, where that is known.
    pub(crate) fn usual_now(&self, subject: &Subject) -> Option<HourLevel> {
        self.series.get(subject)?.series.usual_now()
    }

    /// All that are slow, in order.
    pub(crate) fn all_slow(&self) -> Vec<(&Subject, Slow)> {
        let slow = self.series.iter();
        let slow = slow.filter_map(|(subject, watched)| Some((subject, watched.series.slow()?)));
        let mut slow: Vec<_> = slow.collect();
        slow.sort_by_key(|(subject, _)| *subject);
        slow
    }

    /// Whether more than twice the usual load came lately, up to `second`.
    pub(crate) fn is_loaded(&self, subject: &Subject, second: u64) -> bool {
        self.series.get(subject).is_some_and(|watched| watched.series.was_loaded(second))
    }

    /// Whether a storm explains how slow a service is.
    pub(crate) fn is_explained(&self, service: &ServiceId) -> bool {
        self.explained.contains_key(service)
    }

    /// How many series are watched.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Watches `subject` no longer, which left the graph; what was usual is remembered until it
    /// comes back.
    pub(crate) fn forget(&mut self, subject: Subject) {
        if let Subject::Part(Part { edge, .. }) = &subject
            && let Some(parts) = self.parts.get_mut(edge)
        {
            parts.remove(&subject);
            if parts.is_empty() {
                self.parts.remove(edge);
            }
        }
        if let Some(kept) = self.series.remove(&subject).and_then(|watched| watched.keep()) {
            self.parked.put(subject, kept);
        }
    }
}

impl Watched {
    fn resumed(kept: &SeriesBaseline, now_second: u64) -> Self {
        let series = Series::resumed(kept, now_second);
        let kept_minutes = series.usual().minutes();
        let since = now_second.saturating_sub(MINUTE * kept_minutes);
        Self { series, since, is_covered: kept.is_measured, kept_minutes, ..Self::default() }
    }

    fn keep(&self) -> Option<SeriesBaseline> {
        self.series.keep(self.judged_to, self.is_covered)
    }

    /// Judges the seconds up to `front`. `seen`: of a second, what was seen and what was counted.
    fn judge<C: Counts>(
        &mut self,
        track: &Track<C>,
        front: u64,
        seen: impl Fn(u64) -> (f64, f64),
        is_explained: bool,
        watched: usize,
    ) {
        for second in unjudged(&mut self.judged_to, front) {
            let latency = track.latency_at(second).filter(|latency| !is_empty(latency));
            if latency.is_some() && self.is_elsewhere(track.is_covered(second)) {
                continue;
            }
            let (seen, requests) = seen(second);
            let seen_share = if 0.0 < requests { (seen / requests).clamp(0.0, 1.0) } else { 1.0 };
            let window = Window { second, latency, seen_share, requests, is_explained };
            self.series.judge(window, watched);
        }
    }

    /// Whether latencies are measured elsewhere than those that are usual.
    fn is_elsewhere(&mut self, is_covered: bool) -> bool {
        if self.series.usual().rate().is_none() || is_covered == self.is_covered {
            self.is_covered = is_covered;
            self.other_seconds = 0;
            return false;
        }
        self.other_seconds += 1;
        if OTHER_SECONDS_MAX < self.other_seconds {
            let Self { judged_to, since, .. } = *self;
            *self = Self { since, judged_to, is_covered, ..Self::default() };
            return false;
        }
        true
    }
}

fn is_empty(latency: &SparseLatency) -> bool {
    latency.buckets().is_empty()
}

//! What the engine wants kept, and what it does when that fails.
//!
//! Records are numbered and leave as [`Output::Store`]; the shell answers with numbers that are on
//! disk, or are not. While nothing can be written, the collector goes on: an operator's command is
//! tried each time and its answer says that it is not on disk; what only tells what happened is
//! counted as dropped; and every two seconds one record is tried. Once that succeeds, all that
//! matters for the next process is written anew.

use super::{Engine, Limits, Output};
use crate::record::{CommandRecord, Record, Restored};
use fusebox_proto::view::{History, TripResult};
use fusebox_proto::{Edge, Now};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// While nothing can be written it is tried this often.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What leads to the history, and how it goes.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Whether there is a history.
    is_on: bool,
    number_last: u64,
    /// The highest revision that the history has.
    revision: u64,
    failing: Option<Failing>,
    dropped: u64,
}

/// Nothing can be written.
#[derive(Debug)]
struct Failing {
    reason: Arc<str>,
    retry_at: Instant,
    /// The record with which it is tried, while it is under way.
    probe: Option<u64>,
    dropped_before: u64,
}

impl Keeping {
    /// Records that are not on disk, and never will be, since the start.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Where what should outlive the process is kept.
    pub(crate) const fn history(&self) -> History {
        match (self.is_on, &self.failing) {
            (false, _) => History::Memory,
            (true, None) => History::Disk,
            (true, Some(_)) => History::Failing,
        }
    }

    /// Whether nothing can be written now.
    pub(crate) const fn is_failing(&self) -> bool {
        self.failing.is_some()
    }
}

impl Engine {
    /// An engine with a history: it begins with what an earlier process left, and what it learns
    /// leaves as [`Output::Store`].
    pub fn restored(now: Now, limits: Limits, restored: &Restored) -> Self {
        let mut engine = Self::new(now, limits);
        engine.keeping = Keeping { is_on: true, revision: restored.revision, ..Keeping::default() };
        engine.journal.restore(&restored.events);
        engine.desired.restore(now, restored);
        engine.incidents.restore(now, &restored.incidents);
        engine.detectors.restore(&restored.baselines);
        engine.restore_guard(now);
        let unread = engine.policies.restore(&restored.policies);
        for note in restored.notes.iter().chain(&unread) {
            engine.journal.note(now.unix_ms, "collector", note);
        }
        let leases = engine.desired.iter().filter(|(_, wish)| wish.is_lease(now)).count();
        let open = engine.incidents.open_count();
        let text = format!(
            "the collector started; leases in force from before: {leases}, open incidents: {open}"
        );
        engine.journal.note(now.unix_ms, "collector", &text);
        engine.is_renamed = true;
        engine.rename();
        engine.collect(now);
        engine
    }

    fn store(&mut self, now: Now, record: Record) {
        self.keeping.number_last += 1;
        let (number, at_unix_ms) = (self.keeping.number_last, now.unix_ms);
        self.outputs.push_back(Output::Store { number, at_unix_ms, record });
    }

    /// Has what changed kept, unless there is no history, or nothing can be written.
    pub(super) fn store_changes(&mut self, now: Now) {
        let events = self.journal.take_fresh();
        let incidents = self.incidents.take_changed();
        if !self.keeping.is_on {
            self.desired.take_changed();
            self.policies.take_changed();
        } else if self.keeping.is_failing() {
            self.keeping.dropped += events.len() as u64;
        } else {
            self.store_wishes(now);
            self.store_policies(now);
            for event in events {
                self.store(now, Record::Event(event));
            }
            for incident in incidents {
                self.store(now, Record::Incident(Box::new(incident)));
            }
        }
    }

    /// The process ends: has kept what it knows and the next one cannot learn at once.
    pub(crate) fn end(&mut self, now: Now) {
        self.store_baselines(now, true);
    }

    /// Has kept what is usual: some of it at a time, at the end of the process all.
    pub(super) fn store_baselines(&mut self, now: Now, is_end: bool) {
        if !self.keeping.is_on || self.keeping.is_failing() {
            return;
        }
        for baseline in self.detectors.take_baselines(now.unix_ms / 1_000, is_end) {
            self.store(now, Record::Baseline(Box::new(baseline)));
        }
    }

    fn store_wishes(&mut self, now: Now) {
        for record in self.desired.take_changed() {
            self.store(now, record);
        }
        let revision = self.desired.revision();
        if self.keeping.revision < revision {
            self.keeping.revision = revision;
            self.store(now, Record::Revision(revision));
        }
    }

    fn store_policies(&mut self, now: Now) {
        for record in self.policies.take_changed() {
            self.store(now, record);
        }
    }

    /// Has the version that a new request made kept; it is not answered before it is.
    pub(super) fn store_policy_request(&mut self, now: Now, request_id: &str) {
        if !self.keeping.is_on {
            return;
        }
        let first = self.keeping.number_last + 1;
        self.store_policies(now);
        if first <= self.keeping.number_last {
            self.policies.keep(now, request_id, first..=self.keeping.number_last);
        }
    }

    /// Has the commands of a new request kept; it is not answered before they are.
    pub(super) fn store_request(&mut self, now: Now, request_id: &str) {
        if !self.keeping.is_on {
            return;
        }
        let first = self.keeping.number_last + 1;
        self.store_wishes(now);
        let edges = self.desired.request(request_id).unwrap_or_default().to_vec();
        for edge in edges {
            let Some(wish) = self.desired.get(&edge) else { continue };
            let command = wish.command.clone();
            let record = CommandRecord::Asked { at_unix_ms: now.unix_ms, edge, command };
            self.store(now, Record::Command(record));
        }
        if first <= self.keeping.number_last {
            self.desired.keep(now, request_id, first..=self.keeping.number_last);
        }
    }

    /// Has kept what came of a request.
    pub(super) fn store_results(&mut self, now: Now, results: &[(Edge, TripResult)]) {
        if !self.keeping.is_on {
            return;
        }
        for (edge, result) in results {
            let (at_unix_ms, edge, result) = (now.unix_ms, edge.clone(), result.clone());
            self.store(now, Record::Command(CommandRecord::Answered { at_unix_ms, edge, result }));
        }
    }

    /// Records are on disk, or are not.
    pub(super) fn take_stored(
        &mut self,
        now: Now,
        numbers: &RangeInclusive<u64>,
        result: &Result<(), Arc<str>>,
    ) {
        self.desired.stored(numbers, result);
        self.policies.stored(numbers, result);
        match result {
            Ok(()) => self.keeps_again(now),
            Err(reason) => self.keeps_nothing(now, numbers, reason),
        }
    }

    fn keeps_again(&mut self, now: Now) {
        let Some(failing) = self.keeping.failing.take() else { return };
        let missing = self.keeping.dropped - failing.dropped_before;
        let text = format!("the history is written again; {missing} records are missing");
        self.journal.note(now.unix_ms, "collector", &text);
        self.desired.change_all();
        self.policies.change_all();
        self.incidents.change_all(now);
    }

    fn keeps_nothing(&mut self, now: Now, numbers: &RangeInclusive<u64>, reason: &Arc<str>) {
        let before = self.keeping.failing.take();
        let is_news = before.as_ref().is_none_or(|failing| failing.reason != *reason);
        let dropped_before = before.as_ref().map_or(self.keeping.dropped, |f| f.dropped_before);
        let probe = before.and_then(|failing| failing.probe);
        let probes = probe.map_or(0, |probe| u64::from(numbers.contains(&probe)));
        self.keeping.dropped += numbers.end() + 1 - numbers.start() - probes;
        if is_news {
            let text = format!("the history cannot be written: {reason}");
            self.journal.note(now.unix_ms, "collector", &text);
        }
        self.keeping.failing = Some(Failing {
            reason: Arc::clone(reason),
            retry_at: now.instant + RETRY_INTERVAL,
            dropped_before,
            probe: probe.filter(|probe| !numbers.contains(probe)),
        });
    }

    /// Sees whether something can be written again, if it is time to.
    pub(super) fn retry_keeping(&mut self, now: Now) {
        let probe = self.keeping.number_last + 1;
        let Some(failing) = &mut self.keeping.failing else { return };
        if now.instant < failing.retry_at || failing.probe.is_some() {
            return;
        }
        failing.probe = Some(probe);
        self.store(now, Record::Revision(self.desired.revision()));
    }
}

//! When each name is looked up: when its last answer ends, or after a failure with patience. The core:
//! it is told the time.

use super::{Answer, Failure, Source};
use crate::backoff::full_jitter;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// However short an answer holds, its name is not looked up sooner; nor after a failure.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(1);
/// However long an answer holds, its name is looked up again: whoever moves a server has often not
/// thought of shortening the TTL before.
pub(super) const WAIT_MAX: Duration = Duration::from_mins(5);
/// A name server that is back has us within this time.
pub(super) const FAILED_WAIT_MAX: Duration = Duration::from_secs(30);
/// Names with the same TTL drift apart by up to a twentieth of it, and no more than this.
const JITTER_MAX: Duration = Duration::from_millis(500);

/// All names that are followed.
#[derive(Debug, Default)]
pub(crate) struct Schedule(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// It is being looked up.
    is_asked: bool,
    /// In a row.
    failures: u32,
    error: Option<Failure>,
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    ttl: Duration,
    source: Source,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As before.
    Same,
    /// It fails now, or in another way.
    Failing,
    /// It failed, and does no more.
    Recovered,
}

/// How a name stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// `NAME:PORT` or `srv:NAME`.
    pub(crate) name: String,
    /// The last good answer: how long ago, how long it holds, and whose.
    pub(crate) known: Option<(Duration, Duration, Source)>,
    /// Until it is looked up next.
    pub(crate) next: Duration,
    /// Why the last look-up failed.
    pub(crate) error: Option<Failure>,
}

impl Schedule {
    /// `names` are wanted from now on: new ones are looked up at once, those that are gone no more.
    pub(crate) fn follow(&mut self, now: Instant, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
        for name in names {
            self.0.entry(name.clone()).or_insert(Entry {
                due: now,
                is_asked: false,
                failures: 0,
                error: None,
                known: None,
            });
        }
    }

    /// Whether `name` is wanted.
    pub(crate) fn follows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// At most `room` names that are to be looked up now, those that are due longest first. Each
    /// counts as being looked up until it is [`Self::answered`].
    pub(crate) fn take_due(&mut self, now: Instant, room: usize) -> Vec<String> {
        let due = self.0.iter_mut().filter(|(_, entry)| !entry.is_asked && entry.due <= now);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, entry)| entry.due);
        due.truncate(room);
        let take = |(name, entry): (&String, &mut Entry)| {
            entry.is_asked = true;
            name.clone()
        };
        due.into_iter().map(take).collect()
    }

    /// What a look-up of `name` came to. `random` is evenly spread over all values: the shell's dice.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        name: &str,
        answer: Result<&Answer, Failure>,
        random: u64,
    ) -> Turn {
        let Some(entry) = self.0.get_mut(name) else { return Turn::Same };
        entry.is_asked = false;
        let before = entry.error.take();
        match answer {
            Ok(answer) => {
                let wait = answer.ttl.clamp(WAIT_MIN, WAIT_MAX);
                entry.due = now + wait + full_jitter((wait / 20).min(JITTER_MAX), wait, 0, random);
                entry.known = Some(Known { at: now, ttl: answer.ttl, source: answer.source });
                entry.failures = 0;
                if before.is_some() { Turn::Recovered } else { Turn::Same }
            }
            Err(failure) => {
                let more = FAILED_WAIT_MAX.saturating_sub(WAIT_MIN);
                let jitter = full_jitter(WAIT_MIN, more, entry.failures, random);
                entry.due = now + WAIT_MIN + jitter;
                entry.failures = entry.failures.saturating_add(1);
                let is_same = before.as_ref() == Some(&failure);
                entry.error = Some(failure);
                if is_same { Turn::Same } else { Turn::Failing }
            }
        }
    }

    /// When the next name is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter(|entry| !entry.is_asked).map(|entry| entry.due).min()
    }

    /// Whether each name was looked up once, well or not.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.values().all(|entry| entry.known.is_some() || entry.error.is_some())
    }

    /// How each name stands.
    pub(crate) fn statuses(&self, now: Instant) -> impl Iterator<Item = Status> {
        self.0.iter().map(move |(name, entry)| Status {
            name: name.clone(),
            known: entry
                .known
                .map(|known| (now.saturating_duration_since(known.at), known.ttl, known.source)),
            next: entry.due.saturating_duration_since(now),
            error: entry.error.clone(),
        })
    }
}

#[cfg(test)]
mod tests;

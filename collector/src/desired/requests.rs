//! Requests of operators: what each was about (edges, a version of the policy), and when it is
//! answered.
//!
//! A request waits for its proxies first, then for the disk: commands are on their way to the
//! proxies while the record of them is synced, so that as a rule the second wait is over before
//! the first. Each wait has its limit, and then the answer says what is missing.

use fusebox_proto::Now;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request is answered after so long, with the proxies that there are.
pub(crate) const ANSWER_AFTER: Duration = Duration::from_secs(1);
/// The disk has so long: less than consoles wait, and more than a busy disk takes.
const KEPT_WITHIN: Duration = Duration::from_secs(3);
/// So many requests are remembered by their id.
const REQUESTS_MAX: usize = 256;

/// All requests that are remembered, oldest first.
#[derive(Debug)]
pub(crate) struct Requests<S> {
    list: VecDeque<Request<S>>,
    finished: VecDeque<Finished>,
}

/// A request that is to be answered now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Which.
    pub(crate) request_id: String,
    /// Whether it was answered before.
    pub(crate) is_repeated: bool,
}

/// A request that is answered, or will be.
#[derive(Debug)]
struct Request<S> {
    id: String,
    subjects: Vec<S>,
    stage: Stage,
    kept: Kept,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Proxies { until: Instant },
    Disk,
    Answered,
}

/// Whether what was asked is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// It is, or need not be.
    Yes,
    /// These records are under way.
    Waits { numbers: RangeInclusive<u64>, until: Instant },
    /// It is not, for this reason.
    No(Arc<str>),
}

impl<S> Default for Requests<S> {
    fn default() -> Self {
        Self { list: VecDeque::new(), finished: VecDeque::new() }
    }
}

impl<S: PartialEq> Requests<S> {
    /// What a request that was made before was about.
    pub(crate) fn subjects(&self, id: &str) -> Option<&[S]> {
        self.find(id).map(|request| &request.subjects[..])
    }

    /// Why a request is not on disk; `None` where it is, or need not be.
    pub(crate) fn why_not_kept(&self, id: &str) -> Option<&str> {
        match &self.find(id)?.kept {
            Kept::No(reason) => Some(reason),
            Kept::Yes | Kept::Waits { .. } => None,
        }
    }

    /// Whether an answer that is still to come tells of this.
    pub(super) fn await_answer(&self, subject: &S) -> bool {
        let mut waiting = self.list.iter().filter(|request| request.stage != Stage::Answered);
        waiting.any(|request| request.subjects.contains(subject))
    }

    fn find(&self, id: &str) -> Option<&Request<S>> {
        self.list.iter().find(|request| request.id == id)
    }

    /// A request that was made before, and has been answered, is answered once more.
    pub(crate) fn repeat(&mut self, id: &str) {
        if self.find(id).is_some_and(|request| request.stage == Stage::Answered) {
            self.finished.push_back(Finished { request_id: id.to_owned(), is_repeated: true });
        }
    }

    /// A new request; its commands are on their way.
    pub(crate) fn add(&mut self, now: Now, id: &str, subjects: Vec<S>) {
        if REQUESTS_MAX <= self.list.len() {
            self.list.pop_front();
        }
        let stage = Stage::Proxies { until: now.instant + ANSWER_AFTER };
        self.list.push_back(Request { id: id.to_owned(), subjects, stage, kept: Kept::Yes });
    }

    /// A request is not answered before these records are on disk.
    pub(crate) fn keep(&mut self, now: Now, id: &str, numbers: RangeInclusive<u64>) {
        if let Some(request) = self.list.iter_mut().find(|request| request.id == id) {
            request.kept = Kept::Waits { numbers, until: now.instant + KEPT_WITHIN };
        }
    }

    /// Records are on disk, or are not: one that is missing is one too many.
    pub(crate) fn stored(&mut self, numbers: &RangeInclusive<u64>, result: &Result<(), Arc<str>>) {
        for request in &mut self.list {
            let Kept::Waits { numbers: awaited, .. } = &request.kept else { continue };
            match result {
                Ok(()) if numbers.contains(awaited.end()) => request.kept = Kept::Yes,
                Err(reason)
                    if numbers.start() <= awaited.end() && awaited.start() <= numbers.end() =>
                {
                    request.kept = Kept::No(Arc::clone(reason));
                }
                _ => (),
            }
        }
    }

    /// Ends waits that are over.
    pub(crate) fn finish(&mut self, now: Now, is_pending: impl Fn(&S) -> bool) {
        for request in &mut self.list {
            if let Stage::Proxies { until } = request.stage
                && (until <= now.instant || !request.subjects.iter().any(&is_pending))
            {
                request.stage = Stage::Disk;
            }
            if request.stage != Stage::Disk {
                continue;
            }
            if let Kept::Waits { until, .. } = request.kept {
                if now.instant < until {
                    continue;
                }
                let reason = format!("the disk has not answered for {} s", KEPT_WITHIN.as_secs());
                request.kept = Kept::No(reason.into());
            }
            request.stage = Stage::Answered;
            let request_id = request.id.clone();
            self.finished.push_back(Finished { request_id, is_repeated: false });
        }
    }

    /// When a wait ends by itself.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ends = |request: &Request<S>| match (request.stage, &request.kept) {
            (Stage::Proxies { until }, _) => Some(until),
            (Stage::Disk, Kept::Waits { until, .. }) => Some(*until),
            (Stage::Disk | Stage::Answered, _) => None,
        };
        self.list.iter().filter_map(ends).min()
    }

    /// The next request that is to be answered.
    pub(crate) fn poll_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }
}

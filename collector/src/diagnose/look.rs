//! One look at the last minutes: is there a new fault, and how are those doing that are known?
//!
//! A look is taken where the spans are, in no time, and can be run anywhere: it takes part of a
//! second on a busy mesh. A new fault is sought as in a capture. What is known is followed by
//! comparing the newest minute alone with what was before its onset, which a look need not find
//! again: the later half of the window, in which onsets are sought, passes it by.

use super::findings::Tail;
use super::ring::{Held, Ring};
use super::rows::{Row, Spans};
use super::series::{Measure, Node, Series, Subject};
use super::{Diagnosis, Refusal, blame, calls, diagnose, diagnose_to, findings};
use crate::spans::SpanKind;
use fusebox_proto::ServiceId;
use fusebox_proto::view::Stamp;
use std::collections::BTreeMap;

/// The newest spans are not looked at: of their traces others are still on the way, and what was
/// called last would seem not to be called any more.
const SETTLING_NS: u64 = 5_000_000_000;
/// Who asks wants to know of what began just now, if only as a guess.
pub(super) const ASKED_TAIL: Tail = Tail { length_ns: 3_000_000_000, is_fine: true };
/// Who sends at all sends its spans within this time: SDKs' batches are of five seconds.
const BATCH_NS_MAX: u64 = 7_000_000_000;
/// What is known is followed in the newest spans of so long.
const RECENT_NS: u64 = 60_000_000_000;
/// Less blame than this is what is left over.
const SCORE_MIN: f64 = 0.05;
/// With fewer recent samples of all that is known of a service, it is not said to be well.
const SAMPLES_MIN: usize = 10;

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    held: Held,
    until_ns: u64,
    followed: Vec<Followed>,
    shed: u64,
}

/// A fault that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Whose it is.
    pub(crate) guilty: ServiceId,
    /// Since when, ns since the Unix epoch.
    pub(crate) onset_ns: u64,
}

/// How a known fault is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// As bad as it was, or not much better.
    Worse,
    /// No worse than before it began.
    Well,
    /// Too little is heard of it.
    Silent,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What is worse since when; `None` where there was nothing to look at.
    pub diagnosis: Option<Diagnosis>,
    /// Of what is known.
    pub(crate) courses: Vec<(Followed, Course)>,
    /// Spans that could not be looked at since the start: there was no room.
    pub(crate) shed: u64,
}

impl Look {
    /// A look at what `ring` holds, and at faults that are known.
    pub(crate) fn new(ring: &Ring, followed: Vec<Followed>) -> Self {
        let until_ns = ring.newest_ns().saturating_sub(SETTLING_NS);
        Self { held: Held::of(ring), until_ns, followed, shed: ring.shed() }
    }

    /// Takes the look.
    pub fn run(self) -> Answer {
        let spans = self.held.spans(|row| row.start_ns <= self.until_ns);
        let diagnosis = diagnose(&spans, None).ok();
        let course = |followed: Followed| (followed.clone(), self.course(&followed));
        let courses = self.followed.iter().cloned().map(course).collect();
        Answer { diagnosis, courses, shed: self.shed }
    }

    /// What is worse since about `since`, or since whenever most is, of all that is there.
    ///
    /// # Errors
    /// As [`diagnose`].
    pub fn diagnose(self, since: Option<Stamp>) -> Result<Diagnosis, Refusal> {
        let until_ns = self.whole_until_ns();
        diagnose_to(&self.held.spans(|row| row.start_ns <= until_ns), since, ASKED_TAIL)
    }

    /// Up to here traces are whole: all who sent something lately have sent theirs.
    fn whole_until_ns(&self) -> u64 {
        let mut newest: BTreeMap<u32, Newest> = BTreeMap::new();
        for row in self.held.rows() {
            newest.entry(row.service).or_default().take(row);
        }
        let last_ns = newest.values().map(|of| of.all).max().unwrap_or_default();
        let whole = newest.values().map(|of| of.whole_until_ns(last_ns));
        let lately = whole.filter(|at_ns| is_lately(*at_ns, last_ns));
        lately.min().unwrap_or_default()
    }

    fn course(&self, followed: &Followed) -> Course {
        let Followed { guilty, onset_ns } = followed;
        let from_ns = self.until_ns.saturating_sub(RECENT_NS).max(*onset_ns);
        let is_in = |row: &Row| {
            row.start_ns < *onset_ns || (from_ns..=self.until_ns).contains(&row.start_ns)
        };
        let spans = self.held.spans(is_in);
        let Some(node) = node(&spans, guilty) else { return Course::Silent };
        let (all, _) = calls::read(&spans, 0);
        let comparison = findings::compare(&all, from_ns);
        let blames = blame::rank(&all, &comparison, from_ns, 1);
        if blames.iter().any(|blame| blame.node == node && SCORE_MIN <= blame.score) {
            return Course::Worse;
        }
        let compared = all.iter().zip(&comparison.is_compared);
        let compared = compared.filter(|(series, is)| **is && is_of(series, node));
        let samples: usize =
            compared.map(|(series, _)| series.values.len() - series.before(from_ns)).sum();
        if SAMPLES_MIN <= samples { Course::Well } else { Course::Silent }
    }
}

/// When the newest spans of a service ended, ns since the Unix epoch; 0 where it has none of the sort.
#[derive(Debug, Default)]
struct Newest {
    all: u64,
    application: u64,
    /// Of the application, asked by others.
    asked: u64,
    /// Of what its sidecar let in.
    let_in: u64,
}

impl Newest {
    fn take(&mut self, row: &Row) {
        let is_server = matches!(row.kind, SpanKind::Server | SpanKind::Consumer);
        let sorts = [
            (&mut self.all, true),
            (&mut self.application, !row.is_sidecar),
            (&mut self.asked, !row.is_sidecar && is_server && row.parent != 0),
            (&mut self.let_in, row.is_sidecar && is_server),
        ];
        for (newest, _) in sorts.into_iter().filter(|(_, is)| *is) {
            *newest = row.end_ns.max(*newest);
        }
    }

    /// Up to here it has told how it answered others. A sidecar tells before its application does, which
    /// nobody waits for who asks only the sidecar.
    fn whole_until_ns(&self, last_ns: u64) -> u64 {
        let is_lately = |at_ns: u64| is_lately(at_ns, last_ns);
        match self {
            _ if is_lately(self.let_in) => self.let_in,
            _ if is_lately(self.asked) => self.application,
            _ => self.all,
        }
    }
}

fn is_lately(at_ns: u64, last_ns: u64) -> bool {
    last_ns <= at_ns.saturating_add(BATCH_NS_MAX)
}

fn node(spans: &Spans, service: &ServiceId) -> Option<Node> {
    let sending = spans.services.find(service).map(Node::Service);
    sending.or_else(|| spans.words.find(&service.name().into()).map(Node::Peer))
}

/// Whether a series says how long a node takes.
fn is_of(series: &Series, node: Node) -> bool {
    series.measure == Measure::Time
        && match series.subject {
            Subject::Own { service, .. } => Node::Service(service) == node,
            Subject::Edge { callee, .. } => callee == node,
        }
}

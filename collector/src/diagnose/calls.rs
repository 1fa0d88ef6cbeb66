//! Spans → series: who spent time himself, who waited on the way, who failed first, who called
//! whom.
//!
//! A stay is what one service does for one request: from the span that came in down to those that
//! went out, through everything within the service (internal spans, its own sidecar). Its own time
//! is its duration without the time in which any of its outgoing calls was under way. The gap of a
//! call is the client's duration without the server's: durations alone, so clocks need not agree.

use super::rows::{Row, Spans};
use super::series::{Drafts, Measure, Node, Sample, Series, Subject};
use super::sidecars::{self, LetIn};
use crate::spans::SpanKind;
use fusebox_proto::ServiceId;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Sets of calls beyond this many at one operation are not looked at.
const SHAPES_MAX: usize = 8;

/// What was seen while walking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Spans whose parent is not there.
    pub(super) orphans: u64,
    /// Spans that came twice.
    pub(super) duplicates: u64,
}

/// The calls of all traces.
struct Walk<'s> {
    spans: &'s Spans,
    /// The row that is each row's parent.
    parents: Vec<Option<u32>>,
    /// The row with which each row's stay begins.
    stays: Vec<u32>,
    /// Children in other services.
    callees: HashMap<u32, Vec<u32>, foldhash::fast::RandomState>,
    has_child: Vec<bool>,
    /// Those that came before.
    is_repeated: Vec<bool>,
    /// What each caller's names for others turned out to be.
    learned: HashMap<(u32, u32), u32, foldhash::fast::RandomState>,
}

/// What went out of one stay.
#[derive(Default)]
struct Outgoing {
    /// When calls were under way.
    busy_ns: Vec<(u64, u64)>,
    /// Who was called, for what, when.
    calls: Vec<(Node, u32, u64)>,
    has_failed: bool,
}

/// Reads the series out of `spans`, the oldest sample of each first. Times of the baseline are
/// taken back by `back_ns`.
pub(super) fn read(spans: &Spans, back_ns: u64) -> (Vec<Series>, Seen) {
    let (walk, seen) = Walk::new(spans);
    let mut outgoing: HashMap<u32, Outgoing, foldhash::fast::RandomState> = HashMap::default();
    let mut drafts = Drafts::default();
    let has_failures = spans.rows.iter().any(|row| row.is_failed);
    for (at, row) in spans.rows.iter().enumerate().filter(|(at, _)| !walk.is_repeated[*at]) {
        walk.call(at as u32, row, back_ns, has_failures, &mut outgoing, &mut drafts);
    }
    let mut shapes: HashMap<(u32, u32), Vec<(Sample, Measure)>> = HashMap::new();
    for (at, row) in spans.rows.iter().enumerate().filter(|(at, _)| walk.begins(*at)) {
        let mut out = outgoing.remove(&(at as u32)).unwrap_or_default();
        let subject = Subject::Own { service: row.service, operation: row.operation };
        drafts.add(subject, Measure::Time, sample(row, own_ms(row, &mut out.busy_ns), back_ns));
        if has_failures {
            let is_first = row.is_failed && !out.has_failed;
            drafts.add(subject, Measure::Failed, sample(row, f32::from(is_first), back_ns));
        }
        let of_subject = shapes.entry((row.service, row.operation)).or_default();
        of_subject.push((sample(row, 1.0, back_ns), shape(&mut out.calls)));
    }
    for ((service, operation), stays) in shapes {
        add_shapes(Subject::Own { service, operation }, stays, &mut drafts);
    }
    (drafts.finish(), seen)
}

impl<'s> Walk<'s> {
    fn new(spans: &'s Spans) -> (Self, Seen) {
        let rows = &spans.rows;
        let mut seen = Seen::default();
        let mut by_id: HashMap<(u32, u64), u32, foldhash::fast::RandomState> = HashMap::default();
        let mut is_repeated = vec![false; rows.len()];
        for (at, row) in rows.iter().enumerate() {
            let first = *by_id.entry((row.trace, row.id)).or_insert(at as u32);
            is_repeated[at] = first != at as u32;
            seen.duplicates += u64::from(is_repeated[at]);
        }
        let let_in = LetIn::of(rows);
        let parent = |row: &Row| {
            let known = by_id.get(&(row.trace, row.parent)).copied();
            known.or_else(|| let_in.around(rows, row))
        };
        let parents: Vec<_> = rows.iter().map(parent).collect();
        let mut walk = Self {
            spans,
            stays: stays(rows, &parents),
            callees: HashMap::default(),
            has_child: vec![false; rows.len()],
            is_repeated,
            learned: HashMap::default(),
            parents,
        };
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| !walk.is_repeated[*at]) {
            let Some(parent) = walk.parents[at] else {
                seen.orphans += u64::from(row.parent != 0);
                continue;
            };
            walk.has_child[parent as usize] = true;
            let caller = &rows[parent as usize];
            if caller.service != row.service {
                walk.callees.entry(parent).or_default().push(at as u32);
                if let Some(peer) = caller.peer {
                    walk.learned.entry((caller.service, peer)).or_insert(row.service);
                }
            }
        }
        (walk, seen)
    }

    /// Whether a stay begins with this row.
    fn begins(&self, at: usize) -> bool {
        let is_alone = sidecars::is_sent_on(&self.spans.rows[at]) && self.parents[at].is_none();
        self.stays[at] == at as u32 && !self.is_repeated[at] && !is_alone
    }

    /// What one span says of calls: when its stay waited, and how long the way took.
    fn call(
        &self,
        at: u32,
        row: &Row,
        back_ns: u64,
        has_failures: bool,
        outgoing: &mut HashMap<u32, Outgoing, foldhash::fast::RandomState>,
        drafts: &mut Drafts,
    ) {
        let callees = self.callees.get(&at).map(Vec::as_slice).unwrap_or_default();
        let is_outgoing = matches!(row.kind, SpanKind::Client | SpanKind::Producer);
        if !is_outgoing && callees.is_empty() {
            return;
        }
        let of_stay = outgoing.entry(self.stays[at as usize]).or_default();
        let rows = callees.iter().map(|callee| &self.spans.rows[*callee as usize]);
        for callee in rows.clone() {
            let node = Node::Service(callee.service);
            of_stay.calls.push((node, callee.operation, callee.start_ns));
            of_stay.has_failed |= callee.is_failed;
            // Without a span of the call itself, its time is that of the callee, if it is waited for.
            if !is_outgoing && callee.kind != SpanKind::Consumer {
                of_stay.busy_ns.push((callee.start_ns, callee.end_ns));
            }
        }
        if is_outgoing {
            of_stay.busy_ns.push((row.start_ns, row.end_ns));
            of_stay.has_failed |= row.is_failed;
        }
        if row.kind != SpanKind::Client {
            return;
        }
        let served_ns =
            rows.clone().map(|row| row.end_ns - row.start_ns).fold(0, u64::saturating_add);
        let gap_ns = (row.end_ns - row.start_ns).saturating_sub(served_ns);
        let first = rows.clone().next();
        let (callee, operation) = match first {
            Some(first) => (Node::Service(first.service), first.operation),
            // Another span of the same call, such as the sidecar's, has the callee.
            None if self.has_child[at as usize] => return,
            None => match self.unseen(row) {
                Some(node) => (node, row.operation),
                None => return,
            },
        };
        let subject = Subject::Edge { caller: row.service, callee, operation };
        // A call that a known service never told of has no gap: what it took may be anybody's.
        if first.is_some() || matches!(callee, Node::Peer(_)) {
            drafts.add(subject, Measure::Time, sample(row, ms(gap_ns), back_ns));
        }
        if has_failures {
            let is_first = row.is_failed && !rows.clone().any(|row| row.is_failed);
            drafts.add(subject, Measure::Failed, sample(row, f32::from(is_first), back_ns));
        }
    }

    /// Who was called, where no span of his is there.
    fn unseen(&self, row: &Row) -> Option<Node> {
        let peer = row.peer?;
        if let Some(service) = self.learned.get(&(row.service, peer)) {
            return Some(Node::Service(*service));
        }
        let caller = self.spans.services.get(row.service);
        let name = self.spans.words.get(peer);
        let named = ServiceId::new(caller.environment(), caller.namespace(), name).ok();
        let service = named.and_then(|service| self.spans.services.find(&service));
        Some(service.map_or(Node::Peer(peer), Node::Service))
    }
}

/// The first row of each row's stay: the nearest above it whose parent is elsewhere.
fn stays(rows: &[Row], parents: &[Option<u32>]) -> Vec<u32> {
    const UNKNOWN: u32 = u32::MAX;
    let mut stays = vec![UNKNOWN; rows.len()];
    let mut path = Vec::new();
    for start in 0..rows.len() as u32 {
        let mut at = start;
        let first = loop {
            if stays[at as usize] != UNKNOWN {
                break stays[at as usize];
            }
            // Marked at once, so that parents in a circle end here.
            stays[at as usize] = at;
            path.push(at);
            match parents[at as usize] {
                Some(parent) if rows[parent as usize].service == rows[at as usize].service => {
                    at = parent;
                }
                _ => break at,
            }
        };
        for row in path.drain(..) {
            stays[row as usize] = first;
        }
    }
    stays
}

/// Duration of a stay without the time in which calls were under way, ms.
fn own_ms(row: &Row, busy_ns: &mut [(u64, u64)]) -> f32 {
    busy_ns.sort_unstable();
    let (mut waited_ns, mut until_ns) = (0, row.start_ns);
    for (start_ns, end_ns) in busy_ns {
        let start_ns = (*start_ns).max(until_ns);
        let end_ns = (*end_ns).min(row.end_ns);
        if start_ns < end_ns {
            waited_ns += end_ns - start_ns;
            until_ns = end_ns;
        }
    }
    ms(row.end_ns - row.start_ns - waited_ns)
}

/// The set of those called, whatever the order and the number of calls.
fn shape(calls: &mut [(Node, u32, u64)]) -> Measure {
    let last = calls.iter().max_by_key(|(.., at_ns)| *at_ns).map(|(node, ..)| *node);
    calls.sort_unstable();
    let mut hasher = DefaultHasher::new();
    let mut previous = None;
    for (node, operation, _) in calls {
        let call = (*node, *operation);
        if previous != Some(call) {
            call.hash(&mut hasher);
        }
        previous = Some(call);
    }
    Measure::Shape { set: hasher.finish(), last }
}

/// A series for each set of calls at a subject that became more frequent, and is seen often enough
/// to be compared. What most stays do is no news.
fn add_shapes(subject: Subject, mut stays: Vec<(Sample, Measure)>, drafts: &mut Drafts) {
    stays.sort_unstable_by_key(|(sample, measure)| (sample.at_ns, sample.trace, *measure));
    let half = stays.len() / 2;
    let mut counts: HashMap<u64, (usize, usize, Measure)> = HashMap::new();
    for (at, (_, measure)) in stays.iter().enumerate() {
        let Measure::Shape { set, .. } = measure else { continue };
        let (early, late, newest) = counts.entry(*set).or_insert((0, 0, *measure));
        *(if at < half { early } else { late }) += 1;
        *newest = *measure;
    }
    let is_news = |(early, late): (usize, usize)| {
        early < late && 2 < early + late && (early + late) * 2 < stays.len()
    };
    let mut news: Vec<_> =
        counts.into_iter().filter(|(_, (early, late, _))| is_news((*early, *late))).collect();
    news.sort_unstable_by_key(|(set, (_, late, _))| (std::cmp::Reverse(*late), *set));
    for (set, (.., measure)) in news.into_iter().take(SHAPES_MAX) {
        for (sample, of_stay) in &stays {
            let is_it = matches!(of_stay, Measure::Shape { set: other, .. } if *other == set);
            drafts.add(subject, measure, Sample { value: f32::from(is_it), ..*sample });
        }
    }
}

fn sample(row: &Row, value: f32, back_ns: u64) -> Sample {
    let back_ns = if row.is_baseline { back_ns } else { 0 };
    let at_ns = row.start_ns.saturating_sub(back_ns);
    Sample { trace: row.trace, at_ns, value, weight: row.weight }
}

fn ms(ns: u64) -> f32 {
    (ns as f64 / 1e6) as f32
}

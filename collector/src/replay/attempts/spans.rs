//! Attempts of spans, paired as a collector pairs them live. What is told before all of it is known
//! and then corrected (a hedge that ends before its original) has the time of its sibling.

use super::{Attempt, Crossings, End, Kind, Source};
use crate::decode;
use crate::observe::{AttemptClass, Ending, Observation, Outcome};
use crate::pairing::Pairing;
use crate::replay::player::SLOT_MS;
use crate::replay::recording::{Move, Recording};
use fusebox_proto::{Edge, Now};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// After the last span so much time passes: no trace waits for longer.
const TAIL: Duration = Duration::from_mins(3);

/// What spans tell of these edges.
pub(super) fn read(
    recording: &Recording,
    now: Now,
    edges: &BTreeSet<Edge>,
) -> BTreeMap<Edge, Crossings> {
    if edges.is_empty() {
        return BTreeMap::new();
    }
    let mut pairing = Pairing::new();
    let mut told = Told { edges, of_edge: BTreeMap::new() };
    let started = Now { unix_ms: recording.window().from.0, ..now };
    let mut at = started;
    let mut observations = Vec::new();
    let mut next = 0;
    while let Some(item) = recording.items().get(next) {
        // The end of the slot in which it happens: so spans reach a player, too.
        let slot = (item.at_unix_ns / 1_000_000).saturating_sub(started.unix_ms) / SLOT_MS + 1;
        at = started.plus(Duration::from_millis(slot * SLOT_MS));
        let range = recording.range(next, at.unix_ms * 1_000_000);
        next = range.end;
        pass(&mut pairing, at, &mut observations);
        let request = recording.request(range.map(|item| (item, Move::default())));
        pairing.handle(at, decode::batch(&request), &mut observations);
        told.take(&mut observations);
    }
    pass(&mut pairing, at.plus(TAIL), &mut observations);
    told.take(&mut observations);
    told.end()
}

/// Lets time pass, up to `until`.
fn pass(pairing: &mut Pairing, until: Now, out: &mut Vec<Observation>) {
    while let Some(due) = pairing.poll_timeout().filter(|due| *due <= until.instant) {
        let left = until.instant.saturating_duration_since(due);
        let unix_ms = until.unix_ms.saturating_sub(left.as_millis() as u64);
        pairing.handle_timeout(Now { instant: due, unix_ms }, out);
    }
}

/// What was told so far, and may be corrected.
struct Told<'e> {
    edges: &'e BTreeSet<Edge>,
    of_edge: BTreeMap<Edge, OfEdge>,
}

#[derive(Default)]
struct OfEdge {
    /// `None`: it was taken back.
    attempts: Vec<Option<Attempt>>,
    /// By what a correction names them by: the ms of the end, and how they were counted.
    places: HashMap<(u64, Ending), Vec<usize>>,
}

impl Told<'_> {
    fn take(&mut self, observations: &mut Vec<Observation>) {
        for observation in observations.drain(..) {
            match observation {
                Observation::Attempt { edge, ending, latency_us, weight, at_unix_ms, .. }
                    if self.edges.contains(&edge) =>
                {
                    let of_edge = self.of_edge.entry(edge).or_default();
                    let end_unix_us = at_unix_ms.saturating_mul(1_000);
                    let attempt = Attempt {
                        sent_unix_us: end_unix_us.saturating_sub(latency_us.unwrap_or(0)),
                        end: Some((end_unix_us, end(ending.outcome))),
                        kind: kind(ending.class),
                        proxy: 0,
                        weight,
                    };
                    let place = of_edge.attempts.len();
                    of_edge.attempts.push(Some(attempt));
                    of_edge.places.entry((at_unix_ms, ending)).or_default().push(place);
                }
                Observation::Corrected { edge, was, is, at_unix_ms, .. } => {
                    if let Some(of_edge) = self.of_edge.get_mut(&edge) {
                        of_edge.correct((at_unix_ms, was), is);
                    }
                }
                _ => (),
            }
        }
    }

    fn end(self) -> BTreeMap<Edge, Crossings> {
        let edges = self.of_edge.into_iter().map(|(edge, of_edge)| {
            let attempts: Vec<Attempt> = of_edge.attempts.into_iter().flatten().collect();
            let (proxies, refused, left_out) = (0, 0, 0);
            (edge, Crossings { attempts, source: Source::Spans, proxies, refused, left_out })
        });
        edges.filter(|(_, crossings)| !crossings.attempts.is_empty()).collect()
    }
}

impl OfEdge {
    fn correct(&mut self, (at_unix_ms, was): (u64, Ending), is: Option<Ending>) {
        let Some(place) = self.places.get_mut(&(at_unix_ms, was)).and_then(Vec::pop) else {
            return;
        };
        let attempt = &mut self.attempts[place];
        match (is, attempt) {
            (Some(is), Some(attempt)) => {
                attempt.kind = kind(is.class);
                attempt.end = attempt.end.map(|(at, _)| (at, end(is.outcome)));
                self.places.entry((at_unix_ms, is)).or_default().push(place);
            }
            (_, attempt) => *attempt = None,
        }
    }
}

const fn kind(class: AttemptClass) -> Kind {
    match class {
        AttemptClass::First => Kind::First,
        AttemptClass::Retry => Kind::Retry,
        AttemptClass::Hedge => Kind::Hedge,
    }
}

const fn end(outcome: Outcome) -> End {
    match outcome {
        Outcome::Success => End::Success,
        Outcome::Failure => End::Failure,
        Outcome::Timeout => End::GivenUp,
    }
}

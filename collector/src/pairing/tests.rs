//! What is told of whole traces: captured ones in [`captured`], made ones in [`made`].

mod captured;
mod made;

use super::*;
use crate::observe::{AttemptClass, Outcome};
use std::collections::BTreeMap;

/// What is left when all corrections are applied: for each edge, class and outcome how many
/// attempts there were, and for each service how many requests it served.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    attempts: BTreeMap<(String, AttemptClass, Outcome, bool), f64>,
    served: BTreeMap<(String, Outcome), f64>,
    /// Requests that made many calls on an edge, and those calls.
    sequences: BTreeMap<String, [u64; 2]>,
    virtual_nodes: BTreeMap<String, ServiceKind>,
}

impl Sums {
    fn of(observations: &[Observation]) -> Self {
        let mut sums = Self::default();
        for observation in observations {
            match observation {
                Observation::Node { kind: ServiceKind::Service, .. }
                | Observation::Unasked { .. } => (),
                Observation::Node { service, kind, .. } => {
                    sums.virtual_nodes.insert(service.name().to_owned(), *kind);
                }
                Observation::Attempt { edge, ending, weight, from_proxy, .. } => {
                    sums.add(edge, *ending, *from_proxy, *weight);
                }
                Observation::Corrected { edge, was, is, weight, from_proxy, .. } => {
                    sums.add(edge, *was, *from_proxy, -weight);
                    if let Some(is) = is {
                        sums.add(edge, *is, *from_proxy, *weight);
                    }
                }
                Observation::Sequence { edge, requests, calls, .. } => {
                    let edge = format!("{} > {}", edge.source.name(), edge.destination.name());
                    let sum = sums.sequences.entry(edge).or_default();
                    *sum = [sum[0] + requests, sum[1] + calls];
                }
                Observation::Served { service, outcome, weight, .. } => {
                    let key = (service.name().to_owned(), *outcome);
                    *sums.served.entry(key).or_default() += weight;
                }
            }
        }
        // What was wholly taken back.
        sums.attempts.retain(|_, weight| 1e-9 < weight.abs());
        let nodes: Vec<&str> = sums.attempts.keys().flat_map(|key| key.0.split(" > ")).collect();
        sums.virtual_nodes.retain(|name, _| nodes.contains(&name.as_str()));
        sums
    }

    fn add(
        &mut self,
        edge: &fusebox_proto::Edge,
        ending: crate::observe::Ending,
        proxy: bool,
        weight: f64,
    ) {
        let edge = format!("{} > {}", edge.source.name(), edge.destination.name());
        *self.attempts.entry((edge, ending.class, ending.outcome, proxy)).or_default() += weight;
    }

    /// All attempts, to the nearest whole one.
    fn attempts_total(&self) -> u64 {
        self.attempts.values().sum::<f64>().round() as u64
    }

    /// All requests served, to the nearest whole one.
    fn served_total(&self) -> u64 {
        self.served.values().sum::<f64>().round() as u64
    }

    /// One line an edge: `a > b: 1 first, 9 retry; 3 failure, 7 timeout`, sorted.
    fn edges(&self) -> Vec<String> {
        type Counts<T> = BTreeMap<T, f64>;
        let mut edges: BTreeMap<&str, (Counts<AttemptClass>, Counts<Outcome>)> = BTreeMap::new();
        for ((edge, class, outcome, _), weight) in &self.attempts {
            let (classes, outcomes) = edges.entry(edge).or_default();
            *classes.entry(*class).or_default() += weight;
            *outcomes.entry(*outcome).or_default() += weight;
        }
        let words = |counts: Vec<(String, f64)>| {
            let words: Vec<String> = counts
                .into_iter()
                .map(|(name, count)| format!("{count} {}", name.to_lowercase()))
                .collect();
            words.join(", ")
        };
        edges
            .into_iter()
            .map(|(edge, (classes, outcomes))| {
                let classes =
                    classes.into_iter().map(|(class, n)| (format!("{class:?}"), n)).collect();
                let outcomes = outcomes.into_iter().map(|(it, n)| (format!("{it:?}"), n)).collect();
                format!("{edge}: {}; {}", words(classes), words(outcomes))
            })
            .collect()
    }
}

/// Batches, each with the seconds since the start when it comes.
type Arrivals = Vec<(f64, SpanBatch)>;

/// Everything that is told when these batches come, and then nothing more.
fn told(arrivals: Arrivals) -> Vec<Observation> {
    let start = Now::read();
    let mut pairing = Pairing::new();
    let mut out = Vec::new();
    for (at_s, batch) in arrivals {
        let now = start.plus(Duration::from_secs_f64(at_s));
        run_until(&mut pairing, now, &mut out);
        pairing.handle(now, batch, &mut out);
    }
    let end = start.plus(Duration::from_mins(10));
    run_until(&mut pairing, end, &mut out);
    assert_eq!(pairing.spans_held, 0);
    assert!(pairing.traces.is_empty() && pairing.due.is_empty());
    out
}

/// Lets every timeout before `until` happen at its time.
fn run_until(pairing: &mut Pairing, until: Now, out: &mut Vec<Observation>) {
    while let Some(at) = pairing.poll_timeout().filter(|&at| at <= until.instant) {
        let before = until.instant - at;
        let unix_ms = until.unix_ms - u64::try_from(before.as_millis()).unwrap();
        pairing.handle_timeout(Now { instant: at, unix_ms }, out);
    }
}

/// The sums of one batch.
fn sums(batch: SpanBatch) -> Sums {
    Sums::of(&told(vec![(0.0, batch)]))
}

/// The spans of a batch, each twice, in the order of `keys` and at their times in ms, those of
/// the same 100 ms in one batch.
fn shuffled(batch: &SpanBatch, keys: &[(u32, u32)]) -> Arrivals {
    let twice = batch.spans.iter().chain(&batch.spans).cloned();
    let mut ordered: Vec<_> = keys.iter().zip(twice).collect();
    ordered.sort_by_key(|((key, at_ms), _)| (at_ms / 100, *key));
    let mut arrivals: BTreeMap<u32, SpanBatch> = BTreeMap::new();
    for ((_, at_ms), span) in ordered {
        arrivals.entry(at_ms / 100).or_default().spans.push(span);
    }
    arrivals.into_iter().map(|(at, batch)| (f64::from(at) / 10.0, batch)).collect()
}

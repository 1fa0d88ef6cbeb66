//! Polling: somebody asks the same again and again in even steps, for nobody's request. Worth knowing,
//! no incident, also while it fails.

use crate::store::Store;
use fusebox_proto::Edge;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What is heard of so many seconds counts: an SDK's batch of 5 s, and ten seconds as elsewhere.
const SECONDS: u64 = 15;
/// Fewer questions show no step.
const ASKED_MIN: usize = 10;
/// The last questions are looked at, so many of one who asks.
const ASKED_MAX: usize = 64;
/// More instances of a caller are not told apart.
const INSTANCES_MAX: usize = 8;
/// Steps are even if so many of them ...
const EVEN_MIN: f64 = 0.8;
/// ... are no further from the middle one than this share of it. Of requests that come by chance it is
/// one in six.
const APART_MAX: f64 = 0.25;

/// Who asks whom of their own accord.
#[derive(Debug, Default)]
pub(crate) struct Polling(BTreeMap<Edge, Heard>);

/// What was heard of one edge.
#[derive(Debug, Default)]
struct Heard {
    /// When each instance asked, ms since the Unix epoch, in the order in which it was told.
    asked: BTreeMap<Arc<str>, VecDeque<u64>>,
    operation: Arc<str>,
    since: Option<u64>,
    every_ms: u64,
}

/// An edge of which it is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Poll {
    /// Since which second.
    pub(crate) since: u64,
    /// The step.
    pub(crate) every_ms: u64,
    /// What was asked for last.
    pub(crate) operation: Arc<str>,
}

impl Polling {
    /// Takes a question that `instance` asked at `at_unix_ms`, on an edge that the store has.
    pub(crate) fn take(
        &mut self,
        edge: &Edge,
        instance: &Arc<str>,
        operation: &Arc<str>,
        at_unix_ms: u64,
    ) {
        let heard = self.0.entry(edge.clone()).or_default();
        if INSTANCES_MAX <= heard.asked.len() && !heard.asked.contains_key(instance) {
            return;
        }
        heard.operation = Arc::clone(operation);
        let asked = heard.asked.entry(Arc::clone(instance)).or_default();
        asked.push_back(at_unix_ms);
        if ASKED_MAX < asked.len() {
            asked.pop_front();
        }
    }

    /// Lets time pass.
    pub(crate) fn judge(&mut self, store: &Store, now_second: u64) {
        let oldest_ms = now_second.saturating_sub(SECONDS) * 1_000;
        self.0.retain(|edge, heard| {
            heard.asked.retain(|_, asked| {
                asked.retain(|at| oldest_ms <= *at);
                !asked.is_empty()
            });
            let steps = heard.asked.values().filter_map(even_step_ms);
            let shortest_ms = steps.min();
            heard.since = shortest_ms.map(|_| heard.since.unwrap_or(now_second));
            heard.every_ms = shortest_ms.unwrap_or_default();
            !heard.asked.is_empty() && store.edge(edge).is_some()
        });
    }

    /// Those that are worth a line, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, Poll)> {
        self.0.iter().filter_map(|(edge, heard)| {
            let operation = Arc::clone(&heard.operation);
            Some((edge, Poll { since: heard.since?, every_ms: heard.every_ms, operation }))
        })
    }
}

/// The step in which somebody asks; `None` where steps are not even.
fn even_step_ms(asked: &VecDeque<u64>) -> Option<u64> {
    if asked.len() < ASKED_MIN {
        return None;
    }
    let mut asked: Vec<u64> = asked.iter().copied().collect();
    asked.sort_unstable();
    let mut steps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = steps.len() / 2;
    let middle_ms = *steps.select_nth_unstable(middle).1;
    let apart_max_ms = APART_MAX * middle_ms as f64;
    steps.retain(|step| step.abs_diff(middle_ms) as f64 <= apart_max_ms);
    let even = steps.len();
    let is_even = 0 < middle_ms && EVEN_MIN * (asked.len() - 1) as f64 <= even as f64;
    is_even.then(|| (steps.iter().sum::<u64>() as f64 / even as f64).round() as u64)
}

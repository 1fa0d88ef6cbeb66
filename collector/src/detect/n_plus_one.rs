//! N+1: requests that make many calls on one edge, one after the other, where one call could bring all.
//! Worth knowing, no incident: nothing fails.

use crate::store::Store;
use fusebox_proto::Edge;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is heard of so many seconds counts: an SDK's batch of 5 s, and ten seconds as elsewhere.
const SECONDS: u64 = 15;
/// Fewer requests than this are somebody's large order.
const REQUESTS_MIN: u64 = 3;
/// Share of these calls among the attempts from which it is worth a line.
const SHARE_MIN: f64 = 0.15;

/// Edges with requests that make many calls, second by second.
#[derive(Debug, Default)]
pub(crate) struct NPlusOnes(BTreeMap<Edge, Heard>);

/// What was heard of one edge.
#[derive(Debug)]
struct Heard {
    operation: Arc<str>,
    /// Since when all attempts in traces are known too.
    known_since: u64,
    seconds: BTreeMap<u64, Sum>,
    since: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    requests: u64,
    calls: u64,
    /// Calls, each times its weight.
    weighted: f64,
    /// All attempts that traces tell of, each times its weight.
    attempts: f64,
}

/// An edge of which it is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NPlusOne {
    /// Since which second.
    pub(crate) since: u64,
    /// Calls per request of those that make many.
    pub(crate) calls: f64,
    /// What was asked for last.
    pub(crate) operation: Arc<str>,
}

/// Requests that made many calls, as one trace tells it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Many<'a> {
    /// What was asked for.
    pub(crate) operation: &'a Arc<str>,
    /// How many requests.
    pub(crate) requests: u64,
    /// How many calls they made.
    pub(crate) calls: u64,
    /// 1 ÷ sampling probability.
    pub(crate) weight: f64,
}

impl NPlusOnes {
    /// Takes what ended in `second`, at `now_second`, on an edge that the store has.
    pub(crate) fn take(&mut self, (second, now_second): (u64, u64), edge: &Edge, many: Many<'_>) {
        if second + SECONDS <= now_second {
            return;
        }
        let heard = self.0.entry(edge.clone()).or_insert_with(|| Heard {
            operation: Arc::clone(many.operation),
            known_since: now_second,
            seconds: BTreeMap::new(),
            since: None,
        });
        heard.operation = Arc::clone(many.operation);
        let sum = heard.seconds.entry(second.min(now_second)).or_default();
        sum.requests += many.requests;
        sum.calls += many.calls;
        sum.weighted += many.calls as f64 * many.weight;
    }

    /// Takes an attempt of a trace, with its weight. Where proxies count too, the store has what they
    /// counted: all attempts, and traces may tell of one in ten without saying so.
    pub(crate) fn attempted(&mut self, (second, now_second): (u64, u64), edge: &Edge, weight: f64) {
        let Some(heard) = self.0.get_mut(edge).filter(|_| now_second < second + SECONDS) else {
            return;
        };
        heard.seconds.entry(second.min(now_second)).or_default().attempts += weight;
    }

    /// Lets time pass.
    pub(crate) fn judge(&mut self, store: &Store, now_second: u64) {
        self.0.retain(|edge, heard| {
            heard.seconds.retain(|second, _| now_second < second + SECONDS);
            let counted = store.edge(edge).map_or(0.0, |t| t.sum(now_second, SECONDS).attempts());
            let sum = heard.sum();
            let is_known = heard.known_since + SECONDS <= now_second;
            let attempts = if is_known { counted.min(sum.attempts) } else { counted };
            let is_told = REQUESTS_MIN <= sum.requests && SHARE_MIN * attempts <= sum.weighted;
            let first = heard.seconds.iter().find(|(_, sum)| 0 < sum.requests).map(|(at, _)| *at);
            heard.since = heard.since.or(first).filter(|_| is_told);
            first.is_some()
        });
    }

    /// Those that are worth a line, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, NPlusOne)> {
        self.0.iter().filter_map(|(edge, heard)| {
            let sum = heard.sum();
            let calls = sum.calls as f64 / sum.requests.max(1) as f64;
            let operation = Arc::clone(&heard.operation);
            Some((edge, NPlusOne { since: heard.since?, calls, operation }))
        })
    }
}

impl Heard {
    fn sum(&self) -> Sum {
        self.seconds.values().fold(Sum::default(), |sum, one| Sum {
            requests: sum.requests + one.requests,
            calls: sum.calls + one.calls,
            weighted: sum.weighted + one.weighted,
            attempts: sum.attempts + one.attempts,
        })
    }
}

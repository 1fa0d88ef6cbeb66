//! The command line twin of the console: what no key can say, such as short leases, or all edges at
//! once. It asks, asks again until it hears, and asks only once.

use fusebox_collector::engine::Event;
use fusebox_proto::command::{ActionKind, ResetRequest, ResetScope, TripRequest};
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;

/// How ids of its requests begin.
const ID: &str = "request-";

#[derive(Debug, Default)]
pub(crate) struct Twin {
    asked: u64,
    waiting: BTreeMap<String, Event>,
}

impl Twin {
    /// A new request at times, if the operator is `busy`, and every one again that has no answer.
    pub(crate) fn acts(&mut self, rng: &mut StdRng, busy: bool) -> Vec<Event> {
        if busy && rng.random_bool(0.7) {
            self.asked += 1;
            let request_id = format!("{ID}{}", self.asked);
            let event = request(&request_id, rng);
            self.waiting.insert(request_id, event);
        }
        self.waiting.values().cloned().collect()
    }

    /// An answer came; whether it is to a request of this twin.
    pub(crate) fn hears(&mut self, request_id: &str) -> bool {
        self.waiting.remove(request_id);
        request_id.starts_with(ID)
    }

    /// How many requests have no answer.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn request(request_id: &str, rng: &mut StdRng) -> Event {
    let (source, destination) =
        [("a", "b"), ("a", "d"), ("c", "b"), ("d", "a"), ("x", "b")][rng.random_range(0..5)];
    let (source, destination) = (source.to_owned(), destination.to_owned());
    let (request_id, by, reason) = (request_id.to_owned(), "sim".to_owned(), String::new());
    match rng.random_range(0..8) {
        0 => {
            let scope = ResetScope::Edge { source, destination };
            let at_once = rng.random_bool(0.5);
            Event::Reset(ResetRequest { request_id, scope, at_once, reason, by })
        }
        1 => Event::Reset(ResetRequest {
            request_id,
            scope: ResetScope::All,
            at_once: rng.random_bool(0.5),
            reason,
            by,
        }),
        n => Event::Trip(TripRequest {
            request_id,
            source,
            destination,
            action: if n < 5 { ActionKind::Open } else { ActionKind::ALL[rng.random_range(0..4)] },
            percent: None,
            ttl: Duration::from_secs(rng.random_range(1..30)),
            reason,
            by,
        }),
    }
}

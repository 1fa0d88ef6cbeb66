//! Hedging: extra load by intent. Worth knowing, no incident.

use crate::store::Store;
use fusebox_proto::Edge;
use std::collections::BTreeMap;

/// Share of hedges among attempts from which it is worth a line.
const SHARE_MIN: f64 = 0.15;
/// Fewer attempts in ten seconds prove nothing.
const ATTEMPTS_MIN: f64 = 20.0;

/// Edges that hedge, and since which second.
#[derive(Debug, Default)]
pub(crate) struct Hedging(BTreeMap<Edge, Hedge>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hedge {
    /// Since which second.
    pub(crate) since: u64,
    /// Share of hedges among attempts, 0 … 1.
    pub(crate) share: f64,
}

impl Hedging {
    /// Looks at the ten seconds that end with `last`, on all edges.
    pub(crate) fn judge(&mut self, store: &Store, last: u64) {
        let before = std::mem::take(&mut self.0);
        for (edge, track) in store.edges() {
            let sum = track.sum(last, 10);
            let share = sum.hedges / sum.attempts().max(1.0);
            if ATTEMPTS_MIN <= sum.attempts() && SHARE_MIN <= share {
                let since = before.get(edge).map_or(last, |hedge| hedge.since);
                self.0.insert(edge.clone(), Hedge { since, share });
            }
        }
    }

    /// All of them, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, &Hedge)> {
        self.0.iter()
    }
}

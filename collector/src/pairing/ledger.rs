//! What a trace was counted as, so that each look at it tells only what is new.

use super::attempts::Attempt;
use crate::observe::{Ending, Observation};
use fusebox_proto::Edge;
use std::collections::BTreeMap;

/// The attempts of one trace that were told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    counted: Vec<Counted>,
}

/// An attempt as it was told.
#[derive(Debug)]
struct Counted {
    edge: Edge,
    ending: Ending,
    from_proxy: bool,
    weight: f64,
    at_unix_ms: u64,
}

impl Ledger {
    /// The attempts of the trace are now known to be `attempts`. What must be told: corrections of
    /// what was told before, and attempts that are new.
    ///
    /// Which attempt is which does not matter, only how many of each sort there are on each edge.
    /// So what was told is matched with its like first, then with another ending on the same edge,
    /// and only what is left over is taken back.
    pub(super) fn settle(&mut self, attempts: Vec<Attempt>) -> (Vec<Observation>, Vec<Attempt>) {
        let mut edges: BTreeMap<(Edge, bool), (Vec<Counted>, Vec<Attempt>)> = BTreeMap::new();
        for counted in self.counted.drain(..) {
            let key = (counted.edge.clone(), counted.from_proxy);
            edges.entry(key).or_default().0.push(counted);
        }
        for attempt in attempts {
            let key = (attempt.edge.clone(), attempt.from_proxy);
            edges.entry(key).or_default().1.push(attempt);
        }
        let (mut corrections, mut fresh) = (Vec::new(), Vec::new());
        for (old, new) in edges.into_values() {
            let (mut old, mut new) = self.keep(old, new);
            while let (Some(_), Some(attempt)) = (old.last(), new.last()) {
                let ending = attempt.ending;
                new.pop();
                self.counted.extend(old.pop().map(|mut counted| {
                    corrections.push(counted.corrected(Some(ending)));
                    counted.ending = ending;
                    counted
                }));
            }
            corrections.extend(old.iter().map(|counted| counted.corrected(None)));
            self.counted.extend(new.iter().map(Counted::of));
            fresh.append(&mut new);
        }
        (corrections, fresh)
    }

    /// Keeps what was told and is still true; what is left of both sides.
    fn keep(
        &mut self,
        mut old: Vec<Counted>,
        mut new: Vec<Attempt>,
    ) -> (Vec<Counted>, Vec<Attempt>) {
        old.sort_by_key(|counted| counted.ending);
        new.sort_by_key(|attempt| attempt.ending);
        let mut left = (Vec::new(), Vec::new());
        let mut new = new.into_iter().peekable();
        for counted in old {
            while let Some(attempt) = new.next_if(|attempt| attempt.ending < counted.ending) {
                left.1.push(attempt);
            }
            if new.next_if(|attempt| attempt.ending == counted.ending).is_some() {
                self.counted.push(counted);
            } else {
                left.0.push(counted);
            }
        }
        left.1.extend(new);
        left
    }
}

impl Counted {
    fn of(attempt: &Attempt) -> Self {
        Self {
            edge: attempt.edge.clone(),
            ending: attempt.ending,
            from_proxy: attempt.from_proxy,
            weight: attempt.weight,
            at_unix_ms: attempt.at_unix_ms,
        }
    }

    fn corrected(&self, is: Option<Ending>) -> Observation {
        Observation::Corrected {
            edge: self.edge.clone(),
            was: self.ending,
            is,
            weight: self.weight,
            at_unix_ms: self.at_unix_ms,
            from_proxy: self.from_proxy,
        }
    }
}

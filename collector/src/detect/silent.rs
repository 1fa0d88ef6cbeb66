//! Subsets that a policy sends to and that nobody hears of: that is a finding by itself. Pods of a
//! broken canary often tell nothing at all; and where a subset has no endpoints, its share of the
//! requests is answered 503 by the caller's proxy.

use crate::store::{Split, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A subset is missed once so many requests should have gone there, in a minute at most, and in so
/// many seconds at least.
const MISSED_MIN: f64 = 50.0;
const SECONDS_MAX: u64 = 60;
const SECONDS_MIN: u64 = 10;

/// Subsets that have a weight and are not heard of.
#[derive(Debug, Default)]
pub(crate) struct SilentSubsets(BTreeMap<(Split, Arc<str>), Silent>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Silent {
    /// Since which second it has a weight and is not heard of.
    pub(crate) since: u64,
    /// Its share of the weights, 0 … 1.
    pub(crate) share: f64,
    /// Requests that should have gone there since then, in a minute at most.
    pub(crate) missed: f64,
    is_told: bool,
}

impl SilentSubsets {
    /// Looks at the minute that ends with `last`. `weights` are those of a split, by subset; `None`
    /// where no policy splits it.
    pub(crate) fn judge(
        &mut self,
        store: &Store,
        last: u64,
        weights: impl Fn(&Split) -> Option<BTreeMap<String, u32>>,
    ) {
        let before = std::mem::take(&mut self.0);
        for (split, subsets) in store.subsets().iter() {
            let Some(weights) = weights(split) else { continue };
            let sum: f64 = weights.values().copied().map(f64::from).sum();
            for (subset, weight) in weights {
                let share = f64::from(weight) / sum.max(1.0);
                // Where all of it goes there is nobody to tell of it.
                if subsets.contains_key(&*subset) || share <= 0.0 || 1.0 <= share {
                    continue;
                }
                let key = (split.clone(), Arc::from(subset));
                let since = before.get(&key).map_or(last, |silent| silent.since);
                let seconds = (last - since.min(last)).min(SECONDS_MAX);
                let others = subsets.values().map(|track| track.sum(last, seconds).attempts());
                // Of all that came, what was heard is the others' part.
                let missed = others.sum::<f64>() * share / (1.0 - share);
                let is_told = SECONDS_MIN <= seconds && MISSED_MIN <= missed;
                self.0.insert(key, Silent { since, share, missed, is_told });
            }
        }
    }

    /// Those that are missed, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Split, &Arc<str>, &Silent)> {
        let missed = self.0.iter().filter(|(_, silent)| silent.is_told);
        missed.map(|((split, subset), silent)| (split, subset, silent))
    }
}

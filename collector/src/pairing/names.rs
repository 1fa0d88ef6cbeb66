//! Names of services, each held once.

use crate::spans::Origin;
use fusebox_proto::ServiceId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Services that are told apart; what comes beyond is `other`.
const NAMES_MAX: usize = 65_536;
/// A name that was not used for one to two of these makes room: as long as the graph remembers.
const GENERATION: Duration = Duration::from_mins(10);

/// A bounded set of services, in two generations.
#[derive(Debug)]
pub(super) struct Names {
    current: HashSet<ServiceId>,
    previous: HashSet<ServiceId>,
    began: Option<Instant>,
    len_max: usize,
    /// How often a name did not fit.
    pub(super) overflowed: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(NAMES_MAX)
    }
}

impl Names {
    fn new(len_max: usize) -> Self {
        let (current, previous) = (HashSet::new(), HashSet::new());
        Self { current, previous, began: None, len_max, overflowed: 0 }
    }

    /// The service of this name, sharing its text with all others of the name; `other` of no
    /// environment where there is no place for a new one.
    pub(super) fn intern(&mut self, now: Instant, service: &ServiceId) -> ServiceId {
        let began = *self.began.get_or_insert(now);
        if GENERATION <= now.saturating_duration_since(began) {
            self.previous = std::mem::take(&mut self.current);
            self.began = Some(now);
        }
        if let Some(known) = self.current.get(service) {
            return known.clone();
        }
        if let Some(known) = self.previous.take(service) {
            self.current.insert(known.clone());
            return known;
        }
        if self.len_max <= self.current.len() + self.previous.len() {
            self.overflowed += 1;
            return ServiceId::named("other").expect("it is not empty and not long");
        }
        self.current.insert(service.clone());
        service.clone()
    }

    /// The origin with its service interned.
    pub(super) fn origin(&mut self, now: Instant, origin: &Arc<Origin>) -> Arc<Origin> {
        let service = self.intern(now, &origin.service);
        Arc::new(Origin { service, ..(**origin).clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::Now;

    /// Scenario: more names than there is place for; later most of them are not used any more.
    /// Guarantees: known ones stay themselves, new ones become `other` and are counted; a name that
    /// nobody used for long makes room for a new one.
    #[test]
    fn what_does_not_fit_is_other() {
        let start = Now::read().instant;
        let mut names = Names::new(2);
        let mut check = |at_s: u64, name: &str, expected: &str| {
            let now = start + Duration::from_secs(at_s);
            let named = |name: &str| ServiceId::named(name).unwrap();
            assert_eq!(names.intern(now, &named(name)), named(expected), "{name} at {at_s}");
        };
        check(0, "a", "a");
        check(0, "b", "b");
        check(0, "c", "other");
        check(0, "a", "a");
        check(700, "a", "a");
        check(700, "c", "other");
        check(1_400, "a", "a");
        check(1_400, "c", "c");
        check(1_400, "b", "other");
        assert_eq!(names.overflowed, 3);
    }
}

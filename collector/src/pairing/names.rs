//! Names of services, each held once.

use crate::spans::Origin;
use fusebox_proto::ServiceId;
use std::collections::HashSet;
use std::sync::Arc;

/// Services that are told apart; what comes beyond is `other`.
const NAMES_MAX: usize = 65_536;

/// A bounded set of services.
#[derive(Debug)]
pub(super) struct Names {
    known: HashSet<ServiceId>,
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
        Self { known: HashSet::new(), len_max, overflowed: 0 }
    }

    /// The service of this name, sharing its text with all others of the name; `other` of no
    /// environment where there is no place for a new one.
    pub(super) fn intern(&mut self, service: &ServiceId) -> ServiceId {
        if let Some(known) = self.known.get(service) {
            return known.clone();
        }
        if self.len_max <= self.known.len() {
            self.overflowed += 1;
            return ServiceId::named("other").expect("it is not empty and not long");
        }
        self.known.insert(service.clone());
        service.clone()
    }

    /// The origin with its service interned.
    pub(super) fn origin(&mut self, origin: &Arc<Origin>) -> Arc<Origin> {
        let service = self.intern(&origin.service);
        Arc::new(Origin { service, ..(**origin).clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: more names than there is place for.
    /// Guarantees: known ones stay themselves, new ones become `other` and are counted.
    #[test]
    fn what_does_not_fit_is_other() {
        let named = |name: &str| ServiceId::named(name).unwrap();
        let mut names = Names::new(2);
        assert_eq!(names.intern(&named("a")), named("a"));
        assert_eq!(names.intern(&named("b")), named("b"));
        assert_eq!(names.intern(&named("c")), named("other"));
        assert_eq!(names.intern(&named("a")), named("a"));
        assert_eq!(names.overflowed, 1);
    }
}

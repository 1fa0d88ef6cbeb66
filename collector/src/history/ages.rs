//! How old the records of a table are that are kept by name.
//!
//! Their order there says nothing of their age, and to read all of them for it, at some 10 kB each,
//! would be hundreds of megabytes for each that goes. So their times are held in memory, from when the
//! file is opened.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// When each was written, Unix time in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Ages {
    by_name: HashMap<Arc<str>, u64>,
    by_age: BTreeSet<(u64, Arc<str>)>,
}

impl Ages {
    /// A record was written, or written anew.
    pub(super) fn note(&mut self, name: &str, at_unix_ms: u64) {
        let name: Arc<str> = name.into();
        if let Some(before) = self.by_name.insert(Arc::clone(&name), at_unix_ms) {
            self.by_age.remove(&(before, Arc::clone(&name)));
        }
        self.by_age.insert((at_unix_ms, name));
    }

    /// Forgets the oldest and names it, where there are more than so many or it was written before
    /// `from_unix_ms`.
    pub(super) fn pop_surplus(&mut self, count_max: usize, from_unix_ms: u64) -> Option<Arc<str>> {
        let (at_unix_ms, _) = self.by_age.first()?;
        if self.by_age.len() <= count_max && from_unix_ms <= *at_unix_ms {
            return None;
        }
        let (_, name) = self.by_age.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: four records, one of which is written anew; there is room for two, then the rest is
    /// too old.
    /// Guarantees: the oldest go first, each by its newest time, and none that has room and is young.
    #[test]
    fn the_oldest_go_first() {
        let mut ages = Ages::default();
        for (name, at) in [("d", 1), ("c", 2), ("b", 3), ("a", 4), ("d", 5)] {
            ages.note(name, at);
        }
        let mut pop = |count_max, from| ages.pop_surplus(count_max, from).map(|it| it.to_string());
        assert_eq!(pop(2, 0).as_deref(), Some("c"));
        assert_eq!(pop(2, 0).as_deref(), Some("b"));
        assert_eq!(pop(2, 4), None);
        assert_eq!(pop(2, 5).as_deref(), Some("a"));
        assert_eq!(pop(2, 6).as_deref(), Some("d"));
        assert_eq!(pop(0, 9), None);
    }
}

//! One account for the bytes of requests in flight, so that many large bodies together cannot
//! exhaust the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of requests in flight, as they came and decompressed, over all connections.
const IN_FLIGHT_LEN_MAX: usize = 128 * 1024 * 1024;

/// The account.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    used_len: AtomicUsize,
}

/// What one request holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    len: AtomicUsize,
}

impl Ledger {
    /// An empty charge.
    pub(crate) fn charge(self: &Arc<Self>) -> Charge {
        Charge { ledger: Arc::clone(self), len: AtomicUsize::new(0) }
    }
}

impl Charge {
    /// Charges `len` bytes more; `false` where the account does not have them.
    #[must_use]
    pub(crate) fn add(&self, len: usize) -> bool {
        let room = |used: usize| used.checked_add(len).filter(|sum| *sum <= IN_FLIGHT_LEN_MAX);
        let taken = self.ledger.used_len.fetch_update(Relaxed, Relaxed, room).is_ok();
        if taken {
            self.len.fetch_add(len, Relaxed);
        }
        taken
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.used_len.fetch_sub(*self.len.get_mut(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: charges up to the limit, one beyond it, and one after others went away.
    /// Guarantees: the account is never overdrawn, and what was held comes back.
    #[test]
    fn the_account_is_never_overdrawn() {
        let ledger = Arc::new(Ledger::default());
        let (first, second) = (ledger.charge(), ledger.charge());
        assert!(first.add(IN_FLIGHT_LEN_MAX - 10) && second.add(10));
        assert!(!second.add(1) && !first.add(usize::MAX));
        drop(first);
        assert!(second.add(IN_FLIGHT_LEN_MAX - 10) && !second.add(1));
        drop(second);
        assert_eq!(ledger.used_len.load(Relaxed), 0);
    }
}

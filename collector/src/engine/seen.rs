//! Which windows of a proxy were taken: a resent one must not count twice.

/// Windows this far behind the newest are still told from resent ones; a proxy keeps fewer.
const BEHIND_MAX: u64 = u128::BITS as u64;

/// A window that is missing when so many later ones are there is lost.
const REORDERED_MAX: u64 = 8;

/// Numbers taken within one boot of one proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    boot: u64,
    /// The first number heard of; what came before was not for us.
    first: u64,
    highest: u64,
    /// Bit n: `highest - n` was taken.
    taken: u128,
}

impl Seen {
    /// Whether window `number` of `boot` is new; if so it is taken now. Windows of an older boot
    /// are never new: the process that made them is gone, and with it who could resend them.
    pub(crate) const fn take(&mut self, boot: u64, number: u64) -> bool {
        if boot < self.boot {
            return false;
        }
        if self.boot < boot || self.taken == 0 {
            *self = Self { boot, first: number, highest: number, taken: 1 };
            return true;
        }
        if self.highest < number {
            let shift = number - self.highest;
            self.taken = if shift < BEHIND_MAX { self.taken << shift } else { 0 };
            self.taken |= 1;
            self.highest = number;
            return true;
        }
        let behind = self.highest - number;
        if BEHIND_MAX <= behind || self.taken >> behind & 1 == 1 {
            return false;
        }
        self.taken |= 1 << behind;
        if number < self.first {
            self.first = number;
        }
        true
    }

    /// The newest boot, and the number up to which all its windows were taken, or will not come
    /// any more.
    pub(crate) fn settled(&self) -> (u64, u64) {
        let is_missing =
            |behind: &u64| self.first + behind < self.highest && self.taken >> behind & 1 == 0;
        let missing = (1..REORDERED_MAX).rev().find(is_missing);
        (self.boot, missing.map_or(self.highest, |behind| self.highest - behind - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: windows in order, out of order, resent, from before and after a restart.
    /// Guarantees: each window counts exactly once.
    #[test]
    fn each_window_counts_once() {
        let mut seen = Seen::default();
        let mut check = |boot, number, expected| {
            assert_eq!(seen.take(boot, number), expected, "window {number} of boot {boot}");
        };
        check(7, 5, true);
        check(7, 5, false);
        check(7, 3, true);
        check(7, 6, true);
        check(7, 3, false);
        check(7, 4, true);
        check(6, 9, false);
        check(8, 1, true);
        check(7, 7, false);
        check(8, 1, false);
        check(8, 500, true);
        check(8, 499, true);
        check(8, 2, false);
        check(8, u64::MAX, true);
        check(8, u64::MAX, false);
    }

    /// Scenario: windows that overtake each other, and one that never comes.
    /// Guarantees: a proxy is told to forget only what was taken, and is not held up for ever.
    #[test]
    fn what_a_proxy_may_forget() {
        let mut seen = Seen::default();
        let mut check = |number, settled| {
            seen.take(7, number);
            assert_eq!(seen.settled(), (7, settled), "after window {number}");
        };
        check(20, 20);
        check(22, 20);
        check(21, 22);
        check(19, 22);
        check(25, 22);
        check(23, 23);
        check(26, 23);
        check(30, 23);
        check(40, 32);
        check(41, 33);
    }
}

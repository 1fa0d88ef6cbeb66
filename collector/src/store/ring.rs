//! The last seconds of something, by second.

use std::collections::VecDeque;

/// Seconds that are kept: the 60 that figures are about, and a few for what comes late.
pub(crate) const SECONDS_MAX: usize = 66;

/// A value for each of the last [`SECONDS_MAX`] seconds; a second is the Unix time ÷ 1 s.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ring<T> {
    cells: VecDeque<T>,
    newest: u64,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { cells: VecDeque::new(), newest: 0 }
    }
}

impl<T: Default> Ring<T> {
    /// The cell of `second`, made if it is newer than all; cells that fall out go to `evicted`.
    /// `None` if it is older than what is kept.
    pub(crate) fn cell_mut(&mut self, second: u64, mut evicted: impl FnMut(T)) -> Option<&mut T> {
        if self.cells.is_empty() {
            self.newest = second;
            self.cells.push_back(T::default());
        }
        let is_far = self.newest + (SECONDS_MAX as u64) <= second;
        if is_far {
            self.cells.drain(..).for_each(&mut evicted);
            self.newest = second;
            self.cells.push_back(T::default());
        }
        while self.newest < second {
            self.newest += 1;
            self.cells.push_back(T::default());
            if SECONDS_MAX < self.cells.len() {
                self.cells.pop_front().into_iter().for_each(&mut evicted);
            }
        }
        let age = usize::try_from(self.newest - second).ok()?;
        while self.cells.len() <= age && self.cells.len() < SECONDS_MAX {
            self.cells.push_front(T::default());
        }
        let index = self.cells.len().checked_sub(age + 1)?;
        self.cells.get_mut(index)
    }

    /// Lets go of seconds before `oldest`.
    pub(crate) fn forget_before(&mut self, oldest: u64, mut evicted: impl FnMut(T)) {
        while !self.cells.is_empty() && self.oldest() < oldest {
            self.cells.pop_front().into_iter().for_each(&mut evicted);
        }
    }
}

impl<T> Ring<T> {
    /// The newest second that has a cell; 0 where there is none.
    pub(crate) const fn newest(&self) -> u64 {
        self.newest
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    fn oldest(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.cells.len() as u64)
    }

    /// What stands at `second`, if anything.
    pub(crate) fn get(&self, second: u64) -> Option<&T> {
        let age = usize::try_from(self.newest.checked_sub(second)?).ok()?;
        self.cells.get(self.cells.len().checked_sub(age + 1)?)
    }

    /// What stands in the seconds `from..=to`, oldest first; seconds without a cell are left out.
    pub(crate) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &T)> {
        let oldest = self.oldest();
        let skip = usize::try_from(from.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let seconds = (oldest..).zip(&self.cells).skip(skip);
        seconds.take_while(move |(second, _)| *second <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ring: &Ring<u32>) -> Vec<(u64, u32)> {
        ring.range(0, u64::MAX).map(|(second, cell)| (second, *cell)).filter(|c| c.1 != 0).collect()
    }

    /// Scenario: cells are written in order, out of order, too late and after a long silence.
    /// Guarantees: each lands in its second, what falls out is handed over, nothing else moves.
    #[test]
    fn seconds_keep_their_place() {
        let mut ring = Ring::default();
        let mut out = Vec::new();
        let mut write = |ring: &mut Ring<u32>, second, value| {
            let cell = ring.cell_mut(second, |gone| out.push(gone));
            cell.map(|cell| *cell += value).is_some()
        };
        assert!(write(&mut ring, 1_000, 1));
        assert!(write(&mut ring, 1_003, 3));
        assert!(write(&mut ring, 1_001, 2));
        assert!(write(&mut ring, 998, 9), "older than all, but within the span");
        assert_eq!(kept(&ring), [(998, 9), (1_000, 1), (1_001, 2), (1_003, 3)]);
        assert!(write(&mut ring, 998 + SECONDS_MAX as u64, 5));
        assert!(!write(&mut ring, 998, 1), "fell out");
        assert!(write(&mut ring, 5_000, 7), "a long silence");
        assert_eq!(kept(&ring), [(5_000, 7)]);
        out.retain(|gone| *gone != 0);
        assert_eq!(out, [9, 1, 2, 3, 5]);
        assert_eq!((ring.get(5_000), ring.get(5_001), ring.get(4_000)), (Some(&7), None, None));
    }
}

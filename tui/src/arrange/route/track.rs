//! Tracks of one channel: which trunk runs left of which.

use std::collections::BTreeSet;

/// Passes of the search for a better order.
const PASSES: usize = 12;
/// What it costs when two trunks run over each other on the same row.
const OVERLAP: usize = 20;

/// One caller's vertical in one channel.
#[derive(Clone, Debug)]
pub(super) struct Trunk<O> {
    pub(super) owner: O,
    /// Rows that it comes in at from the left.
    lefts: BTreeSet<i32>,
    /// Rows that it leaves at to the right.
    rights: BTreeSet<i32>,
    pub(super) track: usize,
}

impl<O> Trunk<O> {
    pub(super) fn new(owner: O) -> Self {
        Self { owner, lefts: BTreeSet::new(), rights: BTreeSet::new(), track: 0 }
    }

    pub(super) fn add(&mut self, left: Option<i32>, right: i32) {
        self.lefts.extend(left);
        self.rights.insert(right);
    }

    fn extent(&self) -> (i32, i32) {
        let rows = || self.lefts.iter().chain(&self.rights);
        (rows().min().copied().unwrap_or(0), rows().max().copied().unwrap_or(0))
    }

    fn is_straight(&self) -> bool {
        let (top, bottom) = self.extent();
        top == bottom
    }

    fn contains(&self, row: i32) -> bool {
        let (top, bottom) = self.extent();
        top < row && row < bottom
    }

    /// What it costs to have `self` left of `other`.
    fn cost(&self, other: &Self) -> usize {
        let out = self.rights.iter().filter(|row| other.contains(**row)).count();
        let into = other.lefts.iter().filter(|row| self.contains(**row)).count();
        let over = self.rights.intersection(&other.lefts).count();
        out + into + OVERLAP * over
    }
}

/// Tracks that these trunks need.
pub(super) fn count<O>(trunks: &[Trunk<O>]) -> usize {
    trunks.iter().filter(|t| !t.is_straight()).map(|t| t.track + 1).max().unwrap_or(0)
}

/// Orders trunks from left to right and gives each a track.
pub(super) fn assign<O>(mut trunks: Vec<Trunk<O>>) -> Vec<Trunk<O>> {
    trunks.sort_by_key(|t| (t.is_straight(), t.extent()));
    let bent = trunks.iter().filter(|t| !t.is_straight()).count();
    for _ in 0..PASSES {
        let mut settled = true;
        for from in 0..bent {
            for to in 0..bent {
                if move_gain(&trunks[..bent], from, to) {
                    let trunk = trunks.remove(from);
                    trunks.insert(to, trunk);
                    settled = false;
                }
            }
        }
        if settled {
            break;
        }
    }
    for at in 0..bent {
        let (left, right) = trunks.split_at_mut(at);
        let trunk = &mut right[0];
        let (top, bottom) = trunk.extent();
        let touches = |other: &&Trunk<O>| {
            let (above, below) = other.extent();
            above <= bottom && top <= below
        };
        trunk.track = left.iter().filter(touches).map(|t| t.track + 1).max().unwrap_or(0);
    }
    trunks
}

/// Whether moving a trunk to another place in the order makes it cheaper.
fn move_gain<O>(trunks: &[Trunk<O>], from: usize, to: usize) -> bool {
    let moved = &trunks[from];
    let (before, after) = if from < to {
        let passed = &trunks[from + 1..=to];
        (sum(passed, |t| moved.cost(t)), sum(passed, |t| t.cost(moved)))
    } else {
        let passed = &trunks[to..from];
        (sum(passed, |t| t.cost(moved)), sum(passed, |t| moved.cost(t)))
    };
    after < before
}

fn sum<O>(trunks: &[Trunk<O>], cost: impl Fn(&Trunk<O>) -> usize) -> usize {
    trunks.iter().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trunk(left: i32, rights: &[i32]) -> Trunk<i32> {
        let mut trunk = Trunk::new(left);
        for right in rights {
            trunk.add(Some(left), *right);
        }
        trunk
    }

    fn tracks(trunks: Vec<Trunk<i32>>) -> Vec<(i32, usize)> {
        let mut tracks: Vec<_> = assign(trunks).into_iter().map(|t| (t.owner, t.track)).collect();
        tracks.sort_unstable();
        tracks
    }

    /// Scenario: trunks apart, trunks that would cross, a trunk that leaves on the row on which
    /// another comes in, straight ones.
    /// Guarantees: apart they share a track; else the order has the fewest crossings and no two
    /// run over each other.
    #[test]
    fn order_avoids_crossings() {
        assert_eq!(tracks(vec![trunk(0, &[2]), trunk(5, &[8])]), [(0, 0), (5, 0)]);
        // Both go down: the lower one must turn first.
        assert_eq!(tracks(vec![trunk(0, &[6]), trunk(3, &[9])]), [(0, 1), (3, 0)]);
        // Both go up: the upper one must turn first.
        assert_eq!(tracks(vec![trunk(9, &[3]), trunk(6, &[0])]), [(6, 0), (9, 1)]);
        // The second comes in where the first leaves.
        assert_eq!(tracks(vec![trunk(0, &[4]), trunk(4, &[8])]), [(0, 1), (4, 0)]);
        assert_eq!(count(&assign(vec![trunk(1, &[1])])), 0);
    }
}

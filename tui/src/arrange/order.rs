//! Order within ranks: few crossings. Barycentre sweeps, then exchanges of neighbours, the best
//! order seen wins.

use std::collections::{BTreeMap, BTreeSet};

/// Sweeps in each direction; more change nothing on graphs that fit a screen.
const SWEEPS: usize = 12;

/// What stands in a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A node.
    Node(usize),
    /// The forward calls of a node, passing through.
    Lane(usize),
    /// A call against the direction, passing through: caller, callee.
    Back(usize, usize),
}

/// Something with a place in a rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) rank: usize,
}

/// Items in ranks, with the links between neighbouring ranks.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) items: Vec<Item>,
    /// Indices of items, from top to bottom, by rank.
    pub(super) ranks: Vec<Vec<usize>>,
    /// Neighbours in the rank before.
    pub(super) left: Vec<Vec<usize>>,
    /// Neighbours in the rank after.
    pub(super) right: Vec<Vec<usize>>,
}

impl Layers {
    /// Items and their order for nodes of these ranks.
    pub(super) fn new(ranks: &[usize], calls: &[(usize, usize)]) -> Self {
        let mut layers = Self::unordered(ranks, calls);
        layers.order();
        layers
    }

    fn unordered(ranks: &[usize], calls: &[(usize, usize)]) -> Self {
        let mut links = BTreeSet::new();
        let mut seen: BTreeSet<(usize, Kind)> =
            (0..ranks.len()).map(|node| (ranks[node], Kind::Node(node))).collect();
        for &(a, b) in calls {
            let (from, to, back) = if ranks[a] < ranks[b] { (a, b, false) } else { (b, a, true) };
            let mut last = (ranks[from], Kind::Node(from));
            for rank in ranks[from] + 1..ranks[to] {
                let kind = if back { Kind::Back(a, b) } else { Kind::Lane(a) };
                seen.insert((rank, kind));
                links.insert((last, (rank, kind)));
                last = (rank, kind);
            }
            if ranks[from] != ranks[to] {
                links.insert((last, (ranks[to], Kind::Node(to))));
            }
        }
        let index: BTreeMap<(usize, Kind), usize> =
            seen.iter().enumerate().map(|(at, key)| (*key, at)).collect();
        let mut layers = Self {
            items: seen.iter().map(|&(rank, kind)| Item { kind, rank }).collect(),
            ranks: vec![Vec::new(); ranks.iter().max().map_or(0, |max| max + 1)],
            left: vec![Vec::new(); seen.len()],
            right: vec![Vec::new(); seen.len()],
        };
        for (at, item) in layers.items.iter().enumerate() {
            layers.ranks[item.rank].push(at);
        }
        for (a, b) in links {
            layers.right[index[&a]].push(index[&b]);
            layers.left[index[&b]].push(index[&a]);
        }
        layers
    }

    fn order(&mut self) {
        let mut best = (self.crossings(), self.ranks.clone());
        for sweep in 0..SWEEPS {
            self.sweep(sweep % 2 == 0);
            self.exchange();
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.ranks.clone());
            }
        }
        self.ranks = best.1;
    }

    /// Sorts each rank by the mean place of its neighbours on one side.
    fn sweep(&mut self, rightwards: bool) {
        let count = self.ranks.len();
        for step in 0..count {
            let rank = if rightwards { step } else { count - 1 - step };
            let places = self.places();
            let neighbours = if rightwards { &self.left } else { &self.right };
            let centre = |item: usize| {
                let near = &neighbours[item];
                if near.is_empty() {
                    return places[item];
                }
                near.iter().map(|&n| places[n]).sum::<f64>() / near.len() as f64
            };
            let mut order: Vec<(f64, usize)> =
                self.ranks[rank].iter().map(|&item| (centre(item), item)).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.ranks[rank] = order.into_iter().map(|(_, item)| item).collect();
        }
    }

    /// Place of each item within its rank, 0…1, so that ranks of different length compare.
    fn places(&self) -> Vec<f64> {
        let mut places = vec![0.0; self.items.len()];
        for rank in &self.ranks {
            for (at, &item) in rank.iter().enumerate() {
                places[item] = (at as f64 + 0.5) / rank.len() as f64;
            }
        }
        places
    }

    /// Exchanges neighbours in a rank while that removes crossings.
    fn exchange(&mut self) {
        let mut place = vec![0; self.items.len()];
        for rank in &self.ranks {
            for (at, &item) in rank.iter().enumerate() {
                place[item] = at;
            }
        }
        for rank in 0..self.ranks.len() {
            for _ in 0..self.ranks[rank].len() {
                let mut settled = true;
                for at in 1..self.ranks[rank].len() {
                    let (upper, lower) = (self.ranks[rank][at - 1], self.ranks[rank][at]);
                    if self.between(lower, upper, &place) < self.between(upper, lower, &place) {
                        self.ranks[rank].swap(at - 1, at);
                        place.swap(upper, lower);
                        settled = false;
                    }
                }
                if settled {
                    break;
                }
            }
        }
    }

    /// Crossings between the links of two items of a rank, if `upper` stands above `lower`.
    fn between(&self, upper: usize, lower: usize, place: &[usize]) -> usize {
        let count = |a: &[usize], b: &[usize]| {
            a.iter().map(|&x| b.iter().filter(|&&y| place[y] < place[x]).count()).sum::<usize>()
        };
        count(&self.left[upper], &self.left[lower]) + count(&self.right[upper], &self.right[lower])
    }

    fn crossings(&self) -> usize {
        let mut place = vec![0; self.items.len()];
        for rank in &self.ranks {
            for (at, &item) in rank.iter().enumerate() {
                place[item] = at;
            }
        }
        let mut total = 0;
        for rank in &self.ranks {
            for (at, &upper) in rank.iter().enumerate() {
                for &lower in &rank[at + 1..] {
                    let right = |item: usize| self.right[item].iter();
                    total += right(upper)
                        .map(|&x| right(lower).filter(|&&y| place[y] < place[x]).count())
                        .sum::<usize>();
                }
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: two pairs of calls that cross in the order of names.
    /// Guarantees: the order that is found has no crossing.
    #[test]
    fn removable_crossings_are_removed() {
        // 0 and 1 call 3 and 2; 2 and 3 call 5 and 4.
        let calls = [(0, 3), (1, 2), (2, 5), (3, 4)];
        let layers = Layers::new(&[0, 0, 1, 1, 2, 2], &calls);
        assert_eq!(layers.crossings(), 0);
    }

    /// Scenario: a caller with calls over two and three ranks.
    /// Guarantees: it has one lane in each rank between, however many calls pass.
    #[test]
    fn a_caller_has_one_lane_a_rank() {
        let layers = Layers::new(&[0, 1, 2, 3, 3], &[(0, 1), (1, 2), (0, 3), (0, 4), (2, 3)]);
        let lanes: Vec<usize> = layers
            .items
            .iter()
            .filter(|i| matches!(i.kind, Kind::Lane(0)))
            .map(|i| i.rank)
            .collect();
        assert_eq!(lanes, [1, 2]);
    }
}

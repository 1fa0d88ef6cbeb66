//! Rows: each item as near to its neighbours as the order of its rank allows.
//!
//! Within a rank this is isotonic regression: items have a wish, an order and distances to keep.
//! Take the distances away, and what is left is to find the rising sequence nearest to the wishes,
//! which the pool-adjacent-violators algorithm does in one pass (Ayer et al. 1955).

use super::NODE_HEIGHT;
use super::order::{Kind, Layers};

/// Passes over all ranks, there and back.
const PASSES: usize = 10;

/// The row of each item, the topmost 0.
pub(super) fn rows(layers: &Layers) -> Vec<i32> {
    let mut rows = vec![0; layers.items.len()];
    for rank in &layers.ranks {
        fit(layers, rank, &mut rows, |_| 0.0);
    }
    for pass in 0..PASSES {
        let last = pass + 1 == PASSES;
        for step in 0..layers.ranks.len() {
            let rightwards = pass % 2 == 0;
            let rank = if rightwards { step } else { layers.ranks.len() - 1 - step };
            let before = rows.clone();
            fit(layers, &layers.ranks[rank], &mut rows, |item| {
                let side = if rightwards { &layers.left[item] } else { &layers.right[item] };
                let other = if rightwards { &layers.right[item] } else { &layers.left[item] };
                let near: Vec<i32> = match (last, side.is_empty()) {
                    (true, _) => side.iter().chain(other).map(|&n| before[n]).collect(),
                    (_, false) => side.iter().map(|&n| before[n]).collect(),
                    (_, true) => other.iter().map(|&n| before[n]).collect(),
                };
                median(near).unwrap_or_else(|| f64::from(before[item]))
            });
        }
    }
    let top = rows.iter().copied().min().unwrap_or(0);
    rows.iter().map(|row| row - top).collect()
}

/// Moves the items of a rank to their wishes, as far as order and distances allow.
fn fit(layers: &Layers, rank: &[usize], rows: &mut [i32], wish: impl Fn(usize) -> f64) {
    let mut offset = 0;
    let mut offsets = Vec::with_capacity(rank.len());
    for (at, &item) in rank.iter().enumerate() {
        if 0 < at {
            offset += distance(layers.items[rank[at - 1]].kind, layers.items[item].kind);
        }
        offsets.push(offset);
    }
    let wishes: Vec<(f64, f64)> = rank
        .iter()
        .zip(&offsets)
        .map(|(&item, &offset)| (wish(item) - f64::from(offset), weight(layers.items[item].kind)))
        .collect();
    for ((&item, offset), level) in rank.iter().zip(offsets).zip(rising(&wishes)) {
        rows[item] = level.round() as i32 + offset;
    }
}

/// Rows from the top of one item to the top of the next.
fn distance(upper: Kind, lower: Kind) -> i32 {
    match (upper, lower) {
        (Kind::Node(_), Kind::Node(_)) => NODE_HEIGHT + 1,
        (Kind::Node(_), _) => NODE_HEIGHT,
        _ => 1,
    }
}

/// A lane that bends costs two corners in every rank, a node none.
fn weight(kind: Kind) -> f64 {
    if matches!(kind, Kind::Node(_)) { 1.0 } else { 2.0 }
}

fn median(mut values: Vec<i32>) -> Option<f64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(f64::from(values[middle])),
        _ => Some(f64::midpoint(f64::from(values[middle - 1]), f64::from(values[middle]))),
    }
}

/// The rising sequence nearest to weighted values: pools of neighbours that would fall.
fn rising(values: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for &(value, weight) in values {
        let mut pool = (value, weight, 1);
        while let Some(&(level, mass, count)) = pools.last() {
            if level < pool.0 {
                break;
            }
            let sum = mass + pool.1;
            pool = ((level * mass + pool.0 * pool.1) / sum, sum, count + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    pools.iter().flat_map(|&(level, _, count)| std::iter::repeat_n(level, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: wishes that rise, that fall, that are equal.
    /// Guarantees: the result never falls and keeps what already rose.
    #[test]
    fn regression_rises() {
        let check = |values: &[f64], expected: &[f64]| {
            let weighted: Vec<_> = values.iter().map(|v| (*v, 1.0)).collect();
            assert_eq!(rising(&weighted), expected);
        };
        check(&[1.0, 2.0, 4.0], &[1.0, 2.0, 4.0]);
        check(&[3.0, 1.0], &[2.0, 2.0]);
        check(&[1.0, 5.0, 3.0, 4.0], &[1.0, 4.0, 4.0, 4.0]);
        check(&[], &[]);
    }

    /// Scenario: a chain beside a node with three callees.
    /// Guarantees: nodes of a rank keep their distance, a chain is straight.
    #[test]
    fn chains_are_straight() {
        let layers = Layers::new(&[0, 1, 1, 1, 2], &[(0, 1), (0, 2), (0, 3), (2, 4)]);
        let rows = rows(&layers);
        let row = |node| {
            let at = layers.items.iter().position(|i| i.kind == Kind::Node(node));
            rows[at.expect("every node is an item")]
        };
        assert_eq!(row(2), row(4));
        let mut column = [row(1), row(2), row(3)];
        column.sort_unstable();
        assert!(column.windows(2).all(|pair| NODE_HEIGHT < pair[1] - pair[0]), "{column:?}");
    }
}

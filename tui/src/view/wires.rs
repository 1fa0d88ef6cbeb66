//! The graph's lines on cells: which line wins a cell, and which glyph shows what is left.
//!
//! Lines of one tree join, and so do lines on their last stretch into the same callee. Others
//! cross: the hotter one runs through unbroken; of equals the vertical does, like a bridge. So a
//! junction on the screen is always a junction of the graph.

use crate::arrange::Path;
use crate::glyphs::BOX;
use crate::model::severity::Severity;
use std::collections::BTreeMap;

/// A cell of the graph that a line runs through.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    /// Severity of each direction that it leaves in.
    leaves: [Option<Severity>; 4],
    tree: usize,
    entry: Option<String>,
    back: bool,
    /// Of the chosen edge.
    pub(super) chosen: bool,
}

/// A line with what decides its looks.
pub(super) struct Styled<'a> {
    pub(super) path: &'a Path,
    pub(super) severity: Severity,
    pub(super) chosen: bool,
}

impl Wire {
    /// The hottest line in it.
    pub(super) fn severity(&self) -> Severity {
        self.leaves.iter().flatten().max().copied().unwrap_or_default()
    }

    fn is_vertical(&self) -> bool {
        self.leaves[1].is_none() && self.leaves[3].is_none()
    }

    /// The glyph, and its stand-in in ASCII.
    pub(super) fn glyph(&self, ascii: bool) -> String {
        let weights = self.leaves.map(|leaf| leaf.map_or(0, weight));
        if ascii {
            return ascii_glyph(weights).into();
        }
        if self.back && self.severity() < Severity::Bad {
            match weights.map(|w| 0 < w) {
                [false, _, false, _] => return "┈".into(),
                [_, false, _, false] => return "┊".into(),
                _ => {}
            }
        }
        match weights {
            [0, 1, 1, 0] => "╭".into(),
            [0, 0, 1, 1] => "╮".into(),
            [1, 1, 0, 0] => "╰".into(),
            [1, 0, 0, 1] => "╯".into(),
            [up, right, down, left] => {
                let index = up * 27 + right * 9 + down * 3 + left;
                BOX.chars().nth(index).unwrap_or(' ').into()
            }
        }
    }
}

fn weight(severity: Severity) -> usize {
    if severity < Severity::Bad { 1 } else { 2 }
}

fn ascii_glyph(weights: [usize; 4]) -> &'static str {
    let heavy = weights.contains(&2);
    match weights.map(|w| 0 < w) {
        [false, _, false, _] if heavy => "=",
        [false, _, false, _] => "-",
        [_, false, _, false] if heavy => "#",
        [_, false, _, false] => "|",
        _ => "+",
    }
}

/// All cells, cold lines first, so that hot ones run over them.
pub(super) fn wires(lines: &mut [Styled<'_>]) -> BTreeMap<(i32, i32), Wire> {
    lines.sort_by_key(|line| (line.severity, line.chosen));
    let mut cells: BTreeMap<(i32, i32), Wire> = BTreeMap::new();
    for line in lines.iter() {
        for cell in &line.path.cells {
            let new = Wire {
                leaves: cell.leaves.map(|leaves| leaves.then_some(line.severity)),
                tree: line.path.tree,
                entry: cell.entry.then(|| line.path.destination.clone()),
                back: line.path.back,
                chosen: line.chosen,
            };
            match cells.get_mut(&(cell.x, cell.y)) {
                Some(old) => meet(old, new),
                None => drop(cells.insert((cell.x, cell.y), new)),
            }
        }
    }
    cells
}

fn meet(old: &mut Wire, new: Wire) {
    let joins = old.tree == new.tree || (new.entry.is_some() && old.entry == new.entry);
    let is_corner =
        |wire: &Wire| !wire.is_vertical() && (wire.leaves[0].is_some() || wire.leaves[2].is_some());
    if joins || (old.severity() == new.severity() && is_corner(old) && is_corner(&new)) {
        for (leaf, other) in old.leaves.iter_mut().zip(new.leaves) {
            *leaf = (*leaf).max(other);
        }
        old.back &= new.back;
        old.chosen |= new.chosen;
    } else if old.severity() < new.severity() || !old.is_vertical() {
        *old = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(leaves: [usize; 4], tree: usize, entry: Option<&str>) -> Wire {
        let severity = |w: usize| match w {
            0 => None,
            1 => Some(Severity::Ok),
            _ => Some(Severity::Critical),
        };
        Wire {
            leaves: leaves.map(severity),
            tree,
            entry: entry.map(str::to_owned),
            back: false,
            chosen: false,
        }
    }

    /// Scenario: lines that meet in a cell: of one tree, into one callee, strangers, hot and cold.
    /// Guarantees: what belongs together joins, strangers cross without a junction, hot runs over
    /// cold.
    #[test]
    fn a_junction_is_a_junction() {
        let check = |mut old: Wire, new: Wire, expected: &str| {
            meet(&mut old, new);
            assert_eq!(old.glyph(false), expected);
        };
        check(wire([1, 0, 1, 0], 1, None), wire([0, 1, 0, 1], 2, None), "│");
        check(wire([0, 1, 0, 1], 2, None), wire([1, 0, 1, 0], 1, None), "│");
        check(wire([1, 0, 1, 0], 1, None), wire([1, 1, 0, 0], 1, None), "├");
        check(wire([0, 1, 0, 1], 1, Some("cart")), wire([1, 1, 0, 0], 2, Some("cart")), "┴");
        check(wire([1, 0, 1, 0], 1, None), wire([0, 2, 0, 2], 2, None), "━");
        check(wire([1, 0, 1, 0], 1, None), wire([0, 2, 2, 0], 1, None), "┢");
    }
}

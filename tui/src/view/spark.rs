//! Sparklines.

use super::pen::Pen;
use crate::theme::Role;

/// Without the full block: rows below each other must stay apart.
const BLOCKS: [&str; 7] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇"];
const ASCII: [&str; 7] = ["_", ".", ".", "-", "-", "=", "="];

/// The scale reaches at least to this many times what is usual, so that a flat line is low and
/// calm, not a wall.
const HEADROOM: f64 = 3.5;

/// A share of failures that is low on the scale.
pub(super) const FAILURES_USUAL: f64 = 0.03;

/// The widest sparkline in this room in which a minute falls into equal cells; 0 if none fits.
pub(super) fn width(room: u16) -> u16 {
    [60, 30, 20, 15, 12, 10].into_iter().find(|width| *width <= room).unwrap_or(0)
}

/// Draws values, oldest first, into `width` cells that end with the newest. What is usual is
/// `usual` where it is known, else the lower quartile.
pub(super) fn draw(
    pen: &mut Pen<'_>,
    (x, y): (u16, u16),
    width: u16,
    (values, usual): (impl Iterator<Item = f64>, Option<f64>),
    role: Role,
) {
    let values: Vec<f64> = values.collect();
    let style = pen.theme.ink(role);
    let levels = levels(&values, usual, usize::from(width));
    let start = x + width - u16::try_from(levels.len()).unwrap_or(width).min(width);
    for (at, level) in (start..).zip(levels) {
        if let Some(level) = level {
            let glyph = pen.theme.glyph(BLOCKS[level], ASCII[level]);
            pen.put(at, y, glyph, style);
        }
    }
}

/// Height of each cell, 0…6; [`None`] where nothing is known.
fn levels(values: &[f64], usual: Option<f64>, width: usize) -> Vec<Option<usize>> {
    if width == 0 || values.is_empty() {
        return Vec::new();
    }
    let cells = buckets(values, width);
    let mut known: Vec<f64> = cells.iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let (Some(&max), Some(&quartile)) = (known.last(), known.get(known.len() / 4)) else {
        return vec![None; cells.len()];
    };
    let scale = max.max(usual.unwrap_or(quartile) * HEADROOM);
    let level = |v: f64| {
        if scale <= 0.0 { 0 } else { ((v / scale * 7.0).ceil() as usize).clamp(1, 7) - 1 }
    };
    cells.iter().map(|cell| cell.map(level)).collect()
}

/// Means of as many neighbouring values as share a cell.
fn buckets(values: &[f64], width: usize) -> Vec<Option<f64>> {
    let per_cell = values.len().div_ceil(width).max(1);
    // Whole buckets end at the newest value, so that its cell does not change its company each
    // second.
    let first = values.len() % per_cell;
    let (head, rest) = values.split_at(first);
    let mean = |bucket: &[f64]| {
        let known: Vec<f64> = bucket.iter().copied().filter(|v| v.is_finite()).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>().max(0.0) / known.len() as f64)
    };
    let head = (!head.is_empty()).then(|| mean(head));
    head.into_iter().chain(rest.chunks(per_cell).map(mean)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: flat, rising, empty and broken series, longer and shorter than their room.
    /// Guarantees: flat is low, a jump is tall, gaps stay gaps, nothing panics.
    #[test]
    fn shape_is_kept() {
        let check = |values: &[f64], width, expected: &str| {
            let drawn: String = levels(values, None, width)
                .into_iter()
                .map(|level| level.map_or(' ', |l| char::from(b'0' + l as u8)))
                .collect();
            assert_eq!(drawn, expected, "{values:?}");
        };
        check(&[5.0; 4], 4, "1111");
        check(&[1.0, 1.0, 1.0, 10.0], 4, "0006");
        check(&[0.0, 0.0], 2, "00");
        check(&[1.0, f64::NAN, 1.0], 3, "1 1");
        check(&[f64::NAN], 3, " ");
        check(&[1.0, 1.0, 9.0, 9.0], 2, "06");
        check(&[], 5, "");
        check(&[1.0], 0, "");
    }

    /// Scenario: a storm that fills the whole minute, and what was usual before it.
    /// Guarantees: it is tall.
    #[test]
    fn a_long_storm_stays_tall() {
        assert_eq!(levels(&[9.8; 3], Some(1.0), 3), [Some(6); 3]);
        assert_eq!(levels(&[9.8; 3], None, 3), [Some(1); 3]);
    }
}

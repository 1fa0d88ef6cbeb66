//! Tables: columns that share the room, rows that follow the selection.

use super::pen::Pen;
use crate::theme::Role;
use ratatui::layout::Rect;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// Head.
    pub(super) title: &'static str,
    /// Cells, the gap on its left included.
    pub(super) width: u16,
    /// Figures end at the same column.
    pub(super) right: bool,
}

/// A column of text.
pub(super) const fn left(title: &'static str, width: u16) -> Column {
    Column { title, width, right: false }
}

/// A column of figures.
pub(super) const fn right(title: &'static str, width: u16) -> Column {
    Column { title, width, right: true }
}

/// Draws one row of cells.
pub(super) fn row(
    pen: &mut Pen<'_>,
    area: Rect,
    columns: &[Column],
    cells: impl IntoIterator<Item = (String, Role)>,
) {
    let mut x = area.x;
    for (column, (text, role)) in columns.iter().zip(cells) {
        let room = column.width.min(area.right().saturating_sub(x)).saturating_sub(1);
        if column.right {
            pen.right(x + 1 + room, area.y, &text, role, room);
        } else {
            pen.text(x + 1, area.y, &text, role, room);
        }
        x = x.saturating_add(column.width);
    }
}

/// Draws the heads.
pub(super) fn head(pen: &mut Pen<'_>, area: Rect, columns: &[Column]) {
    row(pen, area, columns, columns.iter().map(|c| (c.title.to_owned(), Role::Dim)));
}

/// The first row to show so that `selected` is among `room` rows: the selection moves, then the
/// table.
pub(super) fn first_row(count: usize, room: usize, selected: usize) -> usize {
    let last_first = count.saturating_sub(room);
    selected.saturating_sub(room / 2).min(last_first)
}

/// Gives `width` cells to columns in the order of their worth until no more fit; keeps their order.
/// The one that is worth most is always there, and cut where there is no room for it.
pub(super) fn fitting(columns: &[(u8, Column)], width: u16) -> Vec<usize> {
    let mut by_worth: Vec<usize> = (0..columns.len()).collect();
    by_worth.sort_by_key(|&at| (columns[at].0, at));
    let mut left = width;
    let mut chosen = Vec::new();
    for at in by_worth {
        let width = columns[at].1.width;
        if left < width && !chosen.is_empty() {
            break;
        }
        left = left.saturating_sub(width);
        chosen.push(at);
    }
    chosen.sort_unstable();
    chosen
}

//! Aligned columns of text, for people.

use std::borrow::Cow;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// No cell but the last of a line is wider: one long name must not push everything else away.
const CELL_WIDTH_MAX: usize = 40;
/// Between two columns.
const GAP: &str = "  ";

/// Where a cell's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// Rows under a line of titles.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text, each line cut to `width` cells where there is a limit, with a line break at its end.
    pub(crate) fn render(&self, width: Option<usize>) -> String {
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).into()).collect();
        let lines = || std::iter::once(&titles).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| lines().map(|cells| cells[at].width()).max().unwrap_or(0))
            .map(|widest| widest.min(CELL_WIDTH_MAX))
            .collect();
        let mut text = String::new();
        for cells in lines() {
            let line = self.line(cells, &widths);
            let line = width.map_or(Cow::Borrowed(&*line), |width| cut(&line, width));
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            let is_last = at + 1 == cells.len();
            let cell = if is_last { Cow::Borrowed(&**cell) } else { cut(cell, width) };
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            match self.columns[at].1 {
                Align::Left => line.extend([&*cell, &*pad]),
                Align::Right => line.extend([&*pad, &*cell]),
            }
            if !is_last {
                line.push_str(GAP);
            }
        }
        line
    }
}

/// `text` in at most `width` cells, with `…` where something was cut.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let mut left = width.saturating_sub(1);
    let fits = |c: &char| {
        let cells = c.width().unwrap_or(0);
        let fits = cells <= left;
        left = left.saturating_sub(cells);
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: names of one and of two cells a letter, cut at every width.
    /// Guarantees: never wider than allowed, and no letter is cut in half.
    #[test]
    fn text_is_cut_to_cells() {
        let check = |text: &str, width: usize, expected: &str| {
            assert_eq!(cut(text, width), expected);
            assert!(cut(text, width).width() <= width.max(1));
        };
        check("payment", 7, "payment");
        check("payment", 6, "payme…");
        check("支付服务", 8, "支付服务");
        check("支付服务", 7, "支付服…");
        check("支付服务", 6, "支付…");
        check("payment", 1, "…");
    }

    /// Scenario: words and figures, a name that is far too long, a limit on the line.
    /// Guarantees: columns are aligned by cells, words left and figures right; no line is wider
    /// than the limit, and none ends in blanks.
    #[test]
    fn columns_are_aligned() {
        let mut table =
            Table::new(&[("NAME", Align::Left), ("RATE", Align::Right), ("NOTE", Align::Left)]);
        table.row(["payment".into(), "9.8".into(), "multiplies".into()]);
        table.row(["支付".into(), "120".into(), String::new()]);
        assert_eq!(
            table.render(None),
            "NAME     RATE  NOTE\n\
             payment   9.8  multiplies\n\
             支付      120\n"
        );
        table.row(["x".repeat(100), "1".into(), "y".repeat(100)]);
        let text = table.render(Some(60));
        assert!(text.lines().all(|line| line.width() <= 60), "{text}");
        assert!(text.lines().nth(3).unwrap().starts_with(&"x".repeat(39)), "{text}");
        assert!(text.lines().nth(3).unwrap().ends_with('…'), "{text}");
    }
}

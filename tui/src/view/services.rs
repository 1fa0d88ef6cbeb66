//! The tree of calls in figures: each row is a call, below its caller.

use super::edges;
use super::pen::{Pen, dot_of, role_of};
use super::spark;
use super::table::{self, Column, left, right};
use crate::format;
use crate::model::Model;
use crate::model::history::Series;
use crate::model::severity::{self, Severity};
use crate::model::tree::{Place, Row};
use crate::theme::Role;
use fusebox_proto::view::ServiceKind;
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

/// Cells of the names, where there is room.
const NAMES: [(u16, u16); 3] = [(160, 50), (100, 36), (0, 30)];
/// Cells that a name keeps, however deep it is.
const NAME_MIN: usize = 14;

/// Columns by worth: the least is kept longest.
fn columns(width: u16) -> Vec<(u8, Column)> {
    let names = NAMES.into_iter().find(|(from, _)| *from <= width).map_or(0, |(_, names)| names);
    vec![
        (0, left("  SERVICE, BELOW ITS CALLER", names)),
        (1, right("REQ/S", 7)),
        (1, right("ERR %", 7)),
        (4, right("P50", 7)),
        (5, right("P95", 7)),
        (2, right("P99", 7)),
        (3, right("ATT/REQ", 8)),
        (6, left("  CIRCUIT", 17)),
    ]
}

/// The tree.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let columns = columns(body.width);
    // Two sparklines, or one, are worth more than circuits, which the strip tells of, too.
    let sparks = if body.width < 100 { 14 } else { 37 };
    let chosen: Vec<usize> = table::fitting(&columns, body.width.saturating_sub(sparks));
    let shown: Vec<Column> = chosen.iter().map(|&at| columns[at].1).collect();
    let used: u16 = shown.iter().map(|c| c.width).sum();
    let room = body.width.saturating_sub(used + 3);
    let both = spark::width((room.saturating_sub(2) / 2).min(30));
    let (load, errors) = if 0 < both { (both, both) } else { (spark::width(room.min(30)), 0) };
    let head = Rect { height: 1, ..body };
    pen.fill(head, Role::Bar);
    table::head(pen, head, &shown);
    let x = body.x + used + 2;
    pen.text(x, body.y, "LOAD 60 s", Role::Dim, load);
    pen.text(x + load + 2, body.y, "ERRORS 60 s", Role::Dim, errors);
    let rows = model.tree_rows();
    let Some((selected, _)) = model.selected_row(&rows) else {
        edges::draw_nothing(pen, body, model);
        return;
    };
    let first = table::first_row(rows.len(), usize::from(body.height.saturating_sub(1)), selected);
    for ((at, row), y) in rows.iter().enumerate().skip(first).zip(body.y + 1..body.bottom()) {
        let line = Rect { y, height: 1, ..body };
        if at == selected {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(line, style);
        }
        let cells = cells(row);
        table::row(pen, line, &shown, chosen.iter().map(|&at| cells[at].clone()));
        draw_name(pen, line, shown[0].width, row);
        let Some((rate, failing)) = series(model, row) else { continue };
        let quiet = if row.severity < Severity::Bad { Role::Faint } else { Role::Dim };
        let values = |series: &Series| series.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        spark::draw(pen, (x, y), load, (values(rate).into_iter(), None), quiet);
        if severity::of_error_ratio(figures(row).1) >= Severity::Warn && 0 < errors {
            let failing = (values(failing).into_iter(), Some(spark::FAILURES_USUAL));
            spark::draw(pen, (x + load + 2, y), errors, failing, role_of(row.severity));
        }
    }
}

/// Rate, failed share and percentiles of a call; of an entry those of the service.
fn figures(row: &Row<'_>) -> (Option<f64>, Option<f64>, [Option<f64>; 3]) {
    match (row.edge, row.service) {
        (Some(edge), _) => (edge.rate, edge.error_ratio, [edge.p50_ms, edge.p95_ms, edge.p99_ms]),
        (None, Some(it)) => (it.rate, it.error_ratio, [it.p50_ms, it.p95_ms, it.p99_ms]),
        (None, None) => (None, None, [None; 3]),
    }
}

fn series<'a>(model: &'a Model, row: &Row<'_>) -> Option<(&'a Series, &'a Series)> {
    if let Some(edge) = row.edge {
        let history = model.history.edge(&edge.source, &edge.destination)?;
        return Some((&history.rate, &history.error_ratio));
    }
    let history = model.history.service(row.name)?;
    Some((&history.rate, &history.error_ratio))
}

fn cells(row: &Row<'_>) -> [(String, Role); 8] {
    let (rate, failed, [p50, p95, p99]) = figures(row);
    let errors = role_of(severity::of_error_ratio(failed));
    let attempts = row.edge.and_then(|edge| edge.attempts_per_request);
    let repeats = role_of(severity::of_attempts_per_request(attempts));
    let millis = |ms| (format::known(ms, format::millis), Role::Text);
    let (circuit, circuit_role) = row.edge.map_or((String::new(), Role::Dim), edges::circuit);
    [
        (String::new(), Role::Text),
        (format::known(rate, format::count), Role::Text),
        (format::known(failed, format::percent), errors),
        millis(p50),
        millis(p95),
        millis(p99),
        (
            row.edge.map_or_else(String::new, |_| {
                format::known(attempts, |a| format!("×{}", format::count(a)))
            }),
            repeats,
        ),
        (format!("  {circuit}"), circuit_role),
    ]
}

/// The dot, the branch, the name and where the rest is.
fn draw_name(pen: &mut Pen<'_>, line: Rect, width: u16, row: &Row<'_>) {
    let (dot, ascii, role) = dot_of(row.severity);
    let dot = pen.theme.glyph(dot, ascii);
    pen.text(line.x + 1, line.y, dot, role, 1);
    let end = line.x + width.saturating_sub(1);
    let room = usize::from(width.saturating_sub(4));
    let x = line.x + 3;
    let branch = branch(row, room.saturating_sub(NAME_MIN), |unicode, ascii| {
        pen.theme.glyph(unicode, ascii)
    });
    let x = pen.text(x, line.y, &branch, Role::Faint, end.saturating_sub(x));
    let ink = match row.severity {
        it if Severity::Bad <= it => role_of(it),
        _ if row.place == Place::Here => Role::Text,
        _ => Role::Dim,
    };
    let after = match (row.place, row.hidden) {
        (Place::Above, _) => " ↑".to_owned(),
        (Place::Below, _) => " ↓".to_owned(),
        (Place::Here, 0) => match row.service.map(|service| service.kind) {
            Some(ServiceKind::Database) => " database".to_owned(),
            Some(ServiceKind::Messaging) => " queue".to_owned(),
            Some(ServiceKind::External) => " external".to_owned(),
            Some(ServiceKind::Service) | None => String::new(),
        },
        (Place::Here, hidden) => format!(" +{hidden}"),
    };
    let kept = u16::try_from(after.width()).unwrap_or(0);
    let x = pen.text(x, line.y, row.name, ink, end.saturating_sub(x + kept));
    pen.text(x, line.y, &after, Role::Dim, end.saturating_sub(x));
}

/// `│ ├─`, at most so many cells: of a deep one the end.
fn branch(
    row: &Row<'_>,
    width_max: usize,
    glyph: impl Fn(&'static str, &'static str) -> &'static str,
) -> String {
    let Some((last, above)) = row.guides.split_last() else { return String::new() };
    let skipped = (row.guides.len() * 2).saturating_sub(width_max).div_ceil(2).min(above.len());
    let mut text = String::new();
    for (at, follows) in above.iter().enumerate().skip(skipped) {
        text.push_str(match (at == skipped && 0 < skipped, follows) {
            (true, _) => glyph("… ", ".."),
            (false, true) => glyph("│ ", "| "),
            (false, false) => "  ",
        });
    }
    text.push_str(if *last { glyph("├─", "|-") } else { glyph("└─", "`-") });
    text
}

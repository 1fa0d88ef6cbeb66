//! Every circuit that is not closed, and what changed lately.

use super::action;
use super::edges::draw_nothing;
use super::pen::Pen;
use super::table::{self, Column, left, right};
use crate::format;
use crate::model::Model;
use crate::theme::Role;
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::Breaker;
use ratatui::layout::Rect;
use std::time::Duration;

/// Columns by worth: the least is kept longest.
fn columns() -> Vec<(u8, Column)> {
    vec![
        (0, left("STATE", 15)),
        (0, left("EDGE", 25)),
        (1, right("PROXIES", 9)),
        (1, right("LEFT", 8)),
        (2, right("REFUSED", 9)),
        (6, left("  ENDPOINT", 20)),
        (3, left("  CAUSE", 14)),
        (4, left("  BY", 16)),
        (5, left("  REASON", 22)),
    ]
}

/// The table.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let columns = columns();
    let chosen = table::fitting(&columns, body.width);
    let mut shown: Vec<Column> = chosen.iter().map(|&at| columns[at].1).collect();
    let used: u16 = shown.iter().map(|c| c.width).sum();
    if let Some(last) = shown.last_mut() {
        last.width += body.width.saturating_sub(used);
    }
    let head = Rect { height: 1, ..body };
    pen.fill(head, Role::Bar);
    table::head(pen, head, &shown);
    let rows = model.breaker_rows();
    if rows.is_empty() {
        if model.has_no_data() || !model.filter.is_empty() {
            draw_nothing(pen, body, model);
        } else {
            let text = "every circuit is closed: all requests pass";
            pen.text(body.x + 2, body.y + 2, text, Role::Ok, body.width.saturating_sub(4));
        }
        return;
    }
    let at = rows.iter().position(|b| model.is_selected(b)).unwrap_or(0);
    let room = usize::from(body.height.saturating_sub(1));
    let first = table::first_row(rows.len(), room, at);
    for (index, y) in (first..rows.len()).zip(body.y + 1..body.bottom()) {
        let line = Rect { y, height: 1, ..body };
        if index == at {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(line, style);
        }
        let cells = cells(model, rows[index]);
        table::row(pen, line, &shown, chosen.iter().map(|&at| cells[at].clone()));
    }
}

fn cells(model: &Model, breaker: &Breaker) -> [(String, Role); 9] {
    let is_closed = breaker.state == BreakerState::Closed;
    let is_partial = !is_closed && breaker.applied < breaker.proxies;
    let state = match (is_closed, is_partial) {
        (true, _) => Role::Dim,
        (false, true) => Role::Bad,
        (false, false) => Role::Warn,
    };
    // Nothing is in force on a closed circuit, so nothing is missing either.
    let applied = if is_closed {
        format::UNKNOWN.into()
    } else {
        format!("{} of {}", breaker.applied, breaker.proxies)
    };
    let left = breaker.until.filter(|_| !is_closed).map(|until| {
        format::countdown(Duration::from_millis(until.0.saturating_sub(model.wall().0)))
    });
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| format::UNKNOWN.into());
    let endpoint = breaker.endpoint.clone().unwrap_or_else(|| "all".into());
    [
        (action::badge(breaker.state, None), state),
        (breaker.edge.replacen('>', "→", 1), Role::Text),
        (applied, if is_partial { Role::Bad } else { Role::Text }),
        (left.unwrap_or_else(|| format::UNKNOWN.into()), Role::Text),
        (format::count(breaker.refused_total as f64), Role::Text),
        (format!("  {endpoint}"), Role::Dim),
        (format!("  {}", breaker.cause), Role::Text),
        (format!("  {}", text(&breaker.by)), Role::Text),
        (format!("  {}", text(&breaker.reason)), Role::Dim),
    ]
}

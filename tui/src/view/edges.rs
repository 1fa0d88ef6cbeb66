//! Every edge in figures, the worst first.

use super::action;
use super::pen::{Pen, dot_of, role_of};
use super::spark;
use super::table::{self, Column, left, right};
use crate::format;
use crate::model::Model;
use crate::model::severity::{self, Severity};
use crate::theme::Role;
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::EdgeView;
use ratatui::layout::Rect;

/// Columns by worth: the least is kept longest.
fn columns() -> Vec<(u8, Column)> {
    vec![
        (0, left("SOURCE", 17)),
        (0, left("DESTINATION", 16)),
        (9, left("PROTOCOL", 10)),
        (1, right("ATT/S", 7)),
        (1, right("ERR %", 7)),
        (2, right("ATT/REQ", 8)),
        (6, right("P50", 7)),
        (7, right("P95", 7)),
        (4, right("P99", 7)),
        (5, right("REFUSED", 8)),
        (3, left("  CIRCUIT", 17)),
        (8, right("PROXIES", 8)),
    ]
}

/// The table.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let columns = columns();
    let chosen = table::fitting(&columns, body.width);
    let shown: Vec<Column> = chosen.iter().map(|&at| columns[at].1).collect();
    let used: u16 = shown.iter().map(|c| c.width).sum();
    let spark = spark::width(body.width.saturating_sub(used + 3).min(30));
    let head = Rect { height: 1, ..body };
    pen.fill(head, Role::Bar);
    table::head(pen, head, &shown);
    pen.text(body.x + used + 2, body.y, "LOAD 60 s", Role::Dim, spark);
    let rows = model.edge_rows();
    if rows.is_empty() {
        draw_nothing(pen, body, model);
        return;
    }
    let selected = model.selected_edge();
    let is_selected = |e: &EdgeView| {
        selected.as_ref().is_some_and(|s| s.source == e.source && s.destination == e.destination)
    };
    let at = rows.iter().position(|e| is_selected(e)).unwrap_or(0);
    let room = usize::from(body.height.saturating_sub(1));
    let first = table::first_row(rows.len(), room, at);
    for (edge, y) in rows.into_iter().skip(first).zip(body.y + 1..body.bottom()) {
        let line = Rect { y, height: 1, ..body };
        if is_selected(edge) {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(line, style);
        }
        let severity = model.edge_severity(edge);
        let cells = cells(severity, edge);
        table::row(pen, line, &shown, chosen.iter().map(|&at| cells[at].clone()));
        let (dot, ascii, role) = dot_of(severity);
        let dot = pen.theme.glyph(dot, ascii);
        pen.text(body.x + 1, y, dot, role, 1);
        if let Some(history) = model.history.edge(&edge.source, &edge.destination) {
            let values = history.rate.iter().map(|v| f64::from(*v));
            let role = if severity < Severity::Bad { Role::Faint } else { role_of(severity) };
            spark::draw(pen, (body.x + used + 2, y), spark, (values, None), role);
        }
    }
}

fn cells(severity: Severity, edge: &EdgeView) -> [(String, Role); 12] {
    let name = if severity < Severity::Bad { Role::Text } else { role_of(severity) };
    let errors = role_of(severity::of_error_ratio(edge.error_ratio));
    let attempts = role_of(severity::of_attempts_per_request(edge.attempts_per_request));
    let millis = |ms: Option<f64>| (format::known(ms, format::millis), Role::Text);
    let refused = edge.refused_per_s.filter(|r| 0.0 < *r);
    let (circuit, circuit_role) = circuit(edge);
    [
        (format!("  {}", edge.source), name),
        (edge.destination.clone(), name),
        (edge.protocol.clone(), Role::Dim),
        (format::known(edge.rate, format::count), Role::Text),
        (format::known(edge.error_ratio, format::percent), errors),
        (format::known(edge.attempts_per_request, |a| format!("×{}", format::count(a))), attempts),
        millis(edge.p50_ms),
        millis(edge.p95_ms),
        millis(edge.p99_ms),
        (format::known(refused, |r| format!("{}/s", format::count(r))), Role::Warn),
        (format!("  {circuit}"), circuit_role),
        (edge.proxies.to_string(), Role::Dim),
    ]
}

pub(super) fn circuit(edge: &EdgeView) -> (String, Role) {
    let breaker = &edge.breaker;
    if breaker.state == BreakerState::Closed {
        return ("closed".into(), Role::Dim);
    }
    let badge = action::badge(breaker.state, breaker.percent);
    let role = if breaker.applied < breaker.proxies { Role::Bad } else { Role::Warn };
    (format!("{badge} {}/{}", breaker.applied, breaker.proxies), role)
}

/// An empty table says why it is empty.
pub(super) fn draw_nothing(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let text = if model.has_no_data() {
        format!("{}: nothing is known yet; see 1 Triage", super::header::senders(model))
    } else if model.filter.is_empty() {
        "no edge has been seen".into()
    } else {
        format!("no row contains “{}”; esc clears the filter", model.filter)
    };
    pen.text(body.x + 2, body.y + 2, &text, Role::Warn, body.width.saturating_sub(4));
}

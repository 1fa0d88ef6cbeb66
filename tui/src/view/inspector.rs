//! The chosen node in figures, with its callers and callees; the chosen edge is marked.

use super::pen::{Pen, role_of};
use super::spark;
use crate::format;
use crate::model::Model;
use crate::model::history::Series;
use crate::model::rows::name_of;
use crate::model::severity::{self, Severity};
use crate::theme::Role;
use fusebox_proto::view::EdgeView;
use ratatui::layout::Rect;

/// Columns of the figures on the left.
const FIGURES: u16 = 17;

/// Figures, callers, callees.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let Some(name) = &model.selection.service else { return };
    let severity = model
        .snapshot
        .services
        .iter()
        .find(|s| &s.name == name)
        .map_or(Severity::Idle, |s| model.service_severity(s));
    let rule = pen.theme.glyph("─", "-").repeat(usize::from(area.width.saturating_sub(2)));
    pen.text(area.x + 1, area.y, &rule, Role::Faint, area.width.saturating_sub(2));
    let role = if severity < Severity::Warn { Role::Strong } else { role_of(severity) };
    pen.text(area.x + 3, area.y, &format!(" {name} "), role, area.width.saturating_sub(6));
    let body = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let sparks = if 100 <= body.width { 20 } else { 0 };
    draw_figures(pen, body, model, name, sparks);
    let lists = Rect {
        x: body.x + FIGURES + sparks + if 0 < sparks { 5 } else { 2 },
        width: body.width.saturating_sub(FIGURES + sparks + if 0 < sparks { 6 } else { 2 }),
        ..body
    };
    let half = lists.width / 2;
    let callers = model.snapshot.edges.iter().filter(|e| &e.destination == name);
    let left = Rect { width: half.saturating_sub(1), ..lists };
    draw_edges(pen, left, model, "CALLERS", callers.collect(), true);
    let callees = model.snapshot.edges.iter().filter(|e| &e.source == name);
    let right = Rect { x: lists.x + half, width: lists.width - half, ..lists };
    draw_edges(pen, right, model, "CALLEES", callees.collect(), false);
}

fn draw_figures(pen: &mut Pen<'_>, area: Rect, model: &Model, name: &str, sparks: u16) {
    let Some(service) = model.snapshot.services.iter().find(|s| s.name == name) else { return };
    let errors = severity::of_error_ratio(service.error_ratio);
    let history = model.history.service(name);
    let millis = |ms| format::known(ms, format::millis);
    let rate = format::known(service.rate, |r| format!("{}/s", format::count(r)));
    let ratio = format::known(service.error_ratio, |r| format!("{}%", format::percent(r)));
    let rows: [(&str, String, Role, Option<&Series>); 6] = [
        ("rate", rate, Role::Text, history.map(|h| &h.rate)),
        ("errors", ratio, role_of(errors), history.map(|h| &h.error_ratio)),
        ("p99", millis(service.p99_ms), Role::Text, history.map(|h| &h.p99_ms)),
        ("p50", millis(service.p50_ms), Role::Text, history.map(|h| &h.p50_ms)),
        ("p95", millis(service.p95_ms), Role::Text, history.map(|h| &h.p95_ms)),
        (
            "instances",
            format::known(service.instances.map(|n| n as f64), format::count),
            Role::Text,
            None,
        ),
    ];
    for ((label, value, role, series), y) in rows.into_iter().zip(area.top()..area.bottom()) {
        pen.text(area.x + 2, y, label, Role::Dim, FIGURES);
        pen.right(area.x + FIGURES, y, &value, role, 8);
        if let Some(series) = series {
            let values = series.iter().map(|v| f64::from(*v));
            let role = if role == Role::Text { Role::Dim } else { role };
            spark::draw(pen, (area.x + FIGURES + 2, y), sparks, (values, None), role);
        }
    }
}

fn draw_edges(
    pen: &mut Pen<'_>,
    area: Rect,
    model: &Model,
    title: &str,
    mut edges: Vec<&EdgeView>,
    is_caller: bool,
) {
    edges.sort_by_key(|e| std::cmp::Reverse(model.edge_severity(e)));
    let chosen = model.graph_edge();
    let room = usize::from(area.height.saturating_sub(1));
    let hidden = edges.len().saturating_sub(room);
    let count = if hidden == 0 { String::new() } else { format!("  +{hidden}") };
    pen.text(area.x, area.y, &format!("{title}{count}"), Role::Dim, area.width);
    let at = edges.iter().position(|e| Some(name_of(e)) == chosen).unwrap_or(0);
    let first = super::table::first_row(edges.len(), room, at);
    for (edge, y) in edges.iter().skip(first).zip(area.y + 1..area.bottom()) {
        let severity = model.edge_severity(edge);
        let is_chosen = chosen.as_ref() == Some(&name_of(edge));
        if is_chosen {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(Rect { x: area.x, y, width: area.width, height: 1 }, style);
        }
        let role = if severity < Severity::Warn { Role::Text } else { role_of(severity) };
        let figures = format!(
            "{:>6} {:>4} ×{:<3}",
            format::known(edge.rate, |r| format!("{}/s", format::count(r))),
            format::known(edge.error_ratio, format::percent_short),
            format::known(edge.attempts_per_request, format::count),
        );
        let width = u16::try_from(figures.chars().count()).unwrap_or(0);
        let end = area.right().saturating_sub(1);
        let start = pen.right(end, y, &figures, role, width.min(area.width.saturating_sub(8)));
        let name = if is_caller { &edge.source } else { &edge.destination };
        let mark = if is_chosen { pen.theme.glyph("▶", ">") } else { " " };
        let text = format!("{mark}{name}");
        pen.text(area.x, y, &text, role, start.saturating_sub(area.x + 1));
    }
}

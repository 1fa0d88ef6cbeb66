//! Home: what is wrong, how it is known, what to press; then the worst services and what happened.

use super::pen::{Pen, dot_of, role_of};
use super::table::{self, Column, left, right};
use super::{calm, card, spark};
use crate::format;
use crate::model::Model;
use crate::model::severity::{self, Severity};
use crate::theme::Role;
use fusebox_proto::view::Service;
use ratatui::layout::Rect;

/// Rows that the worst services keep below a card.
const SERVICES_MIN: u16 = 4;
/// Incidents listed above the card.
const LISTED_MAX: usize = 4;
/// From this width on, events stand beside the services.
const TWO_COLUMNS: u16 = 110;
/// From this width on, services get a second sparkline beside the events.
const WIDE: u16 = 150;

/// The card, then services and events.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    if model.has_no_data() {
        calm::draw_empty(pen, body, model);
        return;
    }
    let mut y = body.y;
    if 1 < model.open_incidents().count() {
        y += draw_list(pen, body, model);
    }
    let room = Rect { y, height: body.bottom().saturating_sub(y), ..body };
    let most = room.height.saturating_sub(SERVICES_MIN + 1).max(room.height.min(8));
    let area = Rect { height: most, ..room };
    y += match model.incident() {
        Some(incident) => card::draw(pen, area, model, incident),
        None => calm::draw(pen, area, model),
    };
    y += u16::from(14 < body.bottom().saturating_sub(y));
    let rest = Rect { y, height: body.bottom().saturating_sub(y), ..body };
    if rest.height < 2 {
        return;
    }
    if TWO_COLUMNS <= rest.width {
        let left = Rect { width: if rest.width < WIDE { 68 } else { rest.width * 3 / 5 }, ..rest };
        draw_services(pen, left, model);
        let x = left.right() + 2;
        draw_events(pen, Rect { x, width: rest.right() - x, ..rest }, model);
    } else {
        draw_services(pen, rest, model);
    }
}

/// Open incidents, where there are several; the chosen one is the card below.
fn draw_list(pen: &mut Pen<'_>, body: Rect, model: &Model) -> u16 {
    let chosen = model.incident().map(|i| i.id.as_str());
    let incidents: Vec<_> = model.open_incidents().collect();
    let selected = incidents.iter().position(|i| Some(i.id.as_str()) == chosen).unwrap_or(0);
    let first = table::first_row(incidents.len(), LISTED_MAX, selected);
    let mut rows = 0;
    for incident in incidents.iter().skip(first).take(LISTED_MAX) {
        let area = Rect { y: body.y + rows, height: 1, ..body };
        let is_chosen = Some(incident.id.as_str()) == chosen;
        if is_chosen {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(area, style);
        }
        let mark = if is_chosen { pen.theme.glyph("▶", ">") } else { " " };
        let text = format!("{mark} {} {}", incident.id, card::title(&incident.kind));
        let x = pen.text(area.x + 1, area.y, &text, Role::Critical, area.width - 2);
        let room = area.right().saturating_sub(x + 3);
        pen.text(x + 2, area.y, &incident.summary, Role::Text, room);
        rows += 1;
    }
    rows
}

fn draw_services(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let columns: Vec<(u8, Column)> = vec![
        (0, left("WORST SERVICES", 22)),
        (2, right("REQ/S", 7)),
        (1, right("ERR %", 7)),
        (4, right("P50", 7)),
        (3, right("P99", 7)),
    ];
    let chosen = table::fitting(&columns, area.width);
    let shown: Vec<Column> = chosen.iter().map(|&at| columns[at].1).collect();
    let used: u16 = shown.iter().map(|c| c.width).sum();
    let (load, errors) = spark_widths(area.width.saturating_sub(used));
    table::head(pen, area, &shown);
    let mut x = area.x + used + 2;
    for (width, title) in [(load, "LOAD 60 s"), (errors, "ERRORS 60 s")] {
        pen.text(x, area.y, title, Role::Dim, width);
        x += width + 2;
    }
    let rows = model.service_rows();
    for ((severity, service), y) in rows.into_iter().zip(area.y + 1..area.bottom()) {
        let line = Rect { y, height: 1, ..area };
        let cells = cells(severity, service);
        table::row(pen, line, &shown, chosen.iter().map(|&at| cells[at].clone()));
        let (dot, ascii, role) = dot_of(severity);
        let dot = pen.theme.glyph(dot, ascii);
        pen.text(area.x + 1, y, dot, role, 1);
        let Some(history) = model.history.service(&service.name) else { continue };
        let x = area.x + used + 2;
        let quiet = if severity < Severity::Bad { Role::Faint } else { Role::Dim };
        let rate = history.rate.iter().map(|v| f64::from(*v));
        spark::draw(pen, (x, y), load, (rate, None), quiet);
        let failing = history.error_ratio.iter().map(|v| f64::from(*v));
        let failing = (failing, Some(spark::FAILURES_USUAL));
        if severity::of_error_ratio(service.error_ratio) >= Severity::Warn {
            spark::draw(pen, (x + load + 2, y), errors, failing, role_of(severity));
        }
    }
}

/// Widths of the two sparklines in what room the figures leave.
fn spark_widths(room: u16) -> (u16, u16) {
    let half = spark::width((room.saturating_sub(6) / 2).min(30));
    if 0 < half { (half, half) } else { (spark::width(room.saturating_sub(4).min(30)), 0) }
}

fn cells(severity: Severity, service: &Service) -> [(String, Role); 5] {
    let name = if severity < Severity::Bad { Role::Text } else { role_of(severity) };
    let errors = severity::of_error_ratio(service.error_ratio);
    let millis = |ms: Option<f64>| format::known(ms, format::millis);
    [
        (format!("  {}", service.name), name),
        (format::known(service.rate, format::count), Role::Text),
        (format::known(service.error_ratio, format::percent), role_of(errors)),
        (millis(service.p50_ms), Role::Text),
        (millis(service.p99_ms), Role::Text),
    ]
}

fn draw_events(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    pen.text(area.x, area.y, "RECENT EVENTS", Role::Dim, area.width);
    let mut y = area.y + 1;
    for event in &model.snapshot.events {
        if area.bottom() <= y {
            break;
        }
        let role = super::timeline::role_of(&event.kind);
        let x = pen.text(area.x, y, &format::clock(event.at), Role::Dim, area.width);
        let room = area.right().saturating_sub(x + 1);
        pen.text(x + 1, y, &event.kind, role, room.min(9));
        let room = area.right().saturating_sub(x + 11);
        for line in format::wrap(&event.text, room, 2).iter().take(usize::from(area.bottom() - y)) {
            pen.text(x + 11, y, line, Role::Text, room);
            y += 1;
        }
    }
}

//! What happened: lanes on one axis of time, and below them what each mark is.

use super::edges::draw_nothing;
use super::pen::Pen;
use super::table;
use crate::format;
use crate::model::Model;
use crate::model::timeline::{Lane, Span};
use crate::theme::Role;
use fusebox_proto::view::{Event, IncidentState, Stamp};
use ratatui::layout::Rect;

/// Cells before a lane.
const LABEL: u16 = 11;
/// Lanes, and the axis below them.
const LANES: u16 = 5;
/// Cells of the time and the kind of a row.
const WHEN: u16 = 20;
/// Cells between two times on the axis.
const TICK: u16 = 20;

/// The lanes, then the rows.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let rows = model.timeline_rows();
    let Some(chosen) = model.selected_event() else {
        draw_none(pen, body, model);
        return;
    };
    let lanes = Rect { height: LANES.min(body.height), ..body };
    draw_lanes(pen, lanes, model, chosen);
    let below = Rect {
        y: lanes.bottom() + 1,
        height: body.height.saturating_sub(lanes.height + 1),
        ..body
    };
    if below.height == 0 {
        return;
    }
    // The chosen row is told whole: as many lines as it needs, in the middle of the others.
    let room = below.width.saturating_sub(WHEN + 2);
    let told = format::wrap(&chosen.text, room, 3);
    let at = rows.iter().position(|event| *event == chosen).unwrap_or(0);
    let shown = usize::from(below.height).saturating_sub(told.len().saturating_sub(1)).max(1);
    let first = table::first_row(rows.len(), shown, at);
    let mut y = below.y;
    for event in rows.into_iter().skip(first) {
        if below.bottom() <= y {
            break;
        }
        let is_chosen = event == chosen;
        let lines = if is_chosen { told.clone() } else { vec![event.text.clone()] };
        let height = u16::try_from(lines.len()).unwrap_or(1).min(below.bottom() - y);
        let area = Rect { y, height, ..below };
        if is_chosen {
            let style = pen.theme.style(Role::Selected);
            pen.buffer.set_style(area, style);
        }
        draw_event(pen, area, event, &lines);
        y += height;
    }
}

fn draw_none(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    if model.has_no_data() || !model.filter.is_empty() {
        draw_nothing(pen, body, model);
    } else {
        let text = "nothing has happened since the collector began";
        pen.text(body.x + 2, body.y + 2, text, Role::Dim, body.width.saturating_sub(4));
    }
}

fn draw_event(pen: &mut Pen<'_>, area: Rect, event: &Event, lines: &[String]) {
    let x = pen.text(area.x + 1, area.y, &format::clock(event.at), Role::Dim, 9);
    pen.text(x + 1, area.y, &event.kind, role_of(&event.kind), WHEN - 10);
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        let room = area.width.saturating_sub(WHEN + 2);
        pen.text(area.x + WHEN + 1, y, line, Role::Text, room);
    }
}

/// What an event of this kind looks like.
pub(super) fn role_of(kind: &str) -> Role {
    match (kind, Lane::of(kind)) {
        (_, Lane::Incidents) => Role::Critical,
        (_, Lane::Acts) => Role::Accent,
        (_, Lane::Changes) => Role::Cause,
        ("breaker", _) => Role::Warn,
        (_, Lane::System) => Role::Dim,
    }
}

fn draw_lanes(pen: &mut Pen<'_>, area: Rect, model: &Model, chosen: &Event) {
    let span = model.span();
    let axis = Rect { x: area.x + LABEL, width: area.width.saturating_sub(LABEL + 1), ..area };
    for (lane, y) in Lane::ALL.into_iter().zip(area.top()..area.bottom()) {
        pen.text(area.x + 1, y, lane.name(), Role::Dim, LABEL - 1);
        let line = pen.theme.glyph("┈", ".");
        let style = pen.theme.ink(Role::Faint);
        (axis.left()..axis.right()).for_each(|x| pen.put(x, y, line, style));
        if lane == Lane::Incidents {
            draw_incidents(pen, Rect { y, height: 1, ..axis }, model, span);
        } else {
            draw_marks(pen, Rect { y, height: 1, ..axis }, model, (lane, span));
        }
    }
    if area.height == LANES {
        draw_axis(pen, Rect { y: area.bottom() - 1, height: 1, ..axis }, span);
    }
    if let Some(cell) = span.cell(chosen.at, axis.width) {
        let style = pen.theme.style(Role::Selected);
        pen.buffer.set_style(Rect { x: axis.x + cell, width: 1, ..area }, style);
    }
}

/// A bar from the beginning of each incident to its end.
fn draw_incidents(pen: &mut Pen<'_>, area: Rect, model: &Model, span: Span) {
    for incident in model.snapshot.incidents.iter().rev() {
        let is_open = incident.state == IncidentState::Open;
        let until = incident.resolved_at.filter(|_| !is_open).unwrap_or(Stamp(span.to));
        let from = Stamp(incident.opened_at.0.max(span.from));
        let ends = span.cell(from, area.width).zip(span.cell(until, area.width));
        let Some((from, to)) = ends else { continue };
        let role = if is_open { Role::Critical } else { Role::Warn };
        let bar = pen.theme.glyph("█", "#");
        let style = pen.theme.ink(role);
        (from..=to.max(from)).for_each(|cell| pen.put(area.x + cell, area.y, bar, style));
    }
}

/// A mark for each event of a lane; where several fall on a cell, how many.
fn draw_marks(pen: &mut Pen<'_>, area: Rect, model: &Model, (lane, span): (Lane, Span)) {
    let mut counts = vec![(0_u32, ""); usize::from(area.width)];
    for event in model.timeline_rows().into_iter().filter(|event| Lane::of(&event.kind) == lane) {
        let cell = span.cell(event.at, area.width);
        if let Some(count) = cell.and_then(|cell| counts.get_mut(usize::from(cell))) {
            *count = (count.0 + 1, &event.kind);
        }
    }
    for (x, (count, kind)) in (area.x..).zip(counts) {
        let mark = match count {
            0 => continue,
            1 => pen.theme.glyph("◆", "*").to_owned(),
            many @ 2..=9 => many.to_string(),
            _ => "+".to_owned(),
        };
        let style = pen.theme.ink(role_of(kind));
        pen.put(x, area.y, &mark, style);
    }
}

/// Times below the lanes, from the right: now, and back in even steps.
fn draw_axis(pen: &mut Pen<'_>, area: Rect, span: Span) {
    pen.right(area.right(), area.y, "now", Role::Dim, 3);
    let whole = span.to.saturating_sub(span.from);
    for back in (1..=area.width / TICK).map(|tick| tick * TICK) {
        let ms = whole * u64::from(back) / u64::from(area.width.max(1));
        let text = format!("-{}", format::age(std::time::Duration::from_millis(ms)));
        pen.right(area.right().saturating_sub(back), area.y, &text, Role::Dim, TICK - 1);
    }
}

//! The action line: what the collector suggests for an edge, what was asked, what is true.

use super::pen::Pen;
use crate::format;
use crate::model::Model;
use crate::model::act::order;
use crate::model::commands::Verb;
use crate::model::standing::{Fact, Standing};
use crate::theme::Role;
use fusebox_proto::command::{ActionKind, BreakerState};
use fusebox_proto::view::{EdgeName, Remedy, SuggestedAction};
use ratatui::layout::Rect;
use std::time::Duration;

/// Cells of the bar that shows how much of a lease is left.
const LEASE_WIDTH: u16 = 14;

/// What a state is called on a badge.
pub(super) fn badge(state: BreakerState, percent: Option<u8>) -> String {
    match (state, percent) {
        (BreakerState::Closed, _) => "CLOSED".into(),
        (BreakerState::RetriesMuted, None | Some(0)) => "MUTED".into(),
        (BreakerState::RetriesMuted, Some(p)) => format!("MUTED, {p} % pass"),
        (BreakerState::Capped, _) => "CAPPED".into(),
        (BreakerState::Shedding, Some(p)) => format!("SHEDDING {p} %"),
        (BreakerState::Shedding, None) => "SHEDDING".into(),
        (BreakerState::HalfOpen, Some(p)) => format!("RAMP {p} %"),
        (BreakerState::HalfOpen, None) => "RAMP".into(),
        (BreakerState::Open | BreakerState::ForcedOpen, _) => "OPEN".into(),
    }
}

/// Indentation of a prediction: under the order, beside its key.
const INDENT: u16 = 4;
/// Lines of a prediction.
const PREDICTION_LINES: usize = 2;

/// Rows that [`draw`] fills at this width: a line, and one or two for what is to be said of it.
pub(super) fn height(model: &Model, edge: &EdgeName, width: u16) -> u16 {
    let Some(suggestion) = model.suggestion(edge) else { return 2 };
    let room = width.saturating_sub(INDENT);
    let lines = format::wrap(&suggestion.predicted, room, PREDICTION_LINES).len();
    u16::try_from(lines).unwrap_or(1) + 1
}

/// Draws where the edge stands; two rows where there is more to say and room for it.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model, edge: &EdgeName) {
    match model.standing(edge) {
        Standing::Nothing => draw_suggestion(pen, area, model, edge),
        Standing::Asked(verb) => {
            let text = match verb {
                Verb::Trip(ActionKind::Open) => " OPENING ",
                Verb::Trip(ActionKind::MuteRetries) => " MUTING ",
                Verb::Trip(_) => " SENT ",
                Verb::Reset { .. } => " CLOSING ",
                Verb::Shift => " SHIFTING ",
            };
            let x = pen.text(area.x, area.y, text, Role::Partial, area.width);
            let rest = format!("{}→{} · waiting for the proxies", edge.source, edge.destination);
            pen.text(x + 1, area.y, &rest, Role::Text, room(area, x + 1));
        }
        Standing::Failed { reason, .. } => {
            let x = pen.text(area.x, area.y, " NOT DONE ", Role::Key, area.width);
            pen.text(x + 1, area.y, &reason, Role::Strong, room(area, x + 1));
            if 1 < area.height {
                let again = Rect { y: area.y + 1, height: 1, ..area };
                draw_suggestion(pen, again, model, edge);
            }
        }
        Standing::Fact(fact) => draw_fact(pen, area, edge, &fact),
    }
}

fn room(area: Rect, x: u16) -> u16 {
    area.right().saturating_sub(x)
}

fn draw_fact(pen: &mut Pen<'_>, area: Rect, edge: &EdgeName, fact: &Fact) {
    let role = if fact.is_partial() { Role::Partial } else { Role::Done };
    let text = format!(" {} ", badge(fact.state, fact.percent));
    let mut x = pen.text(area.x, area.y, &text, role, area.width);
    let name = format!("{}→{}", edge.source, edge.destination);
    x = pen.text(x + 1, area.y, &name, Role::Strong, room(area, x + 1));
    let bar = area.right().saturating_sub(LEASE_WIDTH);
    for (part, role) in parts(fact) {
        x = pen.text(x, area.y, " · ", Role::Faint, room(area, x));
        x = pen.text(x, area.y, &part, role, room(area, x));
    }
    let whole = fact.whole.filter(|whole| !whole.is_zero());
    if let (Some(left), Some(whole)) = (fact.left, whole)
        && x + 1 < bar
    {
        draw_lease(pen, (bar, area.y), left.as_secs_f64() / whole.as_secs_f64());
    }
    if area.height < 2 {
        return;
    }
    if let Some(reason) = &fact.failed {
        let x = pen.text(area.x, area.y + 1, " NOT DONE ", Role::Key, area.width);
        pen.text(x + 1, area.y + 1, reason, Role::Strong, room(area, x + 1));
    } else if fact.is_partial() {
        let why = if fact.note.is_empty() { "not every proxy has it" } else { &fact.note };
        pen.text(area.x, area.y + 1, why, Role::Warn, area.width);
    }
}

fn parts(fact: &Fact) -> Vec<(String, Role)> {
    let proxies = format!("{} of {} proxies", fact.applied, fact.proxies);
    let mut parts = vec![(proxies, if fact.is_partial() { Role::Warn } else { Role::Text })];
    if let Some(share) = fact.coverage {
        parts.push((format!("{} of attempts", format::percent_short(share)), Role::Warn));
    }
    if let Some(ms) = fact.applied_ms {
        parts.push((format!("{ms:.0} ms"), Role::Text));
    }
    if let Some(left) = fact.left {
        parts.push((format!("{} left", format::countdown(left)), Role::Text));
    }
    if let Some(by) = &fact.by {
        parts.push((format!("by {by}"), Role::Dim));
    }
    if fact.undoable {
        parts.push(("u undo".into(), Role::Warn));
    }
    parts
}

fn draw_lease(pen: &mut Pen<'_>, (x, y): (u16, u16), share: f64) {
    let full = (share.clamp(0.0, 1.0) * f64::from(LEASE_WIDTH)).ceil() as u16;
    for at in 0..LEASE_WIDTH {
        let (glyph, ascii, role) =
            if at < full { ("█", "#", Role::Warn) } else { ("░", ".", Role::Faint) };
        let style = pen.theme.ink(role);
        let glyph = pen.theme.glyph(glyph, ascii);
        pen.put(x + at, y, glyph, style);
    }
}

fn draw_suggestion(pen: &mut Pen<'_>, area: Rect, model: &Model, edge: &EdgeName) {
    let Some(suggestion) = model.suggestion(edge) else {
        let is_draining = model.incident().is_some_and(|incident| incident.phase == "draining");
        let text = if is_draining {
            "nothing to do: it drains"
        } else {
            "no action is suggested: none that Fusebox can take would help"
        };
        pen.text(area.x, area.y, text, Role::Dim, area.width);
        return;
    };
    let key = match suggestion.action {
        _ if model.is_read_only() => None,
        Remedy::Trip(ActionKind::Open) => Some(" t "),
        Remedy::Trip(ActionKind::MuteRetries) => Some(" m "),
        Remedy::Trip(ActionKind::Cap | ActionKind::Shed) | Remedy::Shift(_) => Some(" o "),
    };
    let mut x = area.x;
    if let Some(key) = key {
        x = pen.text(x, area.y, key, Role::Key, area.width) + 1;
    }
    let what = order(&suggestion.action, edge, Duration::from_secs(suggestion.ttl_s));
    x = pen.text(x, area.y, &what, Role::Strong, room(area, x));
    x = pen.text(x + 1, area.y, manner(suggestion, key.is_some()), Role::Dim, room(area, x + 1));
    let predicted = &suggestion.predicted;
    if area.height < 2 {
        pen.text(x + 2, area.y, predicted, Role::Text, room(area, x + 2));
        return;
    }
    let room = area.width.saturating_sub(INDENT);
    let lines = format::wrap(predicted, room, usize::from(area.height) - 1);
    for (line, y) in lines.iter().zip(area.y + 1..area.bottom()) {
        pen.text(area.x + INDENT, y, line, Role::Text, room);
    }
}

/// How the key works here.
fn manner(suggestion: &SuggestedAction, has_key: bool) -> &'static str {
    match suggestion.tier {
        _ if !has_key => "(suggested)",
        0 => "(at once)",
        1 => "(asks)",
        _ => "(asks for the name)",
    }
}

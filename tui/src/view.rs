//! The screen.
//!
//! ```text
//! FUSEBOX  1 Triage  2 Graph  3 Services  4 Edges  6 Breakers  7 Timeline  ● LIVE 14:02:31   1 INCIDENT
//! Triage                                12 services · 14 edges · 40 /s in · ana@laptop
//! ▲ RETRY STORM payment sends inventory 9.8 attempts …        (except on Triage)
//!
//!   the view
//!
//!  OPEN  payment→inventory · 3 of 3 proxies · 84 ms · 4:51 left · u undo
//! t trip payment→inventory  m mute retries  ↑↓ pick  ? help  q quit
//! ```
//!
//! [`draw`] reads the model and paints a buffer; it changes nothing. Every view takes what room
//! there is: rows that do not fit are left out in the order of what they are worth.

mod action;
mod ask;
mod breakers;
mod calm;
mod card;
mod dossier;
mod edges;
mod footer;
mod graph;
mod header;
mod help;
mod inspector;
mod pen;
mod services;
mod spark;
mod table;
mod timeline;
mod triage;
mod wires;

use crate::model::standing::Standing;
use crate::model::{Model, Overlay, Screen};
use crate::theme::{Role, Theme};
use fusebox_proto::view::EdgeName;
use pen::Pen;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// Below this a screen shows one line.
const TINY: (u16, u16) = (40, 8);

/// Paints the whole screen.
pub fn draw(buffer: &mut Buffer, model: &Model, theme: &Theme) {
    let area = buffer.area;
    buffer.reset();
    let mut pen = Pen::new(buffer, theme);
    pen.fill(area, Role::Text);
    if area.width < TINY.0 || area.height < TINY.1 {
        draw_tiny(&mut pen, area, model);
        return;
    }
    let row = |at: u16| Rect { y: area.y + at, height: 1, ..area };
    header::draw(&mut pen, row(0), model);
    header::draw_crumb(&mut pen, row(1), model);
    let has_banner = model.screen != Screen::Triage && model.incident().is_some();
    if has_banner {
        header::draw_banner(&mut pen, row(2), model);
    }
    let top = 2 + u16::from(has_banner);
    let body = Rect { y: area.y + top, height: area.height - top - 1, ..area };
    match model.screen {
        Screen::Triage => triage::draw(&mut pen, body, model),
        Screen::Graph => graph::draw(&mut pen, body, model),
        Screen::Services => services::draw(&mut pen, above_strip(body, model), model),
        Screen::Edges => edges::draw(&mut pen, above_strip(body, model), model),
        Screen::Breakers => breakers::draw(&mut pen, above_strip(body, model), model),
        Screen::Timeline => timeline::draw(&mut pen, body, model),
    }
    if model.screen != Screen::Triage {
        draw_strip(&mut pen, body, model);
    }
    if model.is_stale() && !model.has_no_data() {
        pen.buffer.set_style(body, Style::new().add_modifier(Modifier::DIM));
    }
    match &model.overlay {
        Some(Overlay::Help) => help::draw(&mut pen, body, model),
        Some(Overlay::Ask(ask)) => ask::draw(&mut pen, body, ask),
        Some(Overlay::Dossier(reading)) => dossier::draw(&mut pen, body, model, reading),
        Some(Overlay::Filter) | None => {}
    }
    footer::draw_notice(&mut pen, Rect { y: area.bottom() - 2, height: 1, ..area }, model);
    footer::draw(&mut pen, Rect { y: area.bottom() - 1, height: 1, ..area }, model);
}

/// Tables leave their last row to what becomes of the target.
fn above_strip(body: Rect, model: &Model) -> Rect {
    let strip = u16::from(strip_edge(model).is_some());
    Rect { height: body.height.saturating_sub(strip), ..body }
}

/// The target, if anything was asked of it or is true of it.
fn strip_edge(model: &Model) -> Option<EdgeName> {
    model.target().filter(|edge| model.standing(edge) != Standing::Nothing)
}

/// On every view but Triage, whose card says it: what becomes of the target.
fn draw_strip(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let Some(edge) = strip_edge(model).filter(|_| 0 < body.height) else { return };
    let row = Rect { y: body.bottom() - 1, height: 1, ..body };
    pen.fill(row, Role::Bar);
    let inner = Rect { x: row.x + 1, width: row.width.saturating_sub(2), ..row };
    action::draw(pen, inner, model, &edge);
}

/// Too small for anything: what is wrong and what to press.
fn draw_tiny(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    if area.is_empty() {
        return;
    }
    let (text, role) = match (model.incident(), model.target()) {
        _ if model.has_no_data() => ("no data".to_owned(), Role::Warn),
        (Some(incident), Some(edge)) => {
            let key = if model.is_read_only() { "" } else { " · t trip" };
            let kind = card::title(&incident.kind);
            (format!("{kind} {}→{}{key}", edge.source, edge.destination), Role::Critical)
        }
        (Some(incident), None) => (incident.summary.clone(), Role::Critical),
        (None, _) => ("no open incident".to_owned(), Role::Ok),
    };
    pen.text(area.x, area.y, &text, role, area.width);
}

#[cfg(test)]
mod tests;

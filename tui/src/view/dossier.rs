//! The dossier of an incident, over the whole view.

use super::card;
use super::pen::Pen;
use crate::model::Model;
use crate::model::dossier::{Reading, Row, Tone, label_width};
use crate::theme::Role;
use ratatui::layout::Rect;

/// Draws the rows that the reader has come to.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model, reading: &Reading) {
    let Some(incident) = model.read_incident(reading) else { return };
    let area = Rect { x: body.x + 2, width: body.width.saturating_sub(4), ..body };
    let inner = Rect { y: body.y + 1, height: body.height.saturating_sub(2), ..area };
    pen.fill(body, Role::Text);
    pen.frame(body, &card::heading(model, incident), Role::Critical);
    let rows = model.dossier(incident, inner.width);
    let shown = rows.iter().skip(reading.from).zip(inner.top()..inner.bottom());
    for (row, y) in shown {
        draw_row(pen, Rect { y, height: 1, ..inner }, row);
    }
    let left = rows.len().saturating_sub(reading.from + usize::from(inner.height));
    if 0 < left && 0 < body.height {
        let arrow = pen.theme.glyph("↓", "v");
        let more = format!(" {left} more {arrow} ");
        pen.right(body.right().saturating_sub(2), body.bottom() - 1, &more, Role::Accent, 16);
    }
}

fn draw_row(pen: &mut Pen<'_>, area: Rect, row: &Row<'_>) {
    match row {
        Row::Blank => {}
        Row::Sentence(text) => {
            pen.text(area.x, area.y, text, Role::Strong, area.width);
        }
        Row::Head(text) => {
            pen.text(area.x, area.y, text, Role::Accent, area.width);
        }
        Row::Signal(evidence) => card::draw_evidence(pen, area, evidence),
        Row::Said { label, text, tone } => {
            let role = match tone {
                Tone::Plain => Role::Text,
                Tone::Guilty => Role::Critical,
                Tone::Doubt => Role::Accent,
                Tone::Poor => Role::Warn,
                Tone::Remedy => Role::Strong,
            };
            let values = label_width(area.width);
            pen.text(area.x, area.y, label, Role::Dim, values - 1);
            pen.text(area.x + values, area.y, text, role, area.width.saturating_sub(values));
        }
    }
}

//! The panel that asks before it acts.

use super::pen::Pen;
use crate::format::wrap;
use crate::model::act::{Ask, order};

use crate::theme::Role;
use ratatui::layout::Rect;

/// What would be done, what it would do, and which key consents.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, ask: &Ask) {
    let width = body.width.min(76);
    let inner = width.saturating_sub(4);
    let predicted =
        ask.predicted.as_deref().unwrap_or("nothing is known of the traffic on this edge");
    let lines = wrap(predicted, inner, 3);
    let height = u16::try_from(lines.len()).unwrap_or(0) + 7;
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + body.height.saturating_sub(height) / 2,
        width,
        height: height.min(body.height),
    };
    pen.fill(area, Role::Text);
    pen.frame(area, "are you sure?", Role::Critical);
    let (x, mut y) = (area.x + 2, area.y + 1);
    let what = order(&ask.what, &ask.edge, ask.ttl);
    pen.text(x, y, &what, Role::Strong, inner);
    for line in &lines {
        y += 1;
        pen.text(x, y, line, Role::Text, inner);
    }
    pen.text(x, y + 1, &ask.why, Role::Dim, inner);
    let y = y + 3;
    match &ask.typed {
        None => {
            let after = pen.text(x, y, " y ", Role::Key, inner);
            let after = pen.text(after + 1, y, "yes, do it", Role::Text, inner);
            let after = pen.text(after + 3, y, " esc ", Role::Tab, inner);
            pen.text(after + 1, y, "no", Role::Text, inner);
        }
        Some(typed) => {
            let prompt = format!("type {} : ", ask.name());
            let after = pen.text(x, y, &prompt, Role::Text, inner);
            let room = inner.saturating_sub(after - x);
            let after = pen.text(after, y, typed, Role::Critical, room);
            pen.text(after, y, pen.theme.glyph("▌", "_"), Role::Critical, 1);
        }
    }
}

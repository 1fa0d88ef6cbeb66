//! Every key of the view, from the table.

use super::pen::Pen;
use crate::keys::{Action, Binding, Place, TABLE};
use crate::model::{Model, Screen};
use crate::theme::Role;
use ratatui::layout::Rect;

/// Keys of this screen in one column or two.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let rows: Vec<&Binding> = TABLE.iter().filter(|b| is_listed(b, model)).collect();
    let two = usize::from(body.height.saturating_sub(2)) < rows.len() && 76 <= body.width;
    let per_column = if two { rows.len().div_ceil(2) } else { rows.len() };
    let width = body.width.min(if two { 116 } else { 60 });
    let height = u16::try_from(per_column + 2).unwrap_or(u16::MAX).min(body.height);
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    };
    pen.fill(area, Role::Text);
    pen.frame(area, &format!("keys on {} · esc closes", model.screen.tab().1), Role::Accent);
    let columns = if two { 2 } else { 1 };
    let column = (width - 4) / columns;
    for (at, binding) in rows.iter().enumerate() {
        let (x, y) = (at / per_column, at % per_column);
        let (Ok(x), Ok(y)) = (u16::try_from(x), u16::try_from(y)) else { continue };
        if height <= y + 2 {
            continue;
        }
        let (x, y) = (area.x + 2 + x * column, area.y + 1 + y);
        let keys: Vec<String> = binding.chords.iter().map(ToString::to_string).collect();
        let role = if binding.acts() { Role::Critical } else { Role::Accent };
        pen.text(x, y, &keys.join(" "), role, 10.min(column));
        pen.text(x + 11, y, binding.help, Role::Text, column.saturating_sub(12));
    }
}

/// What holds on this screen once the help is closed; without what read-only takes away.
fn is_listed(binding: &Binding, model: &Model) -> bool {
    let here = match binding.place {
        Place::Everywhere | Place::Screens => true,
        Place::On(screens) => screens.contains(&model.screen),
        Place::Replay => model.playback.is_some(),
        Place::Asking | Place::Reading => false,
    };
    let picks = !matches!(binding.action, Action::Up | Action::Down)
        || model.screen != Screen::Triage
        || 1 < model.open_incidents().count();
    here && picks && !(model.is_read_only() && binding.acts())
}

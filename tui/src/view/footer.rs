//! The bottom: keys that do something now, what they would act on, and what the console says.

use super::header;
use super::pen::Pen;
use crate::keys::{self, Action, Binding};
use crate::model::playback::Phase;
use crate::model::standing::Standing;
use crate::model::{Model, Overlay};
use crate::theme::Role;
use fusebox_proto::command::ActionKind;
use fusebox_proto::view::Remedy;
use ratatui::layout::Rect;

/// Keys that do something now, from the table.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    pen.fill(area, header::bar(model));
    if model.overlay == Some(Overlay::Filter) {
        let text = format!("/{}", model.filter);
        let x = pen.text(area.x + 1, area.y, &text, Role::Accent, area.width - 2);
        let x = pen.text(x, area.y, pen.theme.glyph("▌", "_"), Role::Accent, 1);
        let hint = "  enter keeps it · esc clears it";
        pen.text(x, area.y, hint, Role::Dim, area.right().saturating_sub(x + 1));
        return;
    }
    let mut x = area.x + 1;
    for binding in keys::valid(model).filter(|b| !b.short.is_empty()) {
        x = draw_key(pen, x, area, model, binding);
        if area.right() <= x {
            break;
        }
    }
}

fn draw_key(pen: &mut Pen<'_>, x: u16, area: Rect, model: &Model, binding: &Binding) -> u16 {
    let room = |x: u16| area.right().saturating_sub(x + 1);
    let label = label(model, binding);
    let role = match binding.action {
        action if is_suggested(model, action) => Role::Key,
        _ if binding.acts() => Role::Critical,
        _ => Role::Accent,
    };
    let key = binding.chords[0].to_string();
    let key = if role == Role::Key { format!(" {key} ") } else { key };
    // `↑↓ pick` carries its keys in its label.
    let (key, label) = match label.split_once(' ') {
        Some((keys, rest)) if !binding.acts() && !keys.chars().all(char::is_alphabetic) => {
            (keys.to_owned(), rest.to_owned())
        }
        _ => (key, label),
    };
    let needed = u16::try_from(key.chars().count() + label.chars().count() + 1).unwrap_or(u16::MAX);
    if room(x) < needed && !binding.acts() {
        return area.right();
    }
    let x = pen.text(x, area.y, &key, role, room(x));
    let x = pen.text(x + 1, area.y, &label, Role::Text, room(x + 1));
    x + 2
}

/// What the key does, with the edge that it would act on.
fn label(model: &Model, binding: &Binding) -> String {
    let edge = |name: fusebox_proto::view::EdgeName| {
        format!("{} {}→{}", binding.short, name.source, name.destination)
    };
    match binding.action {
        Action::Quit if model.overlay.is_some() => "close".into(),
        Action::Pause if is_paused(model) => "go on".into(),
        Action::Trip => model.target().map_or_else(String::new, edge),
        Action::Undo => {
            let undoable = model.undoable().map(|command| command.edge.clone());
            // The target is named already; another edge must be.
            if undoable == model.target() {
                binding.short.to_owned()
            } else {
                undoable.map_or_else(String::new, edge)
            }
        }
        _ => binding.short.to_owned(),
    }
}

fn is_paused(model: &Model) -> bool {
    model.playback.is_some_and(|playback| playback.phase == Phase::Paused)
}

/// Whether the collector suggests what this key does, and it is not done yet.
fn is_suggested(model: &Model, action: Action) -> bool {
    let Some(edge) = model.target() else { return false };
    let does = |what: &Remedy| match action {
        Action::Trip => *what == ActionKind::Open,
        Action::Mute => *what == ActionKind::MuteRetries,
        Action::Suggested => true,
        _ => false,
    };
    model.standing(&edge) == Standing::Nothing
        && model.suggestion(&edge).is_some_and(|s| does(&s.action))
}

/// What the console says, over the last row of the view.
pub(super) fn draw_notice(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    if let Some(notice) = &model.notice {
        let role = if notice.bad { Role::Partial } else { Role::Selected };
        pen.fill(area, role);
        let style = pen.theme.style(role);
        pen.styled(area.x + 1, area.y, &notice.text, style, area.width.saturating_sub(2));
    }
}

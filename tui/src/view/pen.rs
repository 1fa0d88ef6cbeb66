//! Painting on a buffer: text that never leaves its room, in the theme's roles and glyphs.

use crate::model::severity::Severity;
use crate::theme::{Role, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr as _;

/// A buffer and how to paint on it.
pub(super) struct Pen<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) theme: &'a Theme,
}

impl<'a> Pen<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, theme: &'a Theme) -> Self {
        Self { buffer, theme }
    }

    /// Clears an area and gives it the ground of a role.
    pub(super) fn fill(&mut self, area: Rect, role: Role) {
        let style = self.theme.style(role);
        let area = area.intersection(self.buffer.area);
        for y in area.top()..area.bottom() {
            for x in area.left()..area.right() {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                    cell.set_style(style);
                }
            }
        }
    }

    /// Writes text with the ink of a role on what ground there is, at most `width` cells, cut with
    /// `…`. Returns the column after it.
    pub(super) fn text(&mut self, x: u16, y: u16, text: &str, role: Role, width: u16) -> u16 {
        let style = match role {
            Role::Key | Role::Tab | Role::Done | Role::Partial => self.theme.style(role),
            role => self.theme.ink(role),
        };
        self.styled(x, y, text, style, width)
    }

    /// As [`Pen::text`], with a style.
    pub(super) fn styled(&mut self, x: u16, y: u16, text: &str, style: Style, width: u16) -> u16 {
        let area = self.buffer.area;
        if y < area.top() || area.bottom() <= y || x < area.left() || area.right() <= x {
            return x;
        }
        let width = width.min(area.right() - x);
        let text = self.theme.text(text);
        let room = usize::from(width);
        if text.width() <= room {
            return self.buffer.set_stringn(x, y, &text, room, style).0;
        }
        let Some(most) = room.checked_sub(1) else { return x };
        let (after, _) = self.buffer.set_stringn(x, y, &text, most, style);
        let ellipsis = self.theme.glyph("…", "~");
        self.buffer.set_stringn(after, y, ellipsis, 1, style).0
    }

    /// Writes text that ends before column `end`; returns where it begins.
    pub(super) fn right(&mut self, end: u16, y: u16, text: &str, role: Role, width: u16) -> u16 {
        let shown = u16::try_from(text.width()).unwrap_or(u16::MAX).min(width);
        let x = end.saturating_sub(shown);
        self.text(x, y, text, role, shown);
        x
    }

    /// One cell.
    pub(super) fn put(&mut self, x: u16, y: u16, symbol: &str, style: Style) {
        if let Some(cell) = self.buffer.cell_mut((x, y)) {
            cell.set_symbol(symbol).set_style(style);
        }
    }

    /// A frame with a title in its upper edge.
    pub(super) fn frame(&mut self, area: Rect, title: &str, role: Role) {
        if area.width < 2 || area.height < 2 {
            return;
        }
        let style = self.theme.ink(role);
        let (horizontal, vertical) = (self.theme.glyph("─", "-"), self.theme.glyph("│", "|"));
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        for x in area.left() + 1..right {
            self.put(x, area.top(), horizontal, style);
            self.put(x, bottom, horizontal, style);
        }
        for y in area.top() + 1..bottom {
            self.put(area.left(), y, vertical, style);
            self.put(right, y, vertical, style);
        }
        let corner = |glyph| self.theme.glyph(glyph, "+");
        let corners = [corner("╭"), corner("╮"), corner("╰"), corner("╯")];
        self.put(area.left(), area.top(), corners[0], style);
        self.put(right, area.top(), corners[1], style);
        self.put(area.left(), bottom, corners[2], style);
        self.put(right, bottom, corners[3], style);
        if !title.is_empty() {
            let bold = style.add_modifier(ratatui::style::Modifier::BOLD);
            let title = format!(" {title} ");
            self.styled(area.x + 2, area.y, &title, bold, area.width.saturating_sub(4));
        }
    }
}

/// What a severity looks like.
pub(super) fn role_of(severity: Severity) -> Role {
    match severity {
        Severity::Idle | Severity::Ok => Role::Dim,
        Severity::Warn => Role::Warn,
        Severity::Bad => Role::Bad,
        Severity::Critical => Role::Critical,
    }
}

/// What its dot looks like: healthy ones are green there, and only there.
pub(super) fn dot_of(severity: Severity) -> (&'static str, &'static str, Role) {
    match severity {
        Severity::Idle => ("·", ".", Role::Faint),
        Severity::Ok => ("●", "o", Role::Ok),
        Severity::Warn => ("●", "!", Role::Warn),
        Severity::Bad => ("▲", "!", Role::Bad),
        Severity::Critical => ("▲", "X", Role::Critical),
    }
}

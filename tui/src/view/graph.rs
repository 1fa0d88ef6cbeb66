//! Who calls whom, what is hot, and the chosen node below.

use super::pen::{Pen, role_of};
use super::wires::{Styled, wires};
use super::{calm, inspector};
use crate::arrange::{Drawing, NODE_HEIGHT, NodeBox};
use crate::format;
use crate::model::Model;
use crate::model::graph::Scope;
use crate::model::severity::Severity;
use crate::theme::Role;
use fusebox_proto::view::{EdgeName, Service, ServiceKind};
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr as _;

/// Attempts per request from which a line says its factor.
const FACTOR_SHOWN: f64 = 1.5;

/// The graph, the inspector, the legend.
pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    if model.has_no_data() {
        calm::draw_empty(pen, body, model);
        return;
    }
    let shares = model.graph.shares;
    let below = shares.inspector.min(body.height);
    let legend = shares.legend.min(body.height - below);
    let canvas = Rect { height: body.height - below - legend, ..body };
    let drawing = model.graph.drawing();
    let fits = drawing.width <= i32::from(canvas.width)
        && drawing.height <= i32::from(canvas.height)
        && 0 < drawing.width;
    if fits {
        let x = i32::from(canvas.x) + (i32::from(canvas.width) - drawing.width) / 2;
        let y = i32::from(canvas.y) + (i32::from(canvas.height) - drawing.height) / 2;
        draw_graph(pen, canvas, model, &drawing, (x, y));
    } else {
        draw_list(pen, canvas, model);
    }
    if 0 < below {
        let area = Rect { y: canvas.bottom(), height: below, ..body };
        inspector::draw(pen, area, model);
    }
    if 0 < legend {
        draw_legend(pen, Rect { y: body.bottom() - 1, height: 1, ..body }, model);
    }
}

fn draw_graph(pen: &mut Pen<'_>, canvas: Rect, model: &Model, drawing: &Drawing, at: (i32, i32)) {
    let chosen = model.graph_edge();
    let mut lines: Vec<Styled<'_>> = drawing
        .paths
        .iter()
        .map(|path| {
            let name =
                EdgeName { source: path.source.clone(), destination: path.destination.clone() };
            let severity = model.edge(&name).map_or(Severity::Idle, |e| model.edge_severity(e));
            Styled { path, severity, chosen: chosen.as_ref() == Some(&name) }
        })
        .collect();
    let cell = |x: i32, y: i32| {
        let x =
            u16::try_from(at.0 + x).ok().filter(|x| (canvas.left()..canvas.right()).contains(x));
        let y =
            u16::try_from(at.1 + y).ok().filter(|y| (canvas.top()..canvas.bottom()).contains(y));
        x.zip(y)
    };
    for ((x, y), wire) in wires(&mut lines) {
        let Some((x, y)) = cell(x, y) else { continue };
        let style = line_style(pen, wire.severity(), wire.chosen);
        let glyph = wire.glyph(pen.theme.ascii);
        pen.put(x, y, &glyph, style);
    }
    // Sorted cold to hot: the hottest head stays.
    for line in &lines {
        let Some((x, y)) = cell(line.path.head.0, line.path.head.1) else { continue };
        let turned =
            line.path.back && line.path.cells.first().is_some_and(|c| c.x == line.path.head.0);
        let (glyph, ascii) = if turned { ("◀", "<") } else { ("▶", ">") };
        let style = line_style(pen, line.severity, line.chosen);
        let glyph = pen.theme.glyph(glyph, ascii);
        pen.put(x, y, glyph, style);
    }
    for node in &drawing.nodes {
        if let Some((x, y)) = cell(node.x, node.y) {
            draw_node(pen, canvas, (x, y), node, model);
        }
    }
    for line in &lines {
        draw_factor(pen, canvas, at, drawing, line, model);
    }
}

fn line_style(pen: &Pen<'_>, severity: Severity, chosen: bool) -> Style {
    let role = match severity {
        Severity::Idle | Severity::Ok => Role::Faint,
        severity => role_of(severity),
    };
    let style = pen.theme.ink(role);
    if chosen && severity < Severity::Warn { pen.theme.ink(Role::Accent) } else { style }
}

/// A bar, the name, badges of what is folded into it; below, load and failures.
fn draw_node(pen: &mut Pen<'_>, canvas: Rect, (x, y): (u16, u16), node: &NodeBox, model: &Model) {
    let service = model.snapshot.services.iter().find(|s| s.name == node.name);
    let severity = service.map_or(Severity::Idle, |s| model.service_severity(s));
    let is_chosen = model.selection.service.as_ref() == Some(&node.name);
    let ground = match severity {
        _ if is_chosen => Role::NodeSelected,
        Severity::Idle | Severity::Ok => Role::Node,
        Severity::Warn => Role::NodeWarn,
        Severity::Bad | Severity::Critical => Role::NodeBad,
    };
    let width = u16::try_from(node.width).unwrap_or(0);
    let area = Rect { x, y, width, height: NODE_HEIGHT as u16 }.intersection(canvas);
    pen.fill(area, ground);
    let (bar, role) = match severity {
        Severity::Idle => ("▌", Role::Faint),
        Severity::Ok => ("▌", Role::Ok),
        severity => ("▌", role_of(severity)),
    };
    for row in area.top()..area.bottom() {
        let glyph = pen.theme.glyph(bar, if Severity::Bad <= severity { "X" } else { "|" });
        pen.text(x, row, glyph, role, 1);
    }
    let badges = badges(model, &node.name);
    let name = if is_chosen || Severity::Bad <= severity { Role::Strong } else { Role::Text };
    pen.text(x + 1, y, &node.name, name, width.saturating_sub(1));
    if 1 < area.height {
        draw_figures(pen, (x + 1, y + 1), width.saturating_sub(1), service);
    }
    // Beside the name where there is room for a space between them, else beside the figures.
    let beside_name = node.name.width() + badges.len() + 2 <= usize::from(width);
    let row = if beside_name { y } else { y + area.height.saturating_sub(1) };
    for (at, (letter, role)) in badges.iter().rev().enumerate() {
        let at = x + width - 1 - u16::try_from(at).unwrap_or(0);
        pen.text(at, row, letter, *role, 1);
    }
}

fn draw_figures(pen: &mut Pen<'_>, (x, y): (u16, u16), width: u16, service: Option<&Service>) {
    let rate = service.and_then(|s| s.rate);
    let ratio = service.and_then(|s| s.error_ratio);
    let after = pen.text(x, y, &format::known(rate, format::count), Role::Dim, width);
    let severity = crate::model::severity::of_error_ratio(ratio);
    let errors = ratio.filter(|r| 0.0005 <= *r).map(format::percent_short).unwrap_or_default();
    pen.text(after + 1, y, &errors, role_of(severity), (x + width).saturating_sub(after + 1));
}

/// Letters of databases and queues that this service calls and that are no nodes of their own.
fn badges(model: &Model, name: &str) -> Vec<(String, Role)> {
    let callees = model.snapshot.edges.iter().filter(|e| e.source == name);
    let folded = callees.filter(|e| !model.graph.nodes.contains(&e.destination));
    folded
        .filter_map(|edge| {
            let infra = model.snapshot.services.iter().find(|s| s.name == edge.destination)?;
            let is_infra = matches!(infra.kind, ServiceKind::Database | ServiceKind::Messaging);
            let letter = infra.name.chars().find(|c| c.is_alphanumeric())?;
            let severity = model.edge_severity(edge).max(model.service_severity(infra));
            let role = if severity < Severity::Warn { Role::Faint } else { role_of(severity) };
            is_infra.then(|| (letter.to_uppercase().to_string(), role))
        })
        .take(3)
        .collect()
}

/// `×9.8` on a line that multiplies, where the line has room for it.
fn draw_factor(
    pen: &mut Pen<'_>,
    canvas: Rect,
    at: (i32, i32),
    drawing: &Drawing,
    line: &Styled<'_>,
    model: &Model,
) {
    let name =
        EdgeName { source: line.path.source.clone(), destination: line.path.destination.clone() };
    let factor = model.edge(&name).and_then(|e| e.attempts_per_request);
    let Some(factor) = factor.filter(|f| FACTOR_SHOWN <= *f) else {
        return;
    };
    let text = format!("×{}", format::count(factor));
    let width = i32::try_from(text.width()).unwrap_or(0);
    let is_free = |x: i32, y: i32| {
        let on_node = drawing.nodes.iter().any(|n| {
            n.x < x + width + 1 && x <= n.x + n.width && n.y <= y && y < n.y + NODE_HEIGHT
        });
        let on_line = drawing
            .paths
            .iter()
            .flat_map(|p| &p.cells)
            .any(|c| c.y == y && x - 1 < c.x && c.x < x + width + 1);
        0 <= x && 0 <= y && !on_node && !on_line
    };
    // Beside the line, then in the gap above and below the callee.
    let head = line.path.head;
    let beside = line
        .path
        .cells
        .iter()
        .rev()
        .flat_map(|c| [(c.x - width + 1, c.y - 1), (c.x - width + 1, c.y + 1), (c.x + 2, c.y)]);
    let mut spots = beside.chain([(head.0 + 2, head.1 - 1), (head.0 + 2, head.1 + NODE_HEIGHT)]);
    let Some((x, y)) = spots.find(|&(x, y)| is_free(x, y)) else { return };
    let (Ok(x), Ok(y)) = (u16::try_from(at.0 + x), u16::try_from(at.1 + y)) else { return };
    if canvas.contains((x, y).into()) && x + width as u16 <= canvas.right() {
        pen.text(x, y, &text, role_of(line.severity), width as u16);
    }
}

/// Where not even a neighbourhood fits: callers and callees of the chosen node, in words.
fn draw_list(pen: &mut Pen<'_>, canvas: Rect, model: &Model) {
    let rows = model.service_rows();
    for ((severity, service), y) in rows.into_iter().zip(canvas.top()..canvas.bottom()) {
        let callees = model.snapshot.edges.iter().filter(|e| e.source == service.name);
        let names: Vec<&str> = callees.map(|e| e.destination.as_str()).collect();
        let arrow = if names.is_empty() { "" } else { " → " };
        let text = format!("{}{arrow}{}", service.name, names.join(", "));
        pen.text(canvas.x + 1, y, &text, role_of(severity), canvas.width.saturating_sub(2));
    }
}

fn draw_legend(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let mut x = area.x + 1;
    let bar = pen.theme.glyph("▌", "|");
    let back = pen.theme.glyph("┈◀ back", "-< back");
    let heavy = pen.theme.glyph("━", "=");
    let infra = if model.graph.unfolded { "" } else { "letter: database or queue" };
    let parts = [
        (format!("{bar}ok"), Role::Ok),
        (format!("{bar}1 % fail"), Role::Warn),
        (format!("{heavy}{bar}5 % fail or ×2"), Role::Bad),
        (back.to_owned(), Role::Dim),
        (healthy(model), Role::Ok),
        (infra.to_owned(), Role::Faint),
    ];
    for (text, role) in parts {
        x = pen.text(x, area.y, &text, role, area.right().saturating_sub(x)) + 2;
    }
}

/// What the part that is shown leaves out.
fn healthy(model: &Model) -> String {
    let out = model.snapshot.services.iter().filter(|s| !model.graph.nodes.contains(&s.name));
    let ill = out.filter(|s| Severity::Warn <= model.service_severity(s)).count();
    match (&model.graph.scope, model.graph.hidden) {
        (Scope::All, _) | (_, 0) => String::new(),
        (_, hidden) if ill == 0 => format!("+{hidden} healthy"),
        (_, hidden) => format!("+{hidden}, {ill} of them failing"),
    }
}

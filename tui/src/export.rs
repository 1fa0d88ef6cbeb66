//! A buffer as a picture: SVG with one text a run of cells, deterministic to the byte, for the
//! pictures of the README.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;

/// Width of a cell at [`FONT_SIZE`]: that of common monospaced fonts.
const CELL_WIDTH: f64 = 8.4;
/// Height of a cell.
const CELL_HEIGHT: f64 = 18.0;
const FONT_SIZE: u32 = 14;
/// Above the baseline.
const ASCENT: f64 = 13.5;
const MARGIN: f64 = 12.0;
const FONTS: &str = "'JetBrains Mono','Cascadia Mono','DejaVu Sans Mono',Menlo,Consolas,monospace";
/// For cells that leave colours to the terminal.
const GROUND: (u8, u8, u8) = (16, 18, 25);
const INK: (u8, u8, u8) = (213, 217, 227);

/// The picture of a buffer, with `title` for those who do not see it.
pub fn svg(buffer: &Buffer, title: &str) -> String {
    let area = buffer.area;
    let width = f64::from(area.width) * CELL_WIDTH + 2.0 * MARGIN;
    let height = f64::from(area.height) * CELL_HEIGHT + 2.0 * MARGIN;
    let mut out = String::with_capacity(64 * 1024);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\" role=\"img\" font-family=\"{FONTS}\" \
         font-size=\"{FONT_SIZE}\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>",
        escaped(title),
        hex(ground(&buffer[(area.x, area.y + area.height / 2)])),
    );
    for y in area.top()..area.bottom() {
        for (x, run) in runs(buffer, y, |a, b| ground(a) == ground(b)) {
            write_ground(&mut out, x, y, &run);
        }
    }
    for y in area.top()..area.bottom() {
        for (x, run) in runs(buffer, y, same_text) {
            write_text(&mut out, x, y, &run);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Cells of a row in runs that look alike, each with its first column.
fn runs(buffer: &Buffer, y: u16, alike: impl Fn(&Cell, &Cell) -> bool) -> Vec<(u16, Vec<&Cell>)> {
    let mut runs: Vec<(u16, Vec<&Cell>)> = Vec::new();
    for x in buffer.area.left()..buffer.area.right() {
        let cell = &buffer[(x, y)];
        match runs.last_mut() {
            Some((_, run)) if run.last().is_some_and(|last| alike(last, cell)) => run.push(cell),
            _ => runs.push((x, vec![cell])),
        }
    }
    runs
}

/// Text runs break where the style changes and at what is drawn as a shape.
fn same_text(a: &Cell, b: &Cell) -> bool {
    let is_text = |cell: &Cell| block(cell.symbol()).is_none() && strokes(cell.symbol()).is_none();
    ink(a) == ink(b) && a.modifier == b.modifier && is_text(a) && is_text(b)
}

fn write_ground(out: &mut String, x: u16, y: u16, run: &[&Cell]) {
    let colour = ground(run[0]);
    if colour == GROUND {
        return;
    }
    let _ = writeln!(
        out,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{CELL_HEIGHT}\" fill=\"{}\"/>",
        MARGIN + f64::from(x) * CELL_WIDTH,
        MARGIN + f64::from(y) * CELL_HEIGHT,
        run.len() as f64 * CELL_WIDTH,
        hex(colour),
    );
}

fn write_text(out: &mut String, x: u16, y: u16, run: &[&Cell]) {
    let left = MARGIN + f64::from(x) * CELL_WIDTH;
    let top = MARGIN + f64::from(y) * CELL_HEIGHT;
    if let Some((dx, dy, width, height)) = block(run[0].symbol()) {
        let _ = writeln!(
            out,
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{}\" \
             shape-rendering=\"crispEdges\"/>",
            left + dx * CELL_WIDTH,
            top + dy * CELL_HEIGHT,
            width * CELL_WIDTH,
            height * CELL_HEIGHT,
            hex(ink(run[0])),
        );
        return;
    }
    if let Some(weights) = strokes(run[0].symbol()) {
        write_strokes(out, (left, top), run[0], weights);
        return;
    }
    let text: String = run.iter().map(|cell| cell.symbol()).collect();
    let bare = text.trim_start();
    if bare.trim_end().is_empty() {
        return;
    }
    let skipped = text.chars().count() - bare.chars().count();
    let bare = bare.trim_end();
    let bold = if run[0].modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let dim = if run[0].modifier.contains(Modifier::DIM) { " opacity=\"0.6\"" } else { "" };
    let length = bare.chars().count() as f64 * CELL_WIDTH;
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\" \
         fill=\"{}\"{bold}{dim}>{}</text>",
        left + skipped as f64 * CELL_WIDTH,
        top + ASCENT,
        hex(ink(run[0])),
        escaped(bare),
    );
}

/// Block elements as shares of their cell, so that bars have no seams: x, y, width, height.
fn block(symbol: &str) -> Option<(f64, f64, f64, f64)> {
    let c = symbol.chars().next()?;
    match c {
        '▁'..='█' => {
            let eighths = f64::from(u32::from(c) - u32::from('▁') + 1) / 8.0;
            Some((0.0, 1.0 - eighths, 1.0, eighths))
        }
        '▌' => Some((0.0, 0.0, 0.4, 1.0)),
        _ => None,
    }
}

/// Lines from the middle of the cell to its edges; rounded where two thin ones make a corner.
fn write_strokes(out: &mut String, (left, top): (f64, f64), cell: &Cell, weights: [u8; 4]) {
    let (x, y) = (left + CELL_WIDTH / 2.0, top + CELL_HEIGHT / 2.0);
    let ends = [(x, top), (left + CELL_WIDTH, y), (x, top + CELL_HEIGHT), (left, y)];
    let colour = hex(ink(cell));
    let dashes = if matches!(cell.symbol(), "┈" | "┊" | "╌") {
        " stroke-dasharray=\"2 2\""
    } else {
        ""
    };
    if let "╭" | "╮" | "╰" | "╯" = cell.symbol() {
        let mut used = (0..4).filter(|&at| 0 < weights[at]).map(|at| ends[at]);
        if let (Some(a), Some(b)) = (used.next(), used.next()) {
            let _ = writeln!(
                out,
                "<path d=\"M{:.1} {:.1}Q{x:.1} {y:.1} {:.1} {:.1}\" fill=\"none\" stroke=\"{colour}\" \
                 stroke-width=\"1.2\"/>",
                a.0, a.1, b.0, b.1
            );
        }
        return;
    }
    for ((end_x, end_y), weight) in ends.into_iter().zip(weights).filter(|(_, weight)| 0 < *weight)
    {
        let width = if weight == 1 { "1.2" } else { "2.6" };
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {y:.1}L{end_x:.1} {end_y:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-linecap=\"square\" \
             shape-rendering=\"crispEdges\"{dashes}/>"
        );
    }
}

/// Weights of a box-drawing character up, right, down, left.
fn strokes(symbol: &str) -> Option<[u8; 4]> {
    let c = symbol.chars().next()?;
    Some(match c {
        '╭' => [0, 1, 1, 0],
        '╮' => [0, 0, 1, 1],
        '╰' => [1, 1, 0, 0],
        '╯' => [1, 0, 0, 1],
        '┈' | '╌' => [0, 1, 0, 1],
        '┊' => [1, 0, 1, 0],
        c => {
            let at =
                crate::glyphs::BOX.chars().position(|other| other == c).filter(|at| 0 < *at)?;
            let digit = |place: usize| u8::try_from(at / place % 3).unwrap_or(0);
            [digit(27), digit(9), digit(3), digit(1)]
        }
    })
}

fn ink(cell: &Cell) -> (u8, u8, u8) {
    let reversed = cell.modifier.contains(Modifier::REVERSED);
    if reversed { rgb(cell.bg, GROUND) } else { rgb(cell.fg, INK) }
}

fn ground(cell: &Cell) -> (u8, u8, u8) {
    let reversed = cell.modifier.contains(Modifier::REVERSED);
    if reversed { rgb(cell.fg, INK) } else { rgb(cell.bg, GROUND) }
}

fn rgb(colour: Color, otherwise: (u8, u8, u8)) -> (u8, u8, u8) {
    match colour {
        Color::Rgb(r, g, b) => (r, g, b),
        _ => otherwise,
    }
}

fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;

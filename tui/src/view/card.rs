//! The card of an incident: the sentence, the evidence, the chain, the doubt, the action.

use super::pen::{Pen, role_of};
use super::{action, spark};
use crate::format;
use crate::model::chain::{ChainLink, Relation};
use crate::model::dossier::label_width;
use crate::model::{Model, act};
use crate::theme::Role;
use fusebox_proto::view::{Evidence, Incident, IncidentGuard};
use ratatui::layout::Rect;
use std::time::Duration;
use unicode_width::UnicodeWidthStr as _;

/// `retry_storm` → `RETRY STORM`
pub(super) fn title(kind: &str) -> String {
    kind.replace('_', " ").to_uppercase()
}

/// More signals than this give way to the chain of causes.
const SIGNALS_MAX: usize = 6;

/// One row of the card, in the order in which they are shown.
enum Row<'a> {
    Blank,
    Sentence(String),
    Evidence(&'a Evidence),
    /// Of the last of many signals.
    Detail(&'a Evidence),
    Radius(String),
    Chain(Vec<ChainLink>),
    /// With its label, which only the first of several rows has.
    Counter(&'static str, String),
    Quality(String),
    Guard(String),
}

impl Row<'_> {
    fn height(&self) -> u16 {
        if matches!(self, Self::Chain(_)) { 2 } else { 1 }
    }

    /// What is left out first where room is short: the highest.
    fn worth(&self) -> u8 {
        match self {
            Self::Sentence(_) => 0,
            Self::Evidence(_) => 1,
            Self::Quality(_) | Self::Guard(_) => 2,
            Self::Counter(..) => 3,
            Self::Chain(_) => 4,
            Self::Radius(_) | Self::Detail(_) => 5,
            Self::Blank => 6,
        }
    }
}

/// Draws the card in at most `area`; returns the rows that it took.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model, incident: &Incident) -> u16 {
    let inner = area.width.saturating_sub(4);
    let mut rows = rows(model, incident, inner);
    let edge = act::incident_edge(incident);
    let action = edge.as_ref().map_or(0, |edge| action::height(model, edge, inner));
    let most = area.height.saturating_sub(2 + action);
    shorten(&mut rows, most);
    let height = rows.iter().map(Row::height).sum::<u16>() + 2 + action;
    let height = height.min(area.height);
    let frame = Rect { height, ..area };
    pen.frame(frame, &heading(model, incident), Role::Critical);
    let (x, mut y) = (area.x + 2, area.y + 1);
    for row in &rows {
        if frame.bottom() <= y + row.height() {
            break;
        }
        draw_row(pen, Rect { x, y, width: inner, height: row.height() }, incident, row);
        y += row.height();
    }
    if let Some(edge) = edge {
        let height = action.min(frame.bottom().saturating_sub(1 + y));
        if 0 < height {
            action::draw(pen, Rect { x, y, width: inner, height }, model, &edge);
        }
    }
    height
}

pub(super) fn heading(model: &Model, incident: &Incident) -> String {
    let ms = model.wall().0.saturating_sub(incident.opened_at.0);
    let age = match format::age(Duration::from_millis(ms)) {
        age if age == "now" => "just opened".to_owned(),
        age => format!("{age} old"),
    };
    let mut parts = vec![
        format!("INCIDENT {}", incident.id),
        title(&incident.kind),
        age,
        format!("confidence {:.0} %", incident.confidence * 100.0),
    ];
    if !incident.phase.is_empty() {
        parts.insert(2, incident.phase.clone());
    }
    parts.join(" · ")
}

fn rows<'a>(model: &Model, incident: &'a Incident, width: u16) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> =
        format::wrap(&incident.summary, width, 3).into_iter().map(Row::Sentence).collect();
    rows.push(Row::Blank);
    let (first, last) = incident.evidence.split_at(SIGNALS_MAX.min(incident.evidence.len()));
    rows.extend(first.iter().map(Row::Evidence));
    rows.extend(last.iter().map(Row::Detail));
    let hurt = model.blast_radius(incident);
    if !hurt.is_empty() {
        let names = hurt
            .iter()
            .map(|s| format!("{} {}", s.name, format::percent_short(s.error_ratio.unwrap_or(0.0))));
        rows.push(Row::Radius(names.collect::<Vec<_>>().join(" · ")));
    }
    let chain = model.chain(incident);
    if 1 < chain.len() {
        rows.push(Row::Blank);
        rows.push(Row::Chain(chain));
    }
    if !incident.counter_evidence.is_empty() || !incident.data_quality.note.is_empty() {
        rows.push(Row::Blank);
    }
    let room = width.saturating_sub(columns(width).0);
    for counter in &incident.counter_evidence {
        let labels = std::iter::once("but").chain(std::iter::repeat(""));
        let lines = labels.zip(format::wrap(counter, room, 2));
        rows.extend(lines.map(|(label, line)| Row::Counter(label, line)));
    }
    if !incident.data_quality.note.is_empty() {
        rows.push(Row::Quality(incident.data_quality.note.clone()));
    }
    rows.extend(incident.guard.as_ref().and_then(guard).map(Row::Guard));
    rows.push(Row::Blank);
    rows
}

/// Why guard mode does not act; where nothing keeps it from it, what it did.
fn guard(guard: &IncidentGuard) -> Option<String> {
    if let Some(why) = &guard.refused {
        return Some(format!("does not act: {why}"));
    }
    let at = format::clock(guard.acted_at?);
    Some(match guard.actions {
        1 => format!("acted at {at}"),
        n => format!("acted {n} times, last at {at}"),
    })
}

/// Leaves out what is worth least until the rest fits.
fn shorten(rows: &mut Vec<Row<'_>>, most: u16) {
    while most < rows.iter().map(Row::height).sum::<u16>() {
        let Some(worth) = rows.iter().map(Row::worth).max() else { return };
        let at = rows.iter().rposition(|row| row.worth() == worth);
        at.map(|at| rows.remove(at));
    }
}

fn draw_row(pen: &mut Pen<'_>, area: Rect, incident: &Incident, row: &Row<'_>) {
    match row {
        Row::Blank => {}
        Row::Sentence(text) => draw_sentence(pen, area, incident, text),
        Row::Evidence(evidence) | Row::Detail(evidence) => draw_evidence(pen, area, evidence),
        Row::Radius(text) => draw_labelled(pen, area, "also failing", text, Role::Warn),
        Row::Chain(links) => draw_chain(pen, area, links),
        Row::Counter(label, text) => draw_labelled(pen, area, label, text, Role::Accent),
        Row::Quality(text) => draw_labelled(pen, area, "data", text, Role::Warn),
        Row::Guard(text) => draw_labelled(pen, area, "guard", text, Role::Accent),
    }
}

/// The sentence, with the guilty and the victim in colour.
fn draw_sentence(pen: &mut Pen<'_>, area: Rect, incident: &Incident, text: &str) {
    let mut x = area.x;
    for word in text.split_inclusive(' ') {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '-');
        let is = |name: &Option<String>| name.as_deref() == Some(bare);
        let named = is(&incident.originator) || is(&incident.victim);
        let role = if named { Role::Critical } else { Role::Strong };
        x = pen.text(x, area.y, word, role, area.right().saturating_sub(x));
    }
}

/// Columns of a card's rows: where values begin, where the sparkline begins.
fn columns(width: u16) -> (u16, u16) {
    match width {
        160.. => (label_width(width), 60),
        90.. => (label_width(width), 30),
        70.. => (label_width(width), 20),
        _ => (20, 0),
    }
}

fn draw_labelled(pen: &mut Pen<'_>, area: Rect, label: &str, text: &str, role: Role) {
    let (values, _) = columns(area.width);
    pen.text(area.x, area.y, label, Role::Dim, values - 1);
    pen.text(area.x + values, area.y, text, role, area.width.saturating_sub(values));
}

pub(super) fn draw_evidence(pen: &mut Pen<'_>, area: Rect, evidence: &Evidence) {
    let (values, spark) = columns(area.width);
    pen.text(area.x, area.y, &evidence.signal, Role::Dim, values - 1);
    let before = format::evidence(evidence.baseline, &evidence.unit);
    let now = format::evidence(evidence.current, &evidence.unit);
    let x = area.x + values;
    let room = area.width.saturating_sub(values + spark);
    let x = pen.text(x, area.y, &before, Role::Text, room);
    let arrow = pen.theme.glyph(" → ", " -> ");
    let x = pen.text(x, area.y, arrow, Role::Dim, 4);
    let role = if grew(evidence) { Role::Critical } else { Role::Warn };
    pen.text(x, area.y, &now, role, area.right().saturating_sub(spark + x));
    if 0 < spark {
        let at = area.right().saturating_sub(spark);
        let series = evidence.series.iter().copied();
        // What fell was usual at its height.
        let usual =
            evidence.baseline.filter(|before| evidence.current.is_none_or(|now| *before <= now));
        let usual = usual.unwrap_or(0.0);
        spark::draw(pen, (at, area.y), spark, (series, Some(usual)), role);
    }
}

/// Whether a signal at least doubled.
fn grew(evidence: &Evidence) -> bool {
    let before = evidence.baseline.unwrap_or(0.0);
    evidence.current.is_some_and(|now| before * 2.0 < now)
}

fn draw_chain(pen: &mut Pen<'_>, area: Rect, links: &[ChainLink]) {
    let mut x = area.x;
    for link in links {
        let arrow = match link.relation {
            Relation::Begins => "",
            Relation::Calls => pen.theme.glyph(" ━━▶ ", " ==> "),
            Relation::Hurts => pen.theme.glyph(" ╌╌▶ ", " ..> "),
        };
        let width = link.service.width().max(link.figure.width()) + arrow.width();
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        if area.right() < x.saturating_add(width) {
            pen.text(x, area.y, pen.theme.glyph(" …", " ~"), Role::Dim, area.right() - x);
            return;
        }
        let role = role_of(link.severity);
        let name = pen.text(x, area.y, arrow, role, 5);
        pen.text(name, area.y, &link.service, role, area.right() - name);
        pen.text(name, area.y + 1, &link.figure, Role::Dim, area.right() - name);
        x += width;
    }
}

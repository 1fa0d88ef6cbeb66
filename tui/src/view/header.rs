//! The top: views, how fresh the data is, what is open.

use super::card;
use super::pen::Pen;
use crate::format;
use crate::model::playback::{Phase, Playback};
use crate::model::{Link, Model, Screen};
use crate::theme::Role;
use fusebox_proto::view::{GuardMode, History};
use ratatui::layout::Rect;
use unicode_width::UnicodeWidthStr as _;

/// Tabs, state of the data, incidents.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    pen.fill(area, bar(model));
    let mut end = area.right();
    for (text, role) in chips(model).into_iter().rev() {
        let width = u16::try_from(text.width()).unwrap_or(0);
        // The name and the chosen tab come before any chip.
        if end < area.x + 24 + width {
            continue;
        }
        end = pen.right(end, area.y, &text, role, width).saturating_sub(1);
    }
    let name = pen.text(area.x + 1, area.y, "FUSEBOX", Role::Accent, end.saturating_sub(1));
    let room = end.saturating_sub(name + 2);
    let full: usize = Screen::ALL.iter().map(|s| s.tab().1.len() + 5).sum();
    let is_full = full <= usize::from(room);
    let mut x = name + 2;
    for screen in Screen::ALL {
        let (key, title) = screen.tab();
        let chosen = screen == model.screen;
        let text = if is_full || chosen { format!(" {key} {title} ") } else { format!(" {key} ") };
        let role = if chosen { Role::Tab } else { Role::Dim };
        x = pen.text(x, area.y, &text, role, end.saturating_sub(x));
    }
}

/// The frame of a recording has another colour: it is never taken for what is now.
pub(super) fn bar(model: &Model) -> Role {
    if model.playback.is_some() { Role::BarReplay } else { Role::Bar }
}

/// What the right side says, the most important last.
fn chips(model: &Model) -> Vec<(String, Role)> {
    let mut chips = Vec::new();
    let status = &model.snapshot.status;
    match status.collector.history {
        // An embedded collector never keeps anything: its own chip says it.
        Some(History::Memory)
            if !model.has_no_data() && !status.embedded && model.playback.is_none() =>
        {
            chips.push((" IN MEMORY ".into(), Role::Dim));
        }
        Some(History::Failing) => chips.push((" HISTORY OFF ".into(), Role::Warn)),
        _ => (),
    }
    match status.guard.as_ref().map(|guard| guard.mode) {
        _ if model.playback.is_some() => (),
        Some(GuardMode::Act) => chips.push((" guard: act ".into(), Role::Partial)),
        Some(GuardMode::Off) => chips.push((" guard: off ".into(), Role::Dim)),
        Some(GuardMode::Suggest) | None => (),
    }
    let dropped: u64 = model.snapshot.status.collector.dropped.values().sum();
    if 0 < dropped {
        chips.push((format!(" dropped {} ", format::count(dropped as f64)), Role::Warn));
    }
    if model.session.read_only && model.playback.is_none() {
        chips.push((" RO ".into(), Role::Partial));
    }
    if model.snapshot.status.embedded && !model.has_no_data() && model.playback.is_none() {
        chips.push((" EMBEDDED ".into(), Role::Dim));
    }
    chips.push(freshness(model));
    match model.open_incidents().count() {
        0 => {}
        1 => chips.push((" 1 INCIDENT ".into(), Role::Key)),
        n => chips.push((format!(" {n} INCIDENTS "), Role::Key)),
    }
    chips
}

/// How far the screen can be trusted.
fn freshness(model: &Model) -> (String, Role) {
    if let Some(playback) = &model.playback {
        return (replay(playback), Role::Replay);
    }
    let age = model.data_age().map(format::age);
    match (&model.link, age) {
        (Link::Connecting, _) => (" CONNECTING ".into(), Role::Warn),
        (Link::Lost { .. }, None) => (" NOT CONNECTED ".into(), Role::Critical),
        (Link::Lost { .. }, Some(age)) => {
            (format!(" RECONNECTING · data {age} old "), Role::Critical)
        }
        (Link::Live, _) if model.has_no_data() => (format!(" {} ", senders(model)), Role::Warn),
        (Link::Live, Some(age)) if model.is_stale() => (format!(" STALE {age} "), Role::Critical),
        (Link::Live, _) => (format!(" ● LIVE {} ", format::clock(model.snapshot.at)), Role::Ok),
    }
}

/// `REPLAY ×10 14:02:31`: where a recording stands.
fn replay(playback: &Playback) -> String {
    let at = format::clock(playback.at);
    match playback.phase {
        Phase::Playing => format!(" REPLAY ×{} {at} ", playback.speed),
        Phase::Paused => format!(" REPLAY PAUSED {at} "),
        Phase::Seeking => format!(" REPLAY … {at} "),
        Phase::Over => format!(" REPLAY ENDED {at} "),
    }
}

/// `EMBEDDED · 0 senders`: what an empty screen is, which is not health.
pub(super) fn senders(model: &Model) -> String {
    let senders = model.snapshot.status.collector.senders;
    let place = if model.snapshot.status.embedded { "EMBEDDED" } else { "CONNECTED" };
    format!("{place} · {senders} sender{}", if senders == 1 { "" } else { "s" })
}

/// Where the operator is, and the mesh in a few figures.
pub(super) fn draw_crumb(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let end = pen.text(area.x + 1, area.y, &crumb(model), Role::Text, area.width - 2);
    let room = usize::from(area.right().saturating_sub(end + 3));
    if let Link::Lost { reason, attempts } = &model.link {
        let text = format!("{reason} · attempt {attempts}");
        pen.right(area.right() - 1, area.y, &text, Role::Critical, room as u16);
        return;
    }
    let mut parts = totals(model);
    while room < parts.join(" · ").width() && parts.pop().is_some() {}
    pen.right(area.right() - 1, area.y, &parts.join(" · "), Role::Dim, area.width - 2);
}

fn crumb(model: &Model) -> String {
    use crate::model::graph::Scope;
    match model.screen {
        Screen::Triage => "Triage".into(),
        Screen::Graph => {
            let hidden = match model.graph.hidden {
                0 => String::new(),
                n => format!(" · +{n} not shown"),
            };
            match &model.graph.scope {
                Scope::All => format!("Graph › all services{hidden}"),
                Scope::Incident(..) => format!("Graph › incident{hidden}"),
                Scope::Around(name) => format!("Graph › around {name}{hidden}"),
            }
        }
        Screen::Edges => {
            let turned = if model.sort.reversed { " (reversed)" } else { "" };
            format!("Edges › {}{turned}{}", model.sort.column.name(), filter(model))
        }
        Screen::Services => format!("Services › call tree, worst first{}", filter(model)),
        Screen::Breakers => format!("Breakers{}", filter(model)),
        Screen::Timeline => {
            let span = model.span();
            let span = std::time::Duration::from_millis(span.to - span.from);
            format!("Timeline › last {}{}", format::age(span), filter(model))
        }
    }
}

fn filter(model: &Model) -> String {
    if model.filter.is_empty() { String::new() } else { format!(" › “{}”", model.filter) }
}

/// Services, edges, what comes in from outside, who acts; the last is left out first.
fn totals(model: &Model) -> Vec<String> {
    if model.has_no_data() {
        return vec![model.session.by.clone()];
    }
    let status = &model.snapshot.status;
    let mut parts =
        vec![format!("{} services", status.services), format!("{} edges", status.edges)];
    if let Some(rate) = ingress(model) {
        parts.push(format!("{}/s in", format::count(rate)));
    }
    if 0 < status.proxies {
        let proxies = &model.snapshot.proxies;
        let told = |count: usize, what: &str| match count {
            0 => String::new(),
            _ => format!(", {count} {what}"),
        };
        let ends = told(proxies.iter().filter(|proxy| proxy.draining).count(), "draining");
        let fails =
            told(proxies.iter().filter(|proxy| !proxy.troubles.is_empty()).count(), "in trouble");
        parts.push(format!("{} proxies{ends}{fails}", status.proxies));
    }
    if !model.is_read_only() && !model.session.by.is_empty() {
        parts.push(model.session.by.clone());
    }
    parts
}

/// Requests per second into services that nobody on the graph calls.
pub(super) fn ingress(model: &Model) -> Option<f64> {
    let called: std::collections::BTreeSet<&str> =
        model.snapshot.edges.iter().map(|e| e.destination.as_str()).collect();
    let entries = model.snapshot.services.iter().filter(|s| !called.contains(s.name.as_str()));
    entries.filter_map(|s| s.rate).reduce(|a, b| a + b)
}

/// The open incident in one line, on every view but Triage.
pub(super) fn draw_banner(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let Some(incident) = model.incident() else { return };
    pen.fill(area, Role::Banner);
    let title = format!("{} {}", pen.theme.glyph("▲", "!"), card::title(&incident.kind));
    let x = pen.text(area.x + 1, area.y, &title, Role::Critical, area.width.saturating_sub(2));
    let hint = " i explain ";
    let end = area.right().saturating_sub(u16::try_from(hint.len()).unwrap_or(0));
    pen.text(end, area.y, hint, Role::Warn, area.right() - end);
    pen.text(x + 1, area.y, &incident.summary, Role::Text, end.saturating_sub(x + 2));
}

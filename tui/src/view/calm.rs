//! Triage without an incident: calm in figures, or an empty screen that says what it is.

use super::header;
use super::pen::Pen;
use super::{action, card};
use crate::format;
use crate::format::wrap;
use crate::model::{Link, Model};
use crate::theme::Role;
use fusebox_proto::view::{Health, IncidentState};
use ratatui::layout::Rect;
use std::time::Duration;

/// Lines of a calm card.
const LINES_MAX: u16 = 6;

/// Nothing is open: says so in figures; returns the rows that it took.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, model: &Model) -> u16 {
    let degraded = model.snapshot.status.health == Health::Degraded;
    let (title, role) = match (model.is_stale(), degraded) {
        (true, _) => ("NOTHING OPEN WHEN DATA STOPPED", Role::Warn),
        (false, true) => ("NO OPEN INCIDENT, BUT NOT EVERYTHING IS SEEN", Role::Warn),
        (false, false) => ("NO OPEN INCIDENT", Role::Ok),
    };
    let width = area.width.saturating_sub(4);
    let lines = lines(model, degraded, width);
    let leased = model.leased_edge();
    let held = u16::from(leased.is_some());
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(LINES_MAX) + held + 2;
    let frame = Rect { height: height.min(area.height), ..area };
    pen.frame(frame, title, role);
    let last = frame.bottom().saturating_sub(1);
    let rows = area.y + 1..last.saturating_sub(held);
    for ((text, role), y) in lines.into_iter().zip(rows) {
        pen.text(area.x + 2, y, &text, role, width);
    }
    if let Some(edge) = leased.filter(|_| 2 < frame.height) {
        let line = Rect { x: area.x + 2, y: last - 1, width, height: 1 };
        action::draw(pen, line, model, &edge);
    }
    frame.height
}

fn lines(model: &Model, degraded: bool, width: u16) -> Vec<(String, Role)> {
    let sentence = wrap(&figures(model), width, 2).into_iter();
    let mut lines: Vec<(String, Role)> = sentence.map(|line| (line, Role::Text)).collect();
    if degraded {
        lines.push((drops(model), Role::Warn));
    }
    lines.extend(last_incident(model).map(|text| (text, Role::Dim)));
    let advisories = model.snapshot.advisories.iter();
    lines.extend(
        advisories.map(|a| (format!("{}: {}", a.kind.replace('_', " "), a.summary), Role::Dim)),
    );
    lines
}

/// What is seen, in one sentence.
fn figures(model: &Model) -> String {
    let status = &model.snapshot.status;
    let services = model.snapshot.services.iter();
    let slowest = services
        .filter_map(|s| Some((s.p99_ms?, &s.name)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(ms, name)| format!("; slowest p99 {} ({name})", format::millis(ms)));
    let coming = header::ingress(model)
        .map(|rate| format!(", {} requests/s come in", format::count(rate)))
        .unwrap_or_default();
    let edges = model.snapshot.edges.iter();
    let (failed, all) = edges.fold((0.0, 0.0), |(failed, all), e| {
        let rate = e.rate.unwrap_or(0.0);
        (failed + rate * e.error_ratio.unwrap_or(0.0), all + rate)
    });
    let failing = if 0.0 < all {
        format!(", {} of calls fail", format::percent_short(failed / all))
    } else {
        String::new()
    };
    format!(
        "{} services on {} edges{coming}{failing}{}.",
        status.services,
        status.edges,
        slowest.unwrap_or_default()
    )
}

fn drops(model: &Model) -> String {
    let dropped = model.snapshot.status.collector.dropped.iter();
    let reasons: Vec<String> = dropped.map(|(why, count)| format!("{count} {why}")).collect();
    if reasons.is_empty() {
        "the collector does not see everything".into()
    } else {
        format!("the collector dropped: {}", reasons.join(", "))
    }
}

fn last_incident(model: &Model) -> Option<String> {
    let mut over = model.snapshot.incidents.iter().filter(|i| i.state == IncidentState::Resolved);
    let last = over.next()?;
    let ago = model.wall().0.saturating_sub(last.resolved_at?.0);
    let ago = format::age(Duration::from_millis(ago));
    Some(format!(
        "last: {} {} resolved {ago} ago: {}",
        card::title(&last.kind),
        last.id,
        last.summary
    ))
}

/// Nobody sends anything: what that means, and how to change it.
pub(super) fn draw_empty(pen: &mut Pen<'_>, area: Rect, model: &Model) {
    let (title, role) = match &model.link {
        Link::Live => (header::senders(model), Role::Warn),
        Link::Connecting => ("CONNECTING".into(), Role::Warn),
        Link::Lost { .. } => ("NO CONNECTION".into(), Role::Critical),
    };
    pen.frame(area, &title, role);
    let inner = area.width.saturating_sub(4);
    let rows = area.y + 1..area.bottom().saturating_sub(1);
    for ((text, role), y) in empty_lines(model, inner).into_iter().zip(rows) {
        pen.text(area.x + 2, y, &text, role, inner);
    }
}

fn empty_lines(model: &Model, width: u16) -> Vec<(String, Role)> {
    let collector = &model.session.collector;
    let mut lines = Vec::new();
    let mut say = |text: &str, role: Role| {
        lines.extend(wrap(text, width, 3).into_iter().map(|line| (line, role)));
    };
    match &model.link {
        Link::Connecting => {
            say(&format!("Connecting to the collector at {collector} …"), Role::Strong);
            return lines;
        }
        Link::Lost { reason, attempts } => {
            say(&format!("The collector at {collector} does not answer."), Role::Strong);
            say(reason, Role::Critical);
            say(
                &format!("{attempts} attempts so far; trying again for as long as this runs."),
                Role::Text,
            );
            return lines;
        }
        Link::Live => {}
    }
    let what = match model.snapshot.status.collector.senders {
        0 => "No telemetry arrives, so nothing is known. An empty screen is not health.",
        _ => "Nobody who sends has seen a call yet, so nothing is known. This is not health.",
    };
    say(what, Role::Strong);
    if let Some(notice) = &model.session.notice {
        say(notice, Role::Text);
    }
    let ingest = &model.session.ingest;
    let block = [
        (String::new(), Role::Text),
        ("Services with an OpenTelemetry SDK (seconds behind, cannot act):".into(), Role::Dim),
        (
            format!("  OTEL_EXPORTER_OTLP_ENDPOINT=http://{}        gRPC", ingest.otlp_grpc),
            Role::Accent,
        ),
        (
            format!("  OTEL_EXPORTER_OTLP_ENDPOINT=http://{}        HTTP", ingest.otlp_http),
            Role::Accent,
        ),
        (String::new(), Role::Text),
        ("A proxy beside a service (exact, within a second, can act):".into(), Role::Dim),
        (format!("  fusebox-proxy --service payment --collector {collector} \\"), Role::Accent),
        ("    --outbound 127.0.0.1:15001=inventory@127.0.0.1:8081".into(), Role::Accent),
        (String::new(), Role::Text),
        ("A shop with a storm in it, to try everything:".into(), Role::Dim),
        ("  fusebox demo".into(), Role::Accent),
    ];
    lines.extend(block);
    lines
}

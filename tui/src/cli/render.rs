//! Each answer as text for people. Reads a snapshot and no clock: times are told from the newest
//! data.

mod lists;
mod policy;

pub(crate) use policy::{lint, result as policy_result};

use super::parse;
use super::table::{Align, Table, cut};
use fusebox::format;
use fusebox_proto::page::Noun;
use fusebox_proto::view::{Guard, Health, History, Snapshot, Stamp, TripResult};
use std::fmt::Write as _;
use std::time::Duration;

/// The table of a noun.
pub(crate) fn table(noun: Noun, snapshot: &Snapshot, width: Option<usize>, ascii: bool) -> String {
    let text = match noun {
        Noun::Status => status(snapshot, width),
        Noun::Services => lists::services(snapshot, width),
        Noun::Edges => lists::edges(snapshot, width),
        Noun::Incidents => lists::incidents(snapshot, width),
        Noun::Breakers => lists::breakers(snapshot, width),
        Noun::Proxies => lists::proxies(snapshot, width),
        Noun::Policy => policy::policy(snapshot, width),
    };
    if ascii { to_ascii(&text) } else { text }
}

/// What we draw that is no ASCII, in ASCII.
fn to_ascii(text: &str) -> String {
    text.replace(format::UNKNOWN, "-").replace('…', "~").replace('→', "->")
}

fn status(snapshot: &Snapshot, width: Option<usize>) -> String {
    let status = &snapshot.status;
    let collector = &status.collector;
    let health = match status.health {
        Health::Ok => "ok",
        Health::Incident => "incident",
        Health::Degraded => "degraded",
    };
    let embedded = if status.embedded { ", embedded" } else { "" };
    let up = parse::time(Duration::from_secs(collector.uptime_s));
    let mut lines = vec![
        ("health", health.to_owned()),
        ("incidents", format!("{} open", status.incidents_open)),
        ("graph", format!("{}, {}", some(status.services, "service"), some(status.edges, "edge"))),
        ("proxies", format!("{} connected", status.proxies)),
        ("senders", collector.senders.to_string()),
        ("spans", format!("{}/s", format::count(collector.spans_per_s))),
        ("collector", format!("{}{embedded}, up {up}", collector.version)),
    ];
    if let Some(history) = collector.history {
        let text = match history {
            History::Memory => "in memory, ends with the collector",
            History::Disk => "on disk",
            History::Failing => "cannot be written: what happens is not kept",
        };
        lines.push(("history", text.to_owned()));
    }
    if let Some(guard) = &status.guard {
        lines.push(("guard", self::guard(guard)));
    }
    if !collector.dropped.is_empty() {
        let dropped: Vec<String> =
            collector.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.push(("dropped", dropped.join(", ")));
    }
    for incident in snapshot.incidents.iter().filter(|incident| incident.resolved_at.is_none()) {
        lines.push(("", incident.summary.clone()));
    }
    let mut text = String::new();
    for (name, value) in lines {
        let line = format!("{name:<11}{value}");
        let line = width.map_or(line.as_str().into(), |width| cut(&line, width));
        let _ = writeln!(text, "{line}");
    }
    text
}

/// What the collector may do by itself, and what came of it.
fn guard(guard: &Guard) -> String {
    let mut parts = vec![guard.mode.to_string()];
    if 0 < guard.actions + guard.leases {
        parts.push(format!("{} taken, {} in force", some(guard.actions, "lease"), guard.leases));
    }
    parts.extend(guard.refused.iter().map(|(reason, count)| format!("{count} refused: {reason}")));
    parts.join(", ")
}

/// `1 edge`, `2 edges`
fn some(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What came of a trip or reset on one edge.
pub(crate) fn result(result: &TripResult, ttl: Option<&str>) -> String {
    let TripResult { edge, action, applied, proxies, .. } = result;
    let mut line = format!("{}>{}: {action}", edge.source, edge.destination);
    if let Some(ttl) = ttl.filter(|_| 0 < *applied) {
        let _ = write!(line, " for {ttl}");
    }
    let _ = write!(line, ", applied on {applied} of {proxies} proxies");
    if let Some(ms) = result.applied_ms {
        let _ = write!(line, " in {}", format::millis(ms));
    }
    if let Some(coverage) = result.coverage {
        let _ = write!(line, ", {} % of attempts", format::percent(coverage));
    }
    if !result.note.is_empty() {
        let _ = write!(line, "; {}", result.note);
    }
    line
}

/// From `earlier` to `later`; zero where they come the other way round.
fn between(earlier: Stamp, later: Stamp) -> Duration {
    Duration::from_millis(later.0.saturating_sub(earlier.0))
}

/// `4m51s left`, and nothing where nothing ends.
fn left(now: Stamp, until: Option<Stamp>) -> Option<String> {
    until.map(|until| format!("{} left", parse::time(between(now, until))))
}

/// `3m12s ago`
fn ago(now: Stamp, since: Stamp) -> String {
    format!("{} ago", parse::time(between(since, now)))
}

#[cfg(test)]
mod tests;

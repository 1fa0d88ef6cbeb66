//! The tables of the nouns that are lists.

use super::{Align, Table, ago, left};
use fusebox::format::{UNKNOWN, count, known, millis, percent};
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::{EdgeView, IncidentState, Mtls, Remedy, ServiceKind, Snapshot};
use std::fmt::Write as _;

use Align::{Left, Right};

pub(super) fn services(snapshot: &Snapshot, width: Option<usize>) -> String {
    if snapshot.services.is_empty() {
        return "no services\n".into();
    }
    let mut table = Table::new(&[
        ("SERVICE", Left),
        ("KIND", Left),
        ("RATE/S", Right),
        ("ERR%", Right),
        ("P50", Right),
        ("P95", Right),
        ("P99", Right),
        ("INSTANCES", Right),
        ("NAMESPACE", Left),
        ("ENVIRONMENT", Left),
    ]);
    for service in &snapshot.services {
        let kind = match service.kind {
            ServiceKind::Service => "service",
            ServiceKind::Database => "database",
            ServiceKind::Messaging => "messaging",
            ServiceKind::External => "external",
        };
        table.row([
            service.name.clone(),
            kind.into(),
            known(service.rate, count),
            known(service.error_ratio, percent),
            known(service.p50_ms, millis),
            known(service.p95_ms, millis),
            known(service.p99_ms, millis),
            service.instances.map_or_else(|| UNKNOWN.into(), |n| n.to_string()),
            service.namespace.clone(),
            service.environment.clone(),
        ]);
    }
    table.render(width)
}

pub(super) fn edges(snapshot: &Snapshot, width: Option<usize>) -> String {
    if snapshot.edges.is_empty() {
        return "no edges\n".into();
    }
    let mut table = Table::new(&[
        ("SOURCE", Left),
        ("DESTINATION", Left),
        ("PROTOCOL", Left),
        ("RATE/S", Right),
        ("ERR%", Right),
        ("REFUSED/S", Right),
        ("ATT/REQ", Right),
        ("P50", Right),
        ("P95", Right),
        ("P99", Right),
        ("MTLS", Left),
        ("PROXIES", Right),
        ("BREAKER", Left),
    ]);
    for edge in &snapshot.edges {
        let mtls = match edge.mtls {
            Mtls::Mtls => "mtls",
            Mtls::Plaintext => "plaintext",
            Mtls::Mixed => "mixed",
            Mtls::Unknown => UNKNOWN,
        };
        table.row([
            edge.source.clone(),
            edge.destination.clone(),
            edge.protocol.clone(),
            known(edge.rate, count),
            known(edge.error_ratio, percent),
            known(edge.refused_per_s, count),
            known(edge.attempts_per_request, |factor| format!("{factor:.1}")),
            known(edge.p50_ms, millis),
            known(edge.p95_ms, millis),
            known(edge.p99_ms, millis),
            mtls.into(),
            edge.proxies.to_string(),
            circuit(snapshot, edge),
        ]);
    }
    table.render(width)
}

/// `forced_open, 3 of 3 proxies, 4m51s left`
fn circuit(snapshot: &Snapshot, edge: &EdgeView) -> String {
    let breaker = &edge.breaker;
    let mut text = breaker.state.as_str().to_owned();
    match (breaker.state, breaker.percent) {
        (BreakerState::Closed, _) => return text,
        (BreakerState::Shedding, Some(percent)) => {
            let _ = write!(text, ", {percent} % refused");
        }
        (BreakerState::RetriesMuted, Some(percent)) => {
            let _ = write!(text, ", {percent} % of retries pass");
        }
        (_, Some(percent)) => {
            let _ = write!(text, ", {percent} % pass");
        }
        (_, None) => (),
    }
    let _ = write!(text, ", {} of {} proxies", breaker.applied, breaker.proxies);
    if let Some(left) = left(snapshot.at, breaker.until) {
        let _ = write!(text, ", {left}");
    }
    text
}

/// Incidents, what would help, and advisories.
pub(super) fn incidents(snapshot: &Snapshot, width: Option<usize>) -> String {
    let mut text = String::new();
    if snapshot.incidents.is_empty() {
        text.push_str("no incidents\n");
    } else {
        let mut table = Table::new(&[
            ("ID", Left),
            ("STATE", Left),
            ("KIND", Left),
            ("OPENED", Right),
            ("SURE%", Right),
            ("SUGGESTED", Left),
            ("SUMMARY", Left),
        ]);
        for incident in &snapshot.incidents {
            let state = match incident.state {
                IncidentState::Open => "open",
                IncidentState::Resolved => "resolved",
            };
            let suggested = incident.action.as_ref().map_or_else(
                || UNKNOWN.into(),
                |a| match &a.action {
                    Remedy::Shift(shift) => format!("shift {shift}"),
                    Remedy::Trip(kind) => {
                        format!("{kind} {}>{} {}s", a.source, a.destination, a.ttl_s)
                    }
                },
            );
            table.row([
                incident.id.clone(),
                state.into(),
                incident.kind.clone(),
                ago(snapshot.at, incident.opened_at),
                percent(incident.confidence),
                suggested,
                incident.summary.clone(),
            ]);
        }
        text.push_str(&table.render(width));
    }
    if !snapshot.advisories.is_empty() {
        let mut table =
            Table::new(&[("ADVISORY", Left), ("EDGE", Left), ("SINCE", Right), ("SUMMARY", Left)]);
        for advisory in &snapshot.advisories {
            table.row([
                advisory.kind.clone(),
                format!("{}>{}", advisory.source, advisory.destination),
                ago(snapshot.at, advisory.since),
                advisory.summary.clone(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(width));
    }
    text
}

pub(super) fn breakers(snapshot: &Snapshot, width: Option<usize>) -> String {
    if snapshot.breakers.is_empty() {
        return "all circuits are closed\n".into();
    }
    let mut table = Table::new(&[
        ("EDGE", Left),
        ("KIND", Left),
        ("ENDPOINT", Left),
        ("STATE", Left),
        ("CAUSE", Left),
        ("SINCE", Right),
        ("LEFT", Right),
        ("APPLIED", Right),
        ("REFUSED", Right),
        ("BY", Left),
        ("REASON", Left),
    ]);
    let unknown = || UNKNOWN.to_owned();
    for breaker in &snapshot.breakers {
        table.row([
            breaker.edge.clone(),
            breaker.kind.clone(),
            breaker.endpoint.clone().unwrap_or_else(unknown),
            breaker.state.as_str().into(),
            breaker.cause.clone(),
            breaker.since.map_or_else(unknown, |since| ago(snapshot.at, since)),
            left(snapshot.at, breaker.until).unwrap_or_else(unknown),
            format!("{} of {}", breaker.applied, breaker.proxies),
            breaker.refused_total.to_string(),
            breaker.by.clone().unwrap_or_else(unknown),
            breaker.reason.clone().unwrap_or_else(unknown),
        ]);
    }
    table.render(width)
}

pub(super) fn proxies(snapshot: &Snapshot, width: Option<usize>) -> String {
    if snapshot.proxies.is_empty() {
        return "no proxies\n".into();
    }
    let mut table = Table::new(&[
        ("PROXY", Left),
        ("SERVICE", Left),
        ("NAMESPACE", Left),
        ("INSTANCE", Left),
        ("VERSION", Left),
        ("POLICY", Left),
        ("CONNECTED", Left),
        ("LAST SEEN", Right),
    ]);
    for proxy in &snapshot.proxies {
        table.row([
            proxy.id.clone(),
            proxy.service.clone(),
            proxy.namespace.clone(),
            proxy.instance.clone(),
            proxy.build.clone(),
            proxy.policy_version.map_or_else(|| UNKNOWN.into(), |version| version.to_string()),
            match (proxy.connected, proxy.draining) {
                (true, false) => "yes",
                (true, true) => "draining",
                (false, _) => "no",
            }
            .into(),
            millis(proxy.last_seen_ms as f64),
        ]);
    }
    let mut text = table.render(width);
    for proxy in &snapshot.proxies {
        for trouble in &proxy.troubles {
            let _ = writeln!(text, "{}: {trouble}", proxy.id);
        }
    }
    text
}

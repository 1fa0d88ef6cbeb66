//! `/metrics`: the collector about itself, and the few figures of the mesh to alert on.

use super::exposition::Page;
use crate::otlp::Signal;
use crate::tally::Tally;
use fusebox_proto::view::{Breaker, EdgeView, IncidentState, Snapshot};
use std::collections::BTreeMap;

/// Edges with samples of their own: the busiest. The rest are counted in
/// `fusebox_edges_omitted`, so that a mesh of any size is scraped in one page.
const EDGES_MAX: usize = 1_000;
/// Breakers with a sample of their own.
const BREAKERS_MAX: usize = 1_000;

/// The whole page.
pub(super) fn page(snapshot: &Snapshot, tally: &Tally) -> String {
    let mut page = Page::default();
    itself(&mut page, snapshot, tally);
    edges(&mut page, &snapshot.edges);
    breakers(&mut page, &snapshot.breakers);
    incidents(&mut page, snapshot);
    guard(&mut page, snapshot);
    page.into_text()
}

fn itself(page: &mut Page, snapshot: &Snapshot, tally: &Tally) {
    let (status, collector) = (&snapshot.status, &snapshot.status.collector);
    page.gauge("fusebox_build_info", "The collector's version.")
        .sample(&[("version", &collector.version)], 1.0);
    page.gauge("fusebox_uptime_seconds", "Since the collector started.")
        .sample(&[], collector.uptime_s as f64);
    page.gauge("fusebox_spans_per_second", "Spans taken, over the last 10 s.")
        .sample(&[], collector.spans_per_s);
    page.gauge("fusebox_senders", "Who sent telemetry in the last 60 s.")
        .sample(&[], collector.senders as f64);
    let mut requests = page.counter("fusebox_otlp_requests_total", "OTLP requests taken.");
    for signal in Signal::ALL {
        requests.sample(&[("signal", signal.as_str())], tally.requests(signal) as f64);
    }
    let mut dropped = page.counter("fusebox_dropped_total", "Dropped or refused, by reason.");
    for (reason, count) in &collector.dropped {
        dropped.sample(&[("reason", reason)], *count as f64);
    }
    page.gauge("fusebox_services", "Services on the graph.").sample(&[], status.services as f64);
    page.gauge("fusebox_edges", "Edges on the graph.").sample(&[], status.edges as f64);
    page.gauge("fusebox_proxies_connected", "Proxies with an open stream.")
        .sample(&[], status.proxies as f64);
}

/// A figure of an edge, where it is known.
type Figure = fn(&EdgeView) -> Option<f64>;

fn edges(page: &mut Page, edges: &[EdgeView]) {
    let mut busiest: Vec<&EdgeView> = edges.iter().collect();
    busiest.sort_by(|a, b| b.rate.unwrap_or(0.0).total_cmp(&a.rate.unwrap_or(0.0)));
    busiest.truncate(EDGES_MAX);
    page.gauge("fusebox_edges_omitted", "Edges without samples here: there are too many.")
        .sample(&[], (edges.len() - busiest.len()) as f64);

    let figures: [(&str, &str, Figure); 5] = [
        ("fusebox_edge_attempts_per_second", "Attempts, over the last 10 s.", |e| e.rate),
        (
            "fusebox_edge_attempts_per_request",
            "Attempts for each first attempt, over the last 10 s.",
            |e| e.attempts_per_request,
        ),
        ("fusebox_edge_error_ratio", "Failed among ended attempts, over the last 10 s.", |e| {
            e.error_ratio
        }),
        (
            "fusebox_edge_refused_per_second",
            "Attempts that proxies refused, over the last 10 s.",
            |e| e.refused_per_s,
        ),
        ("fusebox_edge_p99_milliseconds", "Client side, over the last 60 s.", |e| e.p99_ms),
    ];
    for (name, help, figure) in figures {
        let mut family = page.gauge(name, help);
        for edge in &busiest {
            if let Some(value) = figure(edge) {
                let labels =
                    [("source", edge.source.as_str()), ("destination", edge.destination.as_str())];
                family.sample(&labels, value);
            }
        }
    }
}

fn breakers(page: &mut Page, breakers: &[Breaker]) {
    let mut states = page.gauge("fusebox_breaker", "1 for each breaker, by its state.");
    for breaker in breakers.iter().take(BREAKERS_MAX) {
        let labels = [
            ("edge", breaker.edge.as_str()),
            ("kind", &breaker.kind),
            ("endpoint", breaker.endpoint.as_deref().unwrap_or_default()),
            ("state", breaker.state.as_str()),
        ];
        states.sample(&labels, 1.0);
    }
}

fn incidents(page: &mut Page, snapshot: &Snapshot) {
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    for incident in &snapshot.incidents {
        *open.entry(&incident.kind).or_default() +=
            u64::from(incident.state == IncidentState::Open);
    }
    let mut family = page.gauge("fusebox_incidents_open", "Open incidents, by kind.");
    for (kind, count) in open {
        family.sample(&[("kind", kind)], count as f64);
    }
}

fn guard(page: &mut Page, snapshot: &Snapshot) {
    let Some(guard) = &snapshot.status.guard else { return };
    page.gauge("fusebox_guard_mode", "1 for what the collector may do by itself.")
        .sample(&[("mode", guard.mode.as_str())], 1.0);
    page.counter("fusebox_guard_actions_total", "Leases that guard mode took.")
        .sample(&[], guard.actions as f64);
    page.gauge("fusebox_guard_leases", "Leases of guard mode that are in force.")
        .sample(&[], guard.leases as f64);
    let help = "What guard mode did not do, by reason; of one incident once a minute at most.";
    let mut refused = page.counter("fusebox_guard_refused_total", help);
    for (reason, count) in &guard.refused {
        refused.sample(&[("reason", reason)], *count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: more edges than have samples of their own, some without figures.
    /// Guarantees: the page is bounded, shows the busiest, counts the rest, and says nothing of
    /// what is not known.
    #[test]
    fn the_busiest_edges_are_shown() {
        let edge = |at: usize| EdgeView {
            source: format!("s{at}"),
            destination: "d".into(),
            rate: (at != 0).then_some(at as f64),
            ..EdgeView::default()
        };
        let edges = (0..EDGES_MAX + 5).map(edge).collect();
        let text = page(&Snapshot { edges, ..Snapshot::default() }, &Tally::default());
        let rates: Vec<&str> = (text.lines())
            .filter(|line| line.starts_with("fusebox_edge_attempts_per_second{"))
            .collect();
        assert_eq!(rates.len(), EDGES_MAX);
        assert!(rates[0].contains("s1004") && rates[0].ends_with(" 1004"), "{}", rates[0]);
        assert!(text.contains("fusebox_edges_omitted 5\n"), "{text}");
        assert!(!text.contains("fusebox_edge_p99_milliseconds{"));
    }
}

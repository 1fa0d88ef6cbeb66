//! `/metrics`, in Prometheus' text format.

use crate::ingress::Ingress;
use crate::outlier::{Cost, Counters, Detector};
use crate::policy::entries::HOSTS_MAX;
use crate::proxy::Proxy;
use crate::totals::{EdgeTotals, Totals};
use fusebox_proto::report::{Dropped, EdgeCounts, Protocol};
use fusebox_proto::{Latency, Now, ServiceId};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

/// Upper bounds of the latency buckets, ms.
const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

pub(super) const DROPPED: &str = "fusebox_proxy_dropped_total";

/// All counters since the start.
pub(super) fn text(proxy: &Proxy, totals: &Totals, now: Now) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    let version = env!("CARGO_PKG_VERSION");
    page.kind("fusebox_proxy_info", "gauge", "Which proxy this is.");
    page.value(
        "fusebox_proxy_info",
        &labels(&[("version", version), ("proxy", proxy.id.as_str())]),
        1,
    );
    let name = "fusebox_proxy_draining";
    page.kind(name, "gauge", "1 once the proxy is on its way to its end.");
    page.value(name, "", u8::from(proxy.drain.is_draining()));
    edges(&mut page, totals);
    refusals(&mut page, totals);
    latencies(&mut page, totals);
    inbound(&mut page, totals);
    breakers(&mut page, proxy, now);
    pools(&mut page, proxy);
    ejections(&mut page, proxy, now);
    shadows(&mut page, proxy, now);
    policy(&mut page, proxy);
    super::dns::metrics(&mut page, proxy, now);
    if let Some(own) = &proxy.ingress {
        ingress(&mut page, own);
    }
    let reports = proxy.reports.lock().dropped();
    let name = "fusebox_proxy_invalid_messages_total";
    page.kind(name, "counter", "Messages of the collector that did not parse.");
    page.value(name, "", proxy.invalid_messages.load(Relaxed));
    dropped(&mut page, Dropped { reports, ..proxy.dropped() });
    super::dns::dropped(&mut page, proxy);
    let hints = proxy.hints_dropped.load(Relaxed);
    page.value(DROPPED, &labels(&[("what", "interim_answers")]), hints);
    if let Some(log) = &proxy.common.log {
        page.value(DROPPED, &labels(&[("what", "access_log")]), log.dropped());
    }
    page.0
}

pub(super) struct Page(String);

impl Page {
    pub(super) fn kind(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn value(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{{{labels}}} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &str, latency: &Latency) {
        let comma = if labels.is_empty() { "" } else { "," };
        for ms in BUCKETS_MS {
            let below = latency.count() - latency.count_above_us(ms * 1_000);
            let le = ms as f64 / 1_000.0;
            self.value(&format!("{name}_bucket"), &format!("{labels}{comma}le=\"{le}\""), below);
        }
        self.value(
            &format!("{name}_bucket"),
            &format!("{labels}{comma}le=\"+Inf\""),
            latency.count(),
        );
        let sum = latency.mean_us() * latency.count() as f64 / 1e6;
        self.value(&format!("{name}_sum"), labels, sum);
        self.value(&format!("{name}_count"), labels, latency.count());
    }
}

/// `a="b",c="d"`, escaped.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (at, (name, value)) in pairs.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{}{name}=\"{value}\"", if at == 0 { "" } else { "," });
    }
    text
}

fn edge_labels(destination: &ServiceId, protocol: Protocol, more: &[(&str, &str)]) -> String {
    let destination = destination.to_string();
    let mut pairs = vec![("destination", &*destination), ("protocol", protocol.as_str())];
    pairs.extend_from_slice(more);
    labels(&pairs)
}

type Count = fn(&EdgeCounts) -> u64;
type Column = (&'static str, Count);

fn table(page: &mut Page, totals: &Totals, name: &str, label: &str, columns: &[Column]) {
    for (destination, protocol, EdgeTotals { counts, .. }) in totals.edges() {
        for (value, count) in columns {
            page.value(name, &edge_labels(destination, protocol, &[(label, value)]), count(counts));
        }
    }
}

fn edges(page: &mut Page, totals: &Totals) {
    let name = "fusebox_proxy_attempts_total";
    page.kind(name, "counter", "Attempts forwarded, by what they are to their request.");
    let columns: [Column; 4] = [
        ("first", |c| c.first_attempts),
        ("retry_certain", |c| c.retries_certain),
        ("retry_probable", |c| c.retries_probable),
        ("hedge", |c| c.hedges),
    ];
    table(page, totals, name, "class", &columns);
    let name = "fusebox_proxy_ended_total";
    page.kind(
        name,
        "counter",
        "Attempts ended: a failure is the server's, a timeout the caller's.",
    );
    let columns: [Column; 4] = [
        ("success", |c| c.successes),
        ("failure", |c| c.failures),
        ("timeout", |c| c.timeouts),
        ("hedge_loser", |c| c.hedge_losers),
    ];
    table(page, totals, name, "outcome", &columns);
    let gauges: [(&str, &str, Count); 2] = [
        ("fusebox_proxy_in_flight", "Attempts in flight.", |c| c.in_flight),
        ("fusebox_proxy_pending", "Attempts that wait for a connection.", |c| c.pending),
    ];
    for (name, help, count) in gauges {
        page.kind(name, "gauge", help);
        for (destination, protocol, edge) in totals.edges() {
            page.value(name, &edge_labels(destination, protocol, &[]), count(&edge.counts));
        }
    }
}

fn refusals(page: &mut Page, totals: &Totals) {
    let name = "fusebox_proxy_refused_total";
    page.kind(name, "counter", "Attempts refused here, by reason.");
    let columns: [Column; 8] = [
        ("retries-muted", |c| c.retries_refused),
        ("forced-open", |c| c.refused.forced_open),
        ("open", |c| c.refused.open),
        ("half-open", |c| c.refused.half_open),
        ("capped", |c| c.refused.capped),
        ("shed", |c| c.refused.shed),
        ("connection-overflow", |c| c.refused.connection_overflow),
        ("pending-overflow", |c| c.refused.pending_overflow),
    ];
    table(page, totals, name, "reason", &columns);
}

fn latencies(page: &mut Page, totals: &Totals) {
    let name = "fusebox_proxy_attempt_seconds";
    page.kind(name, "histogram", "From the first byte sent to the last byte of the answer.");
    for (destination, protocol, edge) in totals.edges() {
        page.histogram(name, &edge_labels(destination, protocol, &[]), &edge.latency);
    }
}

fn inbound(page: &mut Page, totals: &Totals) {
    let inbound = totals.inbound();
    let counters = [
        ("fusebox_proxy_inbound_requests_total", "Requests to the application.", inbound.requests),
        ("fusebox_proxy_inbound_failures_total", "Requests it failed.", inbound.failures),
        ("fusebox_proxy_inbound_cancelled_total", "Requests given up.", inbound.cancelled),
    ];
    for (name, help, value) in counters {
        page.kind(name, "counter", help);
        page.value(name, "", value);
    }
    let name = "fusebox_proxy_inbound_in_flight";
    page.kind(name, "gauge", "Requests in the application.");
    page.value(name, "", inbound.in_flight);
    let name = "fusebox_proxy_inbound_seconds";
    page.kind(name, "histogram", "Time in the application.");
    page.histogram(name, "", &inbound.latency);
}

fn breakers(page: &mut Page, proxy: &Proxy, now: Now) {
    let name = "fusebox_proxy_breaker_state";
    page.kind(name, "gauge", "1 for the state in which the circuit of an edge stands.");
    for edge in &proxy.edges() {
        let state = edge.core.lock().status(now).state;
        let destination = edge.destination.to_string();
        let pairs = [("destination", &*destination), ("state", state.as_str())];
        page.value(name, &labels(&pairs), 1);
    }
}

fn pools(page: &mut Page, proxy: &Proxy) {
    let name = "fusebox_proxy_connections";
    page.kind(name, "gauge", "Connections to an endpoint, those being opened included.");
    let mut connections: BTreeMap<String, usize> = BTreeMap::new();
    for pool in proxy.pools() {
        for endpoint in pool.endpoints() {
            *connections.entry(endpoint.address().to_owned()).or_default() +=
                endpoint.connections();
        }
    }
    for (endpoint, connections) in connections {
        page.value(name, &labels(&[("endpoint", &endpoint)]), connections);
    }
}

fn ejections(page: &mut Page, proxy: &Proxy, now: Now) {
    let mut counted: Vec<(String, Counters)> = Vec::new();
    for edge in &proxy.edges() {
        for pool in proxy.edge_pools(edge) {
            let counters = pool.status(now.instant).ejections;
            counted.extend(counters.map(|counters| (edge.destination.to_string(), counters)));
        }
    }
    let mut sums: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (destination, counters) in &counted {
        let mut add = |name, detector, count| {
            *sums.entry((name, &**destination, detector)).or_default() += count;
        };
        add("fusebox_proxy_ejections_active", "", counters.ejections_active);
        add("fusebox_proxy_ejections_overflow_total", "", counters.ejections_overflow);
        for (at, detector) in Detector::ALL.into_iter().enumerate() {
            let (detected, enforced) = (counters.detected[at], counters.enforced[at]);
            add("fusebox_proxy_ejections_detected_total", detector.as_str(), detected);
            add("fusebox_proxy_ejections_total", detector.as_str(), enforced);
        }
    }
    let kinds = [
        ("fusebox_proxy_ejections_active", "gauge", "Endpoints that are out."),
        ("fusebox_proxy_ejections_overflow_total", "counter", "Found while too many were out."),
        ("fusebox_proxy_ejections_detected_total", "counter", "Endpoints found, enforced or not."),
        ("fusebox_proxy_ejections_total", "counter", "Endpoints ejected, by detector."),
    ];
    for (kind, of, help) in kinds {
        page.kind(kind, of, help);
        for ((_, destination, detector), count) in sums.iter().filter(|(key, _)| key.0 == kind) {
            let pairs = [("destination", *destination), ("detector", *detector)];
            let len = if detector.is_empty() { 1 } else { 2 };
            page.value(kind, &labels(&pairs[..len]), count);
        }
    }
}

type CostCount = fn(Cost) -> u64;

/// What the policy only counts: circuits, and ejections of endpoints.
fn shadows(page: &mut Page, proxy: &Proxy, now: Now) {
    let mut costs: BTreeMap<(String, &str), Cost> = BTreeMap::new();
    for edge in &proxy.edges() {
        let mut add = |of, attempts, succeeded| {
            let cost = costs.entry((edge.destination.to_string(), of)).or_default();
            cost.attempts += attempts;
            cost.succeeded += succeeded;
        };
        if let Some(shadow) = edge.core.lock().shadow(now) {
            add("service", shadow.refused, shadow.succeeded);
        }
        for pool in proxy.edge_pools(edge) {
            if let Some(Counters { shadow_cost, .. }) = pool.status(now.instant).ejections {
                add("endpoint", shadow_cost.attempts, shadow_cost.succeeded);
            }
        }
    }
    let kinds: [(&str, &str, CostCount); 2] = [
        (
            "fusebox_proxy_shadow_attempts_total",
            "Attempts that a policy in shadow would have refused, or sent to another endpoint.",
            |cost| cost.attempts,
        ),
        (
            "fusebox_proxy_shadow_succeeded_total",
            "Of them, those that succeeded all the same.",
            |cost| cost.succeeded,
        ),
    ];
    for (name, help, count) in kinds {
        page.kind(name, "counter", help);
        for ((destination, of), cost) in &costs {
            page.value(name, &labels(&[("destination", destination), ("of", of)]), count(*cost));
        }
    }
}

fn policy(page: &mut Page, proxy: &Proxy) {
    let name = "fusebox_proxy_policy_version";
    page.kind(name, "gauge", "Version of the policy in force; 0: none of a collector.");
    page.value(name, "", proxy.policy.lock().version);
    let name = "fusebox_proxy_policy_total";
    page.kind(name, "counter", "What the policy did in place of a server, and copies.");
    for (what, count) in proxy.common.tally.iter() {
        page.value(name, &labels(&[("what", what.as_str())]), count);
    }
    let name = "fusebox_proxy_hosts";
    let help =
        format!("Hosts of service entries with their ports, of which {HOSTS_MAX} are known.");
    page.kind(name, "gauge", &help);
    let (known, beyond) = proxy.hosts.lock().counts();
    page.value(name, &labels(&[("state", "known")]), known);
    page.value(name, &labels(&[("state", "beyond_limit")]), beyond);
}

fn ingress(page: &mut Page, ingress: &Ingress) {
    let name = "fusebox_proxy_ingress_open";
    page.kind(name, "gauge", "Whether a port of the gateway is open: 1, or 0.");
    for (port, is_open) in ingress.ports() {
        page.value(name, &labels(&[("port", &port.to_string())]), u8::from(is_open));
    }
}

fn dropped(page: &mut Page, dropped: Dropped) {
    page.kind(DROPPED, "counter", "What was forgotten because a bound was reached.");
    let columns = [
        ("spans", dropped.spans),
        ("reports", dropped.reports),
        ("retry_keys", dropped.retry_keys),
        ("transitions", dropped.transitions),
    ];
    for (what, count) in columns {
        page.value(DROPPED, &labels(&[("what", what)]), count);
    }
}

//! What the engine knows, in the words of the contract.
//!
//! Rates are over the last ten complete seconds, latencies over the last minute. What is not known
//! is `None`, never 0.

mod breakers;
mod live;

pub(crate) use live::live;

use crate::detect::{NPlusOne, Poll, Silent};
use crate::engine::Engine;
use crate::store::{Counts as _, LatencyTotal, Served, Tally, Track};
use fusebox_proto::report::Protocol;
use fusebox_proto::view::{
    Advisory, CollectorStatus, EdgeView, GuardMode, Health, Mtls, Proxy, Service, ServiceKind,
    Snapshot, Stamp, Status,
};
use fusebox_proto::{Edge, Now, ServiceId};
use std::collections::{BTreeMap, HashMap};

/// Rates are means over so many seconds.
const RATE_SECONDS: u64 = 10;

/// Everything at one moment.
pub(crate) fn snapshot(engine: &Engine, now: Now) -> Snapshot {
    let mut snapshot = Snapshot {
        at: Stamp(engine.newest_unix_ms),
        status: Status::default(),
        services: services(engine, now),
        edges: edges(engine, now),
        incidents: engine.incidents.views().cloned().collect(),
        advisories: advisories(engine),
        breakers: breakers::breakers(engine, now),
        proxies: proxies(engine, now),
        events: engine.journal.newest_first(),
        policy: engine.policies.view(),
    };
    snapshot.status = status(engine, now, &snapshot);
    snapshot.sort();
    snapshot
}

fn status(engine: &Engine, now: Now, snapshot: &Snapshot) -> Status {
    let connected = || engine.proxies.iter().filter(|proxy| proxy.connection.is_some());
    let is_stale = engine.proxies.iter().any(|proxy| proxy.is_stale(now));
    let health = if 0 < engine.incidents.open_count() {
        Health::Incident
    } else if is_stale || engine.meter.is_dropping(now) || engine.keeping.is_failing() {
        Health::Degraded
    } else {
        Health::Ok
    };
    let uptime = now.instant.saturating_duration_since(engine.started.instant);
    let reporting = connected().filter(|proxy| !proxy.is_stale(now)).count() as u64;
    Status {
        health,
        embedded: engine.limits.embedded,
        services: snapshot.services.len() as u64,
        edges: snapshot.edges.len() as u64,
        proxies: connected().count() as u64,
        incidents_open: engine.incidents.open_count(),
        collector: CollectorStatus {
            version: engine.limits.version.clone(),
            uptime_s: uptime.as_secs(),
            spans_per_s: engine.meter.spans_per_s(now),
            senders: engine.meter.senders() + reporting,
            dropped: dropped(engine),
            history: Some(engine.keeping.history()),
        },
        guard: Some(engine.guard_view(now)).filter(|guard| guard.mode != GuardMode::Suggest),
    }
}

/// What was dropped or refused since the start, by reason; only what is not zero. What was seen
/// before and skipped is no loss.
pub(crate) fn dropped(engine: &Engine) -> BTreeMap<String, u64> {
    let store = engine.store.dropped();
    let graph = engine.graph.dropped();
    let pairing = engine.pairing.dropped();
    let mut proxies = fusebox_proto::report::Dropped::default();
    for proxy in engine.proxies.iter() {
        proxies.spans += proxy.dropped.spans;
        proxies.reports += proxy.dropped.reports;
        proxies.retry_keys += proxy.dropped.retry_keys;
        proxies.transitions += proxy.dropped.transitions;
    }
    let known = [
        ("edges", store.edges + graph.edges),
        ("services", store.services + graph.nodes),
        ("subsets", store.subsets),
        ("late_windows", store.too_late),
        ("wishes", engine.desired.dropped()),
        ("incidents", engine.incidents.dropped()),
        ("history_records", engine.keeping.dropped()),
        ("instances", engine.instances.dropped() + engine.polling.dropped()),
        ("unpaired_spans", pairing.spans),
        ("misdated_spans", engine.looking.ring.misdated()),
        ("traces_cut", pairing.traces_cut),
        ("names", pairing.names),
        ("addresses", pairing.addresses),
        ("proxy_spans", proxies.spans),
        ("proxy_reports", proxies.reports),
        ("proxy_retry_keys", proxies.retry_keys),
        ("proxy_transitions", proxies.transitions),
    ];
    let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, count) in known.into_iter().chain(engine.meter.dropped_by_reason()) {
        *dropped.entry(reason.to_owned()).or_default() += count;
    }
    dropped.retain(|_, count| *count != 0);
    dropped
}

fn services(engine: &Engine, now: Now) -> Vec<Service> {
    let now_second = now.unix_ms / 1_000;
    let mut seen: HashMap<&ServiceId, Tally> = HashMap::new();
    for (edge, track) in engine.store.edges() {
        let last = track.front(now_second, engine.fronts.get(&edge.source).copied());
        seen.entry(&edge.destination).or_default().add(&track.sum(last, RATE_SECONDS));
    }
    let view = |node: &crate::graph::Node| {
        let service = &node.service;
        let track = engine.store.service(service);
        let front = engine.fronts.get(service).copied();
        let recent = track.and_then(|track| {
            let last = track.front(now_second, front);
            let seconds = track.known_seconds(last, RATE_SECONDS)?;
            Some((track.sum(last, RATE_SECONDS), seconds))
        });
        let latency = track.map(Track::latency);
        let own = engine.instances.of(service).count() as u64;
        Service {
            name: engine.names.print(service),
            namespace: service.namespace().to_owned(),
            environment: service.environment().to_owned(),
            kind: node.kind,
            rate: recent.as_ref().map(|(sum, seconds)| sum.requests / seconds),
            error_ratio: error_ratio(recent.as_ref().map(|(sum, _)| sum), seen.get(service)),
            p50_ms: quantile(latency, 0.5, 5),
            p95_ms: quantile(latency, 0.95, 59),
            p99_ms: quantile(latency, 0.99, 299),
            instances: (node.kind == ServiceKind::Service && 0 < own).then_some(own),
        }
    };
    engine.graph.nodes().map(view).collect()
}

/// Failed attempts ÷ attempts: as its callers see it or as it sees itself, whichever is worse. A
/// service whose callers all give up counts no failure of its own; one whose callers are not
/// watched has nobody else to tell.
fn error_ratio(own: Option<&Served>, seen: Option<&Tally>) -> Option<f64> {
    let own = own.filter(|own| 0.0 < own.requests);
    let own = own.map(|own| (own.failures / own.requests).clamp(0.0, 1.0));
    let seen = seen.and_then(Tally::failure_ratio);
    own.into_iter().chain(seen).reduce(f64::max)
}

fn quantile(latency: Option<&LatencyTotal>, q: f64, samples_min: u64) -> Option<f64> {
    latency?.quantile_ms(q, samples_min)
}

fn edges(engine: &Engine, now: Now) -> Vec<EdgeView> {
    engine.graph.edges().map(|(edge, link)| edge_view(engine, now, &edge, link.protocol)).collect()
}

fn edge_view(engine: &Engine, now: Now, edge: &Edge, protocol: Protocol) -> EdgeView {
    let now_second = now.unix_ms / 1_000;
    let names = engine.names.print_edge(edge);
    let track = engine.store.edge(edge);
    let front = engine.fronts.get(&edge.source).copied();
    let recent = track.and_then(|track| {
        let last = track.front(now_second, front);
        let seconds = track.known_seconds(last, RATE_SECONDS)?;
        Some((track.sum(last, RATE_SECONDS), seconds))
    });
    let sum = recent.as_ref().map(|(sum, _)| sum);
    let per_s = |figure: fn(&Tally) -> f64| recent.as_ref().map(|(sum, s)| figure(sum) / s);
    let latency = track.map(Track::latency);
    let is_covered = track.is_some_and(|track| track.is_covered(now_second.saturating_sub(2)));
    let is_http = matches!(protocol, Protocol::Http1 | Protocol::Http2 | Protocol::Grpc);
    EdgeView {
        source: names.source,
        destination: names.destination,
        protocol: protocol.as_str().to_owned(),
        rate: per_s(Tally::attempts),
        error_ratio: sum.and_then(Tally::failure_ratio),
        refused_per_s: per_s(|sum| sum.refused + sum.retries_refused),
        attempts_per_request: sum.and_then(Tally::factor),
        p50_ms: quantile(latency, 0.5, 5),
        p95_ms: quantile(latency, 0.95, 59),
        p99_ms: quantile(latency, 0.99, 299),
        // A proxy that reads HTTP reads plain text, as long as proxies have no identity.
        mtls: if is_covered && is_http { Mtls::Plaintext } else { Mtls::Unknown },
        proxies: engine.proxies.enforcing(edge).count() as u64,
        breaker: breakers::edge_breaker(engine, now, edge),
    }
}

fn proxies(engine: &Engine, now: Now) -> Vec<Proxy> {
    let view = |proxy: &crate::engine::Proxy| {
        let silence = now.instant.saturating_duration_since(proxy.last_seen.instant);
        Proxy {
            id: proxy.hello.proxy.to_string(),
            service: engine.names.print(&proxy.hello.service),
            namespace: proxy.hello.service.namespace().to_owned(),
            instance: proxy.hello.instance.clone(),
            build: proxy.hello.build.clone(),
            policy_version: engine.policies.in_force(&proxy.hello.proxy),
            connected: proxy.connection.is_some(),
            last_seen_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
            draining: proxy.draining && proxy.connection.is_some(),
            troubles: proxy.connection.map_or_else(Vec::new, |_| proxy.troubles.clone()),
        }
    };
    engine.proxies.iter().map(view).collect()
}

fn advisories(engine: &Engine) -> Vec<Advisory> {
    let advisory = |(edge, hedge): (&Edge, &crate::detect::Hedge)| {
        let names = engine.names.print_edge(edge);
        let (source, destination) = (names.source, names.destination);
        let summary = format!(
            "{source} hedges: {:.0} % of its attempts on {destination} overlap another",
            100.0 * hedge.share
        );
        let since = Stamp(hedge.since * 1_000);
        Advisory { kind: "hedging".to_owned(), source, destination, summary, since }
    };
    let silent = engine.silent.iter().map(|(split, subset, silent)| {
        let source = split.source.as_ref().map(|source| engine.names.print(source));
        let source = source.unwrap_or_default();
        let destination = engine.names.print(&split.destination);
        let Silent { since, share, missed, .. } = silent;
        let summary = format!(
            "{source} should send {:.0} % of its requests to {destination} {subset}: nothing is heard \
             of about {missed:.0}",
            100.0 * share
        );
        let since = Stamp(since * 1_000);
        Advisory { kind: "silent_subset".to_owned(), source, destination, summary, since }
    });
    let n_plus_one = |(edge, many): (&Edge, NPlusOne)| {
        let names = engine.names.print_edge(edge);
        let (source, destination) = (names.source, names.destination);
        let NPlusOne { since, calls, operation } = many;
        let summary = format!(
            "{source} calls {destination} {calls:.0} times in a row for one request: {operation}"
        );
        let since = Stamp(since * 1_000);
        Advisory { kind: "n_plus_one".to_owned(), source, destination, summary, since }
    };
    let many = engine.n_plus_ones.iter().map(n_plus_one);
    let polling = |(edge, poll): (&Edge, &Poll)| {
        let names = engine.names.print_edge(edge);
        let (source, destination) = (names.source, names.destination);
        let Poll { since, every_ms, operation } = poll;
        let summary = format!(
            "{source} asks {destination} every {every_ms} ms of its own accord: {operation}"
        );
        let since = Stamp(since * 1_000);
        Advisory { kind: "polling".to_owned(), source, destination, summary, since }
    };
    let polls = engine.polling.iter().map(polling);
    engine.hedging.iter().map(advisory).chain(many).chain(polls).chain(silent).collect()
}

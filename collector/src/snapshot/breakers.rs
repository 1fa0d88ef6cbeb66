//! Circuits: what operators wish, and what proxies say of it.

use crate::engine::{Engine, Proxy, Standing};
use fusebox_proto::command::{BreakerState, Verb};
use fusebox_proto::report::Cause;
use fusebox_proto::view::{Breaker, EdgeBreaker, Stamp};
use fusebox_proto::{Edge, Now};
use std::collections::{BTreeMap, BTreeSet};

/// The circuit of one edge over all its proxies.
struct Circuit<'a> {
    standings: Vec<&'a Standing>,
    enforcing: u64,
}

impl<'a> Circuit<'a> {
    fn see(engine: &'a Engine, edge: &'a Edge) -> Self {
        let enforcing: Vec<&Proxy> = engine.proxies.enforcing(edge).collect();
        let standing = |proxy: &&'a Proxy| proxy.standings.get(&edge.destination);
        Self {
            standings: enforcing.iter().filter_map(standing).collect(),
            enforcing: enforcing.len() as u64,
        }
    }

    /// The most restrictive state, of the proxy in which it ends last.
    fn worst(&self) -> Option<&'a Standing> {
        let order = |s: &&&Standing| (s.status.state, s.status.remaining_ms);
        self.standings.iter().max_by_key(order).copied()
    }

    fn in_state(&self, state: BreakerState) -> u64 {
        self.standings.iter().filter(|standing| standing.status.state == state).count() as u64
    }
}

fn until(standing: &Standing) -> Option<Stamp> {
    let remaining_ms = standing.status.remaining_ms?;
    Some(Stamp(standing.at.unix_ms.saturating_add(remaining_ms)))
}

/// In how many proxies the newest command is in force, of how many, and until when.
fn wished(engine: &Engine, now: Now, edge: &Edge) -> Option<(u64, u64, Stamp)> {
    let wish = engine.desired.get(edge).filter(|wish| wish.is_lease(now))?;
    let proxies = engine.proxies.enforcing(edge).count().max(wish.progress.len()) as u64;
    Some((wish.applied(), proxies, Stamp(wish.ends.unix_ms)))
}

/// The circuit of an edge as the list of edges shows it.
pub(super) fn edge_breaker(engine: &Engine, now: Now, edge: &Edge) -> EdgeBreaker {
    let circuit = Circuit::see(engine, edge);
    let worst = circuit.worst();
    let state = worst.map_or(BreakerState::Closed, |standing| standing.status.state);
    let (applied, proxies, ends) = match wished(engine, now, edge) {
        Some((applied, proxies, ends)) => (applied, proxies, Some(ends)),
        None if state == BreakerState::Closed => (0, circuit.enforcing, None),
        None => (circuit.in_state(state), circuit.enforcing, None),
    };
    EdgeBreaker {
        state,
        percent: worst.and_then(|standing| standing.status.percent),
        until: ends.or_else(|| worst.and_then(until)),
        applied,
        proxies,
    }
}

/// All circuits that are not closed, or changed lately, or that someone wants changed.
pub(super) fn breakers(engine: &Engine, now: Now) -> Vec<Breaker> {
    let leases = engine.desired.iter().filter(|(_, wish)| wish.is_lease(now));
    let mut edges: BTreeSet<Edge> = leases.map(|(edge, _)| edge.clone()).collect();
    for proxy in engine.proxies.iter().filter(|proxy| proxy.connection.is_some()) {
        let destinations = proxy.standings.keys().cloned();
        edges.extend(destinations.map(|to| Edge::new(proxy.hello.service.clone(), to)));
    }
    let mut breakers: Vec<Breaker> = edges.iter().map(|edge| breaker(engine, now, edge)).collect();
    breakers.extend(asides(engine));
    breakers
}

/// Endpoints that are out, and what a policy only counts: one row for what several proxies say.
fn asides(engine: &Engine) -> impl Iterator<Item = Breaker> {
    let mut rows: BTreeMap<(Edge, String, bool), Vec<&Standing>> = BTreeMap::new();
    for proxy in engine.proxies.iter().filter(|proxy| proxy.connection.is_some()) {
        for standing in &proxy.asides {
            let status = &standing.status;
            let edge = Edge::new(proxy.hello.service.clone(), status.destination.clone());
            let key = (edge, status.endpoint.clone(), status.shadow);
            rows.entry(key).or_default().push(standing);
        }
    }
    rows.into_iter().filter_map(|((edge, endpoint, is_shadow), standings)| {
        let worst = standings.iter().max_by_key(|standing| standing.status.remaining_ms)?;
        let since = |standing: &&Standing| {
            Stamp(standing.at.unix_ms.saturating_sub(standing.status.since_ms))
        };
        let names = engine.names.print_edge(&edge);
        let detail = Some(worst.status.detail.clone()).filter(|detail| !detail.is_empty());
        let cost = is_shadow.then(|| cost(&endpoint, &standings));
        let reason: Vec<String> = cost.into_iter().chain(detail).collect();
        let reason = Some(reason.join("; ")).filter(|reason| !reason.is_empty());
        Some(Breaker {
            edge: format!("{}>{}", names.source, names.destination),
            kind: if endpoint.is_empty() { "service" } else { "endpoint" }.to_owned(),
            endpoint: Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
            state: worst.status.state,
            cause: worst.status.cause.as_str().to_owned(),
            since: standings.iter().map(since).min(),
            until: until(worst),
            by: None,
            reason,
            applied: standings.len() as u64,
            proxies: engine.proxies.enforcing(&edge).count().max(standings.len()) as u64,
            refused_total: standings.iter().map(|s| s.status.refused_total).sum(),
        })
    })
}

/// What a policy that is only counted would have done, on all proxies that say so.
fn cost(endpoint: &str, standings: &[&Standing]) -> String {
    let attempts: u64 = standings.iter().map(|one| one.status.refused_total).sum();
    let succeeded: u64 = standings.iter().map(|one| one.status.succeeded_total).sum();
    let (done, elsewhere) =
        if endpoint.is_empty() { ("refused", "") } else { ("sent", " elsewhere") };
    format!(
        "shadow: would have {done} {attempts} attempts{elsewhere}, of which {succeeded} succeeded"
    )
}

fn breaker(engine: &Engine, now: Now, edge: &Edge) -> Breaker {
    let circuit = Circuit::see(engine, edge);
    let worst = circuit.worst();
    let on_edge = edge_breaker(engine, now, edge);
    let wish = engine.desired.get(edge);
    let lease = wish.filter(|wish| matches!(wish.command.verb, Verb::Trip { .. }));
    let cause = worst.map_or(Cause::Operator, |standing| standing.status.cause);
    let is_service =
        matches!(cause, Cause::ConsecutiveFailures | Cause::SuccessWindow | Cause::EjectionElapsed)
            || on_edge.state == BreakerState::Open;
    let since =
        worst.map(|standing| Stamp(standing.at.unix_ms.saturating_sub(standing.status.since_ms)));
    let names = engine.names.print_edge(edge);
    Breaker {
        edge: format!("{}>{}", names.source, names.destination),
        kind: if is_service { "service" } else { "operator" }.to_owned(),
        endpoint: None,
        state: on_edge.state,
        cause: cause.as_str().to_owned(),
        since: since.or_else(|| wish.map(|wish| Stamp(wish.issued.unix_ms))),
        until: on_edge.until,
        by: lease.map(|wish| wish.command.by.clone()),
        reason: lease.map(|wish| wish.command.reason.clone()).filter(|r| !r.is_empty()),
        applied: on_edge.applied,
        proxies: on_edge.proxies,
        refused_total: circuit.standings.iter().map(|s| s.status.refused_total).sum(),
    }
}

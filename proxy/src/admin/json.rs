//! `/config` and `/breakers`.

use crate::breaker::ShadowStatus;
use crate::config::Endpoint;
use crate::config::operation::Operation;
use crate::outbound::Edge;
use crate::outlier::{Ejection, HostStatus};
use crate::policy::plan::Listener;
use crate::pool::Pool;
use crate::proxy::Proxy;
use fusebox_proto::command::BreakerState;
use fusebox_proto::{Now, ServiceId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the proxy was told, with the ports that it got.
pub(super) fn config(proxy: &Proxy, now: Now) -> String {
    let config = &proxy.config;
    let inbound = config
        .inbound
        .iter()
        .map(|one| json!({ "listen": one.listen.to_string(), "app": endpoint(&one.app) }));
    let outbound = config.outbound.iter().zip(&proxy.outbound).map(|(one, running)| {
        json!({
            "listen": one.listen.to_string(),
            "host": one.host,
            "destination": running.edge.destination.to_string(),
            "endpoints": one.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        })
    });
    pretty(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "proxy": proxy.id.to_string(),
        "boot": proxy.reports.lock().boot(),
        "service": service(&config.service),
        "instance": config.instance,
        "collector": config.collector,
        "token": config.token.is_some(),
        "admin": config.admin.to_string(),
        "workers": config.workers,
        "trace_root_percent": config.trace_root_percent,
        "insecure": config.insecure,
        "inbound": inbound.collect::<Vec<_>>(),
        "outbound": outbound.collect::<Vec<_>>(),
        "by_host": config.by_host.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "transparent": config.transparent,
        "hosts": hosts(proxy),
        "names": super::dns::page(proxy, now),
        "ingress": proxy.ingress.as_ref().map(|ingress| ingress.page()),
        "upgrades": config.upgrades,
        "policy": super::policy::page(proxy),
        "state_dir": config.state_dir,
        "drain": proxy.drain.page(now.instant),
        "operation": operation(&config.operation),
        "limits": {
            "connections_max": config.limits.connections_max,
            "pending_max": config.limits.pending_max,
            "streams_max": config.limits.streams_max,
            "preserve_header_case": config.limits.preserve_header_case,
            "connect_timeout_ms": u64::try_from(config.limits.connect_timeout.as_millis()).ok(),
        },
    }))
}

/// Those that only the policy names.
fn hosts(proxy: &Proxy) -> Vec<Value> {
    let hosts = proxy.hosts.lock();
    let host = |one: &Listener| {
        json!({
            "host": one.host,
            "destination": one.edge.destination.to_string(),
            "endpoints": one.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        })
    };
    hosts.listeners().map(host).collect()
}

fn operation(operation: &Operation) -> Value {
    let ms = |time: Duration| u64::try_from(time.as_millis()).ok();
    json!({
        "access_log": operation.access_log.as_ref().map(|log| json!({
            "path": log.path.as_ref().map_or("-".into(), |path| path.display().to_string()),
            "only": log.only.as_str(),
        })),
        "labels": operation.labels,
        "trusted_hops": operation.trusted_hops,
        "dns_servers": operation.dns_servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "drain_grace_ms": ms(operation.drain_grace),
        "drain_timeout_ms": ms(operation.drain_timeout),
    })
}

/// Every edge, and where its circuit stands.
pub(super) fn breakers(proxy: &Proxy, now: Now) -> String {
    let edges = proxy.edges();
    let breakers = edges.iter().map(|edge| breaker(proxy, edge, now));
    pretty(&json!({ "breakers": breakers.collect::<Vec<_>>() }))
}

fn breaker(proxy: &Proxy, edge: &Arc<Edge>, now: Now) -> Value {
    let (status, held, shadow, in_flight) = {
        let core = edge.core.lock();
        (core.status(now), core.held(now), core.shadow(now), core.in_flight())
    };
    let is_by_failures = held.is_none() && status.state != BreakerState::Closed;
    let pools = proxy.edge_pools(edge);
    let endpoints: Vec<Value> = pools.iter().flat_map(|pool| endpoints(pool, now)).collect();
    json!({
        "edge": {
            "source": proxy.config.service.to_string(),
            "destination": edge.destination.to_string(),
        },
        "kind": if is_by_failures { "service" } else { "operator" },
        "state": status.state.as_str(),
        "cause": status.cause.as_str(),
        "since_ms": status.since_ms,
        "remaining_ms": status.remaining_ms,
        "percent": status.percent,
        "revision": status.revision,
        "by": held.as_ref().map(|held| &held.command.by),
        "reason": held.as_ref().map(|held| &held.command.reason),
        "refused_total": status.refused_total,
        "shadow": shadow.as_ref().map(shadow_of),
        "in_flight": in_flight,
        "endpoints": endpoints,
    })
}

fn endpoints(pool: &Pool, now: Now) -> impl Iterator<Item = Value> {
    let hosts = pool.status(now.instant).hosts;
    pool.endpoints().into_iter().map(move |endpoint| {
        let host = hosts.iter().find(|host| host.host == endpoint.id());
        json!({
            "address": endpoint.address(),
            "connections": endpoint.connections(),
            "pending": endpoint.pending(),
            "load": endpoint.load(),
            "ejected": host.and_then(|host| host.ejected).map(|it| ejection(it, now)),
            "shadowed": host.and_then(|host| shadowed(host, now)),
            "ejections": host.map(|host| host.ejections),
        })
    })
}

/// Where a circuit would stand, and what that would have cost since it would have opened.
fn shadow_of(shadow: &ShadowStatus) -> Value {
    json!({
        "state": shadow.standing.state.as_str(),
        "cause": shadow.standing.cause.as_str(),
        "refused": shadow.standing.refused,
        "succeeded": shadow.succeeded_lately,
    })
}

/// An ejection that would last, and what would have gone to other endpoints so far.
fn shadowed(host: &HostStatus, now: Now) -> Option<Value> {
    let mut shadowed = ejection(host.shadowed?, now);
    shadowed["attempts"] = host.shadow_cost.attempts.into();
    shadowed["succeeded"] = host.shadow_cost.succeeded.into();
    Some(shadowed)
}

fn ejection(ejection: Ejection, now: Now) -> Value {
    let remaining = ejection.until.saturating_duration_since(now.instant);
    json!({
        "cause": ejection.detection.by.cause().as_str(),
        "reason": ejection.detection.to_string(),
        "remaining_ms": u64::try_from(remaining.as_millis()).ok(),
    })
}

fn service(service: &ServiceId) -> Value {
    json!({
        "name": service.name(),
        "namespace": service.namespace(),
        "environment": service.environment(),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({ "address": endpoint.address, "labels": endpoint.labels, "weight": endpoint.weight })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

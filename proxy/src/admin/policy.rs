//! The policy on `/config`: what is in force, and what it makes of each destination.

use crate::outbound::Outbound;
use crate::proxy::Proxy;
use fusebox_proto::policy::{
    Action, ConnectionPool, DestinationPolicy, HttpRule, OutlierDetection, Policy, Routes,
    ServiceBreaker, Settings,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Version, profile, findings, and the effective settings and rules of each listener.
pub(super) fn page(proxy: &Proxy) -> Value {
    let in_force = proxy.policy.lock();
    let namespace = proxy.config.service.namespace();
    let destinations = proxy.config.outbound.iter().zip(&proxy.outbound);
    let destinations = destinations
        .map(|(config, running)| destination(&in_force.policy, namespace, &config.host, running));
    let findings = in_force.findings.iter().map(
        |finding| json!({ "severity": finding.severity.as_str(), "text": finding.to_string() }),
    );
    json!({
        "version": in_force.version,
        "source": in_force.source.as_str(),
        "profile": in_force.policy.profile().as_str(),
        "findings": findings.collect::<Vec<_>>(),
        "destinations": destinations.collect::<Vec<_>>(),
    })
}

fn destination(policy: &Policy, namespace: &str, host: &str, running: &Outbound) -> Value {
    let said: &DestinationPolicy = policy.destination_or_default(namespace, host);
    let port = running.port;
    let subsets = said.subsets.iter().map(|subset| {
        let labels = subset.labels.iter().map(|(key, value)| format!("{key}={value}"));
        json!({
            "name": &*subset.name,
            "labels": labels.collect::<Vec<_>>(),
            "settings": settings(subset.settings.at(port)),
        })
    });
    json!({
        "destination": running.edge.destination.to_string(),
        "settings": settings(said.settings(None, port)),
        "subsets": subsets.collect::<Vec<_>>(),
        "routes": policy.routes(namespace, host).map(routes),
    })
}

fn routes(routes: &Routes) -> Value {
    json!({
        "object": &*routes.object,
        "rules": routes.http.iter().map(|one| rule(one)).collect::<Vec<_>>(),
    })
}

fn rule(rule: &HttpRule) -> Value {
    let action = match &rule.action {
        Action::Forward(destinations) => {
            let shares = destinations
                .iter()
                .map(|one| json!({ "to": one.destination.to_string(), "weight": one.weight }));
            json!({ "forward": shares.collect::<Vec<_>>() })
        }
        Action::Redirect(redirect) => json!({ "redirect": redirect.status }),
        Action::Respond(direct) => json!({ "respond": direct.status }),
    };
    let mirrors = rule.mirrors.iter().map(
        |mirror| json!({ "to": mirror.destination.to_string(), "percent": mirror.percent.value() }),
    );
    json!({
        "name": &*rule.name,
        "matches": rule.matches.len(),
        "action": action,
        "timeout_ms": rule.timeout.map(ms),
        "retries": rule.retries.as_ref().map(|retries| retries.retries_max),
        "fault_delay_percent": rule.fault.delay.map(|(_, percent)| percent.value()),
        "fault_abort_percent": rule.fault.abort.map(|(_, percent)| percent.value()),
        "mirrors": mirrors.collect::<Vec<_>>(),
    })
}

fn settings(settings: &Settings) -> Value {
    json!({
        "balancer": format!("{:?}", settings.balancer),
        "pool": pool(&settings.pool),
        "outlier": settings.outlier.as_ref().map(outlier),
        "retry_budget_percent": settings.retry_budget.map(|budget| budget.percent),
        "breaker": settings.breaker.as_ref().map(breaker),
        "tls": settings.tls.map(|tls| format!("{tls:?}")),
    })
}

fn pool(pool: &ConnectionPool) -> Value {
    json!({
        "connections_max": pool.connections_max,
        "pending_max": pool.pending_max,
        "requests_max": pool.requests_max,
        "requests_per_connection_max": pool.requests_per_connection_max,
        "retries_max": pool.retries_max,
        "streams_max": pool.streams_max,
        "connect_timeout_ms": pool.connect_timeout.map(ms),
        "idle_timeout_ms": pool.idle_timeout.map(ms),
        "connection_duration_max_ms": pool.connection_duration_max.map(ms),
        "h2_upgrade": format!("{:?}", pool.h2_upgrade),
    })
}

fn outlier(outlier: &OutlierDetection) -> Value {
    json!({
        "interval_ms": ms(outlier.interval),
        "ejection_time_base_ms": ms(outlier.ejection_time_base),
        "ejection_time_max_ms": ms(outlier.ejection_time_max),
        "ejection_percent_max": outlier.ejection_percent_max,
        "panic_percent": outlier.panic_percent,
        "consecutive_errors": outlier.consecutive_errors.map(|one| one.threshold),
        "consecutive_gateway_errors": outlier.consecutive_gateway_errors.map(|one| one.threshold),
        "consecutive_local_origin_failures":
            outlier.consecutive_local_origin_failures.map(|one| one.threshold),
    })
}

fn breaker(breaker: &ServiceBreaker) -> Value {
    json!({
        "consecutive_failures": breaker.consecutive_failures,
        "success_threshold_percent": breaker.success_window.map(|one| one.threshold_percent),
        "open_min_ms": ms(breaker.open_min),
        "open_max_ms": ms(breaker.open_max),
        "shadow": breaker.shadow,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

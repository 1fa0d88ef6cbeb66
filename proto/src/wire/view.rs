//! What consoles show.

mod guard;
mod incident;

use super::command::breaker_state;
use super::{finite, line, maybe_finite, percent, required, unix_ms, v1};
use crate::Invalid;
use crate::view::{
    Advisory, Breaker, CollectorStatus, EdgeBreaker, EdgeName, EdgeView, Event, Health, History,
    Mtls, Proxy, Service, ServiceKind, Stamp, Status, TripResult,
};

/// No list of a view is longer: a collector keeps fewer.
pub(super) const LISTED_MAX: usize = 65_536;

pub(super) fn stamp(value: u64, field: &str) -> Result<Stamp, Invalid> {
    unix_ms(value, field).map(Stamp)
}

fn maybe_stamp(value: Option<u64>, field: &str) -> Result<Option<Stamp>, Invalid> {
    value.map(|value| stamp(value, field)).transpose()
}

pub(super) fn maybe_line(text: Option<&String>) -> Option<String> {
    text.map(|text| line(text))
}

fn edge(wire: Option<v1::EdgeName>) -> Result<EdgeName, Invalid> {
    required(wire, "edge")?.try_into()
}

impl From<Health> for v1::Health {
    fn from(value: Health) -> Self {
        match value {
            Health::Ok => Self::Ok,
            Health::Incident => Self::Incident,
            Health::Degraded => Self::Degraded,
        }
    }
}

fn health(wire: i32, field: &str) -> Result<Health, Invalid> {
    match v1::Health::try_from(wire) {
        Ok(v1::Health::Ok) => Ok(Health::Ok),
        Ok(v1::Health::Incident) => Ok(Health::Incident),
        Ok(v1::Health::Degraded) => Ok(Health::Degraded),
        Ok(v1::Health::Unspecified) | Err(_) => {
            Err(Invalid::new(field, format!("is {wire}, which is no health")))
        }
    }
}

impl From<History> for v1::History {
    fn from(value: History) -> Self {
        match value {
            History::Memory => Self::Memory,
            History::Disk => Self::Disk,
            History::Failing => Self::Failing,
        }
    }
}

fn history(wire: i32) -> Option<History> {
    match v1::History::try_from(wire) {
        Ok(v1::History::Memory) => Some(History::Memory),
        Ok(v1::History::Disk) => Some(History::Disk),
        Ok(v1::History::Failing) => Some(History::Failing),
        Ok(v1::History::Unspecified) | Err(_) => None,
    }
}

impl From<ServiceKind> for v1::ServiceKind {
    fn from(value: ServiceKind) -> Self {
        match value {
            ServiceKind::Service => Self::Service,
            ServiceKind::Database => Self::Database,
            ServiceKind::Messaging => Self::Messaging,
            ServiceKind::External => Self::External,
        }
    }
}

fn service_kind(wire: i32, field: &str) -> Result<ServiceKind, Invalid> {
    match v1::ServiceKind::try_from(wire) {
        Ok(v1::ServiceKind::Service) => Ok(ServiceKind::Service),
        Ok(v1::ServiceKind::Database) => Ok(ServiceKind::Database),
        Ok(v1::ServiceKind::Messaging) => Ok(ServiceKind::Messaging),
        Ok(v1::ServiceKind::External) => Ok(ServiceKind::External),
        Ok(v1::ServiceKind::Unspecified) | Err(_) => {
            Err(Invalid::new(field, format!("is {wire}, which is no kind of service")))
        }
    }
}

impl From<Mtls> for v1::Mtls {
    fn from(value: Mtls) -> Self {
        match value {
            Mtls::Unknown => Self::Unknown,
            Mtls::Mtls => Self::Mtls,
            Mtls::Plaintext => Self::Plaintext,
            Mtls::Mixed => Self::Mixed,
        }
    }
}

/// An encryption of a later version is not known, which changes nothing else.
fn mtls(wire: i32) -> Mtls {
    match v1::Mtls::try_from(wire) {
        Ok(v1::Mtls::Mtls) => Mtls::Mtls,
        Ok(v1::Mtls::Plaintext) => Mtls::Plaintext,
        Ok(v1::Mtls::Mixed) => Mtls::Mixed,
        Ok(v1::Mtls::Unknown) | Err(_) => Mtls::Unknown,
    }
}

impl From<Status> for v1::Status {
    fn from(value: Status) -> Self {
        Self {
            health: v1::Health::from(value.health).into(),
            embedded: value.embedded,
            services: value.services,
            edges: value.edges,
            proxies: value.proxies,
            incidents_open: value.incidents_open,
            collector: Some(value.collector.into()),
            guard: value.guard.map(Into::into),
        }
    }
}

impl TryFrom<v1::Status> for Status {
    type Error = Invalid;

    fn try_from(wire: v1::Status) -> Result<Self, Invalid> {
        Ok(Self {
            health: health(wire.health, "health")?,
            embedded: wire.embedded,
            services: wire.services,
            edges: wire.edges,
            proxies: wire.proxies,
            incidents_open: wire.incidents_open,
            collector: required(wire.collector, "collector")?
                .try_into()
                .map_err(|invalid: Invalid| invalid.within("collector"))?,
            guard: wire
                .guard
                .map(TryInto::try_into)
                .transpose()
                .map_err(|invalid: Invalid| invalid.within("guard"))?,
        })
    }
}

impl From<CollectorStatus> for v1::CollectorStatus {
    fn from(value: CollectorStatus) -> Self {
        Self {
            version: value.version,
            uptime_s: value.uptime_s,
            spans_per_s: value.spans_per_s,
            senders: value.senders,
            dropped: value.dropped.into_iter().collect(),
            history: value.history.map_or(v1::History::Unspecified, v1::History::from).into(),
        }
    }
}

impl TryFrom<v1::CollectorStatus> for CollectorStatus {
    type Error = Invalid;

    fn try_from(wire: v1::CollectorStatus) -> Result<Self, Invalid> {
        if LISTED_MAX < wire.dropped.len() {
            let reason = format!("has {} entries; at most {LISTED_MAX}", wire.dropped.len());
            return Err(Invalid::new("dropped", reason));
        }
        Ok(Self {
            version: line(&wire.version),
            uptime_s: wire.uptime_s,
            spans_per_s: finite(wire.spans_per_s, "spans_per_s")?,
            senders: wire.senders,
            dropped: wire
                .dropped
                .into_iter()
                .map(|(reason, count)| (line(&reason), count))
                .collect(),
            history: history(wire.history),
        })
    }
}

impl From<Service> for v1::Service {
    fn from(value: Service) -> Self {
        Self {
            name: value.name,
            namespace: value.namespace,
            environment: value.environment,
            kind: v1::ServiceKind::from(value.kind).into(),
            rate: value.rate,
            error_ratio: value.error_ratio,
            p50_ms: value.p50_ms,
            p95_ms: value.p95_ms,
            p99_ms: value.p99_ms,
            instances: value.instances,
        }
    }
}

impl TryFrom<v1::Service> for Service {
    type Error = Invalid;

    fn try_from(wire: v1::Service) -> Result<Self, Invalid> {
        Ok(Self {
            name: line(&wire.name),
            namespace: line(&wire.namespace),
            environment: line(&wire.environment),
            kind: service_kind(wire.kind, "kind")?,
            rate: maybe_finite(wire.rate, "rate")?,
            error_ratio: maybe_finite(wire.error_ratio, "error_ratio")?,
            p50_ms: maybe_finite(wire.p50_ms, "p50_ms")?,
            p95_ms: maybe_finite(wire.p95_ms, "p95_ms")?,
            p99_ms: maybe_finite(wire.p99_ms, "p99_ms")?,
            instances: wire.instances,
        })
    }
}

impl From<EdgeView> for v1::EdgeView {
    fn from(value: EdgeView) -> Self {
        Self {
            source: value.source,
            destination: value.destination,
            protocol: value.protocol,
            rate: value.rate,
            error_ratio: value.error_ratio,
            refused_per_s: value.refused_per_s,
            attempts_per_request: value.attempts_per_request,
            p50_ms: value.p50_ms,
            p95_ms: value.p95_ms,
            p99_ms: value.p99_ms,
            mtls: v1::Mtls::from(value.mtls).into(),
            proxies: value.proxies,
            breaker: Some(value.breaker.into()),
        }
    }
}

impl TryFrom<v1::EdgeView> for EdgeView {
    type Error = Invalid;

    fn try_from(wire: v1::EdgeView) -> Result<Self, Invalid> {
        Ok(Self {
            source: line(&wire.source),
            destination: line(&wire.destination),
            protocol: line(&wire.protocol),
            rate: maybe_finite(wire.rate, "rate")?,
            error_ratio: maybe_finite(wire.error_ratio, "error_ratio")?,
            refused_per_s: maybe_finite(wire.refused_per_s, "refused_per_s")?,
            attempts_per_request: maybe_finite(wire.attempts_per_request, "attempts_per_request")?,
            p50_ms: maybe_finite(wire.p50_ms, "p50_ms")?,
            p95_ms: maybe_finite(wire.p95_ms, "p95_ms")?,
            p99_ms: maybe_finite(wire.p99_ms, "p99_ms")?,
            mtls: mtls(wire.mtls),
            proxies: wire.proxies,
            breaker: required(wire.breaker, "breaker")?
                .try_into()
                .map_err(|invalid: Invalid| invalid.within("breaker"))?,
        })
    }
}

impl From<EdgeBreaker> for v1::EdgeBreaker {
    fn from(value: EdgeBreaker) -> Self {
        Self {
            state: v1::BreakerState::from(value.state).into(),
            percent: value.percent.map(Into::into),
            until_unix_ms: value.until.map(|at| at.0),
            applied: value.applied,
            proxies: value.proxies,
        }
    }
}

impl TryFrom<v1::EdgeBreaker> for EdgeBreaker {
    type Error = Invalid;

    fn try_from(wire: v1::EdgeBreaker) -> Result<Self, Invalid> {
        Ok(Self {
            state: breaker_state(wire.state, "state")?,
            percent: wire.percent.map(|value| percent(value, "percent")).transpose()?,
            until: maybe_stamp(wire.until_unix_ms, "until_unix_ms")?,
            applied: wire.applied,
            proxies: wire.proxies,
        })
    }
}

impl From<Advisory> for v1::Advisory {
    fn from(value: Advisory) -> Self {
        Self {
            kind: value.kind,
            source: value.source,
            destination: value.destination,
            summary: value.summary,
            since_unix_ms: value.since.0,
        }
    }
}

impl TryFrom<v1::Advisory> for Advisory {
    type Error = Invalid;

    fn try_from(wire: v1::Advisory) -> Result<Self, Invalid> {
        Ok(Self {
            kind: line(&wire.kind),
            source: line(&wire.source),
            destination: line(&wire.destination),
            summary: line(&wire.summary),
            since: stamp(wire.since_unix_ms, "since_unix_ms")?,
        })
    }
}

impl From<Breaker> for v1::Breaker {
    fn from(value: Breaker) -> Self {
        Self {
            edge: value.edge,
            kind: value.kind,
            endpoint: value.endpoint,
            state: v1::BreakerState::from(value.state).into(),
            cause: value.cause,
            since_unix_ms: value.since.map(|at| at.0),
            until_unix_ms: value.until.map(|at| at.0),
            by: value.by,
            reason: value.reason,
            applied: value.applied,
            proxies: value.proxies,
            refused_total: value.refused_total,
        }
    }
}

impl TryFrom<v1::Breaker> for Breaker {
    type Error = Invalid;

    fn try_from(wire: v1::Breaker) -> Result<Self, Invalid> {
        Ok(Self {
            edge: line(&wire.edge),
            kind: line(&wire.kind),
            endpoint: maybe_line(wire.endpoint.as_ref()),
            state: breaker_state(wire.state, "state")?,
            cause: line(&wire.cause),
            since: maybe_stamp(wire.since_unix_ms, "since_unix_ms")?,
            until: maybe_stamp(wire.until_unix_ms, "until_unix_ms")?,
            by: maybe_line(wire.by.as_ref()),
            reason: maybe_line(wire.reason.as_ref()),
            applied: wire.applied,
            proxies: wire.proxies,
            refused_total: wire.refused_total,
        })
    }
}

impl From<Proxy> for v1::Proxy {
    fn from(value: Proxy) -> Self {
        Self {
            id: value.id,
            service: value.service,
            namespace: value.namespace,
            instance: value.instance,
            build: value.build,
            policy_version: value.policy_version,
            connected: value.connected,
            last_seen_ms: value.last_seen_ms,
            draining: value.draining,
            troubles: value.troubles,
        }
    }
}

impl TryFrom<v1::Proxy> for Proxy {
    type Error = Invalid;

    fn try_from(wire: v1::Proxy) -> Result<Self, Invalid> {
        Ok(Self {
            id: line(&wire.id),
            service: line(&wire.service),
            namespace: line(&wire.namespace),
            instance: line(&wire.instance),
            build: line(&wire.build),
            policy_version: wire.policy_version,
            connected: wire.connected,
            last_seen_ms: wire.last_seen_ms,
            draining: wire.draining,
            troubles: wire.troubles.iter().map(|trouble| line(trouble)).collect(),
        })
    }
}

impl From<Event> for v1::Event {
    fn from(value: Event) -> Self {
        Self { at_unix_ms: value.at.0, kind: value.kind, text: value.text }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Invalid;

    fn try_from(wire: v1::Event) -> Result<Self, Invalid> {
        let at = stamp(wire.at_unix_ms, "at_unix_ms")?;
        Ok(Self { at, kind: line(&wire.kind), text: line(&wire.text) })
    }
}

impl From<TripResult> for v1::TripResult {
    fn from(value: TripResult) -> Self {
        Self {
            id: value.id,
            edge: Some(value.edge.into()),
            action: value.action,
            applied: value.applied,
            proxies: value.proxies,
            coverage: value.coverage,
            applied_ms: value.applied_ms,
            expires_at_unix_ms: value.expires_at.map(|at| at.0),
            note: value.note,
        }
    }
}

impl TryFrom<v1::TripResult> for TripResult {
    type Error = Invalid;

    fn try_from(wire: v1::TripResult) -> Result<Self, Invalid> {
        Ok(Self {
            id: line(&wire.id),
            edge: edge(wire.edge)?,
            action: line(&wire.action),
            applied: wire.applied,
            proxies: wire.proxies,
            coverage: maybe_finite(wire.coverage, "coverage")?,
            applied_ms: maybe_finite(wire.applied_ms, "applied_ms")?,
            expires_at: maybe_stamp(wire.expires_at_unix_ms, "expires_at_unix_ms")?,
            note: line(&wire.note),
        })
    }
}

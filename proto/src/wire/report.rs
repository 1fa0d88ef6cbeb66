//! Reports of proxies.

use super::command::breaker_state;
use super::{all, each, line, percent, service, unix_ms, v1};
use crate::report::{
    BreakerStatus, Cause, Dropped, EDGES_MAX, ENDPOINT_LABELS_MAX, ENDPOINTS_MAX, EdgeCounts,
    EdgeWindow, Endpoint, Endpoints, InboundWindow, Protocol, Refusals, Report, RetryWaits,
    TRANSITIONS_MAX, TROUBLES_MAX, Transition,
};
use crate::{Invalid, Latency};

/// No window is longer: an hour.
const DURATION_MS_MAX: u32 = 3_600_000;
/// No proxy counts so far in a window; sums stay far below an overflow.
const COUNT_MAX: u64 = 1 << 40;

impl From<Report> for v1::Report {
    fn from(report: Report) -> Self {
        Self {
            boot: report.boot,
            number: report.number,
            start_unix_ms: report.start_unix_ms,
            duration_ms: report.duration_ms,
            edges: all(report.edges),
            inbound: all(report.inbound),
            breakers: all(report.breakers),
            transitions: all(report.transitions),
            dropped: Some(report.dropped.into()),
            draining: report.draining,
            endpoints: report.endpoints.map(Into::into),
            troubles: report.troubles,
        }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = Invalid;

    fn try_from(wire: v1::Report) -> Result<Self, Invalid> {
        if wire.number == 0 {
            return Err(Invalid::new("number", "is 0; windows count from 1"));
        }
        if wire.duration_ms == 0 || DURATION_MS_MAX < wire.duration_ms {
            let reason = format!("is {}; 1 … {DURATION_MS_MAX} is allowed", wire.duration_ms);
            return Err(Invalid::new("duration_ms", reason));
        }
        Ok(Self {
            boot: wire.boot,
            number: wire.number,
            start_unix_ms: unix_ms(wire.start_unix_ms, "start_unix_ms")?,
            duration_ms: wire.duration_ms,
            edges: each(wire.edges, "edges", EDGES_MAX)?,
            inbound: each(wire.inbound, "inbound", EDGES_MAX)?,
            breakers: each(wire.breakers, "breakers", EDGES_MAX)?,
            transitions: each(wire.transitions, "transitions", TRANSITIONS_MAX)?,
            dropped: wire.dropped.unwrap_or_default().into(),
            draining: wire.draining,
            endpoints: wire.endpoints.map(endpoints).transpose()?,
            troubles: troubles(&wire.troubles)?,
        })
    }
}

fn troubles(wire: &[String]) -> Result<Vec<String>, Invalid> {
    if TROUBLES_MAX < wire.len() {
        return Err(Invalid::new(
            "troubles",
            format!("has {}; at most {TROUBLES_MAX}", wire.len()),
        ));
    }
    Ok(wire.iter().map(|trouble| line(trouble)).collect())
}

/// With the path of what is wrong.
pub(super) fn endpoints(wire: v1::Endpoints) -> Result<Endpoints, Invalid> {
    let all = each(wire.all, "all", ENDPOINTS_MAX);
    let all = all.map_err(|invalid| invalid.within("endpoints"))?;
    let destinations = each(wire.destinations, "destinations", EDGES_MAX);
    let destinations = destinations.map_err(|invalid| invalid.within("endpoints"))?;
    Ok(Endpoints { revision: wire.revision, destinations, all, left_out: wire.left_out })
}

impl From<Endpoints> for v1::Endpoints {
    fn from(endpoints: Endpoints) -> Self {
        let Endpoints { revision, destinations, all: every, left_out } = endpoints;
        Self { revision, all: all(every), left_out, destinations: all(destinations) }
    }
}

impl From<Endpoint> for v1::Endpoint {
    fn from(endpoint: Endpoint) -> Self {
        let label = |(key, value)| v1::Label { key, value };
        Self {
            destination: Some(endpoint.destination.into()),
            address: endpoint.address,
            labels: endpoint.labels.into_iter().map(label).collect(),
        }
    }
}

impl TryFrom<v1::Endpoint> for Endpoint {
    type Error = Invalid;

    fn try_from(wire: v1::Endpoint) -> Result<Self, Invalid> {
        if ENDPOINT_LABELS_MAX < wire.labels.len() {
            let reason = format!("has {}; at most {ENDPOINT_LABELS_MAX}", wire.labels.len());
            return Err(Invalid::new("labels", reason));
        }
        let label = |label: &v1::Label| (line(&label.key), line(&label.value));
        Ok(Self {
            destination: service(wire.destination, "destination")?,
            address: line(&wire.address),
            labels: wire.labels.iter().map(label).collect(),
        })
    }
}

impl From<Protocol> for v1::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http1 => Self::Http1,
            Protocol::Http2 => Self::Http2,
            Protocol::Grpc => Self::Grpc,
            Protocol::Tcp => Self::Tcp,
            // Known from spans only; no proxy speaks them.
            Protocol::Unknown | Protocol::Database | Protocol::Messaging => Self::Unknown,
        }
    }
}

/// A protocol of a later version is not known, which changes nothing else.
fn protocol(wire: i32) -> Protocol {
    match v1::Protocol::try_from(wire) {
        Ok(v1::Protocol::Http1) => Protocol::Http1,
        Ok(v1::Protocol::Http2) => Protocol::Http2,
        Ok(v1::Protocol::Grpc) => Protocol::Grpc,
        Ok(v1::Protocol::Tcp) => Protocol::Tcp,
        Ok(v1::Protocol::Unknown) | Err(_) => Protocol::Unknown,
    }
}

impl From<EdgeWindow> for v1::EdgeWindow {
    fn from(window: EdgeWindow) -> Self {
        let wait = |which: fn(&RetryWaits) -> &Latency| {
            window.retry_waits.as_deref().map(|waits| which(waits).to_bytes()).unwrap_or_default()
        };
        Self {
            destination: Some(window.destination.into()),
            route: window.route,
            subset: window.subset,
            protocol: v1::Protocol::from(window.protocol).into(),
            counts: Some(window.counts.into()),
            latency_us: window.latency.to_bytes(),
            first_retry_wait_us: wait(|waits| &waits.first),
            later_retry_wait_us: wait(|waits| &waits.later),
        }
    }
}

impl TryFrom<v1::EdgeWindow> for EdgeWindow {
    type Error = Invalid;

    fn try_from(wire: v1::EdgeWindow) -> Result<Self, Invalid> {
        let counts = EdgeCounts::try_from(wire.counts.unwrap_or_default());
        Ok(Self {
            destination: service(wire.destination, "destination")?,
            route: line(&wire.route),
            subset: line(&wire.subset),
            protocol: protocol(wire.protocol),
            counts: counts.map_err(|invalid| invalid.within("counts"))?,
            latency: Latency::from_bytes(&wire.latency_us)?,
            retry_waits: retry_waits(&wire.first_retry_wait_us, &wire.later_retry_wait_us)?,
        })
    }
}

fn retry_waits(first: &[u8], later: &[u8]) -> Result<Option<Box<RetryWaits>>, Invalid> {
    if first.is_empty() && later.is_empty() {
        return Ok(None);
    }
    let wait = |bytes, field| {
        Latency::from_bytes(bytes).map_err(|invalid| Invalid::new(field, invalid.reason))
    };
    let first = wait(first, "first_retry_wait_us")?;
    Ok(Some(Box::new(RetryWaits { first, later: wait(later, "later_retry_wait_us")? })))
}

fn count(value: u64, field: &str) -> Result<u64, Invalid> {
    if value <= COUNT_MAX {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}; at most {COUNT_MAX}")))
    }
}

impl From<EdgeCounts> for v1::EdgeCounts {
    fn from(counts: EdgeCounts) -> Self {
        Self {
            first_attempts: counts.first_attempts,
            retries_certain: counts.retries_certain,
            retries_probable: counts.retries_probable,
            hedges: counts.hedges,
            unclassified: counts.unclassified,
            successes: counts.successes,
            failures: counts.failures,
            timeouts: counts.timeouts,
            hedge_losers: counts.hedge_losers,
            refused: Some(counts.refused.into()),
            retries_refused: counts.retries_refused,
            in_flight: counts.in_flight,
            pending: counts.pending,
        }
    }
}

impl TryFrom<v1::EdgeCounts> for EdgeCounts {
    type Error = Invalid;

    fn try_from(wire: v1::EdgeCounts) -> Result<Self, Invalid> {
        let refused = Refusals::try_from(wire.refused.unwrap_or_default());
        Ok(Self {
            first_attempts: count(wire.first_attempts, "first_attempts")?,
            retries_certain: count(wire.retries_certain, "retries_certain")?,
            retries_probable: count(wire.retries_probable, "retries_probable")?,
            hedges: count(wire.hedges, "hedges")?,
            unclassified: count(wire.unclassified, "unclassified")?,
            successes: count(wire.successes, "successes")?,
            failures: count(wire.failures, "failures")?,
            timeouts: count(wire.timeouts, "timeouts")?,
            hedge_losers: count(wire.hedge_losers, "hedge_losers")?,
            refused: refused.map_err(|invalid| invalid.within("refused"))?,
            retries_refused: count(wire.retries_refused, "retries_refused")?,
            in_flight: count(wire.in_flight, "in_flight")?,
            pending: count(wire.pending, "pending")?,
        })
    }
}

impl From<Refusals> for v1::Refusals {
    fn from(refused: Refusals) -> Self {
        let Refusals {
            forced_open,
            open,
            half_open,
            capped,
            shed,
            connection_overflow,
            pending_overflow,
        } = refused;
        Self { forced_open, open, half_open, capped, shed, connection_overflow, pending_overflow }
    }
}

impl TryFrom<v1::Refusals> for Refusals {
    type Error = Invalid;

    fn try_from(wire: v1::Refusals) -> Result<Self, Invalid> {
        Ok(Self {
            forced_open: count(wire.forced_open, "forced_open")?,
            open: count(wire.open, "open")?,
            half_open: count(wire.half_open, "half_open")?,
            capped: count(wire.capped, "capped")?,
            shed: count(wire.shed, "shed")?,
            connection_overflow: count(wire.connection_overflow, "connection_overflow")?,
            pending_overflow: count(wire.pending_overflow, "pending_overflow")?,
        })
    }
}

impl From<InboundWindow> for v1::InboundWindow {
    fn from(window: InboundWindow) -> Self {
        Self {
            route: window.route,
            requests: window.requests,
            failures: window.failures,
            cancelled: window.cancelled,
            in_flight: window.in_flight,
            latency_us: window.latency.to_bytes(),
        }
    }
}

impl TryFrom<v1::InboundWindow> for InboundWindow {
    type Error = Invalid;

    fn try_from(wire: v1::InboundWindow) -> Result<Self, Invalid> {
        Ok(Self {
            route: line(&wire.route),
            requests: count(wire.requests, "requests")?,
            failures: count(wire.failures, "failures")?,
            cancelled: count(wire.cancelled, "cancelled")?,
            in_flight: count(wire.in_flight, "in_flight")?,
            latency: Latency::from_bytes(&wire.latency_us)?,
        })
    }
}

impl From<Cause> for v1::Cause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Unknown => Self::Unknown,
            Cause::Operator => Self::Operator,
            Cause::LeaseExpired => Self::LeaseExpired,
            Cause::RampCompleted => Self::RampCompleted,
            Cause::ProbeFailed => Self::ProbeFailed,
            Cause::ConsecutiveFailures => Self::ConsecutiveFailures,
            Cause::EjectionElapsed => Self::EjectionElapsed,
            Cause::SuccessWindow => Self::SuccessWindow,
            Cause::ConsecutiveGatewayErrors => Self::ConsecutiveGatewayErrors,
            Cause::ConsecutiveLocalOriginFailures => Self::ConsecutiveLocalOriginFailures,
            Cause::SuccessRate => Self::SuccessRate,
            Cause::FailurePercentage => Self::FailurePercentage,
            Cause::Policy => Self::Policy,
            Cause::ProbeSucceeded => Self::ProbeSucceeded,
        }
    }
}

/// A cause of a later version is not known, which changes nothing else.
fn cause(wire: i32) -> Cause {
    match v1::Cause::try_from(wire) {
        Ok(v1::Cause::Operator) => Cause::Operator,
        Ok(v1::Cause::LeaseExpired) => Cause::LeaseExpired,
        Ok(v1::Cause::RampCompleted) => Cause::RampCompleted,
        Ok(v1::Cause::ProbeFailed) => Cause::ProbeFailed,
        Ok(v1::Cause::ConsecutiveFailures) => Cause::ConsecutiveFailures,
        Ok(v1::Cause::EjectionElapsed) => Cause::EjectionElapsed,
        Ok(v1::Cause::SuccessWindow) => Cause::SuccessWindow,
        Ok(v1::Cause::ConsecutiveGatewayErrors) => Cause::ConsecutiveGatewayErrors,
        Ok(v1::Cause::ConsecutiveLocalOriginFailures) => Cause::ConsecutiveLocalOriginFailures,
        Ok(v1::Cause::SuccessRate) => Cause::SuccessRate,
        Ok(v1::Cause::FailurePercentage) => Cause::FailurePercentage,
        Ok(v1::Cause::Policy) => Cause::Policy,
        Ok(v1::Cause::ProbeSucceeded) => Cause::ProbeSucceeded,
        Ok(v1::Cause::Unknown) | Err(_) => Cause::Unknown,
    }
}

impl From<BreakerStatus> for v1::BreakerStatus {
    fn from(status: BreakerStatus) -> Self {
        Self {
            destination: Some(status.destination.into()),
            state: v1::BreakerState::from(status.state).into(),
            cause: v1::Cause::from(status.cause).into(),
            since_ms: status.since_ms,
            remaining_ms: status.remaining_ms,
            percent: status.percent.map(Into::into),
            revision: status.revision,
            refused_total: status.refused_total,
            endpoint: status.endpoint,
            shadow: status.shadow,
            detail: status.detail,
            succeeded_total: status.succeeded_total,
        }
    }
}

impl TryFrom<v1::BreakerStatus> for BreakerStatus {
    type Error = Invalid;

    fn try_from(wire: v1::BreakerStatus) -> Result<Self, Invalid> {
        Ok(Self {
            destination: service(wire.destination, "destination")?,
            state: breaker_state(wire.state, "state")?,
            cause: cause(wire.cause),
            since_ms: wire.since_ms,
            remaining_ms: wire.remaining_ms,
            percent: wire.percent.map(|value| percent(value, "percent")).transpose()?,
            revision: wire.revision,
            refused_total: count(wire.refused_total, "refused_total")?,
            endpoint: line(&wire.endpoint),
            shadow: wire.shadow,
            detail: line(&wire.detail),
            succeeded_total: count(wire.succeeded_total, "succeeded_total")?,
        })
    }
}

impl From<Transition> for v1::Transition {
    fn from(transition: Transition) -> Self {
        Self {
            destination: Some(transition.destination.into()),
            from: v1::BreakerState::from(transition.from).into(),
            to: v1::BreakerState::from(transition.to).into(),
            cause: v1::Cause::from(transition.cause).into(),
            revision: transition.revision,
            at_unix_ms: transition.at_unix_ms,
            endpoint: transition.endpoint,
            shadow: transition.shadow,
        }
    }
}

impl TryFrom<v1::Transition> for Transition {
    type Error = Invalid;

    fn try_from(wire: v1::Transition) -> Result<Self, Invalid> {
        Ok(Self {
            destination: service(wire.destination, "destination")?,
            from: breaker_state(wire.from, "from")?,
            to: breaker_state(wire.to, "to")?,
            cause: cause(wire.cause),
            revision: wire.revision,
            at_unix_ms: unix_ms(wire.at_unix_ms, "at_unix_ms")?,
            endpoint: line(&wire.endpoint),
            shadow: wire.shadow,
        })
    }
}

impl From<Dropped> for v1::Dropped {
    fn from(Dropped { spans, reports, retry_keys, transitions }: Dropped) -> Self {
        Self { spans, reports, retry_keys, transitions }
    }
}

impl From<v1::Dropped> for Dropped {
    fn from(v1::Dropped { spans, reports, retry_keys, transitions }: v1::Dropped) -> Self {
        Self { spans, reports, retry_keys, transitions }
    }
}

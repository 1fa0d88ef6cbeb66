//! What happened to endpoints in a window, and to circuits in shadow: for the report.

use crate::outbound::Edge;
use crate::outlier::{Detector, Ejection, Event, What};
use crate::pool::Pool;
use crate::proxy::Proxy;
use crate::report_log::Window;
use fusebox_proto::Now;
use fusebox_proto::command::BreakerState;
use fusebox_proto::report::{BreakerStatus, Cause, Transition};
use std::time::{Duration, Instant};

/// Adds it to `window`.
pub(super) fn gather(proxy: &Proxy, now: Now, window: &mut Window) {
    for edge in &proxy.edges {
        shadows(edge, now, window);
        for pool in proxy.edge_pools(edge) {
            for event in pool.take_events() {
                happened(edge, &pool, now, event, window);
            }
            for host in pool.status(now.instant).hosts {
                let endpoint = pool.address(host.host);
                let out = host.ejected.map(|ejection| (ejection, false));
                let shadow = host.shadowed.map(|ejection| (ejection, true));
                for (ejection, is_shadow) in out.into_iter().chain(shadow) {
                    window.breakers.push(out_of(edge, endpoint, now, ejection, is_shadow));
                }
            }
        }
    }
}

/// Why an endpoint is out.
pub(crate) const fn cause(detector: Detector) -> Cause {
    match detector {
        Detector::ConsecutiveErrors => Cause::ConsecutiveFailures,
        Detector::ConsecutiveGatewayErrors => Cause::ConsecutiveGatewayErrors,
        Detector::ConsecutiveLocalOriginFailures => Cause::ConsecutiveLocalOriginFailures,
        Detector::SuccessRate | Detector::SuccessRateLocalOrigin => Cause::SuccessRate,
        Detector::FailurePercentage | Detector::FailurePercentageLocalOrigin => {
            Cause::FailurePercentage
        }
    }
}

fn happened(edge: &Edge, pool: &Pool, now: Now, event: Event, window: &mut Window) {
    let endpoint = pool.address(event.host);
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    let (from, to, cause, shadow) = match event.what {
        What::Ejected { detection, .. } => {
            tracing::warn!("{}: {endpoint} is ejected: {detection}", edge.name);
            (closed, open, cause(detection.by), false)
        }
        What::Unejected { lasted } => {
            tracing::info!("{}: {endpoint} is back after {} s", edge.name, lasted.as_secs());
            window.breakers.push(status(edge, endpoint, BreakerState::Closed));
            (open, closed, Cause::EjectionElapsed, false)
        }
        What::Shadowed { detection, .. } => (closed, open, cause(detection.by), true),
        What::Unshadowed { cost } => {
            tracing::info!(
                "{}: {endpoint} would have been ejected; of {} attempts meanwhile {} succeeded",
                edge.name,
                cost.attempts,
                cost.succeeded
            );
            (open, closed, Cause::EjectionElapsed, true)
        }
        What::Overflowed { detection } => {
            tracing::warn!("{}: {endpoint} stays, too many are out: {detection}", edge.name);
            return;
        }
    };
    window.transitions.push(Transition {
        destination: edge.destination.clone(),
        from,
        to,
        cause,
        revision: 0,
        at_unix_ms: now.unix_ms.saturating_sub(ms(now.instant, event.at)),
        endpoint: endpoint.to_owned(),
        shadow,
    });
}

/// Circuits whose policy only counts what they would do.
fn shadows(edge: &Edge, now: Now, window: &mut Window) {
    let (standing, trips) = {
        let mut core = edge.core.lock();
        core.handle_timeout(now);
        let trips: Vec<_> = core.take_shadow_trips().collect();
        (core.shadow(), trips)
    };
    for trip in trips {
        tracing::info!(
            "{} would have opened and refused {} attempts, of which {} succeeded",
            edge.name,
            trip.refused,
            trip.succeeded
        );
        let change = |from, to, cause, at_unix_ms| Transition {
            destination: edge.destination.clone(),
            from,
            to,
            cause,
            revision: 0,
            at_unix_ms,
            endpoint: String::new(),
            shadow: true,
        };
        let (closed, open) = (BreakerState::Closed, BreakerState::Open);
        window.transitions.push(change(closed, open, trip.cause, trip.opened_unix_ms));
        if let Some(at) = trip.closed_unix_ms {
            window.transitions.push(change(open, closed, Cause::ProbeSucceeded, at));
        }
    }
    if let Some(standing) = standing.filter(|shadow| shadow.state != BreakerState::Closed) {
        let refused_total = standing.refused;
        window.breakers.push(BreakerStatus {
            refused_total,
            shadow: true,
            ..status(edge, "", standing.state)
        });
    }
}

fn out_of(
    edge: &Edge,
    endpoint: &str,
    now: Now,
    ejection: Ejection,
    shadow: bool,
) -> BreakerStatus {
    BreakerStatus {
        cause: cause(ejection.detection.by),
        since_ms: ms(now.instant, ejection.since),
        remaining_ms: Some(ms(ejection.until, now.instant)),
        shadow,
        ..status(edge, endpoint, BreakerState::Open)
    }
}

fn status(edge: &Edge, endpoint: &str, state: BreakerState) -> BreakerStatus {
    BreakerStatus {
        destination: edge.destination.clone(),
        state,
        cause: if state == BreakerState::Closed { Cause::EjectionElapsed } else { Cause::Unknown },
        since_ms: 0,
        remaining_ms: None,
        percent: None,
        revision: 0,
        refused_total: 0,
        endpoint: endpoint.to_owned(),
        shadow: false,
    }
}

/// From `earlier` to `later`; 0 if it is the other way round.
fn ms(later: Instant, earlier: Instant) -> u64 {
    let between: Duration = later.saturating_duration_since(earlier);
    u64::try_from(between.as_millis()).unwrap_or(u64::MAX)
}

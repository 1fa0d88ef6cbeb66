//! What happened to endpoints in a window: for the report.

use crate::outbound::Edge;
use crate::outlier::{Ejection, Event, What};
use crate::proxy::Proxy;
use crate::report_log::Window;
use fusebox_proto::Now;
use fusebox_proto::command::BreakerState;
use fusebox_proto::report::{BreakerStatus, Cause, Transition};
use std::time::{Duration, Instant};

/// Adds it to `window`.
pub(super) fn gather(proxy: &Proxy, now: Now, window: &mut Window) {
    for edge in &proxy.edges() {
        shadows(edge);
        for pool in proxy.edge_pools(edge) {
            for (event, endpoint) in pool.take_events() {
                happened(edge, &endpoint, now, event, window);
            }
            for host in pool.status(now.instant).hosts {
                let endpoint = pool.address(host.host);
                let out = host.ejected.map(|ejection| (ejection, false));
                let shadow = host.shadowed.map(|ejection| (ejection, true));
                for (ejection, is_shadow) in out.into_iter().chain(shadow) {
                    window.breakers.push(out_of(edge, &endpoint, now, ejection, is_shadow));
                }
            }
        }
    }
}

fn happened(edge: &Edge, endpoint: &str, now: Now, event: Event, window: &mut Window) {
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    let (from, to, cause, shadow) = match event.what {
        What::Ejected { detection, .. } => {
            tracing::warn!("{}: {endpoint} is ejected: {detection}", edge.name);
            (closed, open, detection.by.cause(), false)
        }
        What::Unejected { lasted } => {
            tracing::info!("{}: {endpoint} is back after {} s", edge.name, lasted.as_secs());
            window.breakers.push(status(edge, endpoint, BreakerState::Closed));
            (open, closed, Cause::EjectionElapsed, false)
        }
        What::Shadowed { detection, .. } => (closed, open, detection.by.cause(), true),
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

/// Circuits whose policy only counts what they would do. Their standing is in the report already;
/// what an opening would have cost is for the log.
fn shadows(edge: &Edge) {
    let trips: Vec<_> = edge.core.lock().take_shadow_trips().collect();
    for trip in trips {
        tracing::info!(
            "{} would have opened and refused {} attempts, of which {} succeeded",
            edge.name,
            trip.refused,
            trip.succeeded
        );
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
        cause: ejection.detection.by.cause(),
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

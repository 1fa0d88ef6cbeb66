//! What happened to endpoints in a window: for the report.

use crate::outbound::Edge;
use crate::outlier::{Cost, Ejection, Event, What};
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
            let events = pool.take_events();
            let ended = events.into_iter().filter_map(|(event, endpoint)| {
                window.transitions.extend(transition(edge, &endpoint, now, event));
                happened(edge, &endpoint, event)
            });
            let ended: Vec<_> = ended.collect();
            let mut standing = Vec::new();
            for host in pool.status(now.instant).hosts {
                let endpoint = pool.address(host.host);
                let out = host.ejected.map(|ejection| (ejection, None));
                let shadow = host.shadowed.map(|ejection| (ejection, Some(host.shadow_cost)));
                for (ejection, shadow) in out.into_iter().chain(shadow) {
                    standing.push(out_of(edge, &endpoint, now, ejection, shadow));
                }
            }
            // Whoever came back and went again within the window is out.
            let is_over = |closed: &BreakerStatus| {
                let same = |open: &BreakerStatus| {
                    open.endpoint == closed.endpoint && open.shadow == closed.shadow
                };
                !standing.iter().any(same)
            };
            window.breakers.extend(ended.into_iter().filter(is_over));
            window.breakers.append(&mut standing);
        }
    }
}

/// Says it in the log; where an endpoint came back, or would have, how it stands.
fn happened(edge: &Edge, endpoint: &str, event: Event) -> Option<BreakerStatus> {
    let name = &edge.name;
    match event.what {
        What::Ejected { detection, .. } => {
            tracing::warn!("{name}: {endpoint} is ejected: {detection}");
            None
        }
        What::Unejected { lasted } => {
            tracing::info!("{name}: {endpoint} is back after {} s", lasted.as_secs());
            Some(status(edge, endpoint, BreakerState::Closed))
        }
        What::Shadowed { .. } => None,
        What::Unshadowed { cost: Cost { attempts, succeeded } } => {
            tracing::info!(
                "{name}: {endpoint} would have been ejected; of {attempts} attempts meanwhile \
                 {succeeded} succeeded"
            );
            let closed = status(edge, endpoint, BreakerState::Closed);
            Some(in_shadow(closed, Cost { attempts, succeeded }))
        }
        What::Overflowed { detection } => {
            tracing::warn!("{name}: {endpoint} stays, too many are out: {detection}");
            None
        }
    }
}

fn transition(edge: &Edge, endpoint: &str, now: Now, event: Event) -> Option<Transition> {
    let (closed, open) = (BreakerState::Closed, BreakerState::Open);
    let (from, to, cause, shadow) = match event.what {
        What::Ejected { detection, .. } => (closed, open, detection.by.cause(), false),
        What::Unejected { .. } => (open, closed, Cause::EjectionElapsed, false),
        What::Shadowed { detection, .. } => (closed, open, detection.by.cause(), true),
        What::Unshadowed { .. } => (open, closed, Cause::EjectionElapsed, true),
        What::Overflowed { .. } => return None,
    };
    Some(Transition {
        destination: edge.destination.clone(),
        from,
        to,
        cause,
        revision: 0,
        at_unix_ms: now.unix_ms.saturating_sub(ms(now.instant, event.at)),
        endpoint: endpoint.to_owned(),
        shadow,
    })
}

/// Circuits whose policy only counts what they would do. Their standing is in the report already, with
/// its cost so far; what each opening would have cost in the end is for the log, too.
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

/// An endpoint that is out, or would be, at this cost.
fn out_of(
    edge: &Edge,
    endpoint: &str,
    now: Now,
    ejection: Ejection,
    shadow: Option<Cost>,
) -> BreakerStatus {
    let out = BreakerStatus {
        cause: ejection.detection.by.cause(),
        since_ms: ms(now.instant, ejection.since),
        remaining_ms: Some(ms(ejection.until, now.instant)),
        detail: ejection.detection.to_string(),
        ..status(edge, endpoint, BreakerState::Open)
    };
    match shadow {
        Some(cost) => in_shadow(out, cost),
        None => out,
    }
}

fn in_shadow(status: BreakerStatus, cost: Cost) -> BreakerStatus {
    let Cost { attempts, succeeded } = cost;
    BreakerStatus { shadow: true, refused_total: attempts, succeeded_total: succeeded, ..status }
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
        detail: String::new(),
        succeeded_total: 0,
    }
}

/// From `earlier` to `later`; 0 if it is the other way round.
fn ms(later: Instant, earlier: Instant) -> u64 {
    let between: Duration = later.saturating_duration_since(earlier);
    u64::try_from(between.as_millis()).unwrap_or(u64::MAX)
}

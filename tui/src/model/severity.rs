//! How bad something is, in one order, so that every view ranks and colours alike.

use fusebox_proto::view::{EdgeView, Incident, Service};

/// Failed share from which a service is worth a look.
const WARN_RATIO: f64 = 0.01;
/// Failed share from which it fails.
const BAD_RATIO: f64 = 0.05;
/// Failed share from which it is on fire.
const CRITICAL_RATIO: f64 = 0.25;
/// Attempts per request from which an edge is worth a look: one in five requests is repeated.
const WARN_ATTEMPTS: f64 = 1.2;
/// Attempts per request from which an edge multiplies load.
const BAD_ATTEMPTS: f64 = 2.0;
/// Attempts per request from which it multiplies load beyond any sensible retry policy.
const CRITICAL_ATTEMPTS: f64 = 3.5;

/// From healthy to on fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// No traffic: nothing to say.
    Idle,
    /// Healthy.
    #[default]
    Ok,
    /// Worth a look.
    Warn,
    /// Failing.
    Bad,
    /// On fire.
    Critical,
}

fn of_ratio(ratio: f64) -> Severity {
    match ratio {
        r if CRITICAL_RATIO <= r => Severity::Critical,
        r if BAD_RATIO <= r => Severity::Bad,
        r if WARN_RATIO <= r => Severity::Warn,
        _ => Severity::Ok,
    }
}

fn of_attempts(attempts: f64) -> Severity {
    match attempts {
        a if CRITICAL_ATTEMPTS <= a => Severity::Critical,
        a if BAD_ATTEMPTS <= a => Severity::Bad,
        a if WARN_ATTEMPTS <= a => Severity::Warn,
        _ => Severity::Ok,
    }
}

/// Of a service: by what it fails, and by its part in an open incident.
pub fn of_service<'a>(
    service: &Service,
    mut incidents: impl Iterator<Item = &'a Incident>,
) -> Severity {
    let name = Some(service.name.as_str());
    if incidents.any(|i| i.originator.as_deref() == name || i.victim.as_deref() == name) {
        return Severity::Critical;
    }
    if service.rate.is_none_or(|rate| rate <= 0.0) {
        return Severity::Idle;
    }
    service.error_ratio.map_or(Severity::Ok, of_ratio)
}

/// Of an edge: by what fails on it, by how much it multiplies, by its part in an open incident.
pub fn of_edge<'a>(edge: &EdgeView, mut incidents: impl Iterator<Item = &'a Incident>) -> Severity {
    let is_named = |i: &Incident| {
        i.edge
            .as_ref()
            .is_some_and(|e| e.source == edge.source && e.destination == edge.destination)
    };
    if incidents.any(is_named) {
        return Severity::Critical;
    }
    if edge.rate.is_none_or(|rate| rate <= 0.0) && edge.refused_per_s.is_none_or(|r| r <= 0.0) {
        return Severity::Idle;
    }
    let ratio = edge.error_ratio.map_or(Severity::Ok, of_ratio);
    ratio.max(edge.attempts_per_request.map_or(Severity::Ok, of_attempts))
}

/// Of one figure among others in a row.
pub fn of_error_ratio(ratio: Option<f64>) -> Severity {
    ratio.map_or(Severity::Idle, of_ratio)
}

/// Of the attempts per request of an edge.
pub fn of_attempts_per_request(attempts: Option<f64>) -> Severity {
    attempts.map_or(Severity::Idle, of_attempts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::view::EdgeName;

    /// Scenario: edges with failures, with retries, with neither, in an incident, without traffic.
    /// Guarantees: the worse of both counts, an incident's edge is on fire whatever its figures.
    #[test]
    fn the_worst_sign_counts() {
        let check = |ratio, attempts, rate, expected| {
            let edge = EdgeView {
                error_ratio: Some(ratio),
                attempts_per_request: Some(attempts),
                rate: Some(rate),
                ..EdgeView::default()
            };
            assert_eq!(of_edge(&edge, std::iter::empty()), expected);
        };
        check(0.0, 1.0, 9.0, Severity::Ok);
        check(0.011, 1.0, 9.0, Severity::Warn);
        check(0.0, 2.5, 9.0, Severity::Bad);
        check(0.06, 9.8, 9.0, Severity::Critical);
        check(0.0, 1.0, 0.0, Severity::Idle);

        let edge = EdgeView { source: "a".into(), destination: "b".into(), ..EdgeView::default() };
        let name = EdgeName { source: "a".into(), destination: "b".into() };
        let incident = Incident { edge: Some(name), ..Incident::default() };
        assert_eq!(of_edge(&edge, [&incident].into_iter()), Severity::Critical);
    }
}

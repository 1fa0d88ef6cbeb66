//! Istio's traps: kept by `istio-compat`, repaired and named by the default profile.

use super::{compiled_with, routes, rule, service, settings};
use fusebox_proto::policy::*;
use std::fmt::Debug;
use std::time::Duration;

/// The same text under both profiles: what it says in Istio, what here, and the note about it.
#[track_caller]
fn check<T: PartialEq + Debug>(
    text: &str,
    read: impl Fn(&Policy) -> T,
    istio: T,
    ours: T,
    note: Option<&str>,
) {
    let (compat, said) = compiled_with(text, Profile::IstioCompat);
    assert_eq!(read(&compat), istio, "istio-compat: {text}");
    let is_repair = |finding: &&Finding| {
        finding.message.contains("this profile") || finding.message.contains("Istio would")
    };
    assert_eq!(said.iter().find(is_repair), None, "{text}");
    let (policy, said) = compiled_with(text, Profile::Fusebox);
    assert_eq!(read(&policy), ours, "fusebox: {text}");
    let Some(note) = note else { return };
    let is_said = said.iter().any(|f| f.severity == Severity::Info && f.message.contains(note));
    assert!(is_said, "«{note}» in {said:?}");
}

fn pool(part: &str) -> String {
    rule(&format!("trafficPolicy: {{connectionPool: {{{part}}}}}"))
}

fn outlier(part: &str) -> String {
    rule(&format!("trafficPolicy: {{outlierDetection: {{{part}}}}}"))
}

/// Scenario: limits of 0.
/// Guarantees: Istio takes each for no limit; here none is none where that is what people mean,
/// and no limit where the other would refuse everything.
#[test]
fn zero() {
    let pending = |p: &Policy| settings(p).pool.pending_max;
    check(&pool("http: {http1MaxPendingRequests: 0}"), pending, None, Some(0), Some("no limit"));
    let retries = |p: &Policy| settings(p).pool.retries_max;
    check(&pool("http: {maxRetries: 0}"), retries, None, Some(0), Some("no limit"));
    let connections = |p: &Policy| settings(p).pool.connections_max;
    check(&pool("tcp: {maxConnections: 0}"), connections, None, None, Some("as in Istio"));
    let requests = |p: &Policy| settings(p).pool.requests_max;
    check(&pool("http: {http2MaxRequests: 0}"), requests, None, None, Some("as in Istio"));
}

/// Scenario: pools with nothing said of their times, and hosts of which nobody speaks.
/// Guarantees: Istio's defaults under its profile, the proxy's own under ours.
#[test]
fn times() {
    let hour = Some(Duration::from_hours(1));
    let istio = (Some(Duration::from_secs(10)), hour, hour);
    let times = |settings: &Settings| {
        let pool = &settings.pool;
        (pool.connect_timeout, pool.idle_timeout, pool.tcp_idle_timeout)
    };
    let ours = (None, None, None);
    check(&pool("http: {maxRetries: 1}"), |p| times(settings(p)), istio, ours, None);
    check(&rule(""), |p| times(settings(p)), istio, ours, None);
    let unnamed = |p: &Policy| times(p.destination_or_default("", "shipping").settings(None, 80));
    check(&rule(""), unnamed, istio, ours, None);
}

/// Scenario: `maxEjectionPercent` of every kind.
/// Guarantees: Istio's is strict and 0 is 10; ours ejects at least one, and 0 is none.
#[test]
fn max_ejection_percent() {
    let read = |p: &Policy| {
        let outlier = settings(p).outlier.clone().unwrap();
        (outlier.ejection_percent_max, outlier.always_eject_one)
    };
    check(&outlier(""), read, (10, false), (10, true), Some("none of fewer than 10"));
    check(&outlier("maxEjectionPercent: 30"), read, (30, false), (30, true), Some("fewer than 4"));
    check(
        &outlier("maxEjectionPercent: 0"),
        read,
        (10, false),
        (0, false),
        Some("nothing is ejected"),
    );
    check(&outlier("maxEjectionPercent: 100"), read, (100, false), (100, true), None);
}

/// Scenario: `minHealthPercent` absent, 0 and set.
/// Guarantees: Istio has no panic threshold unless told; ours is half, or what
/// `maxEjectionPercent` leaves if that is less.
#[test]
fn panic_threshold() {
    let read = |p: &Policy| settings(p).outlier.as_ref().unwrap().panic_percent;
    check(&outlier(""), read, 0, 50, Some("less than 50 %"));
    check(&outlier("minHealthPercent: 0"), read, 0, 50, Some("less than 50 %"));
    check(&outlier("minHealthPercent: 30"), read, 30, 30, None);
    check(&outlier("maxEjectionPercent: 80"), read, 0, 20, Some("less than 20 %"));
    check(&outlier("maxEjectionPercent: 100"), read, 0, 0, None);
}

/// Scenario: a rule without `retries`, and a request that no rule routes.
/// Guarantees: Istio retries twice on its conditions; ours does not, and says so for the rule.
#[test]
fn default_retries() {
    let route = "route: [{destination: {host: inventory}}]";
    let count = |retries: Option<&Retries>| retries.map(|retries| retries.retries_max);
    let rule = |p: &Policy| count(routes(p).http[0].retries.as_ref());
    check(&service(route), rule, Some(2), None, Some("Istio would retry twice here"));
    check(&service(&format!("{route}, retries: {{attempts: 0}}")), rule, None, None, None);
    check(&service(&format!("{route}, retries: {{attempts: 1}}")), rule, Some(1), Some(1), None);
    check(&service(route), |p| count(p.retries_unasked()), Some(2), None, None);
    let (policy, _) = compiled_with(&service(route), Profile::IstioCompat);
    let on = &policy.retries_unasked().unwrap().on;
    assert!(on.has(RetryCondition::ConnectFailure) && on.has(RetryCondition::Unavailable));
    assert!(!on.has_status(503));
}

/// Scenario: the spellings of profiles.
/// Guarantees: they are read back, others are not.
#[test]
fn spelling() {
    for profile in [Profile::Fusebox, Profile::IstioCompat] {
        assert_eq!(Profile::parse(profile.as_str()), Some(profile));
    }
    assert_eq!(Profile::parse("istio"), None);
}

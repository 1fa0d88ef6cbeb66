//! Rules of routes: times, retries, and what both come to.

use super::{Live, LiveEdge, host, warn};
use fusebox_proto::policy::{
    Action, Finding, HttpRule, Policy, Retries, RetryCondition, Routes, StringMatch,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// Applications that send more attempts than this for a request do retry.
const FACTOR_MIN: f64 = 1.2;
/// Methods that may be repeated: the server promises that it is the same as once.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

/// Looks at all rules.
pub(super) fn lint(policy: &Policy, live: &Live, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    let namespaces = live.edges.iter().map(|live| live.edge.source.namespace());
    let callers: BTreeSet<&str> = namespaces.chain([""]).collect();
    for name in policy.routed_hosts() {
        let own = name.namespace().unwrap_or("");
        for caller in callers.iter().copied().chain([own]) {
            let Some(routes) = policy.routes(caller, &name.to_string()) else { continue };
            for rule in &routes.http {
                if seen.insert((&routes.object, &rule.name)) {
                    beyond_timeout(routes, rule, findings);
                    retries_posts(routes, rule, findings);
                    too_short(policy, routes, rule, live, findings);
                }
            }
        }
    }
    for edge in &live.edges {
        twice_retried(edge, policy, findings);
    }
}

/// `spec.http[0].timeout`, where the rule has no name of its own.
fn field(routes: &Routes, rule: &HttpRule, name: &str) -> String {
    let list = if routes.object.starts_with("HTTPRoute") { "rules" } else { "http" };
    let index = rule.name.rfind('[').filter(|_| rule.name.ends_with(']'));
    match index.map(|at| &rule.name[at..]) {
        Some(index) => format!("spec.{list}{index}.{name}"),
        None => format!("spec.{list}[{}].{name}", rule.name),
    }
}

fn beyond_timeout(routes: &Routes, rule: &HttpRule, findings: &mut Vec<Finding>) {
    let (Some(timeout), Some(retries)) = (rule.timeout, &rule.retries) else { return };
    let Some(per_try) = retries.per_try_timeout else { return };
    let attempts = retries.retries_max + 1;
    let all = per_try.saturating_mul(attempts);
    if timeout < all {
        let fit = timeout.as_secs_f64() / per_try.as_secs_f64();
        let message = format!(
            "allows {attempts} attempts, and only {:.0} of them fit into the timeout of {timeout:?}",
            fit.floor().max(1.0)
        );
        let evidence = format!("{attempts} × {per_try:?} = {all:?}");
        let field = field(routes, rule, "retries");
        findings.push(warn(&routes.object, &field, &message, &evidence));
    }
}

fn retries_posts(routes: &Routes, rule: &HttpRule, findings: &mut Vec<Finding>) {
    let Some(retries) = &rule.retries else { return };
    if !repeats_what_was_done(retries) {
        return;
    }
    let is_idempotent = |method: &Option<StringMatch>| match method {
        Some(StringMatch::Exact(name)) => IDEMPOTENT.contains(&&**name),
        _ => false,
    };
    if !rule.matches.is_empty() && rule.matches.iter().all(|one| is_idempotent(&one.method)) {
        return;
    }
    let message = "repeats POST requests that the server answered with 5xx and may have carried \
                   out: match idempotent methods, or retry on connect-failure,refused-stream only";
    let evidence = format!("rule {} takes POST, up to {} times", rule.name, retries.retries_max);
    let field = field(routes, rule, "retries.retryOn");
    findings.push(warn(&routes.object, &field, message, &evidence));
}

/// Whether an attempt is repeated that reached the server.
fn repeats_what_was_done(retries: &Retries) -> bool {
    let on = &retries.on;
    [RetryCondition::ServerError, RetryCondition::GatewayError, RetryCondition::Reset]
        .into_iter()
        .any(|condition| on.has(condition))
        || on.statuses.iter().any(|&(_, high)| 500 <= high)
}

/// Times that the callee does not keep.
fn too_short(
    policy: &Policy,
    routes: &Routes,
    rule: &HttpRule,
    live: &Live,
    findings: &mut Vec<Finding>,
) {
    let Action::Forward(destinations) = &rule.action else { return };
    let per_try = rule.retries.as_ref().and_then(|retries| retries.per_try_timeout);
    let limits = [("timeout", rule.timeout), ("retries.perTryTimeout", per_try)];
    for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
        let is_met = |edge: &&LiveEdge| {
            edge.routes(policy).is_some_and(|own| own.object == routes.object)
                && destinations.iter().any(|one| is_host(&one.destination.host, edge))
        };
        let worst = live.edges.iter().filter(is_met).filter_map(|edge| slow(edge, live, limit));
        if let Some((_, message, evidence)) = worst.max_by(|a, b| a.0.total_cmp(&b.0)) {
            let field = field(routes, rule, name);
            findings.push(warn(&routes.object, &field, &message, &evidence));
        }
    }
}

fn is_host(destination: &str, edge: &LiveEdge) -> bool {
    let service = &edge.edge.destination;
    *destination == host(service) || *destination == *service.name()
}

/// How slow the callee is, if `limit` cuts it: by its own figures, or by its caller's.
fn slow(edge: &LiveEdge, live: &Live, limit: Duration) -> Option<(f64, String, String)> {
    let limit_ms = limit.as_secs_f64() * 1_000.0;
    let served = live.service(&edge.edge.destination).map(|service| &service.view);
    let worst =
        |own: Option<f64>, other: Option<f64>| own.into_iter().chain(other).reduce(f64::max);
    let p50_ms = worst(edge.view.p50_ms, served.and_then(|view| view.p50_ms));
    let p99_ms = worst(edge.view.p99_ms, served.and_then(|view| view.p99_ms));
    let callee = &edge.view.destination;
    let said = |figure_ms: f64, what: &str, cost: &str| {
        let message = format!("is {limit:?}, below the {what} of {callee}: {cost}");
        (figure_ms, message, format!("{}: {what} {figure_ms:.0} ms over 60 s", edge.name()))
    };
    let half = p50_ms.filter(|p50| limit_ms < *p50);
    half.map(|p50| said(p50, "p50", "more than half of the requests run into it")).or_else(|| {
        let p99_ms = p99_ms.filter(|p99| limit_ms < *p99)?;
        Some(said(p99_ms, "p99", "more than 1 % of the requests run into it"))
    })
}

/// The application retries, and the policy retries each of its attempts.
fn twice_retried(edge: &LiveEdge, policy: &Policy, findings: &mut Vec<Finding>) {
    let Some(factor) = edge.view.attempts_per_request.filter(|factor| FACTOR_MIN <= *factor) else {
        return;
    };
    let most = edge.retries_max(policy);
    let Some(routes) = edge.routes(policy).filter(|_| 0 < most) else { return };
    let rule = routes
        .http
        .iter()
        .find(|rule| rule.retries.as_ref().is_some_and(|retries| retries.retries_max == most));
    let Some(rule) = rule else { return };
    let (source, attempts) = (&edge.view.source, most + 1);
    let message = format!(
        "adds to retries that {source} makes itself: its {factor:.1} attempts per request become \
         up to {:.1}",
        factor * f64::from(attempts)
    );
    let evidence = format!("{}: {factor:.1} attempts per request × {attempts}", edge.name());
    let field = field(routes, rule, "retries.attempts");
    findings.push(warn(&routes.object, &field, &message, &evidence));
}

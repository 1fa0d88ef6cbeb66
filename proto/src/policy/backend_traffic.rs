//! `XBackendTrafficPolicy`: a retry budget by rate.

use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::host::HostName;
use super::settings::RetryBudget;
use super::sink::{Place, Sink};
use std::time::Duration;

const PERCENT_DEFAULT: u32 = 20;
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
const RETRIES_PER_S_MIN_DEFAULT: f64 = 10.0;
/// Targets of one policy, after the Gateway API.
const TARGETS_MAX: usize = 16;

/// A parsed policy.
pub(super) struct BackendTraffic {
    pub(super) hosts: Vec<(HostName, Place)>,
    pub(super) retry_budget: Option<RetryBudget>,
}

/// Reads one.
pub(super) fn read(document: &Document, sink: &Sink) -> Option<BackendTraffic> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let mut hosts = Vec::new();
    if let Some(at) = spec.required("targetRefs") {
        hosts.extend(at.items().filter_map(|at| target(at, document.namespace())));
        let count = at.items().count();
        if count == 0 || TARGETS_MAX < count {
            at.error(format!("has {count} targets; allowed are 1 to {TARGETS_MAX}"));
        }
    }
    let retry_budget = spec.object("retryConstraint").map(constraint);
    if retry_budget.is_none() && !spec.has("retryConstraint") {
        spec.at().warn("has no retryConstraint, and so no effect");
    }
    spec.finish(&["sessionPersistence"]);
    Some(BackendTraffic { hosts, retry_budget })
}

fn target(at: At<'_>, namespace: &str) -> Option<(HostName, Place)> {
    let fields = at.object()?;
    let group = fields.text("group").unwrap_or_default();
    let kind = fields.text("kind").unwrap_or("Service");
    if kind != "Service" || !matches!(group, "" | "core") {
        at.error(format!("is a {kind} of group {group:?}; allowed is a Service"));
    }
    let name = fields.required("name").and_then(|at| at.name());
    fields.finish(&[]);
    match HostName::parse(&name?, namespace) {
        Ok(host) => Some((host, at.place())),
        Err(error) => {
            at.error(format!("has a name that {}", error.reason));
            None
        }
    }
}

fn constraint(fields: Fields<'_>) -> RetryBudget {
    let (mut percent, mut interval) = (None, None);
    if let Some(budget) = fields.object("budget") {
        percent = budget.uint("percent", 0..=100);
        interval = budget.get("interval").and_then(|at| between_1s_and_1h(&at));
        budget.finish(&[]);
    }
    let mut retries_per_s_min = RETRIES_PER_S_MIN_DEFAULT;
    if let Some(rate) = fields.object("minRetryRate") {
        let count = rate.uint("count", 1..=1_000_000).unwrap_or(10);
        let interval = rate.get("interval").and_then(|at| between_1s_and_1h(&at));
        retries_per_s_min =
            f64::from(count) / interval.unwrap_or(Duration::from_secs(1)).as_secs_f64();
        rate.finish(&[]);
    }
    fields.finish(&[]);
    RetryBudget {
        percent: percent.unwrap_or(PERCENT_DEFAULT).into(),
        interval: interval.unwrap_or(INTERVAL_DEFAULT),
        retries_per_s_min,
        concurrency_min: 0,
    }
}

fn between_1s_and_1h(at: &At<'_>) -> Option<Duration> {
    let duration = at.gateway_duration()?;
    let is_allowed = (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&duration);
    if !is_allowed {
        at.error(format!("is {duration:?}; allowed is 1s to 1h"));
    }
    is_allowed.then_some(duration)
}

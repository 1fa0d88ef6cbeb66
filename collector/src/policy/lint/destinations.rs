//! One `DestinationRule` (or budget of the Gateway API) at a time.

use super::{Labels, Live, LiveEdge, LiveService, host, warn};
use fusebox_proto::Edge;
use fusebox_proto::policy::{
    self, ConnectionPool, Document, Finding, Kind, OutlierDetection, Policy, RetryBudget, Settings,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Labels that endpoints must have.
type Selector = [(Arc<str>, Arc<str>)];

/// Sets of labels that a finding names.
const NAMED_MAX: usize = 5;

/// A document with what of the mesh it speaks of.
struct Scope<'a> {
    object: String,
    /// The whole policy.
    policy: &'a Policy,
    services: Vec<&'a LiveService>,
    edges: Vec<&'a LiveEdge>,
    findings: &'a mut Vec<Finding>,
}

/// Looks at a document, if it is one of these.
pub(super) fn lint<'a>(
    document: &Document,
    policy: &'a Policy,
    live: &'a Live,
    findings: &'a mut Vec<Finding>,
) {
    if !matches!(document.kind(), Kind::DestinationRule | Kind::BackendTrafficPolicy) {
        return;
    }
    // Alone: what it says, not what is made of it together with others.
    let alone = std::slice::from_ref(document);
    let Ok((own, _)) = policy::compile(alone, policy.profile()) else { return };
    let services = live
        .services
        .iter()
        .filter(|service| own.destination(service.id.namespace(), &host(&service.id)).is_some());
    let edges = live.edges.iter().filter(|live| {
        let Edge { source, destination } = &live.edge;
        own.destination(source.namespace(), &host(destination)).is_some()
    });
    let (services, edges): (Vec<_>, Vec<_>) = (services.collect(), edges.collect());
    let object = document.to_string();
    let mut scope = Scope { object, policy, services, edges, findings };
    scope.nobody_calls(document, &own, live);
    for name in own.destination_hosts() {
        let Some(destination) = own.destination(document.namespace(), &name.to_string()) else {
            continue;
        };
        let base = &destination.all.base;
        scope.settings("spec.trafficPolicy", base, &[]);
        for (index, subset) in destination.subsets.iter().enumerate() {
            scope.subset(index, &subset.labels);
            if subset.settings.base != *base {
                scope.settings(
                    &format!("spec.subsets[{index}].trafficPolicy"),
                    &subset.settings.base,
                    &subset.labels,
                );
            }
        }
    }
}

impl LiveService {
    /// Endpoints with these labels, in the proxy that has most of them; `None`: nobody tells.
    fn members(&self, selector: &Selector) -> Option<u64> {
        let is_one = |labels: &&Labels| {
            let has = |(key, value): &(Arc<str>, Arc<str>)| {
                labels.iter().any(|(own, other)| **own == **key && **other == **value)
            };
            selector.iter().all(has)
        };
        self.endpoints.iter().map(|all| all.iter().filter(is_one).count() as u64).max()
    }

    /// How many endpoints a caller has there, and how that is known: the proxies say so, else
    /// telemetry does.
    fn endpoints_of(&self, selector: &Selector) -> Option<(u64, String)> {
        let name = &self.view.name;
        let (count, evidence) = match (self.members(selector), self.view.instances) {
            (Some(count), _) => (count, format!("{count} endpoints in a proxy that calls {name}")),
            (None, Some(count)) => (count, format!("{count} instances of {name} in the last 60 s")),
            (None, None) => return None,
        };
        (count != 0).then_some((count, evidence))
    }

    /// Which labels its endpoints have.
    fn labels(&self) -> String {
        let one = |labels: &Labels| match labels.as_slice() {
            [] => "none".to_owned(),
            labels => labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(";"),
        };
        let sets: BTreeSet<String> = self.endpoints.iter().flatten().map(one).collect();
        let named: Vec<&str> = sets.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = if NAMED_MAX < sets.len() { ", …" } else { "" };
        format!("labels of its endpoints are {}{more}", named.join(", "))
    }
}

impl Scope<'_> {
    fn warn(&mut self, field: &str, message: &str, evidence: &str) {
        self.findings.push(warn(&self.object, field, message, evidence));
    }

    fn nobody_calls(&mut self, document: &Document, own: &Policy, live: &Live) {
        if document.kind() != Kind::DestinationRule
            || live.edges.is_empty()
            || !self.edges.is_empty()
        {
            return;
        }
        let hosts: Vec<String> = own.destination_hosts().map(ToString::to_string).collect();
        let message = format!("is {}, which nobody calls", hosts.join(", "));
        let evidence = format!("none of {} edges leads there", live.edges.len());
        self.warn("spec.host", &message, &evidence);
    }

    /// Of the endpoints with these labels.
    fn settings(&mut self, place: &str, settings: &Settings, labels: &Selector) {
        if let Some(outlier) = &settings.outlier {
            self.outlier(place, outlier, labels);
        }
        if let Some(budget) = &settings.retry_budget {
            self.budget(place, budget);
        }
        self.pool(place, &settings.pool);
    }

    fn outlier(&mut self, place: &str, outlier: &OutlierDetection, labels: &Selector) {
        for at in 0..self.services.len() {
            let service = self.services[at];
            let (name, percent) = (&service.view.name, outlier.ejection_percent_max);
            let Some((endpoints, seen)) = service.endpoints_of(labels) else { continue };
            if !outlier.always_eject_one && u64::from(percent) * endpoints < 100 {
                let message = format!(
                    "is {percent}, which is less than one of {endpoints} endpoints of {name}: \
                     outlier detection can never eject there"
                );
                let field = format!("{place}.outlierDetection.maxEjectionPercent");
                self.warn(&field, &message, &seen);
            }
            let statistics = [
                ("success-rate", outlier.success_rate.map(|r| (r.endpoints_min, r.requests_min))),
                (
                    "failure-percentage",
                    outlier.failure_percentage.map(|r| (r.endpoints_min, r.requests_min)),
                ),
            ];
            for (rule, minimum) in statistics {
                let Some((endpoints_min, requests_min)) = minimum else { continue };
                let annotation =
                    |what| format!("metadata.annotations[fusebox.io/outlier-{rule}-{what}]");
                if endpoints < u64::from(endpoints_min) {
                    let message = format!(
                        "needs {endpoints_min} endpoints to compare; {name} has {endpoints}: the \
                         rule can never eject"
                    );
                    self.warn(&annotation("minimum-hosts"), &message, &seen);
                    continue;
                }
                let interval_s = outlier.interval.as_secs_f64();
                let volume = self.volume(service, endpoints as f64, interval_s);
                if let Some((most, caller)) = volume.filter(|(most, _)| *most < requests_min.into())
                {
                    let message = format!(
                        "needs {requests_min} requests of each endpoint in {interval_s} s; the \
                         busiest caller sends {most:.1}: the rule can never eject"
                    );
                    self.warn(&annotation("request-volume"), &message, &caller);
                }
            }
        }
    }

    /// Requests that one proxy of the busiest caller sends to one endpoint in an interval.
    fn volume(
        &self,
        service: &LiveService,
        endpoints: f64,
        interval_s: f64,
    ) -> Option<(f64, String)> {
        let callers = self.edges.iter().filter(|live| live.edge.destination == service.id);
        let volume = |live: &&LiveEdge| {
            let rate = live.rate_per_proxy()?;
            let evidence = format!("{}: {rate:.1}/s in each proxy", live.name());
            Some((rate / endpoints * interval_s, evidence))
        };
        callers.filter_map(volume).max_by(|a, b| a.0.total_cmp(&b.0))
    }

    fn budget(&mut self, place: &str, budget: &RetryBudget) {
        let field = format!("{place}.retryBudget");
        if self.edges.is_empty() {
            return;
        }
        let retries = |live: &&LiveEdge| live.retries_max(self.policy);
        let most = self.edges.iter().map(retries).max().unwrap_or(0);
        if most == 0 {
            let callers: Vec<String> = self.edges.iter().take(3).map(|live| live.name()).collect();
            let message = "can never bind: no rule of a caller retries";
            return self.warn(&field, message, &callers.join(", "));
        }
        if f64::from(most) * 100.0 <= budget.percent {
            let message = format!(
                "can never bind: it allows {} % of requests, and rules retry {most} times at most",
                budget.percent
            );
            return self.warn(&field, &message, &format!("{most} retries are {most}00 %"));
        }
        let worst = |live: &&LiveEdge| {
            let rate = live.rate_per_proxy()?;
            let most = live.retries_max(self.policy);
            Some((rate * f64::from(most), format!("{}: {rate:.1}/s × {most} retries", live.name())))
        };
        let all: Option<Vec<(f64, String)>> = self.edges.iter().map(worst).collect();
        let all = all.into_iter().flatten().max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((per_s, evidence)) = all.filter(|(s, _)| *s <= budget.retries_per_s_min) {
            let message = format!(
                "can never bind at this rate: it always allows {}/s, and if every request were \
                 retried that would be {per_s:.1}/s in each proxy",
                budget.retries_per_s_min
            );
            self.warn(&field, &message, &evidence);
        }
    }

    fn pool(&mut self, place: &str, pool: &ConnectionPool) {
        let limits = [
            ("tcp.maxConnections", pool.connections_max, true),
            ("http.http2MaxRequests", pool.requests_max, false),
        ];
        for (name, limit, only_http1) in limits {
            let Some(limit) = limit else { continue };
            let at_once = |live: &&LiveEdge| {
                let (rate, p50_ms) = (live.rate_per_proxy()?, live.view.p50_ms?);
                let is_meant = !only_http1 || live.view.protocol == "http/1.1";
                let at_once = rate * p50_ms / 1_000.0;
                let evidence = format!(
                    "{}: {rate:.1}/s in each proxy × {p50_ms:.0} ms = {at_once:.1}",
                    live.name()
                );
                is_meant.then_some((at_once, evidence))
            };
            let most = self.edges.iter().filter_map(at_once).max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((at_once, evidence)) = most.filter(|(most, _)| f64::from(limit) < *most) {
                let message = format!(
                    "is {limit}, below the {at_once:.0} requests that are under way at once: the \
                     others wait or are refused"
                );
                self.warn(&format!("{place}.connectionPool.{name}"), &message, &evidence);
            }
        }
    }

    /// Where no proxy tells of endpoints, versions of instances are the only labels that are known.
    fn subset(&mut self, index: usize, labels: &Selector) {
        for at in 0..self.services.len() {
            let service = self.services[at];
            if service.members(labels) == Some(0) {
                let name = &service.view.name;
                let message = format!(
                    "select no endpoint of {name}: a request that is sent there is refused"
                );
                self.warn(&format!("spec.subsets[{index}].labels"), &message, &service.labels());
            }
        }
        let version = labels.iter().find(|(key, _)| &**key == "version").map(|(_, value)| value);
        let Some(version) = version else { return };
        for at in 0..self.services.len() {
            let LiveService { versions, view, endpoints, .. } = self.services[at];
            if !endpoints.is_empty()
                || versions.is_empty()
                || versions.iter().any(|seen| **seen == **version)
            {
                continue;
            }
            let message = format!("is {version}, which no instance of {} has", view.name);
            let evidence = format!("seen are {}", versions.join(", "));
            self.warn(&format!("spec.subsets[{index}].labels.version"), &message, &evidence);
        }
    }
}

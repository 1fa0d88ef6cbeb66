//! Brings together what several documents say about how to talk to one host.

use super::Profile;
use super::at::At;
use super::compile::{Parsed, Read, Source};
use super::destination_rule::{DestinationRule, SUBSETS_MAX};
use super::document::Document;
use super::finding::Severity;
use super::host::{CALLERS_MAX, HostName, HostTable, by_caller};
use super::settings::{DestinationPolicy, PortSettings, RetryBudget, Subset};
use super::traffic_policy::TrafficPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where Istio keeps rules for the whole mesh.
const ROOT_NAMESPACE: &str = "istio-system";

/// What there is about one host.
#[derive(Default)]
struct About<'p> {
    /// In the order of the documents.
    rules: Vec<&'p Read<DestinationRule>>,
    /// Places in [`Self::rules`], by namespace of the document.
    by_namespace: BTreeMap<&'p str, Vec<usize>>,
    retry_budget: Option<RetryBudget>,
}

/// One entry for each host that a document names.
pub(super) fn bring_together<'p>(
    parsed: &'p Parsed,
    sources: &'p [Source<'_>],
    profile: Profile,
) -> HostTable<DestinationPolicy> {
    let mut hosts: BTreeMap<&HostName, About<'p>> = BTreeMap::new();
    for rule in &parsed.rules {
        let about = hosts.entry(&rule.value.host).or_default();
        let namespace = sources[rule.source].document.namespace();
        about.by_namespace.entry(namespace).or_default().push(about.rules.len());
        about.rules.push(rule);
    }
    for Read { source, value } in &parsed.budgets {
        for (host, place) in &value.hosts {
            let about = hosts.entry(host).or_default();
            if about.retry_budget.is_some() {
                let message =
                    format!("has no effect on {host}: another policy goes before this one");
                sources[*source].sink.say(Severity::Warning, place, &message);
            }
            about.retry_budget = about.retry_budget.or(value.retry_budget);
        }
    }
    let mut table = HostTable::default();
    for (host, about) in hosts {
        for group in about.by_namespace.values() {
            say_conflicts(host, group.iter().map(|&at| about.rules[at]), sources);
        }
        let exports = about.rules.iter().flat_map(|rule| rule.value.export.namespaces());
        let named = about.by_namespace.keys().copied().filter(|own| !own.is_empty());
        let callers = named.chain(exports.map(|name| &**name)).collect();
        if let Some(last) = about.rules.last() {
            check_callers(&callers, &sources[last.source]);
        }
        let choose = |caller: Option<&str>| about.chosen(caller, host.namespace());
        table.insert(by_caller(host, &callers, choose, |chosen| {
            let rules: Vec<&DestinationRule> =
                chosen.iter().map(|&at| &about.rules[at].value).collect();
            let has_any = !rules.is_empty() || about.retry_budget.is_some();
            has_any.then(|| Arc::new(merged(&rules, about.retry_budget, profile)))
        }));
    }
    table
}

/// Complains where documents single out too many caller namespaces for one host.
pub(super) fn check_callers(callers: &BTreeSet<&str>, last: &Source<'_>) {
    if CALLERS_MAX < callers.len() {
        let message = format!(
            "is about a host for which {} caller namespaces are named; at most {CALLERS_MAX}",
            callers.len()
        );
        At::root(&last.document.node, &last.sink).error(message);
    }
}

impl About<'_> {
    /// The rules for a caller: those of its own namespace, else of the service's, of no namespace,
    /// of the whole mesh. Rules of other namespaces hold for domains only, as in Istio.
    fn chosen(&self, caller: Option<&str>, service: Option<&str>) -> Vec<usize> {
        let visible = |at: &usize| self.rules[*at].value.export.is_visible_to(caller);
        for namespace in [caller, service, Some(""), Some(ROOT_NAMESPACE)].into_iter().flatten() {
            let group = self.by_namespace.get(namespace).into_iter().flatten();
            let chosen: Vec<usize> = group.copied().filter(visible).collect();
            if !chosen.is_empty() {
                return chosen;
            }
        }
        let is_domain = service.is_none();
        (0..self.rules.len()).filter(|at| is_domain && visible(at)).collect()
    }
}

/// Several rules of one host and namespace are merged as in Istio: the first that sets something
/// wins, subsets are collected.
fn merged(
    rules: &[&DestinationRule],
    retry_budget: Option<RetryBudget>,
    profile: Profile,
) -> DestinationPolicy {
    let rules = || rules.iter().copied();
    let base = rules().find_map(|rule| rule.policy.as_ref()).cloned().unwrap_or_default();
    let breaker = rules().find_map(|rule| rule.annotations.breaker);
    let settings = |policy: &TrafficPolicy, ports: &[(u16, TrafficPolicy)]| PortSettings {
        base: policy.settings(profile, breaker, retry_budget),
        ports: (ports.iter())
            .map(|(port, policy)| (*port, policy.settings(profile, breaker, retry_budget)))
            .collect(),
    };
    let mut subsets: Vec<Subset> = Vec::new();
    for subset in rules().flat_map(|rule| &rule.subsets) {
        if subsets.iter().any(|other| other.name == subset.name) {
            continue;
        }
        // The host's port, with what the subset says instead; the subset's own port is alone.
        let mut ports: Vec<(u16, TrafficPolicy)> = (base.ports.iter())
            .map(|(port, policy)| (*port, policy.overridden(&subset.policy)))
            .collect();
        for (port, own) in &subset.policy.ports {
            ports.retain(|(other, _)| other != port);
            ports.push((*port, own.clone()));
        }
        subsets.push(Subset {
            name: Arc::clone(&subset.name),
            labels: subset.labels.clone(),
            settings: settings(&base.overridden(&subset.policy), &ports),
        });
    }
    let answer = rules().find(|rule| rule.annotations.muted_answer.is_some());
    let answer = answer.map(|rule| &rule.annotations);
    DestinationPolicy {
        all: settings(&base, &base.ports),
        subsets,
        critical: rules().any(|rule| rule.annotations.critical == Some(true)),
        muted_answer: answer.and_then(|answer| answer.muted_answer).unwrap_or_default(),
        muted_answer_callers: answer.map(|a| a.muted_answer_callers.clone()).unwrap_or_default(),
    }
}

/// What a later rule of the same host and namespace says in vain.
fn say_conflicts<'p>(
    host: &HostName,
    rules: impl Iterator<Item = &'p Read<DestinationRule>>,
    sources: &[Source<'_>],
) {
    let mut has_policy = None;
    let mut names: BTreeMap<&str, &Document> = BTreeMap::new();
    for rule in rules {
        let Source { document, sink } = &sources[rule.source];
        match (&rule.value.policy, has_policy) {
            (Some(_), None) => has_policy = Some(document),
            (Some(_), Some(first)) => {
                let message = format!(
                    "is {host}, whose trafficPolicy {first} sets already: that one goes before this \
                     one"
                );
                sink.say(Severity::Warning, &rule.value.host_place, &message);
            }
            (None, _) => (),
        }
        for subset in &rule.value.subsets {
            if let Some(first) = names.get(&*subset.name) {
                let message = format!(
                    "is {}, which {first} defines already: that one goes before this one",
                    subset.name
                );
                sink.say(Severity::Warning, &subset.place, &message);
            } else {
                names.insert(&subset.name, document);
            }
        }
        if SUBSETS_MAX < names.len() {
            let message = format!("is {host}, which gets more than {SUBSETS_MAX} subsets");
            sink.say(Severity::Error, &rule.value.host_place, &message);
        }
    }
}

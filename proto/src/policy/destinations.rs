//! Brings together what several documents say about how to talk to one host.

use super::Profile;
use super::compile::{Parsed, Read, Source};
use super::destination_rule::DestinationRule;
use super::finding::Severity;
use super::host::{HostName, HostTable, by_caller};
use super::settings::{DestinationPolicy, PortSettings, RetryBudget, Subset};
use super::traffic_policy::TrafficPolicy;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where Istio keeps rules for the whole mesh.
const ROOT_NAMESPACE: &str = "istio-system";

/// What there is about one host, in the order of the documents.
#[derive(Default)]
struct About<'p> {
    rules: Vec<&'p Read<DestinationRule>>,
    retry_budget: Option<RetryBudget>,
}

/// One entry for each host that a document names.
pub(super) fn bring_together(
    parsed: &Parsed,
    sources: &[Source<'_>],
    profile: Profile,
) -> HostTable<DestinationPolicy> {
    let mut hosts: BTreeMap<&HostName, About<'_>> = BTreeMap::new();
    for rule in &parsed.rules {
        hosts.entry(&rule.value.host).or_default().rules.push(rule);
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
        let namespace = |rule: &Read<DestinationRule>| sources[rule.source].document.namespace();
        say_conflicts(host, &about, sources);
        let named = about.rules.iter().flat_map(|rule| {
            let own = Some(namespace(rule)).filter(|own| !own.is_empty());
            own.into_iter().chain(rule.value.export.namespaces().iter().map(|name| &**name))
        });
        let choose = |caller: Option<&str>| {
            let rank = |rule: &Read<DestinationRule>| {
                rank(namespace(rule), caller, host.namespace())
                    .filter(|_| rule.value.export.is_visible_to(caller))
            };
            let best = about.rules.iter().filter_map(|rule| rank(rule)).min();
            let chosen = about.rules.iter().filter(|rule| best.is_some() && rank(rule) == best);
            chosen.copied().collect::<Vec<_>>()
        };
        table.insert(by_caller(host, named, |caller| {
            let rules = choose(caller);
            let has_any = !rules.is_empty() || about.retry_budget.is_some();
            has_any.then(|| merged(&rules, about.retry_budget, profile))
        }));
    }
    table
}

/// Which rules go first for a caller: those of its own namespace, of the service's, of no
/// namespace, of the whole mesh. Rules of other namespaces hold for domains only, as in Istio.
fn rank(rule: &str, caller: Option<&str>, service: Option<&str>) -> Option<u8> {
    match rule {
        "" => Some(2),
        own if Some(own) == caller => Some(0),
        own if Some(own) == service => Some(1),
        ROOT_NAMESPACE => Some(3),
        _ => service.is_none().then_some(4),
    }
}

/// Several rules of one host and namespace are merged as in Istio: the first that sets something
/// wins, subsets are collected.
fn merged(
    rules: &[&Read<DestinationRule>],
    retry_budget: Option<RetryBudget>,
    profile: Profile,
) -> DestinationPolicy {
    let rules = || rules.iter().map(|rule| &rule.value);
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
fn say_conflicts(host: &HostName, about: &About<'_>, sources: &[Source<'_>]) {
    for (index, later) in about.rules.iter().enumerate() {
        let Source { document, sink } = &sources[later.source];
        let earlier = about.rules[..index]
            .iter()
            .filter(|earlier| sources[earlier.source].document.namespace() == document.namespace());
        let (mut has_policy, mut names) = (None, Vec::new());
        for earlier in earlier {
            let first = sources[earlier.source].document;
            if earlier.value.policy.is_some() {
                has_policy = has_policy.or(Some(first));
            }
            names.extend(earlier.value.subsets.iter().map(|subset| (&subset.name, first)));
        }
        if let (Some(first), Some(_)) = (has_policy, &later.value.policy) {
            let message = format!(
                "is {host}, whose trafficPolicy {first} sets already: that one goes before this one"
            );
            sink.say(Severity::Warning, &later.value.host_place, &message);
        }
        for subset in &later.value.subsets {
            if let Some((_, first)) = names.iter().find(|(name, _)| **name == subset.name) {
                let message = format!(
                    "is {}, which {first} defines already: that one goes before this one",
                    subset.name
                );
                sink.say(Severity::Warning, &subset.place, &message);
            }
        }
    }
}

//! Moving a canary: `fusebox shift inventory v1=75 v2=25` changes the weights of a
//! `VirtualService`, and nothing else of it.

use super::document::Document;
use super::host::HostName;
use super::kind::Kind;
use super::yaml::{Node, Value};
use crate::Invalid;

/// Subsets that one shift can name.
const SUBSETS_MAX: usize = 64;
/// The largest weight, as Istio's.
const WEIGHT_MAX: u32 = i32::MAX as u32;

/// The set with other weights for the subsets of `host` (`inventory`, or `inventory.shop`). The
/// rules that change are those which split traffic between subsets of the host; if none does, the
/// one without `match`. A subset that is not named gets 0, one that the rule does not have yet is
/// added. Whether subsets exist is known once the result is compiled.
///
/// # Errors
/// If weights make no sense, or no such rule, or more than one `VirtualService` with such rules, is
/// there.
pub fn shift(
    documents: &[Document],
    host: &str,
    weights: &[(&str, u32)],
) -> Result<Vec<Document>, Invalid> {
    check(weights)?;
    let mut changed: Option<(usize, Document)> = None;
    for (at, document) in documents.iter().enumerate() {
        if document.kind() != Kind::VirtualService || !is_about(document, host) {
            continue;
        }
        let mut node = (*document.node).clone();
        if !change(&mut node, document.namespace(), weights) {
            continue;
        }
        if let Some((_, first)) = &changed {
            let reason =
                format!("{host} is routed by {first} and by {document}; name its namespace");
            return Err(Invalid::new("host", reason));
        }
        changed = Some((at, document.with(node)));
    }
    let Some((at, document)) = changed else {
        let reason = format!("no VirtualService has a rule that sends all requests to {host}");
        return Err(Invalid::new("host", reason));
    };
    let mut shifted = documents.to_vec();
    shifted[at] = document;
    Ok(shifted)
}

fn check(weights: &[(&str, u32)]) -> Result<(), Invalid> {
    let invalid = |reason: String| Err(Invalid::new("weights", reason));
    if weights.is_empty() || SUBSETS_MAX < weights.len() {
        return invalid(format!("are {}; allowed are 1 to {SUBSETS_MAX}", weights.len()));
    }
    for (at, (subset, weight)) in weights.iter().enumerate() {
        if weights[..at].iter().any(|(other, _)| other == subset) {
            return invalid(format!("name {subset} twice"));
        }
        if WEIGHT_MAX < *weight {
            return invalid(format!("has {subset}={weight}; at most {WEIGHT_MAX}"));
        }
    }
    if weights.iter().all(|(_, weight)| *weight == 0) {
        return invalid("are all 0; at least one must be more".to_owned());
    }
    Ok(())
}

/// Whether the document routes a host of this name: in any namespace if it names none.
fn is_about(document: &Document, host: &str) -> bool {
    let Some(Value::List(hosts)) =
        document.node.get("spec").and_then(|spec| spec.get("hosts")).map(|hosts| &hosts.value)
    else {
        return false;
    };
    hosts.iter().any(|own| is_host(own, document.namespace(), host))
}

/// Whether a node of a document of this namespace names the host that somebody typed.
fn is_host(node: &Node, namespace: &str, typed: &str) -> bool {
    let Value::Text(text) = &node.value else { return false };
    let (Ok(own), Ok(typed)) = (HostName::parse(text, namespace), HostName::parse(typed, ""))
    else {
        return false;
    };
    own.name() == typed.name()
        && (typed.namespace().is_none() || own.namespace() == typed.namespace())
}

/// Changes the rules of a document; `false` if there is none to change.
fn change(node: &mut Node, namespace: &str, weights: &[(&str, u32)]) -> bool {
    let Some(hosts) = node.get("spec").and_then(|spec| spec.get("hosts")).cloned() else {
        return false;
    };
    let Some(rules) = node.get_mut("spec").and_then(|spec| spec.get_mut("http")) else {
        return false;
    };
    let Value::List(rules) = &mut rules.value else { return false };
    let is_own = |destination: &Node| {
        let Value::List(hosts) = &hosts.value else { return false };
        let host = destination.get("destination").and_then(|destination| destination.get("host"));
        let host = host.map(|host| &host.value);
        let Some(Value::Text(host)) = host else { return false };
        hosts.iter().any(|own| is_host(own, namespace, host))
    };
    let routes_own =
        |rule: &Node, count_min: usize| match rule.get("route").map(|route| &route.value) {
            Some(Value::List(all)) => count_min <= all.len() && all.iter().all(is_own),
            _ => false,
        };
    let is_split = |rule: &Node| routes_own(rule, 2);
    let is_last = |rule: &Node| rule.get("match").is_none() && routes_own(rule, 1);
    let has_split = rules.iter().any(is_split);
    let mut is_changed = false;
    for rule in rules.iter_mut() {
        if if has_split { is_split(rule) } else { is_last(rule) } {
            is_changed |= set_weights(rule, weights);
        }
    }
    is_changed
}

fn set_weights(rule: &mut Node, weights: &[(&str, u32)]) -> bool {
    let Some(route) = rule.get_mut("route") else { return false };
    let line = route.line;
    let Value::List(destinations) = &mut route.value else { return false };
    let Some(like) = destinations.first().cloned() else { return false };
    for destination in destinations.iter_mut() {
        let subset = subset_of(destination);
        let weight = weights.iter().find(|(name, _)| subset.as_deref() == Some(*name));
        destination.set("weight", number(weight.map_or(0, |(_, weight)| *weight), line));
    }
    for (subset, weight) in weights {
        if destinations.iter().any(|own| subset_of(own).as_deref() == Some(*subset)) {
            continue;
        }
        let mut added = Node { line, value: Value::Map(Vec::new()) };
        if let Some(mut destination) = like.get("destination").cloned() {
            destination.set("subset", Node { line, value: Value::Text((*subset).into()) });
            added.set("destination", destination);
        }
        added.set("weight", number(*weight, line));
        destinations.push(added);
    }
    true
}

fn subset_of(destination: &Node) -> Option<Box<str>> {
    match &destination.get("destination")?.get("subset")?.value {
        Value::Text(subset) => Some(subset.clone()),
        _ => None,
    }
}

fn number(number: u32, line: u32) -> Node {
    Node { line, value: Value::Number(number.to_string().into()) }
}

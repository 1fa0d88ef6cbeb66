//! Moving traffic between subsets: edits weights in the documents themselves, so that what is in
//! force is what is written.
//!
//! A rule is edited where it sends to one of the named subsets and has more than one destination.
//! All destinations of such a rule must be named: the share of one that is not would be a surprise.

use super::document::Document;
use super::host::HostName;
use super::kind::Kind;
use super::request::WEIGHT_MAX;
use super::yaml::{Node, Value};
use crate::name::service_host;
use crate::{Invalid, text};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Hosts that a refusal names.
const CANDIDATES_MAX: usize = 16;

/// Why traffic cannot be shifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShiftRefusal {
    /// No route is for this host; these are routed.
    UnknownHost(Vec<String>),
    /// Several hosts are meant.
    AmbiguousHost(Vec<String>),
    /// What was asked does not fit the rules.
    Invalid(Invalid),
}

/// The documents, with these weights in the rules of `host` (as typed).
///
/// # Errors
/// If no or several hosts are meant, a subset is in no rule, a rule has destinations that are not
/// named, or no weight is above 0. The message says what there is.
pub fn shift(
    documents: &[Document],
    host: &str,
    weights: &[(String, u32)],
) -> Result<Vec<Document>, ShiftRefusal> {
    let weights = checked(weights).map_err(ShiftRefusal::Invalid)?;
    let host = resolve(documents, host)?;
    let mut shifted = Vec::with_capacity(documents.len());
    let mut shift = Shift { weights, used: BTreeSet::new(), seen: BTreeSet::new() };
    for document in documents {
        if hosts(document).contains(&host) {
            let mut edited = document.clone();
            edited.node = shift.document(document).map(Arc::new).map_err(ShiftRefusal::Invalid)?;
            shifted.push(edited);
        } else {
            shifted.push(document.clone());
        }
    }
    let unused = shift.weights.keys().find(|name| !shift.used.contains(**name));
    if let Some(unused) = unused {
        let there = shift.seen.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        let reason = format!(
            "is {unused}, which no rule of {host} splits traffic to; its rules send to: {}",
            if there.is_empty() { "nothing" } else { &there }
        );
        return Err(ShiftRefusal::Invalid(Invalid::new("subset", reason)));
    }
    Ok(shifted)
}

fn checked(weights: &[(String, u32)]) -> Result<BTreeMap<&str, u32>, Invalid> {
    let mut checked = BTreeMap::new();
    for (subset, weight) in weights {
        if WEIGHT_MAX < *weight {
            let reason = format!("is {weight} for {subset}; at most {WEIGHT_MAX}");
            return Err(Invalid::new("weight", reason));
        }
        if checked.insert(&**subset, *weight).is_some() {
            return Err(Invalid::new("subset", format!("is {subset} twice")));
        }
    }
    if checked.values().all(|weight| *weight == 0) {
        return Err(Invalid::new("weight", "is 0 for all subsets; one must get the traffic"));
    }
    Ok(checked)
}

/// The one host that `typed` means: in full, or by a name that is unique.
fn resolve(documents: &[Document], typed: &str) -> Result<HostName, ShiftRefusal> {
    let typed = HostName::parse(typed.trim(), "").map_err(ShiftRefusal::Invalid)?;
    let all: BTreeSet<HostName> = documents.iter().flat_map(hosts).collect();
    let is_meant = |host: &&HostName| {
        host.name() == typed.name()
            && (typed.namespace().is_none() || host.namespace() == typed.namespace())
    };
    let meant: Vec<&HostName> = all.iter().filter(is_meant).collect();
    let printed = |hosts: &mut dyn Iterator<Item = &HostName>| {
        hosts
            .take(CANDIDATES_MAX)
            .map(|host| text::visible(&host.to_string()).into_owned())
            .collect()
    };
    match meant[..] {
        [host] => Ok(host.clone()),
        [] => Err(ShiftRefusal::UnknownHost(printed(&mut all.iter()))),
        _ => match meant.iter().find(|host| **host == &typed) {
            Some(exact) => Ok((*exact).clone()),
            None => Err(ShiftRefusal::AmbiguousHost(printed(&mut meant.into_iter()))),
        },
    }
}

/// The hosts whose requests a document routes.
fn hosts(document: &Document) -> Vec<HostName> {
    let spec = document.node.get("spec");
    let list = |name| match spec.and_then(|spec| Some(&spec.get(name)?.value)) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    let own = document.namespace();
    match document.kind() {
        Kind::VirtualService => {
            let host = |node: &Node| HostName::parse(text(Some(node))?, own).ok();
            list("hosts").iter().filter_map(host).collect()
        }
        Kind::HttpRoute => {
            let host = |node: &Node| {
                let kind = text(node.get("kind"))?;
                let namespace = text(node.get("namespace")).unwrap_or(own);
                (kind == "Service")
                    .then(|| HostName::parse(text(node.get("name"))?, namespace).ok())?
            };
            list("parentRefs").iter().filter_map(host).collect()
        }
        _ => Vec::new(),
    }
}

fn text(node: Option<&Node>) -> Option<&str> {
    match &node?.value {
        Value::Text(text) | Value::Number(text) => Some(text),
        _ => None,
    }
}

struct Shift<'w> {
    weights: BTreeMap<&'w str, u32>,
    /// Subsets that some rule has.
    used: BTreeSet<String>,
    /// What the rules send to.
    seen: BTreeSet<String>,
}

impl Shift<'_> {
    fn document(&mut self, document: &Document) -> Result<Node, Invalid> {
        let mut node = (*document.node).clone();
        let lists: &[(&str, &str)] = match document.kind() {
            Kind::HttpRoute => &[("rules", "backendRefs")],
            _ => &[("http", "route"), ("tls", "route"), ("tcp", "route")],
        };
        let Some(spec) = node.get_mut("spec") else { return Ok(node) };
        for (rules, destinations) in lists {
            let Some(Value::List(all)) = spec.get_mut(rules).map(|node| &mut node.value) else {
                continue;
            };
            for (index, rule) in all.iter_mut().enumerate() {
                let list = rule.get_mut(destinations).map(|node| &mut node.value);
                if let Some(Value::List(list)) = list {
                    let field = format!("spec.{rules}[{index}].{destinations}");
                    self.rule(list).map_err(|left_out| {
                        let reason = format!(
                            "also sends to {}: name it, too, with its weight or 0",
                            left_out.join(", ")
                        );
                        Invalid::new(format!("{document}: {field}"), reason)
                    })?;
                }
            }
        }
        Ok(node)
    }

    /// Sets the weights of one rule; gives the destinations that are not named, if others are.
    fn rule(&mut self, destinations: &mut [Node]) -> Result<(), Vec<String>> {
        let names: Vec<String> = destinations.iter().map(name).collect();
        self.seen.extend(names.iter().cloned());
        let is_named = |name: &String| self.weights.contains_key(&**name);
        if destinations.len() < 2 || !names.iter().any(is_named) {
            return Ok(());
        }
        let left_out: Vec<String> = names.iter().filter(|name| !is_named(name)).cloned().collect();
        if !left_out.is_empty() {
            return Err(left_out);
        }
        for (node, name) in destinations.iter_mut().zip(names) {
            set_weight(node, self.weights[&*name]);
            self.used.insert(name);
        }
        Ok(())
    }
}

/// The subset of a destination, else its host.
fn name(node: &Node) -> String {
    let destination = node.get("destination").unwrap_or(node);
    let host = || {
        let host = text(destination.get("host").or_else(|| destination.get("name")))?;
        Some(service_host(host).0)
    };
    text(destination.get("subset")).or_else(host).unwrap_or_default().to_owned()
}

fn set_weight(node: &mut Node, weight: u32) {
    let value = Value::Number(weight.to_string().into());
    let line = node.line;
    match node.get_mut("weight") {
        Some(old) => old.value = value,
        None => {
            if let Value::Map(entries) = &mut node.value {
                entries.push(("weight".into(), Node { line, value }));
            }
        }
    }
}

//! What several kinds of documents have in common: hosts, labels, and for whom they hold.

use super::at::At;
use super::fields::Fields;
use super::host::HostName;
use std::sync::Arc;

/// Labels of one selector.
const LABELS_MAX: usize = 64;
/// Namespaces of one `exportTo`.
const NAMESPACES_MAX: usize = 256;

/// Callers for whom a document holds: `exportTo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Export {
    All,
    /// Callers of these namespaces, in order; empty: nobody.
    Namespaces(Vec<Arc<str>>),
}

impl Export {
    /// `.` is the namespace of the document.
    pub(super) fn read(spec: &Fields<'_>, namespace: &str) -> Self {
        let Some(at) = spec.get("exportTo") else { return Self::All };
        let mut namespaces: Vec<Arc<str>> = Vec::new();
        let mut is_all = true;
        for at in at.items() {
            match at.text() {
                Some("*") => return Self::All,
                Some("." | "") if namespace.is_empty() => {
                    at.warn("has no effect in a document without a namespace: it holds for all");
                    return Self::All;
                }
                Some("." | "") => namespaces.push(namespace.into()),
                Some("~") | None => (),
                Some(other) => namespaces.push(other.into()),
            }
            is_all = false;
        }
        if NAMESPACES_MAX < namespaces.len() {
            at.error(format!("has {} namespaces; at most {NAMESPACES_MAX}", namespaces.len()));
        }
        namespaces.sort();
        namespaces.dedup();
        if is_all { Self::All } else { Self::Namespaces(namespaces) }
    }

    /// Whether it holds for callers of this namespace; `None`: of one that no document names.
    pub(super) fn is_visible_to(&self, caller: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(own) => {
                caller.is_some_and(|caller| own.binary_search_by(|n| (**n).cmp(caller)).is_ok())
            }
        }
    }

    /// The namespaces that it names.
    pub(super) fn namespaces(&self) -> &[Arc<str>] {
        match self {
            Self::All => &[],
            Self::Namespaces(own) => own,
        }
    }
}

/// The host that a field names, in a document of this namespace.
pub(super) fn host(at: &At<'_>, namespace: &str) -> Option<HostName> {
    let text = at.text()?;
    match HostName::parse(text, namespace) {
        Ok(host) => Some(host),
        Err(error) => {
            at.error(format!("{text} {}", error.reason));
            None
        }
    }
}

/// A selector: every value is text, as in Kubernetes. In order of the keys.
pub(super) fn labels(at: &At<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut labels: Vec<(Arc<str>, Arc<str>)> =
        (at.entries()).filter_map(|(key, at)| Some((key.into(), at.text()?.into()))).collect();
    if LABELS_MAX < labels.len() {
        at.error(format!("has {} labels; at most {LABELS_MAX}", labels.len()));
    }
    labels.sort();
    labels
}

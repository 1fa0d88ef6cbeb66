//! Which document speaks for a host.
//!
//! A host in a document is a short name (`inventory`, resolved in the document's namespace), a
//! Kubernetes name (`inventory.shop`, `inventory.shop.svc.cluster.local`), a domain, or one of
//! these behind `*.`. A document without a namespace speaks for its short names in every
//! namespace, because `kubectl apply` would put it where it is wanted; one with a namespace goes
//! before it. A caller without a namespace stands in `default`.

use crate::Invalid;
use crate::name::{service_host, split_port};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Where a caller without a namespace stands.
const NAMESPACE_DEFAULT: &str = "default";
/// Behind the namespace in a Kubernetes name.
const DOMAIN: &str = "svc.cluster.local";
/// Longer hosts are refused, as in DNS.
const HOST_LEN_MAX: usize = 253;

/// Where a caller of this namespace stands.
pub(super) fn standing_in(caller_namespace: &str) -> &str {
    if caller_namespace.is_empty() { NAMESPACE_DEFAULT } else { caller_namespace }
}

/// A host as a document names it, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName {
    /// Name of a service, or a domain; `*` for every service of the namespace; `*.example.com`,
    /// or `*` without a namespace for every host.
    name: Arc<str>,
    /// `None`: a domain, or a short name of a document without namespace.
    namespace: Option<Arc<str>>,
}

impl HostName {
    /// The host that `text` means in a document of `namespace` (empty: none).
    ///
    /// # Errors
    /// If it is no host.
    pub fn parse(text: &str, namespace: &str) -> Result<Self, Invalid> {
        let invalid = |reason: &str| Err(Invalid::new("host", reason));
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
        if lower.is_empty() {
            return invalid("is empty");
        }
        if HOST_LEN_MAX < lower.len() {
            return invalid("is longer than 253 bytes");
        }
        let bare = lower.strip_prefix("*.").unwrap_or(if lower == "*" { "" } else { &lower });
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        if !(lower == "*" || is_address || bare.split('.').all(is_label)) {
            return invalid("is no host: allowed are a name, a domain, an address, * and *.domain");
        }
        let (name, own) = service_host(&lower);
        let is_short = own.is_none() && name != "*" && !name.contains(['.', ':']);
        let own = own.or_else(|| (is_short && !namespace.is_empty()).then_some(namespace));
        Ok(match (name, own) {
            ("*.svc.cluster.local" | "*.cluster.local", _) => {
                Self { name: "*".into(), namespace: Some("*".into()) }
            }
            _ => Self { name: name.into(), namespace: own.map(Into::into) },
        })
    }

    /// Namespace of the service; `None` for a domain, and for a short name of a document without
    /// namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Name of the service, or the domain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The narrower of two of which one is part of the other, or both are the same.
    pub(super) fn narrower<'h>(&'h self, other: &'h Self) -> Option<&'h Self> {
        let (own, others) = (self.to_string(), other.to_string());
        let has = |outer: &str, inner: &str| {
            let suffix = outer.strip_prefix('*');
            outer == inner || suffix.is_some_and(|suffix| inner.ends_with(suffix))
        };
        match (has(&others, &own), has(&own, &others)) {
            (true, _) => Some(self),
            (false, true) => Some(other),
            (false, false) => None,
        }
    }

    /// Whether it stands for more than one host.
    pub fn is_wildcard(&self) -> bool {
        self.name.starts_with('*')
    }
}

/// `inventory.shop.svc.cluster.local`, `inventory`, `example.com`, `*.example.com`.
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_deref() {
            None => f.write_str(&self.name),
            Some("*") => write!(f, "*.{DOMAIN}"),
            Some(namespace) => write!(f, "{}.{namespace}.{DOMAIN}", self.name),
        }
    }
}

/// What documents say, by host and by the namespace of the caller.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HostTable<T> {
    /// By name of the service or domain, then in order of namespaces, those without first.
    exact: BTreeMap<Arc<str>, Vec<Entry<T>>>,
    /// `*.shop.svc.cluster.local`, by namespace; `*`: of every namespace.
    services: BTreeMap<Arc<str>, Entry<T>>,
    /// `*.example.com`, by `example.com`; empty: every host.
    domains: BTreeMap<Arc<str>, Entry<T>>,
}

/// What documents say about one host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry<T> {
    pub(super) host: HostName,
    /// To callers of these namespaces, in order of their names.
    by_caller: Vec<(Arc<str>, Option<Arc<T>>)>,
    /// To all other callers.
    others: Option<Arc<T>>,
}

/// Caller namespaces that the documents about one host can single out.
pub(super) const CALLERS_MAX: usize = 1_000;

/// An entry whose documents are chosen by caller: `choose` is asked for each namespace that some
/// document names, and for a caller (`None`) of any other; callers with the same choice share what
/// `build` makes of it.
pub(super) fn by_caller<T, K: Ord>(
    host: &HostName,
    namespaces: &BTreeSet<&str>,
    choose: impl Fn(Option<&str>) -> K,
    build: impl Fn(&K) -> Option<Arc<T>>,
) -> Entry<T> {
    let mut built: BTreeMap<K, Option<Arc<T>>> = BTreeMap::new();
    let mut of = |caller| {
        let choice = choose(caller);
        let made = built.get(&choice).cloned().unwrap_or_else(|| build(&choice));
        built.entry(choice).or_insert(made).clone()
    };
    let others = of(None);
    let by_caller = (namespaces.iter().take(CALLERS_MAX))
        .map(|namespace| (Arc::from(*namespace), of(Some(namespace))))
        .collect();
    Entry { host: host.clone(), by_caller, others }
}

impl<T> Entry<T> {
    fn to(&self, caller: &str) -> Option<&T> {
        let own = self.by_caller.binary_search_by(|(namespace, _)| (**namespace).cmp(caller));
        own.map_or(&self.others, |at| &self.by_caller[at].1).as_deref()
    }
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { exact: BTreeMap::new(), services: BTreeMap::new(), domains: BTreeMap::new() }
    }
}

impl<T> HostTable<T> {
    /// Entries come in order of their hosts.
    pub(super) fn insert(&mut self, entry: Entry<T>) {
        let HostName { name, namespace } = entry.host.clone();
        match (&*name, namespace) {
            ("*", Some(namespace)) => drop(self.services.insert(namespace, entry)),
            ("*", None) => drop(self.domains.insert("".into(), entry)),
            (text, _) => match text.strip_prefix("*.") {
                Some(domain) => drop(self.domains.insert(domain.into(), entry)),
                None => self.exact.entry(name).or_default().push(entry),
            },
        }
    }

    /// What a caller of this namespace is told about `host`, which may have a port. The most
    /// specific host wins. Allocates only where the host has upper-case letters.
    pub(super) fn get(&self, caller_namespace: &str, host: &str) -> Option<&T> {
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.get(caller_namespace, &host.to_ascii_lowercase());
        }
        let caller = standing_in(caller_namespace);
        let bare = split_port(host).0.trim_end_matches('.');
        let (name, namespace) = service_host(bare);
        let is_service = namespace.is_some() || !bare.contains(['.', ':']);
        let namespace = namespace.unwrap_or(caller);
        let entries = self.exact.get(name).map(Vec::as_slice).unwrap_or_default();
        let entry = |namespace: Option<&str>| {
            let at = entries.binary_search_by(|entry| entry.host.namespace().cmp(&namespace));
            at.ok().and_then(|at| entries[at].to(caller))
        };
        let own = if is_service { entry(Some(namespace)) } else { None };
        let exact = own.or_else(|| entry(None));
        exact.or_else(|| {
            if is_service {
                let mut services = [namespace, "*"].into_iter();
                return services
                    .find_map(|namespace| self.services.get(namespace)?.to(caller))
                    .or_else(|| self.domains.get("")?.to(caller));
            }
            let mut domain = bare;
            loop {
                domain = domain.split_once('.').map_or("", |(_, rest)| rest);
                if let Some(found) = self.domains.get(domain).and_then(|entry| entry.to(caller)) {
                    return Some(found);
                }
                if domain.is_empty() {
                    return None;
                }
            }
        })
    }

    /// What callers of any namespace are told about any host of this name.
    pub(super) fn any_of_name(&self, name: &str) -> impl Iterator<Item = &T> {
        let entries = self.exact.get(name).into_iter().flatten();
        let told = entries
            .flat_map(|entry| entry.by_caller.iter().map(|(_, own)| own).chain([&entry.others]));
        told.flatten().map(|told| &**told)
    }

    /// The same hosts, with what `make` makes of what everybody is told about each.
    pub(super) fn map<U>(&self, mut make: impl FnMut(&T) -> U) -> HostTable<U> {
        let mut entry = |entry: &Entry<T>| Entry {
            host: entry.host.clone(),
            by_caller: Vec::new(),
            others: entry.others.as_deref().map(|told| Arc::new(make(told))),
        };
        let exact = self.exact.iter();
        let exact =
            exact.map(|(name, all)| (Arc::clone(name), all.iter().map(&mut entry).collect()));
        let exact = exact.collect();
        let mut all = |entries: &BTreeMap<Arc<str>, Entry<T>>| {
            entries.iter().map(|(name, one)| (Arc::clone(name), entry(one))).collect()
        };
        HostTable { exact, services: all(&self.services), domains: all(&self.domains) }
    }

    /// Every host of an entry, in order: single ones first, then the wildcards.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        let exact = self.exact.values().flatten();
        let entries = exact.chain(self.services.values()).chain(self.domains.values());
        entries.map(|entry| &entry.host)
    }
}

//! `match` of a `VirtualService`.

use super::at::At;
use super::fields::Fields;
use super::header_edits::header_name;
use super::matching::{HttpMatch, Pattern, StringMatch};
use super::route::TcpMatch;
use super::scope::labels;
use std::sync::Arc;

/// The gateway that stands for traffic between services.
pub(super) const MESH: &str = "mesh";

/// The gateways at which something holds, [`MESH`] among them where it holds between services.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    gateways: Arc<[Arc<str>]>,
    /// Of the document, in which names without one are.
    namespace: Arc<str>,
}

impl Scope {
    /// Of a document of this namespace that names these gateways; none: `mesh`.
    pub(super) fn new(mut gateways: Vec<Arc<str>>, namespace: &str) -> Self {
        if gateways.is_empty() {
            gateways.push(MESH.into());
        }
        Self { gateways: gateways.into(), namespace: namespace.into() }
    }

    /// Whether this gateway is one of them.
    pub(super) fn has(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|own| **own == *gateway)
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<str>] {
        &self.gateways
    }

    /// All but `mesh`.
    pub(super) fn gateways(&self) -> impl Iterator<Item = &Arc<str>> {
        self.gateways.iter().filter(|gateway| ***gateway != *MESH)
    }
}

/// A gateway as a document of `namespace` names it; it is of the same namespace unless it says so.
pub(super) fn gateway(name: &str, namespace: &str) -> Arc<str> {
    if name == MESH || name.contains('/') || namespace.is_empty() {
        name.into()
    } else {
        format!("{namespace}/{name}").into()
    }
}

/// The `gateways` of a condition, else those of the document.
fn scope(fields: &Fields<'_>, all: &Scope) -> Scope {
    let Some(at) = fields.get("gateways") else { return all.clone() };
    let names = at.items().filter_map(|at| at.text().map(|it| gateway(it, &all.namespace)));
    let names: Vec<Arc<str>> = names.collect();
    if names.is_empty() { all.clone() } else { Scope::new(names, &all.namespace) }
}

/// One entry of `http[].match`.
pub(super) fn http(at: At<'_>, all: &Scope) -> Option<(HttpMatch, Scope)> {
    let fields = at.object()?;
    let ignore_uri_case = fields.boolean("ignoreUriCase").unwrap_or_default();
    let condition = HttpMatch {
        uri: string(&fields, "uri"),
        ignore_uri_case,
        scheme: string(&fields, "scheme"),
        method: string(&fields, "method"),
        authority: string(&fields, "authority"),
        headers: headers(&fields, "headers"),
        without_headers: headers(&fields, "withoutHeaders"),
        query_params: (fields.get("queryParams").iter().flat_map(At::entries))
            .filter_map(|(name, at)| Some((name.into(), value(at)?)))
            .collect(),
        port: fields.get("port").and_then(|at| at.port()),
        source_labels: fields.get("sourceLabels").map(|at| labels(&at)).unwrap_or_default(),
        source_namespace: fields.text("sourceNamespace").map(Into::into),
    };
    if ignore_uri_case && matches!(condition.uri, Some(StringMatch::Regex(_))) {
        fields.at().warn("has ignoreUriCase, which has no effect on a regex: write (?i) in it");
    }
    let scope = scope(&fields, all);
    // A name of a condition only names it.
    fields.get("name");
    fields.finish(&["statPrefix"]);
    Some((condition, scope))
}

fn headers(fields: &Fields<'_>, name: &'static str) -> Vec<(Box<str>, StringMatch)> {
    let mut read = Vec::new();
    let Some(at) = fields.get(name) else { return read };
    for (key, at) in at.entries() {
        if matches!(key, "uri" | "scheme" | "method" | "authority") {
            at.warn("is ignored, as in Istio: it is a field beside headers");
            continue;
        }
        if let (Some(key), Some(value)) = (header_name(&at, key), value(at)) {
            read.push((key, value));
        }
    }
    read
}

fn string(fields: &Fields<'_>, name: &'static str) -> Option<StringMatch> {
    let at = fields.get(name)?;
    let read = value(at);
    if read == Some(StringMatch::Present) {
        at.error("is empty; allowed is one of exact, prefix, regex");
        return None;
    }
    read
}

/// `{exact: ...}`, `{prefix: ...}`, `{regex: ...}`, or nothing: it is there.
fn value(at: At<'_>) -> Option<StringMatch> {
    let fields = at.object()?;
    let (exact, prefix) = (fields.text("exact"), fields.text("prefix"));
    let regex = fields.get("regex");
    let read = match (exact, prefix, &regex) {
        (None, None, None) => Some(StringMatch::Present),
        (Some(exact), None, None) => Some(StringMatch::Exact(exact.into())),
        (None, Some(prefix), None) => Some(StringMatch::Prefix(prefix.into())),
        (None, None, Some(at)) => at.pattern(Pattern::whole).map(StringMatch::Regex),
        _ => {
            at.error("has several of exact, prefix, regex; allowed is one");
            None
        }
    };
    fields.finish(&[]);
    read
}

/// One entry of `tcp[].match` or `tls[].match`.
pub(super) fn tcp(at: At<'_>, all: &Scope, is_tls: bool) -> Option<(TcpMatch, Scope)> {
    let fields = at.object()?;
    let mut sni_hosts: Vec<Arc<str>> = Vec::new();
    if is_tls {
        let at = fields.required("sniHosts");
        sni_hosts.extend(at.iter().flat_map(At::items).filter_map(|at| at.text().map(Into::into)));
        if let Some(at) = at.filter(|_| sni_hosts.is_empty()) {
            at.error("has no host; at least one is required");
        }
    }
    let condition = TcpMatch {
        sni_hosts,
        port: fields.get("port").and_then(|at| at.port()),
        source_labels: fields.get("sourceLabels").map(|at| labels(&at)).unwrap_or_default(),
        source_namespace: fields.text("sourceNamespace").map(Into::into),
    };
    let scope = scope(&fields, all);
    fields.finish(&["destinationSubnets", "sourceSubnet"]);
    Some((condition, scope))
}

//! `VirtualService`.

use super::Profile;
use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::host::HostName;
use super::http_action::{self, Context};
use super::http_match::{self, MESH, Scope, gateway};
use super::http_rule::{self, ScopedRule};
use super::ingress::{Bound, BoundRules};
use super::route::{Destination, Routes, TcpMatch, TcpRule};
use super::scope::{Export, host};
use super::sink::{Place, Sink};
use std::sync::Arc;

/// Rules of one document.
const RULES_MAX: usize = 1_000;

/// What a `VirtualService` or an `HTTPRoute` says of its hosts.
pub(super) struct RouteDocument {
    pub(super) hosts: Vec<(HostName, Place)>,
    pub(super) export: Export,
    /// Between services.
    pub(super) mesh: Option<Arc<Routes>>,
    /// At gateways.
    pub(super) bound: Option<Bound>,
    /// Those gateways, and where it names them.
    pub(super) gateways: Vec<(Arc<str>, Place)>,
    /// Subsets that its rules name.
    pub(super) subsets: Vec<(Destination, Place)>,
}

/// Reads one; `None` if it has no host.
pub(super) fn read(document: &Document, profile: Profile, sink: &Sink) -> Option<RouteDocument> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let context = Context::new(document.namespace(), profile);
    let hosts = hosts(&spec, document.namespace());
    let gateways = gateways(&spec, document.namespace());
    let names = gateways.iter().map(|(name, _)| Arc::clone(name)).collect();
    let scope = Scope::new(names, document.namespace());
    let export = Export::read(&spec, document.namespace());
    let http = http(&spec, document.name(), &scope, &context);
    let tls = tcp(&spec, "tls", document.name(), &scope, &context);
    let tcp = tcp(&spec, "tcp", document.name(), &scope, &context);
    if !["http", "tls", "tcp"].into_iter().any(|name| spec.has(name)) {
        spec.at().error("has no rules: at least one of http, tls, tcp is required");
    }
    spec.finish(&[]);
    let object: Arc<str> = document.to_string().into();
    let mesh = scope.has(MESH).then(|| {
        let is_in = |scope: &Scope| scope.has(MESH);
        Arc::new(Routes {
            object: Arc::clone(&object),
            gateways: scope.all().to_vec(),
            http: http.iter().filter_map(|rule| rule.cut(is_in)).map(Arc::new).collect(),
            tls: tls.iter().filter_map(|rule| rule.cut(is_in)).map(Arc::new).collect(),
            tcp: tcp.iter().filter_map(|rule| rule.cut(is_in)).map(Arc::new).collect(),
        })
    });
    let is_bound = scope.gateways().next().is_some();
    let bound = is_bound.then(|| Bound {
        object,
        namespace: document.namespace().into(),
        hosts: hosts.iter().map(|(host, _)| host.clone()).collect(),
        scope,
        rules: BoundRules::Service(http),
    });
    let subsets = context.subsets.into_inner();
    (!hosts.is_empty()).then_some(RouteDocument { hosts, export, mesh, bound, gateways, subsets })
}

fn hosts(spec: &Fields<'_>, namespace: &str) -> Vec<(HostName, Place)> {
    let mut hosts: Vec<(HostName, Place)> = Vec::new();
    let Some(at) = spec.required("hosts") else { return hosts };
    for at in at.items() {
        let Some(name) = host(&at, namespace) else { continue };
        if hosts.iter().any(|(other, _)| *other == name) {
            at.warn(format!("is {name} once more"));
        } else {
            hosts.push((name, at.place()));
        }
    }
    if at.items().next().is_none() {
        at.error("has no host; at least one is required");
    }
    hosts
}

/// The gateways that it names, and where.
fn gateways(spec: &Fields<'_>, namespace: &str) -> Vec<(Arc<str>, Place)> {
    let mut gateways: Vec<(Arc<str>, Place)> = Vec::new();
    for at in spec.get("gateways").iter().flat_map(At::items) {
        gateways.extend(at.name().map(|name| (gateway(&name, namespace), at.place())));
    }
    gateways
}

fn http(spec: &Fields<'_>, name: &str, scope: &Scope, context: &Context<'_>) -> Vec<ScopedRule> {
    let mut rules: Vec<ScopedRule> = Vec::new();
    let Some(at) = spec.get("http") else { return rules };
    let mut all_taken_at = None;
    for (index, at) in at.items().enumerate().take(RULES_MAX) {
        if let Some(before) = all_taken_at {
            at.warn(format!("is never reached: http[{before}] takes every request"));
        }
        let Some(rule) = http_rule::read(at, format!("{name}[{index}]"), scope, context) else {
            continue;
        };
        if rule.takes_all() && all_taken_at.is_none() {
            all_taken_at = Some(index);
        }
        rules.push(rule);
    }
    if RULES_MAX < at.items().count() {
        at.error(format!("has more than {RULES_MAX} rules"));
    }
    rules
}

/// A rule of `tcp` or `tls`, as [`ScopedRule`].
struct ScopedTcpRule {
    rule: TcpRule,
    matches: Option<Vec<(TcpMatch, Scope)>>,
    scope: Scope,
}

impl ScopedTcpRule {
    fn cut(&self, holds: impl Fn(&Scope) -> bool) -> Option<TcpRule> {
        let Some(all) = &self.matches else {
            return holds(&self.scope).then(|| self.rule.clone());
        };
        let matches = all.iter().filter(|(_, scope)| holds(scope));
        let matches: Vec<TcpMatch> = matches.map(|(condition, _)| condition.clone()).collect();
        (!matches.is_empty()).then(|| TcpRule { matches, ..self.rule.clone() })
    }
}

fn tcp(
    spec: &Fields<'_>,
    list: &'static str,
    name: &str,
    scope: &Scope,
    context: &Context<'_>,
) -> Vec<ScopedTcpRule> {
    let is_tls = list == "tls";
    let mut rules = Vec::new();
    let Some(at) = spec.get(list) else { return rules };
    for (index, at) in at.items().enumerate() {
        let Some(fields) = at.object() else { continue };
        let matches = fields.get("match").map(|at| {
            at.items().filter_map(|at| http_match::tcp(at, scope, is_tls)).collect::<Vec<_>>()
        });
        let matches = matches.filter(|matches| !matches.is_empty());
        if is_tls && matches.is_none() && !fields.has("match") {
            fields.at().error("has no match, which is required of tls");
        }
        let route = fields.required("route");
        let destinations = route.and_then(|at| http_action::destinations(&at, context));
        fields.finish(&[]);
        rules.extend(destinations.map(|destinations| {
            let name = format!("{name}.{list}[{index}]").into();
            ScopedTcpRule {
                rule: TcpRule { name, matches: Vec::new(), destinations },
                matches,
                scope: scope.clone(),
            }
        }));
    }
    rules
}

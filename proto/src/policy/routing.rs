//! Brings together what several documents say about where requests to one host go, and what is
//! bound to gateways.

use super::Policy;
use super::at::At;
use super::compile::{Parsed, Read, Source};
use super::destinations::check_callers;
use super::finding::Severity;
use super::host::{HostName, HostTable, by_caller};
use super::http_match::MESH;
use super::http_route::{HttpRoute, Precedence};
use super::ingress::Bound;
use super::matching::HttpMatch;
use super::route::{HttpRule, Routes};
use super::virtual_service::RouteDocument;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What there is about one host, in the order of the documents.
#[derive(Default)]
struct About<'p> {
    services: Vec<&'p Read<RouteDocument>>,
    /// With the port that the route is for.
    routes: Vec<(&'p Read<HttpRoute>, Option<u16>)>,
}

/// The documents that route a host for some caller: places in [`About`].
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Chosen {
    Service(usize),
    Routes(Vec<usize>),
}

/// Between services one `VirtualService` routes a host, as in Istio; `HTTPRoute`s are merged.
pub(super) fn mesh(parsed: &Parsed, sources: &[Source<'_>]) -> HostTable<Routes> {
    let mut hosts: BTreeMap<&HostName, About<'_>> = BTreeMap::new();
    for service in parsed.services.iter().filter(|service| service.value.mesh.is_some()) {
        for (host, _) in &service.value.hosts {
            hosts.entry(host).or_default().services.push(service);
        }
    }
    for route in &parsed.routes {
        for (host, port) in &route.value.services {
            hosts.entry(host).or_default().routes.push((route, *port));
        }
    }
    let mut table = HostTable::default();
    for (host, about) in hosts {
        about.say_conflicts(host, sources);
        let exports = about.services.iter().flat_map(|service| service.value.export.namespaces());
        let named = about.routes.iter().map(|(route, _)| &route.value.namespace);
        let callers: BTreeSet<&str> =
            exports.chain(named).map(|name| &**name).filter(|name| !name.is_empty()).collect();
        let last = about.services.last().map(|service| service.source);
        if let Some(last) = last.or(about.routes.last().map(|(route, _)| route.source)) {
            check_callers(&callers, &sources[last]);
        }
        let choose = |caller: Option<&str>| about.chosen(caller, host.namespace());
        table.insert(by_caller(host, &callers, choose, |chosen| match chosen {
            Chosen::Service(at) => about.services[*at].value.mesh.clone(),
            Chosen::Routes(all) => {
                let routes = all.iter().map(|&at| about.routes[at]);
                merged(routes, sources).map(Arc::new)
            }
        }));
    }
    table
}

impl About<'_> {
    fn chosen(&self, caller: Option<&str>, service: Option<&str>) -> Chosen {
        let mut services = self.services.iter();
        if let Some(at) = services.position(|one| one.value.export.is_visible_to(caller)) {
            return Chosen::Service(at);
        }
        // A route of another namespace than the service's is for callers of its own only.
        let holds = |at: &usize| {
            let own = &*self.routes[*at].0.value.namespace;
            own.is_empty() || Some(own) == service || Some(own) == caller
        };
        Chosen::Routes((0..self.routes.len()).filter(holds).collect())
    }

    /// What a document says in vain, because others go before it for every caller.
    fn say_conflicts(&self, host: &HostName, sources: &[Source<'_>]) {
        let mut first_for_all = None;
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for service in &self.services {
            let export = &service.value.export;
            let own = export.namespaces();
            let first = first_for_all.or_else(|| {
                let first = taken.get(&**own.first()?).copied();
                first.filter(|_| own.iter().all(|name| taken.contains_key(&**name)))
            });
            let place = service.value.hosts.iter().find(|(own, _)| own == host);
            if let (Some(first), Some((_, place))) = (first, place) {
                let first = sources[first].document;
                let message = format!(
                    "is {host}, which {first} routes already: that one goes before this one"
                );
                sources[service.source].sink.say(Severity::Warning, place, &message);
            }
            if export.is_visible_to(None) {
                first_for_all = first_for_all.or(Some(service.source));
            }
            for name in own {
                taken.entry(name).or_insert(service.source);
            }
        }
        let Some(first) = first_for_all else { return };
        for (route, _) in &self.routes {
            let Source { document, sink } = &sources[route.source];
            let first = sources[first].document;
            let message = format!("has no effect on {host}, which {first} routes already");
            At::root(&document.node, sink).warn(message);
        }
    }
}

/// Everything that is bound to gateways, in the order of the documents.
pub(super) fn bound(parsed: &Parsed, sources: &[Source<'_>]) -> Vec<Bound> {
    let services = parsed.services.iter().filter_map(|service| service.value.bound.clone());
    let routes = parsed.routes.iter();
    let routes = routes.filter_map(|route| route.value.bound(sources[route.source].document));
    services.chain(routes).collect()
}

/// A route that names a gateway that nobody describes is reached by no request, and neither is a host
/// that no server of the gateway takes.
pub(super) fn check_gateways(parsed: &Parsed, sources: &[Source<'_>], policy: &Policy) {
    let services = parsed.services.iter().map(|one| {
        let hosts = one.value.hosts.iter().map(|(host, _)| host).collect::<Vec<_>>();
        (one.source, &one.value.gateways, hosts)
    });
    let routes = parsed.routes.iter().map(|one| {
        (one.source, &one.value.gateways, one.value.hostnames.iter().collect::<Vec<_>>())
    });
    for (source, gateways, hosts) in services.chain(routes) {
        let Source { document, sink } = &sources[source];
        let mut known = Vec::new();
        for (gateway, place) in gateways {
            if **gateway == *MESH || policy.knows_gateway(gateway) {
                known.push((gateway, place));
                continue;
            }
            let message = format!(
                "is {gateway}, which no Gateway describes and no IstioOperator installs: no request \
                 comes in through it"
            );
            sink.say(Severity::Warning, place, &message);
        }
        let is_shut = |host: &&&HostName| {
            let namespace = document.namespace();
            let takes = |gateway: &str| gateway == MESH || policy.takes(gateway, namespace, host);
            !known.iter().any(|(gateway, _)| takes(gateway))
        };
        let shut: Vec<String> = hosts.iter().filter(is_shut).map(ToString::to_string).collect();
        if let (Some((gateway, place)), false) = (known.first(), shut.is_empty()) {
            let message = format!(
                "is {gateway}, and no server of the gateways here takes {}: no request for it comes in",
                shut.join(", ")
            );
            sink.say(Severity::Warning, place, &message);
        }
    }
}

/// The rules of several `HTTPRoute`s, the most specific first; then by name of the document, as
/// the Gateway API has it (documents have no age here), then in their order.
fn merged<'p>(
    routes: impl Iterator<Item = (&'p Read<HttpRoute>, Option<u16>)>,
    sources: &[Source<'_>],
) -> Option<Routes> {
    let mut routes: Vec<_> = routes.collect();
    routes.sort_by_key(|(route, _)| {
        let document = sources[route.source].document;
        (document.namespace(), document.name())
    });
    let mut rules: Vec<(Precedence, Arc<HttpRule>)> = Vec::new();
    for (route, port) in &routes {
        let own = route.value.rules.iter();
        rules.extend(own.map(|(precedence, rule)| (*precedence, at_port(rule, *port))));
    }
    rules.sort_by_key(|(precedence, _)| *precedence);
    let objects: Vec<String> =
        routes.iter().map(|(route, _)| sources[route.source].document.to_string()).collect();
    (!routes.is_empty()).then(|| Routes {
        object: objects.join(", ").into(),
        gateways: vec![MESH.into()],
        http: rules.into_iter().map(|(_, rule)| rule).collect(),
        tls: Vec::new(),
        tcp: Vec::new(),
    })
}

/// The rule, for requests to this port only.
fn at_port(rule: &Arc<HttpRule>, port: Option<u16>) -> Arc<HttpRule> {
    if port.is_none() {
        return Arc::clone(rule);
    }
    let mut rule = (**rule).clone();
    if rule.matches.is_empty() {
        rule.matches.push(HttpMatch::default());
    }
    rule.matches.iter_mut().for_each(|condition| condition.port = port);
    Arc::new(rule)
}

//! Brings together what several documents say about where requests to one host go.

use super::at::At;
use super::compile::{Parsed, Read, Source};
use super::destinations::check_callers;
use super::finding::Severity;
use super::host::{HostName, HostTable, by_caller};
use super::http_match::MESH;
use super::http_route::{HttpRoute, Precedence};
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

/// Tables for traffic between services, and at gateways.
pub(super) fn bring_together(
    parsed: &Parsed,
    sources: &[Source<'_>],
) -> (HostTable<Routes>, HostTable<Routes>) {
    (mesh(parsed, sources), ingress(parsed, sources))
}

/// Between services one `VirtualService` routes a host, as in Istio; `HTTPRoute`s are merged.
fn mesh(parsed: &Parsed, sources: &[Source<'_>]) -> HostTable<Routes> {
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
                merged(routes, sources, &[MESH.into()]).map(Arc::new)
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

/// At gateways, rules of all documents for a host are one list, as in Istio.
fn ingress(parsed: &Parsed, sources: &[Source<'_>]) -> HostTable<Routes> {
    let mut hosts: BTreeMap<HostName, Vec<Arc<Routes>>> = BTreeMap::new();
    for service in &parsed.services {
        let Some(routes) = &service.value.ingress else { continue };
        for (host, _) in &service.value.hosts {
            hosts.entry(host.clone()).or_default().push(Arc::clone(routes));
        }
    }
    let mut own: BTreeMap<HostName, Vec<&Read<HttpRoute>>> = BTreeMap::new();
    for route in parsed.routes.iter().filter(|route| !route.value.gateways.is_empty()) {
        let any = HostName::parse("*", "").ok().filter(|_| route.value.hostnames.is_empty());
        for host in route.value.hostnames.iter().cloned().chain(any) {
            own.entry(host).or_default().push(route);
        }
    }
    for (host, routes) in own {
        let mut gateways: Vec<Arc<str>> =
            routes.iter().flat_map(|route| &route.value.gateways).cloned().collect();
        gateways.sort();
        gateways.dedup();
        let routes = merged(routes.into_iter().map(|route| (route, None)), sources, &gateways);
        hosts.entry(host).or_default().extend(routes.map(Arc::new));
    }
    let mut table = HostTable::default();
    for (host, all) in hosts {
        let callers = BTreeSet::new();
        table.insert(by_caller(&host, &callers, |_| (), |()| Some(joined(&all))));
    }
    table
}

/// The rules of several documents, one after the other.
fn joined(all: &[Arc<Routes>]) -> Arc<Routes> {
    if let [one] = all {
        return Arc::clone(one);
    }
    let objects: Vec<&str> = all.iter().map(|routes| &*routes.object).collect();
    let mut gateways: Vec<Arc<str>> =
        all.iter().flat_map(|routes| &routes.gateways).cloned().collect();
    gateways.sort();
    gateways.dedup();
    Arc::new(Routes {
        object: objects.join(", ").into(),
        gateways,
        http: all.iter().flat_map(|routes| &routes.http).cloned().collect(),
        tls: all.iter().flat_map(|routes| &routes.tls).cloned().collect(),
        tcp: all.iter().flat_map(|routes| &routes.tcp).cloned().collect(),
    })
}

/// The rules of several `HTTPRoute`s, the most specific first; then by name of the document, as
/// the Gateway API has it (documents have no age here), then in their order.
fn merged<'p>(
    routes: impl Iterator<Item = (&'p Read<HttpRoute>, Option<u16>)>,
    sources: &[Source<'_>],
    gateways: &[Arc<str>],
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
        gateways: gateways.to_vec(),
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

//! Brings together what several documents say about where requests to one host go.

use super::at::At;
use super::compile::{Parsed, Read, Source};
use super::finding::Severity;
use super::host::{HostName, HostTable, by_caller};
use super::http_match::MESH;
use super::http_route::{HttpRoute, Precedence};
use super::matching::HttpMatch;
use super::route::{HttpRule, Routes};
use super::virtual_service::RouteDocument;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What there is about one host, in the order of the documents.
#[derive(Default)]
struct About<'p> {
    services: Vec<&'p Read<RouteDocument>>,
    /// With the port that the route is for.
    routes: Vec<(&'p Read<HttpRoute>, Option<u16>)>,
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
        for (host, place) in &service.value.hosts {
            let about = hosts.entry(host).or_default();
            let export = &service.value.export;
            let callers = || export.namespaces().iter().map(|name| Some(&**name)).chain([None]);
            let first = about.services.iter().find(|first| {
                callers().any(|c| export.is_visible_to(c) && first.value.export.is_visible_to(c))
            });
            if let Some(first) = first {
                let first = sources[first.source].document;
                let message = format!(
                    "is {host}, which {first} routes already: that one goes before this one"
                );
                sources[service.source].sink.say(Severity::Warning, place, &message);
            }
            about.services.push(service);
        }
    }
    for route in &parsed.routes {
        for (host, port) in &route.value.services {
            let about = hosts.entry(host).or_default();
            if let Some(first) = about.services.first() {
                let first = sources[first.source].document;
                let Source { document, sink } = &sources[route.source];
                let message = format!("has no effect on {host}, which {first} routes already");
                At::root(&document.node, sink).warn(message);
            }
            about.routes.push((route, *port));
        }
    }
    let mut table = HostTable::default();
    for (host, about) in hosts {
        let named = (about.services.iter().flat_map(|service| service.value.export.namespaces()))
            .chain(about.routes.iter().map(|(route, _)| &route.value.namespace))
            .map(|name| &**name)
            .filter(|name| !name.is_empty());
        table.insert(by_caller(host, named, |caller| {
            let service = about.services.iter().find(|one| one.value.export.is_visible_to(caller));
            if let Some(service) = service {
                return service.value.mesh.clone();
            }
            // A route of another namespace than the service's is for callers of its own only.
            let holds = |(route, _): &&(&Read<HttpRoute>, Option<u16>)| {
                let own = &*route.value.namespace;
                own.is_empty() || Some(own) == host.namespace() || Some(own) == caller
            };
            merged(about.routes.iter().filter(holds).copied(), sources, &[MESH.into()])
        }));
    }
    table
}

/// At gateways, rules of all documents for a host are one list, as in Istio.
fn ingress(parsed: &Parsed, sources: &[Source<'_>]) -> HostTable<Routes> {
    let mut hosts: BTreeMap<HostName, Vec<Routes>> = BTreeMap::new();
    for service in &parsed.services {
        let Some(routes) = &service.value.ingress else { continue };
        for (host, _) in &service.value.hosts {
            hosts.entry(host.clone()).or_default().push(routes.clone());
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
        hosts.entry(host).or_default().extend(routes);
    }
    let mut table = HostTable::default();
    for (host, all) in hosts {
        let joined = all.into_iter().reduce(|mut first, next| {
            first.object = format!("{}, {}", first.object, next.object).into();
            first.gateways.extend(next.gateways);
            first.gateways.sort();
            first.gateways.dedup();
            first.http.extend(next.http);
            first.tls.extend(next.tls);
            first.tcp.extend(next.tcp);
            first
        });
        table.insert(by_caller(&host, std::iter::empty(), |_| joined.clone()));
    }
    table
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
    let mut rules: Vec<(Precedence, HttpRule)> = Vec::new();
    for (route, port) in &routes {
        for (precedence, rule) in &route.value.rules {
            let mut rule = rule.clone();
            if let Some(port) = port {
                if rule.matches.is_empty() {
                    rule.matches.push(HttpMatch::default());
                }
                rule.matches.iter_mut().for_each(|condition| condition.port = Some(*port));
            }
            rules.push((*precedence, rule));
        }
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

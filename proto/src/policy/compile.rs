//! From documents to a policy: each is read, then those about one host are brought together.
//!
//! Which documents hold depends on who calls: those of the caller's own namespace go before those
//! of the service's, and `exportTo` hides some. So a host has one entry for each caller namespace
//! that any document singles out, and one for all others.

use super::at::At;
use super::backend_traffic::{self, BackendTraffic};
use super::destination_rule::{self, DestinationRule};
use super::document::{Document, Outcome};
use super::finding::{Finding, Severity, refuses};
use super::http_route::{self, HttpRoute};
use super::kind::Kind;
use super::settings::DestinationPolicy;
use super::sink::Sink;
use super::traffic_policy::pool_default;
use super::virtual_service::{self, RouteDocument};
use super::{Policy, Profile, annotations, install, retries, service_entry};
use super::{destinations, routing};
use std::rc::Rc;

/// A document and what there is to say about it.
pub(super) struct Source<'d> {
    pub(super) document: &'d Document,
    pub(super) sink: Sink,
}

/// Something read from the document of this index.
pub(super) struct Read<T> {
    pub(super) source: usize,
    pub(super) value: T,
}

/// Everything that documents said, by kind, in their order.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) rules: Vec<Read<DestinationRule>>,
    pub(super) budgets: Vec<Read<BackendTraffic>>,
    pub(super) services: Vec<Read<RouteDocument>>,
    pub(super) routes: Vec<Read<HttpRoute>>,
}

/// Compiles a set of documents.
///
/// # Errors
/// If any of them is wrong: nothing is half-applied. Then the findings hold at least one error.
pub fn compile(documents: &[Document], profile: Profile) -> Outcome<Policy> {
    let limits = Rc::default();
    let source = |document| Source { document, sink: Document::sink(document, &limits) };
    let sources: Vec<Source<'_>> = documents.iter().map(source).collect();
    let mut policy =
        Policy { profile, retries_unasked: retries::unasked(profile), ..Policy::default() };
    policy.unnamed.all.base.pool = pool_default(profile);
    let mut parsed = Parsed::default();
    for (source, Source { document, sink }) in sources.iter().enumerate() {
        read(document, profile, sink, source, &mut parsed, &mut policy);
    }
    policy.destinations = destinations::bring_together(&parsed, &sources, profile);
    policy.routes = routing::mesh(&parsed, &sources);
    policy.bound = routing::bound(&parsed, &sources);
    routing::check_gateways(&parsed, &sources, &policy);
    check_subsets(&parsed, &sources, &policy);
    let said = sources.into_iter().flat_map(|source| source.sink.into_findings());
    let findings: Vec<Finding> = said.chain(limits.left_out()).collect();
    if refuses(&findings, false) { Err(findings) } else { Ok((policy, findings)) }
}

fn read(
    document: &Document,
    profile: Profile,
    sink: &Sink,
    source: usize,
    parsed: &mut Parsed,
    policy: &mut Policy,
) {
    if document.kind() != Kind::DestinationRule {
        refuse_annotations(document, sink);
    }
    match document.kind() {
        Kind::DestinationRule => {
            let rule = destination_rule::read(document, profile, sink);
            parsed.rules.extend(rule.map(|value| Read { source, value }));
        }
        Kind::BackendTrafficPolicy => {
            let budget = backend_traffic::read(document, sink);
            parsed.budgets.extend(budget.map(|value| Read { source, value }));
        }
        Kind::VirtualService => {
            let service = virtual_service::read(document, profile, sink);
            parsed.services.extend(service.map(|value| Read { source, value }));
        }
        Kind::HttpRoute => {
            let route = http_route::read(document, profile, sink);
            parsed.routes.extend(route.map(|value| Read { source, value }));
        }
        Kind::ServiceEntry => policy.service_entries.extend(service_entry::read(document, sink)),
        Kind::Gateway => policy.gateways.extend(install::gateway(document, sink)),
        Kind::PeerAuthentication => {
            policy.peer_authentications.extend(install::peer_authentication(document, sink));
        }
        Kind::IstioOperator => {
            let install = install::istio_operator(document, sink);
            if policy.install.is_some() {
                At::root(&document.node, sink)
                    .warn("has no effect: another IstioOperator goes before it");
            } else {
                policy.install = install;
            }
        }
    }
}

fn refuse_annotations(document: &Document, sink: &Sink) {
    let own = annotations::own(document.node.get("metadata"));
    let root = At::root(&document.node, sink).object();
    if let (Some(own), Some(root)) = (&own, &root)
        && let Some(metadata) = root.object("metadata")
        && let Some(at) = metadata.get("annotations")
    {
        annotations::refuse(at.with(own));
    }
}

/// A subset that a route names and nobody defines would refuse all its traffic.
fn check_subsets(parsed: &Parsed, sources: &[Source<'_>], policy: &Policy) {
    for Read { source, value } in &parsed.services {
        let Source { document, sink } = &sources[*source];
        for (destination, place) in &value.subsets {
            let Some(subset) = &destination.subset else { continue };
            let host = &destination.host;
            // A short name without a namespace can be one of several services.
            let found: Vec<&DestinationPolicy> = if host.contains('.') {
                policy.destination(document.namespace(), host).into_iter().collect()
            } else {
                policy.destinations.any_of_name(host).collect()
            };
            if found.iter().any(|found| found.subset(subset).is_some()) {
                continue;
            }
            let names = found.iter().flat_map(|found| &found.subsets);
            let names: Vec<&str> = names.map(|subset| &*subset.name).collect();
            let defined = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let message = format!(
                "is {subset}, which no DestinationRule of {host} defines; defined are: {defined}"
            );
            sink.say(Severity::Error, place, &message);
        }
    }
}

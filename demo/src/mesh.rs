//! The proxies of a shop: one for each instance, with a listener in front of the instance and one
//! for each service that it calls.

use crate::plan::Plan;
use crate::scenario::{CANARY_SUBSET, STABLE_SUBSET};
use fusebox_proto::ServiceId;
use fusebox_proxy::config::{Endpoint, Inbound, Outbound};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// The namespace of all services of the shop.
const NAMESPACE: &str = "shop";

/// Why the shop does not open.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    /// A proxy does not start.
    #[error("the proxy of {service}: {source}")]
    Proxy {
        /// Whose.
        service: String,
        /// Why.
        source: fusebox_proxy::StartError,
    },
    /// No port for a service.
    #[error("a port for {service}: {source}")]
    Port {
        /// Whose.
        service: String,
        /// Why.
        source: io::Error,
    },
    /// The plan has a name that is none.
    #[error(transparent)]
    Name(#[from] fusebox_proto::Invalid),
}

/// An instance's place in the mesh.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) role: String,
    /// Whether it is of the new version.
    pub(crate) is_canary: bool,
    /// Where the application is to serve.
    pub(crate) app: TcpListener,
    /// Where callers come in.
    pub(crate) inbound: SocketAddr,
    /// Where to call others, by role.
    pub(crate) outbound: BTreeMap<String, SocketAddr>,
    pub(crate) proxy: fusebox_proxy::Running,
}

/// Binds and starts everything, callees first.
pub(crate) fn start(plan: &Plan, collector: &str) -> Result<Vec<Place>, MeshError> {
    let mut places: Vec<Place> = Vec::new();
    for role in plan.scenario.callees_first() {
        let service = plan.service(role);
        let canaries = service.canary.as_ref().map_or(0, |canary| canary.instances);
        for number in 1..=service.instances + canaries {
            let place = place(plan, role, number, collector, &places)?;
            places.push(place);
        }
    }
    Ok(places)
}

fn place(
    plan: &Plan,
    role: &str,
    number: usize,
    collector: &str,
    places: &[Place],
) -> Result<Place, MeshError> {
    let name = plan.name(role);
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let port = |source| MeshError::Port { service: name.to_owned(), source };
    let app = TcpListener::bind(loopback).map_err(port)?;
    app.set_nonblocking(true).map_err(port)?;
    let address = app.local_addr().map_err(port)?;

    let callees = plan.scenario.callees(role);
    let mut config = fusebox_proxy::Config::new(ServiceId::new("", NAMESPACE, name)?);
    config.instance = format!("{name}-{number}");
    config.collector = Some(collector.to_owned());
    config.inbound = vec![Inbound { listen: loopback, app: address.into() }];
    config.outbound = (callees.iter())
        .map(|callee| Outbound {
            listen: loopback,
            host: plan.name(callee).to_owned(),
            endpoints: endpoints(plan, places, callee),
        })
        .collect();
    let proxy = fusebox_proxy::start(config)
        .map_err(|source| MeshError::Proxy { service: name.to_owned(), source })?;
    let outbound = callees.iter().map(|callee| (*callee).to_owned());
    Ok(Place {
        role: role.to_owned(),
        is_canary: plan.service(role).instances < number,
        app,
        inbound: proxy.inbound()[0],
        outbound: outbound.zip(proxy.outbound().iter().copied()).collect(),
        proxy,
    })
}

/// The instances of a service as its callers' proxies know them: by version where it has two.
fn endpoints(plan: &Plan, places: &[Place], role: &str) -> Vec<Endpoint> {
    let has_two = plan.service(role).canary.is_some();
    let endpoint = |place: &Place| {
        let mut endpoint = Endpoint::from(place.inbound);
        if has_two {
            let version = if place.is_canary { CANARY_SUBSET } else { STABLE_SUBSET };
            endpoint.labels.insert("version".to_owned(), version.to_owned());
        }
        endpoint
    };
    places.iter().filter(|place| place.role == role).map(endpoint).collect()
}

/// The policy under which the shop opens: where a service has two versions, all of its traffic goes
/// to the old one. `None` where no service has.
pub(crate) fn policy(plan: &Plan) -> Option<String> {
    let services = plan.scenario.services.iter().filter(|(_, service)| service.canary.is_some());
    let documents: Vec<String> = services.map(|(role, _)| split(plan.name(role))).collect();
    (!documents.is_empty()).then(|| documents.join("---\n"))
}

fn split(host: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {host}, namespace: {NAMESPACE} }}
spec:
  host: {host}
  subsets:
  - {{ name: {STABLE_SUBSET}, labels: {{ version: {STABLE_SUBSET} }} }}
  - {{ name: {CANARY_SUBSET}, labels: {{ version: {CANARY_SUBSET} }} }}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: {host}, namespace: {NAMESPACE} }}
spec:
  hosts: [{host}]
  http:
  - route:
    - {{ destination: {{ host: {host}, subset: {STABLE_SUBSET} }}, weight: 100 }}
    - {{ destination: {{ host: {host}, subset: {CANARY_SUBSET} }}, weight: 0 }}
"
    )
}

/// Where the instances of a service are reached.
pub(crate) fn inbound_of(places: &[Place], role: &str) -> Vec<SocketAddr> {
    places.iter().filter(|place| place.role == role).map(|place| place.inbound).collect()
}

/// Ends all proxies at once; each may take so long for what is in flight. Blocks.
pub(crate) fn shutdown(proxies: Vec<fusebox_proxy::Running>, grace: Duration) {
    std::thread::scope(|scope| {
        for proxy in proxies {
            scope.spawn(move || proxy.shutdown(grace));
        }
    });
}

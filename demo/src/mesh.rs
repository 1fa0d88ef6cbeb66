//! The proxies of a shop: one for each instance, with a listener in front of the instance and one
//! for each service that it calls.

use crate::plan::Plan;
use fusebox_proto::ServiceId;
use fusebox_proxy::config::{Inbound, Outbound};
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
        for number in 1..=plan.service(role).instances {
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
            endpoints: inbound_of(places, callee).into_iter().map(Into::into).collect(),
        })
        .collect();
    let proxy = fusebox_proxy::start(config)
        .map_err(|source| MeshError::Proxy { service: name.to_owned(), source })?;
    let outbound = callees.iter().map(|callee| (*callee).to_owned());
    Ok(Place {
        role: role.to_owned(),
        app,
        inbound: proxy.inbound()[0],
        outbound: outbound.zip(proxy.outbound().iter().copied()).collect(),
        proxy,
    })
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

//! Endpoints that the policy names: those of a `ServiceEntry`, for listeners that were told none.

use super::plan::{Listener, is_same};
use crate::config::Endpoint;
use fusebox_proto::ServiceId;
use fusebox_proto::policy::{
    HostName, Policy, Resolution, ServiceEndpoint, ServiceEntry, ServicePort,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// `listener` with the endpoints of the first entry of its host that the caller sees, where it has
/// none of its own: the command line wins.
pub(crate) fn filled<'a>(
    listener: &'a Listener,
    policy: &Policy,
    caller: &ServiceId,
) -> Cow<'a, Listener> {
    if !listener.endpoints.is_empty() {
        return Cow::Borrowed(listener);
    }
    let Some((entry, host)) = of_host(listener, policy, caller) else {
        return Cow::Borrowed(listener);
    };
    let endpoints = endpoints(entry, host, listener);
    Cow::Owned(Listener { endpoints, ..listener.clone() })
}

/// The entry whose endpoints do not count because the command line names some.
pub(crate) fn overruled<'a>(
    listener: &Listener,
    policy: &'a Policy,
    caller: &ServiceId,
) -> Option<&'a ServiceEntry> {
    let (entry, _) = of_host(listener, policy, caller)?;
    let is_overruled = !listener.endpoints.is_empty() && entry.resolution != Resolution::None;
    is_overruled.then_some(entry)
}

fn of_host<'a>(
    listener: &Listener,
    policy: &'a Policy,
    caller: &ServiceId,
) -> Option<(&'a ServiceEntry, &'a HostName)> {
    let entries = policy.service_entries().iter();
    let visible = entries.filter(|entry| entry.is_visible_to(caller.namespace()));
    let mut hosts = visible.flat_map(|entry| entry.hosts.iter().map(move |host| (entry, host)));
    hosts.find(|(_, host)| {
        ServiceId::from_host(&host.to_string(), caller)
            .is_ok_and(|service| is_same(&service, &listener.edge.destination))
    })
}

fn endpoints(entry: &ServiceEntry, host: &HostName, listener: &Listener) -> Vec<Endpoint> {
    let Ok(port) = port(entry, listener) else { return Vec::new() };
    let number = |own: &[(Arc<str>, u16)]| match port {
        Some(port) => {
            let own = own.iter().find(|(name, _)| *name == port.name);
            own.map_or(port.target_port, |(_, number)| *number)
        }
        None => listener.port,
    };
    let named = |one: &ServiceEndpoint| Endpoint {
        address: address(&one.address, number(&one.ports), entry.resolution),
        labels: one
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    match entry.resolution {
        Resolution::None => Vec::new(),
        Resolution::Dns | Resolution::DnsRoundRobin if entry.endpoints.is_empty() => {
            let address = address(&host.to_string(), number(&[]), entry.resolution);
            vec![Endpoint { address, labels: BTreeMap::new() }]
        }
        Resolution::Static | Resolution::Dns | Resolution::DnsRoundRobin => {
            entry.endpoints.iter().map(named).collect()
        }
    }
}

/// The port of the entry that the listener's callers mean: the one with the number that its host
/// names; the first, if it names none and there is no port 80. `None`: the entry has no ports.
fn port<'a>(entry: &'a ServiceEntry, listener: &Listener) -> Result<Option<&'a ServicePort>, ()> {
    let is_said = listener.host.ends_with(&format!(":{}", listener.port));
    let Some(first) = entry.ports.first() else { return Ok(None) };
    let meant = entry.ports.iter().find(|port| port.number == listener.port);
    meant.or((!is_said).then_some(first)).map(Some).ok_or(())
}

/// As [`Endpoint::address`] has it: names are followed as `dns:` endpoints are, or asked for anew at
/// each connect, as `DNS_ROUND_ROBIN` wants it.
fn address(host: &str, port: u16, resolution: Resolution) -> String {
    match (host.parse::<IpAddr>(), resolution) {
        (Ok(ip), _) => SocketAddr::new(ip, port).to_string(),
        (Err(_), Resolution::Dns) => format!("dns:{host}:{port}"),
        (Err(_), _) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;

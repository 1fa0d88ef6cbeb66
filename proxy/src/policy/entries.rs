//! Hosts and endpoints that the policy names, in its `ServiceEntry`s: the endpoints for listeners that
//! were told none, and the hosts that listeners for all services lead to.

use super::plan::{Listener, as_named_by, is_same};
use crate::config::{Endpoint, PORT_DEFAULT};
use crate::directory::Network;
use fusebox_proto::policy::{
    Action, Destinations, HostName, Policy, Resolution, ServiceEndpoint, ServiceEntry, ServicePort,
};
use fusebox_proto::{Invalid, ServiceId, report};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Hosts of entries, each at each of its ports, and as many without endpoints; further ones are not
/// known, which is counted.
pub(crate) const HOSTS_MAX: usize = 512;

/// Endpoints of all these together, an endpoint counted for each host and port that it is of.
const NAMED_ENDPOINTS_MAX: usize = report::ENDPOINTS_MAX;

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

/// A host of an entry, at one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The service, as the caller would name it.
    pub(crate) service: ServiceId,
    /// With its port, as an authority.
    pub(crate) host: String,
    /// As clients dial it.
    pub(crate) port: u16,
    /// Whether clients speak TLS there.
    pub(crate) is_tls: bool,
    /// Virtual addresses.
    pub(crate) networks: Vec<Network>,
    /// Where it is.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Hosts of entries, as far as there is room.
#[derive(Debug, Default)]
pub(crate) struct NamedHosts {
    /// In the order of the documents.
    pub(crate) all: Vec<Named>,
    /// So many had no place, for themselves or for their endpoints.
    pub(crate) beyond: usize,
}

/// The hosts that a caller sees and whose endpoints an entry tells, each at each of its ports. (Of the
/// others, among them those with a `*`, are the [`unresolved`].) What `listeners` lead to already, and
/// what is not `wanted`, is left out.
pub(crate) fn named(
    policy: &Policy,
    caller: &ServiceId,
    listeners: &[Listener],
    wanted: impl Fn(&ServiceId) -> bool,
) -> NamedHosts {
    let (mut named, mut known) = (NamedHosts::default(), BTreeSet::new());
    let mut room = NAMED_ENDPOINTS_MAX;
    let entries = visible(policy, caller).filter(|entry| entry.resolution != Resolution::None);
    let hosts = entries.flat_map(|entry| entry.hosts.iter().map(move |host| (entry, host)));
    for (entry, host) in hosts.filter(|(_, host)| !host.is_wildcard()) {
        let Ok(service) = service(caller, &authority(host, None)) else {
            named.beyond += 1;
            continue;
        };
        if !wanted(&service) {
            continue;
        }
        for port in ports(entry) {
            let number = number(port);
            let is_led_to = listeners.iter().any(|listener| {
                is_same(&listener.edge.destination, &service)
                    // The command line wins.
                    && (listener.port == number || !listener.endpoints.is_empty())
            });
            if is_led_to || known.contains(&(service.clone(), number)) {
                continue;
            }
            let len = entry.endpoints.len().max(1);
            if HOSTS_MAX <= named.all.len() || room < len {
                named.beyond += 1;
                continue;
            }
            room -= len;
            known.insert((service.clone(), number));
            named.all.push(Named::new(entry, host, service.clone(), port));
        }
    }
    named
}

/// Each port of `entry`; `None`: it has none, and so HTTP's.
fn ports(entry: &ServiceEntry) -> impl Iterator<Item = Option<&ServicePort>> {
    entry.ports.iter().map(Some).chain(entry.ports.is_empty().then_some(None))
}

fn number(port: Option<&ServicePort>) -> u16 {
    port.map_or(PORT_DEFAULT, |port| port.number)
}

impl Named {
    fn new(
        entry: &ServiceEntry,
        host: &HostName,
        service: ServiceId,
        port: Option<&ServicePort>,
    ) -> Self {
        let number = number(port);
        Self {
            service,
            host: authority(host, Some(number)),
            port: number,
            is_tls: port.is_some_and(|port| matches!(&*port.protocol, "TLS" | "HTTPS")),
            networks: entry.addresses.iter().filter_map(|it| Network::parse(it)).collect(),
            endpoints: listed(entry, host, port, number),
        }
    }
}

/// A host whose endpoints no entry tells: connections go on to where they were going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// The service, as the caller would name it; its name has a `*` where the host has.
    pub(crate) service: ServiceId,
    /// What hosts end with that a `*` stands for.
    suffix: Option<String>,
    /// As clients dial them; empty: any.
    ports: Vec<u16>,
}

impl Unresolved {
    /// Whether it is, or stands for, `host`, which is that of `service`, at `port`.
    pub(crate) fn means(&self, host: &str, service: &ServiceId, port: u16) -> bool {
        let is_host = match &self.suffix {
            Some(suffix) => host.ends_with(&**suffix) && suffix.len() < host.len(),
            None => self.service == *service,
        };
        is_host && (self.ports.is_empty() || self.ports.contains(&port))
    }
}

/// The hosts that a caller sees of entries with resolution `NONE`, the narrowest first.
pub(crate) fn unresolved(policy: &Policy, caller: &ServiceId) -> Vec<Unresolved> {
    let entries = visible(policy, caller).filter(|entry| entry.resolution == Resolution::None);
    let hosts = entries.flat_map(|entry| entry.hosts.iter().map(move |host| (entry, host)));
    let mut all: Vec<_> = hosts
        .filter_map(|(entry, host)| {
            let text = authority(host, None);
            Some(Unresolved {
                service: service(caller, &text).ok()?,
                suffix: text.strip_prefix('*').map(str::to_owned),
                ports: entry.ports.iter().map(|port| port.number).collect(),
            })
        })
        .collect();
    all.sort_by_key(|one| one.suffix.as_ref().map(|suffix| std::cmp::Reverse(suffix.len())));
    all
}

/// Services that routes of the policy lead to, as the caller would name them.
pub(crate) fn routed_to(policy: &Policy, caller: &ServiceId) -> BTreeSet<ServiceId> {
    let hosts = policy.routed_hosts().map(ToString::to_string);
    let routes = hosts.filter_map(|host| policy.routes(caller.namespace(), &host));
    let destinations = routes.flat_map(|routes| {
        let http = routes.http.iter().flat_map(|rule| {
            let forwarded = match &rule.action {
                Action::Forward(destinations) => Some(destinations),
                Action::Redirect(_) | Action::Respond(_) => None,
            };
            let forwarded = forwarded.into_iter().flat_map(Destinations::iter);
            let copied = rule.mirrors.iter().map(|mirror| &mirror.destination);
            forwarded.map(|one| &one.destination).chain(copied)
        });
        let sessions = routes.tls.iter().chain(&routes.tcp);
        http.chain(sessions.flat_map(|rule| rule.destinations.iter().map(|one| &one.destination)))
    });
    destinations.filter_map(|one| service(caller, &one.host).ok()).collect()
}

/// The service behind `host`, as `caller` would name it.
fn service(caller: &ServiceId, host: &str) -> Result<ServiceId, Invalid> {
    Ok(as_named_by(caller, ServiceId::from_host(host, caller)?))
}

/// `api.example.com:443`, `[fd00::1]:443`.
fn authority(host: &HostName, port: Option<u16>) -> String {
    let host = host.to_string();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    port.map_or(host.clone(), |port| format!("{host}:{port}"))
}

fn visible<'a>(
    policy: &'a Policy,
    caller: &'a ServiceId,
) -> impl Iterator<Item = &'a ServiceEntry> {
    let entries = policy.service_entries().iter();
    entries.filter(|entry| entry.is_visible_to(caller.namespace()))
}

/// The entry whose endpoints do not count because the command line names some.
pub(crate) fn overruled<'a>(
    listener: &Listener,
    policy: &'a Policy,
    caller: &'a ServiceId,
) -> Option<&'a ServiceEntry> {
    let (entry, _) = of_host(listener, policy, caller)?;
    let is_overruled = !listener.endpoints.is_empty() && entry.resolution != Resolution::None;
    is_overruled.then_some(entry)
}

fn of_host<'a>(
    listener: &Listener,
    policy: &'a Policy,
    caller: &'a ServiceId,
) -> Option<(&'a ServiceEntry, &'a HostName)> {
    let hosts = || {
        let all = visible(policy, caller);
        let all = all.flat_map(|entry| entry.hosts.iter().map(move |host| (entry, host)));
        all.filter(|(_, host)| {
            ServiceId::from_host(&authority(host, None), caller)
                .is_ok_and(|service| is_same(&service, &listener.edge.destination))
        })
    };
    // Two entries of a host may have different ports.
    hosts().find(|(entry, _)| port(entry, listener).is_ok()).or_else(|| hosts().next())
}

fn endpoints(entry: &ServiceEntry, host: &HostName, listener: &Listener) -> Vec<Endpoint> {
    let port = port(entry, listener);
    port.map_or_else(|()| Vec::new(), |port| listed(entry, host, port, listener.port))
}

/// Those of `host` at `port`; where the entry has none, at the port that the caller meant.
fn listed(
    entry: &ServiceEntry,
    host: &HostName,
    port: Option<&ServicePort>,
    meant: u16,
) -> Vec<Endpoint> {
    let number = |own: &[(Arc<str>, u16)]| match port {
        Some(port) => {
            let own = own.iter().find(|(name, _)| *name == port.name);
            own.map_or(port.target_port, |(_, number)| *number)
        }
        None => meant,
    };
    let named = |one: &ServiceEndpoint| Endpoint {
        address: address(&one.address, number(&one.ports), entry.resolution),
        labels: one
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        weight: one.weight,
    };
    match entry.resolution {
        Resolution::None => Vec::new(),
        Resolution::Dns | Resolution::DnsRoundRobin if entry.endpoints.is_empty() => {
            let address = address(&host.to_string(), number(&[]), entry.resolution);
            vec![Endpoint { address, labels: BTreeMap::new(), weight: 1 }]
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

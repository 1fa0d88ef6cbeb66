//! What an ingress gateway serves: which ports, as the installation and `Gateway`s say, and which
//! hosts there, as the routes do that are bound to it.
//!
//! A route is bound by name: to a `Gateway`, whose servers then say at which ports and for which
//! hosts, or to an ingress gateway of the installation itself, which serves it at all its ports. A
//! route for traffic between services only is seen at no gateway, and a gateway sees nothing else.

use super::Policy;
use super::host::{HostName, HostTable, by_caller};
use super::http_match::Scope;
use super::http_route::Precedence;
use super::http_rule::ScopedRule;
use super::install::{Gateway, GatewayServer, IngressPort};
use super::route::{HttpRule, Routes};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A port of an ingress gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct IngressListener {
    /// As clients dial it, and as conditions of routes mean it.
    pub port: u16,
    /// As the gateway listens on it; the same where no installation says another.
    pub target_port: u16,
    /// `http2`; empty where it has none.
    pub name: Arc<str>,
    /// The rules of each host; or why nothing is served.
    pub serves: Result<HostMap<Routes>, NotServed>,
}

/// Why nothing is served at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// It is for TLS.
    Tls,
    /// It is for something that is not HTTP: this.
    Protocol(Arc<str>),
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str(
                "opens no listener: it is for TLS, for which there is no certificate here, and \
                 plain text is not served in its place",
            ),
            Self::Protocol(other) => write!(
                f,
                "opens no listener: {other} is not served at an ingress; allowed are http, http2 \
                 and grpc",
            ),
        }
    }
}

/// Something for each host that a gateway serves, single ones and wildcards.
#[derive(Clone, Debug, PartialEq)]
pub struct HostMap<T>(HostTable<T>);

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self(HostTable::default())
    }
}

impl<T> HostMap<T> {
    /// What there is for `host`, an authority; its port does not matter, the most specific host
    /// wins.
    pub fn get(&self, host: &str) -> Option<&T> {
        self.0.get("", host)
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.0.hosts()
    }

    /// The same hosts, with what `make` makes of each.
    pub fn map<U>(&self, make: impl FnMut(&T) -> U) -> HostMap<U> {
        HostMap(self.0.map(make))
    }
}

/// A document whose rules are bound to gateways.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    /// Where it is written.
    pub(super) object: Arc<str>,
    /// Its namespace; empty where it has none.
    pub(super) namespace: Arc<str>,
    /// As it names them.
    pub(super) hosts: Vec<HostName>,
    /// Gateways, as `namespace/name`, perhaps with `mesh` among them.
    pub(super) scope: Scope,
    pub(super) rules: BoundRules,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum BoundRules {
    /// Of a `VirtualService`, in its order.
    Service(Vec<ScopedRule>),
    /// Of an `HTTPRoute`: the most specific goes first, over all documents.
    Route(Vec<(Precedence, Arc<HttpRule>)>),
}

/// One of the two ways in which a gateway serves a port.
enum Server<'p> {
    /// By a server of a `Gateway`.
    Of(&'p Gateway, &'p GatewayServer),
    /// By the installation, for routes that name the ingress gateway of this name itself.
    Installed(&'p str),
}

impl Policy {
    /// What the ingress gateway `name` serves, in order of its ports. `labels` are the proxy's own,
    /// beside those that Istio gives to every ingress gateway. Empty: nothing describes one that it
    /// could be.
    pub fn ingress(&self, name: &str, labels: &BTreeMap<String, String>) -> Vec<IngressListener> {
        let installed = self.install.iter().flat_map(|install| &install.ingress_gateways);
        let installed = installed.into_iter().find(|gateway| *gateway.name == *name);
        let mut own =
            BTreeMap::from([("app", name), ("istio", name.strip_prefix("istio-").unwrap_or(name))]);
        let said = installed.iter().flat_map(|gateway| &gateway.labels);
        own.extend(said.map(|(key, value)| (&**key, &**value)));
        own.extend(labels.iter().map(|(key, value)| (&**key, &**value)));
        let mut ports: BTreeMap<u16, (IngressPort, Vec<Server<'_>>)> = BTreeMap::new();
        for port in installed.iter().flat_map(|gateway| &gateway.ports) {
            ports.entry(port.port).or_insert_with(|| (port.clone(), Vec::new()));
        }
        let selects = |gateway: &&Gateway| {
            let mut selector = gateway.selector.iter();
            selector.all(|(key, value)| own.get(&**key) == Some(&&**value))
        };
        for gateway in self.gateways.iter().filter(selects) {
            for server in &gateway.servers {
                let of = IngressPort {
                    port: server.port,
                    target_port: server.port,
                    name: Arc::default(),
                };
                let (_, servers) = ports.entry(server.port).or_insert_with(|| (of, Vec::new()));
                servers.push(Server::Of(gateway, server));
            }
        }
        let listener = |(port, servers): (IngressPort, Vec<Server<'_>>)| IngressListener {
            serves: self.serves(name, &port, servers),
            port: port.port,
            target_port: port.target_port,
            name: port.name,
        };
        ports.into_values().map(listener).collect()
    }

    fn serves<'p>(
        &'p self,
        name: &'p str,
        port: &IngressPort,
        mut servers: Vec<Server<'p>>,
    ) -> Result<HostMap<Routes>, NotServed> {
        if servers.is_empty() {
            port.speaks()?;
        } else {
            let mut first = None;
            servers.retain(|server| {
                let Server::Of(_, server) = server else { return true };
                let why = speaks(&server.protocol, server.port).err();
                let is_served = why.is_none();
                first = first.take().or(why);
                is_served
            });
            if servers.is_empty() {
                return Err(first.unwrap_or(NotServed::Tls));
            }
        }
        servers.push(Server::Installed(name));
        Ok(self.routes_at(&servers))
    }

    fn routes_at(&self, servers: &[Server<'_>]) -> HostMap<Routes> {
        let mut hosts: BTreeMap<HostName, Vec<(&Bound, BTreeSet<&str>)>> = BTreeMap::new();
        for bound in &self.bound {
            let mut own: BTreeMap<HostName, BTreeSet<&str>> = BTreeMap::new();
            for gateway in bound.scope.gateways() {
                for server in servers.iter().filter(|server| self.is(server, gateway)) {
                    for host in server.hosts(bound) {
                        own.entry(host).or_default().insert(gateway);
                    }
                }
            }
            for (host, gateways) in own {
                hosts.entry(host).or_default().push((bound, gateways));
            }
        }
        let mut table = HostTable::default();
        for (host, all) in hosts {
            let routes = Arc::new(joined(&all));
            let everybody = BTreeSet::new();
            table.insert(by_caller(&host, &everybody, |_| (), |()| Some(Arc::clone(&routes))));
        }
        HostMap(table)
    }

    /// Whether a route that names `gateway` means this server.
    fn is(&self, server: &Server<'_>, gateway: &str) -> bool {
        match server {
            Server::Of(of, _) => *of.name == *gateway,
            Server::Installed(name) => {
                bare(gateway) == *name && !self.gateways.iter().any(|of| *of.name == *gateway)
            }
        }
    }

    /// Whether a gateway of this name is described by any document.
    pub(super) fn knows_gateway(&self, gateway: &str) -> bool {
        let mut installed = self.install.iter().flat_map(|install| &install.ingress_gateways);
        self.gateways.iter().any(|known| *known.name == *gateway)
            || installed.any(|known| *known.name == *bare(gateway))
    }

    /// Whether the gateway of this name takes requests for `host`, or for a part of it, to a route of
    /// this namespace. One that only an installation describes takes all.
    pub(super) fn takes(&self, gateway: &str, namespace: &str, host: &HostName) -> bool {
        let mut known = self.gateways.iter().filter(|known| *known.name == *gateway).peekable();
        let takes = |known: &Gateway| {
            let mut served = known.servers.iter().flat_map(|server| server.hosts_for(namespace));
            served.any(|own| own.narrower(host).is_some())
        };
        known.peek().is_none() || known.any(takes)
    }
}

impl GatewayServer {
    /// The hosts that it serves for routes of this namespace.
    fn hosts_for(&self, namespace: &str) -> impl Iterator<Item = &HostName> {
        let is_allowed =
            move |of: &Option<Arc<str>>| of.as_ref().is_none_or(|of| **of == *namespace);
        self.hosts.iter().filter(move |host| is_allowed(&host.namespace)).map(|host| &host.host)
    }
}

/// Without its namespace.
fn bare(gateway: &str) -> &str {
    gateway.rsplit_once('/').map_or(gateway, |(_, name)| name)
}

impl Server<'_> {
    /// The hosts of `bound` that it serves; of two that overlap the narrower one.
    fn hosts(&self, bound: &Bound) -> Vec<HostName> {
        let Self::Of(_, server) = self else { return bound.hosts.clone() };
        let served = server.hosts_for(&bound.namespace);
        let both = served.flat_map(|host| bound.hosts.iter().filter_map(|own| own.narrower(host)));
        both.cloned().collect()
    }
}

impl IngressPort {
    /// Whether HTTP is served at it, going by its name, as Istio does; without a name by its number.
    pub(super) fn speaks(&self) -> Result<(), NotServed> {
        let protocol = self.name.split('-').next().unwrap_or_default();
        speaks(protocol, self.port)
    }
}

/// Whether it is HTTP that is served at a port.
pub(super) fn speaks(protocol: &str, port: u16) -> Result<(), NotServed> {
    match &*protocol.to_ascii_lowercase() {
        "" if port == 443 => Err(NotServed::Tls),
        "" | "http" | "http2" | "grpc" => Ok(()),
        "https" | "tls" => Err(NotServed::Tls),
        other => Err(NotServed::Protocol(other.into())),
    }
}

/// The rules of several documents for one host, each as its gateways see it: those of
/// `VirtualService`s in the order of the documents, then those of `HTTPRoute`s, by precedence.
fn joined(all: &[(&Bound, BTreeSet<&str>)]) -> Routes {
    let (mut http, mut routes, mut objects) = (Vec::new(), Vec::new(), Vec::new());
    let mut gateways: BTreeSet<&str> = BTreeSet::new();
    for (bound, own) in all {
        objects.push(&*bound.object);
        gateways.extend(own);
        match &bound.rules {
            BoundRules::Service(rules) => {
                let cut = |rule: &ScopedRule| rule.cut(|scope| own.iter().any(|it| scope.has(it)));
                http.extend(rules.iter().filter_map(cut).map(Arc::new));
            }
            BoundRules::Route(rules) => routes.push((bound, rules)),
        }
    }
    routes.sort_by_key(|(bound, _)| (&bound.namespace, &bound.object));
    let mut rules: Vec<_> = routes.into_iter().flat_map(|(_, rules)| rules).collect();
    rules.sort_by_key(|(precedence, _)| *precedence);
    http.extend(rules.into_iter().map(|(_, rule)| Arc::clone(rule)));
    Routes {
        object: objects.join(", ").into(),
        gateways: gateways.into_iter().map(Into::into).collect(),
        http,
        tls: Vec::new(),
        tcp: Vec::new(),
    }
}

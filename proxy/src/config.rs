//! What a proxy is told at its start: plain data, checked once.

pub mod ingress;
pub mod operation;

use crate::dns;
use crate::upgrade::Upgrades;
use fusebox_proto::policy::Document;
use fusebox_proto::{Edge, Invalid, ProxyId, ServiceId};
use ingress::Ingress;
use operation::Operation;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the admin port listens unless told otherwise.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15_000);

/// More workers than this are refused: a sidecar that needs more is not a sidecar.
pub const WORKERS_MAX: usize = 64;

/// More listeners than this, of both kinds together, are refused.
pub const LISTENERS_MAX: usize = 256;

/// More endpoints behind one listener than this are refused.
pub const ENDPOINTS_MAX: usize = 256;

/// The port of a host that is named without one.
pub(crate) const PORT_DEFAULT: u16 = 80;

/// Everything a proxy is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose sidecar it is.
    pub service: ServiceId,
    /// Which instance of the service; empty: the name of the machine and the admin port.
    pub instance: String,
    /// Control address of the collector, such as `http://127.0.0.1:4319`; without one the proxy
    /// works alone.
    pub collector: Option<String>,
    /// What opens the collector's door, where it asks for something.
    pub token: Option<Token>,
    /// Where `/metrics`, `/healthz`, `/breakers` and the others are served.
    pub admin: SocketAddr,
    /// Threads that serve traffic.
    pub workers: usize,
    /// Share of requests without a `traceparent` for which a trace is started, percent.
    pub trace_root_percent: f64,
    /// Whether listeners beyond loopback are allowed although nothing is encrypted.
    pub insecure: bool,
    /// Listeners in front of the own application.
    pub inbound: Vec<Inbound>,
    /// Listeners for calls of the own application.
    pub outbound: Vec<Outbound>,
    /// Protocols that a connection may be upgraded to, beside `websocket`.
    pub upgrades: Vec<String>,
    /// Listeners for calls to all services, of [`Self::outbound`] and of the policy's
    /// `ServiceEntry`s, told apart by `Host`.
    pub by_host: Vec<SocketAddr>,
    /// Whether connections are redirected to [`Self::by_host`]: what goes to an unknown service is
    /// passed on to where it was going.
    pub transparent: bool,
    /// The ingress gateway that it is, in front of the services of [`Self::outbound`].
    pub ingress: Option<Ingress>,
    /// Bounds of each endpoint's connection pool, where no policy says otherwise.
    pub limits: Limits,
    /// The policy of a proxy without a collector; that of a collector replaces it.
    pub policy: Vec<Document>,
    /// Where the last good policy of a collector is kept over a restart; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// How it is operated.
    pub operation: Operation,
}

impl Config {
    /// A proxy of `service` with no listeners yet, on ports that the system chooses.
    pub fn new(service: ServiceId) -> Self {
        Self {
            service,
            instance: String::new(),
            collector: None,
            token: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            workers: 1,
            trace_root_percent: 0.0,
            insecure: false,
            inbound: Vec::new(),
            outbound: Vec::new(),
            by_host: Vec::new(),
            transparent: false,
            ingress: None,
            upgrades: Vec::new(),
            limits: Limits::default(),
            policy: Vec::new(),
            state_dir: None,
            operation: Operation::default(),
        }
    }

    /// The id under which a collector knows this proxy: `service/instance`.
    ///
    /// # Errors
    /// If the two are longer together than an id may be.
    pub fn proxy_id(&self) -> Result<ProxyId, Invalid> {
        ProxyId::new(&format!("{}/{}", self.service, self.instance))
    }

    /// Whether a proxy can be started with this.
    ///
    /// # Errors
    /// The first field that is not allowed, and what is.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.ingress.is_some() && self.outbound.is_empty() {
            let reason = "needs services to lead to; add --outbound LISTEN=HOST[@ENDPOINT]";
            return Err(Invalid::new("--ingress", reason));
        }
        let listeners = self.inbound.len() + self.outbound.len() + self.by_host.len();
        if listeners == 0 {
            return Err(Invalid::new("--inbound, --outbound", "at least one of them is needed"));
        }
        if LISTENERS_MAX < listeners {
            let reason = format!("{listeners} listeners; at most {LISTENERS_MAX}");
            return Err(Invalid::new("--inbound, --outbound", reason));
        }
        if self.transparent && self.by_host.is_empty() {
            let reason = "needs a listener to redirect to; add --outbound LISTEN";
            return Err(Invalid::new("--transparent", reason));
        }
        let is_told = self.transparent
            || !self.outbound.is_empty()
            || self.collector.is_some()
            || !self.policy.is_empty();
        if !is_told && !self.by_host.is_empty() {
            let reason = "a listener for all services needs services; add --outbound \
                          LISTEN=HOST@ENDPOINT, a policy that names some (--collector, --config), \
                          or --transparent";
            return Err(Invalid::new("--outbound", reason));
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            let reason = format!("{} is not 1 to {WORKERS_MAX}", self.workers);
            return Err(Invalid::new("--workers", reason));
        }
        if !(0.0..=100.0).contains(&self.trace_root_percent) {
            let reason = format!("{} is not 0 to 100", self.trace_root_percent);
            return Err(Invalid::new("--trace-root", reason));
        }
        Upgrades::new(&self.upgrades)?;
        self.proxy_id()?;
        self.check_exposure()
    }

    /// Where everything listens.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        let inbound = self.inbound.iter().map(|inbound| inbound.listen);
        let outbound = self.outbound.iter().map(|outbound| outbound.listen);
        let by_host = self.by_host.iter().copied();
        std::iter::once(self.admin).chain(inbound).chain(outbound).chain(by_host)
    }

    /// Nothing here is encrypted, so only the own machine may connect unless someone said
    /// `--insecure`.
    fn check_exposure(&self) -> Result<(), Invalid> {
        let admin = std::iter::once(("--admin", self.admin));
        let inbound = self.inbound.iter().map(|inbound| ("--inbound", inbound.listen));
        let outbound = self.outbound.iter().map(|outbound| ("--outbound", outbound.listen));
        let by_host = self.by_host.iter().map(|&listen| ("--outbound", listen));
        let outbound = outbound.chain(by_host);
        let exposed =
            admin.chain(inbound).chain(outbound).find(|(_, listen)| !listen.ip().is_loopback());
        match exposed {
            Some((flag, listen)) if !self.insecure => Err(Invalid::new(
                flag,
                format!(
                    "{listen} is reachable from other machines without encryption; use a loopback \
                     address such as 127.0.0.1:{}, or add --insecure",
                    listen.port()
                ),
            )),
            _ if self.insecure => Ok(()),
            _ => self.ingress.as_ref().map_or(Ok(()), Ingress::check_exposure),
        }
    }
}

/// The secret that a collector may ask for. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Reads it from a file: one word of printable ASCII, a final line break apart.
    ///
    /// # Errors
    /// If the file cannot be read or holds no such word.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let token = text.trim_end_matches(['\r', '\n']);
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds no token, which is one word of printable ASCII".into());
        }
        Ok(Self(token.to_owned()))
    }

    /// The word.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A listener in front of the own application: `LISTEN=APP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Where callers connect; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where the application listens.
    pub app: Endpoint,
}

/// A listener for calls to one service: `LISTEN=HOST[@ENDPOINT[,ENDPOINT]...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Where the own application connects; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The called service, as its callers name it.
    pub host: String,
    /// Instances of that service; none: those that a `ServiceEntry` of the policy names.
    pub endpoints: Vec<Endpoint>,
}

impl Outbound {
    /// The edge that this listener's traffic belongs to, from `source`.
    ///
    /// # Errors
    /// If the host is no name of a service.
    pub fn edge(&self, source: &ServiceId) -> Result<Edge, Invalid> {
        Ok(Edge::new(source.clone(), ServiceId::from_host(&self.host, source)?))
    }

    /// The port that callers of this host mean, as rules and settings of ports see it.
    pub fn port(&self) -> u16 {
        let port = self.host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.unwrap_or(PORT_DEFAULT)
    }
}

/// One instance of a service, or those that a name stands for: `[dns:]HOST:PORT` or `srv:NAME`, each
/// with `[;LABEL=VALUE]...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, whose name is resolved at each connect; or what is looked up again and again, and
    /// all its addresses are endpoints: `dns:name:port`, or `srv:name` by `SRV` records.
    pub address: String,
    /// What the operator says about it, such as `version=v2`.
    pub labels: BTreeMap<String, String>,
    /// Its part of the traffic, beside those of the others; at least 1. All addresses of a name have
    /// it.
    pub weight: u32,
}

impl Endpoint {
    /// What is looked up again and again: `name:port` of `dns:name:port`, or `srv:name`. (`dns:53` is a
    /// host named `dns`, and `srv:53` one named `srv`.)
    pub fn followed(&self) -> Option<&str> {
        let host = self.address.strip_prefix("dns:").filter(|name| name.contains(':'));
        host.or_else(|| dns::service_name(&self.address).map(|_| &*self.address))
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.to_string(), labels: BTreeMap::new(), weight: 1 }
    }
}

/// As it is written on the command line.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        self.labels.iter().try_for_each(|(label, value)| write!(f, ";{label}={value}"))
    }
}

/// Bounds of one endpoint's pool, over all workers, and how HTTP/1 is written on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to one endpoint, those being opened included.
    pub connections_max: usize,
    /// HTTP/1 requests that wait for a connection to one endpoint; a further one is refused with
    /// `pending-overflow`.
    pub pending_max: usize,
    /// HTTP/2 requests at once on one endpoint; a further one is refused with
    /// `connection-overflow`.
    pub streams_max: usize,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// Names of HTTP/1 headers are written in the letters in which they came, in both directions.
    pub preserve_header_case: bool,
}

impl Default for Limits {
    /// Istio's default of 2^32 limits nothing, Envoy's of 1,024 is what people run with. One
    /// application does not usefully keep a thousand calls open to one instance of a service; and
    /// 1,024 connections of at most 2 × 64 KiB of buffers keep a sidecar's memory bounded.
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            // As many again may wait: at the fifty requests a second and connection that a 20 ms
            // service answers, a full queue is 20 ms deep.
            pending_max: 1_024,
            // Streams cost a tenth of a connection.
            streams_max: 10_240,
            connect_timeout: Duration::from_secs(5),
            preserve_header_case: false,
        }
    }
}

//! `ServiceEntry`: a host that no registry knows, with its ports and endpoints.

use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::host::{HostName, standing_in};
use super::scope::{Export, host, labels};
use super::sink::Sink;
use std::net::IpAddr;
use std::sync::Arc;

/// Endpoints of one entry.
const ENDPOINTS_MAX: usize = 1_024;
/// Ports of one entry.
const PORTS_MAX: usize = 64;

/// A host that a `ServiceEntry` adds.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEntry {
    /// `ServiceEntry/shop/payment-provider`: where it is written.
    pub object: Arc<str>,
    /// Its hosts.
    pub hosts: Vec<HostName>,
    /// Virtual addresses, or networks (`10.0.0.0/8`), that mean it.
    pub addresses: Vec<Arc<str>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Outside of the mesh: no mTLS with it.
    pub is_external: bool,
    /// Where its endpoints come from.
    pub resolution: Resolution,
    /// Listed endpoints.
    pub endpoints: Vec<ServiceEndpoint>,
    pub(super) export: Export,
}

impl ServiceEntry {
    /// Whether callers of this namespace know it.
    pub fn is_visible_to(&self, caller_namespace: &str) -> bool {
        self.export.is_visible_to(Some(standing_in(caller_namespace)))
    }
}

/// A port of a [`ServiceEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// As clients dial it.
    pub number: u16,
    /// `HTTP`, `GRPC`, `TCP` and so on, upper case; empty: not said.
    pub protocol: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// As endpoints listen on it.
    pub target_port: u16,
}

/// Where endpoints come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// `NONE`: the address that the client dialled.
    #[default]
    None,
    /// `STATIC`: the listed endpoints.
    Static,
    /// `DNS`: all addresses of the listed endpoints' names, else of the host.
    Dns,
    /// `DNS_ROUND_ROBIN`: the first address of each answer.
    DnsRoundRobin,
}

/// A listed endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// An address; with DNS also a name.
    pub address: Arc<str>,
    /// Its own port for a port of the entry, by that one's name.
    pub ports: Vec<(Arc<str>, u16)>,
    /// What subsets select by.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Its part of the traffic, beside those of the others: at least 1, which it is where none is
    /// named.
    pub weight: u32,
}

/// Reads one; `None` if it has no host.
pub(super) fn read(document: &Document, sink: &Sink) -> Option<ServiceEntry> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let hosts_at = spec.required("hosts");
    let hosts: Vec<HostName> = (hosts_at.iter().flat_map(At::items))
        .filter_map(|at| host(&at, document.namespace()))
        .collect();
    let resolutions = [
        ("NONE", Some(Resolution::None)),
        ("STATIC", Some(Resolution::Static)),
        ("DNS", Some(Resolution::Dns)),
        ("DNS_ROUND_ROBIN", Some(Resolution::DnsRoundRobin)),
        ("DYNAMIC_DNS", None),
    ];
    let resolution = spec.choice("resolution", &resolutions);
    if resolution == Some(None) {
        spec.at().warn("has resolution DYNAMIC_DNS, which is not supported: DNS is taken");
    }
    let resolution = resolution.map(|known| known.unwrap_or(Resolution::Dns)).unwrap_or_default();
    if hosts.iter().any(HostName::is_wildcard) && resolution != Resolution::None {
        spec.at().error("has a host with * and a resolution; allowed is NONE");
    }
    if resolution == Resolution::None {
        spec.at().warn(
            "has resolution NONE, under which connections go where they were going: here only \
             those that a proxy with --transparent sees do",
        );
    }
    let locations = [("MESH_EXTERNAL", true), ("MESH_INTERNAL", false)];
    let entry = ServiceEntry {
        object: document.to_string().into(),
        addresses: spec.get("addresses").iter().flat_map(At::items).filter_map(address).collect(),
        ports: ports(&spec),
        is_external: spec.choice("location", &locations).unwrap_or(true),
        resolution,
        endpoints: endpoints(&spec, resolution),
        export: Export::read(&spec, document.namespace()),
        hosts,
    };
    if resolution == Resolution::Static
        && entry.endpoints.is_empty()
        && !spec.has("workloadSelector")
    {
        spec.at().error("has resolution STATIC and no endpoints; at least one is required");
    }
    let is_named = !entry.hosts.is_empty();
    if let Some(at) = hosts_at.filter(|at| !is_named && at.items().next().is_none()) {
        at.error("has no host; at least one is required");
    }
    spec.finish(&["subjectAltNames", "workloadSelector"]);
    is_named.then_some(entry)
}

/// An address, or a network.
fn address(at: At<'_>) -> Option<Arc<str>> {
    let text = at.text()?;
    let (address, bits) = text.split_once('/').unwrap_or((text, "0"));
    let bits_max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => 0,
    };
    if bits_max == 0 || !bits.parse::<u8>().is_ok_and(|bits| bits <= bits_max) {
        at.error(format!("is {text}; allowed is an address, or a network as in 10.0.0.0/8"));
        return None;
    }
    Some(text.into())
}

fn ports(spec: &Fields<'_>) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::new();
    let Some(at) = spec.get("ports") else { return ports };
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let number = fields.required("number").and_then(|at| at.port());
        let name = fields.required("name").and_then(|at| at.name());
        let protocol = fields.text("protocol").map(str::to_ascii_uppercase).unwrap_or_default();
        let target = fields.get("targetPort").and_then(|at| at.port());
        fields.finish(&[]);
        if !protocol.is_empty() && !PROTOCOLS.contains(&&*protocol) {
            at.error(format!("has protocol {protocol}; allowed are {}", PROTOCOLS.join(", ")));
        }
        let (Some(number), Some(name)) = (number, name) else { continue };
        if ports.iter().any(|other| other.number == number || other.name == name) {
            at.error(format!("is the second port {number} or {name}"));
            continue;
        }
        let target_port = target.unwrap_or(number);
        ports.push(ServicePort { number, protocol: protocol.into(), name, target_port });
    }
    if PORTS_MAX < ports.len() {
        at.error(format!("has {} ports; at most {PORTS_MAX}", ports.len()));
    }
    ports
}

const PROTOCOLS: [&str; 10] =
    ["HTTP", "HTTPS", "GRPC", "GRPC-WEB", "HTTP2", "MONGO", "MYSQL", "REDIS", "TCP", "TLS"];

fn endpoints(spec: &Fields<'_>, resolution: Resolution) -> Vec<ServiceEndpoint> {
    let mut endpoints = Vec::new();
    let Some(at) = spec.get("endpoints") else { return endpoints };
    if resolution == Resolution::None {
        at.error("has no meaning with resolution NONE; allowed are STATIC and DNS");
    }
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let address_at = fields.required("address");
        let address = address_at.as_ref().and_then(At::text);
        if let (Some(at), Some(text), Resolution::Static) = (&address_at, address, resolution)
            && text.parse::<IpAddr>().is_err()
        {
            at.error(format!("is {text}; allowed with resolution STATIC is an address"));
        } else if let (Some(at), Some(text)) = (&address_at, address)
            && !HostName::parse(text, "").is_ok_and(|host| !host.is_wildcard())
        {
            at.error(format!("is {text}; allowed are an address and a name"));
        }
        let own = (fields.get("ports").iter().flat_map(At::entries))
            .filter_map(|(name, at)| Some((name.into(), at.port()?)))
            .collect();
        let endpoint = address.map(|address| ServiceEndpoint {
            address: address.into(),
            ports: own,
            labels: fields.get("labels").map(|at| labels(&at)).unwrap_or_default(),
            weight: match fields.uint("weight", 0..=i32::MAX as u32) {
                Some(0) => {
                    fields.at().warn("has weight 0, which as in Istio is not set, and so is 1");
                    1
                }
                weight => weight.unwrap_or(1),
            },
        });
        endpoints.extend(endpoint);
        fields.finish(&["locality", "network", "serviceAccount"]);
    }
    if ENDPOINTS_MAX < endpoints.len() {
        at.error(format!("has {} endpoints; at most {ENDPOINTS_MAX}", endpoints.len()));
    }
    endpoints
}

//! Documents about the mesh itself: `IstioOperator`, `PeerAuthentication`, `Gateway`. They are
//! parsed and kept for those who act on them: identity, ingress, manifests.

use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::host::HostName;
use super::http_match::gateway as gateway_name;
use super::ingress::speaks;
use super::scope::labels;
use super::sink::Sink;
use std::sync::Arc;

/// Ports of one gateway, and servers of one `Gateway`.
const PORTS_MAX: usize = 64;

/// What an `IstioOperator` says that means something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// `values.global.proxy.resources`.
    pub proxy_resources: Resources,
    /// `components.ingressGateways[]` that are enabled.
    pub ingress_gateways: Vec<IngressGateway>,
}

/// Kubernetes quantities, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `requests.cpu`.
    pub cpu_request: Option<Arc<str>>,
    /// `requests.memory`.
    pub memory_request: Option<Arc<str>>,
    /// `limits.cpu`.
    pub cpu_limit: Option<Arc<str>>,
    /// `limits.memory`.
    pub memory_limit: Option<Arc<str>>,
}

/// An ingress gateway of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressGateway {
    /// Its name.
    pub name: Arc<str>,
    /// `label`, beside those that Istio gives to every ingress gateway.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// `k8s.service.ports[]`.
    pub ports: Vec<IngressPort>,
}

/// A port of an ingress gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPort {
    /// As clients dial it.
    pub port: u16,
    /// As the proxy listens on it.
    pub target_port: u16,
    /// `http2`, `https`.
    pub name: Arc<str>,
}

/// Reads an `IstioOperator`. Most of it is about parts that Fusebox does not have: a note each.
pub(super) fn istio_operator(document: &Document, sink: &Sink) -> Option<Install> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let mut install = Install::default();
    if let Some(components) = spec.object("components") {
        for at in components.get("ingressGateways").iter().flat_map(At::items) {
            install.ingress_gateways.extend(at.object().and_then(ingress_gateway));
        }
        components.finish_with_notes();
    }
    if let Some(values) = spec.object("values") {
        if let Some(global) = values.object("global") {
            if let Some(proxy) = global.object("proxy") {
                install.proxy_resources =
                    proxy.object("resources").map(resources).unwrap_or_default();
                proxy.finish_with_notes();
            }
            global.finish_with_notes();
        }
        values.finish_with_notes();
    }
    spec.finish_with_notes();
    Some(install)
}

fn ingress_gateway(fields: Fields<'_>) -> Option<IngressGateway> {
    let name = fields.required("name").and_then(|at| at.name());
    let is_enabled = fields.boolean("enabled").unwrap_or(true);
    let labels = fields.get("label").map(|at| labels(&at)).unwrap_or_default();
    let mut ports: Vec<IngressPort> = Vec::new();
    if let Some(k8s) = fields.object("k8s") {
        if let Some(service) = k8s.object("service") {
            for at in service.get("ports").iter().flat_map(At::items) {
                let Some(port) = at.object().and_then(ingress_port) else { continue };
                if ports.iter().any(|other| other.port == port.port) {
                    at.warn(format!("has no effect: another one has port {}", port.port));
                    continue;
                }
                if let Err(why) = port.speaks() {
                    at.note(why.to_string());
                }
                ports.push(port);
            }
            if PORTS_MAX < ports.len() {
                service.at().error(format!("has {} ports; at most {PORTS_MAX}", ports.len()));
            }
            service.finish_with_notes();
        }
        k8s.finish_with_notes();
    }
    fields.finish_with_notes();
    name.filter(|_| is_enabled).map(|name| IngressGateway { name, labels, ports })
}

fn ingress_port(fields: Fields<'_>) -> Option<IngressPort> {
    let port = fields.required("port").and_then(|at| at.port());
    let target_port = fields.get("targetPort").and_then(|at| at.port()).or(port);
    let name = fields.get("name").and_then(|at| at.name());
    fields.finish_with_notes();
    Some(IngressPort { port: port?, target_port: target_port?, name: name.unwrap_or_default() })
}

fn resources(fields: Fields<'_>) -> Resources {
    let (cpu_request, memory_request) =
        fields.object("requests").map(quantities).unwrap_or_default();
    let (cpu_limit, memory_limit) = fields.object("limits").map(quantities).unwrap_or_default();
    fields.finish(&[]);
    Resources { cpu_request, memory_request, cpu_limit, memory_limit }
}

type Quantity = Option<Arc<str>>;

/// CPU and memory.
fn quantities(fields: Fields<'_>) -> (Quantity, Quantity) {
    let quantity = |name| {
        let at = fields.get(name)?;
        let text = at.text_or_number()?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[digits.len()..];
        let units = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"];
        if digits.parse::<f64>().is_ok_and(|number| 0.0 <= number) && units.contains(&unit) {
            return Some(text.into());
        }
        at.error(format!("is {text}; allowed is a quantity, as in 100m, 0.5, 128Mi"));
        None
    };
    let read = (quantity("cpu"), quantity("memory"));
    fields.finish_with_notes();
    read
}

/// Who must use mTLS: a `PeerAuthentication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// `PeerAuthentication/shop/default`: where it is written.
    pub object: Arc<str>,
    /// The namespace that it holds for; empty where it does not say.
    pub namespace: Arc<str>,
    /// Workloads with all of these labels; empty: the whole namespace.
    pub selector: Vec<(Arc<str>, Arc<str>)>,
    /// `None`: as the namespace or mesh around it has it, else permissive.
    pub mode: Option<PeerMode>,
    /// Of single ports.
    pub ports: Vec<(u16, Option<PeerMode>)>,
}

/// `mtls.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerMode {
    /// `DISABLE`: plain text.
    Disable,
    /// `PERMISSIVE`: mTLS and plain text.
    Permissive,
    /// `STRICT`: mTLS only.
    Strict,
}

/// Reads a `PeerAuthentication`.
pub(super) fn peer_authentication(document: &Document, sink: &Sink) -> Option<PeerAuthentication> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let selector = spec.object("selector").map(|fields| {
        let selector = fields.get("matchLabels").map(|at| labels(&at)).unwrap_or_default();
        fields.finish(&[]);
        selector
    });
    let mode = spec.object("mtls").and_then(mode);
    let mut ports = Vec::new();
    if let Some(at) = spec.get("portLevelMtls") {
        for (port, at) in at.entries() {
            match port.parse::<u16>().ok().filter(|&port| port != 0) {
                Some(port) => ports.push((port, at.object().and_then(self::mode))),
                None => at.error("is no port; allowed is 1 to 65535"),
            }
        }
        if selector.as_ref().is_none_or(Vec::is_empty) {
            at.error("needs a selector: which workload's ports are meant?");
        }
    }
    spec.finish(&[]);
    Some(PeerAuthentication {
        object: document.to_string().into(),
        namespace: document.namespace().into(),
        selector: selector.unwrap_or_default(),
        mode,
        ports,
    })
}

fn mode(fields: Fields<'_>) -> Option<PeerMode> {
    let modes = [
        ("UNSET", None),
        ("DISABLE", Some(PeerMode::Disable)),
        ("PERMISSIVE", Some(PeerMode::Permissive)),
        ("STRICT", Some(PeerMode::Strict)),
    ];
    let mode = fields.choice("mode", &modes).flatten();
    fields.finish(&[]);
    mode
}

/// An Istio `Gateway`: which hosts are served at which ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// `shop/entry`: as routes name it.
    pub name: Arc<str>,
    /// Which ingress proxies serve it.
    pub selector: Vec<(Arc<str>, Arc<str>)>,
    /// Its servers.
    pub servers: Vec<GatewayServer>,
}

/// A server of a [`Gateway`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayServer {
    /// The port.
    pub port: u16,
    /// `HTTP`, `HTTPS`, `TLS` and so on, upper case.
    pub protocol: Arc<str>,
    /// At least one.
    pub hosts: Vec<ServedHost>,
}

/// A host that a server of a [`Gateway`] serves: `*`, `shop.example.com`, `shop/*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedHost {
    /// Routes of this namespace only; `None`: of all.
    pub namespace: Option<Arc<str>>,
    /// The host, or several.
    pub host: HostName,
}

/// Reads a `Gateway`.
pub(super) fn gateway(document: &Document, sink: &Sink) -> Option<Gateway> {
    let root = At::root(&document.node, sink).object()?;
    let spec = root.object("spec")?;
    let selector = spec.get("selector").map(|at| labels(&at)).unwrap_or_default();
    let mut servers: Vec<GatewayServer> = Vec::new();
    for at in spec.required("servers").iter().flat_map(At::items) {
        servers.extend(at.object().and_then(|fields| server(fields, document.namespace())));
    }
    if PORTS_MAX < servers.len() {
        spec.at().error(format!("has {} servers; at most {PORTS_MAX}", servers.len()));
    }
    spec.finish(&[]);
    let name = gateway_name(document.name(), document.namespace());
    Some(Gateway { name, selector, servers })
}

fn server(fields: Fields<'_>, namespace: &str) -> Option<GatewayServer> {
    let mut protocol = String::new();
    let number = fields.required("port").and_then(|at| {
        let fields = at.object()?;
        protocol = fields.text("protocol").unwrap_or_default().to_ascii_uppercase();
        fields.get("name");
        let number = fields.required("number").and_then(|at| at.port());
        fields.finish(&["targetPort"]);
        if let Some(Err(why)) = number.map(|number| speaks(&protocol, number)) {
            at.warn(why.to_string());
        }
        number
    });
    let hosts = fields.required("hosts");
    let hosts: Vec<_> =
        hosts.iter().flat_map(At::items).filter_map(|at| served_host(&at, namespace)).collect();
    fields.get("name");
    fields.finish(&["bind", "defaultEndpoint", "tls"]);
    Some(GatewayServer { port: number?, protocol: protocol.into(), hosts })
}

/// `HOST`, `NAMESPACE/HOST`, `./HOST`, `*/HOST`.
fn served_host(at: &At<'_>, namespace: &str) -> Option<ServedHost> {
    let text = at.text()?;
    let (of, name) = text.split_once('/').map_or((None, text), |(of, name)| (Some(of), name));
    match HostName::parse(name, "") {
        Ok(host) => {
            let of = of.filter(|of| *of != "*");
            let namespace = of.map(|of| if of == "." { namespace } else { of }.into());
            Some(ServedHost { namespace, host })
        }
        Err(error) => {
            at.error(format!("{text} {}", error.reason));
            None
        }
    }
}

//! Who talks to whom: services, edges, proxies.

use crate::{Invalid, text};
use std::fmt;
use std::sync::Arc;

/// A name longer than this is refused.
pub const NAME_LEN_MAX: usize = 128;

/// A service: `environment/namespace/name`, after OpenTelemetry's `deployment.environment.name`,
/// `service.namespace` and `service.name`. Environment and namespace may be empty, the name never.
/// Two environments never merge. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    environment: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
}

impl ServiceId {
    /// A service from its three parts. Control, escape and bidi characters are made visible.
    ///
    /// # Errors
    /// If the name is empty or a part is longer than [`NAME_LEN_MAX`] bytes.
    pub fn new(environment: &str, namespace: &str, name: &str) -> Result<Self, Invalid> {
        Ok(Self {
            environment: part("environment", environment)?,
            namespace: part("namespace", namespace)?,
            name: {
                if name.trim().is_empty() {
                    return Err(Invalid::new("name", "is empty"));
                }
                part("name", name)?
            },
        })
    }

    /// A service of no environment and no namespace.
    ///
    /// # Errors
    /// As [`ServiceId::new`].
    pub fn named(name: &str) -> Result<Self, Invalid> {
        Self::new("", "", name)
    }

    /// The service behind a host that `caller` names: `inventory`, `inventory:8080`,
    /// `inventory.shop`, `inventory.shop.svc.cluster.local` (a Kubernetes name), or
    /// `namespace/name`. What the host does not say is taken from the caller.
    ///
    /// # Errors
    /// As [`ServiceId::new`].
    pub fn from_host(host: &str, caller: &Self) -> Result<Self, Invalid> {
        if let Some((namespace, name)) = host.split_once('/') {
            return Self::new(&caller.environment, namespace, name);
        }
        let (bare, _) = split_port(host);
        let (name, namespace) = service_host(bare);
        Self::new(&caller.environment, namespace.unwrap_or(&caller.namespace), name)
    }

    /// `deployment.environment.name`, or empty.
    pub fn environment(&self) -> &str {
        &self.environment
    }

    /// `service.namespace`, or empty.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `service.name`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Name and namespace of a Kubernetes host: `inventory.shop`, `inventory.shop.svc`,
/// `inventory.shop.svc.cluster.local`. Any other host (a short name, a domain, an address) is
/// all name.
///
/// `example.com` is a domain, `inventory.shop` a Kubernetes name: a two-label host is taken for
/// the former only where its last label is a common public one.
pub(crate) fn service_host(host: &str) -> (&str, Option<&str>) {
    const PUBLIC: [&str; 8] = ["com", "net", "org", "io", "dev", "local", "internal", "localhost"];
    let mut labels = host.splitn(4, '.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), None) if !PUBLIC.contains(&namespace) => {
            (name, Some(namespace))
        }
        (Some(name), Some(namespace), Some("svc")) => (name, Some(namespace)),
        _ => (host, None),
    }
}

/// Host and port of an authority; an IPv6 address keeps its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty()
                && port.bytes().all(|b| b.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

fn part(field: &str, value: &str) -> Result<Arc<str>, Invalid> {
    // As it is made visible: what passes here passes again at the next program on its way.
    let value = text::visible(value);
    if NAME_LEN_MAX < value.len() {
        let reason = format!("is {} bytes long; at most {NAME_LEN_MAX}", value.len());
        return Err(Invalid::new(field, reason));
    }
    Ok(value.into())
}

/// The whole name: `environment/namespace/name` without empty leading parts.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.environment.is_empty() {
            write!(f, "{}/{}/", self.environment, self.namespace)?;
        } else if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A call dependency: `source` calls `destination`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// Who calls.
    pub source: ServiceId,
    /// Who is called.
    pub destination: ServiceId,
}

impl Edge {
    /// The edge from `source` to `destination`.
    pub fn new(source: ServiceId, destination: ServiceId) -> Self {
        Self { source, destination }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.source, self.destination)
    }
}

/// One proxy process of one service instance: unique in a mesh, stable over its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyId(Arc<str>);

impl ProxyId {
    /// An id from untrusted text.
    ///
    /// # Errors
    /// If it is empty or longer than [`NAME_LEN_MAX`] bytes.
    pub fn new(id: &str) -> Result<Self, Invalid> {
        if id.is_empty() {
            return Err(Invalid::new("proxy_id", "is empty"));
        }
        Ok(Self(part("proxy_id", id)?))
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

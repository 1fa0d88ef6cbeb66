//! What a proxy is told that is an ingress gateway.

use fusebox_proto::Invalid;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The ingress gateway that a proxy is. Its ports come with the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Its name, as `ingressGateways[].name` of an `IstioOperator` has it, and as routes may name it.
    pub gateway: String,
    /// The address on which it listens.
    pub address: IpAddr,
    /// Ports, as clients of the gateway dial them, and where each listens instead of at its target
    /// port on [`Self::address`]; port 0 lets the system choose.
    pub ports: BTreeMap<u16, SocketAddr>,
}

impl Ingress {
    /// The gateway of this name, on loopback.
    pub fn new(gateway: &str) -> Self {
        Self {
            gateway: gateway.to_owned(),
            address: Ipv4Addr::LOCALHOST.into(),
            ports: BTreeMap::new(),
        }
    }

    /// As for all listeners: nothing is encrypted, so that strangers come in only where someone said
    /// so.
    pub(super) fn check_exposure(&self) -> Result<(), Invalid> {
        let refuse = |flag: &str, address: IpAddr| {
            let reason = format!(
                "{address} is reachable from other machines without encryption; use a loopback \
                 address such as 127.0.0.1, or add --insecure"
            );
            Err(Invalid::new(flag, reason))
        };
        if !self.address.is_loopback() {
            return refuse("--ingress-address", self.address);
        }
        match self.ports.values().find(|listen| !listen.ip().is_loopback()) {
            Some(listen) => refuse("--ingress-port", listen.ip()),
            None => Ok(()),
        }
    }
}

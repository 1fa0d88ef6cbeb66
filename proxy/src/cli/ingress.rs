//! Flags of a proxy that is an ingress gateway.

use super::listen;
use crate::config::ingress::Ingress;
use fusebox_proto::Invalid;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a proxy is told that is an ingress gateway.
#[derive(Debug, clap::Args)]
pub(super) struct IngressArgs {
    /// Be the ingress gateway of this name: open its ports as the policy describes them, and lead
    /// callers from outside to the services of --outbound, by the routes that are bound to it
    #[arg(long, value_name = "NAME", env = "FUSEBOX_INGRESS")]
    ingress: Option<String>,
    /// Where the gateway's ports listen
    #[arg(
        long,
        value_name = "IP",
        default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST),
        env = "FUSEBOX_INGRESS_ADDRESS"
    )]
    ingress_address: IpAddr,
    /// Where this port of the gateway listens, instead of at its target port, such as
    /// 80=127.0.0.1:18080
    #[arg(long = "ingress-port", value_name = "PORT=LISTEN", value_parser = port, value_delimiter = ' ', env = "FUSEBOX_INGRESS_PORT")]
    ingress_ports: Vec<(u16, SocketAddr)>,
}

impl IngressArgs {
    pub(super) fn ingress(self) -> Result<Option<Ingress>, Invalid> {
        let Some(gateway) = self.ingress else {
            if self.ingress_ports.is_empty() {
                return Ok(None);
            }
            return Err(Invalid::new("--ingress-port", "needs --ingress, which is not given"));
        };
        if gateway.is_empty() || gateway.contains('/') {
            let reason = format!("{gateway:?} is no name; allowed is one as istio-ingressgateway");
            return Err(Invalid::new("--ingress", reason));
        }
        let mut ports = BTreeMap::new();
        for (port, listen) in self.ingress_ports {
            if let Some(other) = ports.insert(port, listen) {
                let reason = format!("port {port} is given twice, once as {other}");
                return Err(Invalid::new("--ingress-port", reason));
            }
        }
        Ok(Some(Ingress { gateway, address: self.ingress_address, ports }))
    }
}

fn port(text: &str) -> Result<(u16, SocketAddr), String> {
    let wrong = || format!("{text:?} is no PORT=LISTEN such as 80=127.0.0.1:18080");
    let (port, at) = text.split_once('=').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if port == 0 { Err(wrong()) } else { Ok((port, listen(at)?)) }
}

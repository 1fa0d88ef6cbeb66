//! Endpoints whose addresses a name server knows: `dns:NAME:PORT`, or a `ServiceEntry` with DNS.
//!
//! Every few seconds each name is looked up anew, by the system's resolver. (It tells neither how
//! long its answer holds nor `SRV` records; a resolver of our own would be a dozen crates more.) All
//! addresses of a name are endpoints with its labels. Until the first answer the name itself is
//! connected to; a name server that fails or knows nothing any more changes nothing.

use crate::config::ENDPOINTS_MAX;
use crate::proxy::Proxy;
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often names are looked up.
const REFRESH: Duration = Duration::from_secs(5);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are looked up at once.
const LOOK_UPS_MAX: usize = 16;

/// Looks names up until `closing`.
pub(super) async fn run(proxy: Arc<Proxy>, closing: CancellationToken) {
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let names = proxy.dns_names();
        failures.retain(|name, _| names.contains(name));
        // A name server that is silent about one holds up the others of a few only.
        let looking = stream::iter(names.clone()).map(|name| async move {
            let found = look_up(&name).await;
            (name, found)
        });
        let mut looking = pin!(looking.buffer_unordered(LOOK_UPS_MAX));
        while let Some((name, found)) = looking.next().await {
            match found {
                Ok(addresses) => {
                    failures.remove(&name);
                    proxy.resolved(&name, &addresses);
                }
                // One line for each new state of affairs.
                Err(error) => {
                    if failures.insert(name.clone(), error.clone()).as_ref() != Some(&error) {
                        tracing::warn!("{name}: {error}; its endpoints stay");
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(REFRESH), if !names.is_empty() => (),
            () = proxy.names.notified() => (),
            () = closing.cancelled() => return,
        }
    }
}

async fn look_up(name: &str) -> Result<Vec<SocketAddr>, String> {
    let looked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(name)).await;
    let found = looked.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?;
    let mut addresses: Vec<_> = found.map_err(|error| error.to_string())?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ENDPOINTS_MAX);
    if addresses.is_empty() { Err("no addresses".into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Endpoint, Outbound};
    use crate::policy::InForce;
    use fusebox_proto::{Now, ServiceId};

    /// Scenario: a name between two addresses is looked up: not yet, with one answer, the same again,
    /// and another one; some of its endpoints are in use meanwhile.
    /// Guarantees: endpoints follow the answers, with the labels of the name; the same answer again
    /// changes nothing, and an endpoint that stays is the same one; what is not a name never changes.
    #[test]
    fn endpoints_follow_the_name_server() {
        let endpoint = |address: &str| Endpoint {
            address: address.into(),
            labels: BTreeMap::new(),
            weight: 1,
        };
        let mut config = Config::new(ServiceId::named("payment").unwrap());
        config.outbound.push(Outbound {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: "inventory".into(),
            endpoints: vec![endpoint("127.0.0.9:80"), endpoint("dns:inventory.local:8080")],
        });
        let proxy = Proxy::new(config, InForce::default(), Now::read()).unwrap();
        assert_eq!(proxy.dns_names(), ["inventory.local:8080".to_owned()].into());
        let pool = || proxy.edge_pools(&proxy.edges()[0]).remove(0);
        let check = |expected: &[&str]| {
            let pool = pool();
            let seen: Vec<_> =
                pool.endpoints().iter().map(|one| one.address().to_owned()).collect();
            assert_eq!(seen, expected);
        };
        check(&["127.0.0.9:80", "inventory.local:8080"]);
        let name = "inventory.local:8080";
        let addresses = |last: &[u8]| -> Vec<SocketAddr> {
            last.iter().map(|&last| SocketAddr::from(([127, 0, 0, last], 8080))).collect()
        };
        proxy.resolved(name, &addresses(&[2, 3]));
        check(&["127.0.0.9:80", "127.0.0.2:8080", "127.0.0.3:8080"]);
        let numbers = || pool().endpoints().iter().map(|one| one.id().0).collect::<Vec<_>>();
        assert_eq!(numbers(), [0, 2, 3]);
        proxy.resolved(name, &addresses(&[2, 3]));
        assert_eq!(numbers(), [0, 2, 3]);
        proxy.resolved(name, &addresses(&[3]));
        assert_eq!(numbers(), [0, 3]);
        check(&["127.0.0.9:80", "127.0.0.3:8080"]);
        proxy.resolved("stranger:80", &addresses(&[7]));
        check(&["127.0.0.9:80", "127.0.0.3:8080"]);
    }
}

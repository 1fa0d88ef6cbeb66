//! Which listeners an ingress is to have, and what is to be done about those that it has. Pure.

use crate::config::LISTENERS_MAX;
use crate::config::ingress::Ingress;
use fusebox_proto::policy::{HostMap, Policy, Routes};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// A port of the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Want {
    /// As clients dial it.
    pub(crate) port: u16,
    /// `http2`; empty where it has none.
    pub(crate) name: Arc<str>,
    /// Where it is to listen; or why it is to have no listener.
    pub(crate) listen: Result<SocketAddr, String>,
    /// The rules of its hosts.
    pub(crate) routes: HostMap<Routes>,
}

/// The ports that `policy` wants of this gateway, in their order.
pub(crate) fn wants(
    policy: &Policy,
    config: &Ingress,
    labels: &BTreeMap<String, String>,
) -> Vec<Want> {
    let mut taken: BTreeMap<SocketAddr, u16> = BTreeMap::new();
    let mut want = |listener: fusebox_proto::policy::IngressListener| {
        let port = listener.port;
        let target = SocketAddr::new(config.address, listener.target_port);
        let listen = config.ports.get(&port).copied().unwrap_or(target);
        let (routes, listen) = match listener.serves {
            Err(why) => (HostMap::default(), Err(why.to_string())),
            Ok(routes) if taken.len() == LISTENERS_MAX => {
                (routes, Err(format!("opens no listener: {LISTENERS_MAX} are open already")))
            }
            Ok(routes) => match taken.get(&listen).filter(|_| listen.port() != 0) {
                Some(other) => {
                    let why = format!("opens no listener: port {other} has {listen} already");
                    (routes, Err(why))
                }
                None => (routes, Ok(listen)),
            },
        };
        if let Ok(listen) = listen {
            taken.insert(listen, port);
        }
        Want { port, name: listener.name, listen, routes }
    };
    policy.ingress(&config.gateway, labels).into_iter().map(&mut want).collect()
}

/// A listener, by what it is for: the same one serves on while both stay what they are.
pub(crate) type Key = (u16, SocketAddr);

impl Want {
    /// What its listener is known by, if it is to have one.
    pub(crate) fn key(&self) -> Option<Key> {
        Some((self.port, *self.listen.as_ref().ok()?))
    }
}

/// What is to be done: listeners to close, and to open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) close: BTreeSet<Key>,
    pub(crate) open: BTreeSet<Key>,
}

/// From those that are open to those that are wanted.
pub(crate) fn changes(open: &BTreeSet<Key>, wants: &[Want]) -> Changes {
    let wanted: BTreeSet<Key> = wants.iter().filter_map(Want::key).collect();
    Changes { close: open - &wanted, open: &wanted - open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::policy::{self, Profile};
    use proptest::prelude::*;

    fn compiled(text: &str) -> Policy {
        let (documents, _) = policy::read("test.yaml", text).unwrap();
        policy::compile(&documents, Profile::Fusebox).unwrap().0
    }

    const FOUNDING: &str = include_str!("../../tests/policy/control-plane.yaml");

    fn told(wants: &[Want]) -> Vec<(u16, Result<String, String>)> {
        let listen = |want: &Want| want.listen.clone().map(|listen| listen.to_string());
        wants.iter().map(|want| (want.port, listen(want))).collect()
    }

    /// Scenario: the installation of the founding guide, for its gateway and for another, with and
    /// without other places to listen.
    /// Guarantees: ports listen at their target port on the gateway's address, or where the operator
    /// says; that for TLS does not, with the reason; another gateway has none.
    #[test]
    fn the_founding_gateway() {
        let policy = compiled(FOUNDING);
        let mut config = Ingress::new("istio-ingressgateway");
        let labels = BTreeMap::new();
        let wanted = wants(&policy, &config, &labels);
        assert_eq!(wanted[0].listen, Ok("127.0.0.1:8080".parse().unwrap()));
        assert!(wanted[1].listen.as_ref().is_err_and(|why| why.contains("no certificate")));
        config.address = "::1".parse().unwrap();
        config.ports.insert(443, "127.0.0.2:9".parse().unwrap());
        let wanted = wants(&policy, &config, &labels);
        assert_eq!(wanted[0].key(), Some((80, "[::1]:8080".parse().unwrap())));
        assert_eq!(wanted[1].key(), None, "another place does not make it plain text");
        config.ports.insert(80, "127.0.0.2:0".parse().unwrap());
        assert_eq!(told(&wants(&policy, &config, &labels))[0], (80, Ok("127.0.0.2:0".into())));
        config.gateway = "another".into();
        assert_eq!(wants(&policy, &config, &labels), []);
    }

    /// Scenario: two ports with one place to listen.
    /// Guarantees: the lower one has it, the other one none, which is said; port 0 is shared.
    #[test]
    fn one_place_for_two_ports() {
        let policy = compiled(&FOUNDING.replace("name: https", "name: http"));
        let mut config = Ingress::new("istio-ingressgateway");
        config.ports.insert(443, "127.0.0.1:8080".parse().unwrap());
        let wanted = told(&wants(&policy, &config, &BTreeMap::new()));
        assert_eq!(wanted[0].1, Ok("127.0.0.1:8080".into()));
        let why = "opens no listener: port 80 has 127.0.0.1:8080 already";
        assert_eq!(wanted[1].1, Err(why.into()));
        config.ports = [80, 443].map(|port| (port, "127.0.0.1:0".parse().unwrap())).into();
        let wanted = wants(&policy, &config, &BTreeMap::new());
        assert!(wanted.iter().all(|want| want.listen.is_ok()));
    }

    proptest! {
        /// Scenario: any listeners are open, and any are wanted.
        /// Guarantees: after the changes exactly the wanted ones are open, and what is both open and
        /// wanted was not touched.
        #[test]
        fn changes_lead_to_what_is_wanted(
            open in proptest::collection::btree_set((0_u16..6, 0_u16..6), 0..6),
            wanted in proptest::collection::btree_set((0_u16..6, 0_u16..6), 0..6),
        ) {
            let key = |(port, at): &(u16, u16)| (*port, SocketAddr::from(([127, 0, 0, 1], *at)));
            let open: BTreeSet<Key> = open.iter().map(key).collect();
            let wanted: BTreeSet<Key> = wanted.iter().map(key).collect();
            let want = |&(port, listen): &Key| Want {
                port,
                name: Arc::default(),
                listen: Ok(listen),
                routes: HostMap::default(),
            };
            let refused = Want { listen: Err(String::new()), ..want(&key(&(9, 9))) };
            let wants: Vec<Want> = wanted.iter().map(want).chain([refused]).collect();
            let Changes { close, open: opened } = changes(&open, &wants);
            let after: BTreeSet<Key> = &(&open - &close) | &opened;
            prop_assert_eq!(after, wanted.clone());
            prop_assert!((&open & &wanted).is_disjoint(&(&close | &opened)));
        }
    }
}

//! Who is meant: by the host that a request names, by the server that a TLS client names, or by the
//! address that a connection was going to.
//!
//! What an operator configured answers to its host at any port, as the port in a `Host` is often
//! that of a tunnel or of a test; what only the policy names, at the ports of its entry.
//!
//! Pure. `T` is what leads to a service.

use crate::config::PORT_DEFAULT;
use fusebox_proto::ServiceId;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

/// One host at one port.
#[derive(Clone, Debug)]
pub(crate) struct Known<T> {
    /// The service, as the own application would name it.
    pub(crate) service: ServiceId,
    /// The port that its callers mean.
    pub(crate) port: u16,
    /// Whether an operator configured it.
    pub(crate) is_configured: bool,
    /// Whether its callers speak TLS, and so name the server.
    pub(crate) is_tls: bool,
    /// Where its endpoints are, as far as they are addresses.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Virtual addresses that mean it, at its port.
    pub(crate) networks: Vec<Network>,
    /// What leads there.
    pub(crate) to: T,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `10.0.0.0/8`, `10.0.0.1`, `fd00::/8`; `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
        (bits <= all).then_some(Self { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// All hosts that are known, in the order in which they go before each other.
#[derive(Debug)]
pub(crate) struct Directory<T> {
    all: Vec<Known<T>>,
    by_service: HashMap<ServiceId, Vec<usize>>,
    by_address: HashMap<SocketAddr, usize>,
    tls_ports: BTreeSet<u16>,
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T> Directory<T> {
    /// Of two at the same address or port, the first goes before the other.
    pub(crate) fn new(all: Vec<Known<T>>) -> Self {
        let mut by_service: HashMap<ServiceId, Vec<usize>> = HashMap::new();
        let mut by_address = HashMap::new();
        let mut tls_ports = BTreeSet::new();
        for (at, known) in all.iter().enumerate() {
            by_service.entry(known.service.clone()).or_default().push(at);
            for address in &known.addresses {
                by_address.entry(*address).or_insert(at);
            }
            if known.is_tls {
                tls_ports.insert(known.port);
            }
        }
        Self { all, by_service, by_address, tls_ports }
    }

    /// The `service` at the port that its caller said, else `dialled`.
    pub(crate) fn named(
        &self,
        service: &ServiceId,
        said: Option<u16>,
        dialled: Option<u16>,
    ) -> Option<&T> {
        let places = self.by_service.get(service)?;
        let asked = said.or(dialled);
        let all = || places.iter().filter_map(|&at| self.all.get(at));
        let found = all()
            .find(|known| known.port == asked.unwrap_or(PORT_DEFAULT))
            .or_else(|| all().find(|known| known.is_configured || asked.is_none()));
        found.map(|known| &known.to)
    }

    /// The service that has an endpoint or a virtual address there.
    pub(crate) fn at(&self, destination: SocketAddr) -> Option<&T> {
        if let Some(&at) = self.by_address.get(&destination) {
            return self.all.get(at).map(|known| &known.to);
        }
        let means = |known: &&Known<T>| {
            let mut networks = known.networks.iter();
            known.port == destination.port()
                && networks.any(|network| network.contains(destination.ip()))
        };
        self.all.iter().find(means).map(|known| &known.to)
    }

    /// Whether callers at `port` may name the server in TLS.
    pub(crate) fn has_tls(&self, port: u16) -> bool {
        self.tls_ports.contains(&port)
    }

    /// The first one that an operator configured.
    pub(crate) fn first_configured(&self) -> Option<&T> {
        self.all.iter().find(|known| known.is_configured).map(|known| &known.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory<&'static str> {
        let known = |name: &str, port, to: &'static str| Known {
            service: ServiceId::named(name).unwrap(),
            port,
            is_configured: false,
            is_tls: to.ends_with("tls"),
            addresses: Vec::new(),
            networks: Vec::new(),
            to,
        };
        let address = |text: &str| vec![text.parse().unwrap()];
        let networks = |all: &[&str]| all.iter().filter_map(|one| Network::parse(one)).collect();
        Directory::new(vec![
            Known {
                is_configured: true,
                addresses: address("10.0.0.1:8081"),
                ..known("inventory", 80, "inventory")
            },
            Known { is_configured: true, ..known("inventory", 90, "inventory 90") },
            Known { addresses: address("10.0.0.2:81"), ..known("a.example.com", 8080, "a 8080") },
            Known {
                networks: networks(&["240.0.0.1", "fd00::/32"]),
                ..known("a.example.com", 80, "a 80")
            },
            Known { addresses: address("10.0.0.2:443"), ..known("b.example.com", 443, "b tls") },
            // A second host at the same address, and the network of everybody.
            Known {
                addresses: address("10.0.0.2:81"),
                networks: networks(&["240.0.0.0/8", "0.0.0.0/0"]),
                ..known("c.example.com", 80, "c")
            },
        ])
    }

    /// Scenario: hosts of both kinds, with the port said, dialled, both, or neither.
    /// Guarantees: the said port goes before the dialled one; what is configured answers at any port,
    /// an entry at its own; without a port 80 is meant, or the first there is.
    #[test]
    fn by_name() {
        let directory = directory();
        let check = |name: &str, said, dialled, expected| {
            let service = ServiceId::named(name).unwrap();
            let found = directory.named(&service, said, dialled).copied();
            assert_eq!(found, expected, "{name} {said:?} {dialled:?}");
        };
        check("inventory", None, None, Some("inventory"));
        check("inventory", Some(90), None, Some("inventory 90"));
        check("inventory", Some(90), Some(80), Some("inventory 90"));
        check("inventory", Some(7), None, Some("inventory"));
        check("inventory", None, Some(8081), Some("inventory"));
        check("a.example.com", None, None, Some("a 80"));
        check("a.example.com", Some(8080), Some(80), Some("a 8080"));
        check("a.example.com", None, Some(8080), Some("a 8080"));
        check("a.example.com", Some(81), None, None);
        check("a.example.com", None, Some(81), None);
        check("b.example.com", None, None, Some("b tls"));
        check("b.example.com", None, Some(80), None);
        check("d.example.com", None, None, None);
    }

    /// Scenario: connections to endpoints, to virtual addresses, and to neither.
    /// Guarantees: an endpoint goes before a network, and the first of two before the other; a
    /// network counts at its service's port only, and only for addresses of its family.
    #[test]
    fn by_address() {
        let directory = directory();
        let check = |destination: &str, expected| {
            let found = directory.at(destination.parse().unwrap()).copied();
            assert_eq!(found, expected, "{destination}");
        };
        check("10.0.0.1:8081", Some("inventory"));
        check("10.0.0.1:8082", None);
        check("10.0.0.2:81", Some("a 8080"));
        check("10.0.0.2:443", Some("b tls"));
        check("240.0.0.1:80", Some("a 80"));
        check("240.0.0.2:80", Some("c"));
        check("1.2.3.4:80", Some("c"));
        check("240.0.0.1:81", None);
        check("[fd00:1::2]:80", None);
        check("[fd00:0:1::2]:80", Some("a 80"));
        check("[fe00::1]:80", None);
        assert_eq!(directory.first_configured(), Some(&"inventory"));
        assert_eq!(Directory::<()>::default().first_configured(), None);
        assert!(directory.has_tls(443) && !directory.has_tls(80));
    }

    /// Scenario: texts that are networks, and others.
    /// Guarantees: only the former parse; the length of a network is bounded by its family's.
    #[test]
    fn networks_are_parsed() {
        for good in ["10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::/0", "fd00::1/128"] {
            assert!(Network::parse(good).is_some(), "{good}");
        }
        for bad in ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "example.com", ""] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}

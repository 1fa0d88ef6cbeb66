//! `SRV` records as shares of the traffic (RFC 2782). The core: what is asked for in between, the
//! shell asks.

use super::Found;
use super::message::Service;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// More targets than this of one name are dropped, those of the highest priority numbers first.
pub(super) const TARGETS_MAX: usize = 64;

/// Shares between targets with up to ten addresses each are exact; others are near enough.
const PARTS_MAX: u64 = 2_520;

/// Services by their priority, the best first, and how many were dropped. `None`: their only target is
/// `.`, so the service is decidedly not available.
pub(super) fn by_priority(services: Vec<Service>) -> Option<(Vec<Vec<Service>>, usize)> {
    if !services.is_empty() && services.iter().all(|service| service.target == ".") {
        return None;
    }
    let all = services.len();
    let mut usable: Vec<_> = services
        .into_iter()
        .filter(|service| super::is_name(&service.target) && service.port != 0)
        .collect();
    usable.sort_by_key(|service| (service.priority, std::cmp::Reverse(service.weight)));
    usable.truncate(TARGETS_MAX);
    let dropped = all - usable.len();
    let mut groups: BTreeMap<u16, Vec<Service>> = BTreeMap::new();
    for service in usable {
        groups.entry(service.priority).or_default().push(service);
    }
    Some((groups.into_values().collect(), dropped))
}

/// Weights of addresses, so that each target gets the part that its weight says, shared by its
/// addresses: `targets` of one priority have a weight, a port, and addresses. Beside others a weight of
/// 0 counts as 1: with one such target that is the chance of `1 / (sum + 1)` which the RFC's way of
/// choosing gives it.
pub(super) fn weighed(targets: &[(u16, u16, Vec<IpAddr>)]) -> Vec<Found> {
    let lens = targets.iter().map(|(_, _, addresses)| addresses.len().max(1) as u64);
    let parts = lens.fold(1, lcm);
    let mut weights: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for (weight, port, addresses) in targets {
        let each = u64::from(*weight).max(1) * parts / addresses.len().max(1) as u64;
        for ip in addresses {
            *weights.entry(SocketAddr::new(*ip, *port)).or_default() += each.max(1);
        }
    }
    let common = weights.values().copied().reduce(gcd).unwrap_or(1).max(1);
    let found = weights.into_iter().map(|(address, weight)| Found {
        address,
        weight: u32::try_from(weight / common).unwrap_or(u32::MAX),
    });
    found.collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Least common multiple, as far as it is not above [`PARTS_MAX`].
fn lcm(a: u64, b: u64) -> u64 {
    let both = a / gcd(a, b) * b;
    if both <= PARTS_MAX { both } else { PARTS_MAX }
}

#[cfg(test)]
mod tests;

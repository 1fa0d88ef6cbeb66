//! Snapshot first, then differences: how a console follows a collector.

use crate::view::{
    Advisory, Breaker, EdgeName, EdgeView, Event, Incident, PolicyProxy, PolicySet, Proxy, Service,
    Snapshot, Stamp, Status,
};

/// What changed from one snapshot to the next. Lists carry whole entries that are new or changed;
/// `gone` lists name those that vanished.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Wall clock of the newest data.
    pub at: Stamp,
    /// The new status, if it changed.
    pub status: Option<Status>,
    /// New and changed services.
    pub services: Vec<Service>,
    /// Names of vanished services.
    pub services_gone: Vec<String>,
    /// New and changed edges.
    pub edges: Vec<EdgeView>,
    /// Vanished edges.
    pub edges_gone: Vec<EdgeName>,
    /// New and changed incidents.
    pub incidents: Vec<Incident>,
    /// Ids of forgotten incidents.
    pub incidents_gone: Vec<String>,
    /// The whole list, if it changed.
    pub advisories: Option<Vec<Advisory>>,
    /// The whole list, if it changed.
    pub breakers: Option<Vec<Breaker>>,
    /// New and changed proxies.
    pub proxies: Vec<Proxy>,
    /// Ids of forgotten proxies.
    pub proxies_gone: Vec<String>,
    /// The whole list, if it changed.
    pub events: Option<Vec<Event>>,
    /// The new policy, if it changed.
    pub policy_set: Option<PolicySet>,
    /// The whole list, if it changed.
    pub policy_proxies: Option<Vec<PolicyProxy>>,
}

impl Delta {
    /// What leads from `old` to `new`.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let (services, services_gone) =
            diff(&old.services, &new.services, |service| service.name.clone());
        let (edges, edges_gone) = diff(&old.edges, &new.edges, edge_name);
        let (incidents, incidents_gone) =
            diff(&old.incidents, &new.incidents, |incident| incident.id.clone());
        let (proxies, proxies_gone) = diff(&old.proxies, &new.proxies, |proxy| proxy.id.clone());
        Self {
            at: new.at,
            status: changed(&old.status, &new.status),
            services,
            services_gone,
            edges,
            edges_gone,
            incidents,
            incidents_gone,
            advisories: changed(&old.advisories, &new.advisories),
            breakers: changed(&old.breakers, &new.breakers),
            proxies,
            proxies_gone,
            events: changed(&old.events, &new.events),
            policy_set: changed(&old.policy.set, &new.policy.set),
            policy_proxies: changed(&old.policy.proxies, &new.policy.proxies),
        }
    }
}

impl Snapshot {
    /// Applies a delta. `old.apply(&Delta::between(&old, &new))` makes `new`, if lists are sorted:
    /// services, edges and proxies by their identity, incidents open first, newest first.
    pub fn apply(&mut self, delta: Delta) {
        self.at = delta.at;
        merge(&mut self.services, delta.services, &delta.services_gone, |s| s.name.clone());
        merge(&mut self.edges, delta.edges, &delta.edges_gone, edge_name);
        merge(&mut self.incidents, delta.incidents, &delta.incidents_gone, |i| i.id.clone());
        merge(&mut self.proxies, delta.proxies, &delta.proxies_gone, |p| p.id.clone());
        self.sort();
        replace(&mut self.status, delta.status);
        replace(&mut self.advisories, delta.advisories);
        replace(&mut self.breakers, delta.breakers);
        replace(&mut self.events, delta.events);
        replace(&mut self.policy.set, delta.policy_set);
        replace(&mut self.policy.proxies, delta.policy_proxies);
    }

    /// Brings the lists into their order.
    pub fn sort(&mut self) {
        self.services.sort_by(|a, b| a.name.cmp(&b.name));
        self.edges.sort_by(|a, b| (&a.source, &a.destination).cmp(&(&b.source, &b.destination)));
        self.incidents.sort_by(|a, b| {
            let key = |i: &Incident| (i.resolved_at.is_some(), std::cmp::Reverse(i.opened_at));
            key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
        });
        self.proxies.sort_by(|a, b| a.id.cmp(&b.id));
    }
}

fn edge_name(edge: &EdgeView) -> EdgeName {
    EdgeName { source: edge.source.clone(), destination: edge.destination.clone() }
}

fn changed<T: Clone + PartialEq>(old: &T, new: &T) -> Option<T> {
    (old != new).then(|| new.clone())
}

fn replace<T>(slot: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *slot = new;
    }
}

fn diff<T: Clone + PartialEq, K: Ord>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Vec<K>) {
    let before: std::collections::BTreeMap<K, &T> = old.iter().map(|t| (key(t), t)).collect();
    let after: std::collections::BTreeSet<K> = new.iter().map(&key).collect();
    let upserts = new.iter().filter(|t| before.get(&key(t)) != Some(t)).cloned().collect();
    (upserts, before.into_keys().filter(|k| !after.contains(k)).collect())
}

fn merge<T, K: Ord>(list: &mut Vec<T>, upserts: Vec<T>, gone: &[K], key: impl Fn(&T) -> K) {
    let fresh: Vec<K> = upserts.iter().map(&key).collect();
    let replaced: std::collections::BTreeSet<&K> = fresh.iter().chain(gone).collect();
    list.retain(|t| !replaced.contains(&key(t)));
    list.extend(upserts);
}

//! Hosts that only the policy names, for listeners that lead to all services, and for routes.
//!
//! They come and go with the policy. One that stays keeps its edge, its pools and what is known of
//! its endpoints; what is under way to one that leaves ends as it would, and is counted.

use super::{Proxy, host};
use crate::by_host::Originals;
use crate::directory::{Directory, Known};
use crate::outbound::{Callers, Edge, Outbound};
use crate::policy::entries::{self, HOSTS_MAX, Named, NamedHosts, Unresolved};
use crate::policy::plan::{Listener, Plan, as_named_by};
use crate::tcp::Speaks;
use fusebox_proto::policy::Policy;
use fusebox_proto::report::EDGES_MAX;
use fusebox_proto::{Now, ServiceId};
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything that listeners for all services lead to; each request looks anew.
pub(crate) type Services = RwLock<Arc<Directory<Arc<Outbound>>>>;

/// Those of the policy in force.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    all: Vec<Host>,
    /// Of the next one, beyond those of configured listeners.
    next_id: usize,
    /// So many had no place.
    beyond: usize,
    /// The same of those without endpoints: how many there are, and how many had no place.
    unresolved: (usize, usize),
}

#[derive(Debug)]
struct Host {
    named: Named,
    /// With names in place of their addresses.
    listener: Listener,
    /// `None` until it has a plan.
    outbound: Option<Arc<Outbound>>,
}

impl Hosts {
    /// Those of the policy in force, and how many more it names.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let (known, beyond) = self.unresolved;
        (self.all.len() + known, self.beyond + beyond)
    }

    /// In the order of their plans.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.all.iter().map(|host| &host.listener)
    }

    /// Becomes `wanted`; each new one gets what `add` makes of it, if it makes something.
    fn become_these(
        &mut self,
        wanted: NamedHosts,
        mut add: impl FnMut(usize, &Named) -> Option<Listener>,
    ) {
        let mut before = std::mem::take(&mut self.all);
        let beyond = std::mem::replace(&mut self.beyond, wanted.beyond);
        for named in wanted.all {
            let known = before.iter().position(|host| host.named.host == named.host);
            if let Some(at) = known {
                let mut host = before.swap_remove(at);
                host.listener.endpoints.clone_from(&named.endpoints);
                self.all.push(Host { named, ..host });
            } else if let Some(listener) = add(self.next_id, &named) {
                self.next_id += 1;
                self.all.push(Host { named, listener, outbound: None });
            } else {
                self.beyond += 1;
            }
        }
        if 0 < self.beyond && self.beyond != beyond {
            let known = self.all.len();
            tracing::warn!("{} hosts of service entries beyond {known} are not known", self.beyond);
        }
    }
}

impl Proxy {
    /// Takes note of the hosts that `policy` names: all of them where requests or an ingress can name
    /// any, else those that its routes lead to.
    pub(super) fn take_hosts(&self, policy: &Policy) {
        let caller = &self.config.service;
        let is_any_wanted = !self.config.by_host.is_empty() || self.ingress.is_some();
        let routed_to =
            if is_any_wanted { BTreeSet::new() } else { entries::routed_to(policy, caller) };
        let is_wanted = |service: &ServiceId| is_any_wanted || routed_to.contains(service);
        let wanted = entries::named(policy, caller, &self.listeners, is_wanted);
        self.hosts.lock().become_these(wanted, |id, named| {
            let edge = self.edge_to(Now::read(), &named.service)?;
            let id = self.listeners.len() + id;
            let Named { host, port, endpoints, .. } = named.clone();
            Some(Listener { id, edge, host, port, endpoints })
        });
    }

    /// Gives each host its plan; `plans` are in their order.
    pub(super) fn lead_to_hosts(&self, plans: impl Iterator<Item = Plan>) {
        for (host, plan) in self.hosts.lock().all.iter_mut().zip(plans) {
            match &host.outbound {
                Some(outbound) => *outbound.plan.write() = Arc::new(plan),
                None => host.outbound = Some(self.leading_to(&host.listener, plan)),
            }
        }
    }

    /// What leads to one service, under `plan`.
    pub(super) fn leading_to(&self, listener: &Listener, plan: Plan) -> Arc<Outbound> {
        Arc::new(Outbound {
            edge: Arc::clone(&listener.edge),
            host: host(&listener.host),
            port: listener.port,
            callers: Callers::Application,
            speaks: Speaks::default(),
            plan: RwLock::new(Arc::new(plan)),
            common: Arc::clone(&self.common),
        })
    }

    /// Tells listeners for all services who is where. `listeners` are all, with their addresses; those
    /// of the policy are behind the configured ones.
    pub(super) fn tell_services(&self, listeners: &[Listener]) {
        let caller = &self.config.service;
        let known = |listener: &Listener, named: Option<&Named>, outbound: &Arc<Outbound>| Known {
            service: as_named_by(caller, listener.edge.destination.clone()),
            port: listener.port,
            is_configured: named.is_none(),
            is_tls: named.is_some_and(|named| named.is_tls),
            addresses: listener.endpoints.iter().filter_map(|it| it.address.parse().ok()).collect(),
            networks: named.map(|named| named.networks.clone()).unwrap_or_default(),
            to: Arc::clone(outbound),
        };
        let hosts = self.hosts.lock();
        let mut listeners = listeners.iter();
        let configured = self.outbound.iter().zip(listeners.by_ref());
        let mut all: Vec<_> = configured.map(|(to, one)| known(one, None, to)).collect();
        for (host, listener) in hosts.all.iter().zip(listeners) {
            all.extend(host.outbound.iter().map(|to| known(listener, Some(&host.named), to)));
        }
        *self.services.write() = Arc::new(Directory::new(all));
    }

    /// Tells the same for hosts without endpoints. Only of a redirected connection it is known where
    /// it was going.
    pub(super) fn tell_originals(&self, policy: &Arc<Policy>) {
        if !self.config.transparent || self.originals.read().is_of_same(policy) {
            return;
        }
        let mut wanted = entries::unresolved(policy, &self.config.service);
        let count = wanted.len();
        wanted.truncate(HOSTS_MAX);
        let edge = |one: Unresolved| Some((self.edge_to(Now::read(), &one.service)?, one));
        let all: Vec<_> =
            wanted.into_iter().filter_map(edge).map(|(edge, one)| (one, edge)).collect();
        self.hosts.lock().unresolved = (all.len(), count - all.len());
        *self.originals.write() = Arc::new(Originals::new(Arc::clone(policy), all));
    }

    /// Edges that nothing leads to any more, and nothing is under way on. Their last window is not
    /// closed yet.
    pub(crate) fn edges_over(&self, now: Now) -> Vec<Arc<Edge>> {
        let edges = self.edges.read();
        let over = edges.iter().filter(|edge| {
            // A lease outlives a change of policy and back.
            Arc::strong_count(edge) == 1 && edge.core.lock().held(now).is_none()
        });
        over.cloned().collect()
    }

    /// Forgets edges, whose last window is closed.
    pub(crate) fn forget_edges(&self, over: &[Arc<Edge>]) {
        if !over.is_empty() {
            // One more for `over`: nothing took it up meanwhile.
            self.edges.write().retain(|edge| {
                2 < Arc::strong_count(edge) || !over.iter().any(|one| Arc::ptr_eq(one, edge))
            });
        }
    }

    /// The edge to `destination`, which may be new; `None`: there are too many.
    fn edge_to(&self, now: Now, destination: &ServiceId) -> Option<Arc<Edge>> {
        let mut edges = self.edges.write();
        if let Some(known) = edges.iter().find(|known| known.destination == *destination) {
            return Some(Arc::clone(known));
        }
        if EDGES_MAX <= edges.len() {
            return None;
        }
        let edge = fusebox_proto::Edge::new(self.config.service.clone(), destination.clone());
        let new = self.new_edge(now, &edge, self.common.seed);
        edges.push(Arc::clone(&new));
        Some(new)
    }
}

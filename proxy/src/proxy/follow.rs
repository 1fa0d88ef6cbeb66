//! How a proxy follows its policy, and the addresses of names.

use super::Proxy;
use crate::config::Endpoint;
use crate::dns::Found;
use crate::policy::plan::{self, Listener, Plan};
use crate::policy::{self, Taken, entries, told};
use fusebox_proto::Now;
use fusebox_proto::policy::{Policy, Push, PushAck};
use fusebox_proto::text::visible;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Names that are looked up again and again.
const NAMES_MAX: usize = 1_024;

impl Proxy {
    /// Failures drive the circuits of edges where the policy says so. The first listener of a
    /// destination speaks for it.
    fn set_service_breakers(&self, policy: &Policy) {
        let namespace = self.config.service.namespace();
        let hosts = self.hosts.lock();
        let all: Vec<&Listener> = self.listeners.iter().chain(hosts.listeners()).collect();
        for listener in all.into_iter().rev() {
            let said = policy.destination_or_default(namespace, &listener.host);
            let breaker = said.settings(None, listener.port).breaker;
            listener.edge.core.lock().set_service_breaker(Now::read(), breaker);
        }
    }

    /// The plans of `listeners`; an ingress follows at once.
    fn plans(&self, policy: &Policy, listeners: &[Listener]) -> Vec<Plan> {
        let wants = self.ingress.as_ref().map(|ingress| ingress.wants(policy));
        let wants = wants.unwrap_or_default();
        let mut told = self.endpoints.lock();
        *told = told::endpoints(&told, listeners);
        drop(told);
        let (plans, hosts) = {
            let (caller, mut pools) = (&self.config.service, self.pools.lock());
            let routes = wants.iter().map(|want| &want.routes);
            plan::plans(policy, caller, listeners, routes, &mut pools)
        };
        if let Some(ingress) = &self.ingress {
            ingress.follow(wants, hosts);
        }
        plans
    }

    /// All outbound listeners, and behind them the hosts of the policy, with the endpoints that it
    /// names where they have none.
    fn filled(&self, policy: &Policy) -> Vec<Listener> {
        let (caller, hosts) = (&self.config.service, self.hosts.lock());
        let all = self.listeners.iter().chain(hosts.listeners());
        all.map(|listener| entries::filled(listener, policy, caller).into_owned()).collect()
    }

    /// Leads to everything under the first policy.
    pub(super) fn lead(&mut self, policy: &Arc<Policy>) {
        let listeners = self.known(policy);
        let mut plans = self.plans(policy, &listeners).into_iter();
        let configured = self.listeners.iter().zip(plans.by_ref());
        let outbound = configured.map(|(listener, plan)| self.leading_to(listener, plan)).collect();
        self.outbound = outbound;
        self.led(policy, &listeners, plans);
    }

    fn follow(&self, policy: &Arc<Policy>) {
        let listeners = self.known(policy);
        let mut plans = self.plans(policy, &listeners).into_iter();
        for (outbound, plan) in self.outbound.iter().zip(plans.by_ref()) {
            *outbound.plan.write() = Arc::new(plan);
        }
        self.led(policy, &listeners, plans);
    }

    /// All that requests can be led to, with the addresses of names.
    fn known(&self, policy: &Policy) -> Vec<Listener> {
        self.take_hosts(policy);
        let filled = self.filled(policy);
        let resolved = self.resolved.lock();
        // The system's resolver would ask other servers than the operator wants.
        let is_system_asked = self.config.operation.dns_servers.is_empty();
        let known = |listener: &Listener| listener.resolved(&resolved, is_system_asked);
        filled.iter().map(known).collect()
    }

    fn led(&self, policy: &Arc<Policy>, listeners: &[Listener], plans: impl Iterator<Item = Plan>) {
        self.lead_to_hosts(plans);
        self.tell_services(listeners);
        self.tell_originals(policy);
        self.set_service_breakers(policy);
        self.timers.notify_one();
    }

    /// Names that are to be looked up, as [`Endpoint::followed`] has them; what was known of others is
    /// forgotten.
    pub(crate) fn followed_names(&self) -> BTreeSet<String> {
        let in_force = self.policy.lock();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for listener in self.filled(&in_force.policy) {
            let named = listener.endpoints.iter().filter_map(Endpoint::followed);
            names.extend(named.map(str::to_owned));
        }
        self.names.beyond.store(names.len().saturating_sub(NAMES_MAX), Relaxed);
        while NAMES_MAX < names.len() {
            names.pop_last();
        }
        self.resolved.lock().retain(|name, _| names.contains(name));
        names
    }

    /// A name server told what `name` stands for: the endpoints follow, if they are others than before.
    pub(crate) fn resolved(&self, name: &str, found: &[Found]) {
        let in_force = self.policy.lock();
        let before = self.resolved.lock().insert(name.to_owned(), found.to_vec());
        if before.as_deref() != Some(found) {
            if found.is_empty() {
                tracing::warn!("{name} is not available, say its name servers");
            } else {
                let addresses: Vec<_> = found.iter().map(|one| one.address).collect();
                tracing::info!("{name} is at {addresses:?}");
            }
            self.follow(&in_force.policy);
        }
    }

    /// What `name` stands for, as far as it is known.
    pub(crate) fn found(&self, name: &str) -> Vec<Found> {
        self.resolved.lock().get(name).cloned().unwrap_or_default()
    }

    /// Endpoints of the policy that do not count are told.
    pub(super) fn say_overruled(&self, policy: &Policy) {
        for listener in &self.listeners {
            if let Some(entry) = entries::overruled(listener, policy, &self.config.service) {
                let (object, host) = (&entry.object, visible(&listener.host));
                tracing::warn!("{object}: --outbound names endpoints of {host}, which hold");
            }
        }
    }

    /// Answers a policy of a collector: takes it into force, or says why not. `is_first` says that
    /// it is the first on its stream.
    pub(crate) fn take_policy(&self, push: Push, is_first: bool) -> PushAck {
        let mut in_force = self.policy.lock();
        let new = match policy::take(&in_force, &push, is_first) {
            Taken::New(new) => new,
            Taken::Nothing(ack) => return ack,
        };
        if let Some(ingress) = &self.ingress
            && let Err(reason) = ingress.prepare(&new.policy)
        {
            return PushAck { version: push.version, rejected: Some(reason) };
        }
        self.follow(&new.policy);
        self.say_overruled(&new.policy);
        *in_force = *new;
        self.names.changed.notify_one();
        let version = push.version;
        self.to_keep.send_replace(Some(Arc::new(push)));
        PushAck { version, rejected: None }
    }
}

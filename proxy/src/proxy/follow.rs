//! How a proxy follows its policy, and the addresses of names.

use super::Proxy;
use crate::config::Endpoint;
use crate::policy::plan::{self, Listener, Plan};
use crate::policy::{self, Taken, entries, told};
use fusebox_proto::Now;
use fusebox_proto::policy::{Policy, Push, PushAck};
use fusebox_proto::text::visible;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

impl Proxy {
    /// Failures drive the circuits of edges where the policy says so. The first listener of a
    /// destination speaks for it.
    pub(super) fn set_service_breakers(&self, policy: &Policy) {
        let namespace = self.config.service.namespace();
        for listener in self.listeners.iter().rev() {
            let said = policy.destination_or_default(namespace, &listener.host);
            let breaker = said.settings(None, listener.port).breaker;
            listener.edge.core.lock().set_service_breaker(Now::read(), breaker);
        }
    }

    /// The plans of all outbound listeners; an ingress follows at once.
    pub(super) fn plans(&self, policy: &Policy) -> Vec<Plan> {
        let wants = self.ingress.as_ref().map(|ingress| ingress.wants(policy));
        let wants = wants.unwrap_or_default();
        let listeners: Vec<_> = {
            let resolved = self.resolved.lock();
            self.filled(policy).map(|listener| listener.resolved(&resolved)).collect()
        };
        let mut told = self.endpoints.lock();
        *told = told::endpoints(&told, &listeners);
        drop(told);
        let (plans, hosts) = {
            let (caller, mut pools) = (&self.config.service, self.pools.lock());
            let routes = wants.iter().map(|want| &want.routes);
            plan::plans(policy, caller, &listeners, routes, &mut pools)
        };
        if let Some(ingress) = &self.ingress {
            ingress.follow(wants, hosts);
        }
        plans
    }

    /// All outbound listeners, with the endpoints that the policy names where they have none.
    pub(super) fn filled<'a>(
        &'a self,
        policy: &'a Policy,
    ) -> impl Iterator<Item = Cow<'a, Listener>> {
        let caller = &self.config.service;
        self.listeners.iter().map(move |listener| entries::filled(listener, policy, caller))
    }

    pub(super) fn follow(&self, policy: &Policy) {
        for (outbound, plan) in self.outbound.iter().zip(self.plans(policy)) {
            *outbound.plan.write() = Arc::new(plan);
        }
        self.set_service_breakers(policy);
        self.timers.notify_one();
    }

    /// Names whose addresses are to be looked up, each with its port; what was known of others is
    /// forgotten.
    pub(crate) fn dns_names(&self) -> BTreeSet<String> {
        let in_force = self.policy.lock();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for listener in self.filled(&in_force.policy) {
            let named = listener.endpoints.iter().filter_map(Endpoint::dns_name);
            names.extend(named.map(str::to_owned));
        }
        self.resolved.lock().retain(|name, _| names.contains(name));
        names
    }

    /// A name server told the addresses of `name`: the endpoints follow, if they are others than
    /// before.
    pub(crate) fn resolved(&self, name: &str, addresses: &[SocketAddr]) {
        let in_force = self.policy.lock();
        let before = self.resolved.lock().insert(name.to_owned(), addresses.to_vec());
        if before.as_deref() != Some(addresses) {
            tracing::info!("{name} is at {addresses:?}");
            self.follow(&in_force.policy);
        }
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
        self.names.notify_one();
        let version = push.version;
        self.to_keep.send_replace(Some(Arc::new(push)));
        PushAck { version, rejected: None }
    }
}

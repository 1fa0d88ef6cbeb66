//! Where the requests of one listener go under the policy in force, worked out once for all of
//! them.

mod ingress;
mod tcp;

pub(crate) use ingress::HostRules;
pub(crate) use tcp::TcpRoutes;

use super::edits::Edits;
use super::turns::Turns;
use crate::config::{Endpoint, Limits};
use crate::dns::{self, Found};
use crate::edge::Way;
use crate::outbound::Edge;
use crate::pool::Pool;

use fusebox_proto::policy::{
    Action, Destination, DestinationPolicy, HostMap, HttpRule, MutedAnswer, Percent, Policy,
    Retries, Routes, Settings, Subset,
};
use fusebox_proto::{Now, ServiceId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What becomes of the requests of one listener.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For requests that no rule is about.
    pub(crate) direct: Target,
    /// Of those requests.
    pub(crate) retries: Option<Retries>,
    /// The rules for the others.
    pub(crate) rules: RulesOf,
    /// Where what is no HTTP goes; `None`: to the host itself.
    pub(crate) tcp: Option<TcpRoutes>,
}

/// Whose rules a listener has.
#[derive(Debug)]
pub(crate) enum RulesOf {
    /// There are none.
    Nobody,
    /// Of its host.
    Host(Rules),
    /// Of each host that it serves; requests to others are refused.
    Hosts(HostMap<HostRules>),
}

/// The rules of a host, ready to be applied.
#[derive(Debug)]
pub(crate) struct Rules {
    /// As compiled.
    pub(crate) routes: Arc<Routes>,
    /// One for each of its rules, in the same order.
    plans: Vec<RulePlan>,
}

impl Rules {
    /// The plan of `rule`, which is one of these.
    pub(crate) fn plan(&self, rule: &HttpRule) -> Option<&RulePlan> {
        let at = self.routes.http.iter().position(|one| std::ptr::eq(Arc::as_ptr(one), rule))?;
        self.plans.get(at)
    }
}

/// What one rule needs, beside what it says.
#[derive(Debug)]
pub(crate) struct RulePlan {
    /// Edits of requests.
    pub(crate) request: Edits,
    /// Edits of responses.
    pub(crate) response: Edits,
    /// One for each destination, in the same order.
    pub(crate) branches: Vec<Branch>,
    /// Whose turn it is.
    pub(crate) turns: Turns,
    /// Where copies go.
    pub(crate) mirrors: Vec<Mirror>,
}

/// A mirror of a rule.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Of how many requests.
    pub(crate) percent: Percent,
    /// Whose turn it is.
    pub(crate) turns: Turns,
    /// Where to.
    pub(crate) target: Result<Target, NoTarget>,
}

/// A destination of a rule.
#[derive(Debug)]
pub(crate) struct Branch {
    /// Where to.
    pub(crate) target: Result<Target, NoTarget>,
    /// Edits of requests for it only.
    pub(crate) request: Edits,
    /// Edits of responses from it only.
    pub(crate) response: Edits,
}

/// Why a destination cannot be reached from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// No outbound listener and no entry of the policy has endpoints of this host.
    UnknownHost,
    /// The host has no endpoint with the labels of the subset.
    EmptySubset,
}

/// Some endpoints of a service, and the edge that traffic to them belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Counted and broken here.
    pub(crate) edge: Arc<Edge>,
    /// Sent there.
    pub(crate) pool: Arc<Pool>,
    /// Reported under this.
    pub(crate) way: Option<Arc<Way>>,
    /// What the caller of a muted retry gets.
    pub(crate) muted: MutedAnswer,
}

/// What an outbound listener was told, as far as plans need it; or a host of the policy that
/// listeners for all services lead to.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    /// No other one has it, or had it: its pools are known by it.
    pub(crate) id: usize,
    /// Where it leads.
    pub(crate) edge: Arc<Edge>,
    /// The host as it was configured.
    pub(crate) host: String,
    /// The port of that host.
    pub(crate) port: u16,
    /// Its endpoints; of a configured one, none: those that the policy names.
    pub(crate) endpoints: Vec<Endpoint>,
}

impl Listener {
    /// With the addresses of names in their place, as far as they are known. A host of which nothing
    /// is known yet is looked up at each connect, if the system may be asked.
    pub(crate) fn resolved(
        &self,
        known: &BTreeMap<String, Vec<Found>>,
        is_system_asked: bool,
    ) -> Self {
        let all = |endpoint: &Endpoint| -> Vec<Endpoint> {
            let Some(name) = endpoint.followed() else { return vec![endpoint.clone()] };
            let at = |found: &Found| Endpoint {
                address: found.address.to_string(),
                labels: endpoint.labels.clone(),
                weight: endpoint.weight.saturating_mul(found.weight),
            };
            match known.get(name) {
                Some(found) => found.iter().map(at).collect(),
                None if is_system_asked && dns::service_name(name).is_none() => {
                    vec![Endpoint { address: name.to_owned(), ..endpoint.clone() }]
                }
                None => Vec::new(),
            }
        };
        Self { endpoints: self.endpoints.iter().flat_map(all).collect(), ..self.clone() }
    }
}

/// Which pool: endpoints of one listener, cut down to a subset, with the settings of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PoolKey {
    listener: usize,
    subset: Option<Arc<str>>,
    port: u16,
}

/// All pools to other services. They live on from one policy to the next, with what is under way
/// on them and what is known of endpoints that stay.
#[derive(Debug)]
pub(crate) struct Pools {
    limits: Limits,
    entries: Vec<PoolEntry>,
}

#[derive(Debug)]
struct PoolEntry {
    key: PoolKey,
    edge: Arc<Edge>,
    pool: Arc<Pool>,
    is_wanted: bool,
    is_watched: bool,
}

impl Pools {
    /// None yet.
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, entries: Vec::new() }
    }

    /// All of them, with the edges that they serve.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Edge>, &Arc<Pool>)> {
        self.entries.iter().map(|entry| (&entry.edge, &entry.pool))
    }

    fn get(
        &mut self,
        listener: &Listener,
        key: PoolKey,
        endpoints: &[Endpoint],
        settings: &Settings,
        is_watched: bool,
    ) -> Arc<Pool> {
        let now = Now::read().instant;
        if let Some(known) = self.entries.iter_mut().find(|entry| entry.key == key) {
            // It may be asked for more than once in one plan: the answers are the same.
            if !std::mem::replace(&mut known.is_wanted, true) {
                known.pool.apply(now, endpoints, self.limits, settings);
            }
            known.is_watched |= is_watched;
            return Arc::clone(&known.pool);
        }
        let pool = Pool::new(now, endpoints, self.limits, settings);
        let edge = Arc::clone(&listener.edge);
        let is_wanted = true;
        let entry = PoolEntry { key, edge, pool: Arc::clone(&pool), is_wanted, is_watched };
        self.entries.push(entry);
        pool
    }

    /// Lets go of pools that no plan wants any more. What is under way on them ends as it would.
    fn retire_unwanted(&mut self) {
        self.entries.retain_mut(|entry| {
            let is_wanted = std::mem::replace(&mut entry.is_wanted, false);
            entry.pool.set_watched(std::mem::replace(&mut entry.is_watched, false));
            if !is_wanted {
                entry.pool.retire();
            }
            is_wanted
        });
    }
}

/// Works out the plans of all `listeners` of the proxy of `caller`, and the rules of all hosts at
/// each port of an ingress.
pub(crate) fn plans<'r>(
    policy: &Policy,
    caller: &ServiceId,
    listeners: &[Listener],
    ingress: impl Iterator<Item = &'r HostMap<Routes>>,
    pools: &mut Pools,
) -> (Vec<Plan>, Vec<HostMap<HostRules>>) {
    let mut planner = Planner { policy, caller, listeners, pools };
    let plans = (0..listeners.len()).map(|at| planner.plan(at)).collect();
    let hosts = ingress.map(|hosts| planner.at_ingress(hosts)).collect();
    pools.retire_unwanted();
    (plans, hosts)
}

struct Planner<'a> {
    policy: &'a Policy,
    caller: &'a ServiceId,
    listeners: &'a [Listener],
    pools: &'a mut Pools,
}

impl Planner<'_> {
    fn plan(&mut self, at: usize) -> Plan {
        let listener = &self.listeners[at];
        let host = &listener.host;
        let destination = self.policy.destination_or_default(self.caller.namespace(), host);
        let direct = self.target(at, None, listener.port, destination, None);
        let routes = self.policy.routes(self.caller.namespace(), host);
        let tcp = routes.and_then(|routes| self.tcp(at, routes));
        let rules = match routes.filter(|routes| !routes.http.is_empty()) {
            Some(routes) => RulesOf::Host(self.rules(Some(at), routes)),
            None => RulesOf::Nobody,
        };
        Plan { direct, retries: self.policy.retries_unasked().cloned(), rules, tcp }
    }

    /// For the listener `at`, if they are one's own.
    fn rules(&mut self, at: Option<usize>, routes: &Routes) -> Rules {
        let plans = routes.http.iter().map(|rule| self.rule(at, rule)).collect();
        Rules { routes: Arc::new(routes.clone()), plans }
    }

    fn rule(&mut self, at: Option<usize>, rule: &HttpRule) -> RulePlan {
        let branches = match &rule.action {
            Action::Forward(destinations) => destinations
                .iter()
                .map(|one| Branch {
                    target: self.destination(at, &one.destination, &rule.name),
                    request: Edits::new(&one.request_headers),
                    response: Edits::new(&one.response_headers),
                })
                .collect(),
            Action::Redirect(_) | Action::Respond(_) => Vec::new(),
        };
        let turns = Turns::new(rand::random());
        let mirrors = rule.mirrors.iter().enumerate().map(|(nth, mirror)| Mirror {
            percent: mirror.percent,
            turns: turns.beside(nth, rand::random()),
            target: self.destination(at, &mirror.destination, &rule.name),
        });
        let mirrors = mirrors.collect();
        RulePlan {
            request: Edits::new(&rule.request_headers),
            response: Edits::new(&rule.response_headers),
            branches,
            turns,
            mirrors,
        }
    }

    fn destination(
        &mut self,
        at: Option<usize>,
        destination: &Destination,
        route: &Arc<str>,
    ) -> Result<Target, NoTarget> {
        let service = ServiceId::from_host(&destination.host, self.caller);
        let service = service.map_err(|_| NoTarget::UnknownHost)?;
        // The edge of a listener may be that of a `*` which stands for its host.
        let leads = |at: &usize| {
            let listener = &self.listeners[*at];
            is_same(&listener.edge.destination, &service) || listener.host == *destination.host
        };
        let all = || at.into_iter().chain(0..self.listeners.len()).filter(leads);
        let at = all()
            .find(|&at| destination.port.is_none_or(|port| self.listeners[at].port == port))
            .or_else(|| all().next())
            .ok_or(NoTarget::UnknownHost)?;
        let port = destination.port.unwrap_or(self.listeners[at].port);
        let host = &destination.host;
        let settings = self.policy.destination_or_default(self.caller.namespace(), host);
        let subset = match &destination.subset {
            Some(name) => Some(settings.subset(name).ok_or(NoTarget::EmptySubset)?),
            None => None,
        };
        let way = Way {
            route: Arc::clone(route),
            subset: destination.subset.clone().unwrap_or_default(),
        };
        let target = self.target(at, subset, port, settings, Some(Arc::new(way)));
        if target.pool.endpoints_len() == 0 { Err(NoTarget::EmptySubset) } else { Ok(target) }
    }

    fn target(
        &mut self,
        at: usize,
        subset: Option<&Subset>,
        port: u16,
        policy: &DestinationPolicy,
        way: Option<Arc<Way>>,
    ) -> Target {
        let listener = &self.listeners[at];
        let name = subset.map(|subset| Arc::clone(&subset.name));
        let settings = policy.settings(name.as_deref(), port);
        let belongs = |endpoint: &&Endpoint| {
            let label = |key: &str| endpoint.labels.get(key).map(String::as_str);
            subset.is_none_or(|subset| subset.selects(label))
        };
        let endpoints: Vec<_> = listener.endpoints.iter().filter(belongs).cloned().collect();
        let key = PoolKey { listener: listener.id, subset: name, port };
        let is_watched = way.is_some()
            || *settings != Settings::default()
            || self.policy.retries_unasked().is_some();
        Target {
            edge: Arc::clone(&listener.edge),
            pool: self.pools.get(listener, key, &endpoints, settings, is_watched),
            way,
            muted: policy.muted_answer_for(self.caller.name()),
        }
    }
}

/// Whether a host of a document means a service of this proxy. A caller without a namespace stands
/// in `default`.
pub(super) fn is_same(one: &ServiceId, other: &ServiceId) -> bool {
    one.name() == other.name()
        && one.environment() == other.environment()
        && standing_in(one.namespace()) == standing_in(other.namespace())
}

/// `service` as `caller` would name it, so that two names of the same are equal.
pub(crate) fn as_named_by(caller: &ServiceId, service: ServiceId) -> ServiceId {
    let (own, other) = (caller.namespace(), service.namespace());
    if own == other || standing_in(own) != standing_in(other) {
        return service;
    }
    let named = ServiceId::new(service.environment(), own, service.name());
    // Each part was one before.
    named.unwrap_or(service)
}

fn standing_in(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

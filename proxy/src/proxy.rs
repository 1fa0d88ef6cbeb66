//! Everything that the threads of one proxy share.

mod follow;
mod hosts;

use crate::access_log::LogRing;
use crate::by_host::{self, ByHost, Originals};
use crate::config::{Config, Inbound as InboundConfig, Outbound as OutboundConfig};
use crate::dns::{Found, Names};
use crate::drain::Drain;
use crate::edge::{Arrivals, EdgeCore};
use crate::inbound::{Inbound, InboundCore};
use crate::ingress::{Ingress, Parts};
use crate::outbound::{Common, Edge, Outbound, Tally};
use crate::policy::InForce;
use crate::policy::plan::{Listener, Pools, Target};
use crate::pool::Pool;
use crate::propagate::Tracing;
use crate::report_log::ReportLog;
use crate::spans::SpanRing;
use crate::tcp::Speaks;
use crate::upgrade::Upgrades;
use fusebox_proto::policy::{Caller, MutedAnswer, Push, Settings};
use fusebox_proto::report::{Dropped, Endpoints, TROUBLES_MAX};
use fusebox_proto::{Invalid, Now, ProxyId, ServiceId};
use hosts::Hosts;
pub(crate) use hosts::Services;
use http::HeaderValue;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// One proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// As it was told.
    pub(crate) config: Config,
    /// What a collector knows it by.
    pub(crate) id: ProxyId,
    /// An entry for each destination.
    edges: RwLock<Vec<Arc<Edge>>>,
    /// In the order of the configuration.
    pub(crate) outbound: Vec<Arc<Outbound>>,
    /// Listeners for all services, in the order of the configuration.
    pub(crate) by_host: Vec<Arc<ByHost>>,
    /// What they lead to.
    services: Arc<Services>,
    /// And where connections go on by the rules of a host.
    originals: Arc<RwLock<Arc<Originals>>>,
    /// Of these, those that only the policy names.
    pub(crate) hosts: Mutex<Hosts>,
    /// The gateway that it is, if it is one.
    pub(crate) ingress: Option<Arc<Ingress>>,
    /// What outbound listeners were told, in the order of the configuration.
    listeners: Vec<Listener>,
    /// What outbound listeners have together.
    pub(crate) common: Arc<Common>,
    /// What names stand for, as far as a name server has told it.
    resolved: Mutex<BTreeMap<String, Vec<Found>>>,
    /// Where calls go, as a collector is told.
    pub(super) endpoints: Mutex<Endpoints>,
    /// How they are looked up.
    pub(crate) names: Names,
    /// All connections to other services.
    pools: Mutex<Pools>,
    /// The policy in force.
    pub(crate) policy: Mutex<InForce>,
    /// What goes to the disk next.
    pub(crate) to_keep: watch::Sender<Option<Arc<Push>>>,
    /// Why the last one is not on the disk.
    pub(crate) unkept: Arc<Mutex<Option<String>>>,
    /// In the order of the configuration.
    pub(crate) inbound: Vec<Arc<Inbound>>,
    /// Counters of all inbound listeners.
    pub(crate) inbound_core: Arc<Mutex<InboundCore>>,
    /// When traces came in at them; `None` where there are none.
    arrivals: Option<Arc<Arrivals>>,
    /// Its end.
    pub(crate) drain: Arc<Drain>,
    /// Spans that wait for export.
    pub(crate) spans: Arc<SpanRing>,
    /// Closed windows that no collector has taken yet.
    pub(crate) reports: Mutex<ReportLog>,
    /// Messages of the collector that did not parse, and were refused whole.
    pub(crate) invalid_messages: AtomicU64,
    /// Interim answers that could not be handed on.
    pub(crate) hints_dropped: Arc<AtomicU64>,
    /// There is a new report.
    pub(crate) has_report: Notify,
    /// A command or a reset may have changed when a breaker next has work to do.
    pub(crate) timers: Notify,
}

impl Proxy {
    /// A proxy with nothing in flight, under a policy.
    ///
    /// # Errors
    /// If a name in `config` is none.
    pub(crate) fn new(config: Config, policy: InForce, now: Now) -> Result<Self, Invalid> {
        let log = config.operation.access_log.as_ref().map(LogRing::open).transpose()?;
        let mut proxy = Self {
            id: config.proxy_id()?,
            edges: RwLock::default(),
            outbound: Vec::new(),
            by_host: Vec::new(),
            services: Arc::default(),
            originals: Arc::default(),
            hosts: Mutex::default(),
            ingress: None,
            inbound: Vec::new(),
            inbound_core: Arc::default(),
            arrivals: (!config.inbound.is_empty())
                .then(|| Arc::new(Arrivals::new(now.instant, rand::random()))),
            drain: Arc::default(),
            spans: Arc::default(),
            // The wall clock counts the lives of a process, unless it is set back for longer than
            // one of them.
            reports: Mutex::new(ReportLog::new(now, now.unix_ms)),
            invalid_messages: AtomicU64::new(0),
            hints_dropped: Arc::default(),
            has_report: Notify::new(),
            timers: Notify::new(),
            listeners: Vec::new(),
            resolved: Mutex::default(),
            endpoints: Mutex::default(),
            names: Names::default(),
            pools: Mutex::new(Pools::new(config.limits)),
            policy: Mutex::default(),
            to_keep: watch::Sender::new(None),
            unkept: Arc::default(),
            common: Arc::default(),
            config,
        };
        let tracing = Tracing {
            is_exporting: proxy.config.collector.is_some(),
            root_percent: proxy.config.trace_root_percent,
        };
        let upgrades = Upgrades::new(&proxy.config.upgrades)?;
        let seed = rand::random();
        for outbound in proxy.config.outbound.clone() {
            proxy.listen(now, &outbound, seed)?;
        }
        let common = Arc::new(Common {
            seed,
            tracing,
            caller: caller(&proxy.config),
            upgrades,
            tally: Tally::default(),
            copies: AtomicUsize::new(0),
            log,
        });
        proxy.common = Arc::clone(&common);
        proxy.ingress = proxy.be_ingress(now, &common).map(Arc::new);
        proxy.by_host = proxy.listen_by_host(now)?;
        proxy.lead(&policy.policy);
        proxy.say_overruled(&policy.policy);
        proxy.policy = Mutex::new(policy);
        let inbound = proxy.config.inbound.iter();
        proxy.inbound = inbound.map(|one| Arc::new(proxy.inbound(now, one, &common))).collect();
        Ok(proxy)
    }

    fn listen(&mut self, now: Now, config: &OutboundConfig, seed: u64) -> Result<(), Invalid> {
        let edge = config.edge(&self.config.service)?;
        let known = self.edge(&edge.destination);
        let edge = known.unwrap_or_else(|| self.add_edge(now, &edge, seed));
        let endpoints = config.endpoints.clone();
        let (id, port) = (self.listeners.len(), config.port());
        self.listeners.push(Listener { id, edge, host: config.host.clone(), port, endpoints });
        Ok(())
    }

    fn add_edge(&self, now: Now, edge: &fusebox_proto::Edge, seed: u64) -> Arc<Edge> {
        let new = self.new_edge(now, edge, seed);
        self.edges.write().push(Arc::clone(&new));
        new
    }

    fn new_edge(&self, now: Now, edge: &fusebox_proto::Edge, seed: u64) -> Arc<Edge> {
        Arc::new(Edge {
            name: edge.to_string(),
            is_call: true,
            core: Mutex::new(EdgeCore::new(now, edge.destination.clone(), seed)),
            destination: edge.destination.clone(),
            arrivals: self.arrivals.clone(),
            spans: Arc::clone(&self.spans),
        })
    }

    /// The gateway of the configuration, without ports yet.
    fn be_ingress(&self, now: Now, common: &Arc<Common>) -> Option<Ingress> {
        let config = self.config.ingress.clone()?;
        let destination = self.config.service.clone();
        let edge = Arc::new(Edge {
            name: format!("{}>?", destination.name()),
            is_call: false,
            core: Mutex::new(EdgeCore::new(now, destination.clone(), common.seed)),
            destination,
            arrivals: None,
            spans: Arc::clone(&self.spans),
        });
        let pool = Pool::new(now.instant, &[], self.config.limits, &Settings::default());
        let operation = &self.config.operation;
        let parts = Parts {
            labels: operation.labels.clone(),
            trusted_hops: operation.trusted_hops.unwrap_or(0),
            nobody: Target { edge, pool, way: None, muted: MutedAnswer::default() },
            common: Arc::clone(common),
            drain: Arc::clone(&self.drain),
            drain_timeout: operation.drain_timeout,
        };
        Some(Ingress::new(config, parts))
    }

    fn listen_by_host(&self, now: Now) -> Result<Vec<Arc<ByHost>>, Invalid> {
        let caller = self.config.service.clone();
        let passthrough = if self.config.transparent {
            let (environment, namespace) = (caller.environment(), caller.namespace());
            let unknown = ServiceId::new(environment, namespace, by_host::PASSTHROUGH)?;
            let edge = fusebox_proto::Edge::new(caller.clone(), unknown);
            Some(self.add_edge(now, &edge, self.common.seed))
        } else {
            None
        };
        let listener = |_| {
            Arc::new(ByHost {
                caller: caller.clone(),
                services: Arc::clone(&self.services),
                originals: Arc::clone(&self.originals),
                common: Arc::clone(&self.common),
                own: self.config.listeners().collect(),
                passthrough: passthrough.clone(),
                limits: self.config.limits,
                speaks: Speaks::of_http(),
            })
        };
        Ok(self.config.by_host.iter().map(listener).collect())
    }

    /// What outbound listeners were told.
    #[cfg(test)]
    pub(crate) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    fn inbound(&self, now: Now, config: &InboundConfig, common: &Common) -> Inbound {
        Inbound {
            core: Arc::clone(&self.inbound_core),
            pool: Pool::new(
                now.instant,
                std::slice::from_ref(&config.app),
                self.config.limits,
                &Settings::default(),
            ),
            app: self.config.service.to_string(),
            host: host(self.config.service.name()),
            speaks: Speaks::default(),
            upgrades: common.upgrades.clone(),
            tracing: common.tracing,
            arrivals: self.arrivals.clone(),
            spans: Arc::clone(&self.spans),
            log: common.log.clone(),
            trusted_hops: self.config.operation.trusted_hops,
        }
    }

    /// Begins the end that the operator chose.
    pub(crate) fn begin_drain(&self, now: Instant) {
        let operation = &self.config.operation;
        self.drain.begin(now, operation.drain_grace, operation.drain_timeout);
    }

    /// Attempts on the way to `edge` that wait for a connection.
    pub(crate) fn pending(&self, edge: &Arc<Edge>) -> u64 {
        self.edge_pools(edge).iter().map(|pool| pool.pending()).sum()
    }

    /// All pools of `edge`.
    pub(crate) fn edge_pools(&self, edge: &Arc<Edge>) -> Vec<Arc<Pool>> {
        let pools = self.pools.lock();
        let own = pools.iter().filter(|(own, _)| Arc::ptr_eq(own, edge));
        own.map(|(_, pool)| Arc::clone(pool)).collect()
    }

    /// All edges: first those of the configuration, then those of the policy.
    pub(crate) fn edges(&self) -> Vec<Arc<Edge>> {
        self.edges.read().clone()
    }

    /// The edge to `destination`, if this proxy has it.
    pub(crate) fn edge(&self, destination: &ServiceId) -> Option<Arc<Edge>> {
        self.edges.read().iter().find(|edge| edge.destination == *destination).cloned()
    }

    /// Where calls can go now, as a collector is to know it.
    pub(crate) fn leads_to(&self) -> MutexGuard<'_, Endpoints> {
        let to = self.edges.read().iter().map(|edge| edge.destination.clone()).collect();
        let mut told = self.endpoints.lock();
        if told.destinations != to {
            *told = told.to(to);
        }
        told
    }

    /// When a breaker or an ejection next has work to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let pools = self.pools.lock();
        let pools = pools.iter().filter_map(|(_, pool)| pool.poll_timeout());
        let edges = self.edges.read();
        edges.iter().filter_map(|edge| edge.core.lock().poll_timeout()).chain(pools).min()
    }

    /// Lets time pass in every edge and pool.
    pub(crate) fn handle_timeouts(&self, now: Now) {
        self.edges.read().iter().for_each(|edge| edge.core.lock().handle_timeout(now));
        self.pools.lock().iter().for_each(|(_, pool)| pool.handle_timeout(now.instant));
    }

    /// What had to be forgotten since the start, beside reports.
    pub(crate) fn dropped(&self) -> Dropped {
        let mut dropped = Dropped { spans: self.spans.dropped(), ..Dropped::default() };
        for edge in self.edges.read().iter() {
            let forgotten = edge.core.lock().forgotten();
            dropped.retry_keys += forgotten.retry_keys;
            dropped.transitions += forgotten.transitions;
        }
        dropped
    }

    /// What cannot be done that should be, a line each; of too many the last says how many more.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let unkept = self.unkept.lock().clone();
        let ports = self.ingress.iter().flat_map(|ingress| ingress.troubles());
        let mut troubles: Vec<String> = unkept.into_iter().chain(ports).collect();
        if TROUBLES_MAX < troubles.len() {
            let more = troubles.split_off(TROUBLES_MAX - 1).len();
            troubles.push(format!("and {more} more"));
        }
        troubles
    }

    /// All pools, of both kinds of listeners.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        let mut all: Vec<_> = self.pools.lock().iter().map(|(_, pool)| Arc::clone(pool)).collect();
        all.extend(self.inbound.iter().map(|inbound| Arc::clone(&inbound.pool)));
        all
    }
}

/// The own application, as `sourceLabels` and `sourceNamespace` see it: its name is the `app` of every
/// chart, unless the operator says otherwise.
fn caller(config: &Config) -> Caller {
    let mut labels: BTreeMap<_, _> = [("app".to_owned(), config.service.name().to_owned())].into();
    labels.extend(config.operation.labels.clone());
    Caller { namespace: config.service.namespace().to_owned(), labels }
}

/// A host that stands in where an HTTP/1.0 request names none.
fn host(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("localhost"))
}

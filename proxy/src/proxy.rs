//! Everything that the threads of one proxy share.

use crate::config::{Config, Inbound as InboundConfig, Outbound as OutboundConfig};
use crate::edge::EdgeCore;
use crate::inbound::{Inbound, InboundCore};
use crate::outbound::{Edge, Outbound};
use crate::pool::Pool;
use crate::propagate::Tracing;
use crate::report_log::ReportLog;
use crate::spans::SpanRing;
use fusebox_proto::report::Dropped;
use fusebox_proto::{Invalid, Now, ProxyId, ServiceId};
use http::HeaderValue;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use tokio::sync::Notify;

/// One proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// As it was told.
    pub(crate) config: Config,
    /// What a collector knows it by.
    pub(crate) id: ProxyId,
    /// An entry for each destination.
    pub(crate) edges: Vec<Arc<Edge>>,
    /// In the order of the configuration.
    pub(crate) outbound: Vec<Arc<Outbound>>,
    /// In the order of the configuration.
    pub(crate) inbound: Vec<Arc<Inbound>>,
    /// Counters of all inbound listeners.
    pub(crate) inbound_core: Arc<Mutex<InboundCore>>,
    /// Spans that wait for export.
    pub(crate) spans: Arc<SpanRing>,
    /// Closed windows that no collector has taken yet.
    pub(crate) reports: Mutex<ReportLog>,
    /// Messages of the collector that did not parse, and were refused whole.
    pub(crate) invalid_messages: AtomicU64,
    /// There is a new report.
    pub(crate) has_report: Notify,
    /// A command or a reset may have changed when a breaker next has work to do.
    pub(crate) timers: Notify,
}

impl Proxy {
    /// A proxy with nothing in flight.
    ///
    /// # Errors
    /// If a name in `config` is none.
    pub(crate) fn new(config: Config, now: Now) -> Result<Self, Invalid> {
        let mut proxy = Self {
            id: config.proxy_id()?,
            edges: Vec::new(),
            outbound: Vec::new(),
            inbound: Vec::new(),
            inbound_core: Arc::default(),
            spans: Arc::default(),
            // The wall clock counts the lives of a process, unless it is set back for longer than
            // one of them.
            reports: Mutex::new(ReportLog::new(now, now.unix_ms)),
            invalid_messages: AtomicU64::new(0),
            has_report: Notify::new(),
            timers: Notify::new(),
            config,
        };
        let tracing = Tracing {
            is_exporting: proxy.config.collector.is_some(),
            root_percent: proxy.config.trace_root_percent,
        };
        let seed = rand::random();
        for outbound in proxy.config.outbound.clone() {
            let outbound = proxy.outbound(now, &outbound, tracing, seed)?;
            proxy.outbound.push(Arc::new(outbound));
        }
        let inbound = proxy.config.inbound.iter();
        proxy.inbound = inbound.map(|one| Arc::new(proxy.inbound(one, tracing))).collect();
        Ok(proxy)
    }

    fn outbound(
        &mut self,
        now: Now,
        config: &OutboundConfig,
        tracing: Tracing,
        seed: u64,
    ) -> Result<Outbound, Invalid> {
        let edge = config.edge(&self.config.service)?;
        let known = self.edges.iter().find(|known| known.destination == edge.destination);
        let edge = if let Some(known) = known {
            Arc::clone(known)
        } else {
            let new = Arc::new(Edge {
                name: edge.to_string(),
                core: Mutex::new(EdgeCore::new(now, edge.destination.clone(), seed)),
                destination: edge.destination,
            });
            self.edges.push(Arc::clone(&new));
            new
        };
        Ok(Outbound {
            edge,
            pool: Pool::new(&config.endpoints, self.config.limits),
            host: host(&config.host),
            seed,
            tracing,
            spans: Arc::clone(&self.spans),
        })
    }

    fn inbound(&self, config: &InboundConfig, tracing: Tracing) -> Inbound {
        Inbound {
            core: Arc::clone(&self.inbound_core),
            pool: Pool::new(std::slice::from_ref(&config.app), self.config.limits),
            app: self.config.service.to_string(),
            host: host(self.config.service.name()),
            tracing,
            spans: Arc::clone(&self.spans),
        }
    }

    /// Attempts on the way to `edge` that wait for a connection.
    pub(crate) fn pending(&self, edge: &Arc<Edge>) -> u64 {
        let own = self.outbound.iter().filter(|outbound| Arc::ptr_eq(&outbound.edge, edge));
        own.map(|outbound| outbound.pool.pending()).sum()
    }

    /// The edge to `destination`, if this proxy has it.
    pub(crate) fn edge(&self, destination: &ServiceId) -> Option<&Arc<Edge>> {
        self.edges.iter().find(|edge| edge.destination == *destination)
    }

    /// When a breaker next has work to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.edges.iter().filter_map(|edge| edge.core.lock().poll_timeout()).min()
    }

    /// Lets time pass in every edge.
    pub(crate) fn handle_timeouts(&self, now: Now) {
        self.edges.iter().for_each(|edge| edge.core.lock().handle_timeout(now));
    }

    /// What had to be forgotten since the start, beside reports.
    pub(crate) fn dropped(&self) -> Dropped {
        let mut dropped = Dropped { spans: self.spans.dropped(), ..Dropped::default() };
        for edge in &self.edges {
            let forgotten = edge.core.lock().forgotten();
            dropped.retry_keys += forgotten.retry_keys;
            dropped.transitions += forgotten.transitions;
        }
        dropped
    }

    /// All pools, of both kinds of listeners.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        let outbound = self.outbound.iter().map(|outbound| &outbound.pool);
        outbound.chain(self.inbound.iter().map(|inbound| &inbound.pool))
    }
}

/// A host that stands in where an HTTP/1.0 request names none.
fn host(name: &str) -> HeaderValue {
    HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("localhost"))
}

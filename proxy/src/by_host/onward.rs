//! Connections that were redirected here, on their way to somewhere else.

use super::{ByHost, named_host};
use crate::access_log::{LogRing, Logging, Side};
use crate::config::Endpoint;
use crate::outbound::{Callers, Edge, Outbound};
use crate::policy::plan::{Plan, Pools, RulesOf, Target};
use crate::pool::Pool;
use crate::tcp::{Behind, Session, Speaks};
use fusebox_proto::Now;
use fusebox_proto::policy::{MutedAnswer, Policy, Settings};
use http::{HeaderValue, request};
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// One redirected connection. Each of its requests goes to the service that it names; what names
/// none that is known, to the service that the connection was going to, or on to where that was.
#[derive(Debug)]
pub(crate) struct Onward {
    by_host: Arc<ByHost>,
    /// Of what is passed on.
    passthrough: Arc<Edge>,
    destination: SocketAddr,
    /// Where it was going, as far as anybody knew when it came.
    behind: Arc<Outbound>,
    /// The way on to there, once it is needed.
    direct: OnceLock<Arc<Outbound>>,
    /// The same, by the rules of the last host without endpoints that a request named.
    original: Mutex<Option<Way>>,
}

/// A way on by the rules of a host. Dropped, nobody new takes it.
#[derive(Debug)]
struct Way {
    policy: Arc<Policy>,
    host: String,
    to: Arc<Outbound>,
    pools: Pools,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.pools.iter().for_each(|(_, pool)| pool.retire());
    }
}

impl Onward {
    pub(super) fn new(
        by_host: Arc<ByHost>,
        passthrough: Arc<Edge>,
        destination: SocketAddr,
    ) -> Self {
        let direct = OnceLock::new();
        let known = by_host.services.read().at(destination).cloned();
        let behind = known.unwrap_or_else(|| {
            Arc::clone(direct.get_or_init(|| way(&by_host, &passthrough, destination)))
        });
        Self { by_host, passthrough, destination, behind, direct, original: Mutex::default() }
    }

    /// Who gets a request. The policy may be another than when the connection came.
    pub(crate) fn service(&self, head: &request::Parts) -> Arc<Outbound> {
        let (by_host, port) = (&self.by_host, self.destination.port());
        if let Some(named) = by_host.service(head, Some(port)) {
            return named;
        }
        if let Some(original) = self.original(head) {
            return original;
        }
        let known = by_host.services.read().at(self.destination).cloned();
        known.unwrap_or_else(|| {
            let way = || way(by_host, &self.passthrough, self.destination);
            Arc::clone(self.direct.get_or_init(way))
        })
    }

    /// The way on, where a request names a host without endpoints.
    fn original(&self, head: &request::Parts) -> Option<Arc<Outbound>> {
        let (by_host, port) = (&self.by_host, self.destination.port());
        let originals = Arc::clone(&by_host.originals.read());
        if originals.is_empty() {
            return None;
        }
        let host = named_host(head)?.to_ascii_lowercase();
        let host = host.rsplit_once(':').map_or(&*host, |(host, _)| host);
        let edge = originals.find(host, &by_host.service_of(host)?, port)?;
        let mut last = self.original.lock();
        if let Some(way) = &*last
            && way.host == host
            && originals.is_of_same(&way.policy)
        {
            return Some(Arc::clone(&way.to));
        }
        let (caller, limits) = (&by_host.caller, by_host.limits);
        let (plan, pools) = originals.plan(caller, (edge, host), self.destination, limits)?;
        let to = outbound(by_host, edge, host, (self.destination, plan));
        let (policy, host) = (Arc::clone(originals.policy()), host.to_owned());
        *last = Some(Way { policy, host, to: Arc::clone(&to), pools });
        Some(to)
    }
}

impl Drop for Onward {
    fn drop(&mut self) {
        if let Some(direct) = self.direct.get() {
            direct.plan.read().direct.pool.retire();
        }
    }
}

/// A way to `destination`, for one connection.
fn way(by_host: &ByHost, edge: &Arc<Edge>, destination: SocketAddr) -> Arc<Outbound> {
    let (now, settings) = (Now::read().instant, Settings::default());
    let pool = Pool::new(now, &[Endpoint::from(destination)], by_host.limits, &settings);
    let muted = MutedAnswer::default();
    let direct = Target { edge: Arc::clone(edge), pool, way: None, muted };
    let plan = Plan { direct, retries: None, rules: RulesOf::Nobody, tcp: None };
    outbound(by_host, edge, &destination.to_string(), (destination, plan))
}

fn outbound(
    by_host: &ByHost,
    edge: &Arc<Edge>,
    host: &str,
    (destination, plan): (SocketAddr, Plan),
) -> Arc<Outbound> {
    Arc::new(Outbound {
        edge: Arc::clone(edge),
        host: HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("localhost")),
        port: destination.port(),
        callers: Callers::Application,
        speaks: Speaks::default(),
        plan: RwLock::new(Arc::new(plan)),
        common: Arc::clone(&by_host.common),
    })
}

impl Behind for Onward {
    fn speaks(&self) -> &Speaks {
        &self.behind.speaks
    }

    fn asks_server_name(&self) -> bool {
        self.by_host.services.read().has_tls(self.destination.port())
            || self.behind.asks_server_name()
    }

    fn log(&self) -> (Option<&Arc<LogRing>>, Side) {
        self.behind.log()
    }

    /// Two hosts may be at one address: where a client of TLS names one of them, it is meant.
    async fn open(&self, server_name: Option<&str>, line: Option<&mut Logging>) -> Option<Session> {
        let named = server_name.and_then(|name| {
            let service = self.by_host.service_of(&name.to_ascii_lowercase())?;
            let port = Some(self.destination.port());
            self.by_host.services.read().named(&service, None, port).cloned()
        });
        named.as_ref().unwrap_or(&self.behind).open(server_name, line).await
    }
}

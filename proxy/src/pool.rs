//! The connections to the instances of a service, or to a subset of them.
//!
//! | part | what it does |
//! |---|---|
//! | [`Pool`] | picks an endpoint: the less loaded of two choices |
//! | [`Endpoint`](endpoint::Endpoint) | its connections, over all workers, and who waits for one |
//! | [`http1`] | one request at a time on a connection, which comes back at the end of both bodies |
//! | [`http2`] | many requests at a time on few connections |
//! | [`connect`] | opening them |
//! | [`settings`] | their limits, which a policy changes at run time |
//!
//! A connection is opened by a task of its own, not by the request that caused it: callers that
//! give up after 200 ms would else never see a connection to a server that takes a second to
//! accept. It goes to whoever waits longest.

mod connect;
mod endpoint;
mod http1;
mod http2;
mod settings;

pub(crate) use connect::ConnectError;
pub(crate) use endpoint::{AcquireError, Endpoint};
pub(crate) use http1::Http1Lease;
pub(crate) use http2::Http2Lease;
pub(crate) use settings::PoolSettings;

use crate::config;
use crate::edge::Overflow;
use endpoint::Shared;
use fusebox_proto::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Some endpoints of a service, with connections of their own.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    /// Requests at once.
    requests_max: AtomicUsize,
    is_upgrading: AtomicBool,
}

impl Pool {
    /// No connection yet.
    pub(crate) fn new(endpoints: &[config::Endpoint], settings: PoolSettings) -> Arc<Self> {
        let shared: Arc<Shared> = Arc::default();
        let endpoint = |endpoint: &config::Endpoint| {
            Endpoint::new(&endpoint.address, Arc::clone(&shared), settings)
        };
        let pool = Self {
            endpoints: endpoints.iter().map(endpoint).collect(),
            requests_max: AtomicUsize::new(usize::MAX),
            is_upgrading: AtomicBool::new(false),
        };
        shared.endpoints.get_or_init(|| pool.endpoints.iter().map(Arc::downgrade).collect());
        pool.apply(settings);
        Arc::new(pool)
    }

    /// Follows a change of policy. What is under way stays as it is.
    pub(crate) fn apply(&self, settings: PoolSettings) {
        self.requests_max.store(settings.requests_max.unwrap_or(usize::MAX), Relaxed);
        self.is_upgrading.store(settings.is_upgrading, Relaxed);
        self.endpoints.iter().for_each(|endpoint| endpoint.apply(settings));
    }

    /// Nobody new will come: connections close once what is on them is over.
    pub(crate) fn retire(&self) {
        let now = Now::read().instant;
        for endpoint in &self.endpoints {
            endpoint.retire();
            endpoint.sweep(now);
        }
    }

    /// The less loaded of two endpoints chosen at random: as good as asking all of them, without
    /// all proxies running to the same one. The load counts until the handle is dropped.
    pub(crate) fn pick(self: &Arc<Self>) -> Result<Picked, Overflow> {
        let at = match &self.endpoints[..] {
            [] => return Err(Overflow::Connections),
            [_] => 0,
            many => {
                let one = rand::random_range(0..many.len());
                let other = (one + rand::random_range(1..many.len())) % many.len();
                if many[other].load() < many[one].load() { other } else { one }
            }
        };
        self.endpoints[at].add_load();
        let picked = Picked { pool: Arc::clone(self), at };
        let requests_max = self.requests_max.load(Relaxed);
        if requests_max != usize::MAX && requests_max < self.load() {
            return Err(Overflow::Connections);
        }
        Ok(picked)
    }

    /// Whether requests go out as HTTP/2, whatever they came in as.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.is_upgrading.load(Relaxed)
    }

    /// Requests that wait or are under way.
    fn load(&self) -> usize {
        self.endpoints.iter().map(|endpoint| endpoint.load()).sum()
    }

    /// Requests that wait for a connection.
    pub(crate) fn pending(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.pending() as u64).sum()
    }

    /// Closes connections that were idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints.iter().for_each(|endpoint| endpoint.sweep(now));
    }

    /// Its endpoints, in the order of the configuration.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

/// An endpoint that carries one request more while this lives.
#[derive(Debug)]
pub(crate) struct Picked {
    pool: Arc<Pool>,
    at: usize,
}

impl std::ops::Deref for Picked {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Arc<Endpoint> {
        &self.pool.endpoints[self.at]
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.remove_load();
    }
}

//! The connections to the instances of a service, or to a subset of them.
//!
//! | part | what it does |
//! |---|---|
//! | [`Pool`] | its endpoints, and the core that chooses among them ([`crate::upstream`]) |
//! | [`Endpoint`](endpoint::Endpoint) | its connections, over all workers, and who waits for one |
//! | [`http1`] | one request at a time on a connection, which comes back at the end of both bodies |
//! | [`http2`] | many requests at a time on few connections |
//! | [`raw`] | connections that carry no HTTP, each for one session |
//! | [`connect`] | opening them |
//! | [`settings`] | their limits, which a policy changes at run time |
//! | [`socket`] | keeps the place of a connection that became a tunnel |
//!
//! A connection is opened by a task of its own, not by the request that caused it: callers that
//! give up after 200 ms would else never see a connection to a server that takes a second to
//! accept. It goes to whoever waits longest.

mod care;
mod connect;
mod endpoint;
mod http1;
mod http2;
mod raw;
mod settings;
mod socket;

pub(crate) use connect::ConnectError;
pub(crate) use endpoint::{AcquireError, Endpoint};
pub(crate) use http1::Http1Lease;
pub(crate) use http2::Http2Lease;
pub(crate) use raw::RawPlace;
use settings::PoolSettings;

use crate::balance::EndpointId;
use crate::config::{self, Limits};
use crate::upstream::{Choice, Upstream};
use endpoint::Shared;
use fusebox_proto::Now;
use fusebox_proto::policy::Settings;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Some endpoints of a service, with connections of their own.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    /// Balance, ejections, retry budget. Held for one question at a time, never over an await.
    core: Mutex<Upstream>,
    /// Whether the core is asked although there is only one endpoint to choose.
    is_watched: AtomicBool,
    /// Requests at once.
    requests_max: AtomicUsize,
    is_upgrading: AtomicBool,
}

impl Pool {
    /// No connection yet. `limits` are those of one endpoint where `settings` say nothing.
    pub(crate) fn new(
        now: Instant,
        endpoints: &[config::Endpoint],
        limits: Limits,
        settings: &Settings,
    ) -> Arc<Self> {
        let shared: Arc<Shared> = Arc::default();
        let of_pool = PoolSettings::new(limits, &settings.pool);
        let endpoint = |endpoint: &config::Endpoint| {
            Endpoint::new(&endpoint.address, Arc::clone(&shared), of_pool)
        };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        shared.endpoints.get_or_init(|| endpoints.iter().map(Arc::downgrade).collect());
        let ids: Vec<_> = (0..endpoints.len() as u64).map(EndpointId).collect();
        let mut core = Upstream::new(now, settings);
        core.set_endpoints(now, &ids, rand::random_range(0..ids.len().max(1)));
        Arc::new(Self {
            endpoints,
            core: Mutex::new(core),
            is_watched: AtomicBool::new(false),
            requests_max: AtomicUsize::new(of_pool.requests_max),
            is_upgrading: AtomicBool::new(of_pool.is_upgrading),
        })
    }

    /// Follows a change of policy. What is under way stays as it is.
    pub(crate) fn apply(&self, now: Instant, limits: Limits, settings: &Settings) {
        let of_pool = PoolSettings::new(limits, &settings.pool);
        self.requests_max.store(of_pool.requests_max, Relaxed);
        self.is_upgrading.store(of_pool.is_upgrading, Relaxed);
        self.endpoints.iter().for_each(|endpoint| endpoint.apply(of_pool));
        self.core.lock().set_policy(now, settings);
    }

    /// Whether something depends on what becomes of its requests, also where there is nothing to
    /// choose.
    pub(crate) fn set_watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Relaxed);
    }

    /// Nobody new will come: connections close once what is on them is over.
    pub(crate) fn retire(&self) {
        let now = Now::read().instant;
        for endpoint in &self.endpoints {
            endpoint.retire();
            endpoint.sweep(now);
        }
    }

    /// Whether requests go out as HTTP/2, whatever they came in as.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.is_upgrading.load(Relaxed)
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
    /// `None` where there was nothing to choose, and once the attempt is over.
    choice: Option<Choice>,
}

impl std::ops::Deref for Picked {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Arc<Endpoint> {
        &self.pool.endpoints[self.at]
    }
}

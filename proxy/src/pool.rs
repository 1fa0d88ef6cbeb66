//! The connections to the instances of a service, or to a subset of them.
//!
//! | part | what it does |
//! |---|---|
//! | [`Pool`] | its endpoints, and the core that chooses among them ([`crate::upstream`]) |
//! | [`Endpoint`](endpoint::Endpoint) | its connections, over all workers, and who waits for one |
//! | [`http1`] | one request at a time on a connection, which comes back at the end of both bodies |
//! | [`http2`] | many requests at a time on few connections |
//! | [`members`] | its endpoints come and go |
//! | [`raw`] | connections that carry no HTTP, each for one session |
//! | [`connect`] | opening them |
//! | [`greeting`] | whether a server understands HTTP/2 |
//! | [`settings`] | their limits, which a policy changes at run time |
//! | [`socket`] | keeps the place of a connection that became a tunnel |
//!
//! A connection is opened by a task of its own, not by the request that caused it: callers that
//! give up after 200 ms would else never see a connection to a server that takes a second to
//! accept. It goes to whoever waits longest.

mod care;
mod connect;
mod endpoint;
mod greeting;
mod http1;
mod http2;
mod members;
mod raw;
mod settings;
mod socket;

pub(crate) use connect::ConnectError;
pub(crate) use endpoint::{AcquireError, Endpoint};
pub(crate) use http1::Http1Lease;
pub(crate) use http2::Http2Lease;
use members::Members;
pub(crate) use raw::RawPlace;
use settings::PoolSettings;

use crate::config::{self, Limits};
use crate::upstream::{Choice, Upstream};
use endpoint::Shared;
use fusebox_proto::policy::Settings;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Some endpoints of a service, with connections of their own.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Locked before the core, never over an await.
    members: RwLock<Members>,
    shared: Arc<Shared>,
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
        let of_pool = PoolSettings::new(limits, &settings.pool);
        let pool = Self {
            members: RwLock::default(),
            shared: Arc::default(),
            core: Mutex::new(Upstream::new(now, settings)),
            is_watched: AtomicBool::new(false),
            requests_max: AtomicUsize::new(of_pool.requests_max),
            is_upgrading: AtomicBool::new(of_pool.is_upgrading),
        };
        pool.set_endpoints(now, endpoints, of_pool);
        Arc::new(pool)
    }

    /// Follows a change of policy and of endpoints. What is under way stays as it is.
    pub(crate) fn apply(
        &self,
        now: Instant,
        endpoints: &[config::Endpoint],
        limits: Limits,
        settings: &Settings,
    ) {
        let of_pool = PoolSettings::new(limits, &settings.pool);
        self.requests_max.store(of_pool.requests_max, Relaxed);
        self.is_upgrading.store(of_pool.is_upgrading, Relaxed);
        self.set_endpoints(now, endpoints, of_pool);
        self.endpoints().iter().for_each(|endpoint| endpoint.apply(of_pool));
        self.core.lock().set_policy(now, settings);
    }

    /// Whether something depends on what becomes of its requests, also where there is nothing to
    /// choose.
    pub(crate) fn set_watched(&self, is_watched: bool) {
        self.is_watched.store(is_watched, Relaxed);
    }

    /// Whether requests go out as HTTP/2, whatever they came in as.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.is_upgrading.load(Relaxed)
    }

    /// Requests that wait for a connection.
    pub(crate) fn pending(&self) -> u64 {
        self.members.read().list().iter().map(|endpoint| endpoint.pending() as u64).sum()
    }

    /// Closes connections that were idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints().iter().for_each(|endpoint| endpoint.sweep(now));
    }

    /// Its endpoints, in the order in which they were first seen.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.members.read().list().to_vec()
    }

    /// How many endpoints it has.
    pub(crate) fn endpoints_len(&self) -> usize {
        self.members.read().list().len()
    }
}

/// An endpoint that carries one request more while this lives.
#[derive(Debug)]
pub(crate) struct Picked {
    pool: Arc<Pool>,
    endpoint: Arc<Endpoint>,
    /// `None` where there was nothing to choose, and once the attempt is over.
    choice: Option<Choice>,
}

impl std::ops::Deref for Picked {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

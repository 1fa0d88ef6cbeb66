//! The connections of one listener to the instances of a service.
//!
//! | part | what it does |
//! |---|---|
//! | [`Pool`] | picks an endpoint: the less loaded of two choices |
//! | [`Endpoint`](endpoint::Endpoint) | its connections, over all workers, and who waits for one |
//! | [`http1`] | one request at a time on a connection, which comes back at the end of both bodies |
//! | [`http2`] | many requests at a time on few connections |
//! | [`connect`] | opening them |
//!
//! A connection is opened by a task of its own, not by the request that caused it: callers that
//! give up after 200 ms would else never see a connection to a server that takes a second to
//! accept. It goes to whoever waits longest.

mod connect;
mod endpoint;
mod http1;
mod http2;

pub(crate) use connect::ConnectError;
pub(crate) use endpoint::{AcquireError, Endpoint};
pub(crate) use http1::Http1Lease;
pub(crate) use http2::Http2Lease;

use crate::config::{self, Limits};
use std::sync::Arc;
use std::time::Instant;

/// The endpoints behind one listener.
#[derive(Debug)]
pub(crate) struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
}

impl Pool {
    /// No connection yet. There must be at least one endpoint.
    pub(crate) fn new(endpoints: &[config::Endpoint], limits: Limits) -> Self {
        let endpoint = |endpoint: &config::Endpoint| Endpoint::new(&endpoint.address, limits);
        Self { endpoints: endpoints.iter().map(endpoint).collect() }
    }

    /// The less loaded of two endpoints chosen at random: as good as asking all of them, without
    /// all proxies running to the same one. The load counts until the handle is dropped.
    pub(crate) fn pick(&self) -> Picked {
        let endpoint = match &self.endpoints[..] {
            [only] => only,
            many => {
                let one = rand::random_range(0..many.len());
                let other = (one + rand::random_range(1..many.len())) % many.len();
                let (one, other) = (&many[one], &many[other]);
                if other.load() < one.load() { other } else { one }
            }
        };
        Picked::new(Arc::clone(endpoint))
    }

    /// Requests that wait for a connection.
    pub(crate) fn pending(&self) -> u64 {
        self.endpoints.iter().map(|endpoint| endpoint.pending() as u64).sum()
    }

    /// Closes connections that were idle too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.endpoints.iter().for_each(|endpoint| endpoint.sweep(now));
    }

    /// For the admin page.
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

/// An endpoint that carries one request more while this lives.
#[derive(Debug)]
pub(crate) struct Picked(Arc<Endpoint>);

impl Picked {
    fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.add_load();
        Self(endpoint)
    }
}

impl std::ops::Deref for Picked {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.remove_load();
    }
}

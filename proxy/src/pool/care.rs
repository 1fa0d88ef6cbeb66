//! The core of a pool, asked under one short lock: which endpoint, who is out, may it be retried.

use super::{Endpoint, Picked, Pool};
use crate::balance::EndpointId;
use crate::edge::Overflow;
use crate::outlier::{Event, Observed};
use crate::retry::{RetryPermit, Spent, Tried};
use crate::upstream::{Choice, UpstreamStatus};
use fusebox_proto::Now;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Pool {
    /// An endpoint for an attempt; not one of those that were `tried`, if there are others. Its
    /// load counts until the handle is dropped.
    ///
    /// # Errors
    /// What refuses it.
    pub(crate) fn pick(self: &Arc<Self>, now: Instant, tried: &Tried) -> Result<Picked, Overflow> {
        let members = self.members.read();
        let picked = if let [only] = members.list()
            && !self.is_watched.load(Relaxed)
        {
            self.picked(only, None)
        } else {
            let points = [rand::random(), rand::random()];
            let choice = self.core.lock().pick(now, tried, points);
            let choice = choice.map_err(|_| Overflow::AllEjected)?;
            // The core has learnt of the members under the same lock.
            let endpoint = members.find(choice.endpoint()).ok_or(Overflow::AllEjected)?;
            self.picked(endpoint, Some(choice))
        };
        // Counted before it is looked at: of two workers at the limit none passes it.
        let requests_max = self.requests_max.load(Relaxed);
        let load = || members.list().iter().map(|endpoint| endpoint.load()).sum::<usize>();
        if requests_max != usize::MAX && requests_max < load() {
            return Err(Overflow::Connections);
        }
        Ok(picked)
    }

    fn picked(self: &Arc<Self>, endpoint: &Arc<Endpoint>, choice: Option<Choice>) -> Picked {
        endpoint.add_load();
        Picked { pool: Arc::clone(self), endpoint: Arc::clone(endpoint), choice }
    }

    /// Asks leave for a retry of an attempt that has ended.
    ///
    /// # Errors
    /// What is spent.
    pub(crate) fn take_retry(&self, now: Instant) -> Result<RetryPermit, Spent> {
        self.core.lock().take_retry(now)
    }

    /// A retry has ended, or was not sent.
    pub(crate) fn give_back_retry(&self, permit: RetryPermit) {
        self.core.lock().give_back_retry(permit);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.core.lock().poll_timeout()
    }

    /// Lets time pass: ejections end.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        self.core.lock().handle_timeout(now, rand::random);
    }

    /// What happened to endpoints since the last call, each with the address.
    pub(crate) fn take_events(&self) -> Vec<(Event, String)> {
        let mut members = self.members.write();
        let mut core = self.core.lock();
        let address = |id| members.address(id).unwrap_or_default().to_owned();
        let events = core.take_events().map(|event| (event, address(event.host))).collect();
        members.forget_departed();
        events
    }

    /// Everything there is to show.
    pub(crate) fn status(&self, now: Instant) -> UpstreamStatus {
        self.core.lock().status(now)
    }

    /// The address of an endpoint.
    pub(crate) fn address(&self, endpoint: EndpointId) -> String {
        self.members.read().address(endpoint).unwrap_or_default().to_owned()
    }
}

impl Picked {
    /// For the list of what a request has tried.
    pub(crate) fn id(&self) -> EndpointId {
        self.endpoint.id()
    }

    /// Whether something depends on what becomes of the attempt.
    pub(crate) fn is_watched(&self) -> bool {
        self.choice.is_some()
    }

    /// The attempt got a connection, new or kept.
    pub(crate) fn connected(&self) {
        if let Some(choice) = &self.choice {
            self.pool.core.lock().connected(choice);
        }
    }

    /// What came of the attempt, as soon as it is known.
    pub(crate) fn observed(&mut self, now: Instant, observed: Observed) {
        if let Some(choice) = &mut self.choice {
            self.pool.core.lock().observed(now, choice, observed, rand::random);
        }
    }

    /// The attempt is over.
    pub(crate) fn ended(&mut self, now: Instant) {
        if let Some(choice) = self.choice.take() {
            self.pool.core.lock().ended(now, choice);
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.remove_load();
        if self.choice.is_some() {
            self.ended(Now::read().instant);
        }
    }
}

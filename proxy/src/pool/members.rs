//! Which endpoints a pool has, and how that changes while requests are on them.
//!
//! Each gets a number when it is first seen, which no other one gets: what is known of an endpoint
//! never passes to another.

use super::Pool;
use super::endpoint::{Endpoint, Shared};
use super::settings::PoolSettings;
use crate::balance::EndpointId;
use crate::config;
use std::sync::Arc;
use std::time::Instant;

/// More endpoints that left are not remembered, for what happened to them last.
const DEPARTED_MAX: usize = config::ENDPOINTS_MAX;

/// The endpoints of a pool.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// In order of their numbers.
    list: Vec<Arc<Endpoint>>,
    /// Their parts of the traffic, in the order in which they are wanted.
    weights: Vec<(EndpointId, u32)>,
    next: u64,
    /// Those that left since events were taken, by number and address.
    departed: Vec<(EndpointId, String)>,
}

impl Members {
    /// In order of their numbers.
    pub(super) fn list(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    pub(super) fn find(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        let at = self.list.binary_search_by_key(&id, |endpoint| endpoint.id()).ok()?;
        Some(&self.list[at])
    }

    /// The address of an endpoint that is one of these, or was lately.
    pub(super) fn address(&self, id: EndpointId) -> Option<&str> {
        let departed = self.departed.iter().find(|(departed, _)| *departed == id);
        let departed = departed.map(|(_, address)| &**address);
        self.find(id).map(|endpoint| endpoint.address()).or(departed)
    }

    /// What happened to endpoints that left is told.
    pub(super) fn forget_departed(&mut self) {
        self.departed.clear();
    }

    /// Becomes `wanted`: those with an address that is still there stay, each for one of them.
    /// Returns those that left; `None`: nothing changed.
    fn become_these(
        &mut self,
        wanted: &[config::Endpoint],
        shared: &Arc<Shared>,
        settings: PoolSettings,
    ) -> Option<Vec<Arc<Endpoint>>> {
        let mut known = std::mem::take(&mut self.list);
        let (before, weights) = (self.next, std::mem::take(&mut self.weights));
        for config::Endpoint { address, weight, .. } in wanted {
            let stays = known.iter().position(|endpoint| endpoint.address() == address);
            let endpoint = if let Some(at) = stays {
                known.remove(at)
            } else {
                let id = EndpointId(self.next);
                self.next += 1;
                Endpoint::new(id, address, Arc::clone(shared), settings)
            };
            self.weights.push((endpoint.id(), *weight));
            self.list.push(endpoint);
        }
        self.list.sort_unstable_by_key(|endpoint| endpoint.id());
        for gone in &known {
            if self.departed.len() < DEPARTED_MAX {
                self.departed.push((gone.id(), gone.address().to_owned()));
            }
        }
        let is_new = before != self.next || !known.is_empty() || weights != self.weights;
        is_new.then_some(known)
    }
}

impl Pool {
    /// Follows a change of the endpoints. Those that stay keep their connections and what is known
    /// of them; those that left end what is under way on them, and get nothing new.
    pub(super) fn set_endpoints(
        &self,
        now: Instant,
        wanted: &[config::Endpoint],
        settings: PoolSettings,
    ) {
        let mut members = self.members.write();
        let Some(left) = members.become_these(wanted, &self.shared, settings) else { return };
        let list = members.list();
        *self.shared.endpoints.write() = list.iter().map(Arc::downgrade).collect();
        let ids: Vec<_> = list.iter().map(|endpoint| endpoint.id()).collect();
        let turn = rand::random_range(0..ids.len().max(1));
        let mut core = self.core.lock();
        core.set_endpoints(now, &ids, turn);
        core.set_weights(&members.weights);
        drop(core);
        drop(members);
        for endpoint in left {
            endpoint.retire();
        }
    }

    /// Nobody new will come: connections close once what is on them is over.
    pub(crate) fn retire(&self) {
        self.members.read().list().iter().for_each(|endpoint| endpoint.retire());
    }
}

#[cfg(test)]
mod tests;

//! Hosts of the policy whose endpoints nobody tells (resolution `NONE`, and so also those with a `*`).
//!
//! Only a redirected connection can be for them: it goes on to where it was going, with the settings
//! and by the rules of the host. Its pool is its own, as the address is its own choice.

use crate::config::{Endpoint, Limits};
use crate::outbound::Edge;
use crate::policy::entries::Unresolved;
use crate::policy::plan::{Listener, Plan, Pools, plans};
use fusebox_proto::ServiceId;
use fusebox_proto::policy::Policy;
use std::net::SocketAddr;
use std::sync::Arc;

/// Those of the policy in force.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    policy: Arc<Policy>,
    /// The narrowest first.
    all: Vec<(Unresolved, Arc<Edge>)>,
}

impl Originals {
    /// `all` of `policy`, the narrowest first.
    pub(crate) const fn new(policy: Arc<Policy>, all: Vec<(Unresolved, Arc<Edge>)>) -> Self {
        Self { policy, all }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The edge of `host`, which has no port, as a caller dialled it at `port`.
    pub(crate) fn find(&self, host: &str, service: &ServiceId, port: u16) -> Option<&Arc<Edge>> {
        let found = self.all.iter().find(|(one, _)| one.means(host, service, port));
        found.map(|(_, edge)| edge)
    }

    /// Whether both are of one policy.
    pub(crate) fn is_of_same(&self, other: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.policy, other)
    }

    /// The policy that they are of.
    pub(crate) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What becomes of requests of `caller` to `host` on a connection that was going to `destination`,
    /// and their pools.
    pub(crate) fn plan(
        &self,
        caller: &ServiceId,
        (edge, host): (&Arc<Edge>, &str),
        destination: SocketAddr,
        limits: Limits,
    ) -> Option<(Plan, Pools)> {
        let listener = Listener {
            id: 0,
            edge: Arc::clone(edge),
            host: host.to_owned(),
            port: destination.port(),
            endpoints: vec![Endpoint::from(destination)],
        };
        let (mut pools, one) = (Pools::new(limits), std::slice::from_ref(&listener));
        let (mut plans, _) = plans(&self.policy, caller, one, std::iter::empty(), &mut pools);
        Some((plans.pop()?, pools))
    }
}

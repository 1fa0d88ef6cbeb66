//! Snapshots and what changed.

use super::view::{LISTED_MAX, stamp};
use super::{all, each, line, lines, required, v1};
use crate::Invalid;
use crate::delta::Delta;
use crate::view::{EdgeName, Snapshot, Update};

impl From<Snapshot> for v1::Snapshot {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            at_unix_ms: snapshot.at.0,
            status: Some(snapshot.status.into()),
            services: all(snapshot.services),
            edges: all(snapshot.edges),
            incidents: all(snapshot.incidents),
            advisories: all(snapshot.advisories),
            breakers: all(snapshot.breakers),
            proxies: all(snapshot.proxies),
            events: all(snapshot.events),
            policy: Some(snapshot.policy.into()),
        }
    }
}

impl TryFrom<v1::Snapshot> for Snapshot {
    type Error = Invalid;

    fn try_from(wire: v1::Snapshot) -> Result<Self, Invalid> {
        let status = required(wire.status, "status")?.try_into();
        let policy = required(wire.policy, "policy")?.try_into();
        Ok(Self {
            at: stamp(wire.at_unix_ms, "at_unix_ms")?,
            status: status.map_err(|invalid: Invalid| invalid.within("status"))?,
            services: each(wire.services, "services", LISTED_MAX)?,
            edges: each(wire.edges, "edges", LISTED_MAX)?,
            incidents: each(wire.incidents, "incidents", LISTED_MAX)?,
            advisories: each(wire.advisories, "advisories", LISTED_MAX)?,
            breakers: each(wire.breakers, "breakers", LISTED_MAX)?,
            proxies: each(wire.proxies, "proxies", LISTED_MAX)?,
            events: each(wire.events, "events", LISTED_MAX)?,
            policy: policy.map_err(|invalid: Invalid| invalid.within("policy"))?,
        })
    }
}

impl From<Delta> for v1::Delta {
    fn from(delta: Delta) -> Self {
        Self {
            at_unix_ms: delta.at.0,
            status: delta.status.map(Into::into),
            services: all(delta.services),
            services_gone: delta.services_gone,
            edges: all(delta.edges),
            edges_gone: all(delta.edges_gone),
            incidents: all(delta.incidents),
            incidents_gone: delta.incidents_gone,
            advisories: delta.advisories.map(|list| v1::Advisories { all: all(list) }),
            breakers: delta.breakers.map(|list| v1::Breakers { all: all(list) }),
            proxies: all(delta.proxies),
            proxies_gone: delta.proxies_gone,
            events: delta.events.map(|list| v1::Events { all: all(list) }),
            policy_set: delta.policy_set.map(Into::into),
            policy_proxies: delta.policy_proxies.map(|list| v1::PolicyProxies { all: all(list) }),
        }
    }
}

impl TryFrom<v1::Delta> for Delta {
    type Error = Invalid;

    fn try_from(wire: v1::Delta) -> Result<Self, Invalid> {
        let status = wire.status.map(TryInto::try_into).transpose();
        let advisories = wire.advisories.map(|list| each(list.all, "advisories", LISTED_MAX));
        let breakers = wire.breakers.map(|list| each(list.all, "breakers", LISTED_MAX));
        let events = wire.events.map(|list| each(list.all, "events", LISTED_MAX));
        let policy_set = wire.policy_set.map(TryInto::try_into).transpose();
        let proxies = wire.policy_proxies.map(|list| each(list.all, "policy_proxies", LISTED_MAX));
        Ok(Self {
            at: stamp(wire.at_unix_ms, "at_unix_ms")?,
            status: status.map_err(|invalid: Invalid| invalid.within("status"))?,
            services: each(wire.services, "services", LISTED_MAX)?,
            services_gone: lines(&wire.services_gone, "services_gone", LISTED_MAX)?,
            edges: each(wire.edges, "edges", LISTED_MAX)?,
            edges_gone: each(wire.edges_gone, "edges_gone", LISTED_MAX)?,
            incidents: each(wire.incidents, "incidents", LISTED_MAX)?,
            incidents_gone: lines(&wire.incidents_gone, "incidents_gone", LISTED_MAX)?,
            advisories: advisories.transpose()?,
            breakers: breakers.transpose()?,
            proxies: each(wire.proxies, "proxies", LISTED_MAX)?,
            proxies_gone: lines(&wire.proxies_gone, "proxies_gone", LISTED_MAX)?,
            events: events.transpose()?,
            policy_set: policy_set.map_err(|invalid: Invalid| invalid.within("policy_set"))?,
            policy_proxies: proxies.transpose()?,
        })
    }
}

impl From<Update> for v1::Update {
    fn from(update: Update) -> Self {
        use v1::update::Kind;
        let kind = match update {
            Update::Snapshot(snapshot) => Kind::Snapshot((*snapshot).into()),
            Update::Delta(delta) => Kind::Delta((*delta).into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Update> for Update {
    type Error = Invalid;

    fn try_from(wire: v1::Update) -> Result<Self, Invalid> {
        use v1::update::Kind;
        let within = |field| move |invalid: Invalid| invalid.within(field);
        Ok(match required(wire.kind, "kind")? {
            Kind::Snapshot(snapshot) => {
                Self::Snapshot(Box::new(snapshot.try_into().map_err(within("snapshot"))?))
            }
            Kind::Delta(delta) => Self::Delta(Box::new(delta.try_into().map_err(within("delta"))?)),
        })
    }
}

impl From<EdgeName> for v1::EdgeName {
    fn from(EdgeName { source, destination }: EdgeName) -> Self {
        Self { source, destination }
    }
}

impl TryFrom<v1::EdgeName> for EdgeName {
    type Error = Invalid;

    fn try_from(wire: v1::EdgeName) -> Result<Self, Invalid> {
        Ok(Self { source: line(&wire.source), destination: line(&wire.destination) })
    }
}

//! Who is called: what was learned from earlier calls, and names for what never speaks.

use crate::spans::{Emitter, Peer, Span};
use fusebox_proto::ServiceId;
use fusebox_proto::name::NAME_LEN_MAX;
use fusebox_proto::text;
use fusebox_proto::view::ServiceKind;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 65_536;
/// What was not used for this long is forgotten when there is no place, and an address that led to
/// two services within this time belongs to neither: a gateway, or a sidecar's only port.
const FRESH: Duration = Duration::from_mins(1);

/// Someone called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Callee {
    pub(super) service: ServiceId,
    pub(super) kind: ServiceKind,
}

/// (caller, address) → callee, from calls whose two ends were both seen.
#[derive(Debug, Default)]
pub(super) struct Learned {
    entries: HashMap<Key, Entry>,
    /// How often an address did not fit.
    pub(super) overflowed: u64,
}

/// The address that a caller used. The family of the target is 0 for the address as a whole, and
/// for an address that leads to several services tells them apart by the head of the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: ServiceId,
    address: Box<str>,
    family: u64,
}

#[derive(Debug)]
struct Entry {
    callee: Callee,
    seen: Instant,
    contested: Option<Instant>,
}

impl Learned {
    /// The client span `exit` led to `callee`.
    pub(super) fn learn(&mut self, now: Instant, exit: &Span, callee: &Callee) {
        let [whole, family] = keys(exit);
        for key in [whole, family].into_iter().flatten() {
            self.learn_key(now, key, callee);
        }
    }

    /// The client span `exit` leads to `callee` as far as anyone can tell. That is remembered for
    /// its address alone: without one, all calls for a like target would go where the first of
    /// them was thought to go, and which is the first is an accident.
    pub(super) fn guess(&mut self, now: Instant, exit: &Span, callee: &Callee) {
        let [whole, _] = keys(exit);
        if let Some(whole) = whole {
            self.learn_key(now, whole, callee);
        }
    }

    fn learn_key(&mut self, now: Instant, key: Key, callee: &Callee) {
        if let Some(entry) = self.entries.get_mut(&key) {
            let is_new = entry.callee.service != callee.service;
            if is_new && callee.kind == ServiceKind::External {
                return; // A guess never displaces what was seen.
            }
            if is_new {
                let was_seen_just_now = now.saturating_duration_since(entry.seen) < FRESH;
                let was_guess = entry.callee.kind == ServiceKind::External;
                if was_seen_just_now && !was_guess {
                    entry.contested = Some(now);
                }
            }
            entry.callee = callee.clone();
            entry.seen = now;
            return;
        }
        if ADDRESSES_MAX <= self.entries.len() {
            self.entries.retain(|_, entry| now.saturating_duration_since(entry.seen) < FRESH);
            if ADDRESSES_MAX <= self.entries.len() {
                self.overflowed += 1;
                return;
            }
        }
        self.entries.insert(key, Entry { callee: callee.clone(), seen: now, contested: None });
    }

    /// Where the client span `exit` most probably leads; `None` if that is not known.
    pub(super) fn look_up(&self, now: Instant, exit: &Span) -> Option<&Callee> {
        let [whole, family] = keys(exit);
        let is_contested = |entry: &&Entry| {
            entry.contested.is_some_and(|at| now.saturating_duration_since(at) < FRESH)
        };
        let whole = whole.and_then(|key| self.entries.get(&key));
        let entry = match whole {
            Some(entry) if !is_contested(&entry) => Some(entry),
            _ => family.and_then(|key| self.entries.get(&key)).filter(|entry| !is_contested(entry)),
        };
        entry.map(|entry| &entry.callee)
    }
}

/// The address as a whole, if there is one, and the same with the target's family.
fn keys(exit: &Span) -> [Option<Key>; 2] {
    let address = exit.peer.as_ref().map(|peer| &*peer.address).unwrap_or_default();
    let key = |family| Key { caller: exit.origin.service.clone(), address: address.into(), family };
    let family = exit.target.map(|target| key(target.family));
    [(!address.is_empty()).then(|| key(0)), family]
}

/// Who is called if nothing else is known than the client span itself, and that is certain: a
/// database, a message queue, or what our own proxy says.
pub(super) fn certain(exit: &Span) -> Option<Callee> {
    let peer = exit.peer.as_deref()?;
    let caller = &exit.origin.service;
    if exit.emitter == Emitter::Proxy && !peer.service.is_empty() {
        let service = ServiceId::new(caller.environment(), &peer.namespace, &peer.service).ok()?;
        return Some(Callee { service, kind: ServiceKind::Service });
    }
    if peer.system.is_empty() {
        return None;
    }
    if exit.protocol == fusebox_proto::report::Protocol::Messaging {
        return destination(exit);
    }
    let name = match &*peer.address {
        "" => peer.system.to_string(),
        address => format!("{}@{address}", peer.system),
    };
    Some(Callee { service: virtual_node(caller, &name)?, kind: ServiceKind::Database })
}

/// The queue or topic that a producer's or consumer's span names.
pub(super) fn destination(span: &Span) -> Option<Callee> {
    let peer = span.peer.as_deref()?;
    let name = match (&*peer.system, &*peer.destination) {
        ("", "") => return None,
        (system, "") => system.to_owned(),
        ("", destination) => format!("queue:{destination}"),
        (system, destination) => format!("{system}:{destination}"),
    };
    let service = virtual_node(&span.origin.service, &name)?;
    Some(Callee { service, kind: ServiceKind::Messaging })
}

/// What a client span calls if nothing ever answered for the address: something without telemetry.
pub(super) fn external(exit: &Span) -> Option<Callee> {
    let Peer { service, namespace, address, .. } = exit.peer.as_deref()?;
    let caller = &exit.origin.service;
    let id = match (&**service, &**address) {
        ("", "") => return None,
        ("", address) => virtual_node(caller, address)?,
        (service, _) if namespace.is_empty() => {
            ServiceId::new(caller.environment(), caller.namespace(), service).ok()?
        }
        (service, _) => ServiceId::new(caller.environment(), namespace, service).ok()?,
    };
    Some(Callee { service: id, kind: ServiceKind::External })
}

/// A node of the caller's environment, of no namespace: all namespaces may share it.
fn virtual_node(caller: &ServiceId, name: &str) -> Option<ServiceId> {
    ServiceId::new(caller.environment(), "", &text::cut(name, NAME_LEN_MAX)).ok()
}

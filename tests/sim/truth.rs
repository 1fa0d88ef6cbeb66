//! What proxies truly did, beside which every claim is held.
//!
//! The collector's answers, its snapshots and the console's screen all say of some number of
//! proxies that a command is in force in them. Here stands of each command which proxies applied
//! it, and which command stood behind a snapshot.

use fusebox_proto::Now;
use fusebox_proto::command::{BreakerState, Command, TTL_MIN, Verb};
use fusebox_proto::view::EdgeName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Of each edge with a lease the id of the command that a snapshot speaks of.
pub(crate) type Behind = BTreeMap<EdgeName, String>;

/// What proxies truly did.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Proxies that applied the command of this id.
    applied: BTreeMap<(EdgeName, String), BTreeSet<usize>>,
    /// Proxies that were put into this state by a command.
    held: BTreeMap<(EdgeName, BreakerState), BTreeSet<usize>>,
    /// Proxies whose word that they have this command reached the collector.
    told: BTreeSet<(usize, String)>,
    /// The newest command of each edge that this life of the collector knows.
    wishes: BTreeMap<EdgeName, Wish>,
}

#[derive(Debug)]
struct Wish {
    id: String,
    revision: u64,
    /// End of a lease; a reset has none.
    ends: Option<Instant>,
}

impl Truth {
    /// A proxy applied a command.
    pub(crate) fn applied(&mut self, proxy: usize, edge: EdgeName, command: &Command) {
        if let Verb::Trip { action, .. } = command.verb {
            self.held.entry((edge.clone(), action.state())).or_default().insert(proxy);
        }
        self.applied.entry((edge, command.id.clone())).or_default().insert(proxy);
    }

    /// The word of a proxy that it has the command of this id reached the collector.
    pub(crate) fn told(&mut self, proxy: usize, id: &str) {
        self.told.insert((proxy, id.to_owned()));
    }

    /// The collector sent this command.
    pub(crate) fn sent(&mut self, now: Now, edge: EdgeName, command: &Command) {
        if self.wishes.get(&edge).is_some_and(|wish| command.revision <= wish.revision) {
            return;
        }
        let ends = match command.verb {
            Verb::Trip { ttl, .. } => Some(now.instant + ttl),
            Verb::Reset { .. } => None,
        };
        let wish = Wish { id: command.id.clone(), revision: command.revision, ends };
        self.wishes.insert(edge, wish);
    }

    /// A proxy that came back brought this command to the collector. What it did not know it makes its own,
    /// unless only a ramp is left of it.
    pub(crate) fn brought(&mut self, now: Now, edge: EdgeName, command: &Command) {
        match command.verb {
            Verb::Trip { ttl, .. } if TTL_MIN <= ttl => self.sent(now, edge, command),
            _ => {
                if self.wishes.get(&edge).is_some_and(|wish| wish.revision < command.revision) {
                    self.wishes.remove(&edge);
                }
            }
        }
    }

    /// What the collector wished is forgotten.
    pub(crate) fn collector_died(&mut self) {
        self.wishes.clear();
    }

    /// What stands behind a snapshot that is made now.
    pub(crate) fn behind(&self, now: Now) -> Behind {
        let leases = self.wishes.iter().filter(|(_, w)| w.ends.is_some_and(|at| now.instant < at));
        leases.map(|(edge, wish)| (edge.clone(), wish.id.clone())).collect()
    }

    /// How many proxies ever applied the command of this id on this edge.
    pub(crate) fn count_applied(&self, edge: &EdgeName, id: &str) -> u64 {
        let key = (edge.clone(), id.to_owned());
        self.applied.get(&key).map_or(0, |proxies| proxies.len() as u64)
    }

    /// How many proxies a command ever put into this state.
    pub(crate) fn count_held(&self, edge: &EdgeName, state: BreakerState) -> u64 {
        self.held.get(&(edge.clone(), state)).map_or(0, |proxies| proxies.len() as u64)
    }

    /// How many proxies told the collector that they have the command of this id.
    pub(crate) fn count_told(&self, id: &str) -> u64 {
        self.told.iter().filter(|(_, told)| told == id).count() as u64
    }
}

//! When the last minutes are diagnosed.
//!
//! What a diagnosis costs is no business of a command that waits: the engine only says what is to
//! be looked at, the shell has that done beside it, and tells what was seen.

use super::{Engine, Output};
use crate::diagnose::{Answer, Look, Ring};
use fusebox_proto::Now;
use fusebox_proto::view::ServiceKind;
use std::time::Instant;

/// Between two looks lie so many ns of spans.
const LOOK_NS: u64 = 10_000_000_000;
/// After a look that took a while there is a rest of so many times as long.
const REST: u32 = 4;

/// The last minutes, and when they were looked at.
#[derive(Debug, Default)]
pub(crate) struct Looking {
    /// What came.
    pub(crate) ring: Ring,
    /// Since when a look is under way.
    since: Option<Instant>,
    rest_until: Option<Instant>,
    looked_ns: u64,
}

impl Engine {
    /// Has the last minutes looked at, if there is enough that is new and nobody looks already.
    pub(super) fn look(&mut self, now: Now) {
        let followed = self.incidents.followed();
        let looking = &mut self.looking;
        looking.ring.hold(followed.iter().map(|followed| followed.onset_ns).min());
        looking.ring.age(now);
        let newest_ns = looking.ring.newest_ns();
        let is_resting = looking.rest_until.is_some_and(|until| now.instant < until);
        if looking.since.is_some() || is_resting || newest_ns.abs_diff(looking.looked_ns) < LOOK_NS
        {
            return;
        }
        // Where proxies are, they are asked.
        let mut nodes = self.graph.nodes().filter(|node| node.kind == ServiceKind::Service);
        if nodes.all(|node| self.proxies.has(&node.service)) {
            return;
        }
        looking.looked_ns = newest_ns;
        looking.since = Some(now.instant);
        let look = Box::new(Look::new(&looking.ring, followed));
        self.outputs.push_back(Output::Diagnose { look });
    }

    /// What there is to be looked at now, for whoever asks.
    pub fn glance(&self) -> Look {
        Look::new(&self.looking.ring, Vec::new())
    }

    pub(super) fn take_answer(&mut self, now: Now, answer: Answer) {
        if let Some(since) = self.looking.since.take() {
            let took = now.instant.saturating_duration_since(since);
            self.looking.rest_until = now.instant.checked_add(REST * took);
        }
        self.incidents.saw(answer);
        self.update_incidents(now);
    }
}

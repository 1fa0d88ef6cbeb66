//! What spans say about the mesh: the seam between reading spans and judging traffic.
//!
//! [`crate::pairing`] turns spans into observations; [`crate::engine`] folds them into the same
//! per-second windows that proxies' reports go into, where unsampled proxy counters win.

use fusebox_proto::report::Protocol;
use fusebox_proto::view::ServiceKind;
use fusebox_proto::{Edge, ServiceId};
use std::sync::Arc;

/// One fact drawn from spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// A node exists: an instance of a service, or something known from its callers only.
    Node {
        /// Which.
        service: ServiceId,
        /// What it is.
        kind: ServiceKind,
        /// `service.instance.id`, else `host.name` with `process.pid`, where there is one.
        instance: Option<Arc<str>>,
        /// `service.version`, where there is one.
        version: Option<Arc<str>>,
        /// Wall clock of the evidence.
        at_unix_ms: u64,
    },
    /// One attempt on an edge ended, seen from the client where possible.
    Attempt {
        /// Who called whom.
        edge: Edge,
        /// How.
        protocol: Protocol,
        /// What it is to its request, and how it ended.
        ending: Ending,
        /// Client side where known, else server side; `None` where no span tells it.
        latency_us: Option<u64>,
        /// Of a repetition, how long its caller waited; `None` where that is not known.
        waited: Option<Waited>,
        /// 1 ÷ sampling probability.
        weight: f64,
        /// Wall clock of its end, corrected for the sender's clock.
        at_unix_ms: u64,
        /// Whether a Fusebox proxy of the source saw it too: then its report counts it, and this
        /// only tells that the edge is there.
        from_proxy: bool,
    },
    /// An attempt was counted before all was known of it: take away what `was` counted, add what
    /// it `is`. Most often a first attempt that turned out to be a repetition.
    Corrected {
        /// On which edge it was counted.
        edge: Edge,
        /// As it was counted.
        was: Ending,
        /// What it is in truth; `None` if it is no attempt on this edge (its callee, learned from
        /// earlier calls, turned out to be another one: an `Attempt` on that edge follows).
        is: Option<Ending>,
        /// As it was counted.
        weight: f64,
        /// As it was counted.
        at_unix_ms: u64,
        /// As it was counted.
        from_proxy: bool,
    },
    /// Requests made many calls each on an edge, one after the other, and all went well: N+1. What is
    /// told later of the same trace is what it has more.
    Sequence {
        /// Who called whom.
        edge: Edge,
        /// What was asked for, as the callee has it where it tells.
        operation: Arc<str>,
        /// How many requests more did so.
        requests: u64,
        /// How many calls more they made.
        calls: u64,
        /// 1 ÷ sampling probability.
        weight: f64,
        /// Wall clock of the end of the last call, corrected for the sender's clock.
        at_unix_ms: u64,
    },
    /// A service called another for nobody's request: a job of its own, or somebody who polls.
    Unasked {
        /// Who called whom.
        edge: Edge,
        /// Which instance called; empty where it does not tell.
        instance: Arc<str>,
        /// What was asked for, in few words.
        operation: Arc<str>,
        /// What was asked for: its digest.
        asked_for: u64,
        /// Wall clock of the start, corrected for the sender's clock.
        at_unix_ms: u64,
        /// End minus start.
        took_ms: u64,
    },
    /// A service answered a request, seen from the server.
    Served {
        /// Which.
        service: ServiceId,
        /// `service.version`, where there is one.
        version: Option<Arc<str>>,
        /// How it ended.
        outcome: Outcome,
        /// Server side.
        latency_us: u64,
        /// 1 ÷ sampling probability.
        weight: f64,
        /// Wall clock of its end, corrected for the sender's clock.
        at_unix_ms: u64,
        /// Whether a Fusebox proxy saw it: then its report counts it.
        from_proxy: bool,
    },
}

/// How long a caller waited before it repeated a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Attempts that went before.
    pub attempts_before: u16,
    /// From the end of the last of them.
    pub wait_us: u64,
}

/// An attempt as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ending {
    /// First attempt, or a repetition.
    pub class: AttemptClass,
    /// How it ended.
    pub outcome: Outcome,
}

/// What an attempt is to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptClass {
    /// The first.
    First,
    /// A repetition after one that failed.
    Retry,
    /// Overlaps another.
    Hedge,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Well.
    Success,
    /// The server failed.
    Failure,
    /// The caller lost patience.
    Timeout,
}

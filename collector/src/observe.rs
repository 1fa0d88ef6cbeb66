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
        /// First attempt, or a repetition.
        class: AttemptClass,
        /// How it ended.
        outcome: Outcome,
        /// Client side where known, else server side; `None` where no span tells it.
        latency_us: Option<u64>,
        /// 1 ÷ sampling probability.
        weight: f64,
        /// Wall clock of its end, corrected for the sender's clock.
        at_unix_ms: u64,
    },
    /// An attempt that was counted as first turned out to be a repetition (its evidence came
    /// later): one first attempt less, one retry more.
    Reclassified {
        /// On which edge.
        edge: Edge,
        /// What it is in truth.
        class: AttemptClass,
        /// As it was counted.
        weight: f64,
        /// As it was counted.
        at_unix_ms: u64,
    },
    /// A service answered a request, seen from the server.
    Served {
        /// Which.
        service: ServiceId,
        /// How it ended.
        outcome: Outcome,
        /// Server side.
        latency_us: u64,
        /// 1 ÷ sampling probability.
        weight: f64,
        /// Wall clock of its end, corrected for the sender's clock.
        at_unix_ms: u64,
    },
}

/// What an attempt is to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptClass {
    /// The first.
    First,
    /// A repetition after one that failed.
    Retry,
    /// Overlaps another.
    Hedge,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Well.
    Success,
    /// The server failed.
    Failure,
    /// The caller lost patience.
    Timeout,
}

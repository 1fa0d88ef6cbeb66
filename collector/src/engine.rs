//! The collector's core: telemetry and commands in, views and pushes out.
//!
//! One owner of everything that the collector knows: windows, detectors, incidents, leases. It is
//! told the time, does no IO, and only dispatches; what each event means stands in the module
//! that keeps that state.

use crate::spans::SpanBatch;
use fusebox_proto::Now;
use fusebox_proto::command::{Ack, Command, ResetRequest, TripRequest};
use fusebox_proto::report::{Hello, Report};
use fusebox_proto::view::{Snapshot, TripResult};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// One stream of a proxy; the shell numbers them and never uses a number twice. A proxy that
/// connects again gets a new one, so that the end of its old stream cannot take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// An OTLP request was taken.
    Spans {
        /// Name or address of the sender; `None` for a proxy, which counts by its stream.
        sender: Option<Arc<str>>,
        /// What it brought.
        batch: SpanBatch,
    },
    /// A proxy introduced itself on a new stream. A proxy of the same id on an older stream is
    /// replaced, and that stream closed.
    Hello {
        /// Its stream.
        connection: ConnectionId,
        /// What it says of itself.
        hello: Hello,
    },
    /// A proxy reports a window. Counted for the service of its [`Hello`] only.
    Report {
        /// Its stream.
        connection: ConnectionId,
        /// The window.
        report: Report,
    },
    /// A proxy answers a command.
    Ack {
        /// Its stream.
        connection: ConnectionId,
        /// The answer.
        ack: Ack,
    },
    /// A stream ended.
    Gone {
        /// Which.
        connection: ConnectionId,
    },
    /// An operator trips an edge; answered by [`Output::Done`] or [`Output::Refused`].
    Trip(TripRequest),
    /// An operator ends leases; answered by [`Output::Done`] or [`Output::Refused`].
    Reset(ResetRequest),
    /// The shell dropped or refused something.
    Dropped {
        /// Why, in the words of `status.collector.dropped`.
        reason: &'static str,
        /// How many more.
        count: u64,
    },
}

/// What an engine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this command on this stream.
    Push {
        /// To whom.
        connection: ConnectionId,
        /// What.
        command: Command,
    },
    /// Tell this stream that its window was taken (also when it was a duplicate).
    Taken {
        /// To whom.
        connection: ConnectionId,
        /// As in the report.
        boot: u64,
        /// Highest number taken in this boot.
        number: u64,
    },
    /// End this stream: its proxy came back on another, or said something that it must not say.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: String,
    },
    /// The answer to a request: all proxies acknowledged, or one second passed.
    Done {
        /// Of the request.
        request_id: String,
        /// One for a trip, one for each edge for a reset; none where `--all` found no lease.
        results: Vec<TripResult>,
    },
    /// The request named nothing that is known, or too much.
    Refused {
        /// Of the request.
        request_id: String,
        /// Why.
        refusal: Refusal,
    },
}

/// Why a request was refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No service of that name.
    #[error("no service is called {name:?}{}", hint(.candidates))]
    Unknown {
        /// As typed.
        name: String,
        /// Printed names that come close.
        candidates: Vec<String>,
    },
    /// Several services of that name.
    #[error("{name:?} is ambiguous{}", hint(.candidates))]
    Ambiguous {
        /// As typed.
        name: String,
        /// Printed names that it could mean.
        candidates: Vec<String>,
    },
    /// A value out of its range.
    #[error("{0}")]
    Invalid(#[from] fusebox_proto::Invalid),
}

fn hint(candidates: &[String]) -> String {
    if candidates.is_empty() {
        String::new()
    } else {
        format!("; there is {}", candidates.join(", "))
    }
}

/// Bounds of an engine, and what it should say of itself.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Version of the program, for the status.
    pub version: String,
    /// Whether the collector lives in the console's own process.
    pub embedded: bool,
    /// More services than this are not kept.
    pub services_max: usize,
    /// More edges than this are not kept.
    pub edges_max: usize,
    /// More proxies than this are refused.
    pub proxies_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            embedded: false,
            services_max: 4_096,
            edges_max: 16_384,
            proxies_max: 4_096,
        }
    }
}

/// The core of a collector.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine that knows nothing, at the start of a collector.
    pub fn new(_now: Now, limits: Limits) -> Self {
        Self { limits, outputs: VecDeque::new() }
    }

    /// Takes one event. Drain [`poll_output`](Self::poll_output) and ask
    /// [`poll_timeout`](Self::poll_timeout) anew after it.
    pub fn handle(&mut self, _now: Now, _event: Event) {}

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass: closes windows, ends waits, ages things out.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Everything at this moment, sorted, in the words of the contract.
    pub fn snapshot(&self, _now: Now) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.status.embedded = self.limits.embedded;
        snapshot
    }
}

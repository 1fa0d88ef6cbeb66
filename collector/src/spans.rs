//! A span as the graph needs it: what [`crate::decode`] makes of OTLP, and [`crate::pairing`]
//! reads.
//!
//! Whatever an instrumentation calls a thing (old names, new names, strings for numbers), it is
//! interpreted once, at decoding; here only meanings are left.

mod target;

pub use target::Target;

use crate::observe::Outcome;
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::{SpanId, TraceId};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

/// The spans of one export request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanBatch {
    /// Those that were taken.
    pub spans: Vec<Span>,
    /// Those that were refused for good, for `partial_success`.
    pub rejected: Rejected,
}

/// Items refused for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub count: u64,
    /// Why the first of them was; empty where none was.
    pub reason: String,
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Unique within the trace.
    pub span_id: SpanId,
    /// `None` for a root.
    pub parent_id: Option<SpanId>,
    /// Whether the parent is in another process; `None` where the SDK does not tell.
    pub parent_is_remote: Option<bool>,
    /// Its role.
    pub kind: SpanKind,
    /// `http.route`, else the span's name: what was done, in few words. Visible, and cut.
    pub operation: Arc<str>,
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// What made it.
    pub emitter: Emitter,
    /// Start on the sender's clock, ns since the Unix epoch.
    pub start_unix_ns: u64,
    /// End on the sender's clock, ns since the Unix epoch; not before the start.
    pub end_unix_ns: u64,
    /// How it ended, as far as this span can tell.
    pub outcome: Outcome,
    /// What the outcome was read from.
    pub evidence: Evidence,
    /// Kind of conversation.
    pub protocol: Protocol,
    /// What was asked for; `None` where no attribute tells.
    pub target: Option<Target>,
    /// The other side, as a client names it; `None` on the server side.
    pub peer: Option<Box<Peer>>,
    /// Whether a Fusebox proxy refused the request: then no attempt was made.
    pub is_refused: bool,
    /// `http.request.resend_count` or Envoy's `retry.count`; 0 where absent.
    pub resend_count: u32,
    /// 1 ÷ sampling probability.
    pub weight: f64,
    /// Its trace was made so many ns earlier, as a replay at another speed says that sent it; `None`
    /// for all other spans.
    pub moved_ns: Option<i64>,
    /// Spans that this one continues without being their child (message queues).
    pub links: Vec<(TraceId, SpanId)>,
}

impl Span {
    /// End minus start.
    pub fn duration_us(&self) -> u64 {
        self.end_unix_ns.saturating_sub(self.start_unix_ns) / 1_000
    }

    /// Digest of what is asked for: of its target, or of what was done where no attribute tells.
    pub fn asked_for(&self) -> u64 {
        // Without a seed, as that of targets.
        let of_operation = || BuildHasherDefault::<DefaultHasher>::new().hash_one(&self.operation);
        self.target.map_or_else(of_operation, |target| target.digest)
    }

    /// Whether something beside the application made it.
    pub fn is_sidecar(&self) -> bool {
        self.emitter != Emitter::Application
    }
}

/// Role of a span, after OTLP; what is unspecified is internal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// Work within a process.
    Internal,
    /// Handles a request.
    Server,
    /// Makes a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

/// What made a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Emitter {
    /// The application.
    Application,
    /// An Envoy beside it, under the application's name; the span of the whole request.
    Envoy,
    /// An Envoy's span of one upstream attempt, below the former.
    EnvoyRouter,
    /// A Fusebox proxy beside it.
    Proxy,
}

/// What an outcome was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Nothing: success is assumed.
    None,
    /// A status code of the protocol: this one for HTTP, 0 for others.
    Status(u16),
    /// An error whose kind is known: refused, reset, timed out.
    Error,
    /// An error of unknown kind.
    UnknownError,
}

/// Who sent a span: its resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `deployment.environment.name`, `service.namespace`, `service.name`.
    pub service: ServiceId,
    /// `service.instance.id`, else `host.name` with `process.pid`; `None` for an Envoy.
    pub instance: Option<Arc<str>>,
    /// `service.version`; `None` for an Envoy, which gives its own.
    pub version: Option<Arc<str>>,
}

/// The other side, as a client's attributes name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `host:port`, `host`, or empty.
    pub address: Box<str>,
    /// `service.peer.name` or `peer.service`, or empty.
    pub service: Box<str>,
    /// `service.peer.namespace`, or empty.
    pub namespace: Box<str>,
    /// Database or messaging system, or empty.
    pub system: Box<str>,
    /// Destination within the messaging system, or empty.
    pub destination: Box<str>,
}

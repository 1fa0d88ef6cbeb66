//! What a proxy tells about itself and about one window of its traffic.
//!
//! Counters are never sampled. A window is placed by (proxy, boot, number), so that a resent one
//! is recognised; windows merge in any order.

mod endpoints;

pub use endpoints::{ENDPOINT_LABELS_MAX, ENDPOINTS_MAX, Endpoint, Endpoints};

use crate::command::{BreakerState, HeldLease};
use crate::{Latency, ProxyId, ServiceId};

/// More edges than this in one report are refused.
pub const EDGES_MAX: usize = 1_024;
/// More transitions than this in one report are refused; a proxy drops its oldest before.
pub const TRANSITIONS_MAX: usize = 256;
/// More troubles than this in one report are refused; a proxy leaves out what is beyond.
pub const TROUBLES_MAX: usize = 16;

/// A proxy introduces itself, at each connection anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Which proxy.
    pub proxy: ProxyId,
    /// Whose sidecar it is.
    pub service: ServiceId,
    /// `--instance`.
    pub instance: String,
    /// Version of the proxy.
    pub build: String,
    /// Number of this life of the process: higher after each restart.
    pub boot: u64,
    /// Leases and ramps in force, with their time left.
    pub held: Vec<HeldLease>,
    /// Version of the policy in force; 0: none.
    pub policy_version: u64,
    /// Where its calls go.
    pub endpoints: Endpoints,
}

/// One window of one proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// As in [`Hello`].
    pub boot: u64,
    /// Counts up by one a window from 1 within a boot.
    pub number: u64,
    /// Wall clock of the proxy at the start of the window, ms since the Unix epoch.
    pub start_unix_ms: u64,
    /// Length of the window.
    pub duration_ms: u32,
    /// Outbound traffic, an entry for each (destination, route).
    pub edges: Vec<EdgeWindow>,
    /// Inbound traffic, an entry for each route.
    pub inbound: Vec<InboundWindow>,
    /// Breakers that are not closed, and those that changed in this window.
    pub breakers: Vec<BreakerStatus>,
    /// What changed in this window, in order.
    pub transitions: Vec<Transition>,
    /// What the proxy had to drop since it started.
    pub dropped: Dropped,
    /// Whether the proxy is on its way to its end.
    pub draining: bool,
    /// Where its calls go; `None`: as it said last.
    pub endpoints: Option<Endpoints>,
    /// What the proxy was told to do and cannot, as long as it cannot, a line each; at most
    /// [`TROUBLES_MAX`].
    pub troubles: Vec<String>,
}

/// Protocol of an edge as a proxy sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Not known.
    #[default]
    Unknown,
    /// HTTP/1.
    Http1,
    /// HTTP/2 that is not gRPC.
    Http2,
    /// gRPC.
    Grpc,
    /// Opaque bytes.
    Tcp,
    /// A database protocol (from spans).
    Database,
    /// A message queue (from spans).
    Messaging,
}

impl Protocol {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Http1 => "http/1.1",
            Self::Http2 => "http/2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
            Self::Database => "database",
            Self::Messaging => "messaging",
        }
    }
}

/// Attempts on one edge in one window. What starts is counted by its start, what ends by its end.
/// A *failure* is the server's, a *refusal* ours, a *timeout* the caller's patience; they are
/// never added up here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeCounts {
    /// Forwarded attempts that are no repetition, those without trace context included.
    pub first_attempts: u64,
    /// Forwarded repetitions recognised for certain.
    pub retries_certain: u64,
    /// Forwarded repetitions recognised with great probability.
    pub retries_probable: u64,
    /// Forwarded attempts that overlap an attempt of the same request.
    pub hedges: u64,
    /// Forwarded attempts without trace context (also in `first_attempts`): nothing to tell
    /// repetitions by.
    pub unclassified: u64,
    /// Ended attempts that the server answered well.
    pub successes: u64,
    /// Ended attempts that failed: 5xx, a failed gRPC status, connect error, reset.
    pub failures: u64,
    /// Attempts that the caller gave up before the answer (its timeout); losers of a hedge apart.
    pub timeouts: u64,
    /// Attempts that the caller gave up because another attempt of the same request succeeded.
    pub hedge_losers: u64,
    /// First attempts refused here, by reason.
    pub refused: Refusals,
    /// Retries refused here (muted, or of a refused first attempt).
    pub retries_refused: u64,
    /// Attempts in flight at the end of the window.
    pub in_flight: u64,
    /// Attempts that wait for a connection at the end of the window.
    pub pending: u64,
}

/// First attempts refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// An operator's `open`.
    pub forced_open: u64,
    /// Failures opened the circuit.
    pub open: u64,
    /// The ramp had no place.
    pub half_open: u64,
    /// An operator's `cap`.
    pub capped: u64,
    /// An operator's `shed`.
    pub shed: u64,
    /// The connection limit.
    pub connection_overflow: u64,
    /// The pending limit.
    pub pending_overflow: u64,
}

impl Refusals {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.forced_open
            + self.open
            + self.half_open
            + self.capped
            + self.shed
            + self.connection_overflow
            + self.pending_overflow
    }

    /// Adds all of `other`.
    pub const fn add(&mut self, other: &Self) {
        self.forced_open += other.forced_open;
        self.open += other.open;
        self.half_open += other.half_open;
        self.capped += other.capped;
        self.shed += other.shed;
        self.connection_overflow += other.connection_overflow;
        self.pending_overflow += other.pending_overflow;
    }
}

impl EdgeCounts {
    /// Attempts that went out: first ones, repetitions and hedges.
    pub const fn attempts(&self) -> u64 {
        self.first_attempts + self.retries() + self.hedges
    }

    /// Repetitions that went out, of both grades.
    pub const fn retries(&self) -> u64 {
        self.retries_certain + self.retries_probable
    }

    /// Adds all counts of `other`; `in_flight` and `pending` too, so that proxies add up.
    pub const fn add(&mut self, other: &Self) {
        self.first_attempts += other.first_attempts;
        self.retries_certain += other.retries_certain;
        self.retries_probable += other.retries_probable;
        self.hedges += other.hedges;
        self.unclassified += other.unclassified;
        self.successes += other.successes;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.hedge_losers += other.hedge_losers;
        self.refused.add(&other.refused);
        self.retries_refused += other.retries_refused;
        self.in_flight += other.in_flight;
        self.pending += other.pending;
    }
}

/// Outbound traffic to one destination and route.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeWindow {
    /// The called service.
    pub destination: ServiceId,
    /// Name of the policy rule that routed it; empty without a policy. Never a raw path.
    pub route: String,
    /// Subset that the route chose; empty where it chose none.
    pub subset: String,
    /// What the bytes were.
    pub protocol: Protocol,
    /// What happened.
    pub counts: EdgeCounts,
    /// From the first byte sent to the last byte of the answer, client side, of successes,
    /// failures and timeouts.
    pub latency: Latency,
    /// How long callers waited before they repeated a request; `None` where none did.
    pub retry_waits: Option<Box<RetryWaits>>,
}

/// From the end of an attempt to the start of its forwarded repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryWaits {
    /// Before the first repetition of a request.
    pub first: Latency,
    /// Before later ones.
    pub later: Latency,
}

impl RetryWaits {
    /// Counts the wait before the repetition that so many attempts went before.
    pub fn record_us(&mut self, attempts_before: u16, wait_us: u64) {
        let waits = if attempts_before <= 1 { &mut self.first } else { &mut self.later };
        waits.record_us(wait_us);
    }
}

/// Inbound traffic of the sidecar's own application.
#[derive(Clone, Debug, PartialEq)]
pub struct InboundWindow {
    /// Name of the policy rule; empty without a policy.
    pub route: String,
    /// Requests that came in.
    pub requests: u64,
    /// Requests that the application answered with a failure, or not at all.
    pub failures: u64,
    /// Requests that the caller gave up.
    pub cancelled: u64,
    /// Requests in the application at the end of the window.
    pub in_flight: u64,
    /// Time in the application, server side.
    pub latency: Latency,
}

/// A breaker that stands or changed.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerStatus {
    /// The called service.
    pub destination: ServiceId,
    /// Where the circuit stands.
    pub state: BreakerState,
    /// Why it stands there.
    pub cause: Cause,
    /// For how long it stands there, ms.
    pub since_ms: u64,
    /// Time to the end of the lease or the ejection, ms; `None` where nothing ends by itself.
    pub remaining_ms: Option<u64>,
    /// Share in percent: of retries that pass when muted, of first attempts refused when shedding,
    /// of what the lease refused that passes in the ramp.
    pub percent: Option<u8>,
    /// Revision of the command in force; 0 where there is none.
    pub revision: u64,
    /// Attempts refused since this state began; in shadow, since the circuit would have opened, those
    /// that would have been, or would have gone to another endpoint.
    pub refused_total: u64,
    /// Address of the one endpoint that is out; empty: the whole edge.
    pub endpoint: String,
    /// Only counted: nothing is refused and nobody is out.
    pub shadow: bool,
    /// What was measured of an endpoint that is out, against which threshold; empty: nothing to add
    /// to the cause.
    pub detail: String,
    /// In shadow: of `refused_total`, the attempts that succeeded all the same.
    pub succeeded_total: u64,
}

/// Why a breaker is where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Not known.
    #[default]
    Unknown,
    /// An operator's command.
    Operator,
    /// The lease ran out; the ramp runs.
    LeaseExpired,
    /// The ramp let all pass.
    RampCompleted,
    /// The ramp met failures and went back a step.
    ProbeFailed,
    /// Failures in a row.
    ConsecutiveFailures,
    /// The ejection time elapsed.
    EjectionElapsed,
    /// Too few successes in the window of a service's breaker.
    SuccessWindow,
    /// 502, 503 or 504 in a row.
    ConsecutiveGatewayErrors,
    /// Failures to connect or to get an answer in a row.
    ConsecutiveLocalOriginFailures,
    /// Success rate far below that of the other endpoints.
    SuccessRate,
    /// Failure percentage over its threshold.
    FailurePercentage,
    /// The policy changed.
    Policy,
    /// The probe ended well.
    ProbeSucceeded,
}

impl Cause {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Operator => "operator",
            Self::LeaseExpired => "lease_expired",
            Self::RampCompleted => "ramp_completed",
            Self::ProbeFailed => "probe_failed",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::EjectionElapsed => "ejection_elapsed",
            Self::SuccessWindow => "success_window",
            Self::ConsecutiveGatewayErrors => "consecutive_gateway_errors",
            Self::ConsecutiveLocalOriginFailures => "consecutive_local_origin_failures",
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::Policy => "policy",
            Self::ProbeSucceeded => "probe_succeeded",
        }
    }
}

/// A change of a breaker.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The called service.
    pub destination: ServiceId,
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// Why.
    pub cause: Cause,
    /// Revision of the command in force; 0 where there is none.
    pub revision: u64,
    /// Wall clock of the proxy, ms since the Unix epoch.
    pub at_unix_ms: u64,
    /// Address of the one endpoint that is meant; empty: the whole edge.
    pub endpoint: String,
    /// Only counted: nothing is refused and nobody is out.
    pub shadow: bool,
}

/// What a proxy dropped since it started, because a bound was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Spans dropped from the ring before export.
    pub spans: u64,
    /// Reports dropped from the ring while no collector listened.
    pub reports: u64,
    /// Keys of requests forgotten before their time: their repetitions counted as first.
    pub retry_keys: u64,
    /// Transitions dropped from a full window.
    pub transitions: u64,
}

/// What a proxy says on its stream: first [`Hello`], then the others.
#[derive(Clone, Debug, PartialEq)]
pub enum FromProxy {
    /// At the start of each stream.
    Hello(Hello),
    /// About once a second, and again after a reconnect until it was taken.
    Report(Report),
    /// The answer to a command.
    Ack(crate::command::Ack),
    /// The answer to a policy.
    PolicyAck(crate::policy::PushAck),
}

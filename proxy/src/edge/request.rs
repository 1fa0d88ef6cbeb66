//! What the shell tells the core about an attempt, and what the core answers.

use crate::breaker::{self, Permit, Refused};
use crate::classify::{Attempt, Class, End, Original};
use fusebox_proto::grpc;
use fusebox_proto::report::Protocol;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What to do with an attempt.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// Send it, and hand the ticket back when it has ended.
    Forward(Ticket),
    /// Answer it here.
    Refuse(Refusal),
}

/// Leave to send one attempt. Handed back exactly once, to [`EdgeCore::ended`] or
/// [`EdgeCore::overflowed`], whatever becomes of the attempt: the shell keeps it in a guard that
/// reports [`Outcome::Cancelled`] when it is dropped.
///
/// [`EdgeCore::ended`]: super::EdgeCore::ended
/// [`EdgeCore::overflowed`]: super::EdgeCore::overflowed
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    pub(super) permit: Permit,
    pub(super) attempt: Attempt,
    pub(super) protocol: Protocol,
    pub(super) way: Option<Arc<Way>>,
    pub(super) started: Instant,
    /// Number of the window in which it was counted.
    pub(super) window: u64,
}

impl Ticket {
    /// For `http.request.resend_count`: attempts of the same request that went out before; 0 for a
    /// first attempt.
    pub const fn resend_count(&self) -> u16 {
        self.attempt.resend_count()
    }

    /// What it is.
    pub const fn class(&self) -> Class {
        self.attempt.class()
    }

    /// When it was admitted.
    pub const fn started(&self) -> Instant {
        self.started
    }
}

/// An attempt that was answered with a tunnel. Handed back exactly once, to [`EdgeCore::closed`].
///
/// [`EdgeCore::closed`]: super::EdgeCore::closed
#[derive(Debug)]
#[must_use]
pub struct Tunnel {
    pub(super) protocol: Protocol,
    pub(super) way: Option<Arc<Way>>,
}

/// The way that a policy chose for an attempt: what it is reported under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Name of the rule.
    pub route: Arc<str>,
    /// The subset that it chose; empty where it chose none.
    pub subset: Arc<str>,
}

/// How a forwarded attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose fault.
    pub outcome: Outcome,
    /// HTTP status that the caller got, or the gRPC status where there is one; 0 where it got
    /// none.
    pub status: u16,
    /// From the first byte sent to the last byte of the answer.
    pub latency_us: u64,
}

/// Whose fault the end of an attempt was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server answered; also 3xx and 4xx.
    Success,
    /// The server failed: 5xx, a failed gRPC status, connect error, reset.
    Failure,
    /// The caller gave up. Says nothing about the server to a breaker.
    Cancelled,
    /// The policy gave up, as a caller would have: the server was too slow.
    TimedOut,
    /// We failed: a pooled connection died before the first byte of an answer, and the request may
    /// not be sent twice. Counted neither for nor against the server; its repetition is a retry.
    Ours,
}

impl Outcome {
    /// What an HTTP status says.
    pub const fn of_http(status: u16) -> Self {
        if 500 <= status { Self::Failure } else { Self::Success }
    }

    /// What a gRPC status that the server sent says. A server that says `DEADLINE_EXCEEDED` was too
    /// slow; `CANCELLED` is the caller's wish.
    pub const fn of_grpc(status: u16) -> Self {
        match (grpc::ending(status as i64), status) {
            (grpc::Ending::Answered, _) | (grpc::Ending::GivenUp, 1) => Self::Success,
            (grpc::Ending::GivenUp | grpc::Ending::Failed, _) => Self::Failure,
        }
    }
}

/// Why an attempt is answered here. A *refusal* is ours, never a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What refused it.
    pub reason: Reason,
    /// The end of the attempt that it repeats; `None` for a first attempt. Decides between the two
    /// answers that the product gives.
    pub retry_of: Option<Original>,
}

impl Refusal {
    /// The word in `x-fusebox-refused`: of a retry always `retries-muted`.
    pub const fn word(&self) -> &'static str {
        match self.retry_of {
            Some(_) => Reason::RetriesMuted.as_str(),
            None => self.reason.as_str(),
        }
    }
}

/// What refused an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An operator's `open`.
    ForcedOpen,
    /// Failures opened the circuit, or all endpoints are out.
    Open,
    /// The ramp had no place, or the probe is out.
    HalfOpen,
    /// An operator's `cap`.
    Capped,
    /// An operator's `shed`.
    Shed,
    /// An operator's `mute-retries`.
    RetriesMuted,
    /// The connection limit.
    ConnectionOverflow,
    /// The pending limit.
    PendingOverflow,
}

impl Reason {
    /// As in the header `x-fusebox-refused`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForcedOpen => "forced-open",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Capped => "capped",
            Self::Shed => "shed",
            Self::RetriesMuted => "retries-muted",
            Self::ConnectionOverflow => "connection-overflow",
            Self::PendingOverflow => "pending-overflow",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit of the pool behind the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its connections.
    Connections,
    /// Its queue of attempts that wait for one.
    Pending,
    /// All its endpoints are ejected.
    AllEjected,
}

impl From<Overflow> for Reason {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::Connections => Self::ConnectionOverflow,
            Overflow::Pending => Self::PendingOverflow,
            Overflow::AllEjected => Self::Open,
        }
    }
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ForcedOpen => Self::ForcedOpen,
            Refused::Open => Self::Open,
            Refused::HalfOpen => Self::HalfOpen,
            Refused::RetriesMuted => Self::RetriesMuted,
            Refused::Capped => Self::Capped,
            Refused::Shed => Self::Shed,
        }
    }
}

impl Ended {
    /// What it says about the callee.
    pub(super) const fn to_breaker(self) -> breaker::Outcome {
        match self.outcome {
            Outcome::Success => breaker::Outcome::Success,
            Outcome::Failure | Outcome::TimedOut => breaker::Outcome::Failure,
            Outcome::Cancelled | Outcome::Ours => breaker::Outcome::Cancelled,
        }
    }

    /// What it invites the caller to. `Request Timeout`, `Too Early` and `Too Many Requests`, and
    /// gRPC's `RESOURCE_EXHAUSTED` and `ABORTED`, are no failures, but ask for a repetition.
    pub(super) const fn to_caller(self, protocol: Protocol) -> End {
        let status = self.status;
        match (self.outcome, protocol) {
            (Outcome::Cancelled, _) => End::GivenUp,
            (Outcome::Failure | Outcome::TimedOut | Outcome::Ours, _) => End::Failed { status },
            (Outcome::Success, Protocol::Grpc) if matches!(status, 8 | 10) => {
                End::Failed { status }
            }
            (Outcome::Success, _) if matches!(status, 408 | 425 | 429) => End::Failed { status },
            (Outcome::Success, _) => End::Answered,
        }
    }
}

/// What a class of attempts is to the circuit.
pub(super) const fn kind(class: Class) -> breaker::Kind {
    match class {
        Class::First | Class::Unclassified => breaker::Kind::First,
        Class::Retry { of_refused, .. } => breaker::Kind::Retry { of_refused },
        Class::Hedge => breaker::Kind::Hedge,
    }
}

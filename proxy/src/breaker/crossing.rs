//! An attempt before the circuit, and its end.

use super::service::Pass;
use fusebox_proto::command::Action;
use fusebox_proto::trace::TraceId;

/// What the breaker must know of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// What it is.
    pub kind: Kind,
    /// Its trace, if it has one.
    pub trace: Option<TraceId>,
}

/// What an attempt is to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No repetition, as far as is known.
    First,
    /// A repetition.
    Retry {
        /// Of an attempt that was refused here.
        of_refused: bool,
    },
    /// A second attempt beside one in flight.
    Hedge,
}

impl Kind {
    /// Whether `mute-retries` is about it.
    pub const fn is_retry(self) -> bool {
        matches!(self, Self::Retry { .. })
    }
}

/// Leave to send one attempt. Handed back with its end.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    /// Of the operator's part.
    pub(super) epoch: u64,
    /// Of the failure-driven part, if there is one.
    pub(super) pass: Option<Pass>,
}

/// What refused an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The circuit is forced open.
    ForcedOpen,
    /// Failures opened the circuit.
    Open,
    /// The ramp had no place, or the probe is out.
    HalfOpen,
    /// Retries are muted.
    RetriesMuted,
    /// The rate is at its cap.
    Capped,
    /// It is in the share that is shed.
    Shed,
}

/// How an attempt ended, as far as it says something about the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The callee answered well.
    Success,
    /// The callee failed.
    Failure,
    /// The caller went away.
    Cancelled,
}

impl Refused {
    pub(super) const fn by(action: Action) -> Self {
        match action {
            Action::MuteRetries { .. } => Self::RetriesMuted,
            Action::Cap { .. } => Self::Capped,
            Action::Shed { .. } => Self::Shed,
            Action::Open => Self::ForcedOpen,
        }
    }
}

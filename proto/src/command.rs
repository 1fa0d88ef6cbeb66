//! What an operator wants of an edge, and what a proxy answers.
//!
//! A command is the *whole* desired state of one edge, under a revision. A proxy applies commands
//! of an edge in order of revision, never backwards, and applying one twice changes nothing. An
//! action is a lease: it ends in the proxy, on its own monotonic clock, whatever happens to the
//! collector or the console.

use crate::ServiceId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The shortest lease.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// The longest lease.
pub const TTL_MAX: Duration = Duration::from_hours(1);
/// The lease that is taken where none is named.
pub const TTL_DEFAULT: Duration = Duration::from_mins(5);
/// Share of first attempts that `shed` refuses where none is named, percent.
pub const SHED_PERCENT_DEFAULT: u8 = 50;
/// A reason is cut to this many bytes.
pub const REASON_LEN_MAX: usize = 256;

/// What to do with the attempts of an edge, least harm first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Refuse retries, let first attempts pass.
    MuteRetries {
        /// Share of retries that still pass, percent.
        percent: u8,
    },
    /// Hold all attempts of the edge at a rate; no recognition of retries needed.
    Cap {
        /// Attempts per second of the whole edge; each proxy takes its share of it.
        attempts_per_s: f64,
    },
    /// Refuse a share of first attempts, deterministic by trace id, and all retries of refused ones.
    Shed {
        /// Share of first attempts that is refused, percent.
        percent: u8,
    },
    /// Refuse everything.
    Open,
}

/// The name of an [`Action`], as the command line spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionKind {
    /// [`Action::MuteRetries`]
    MuteRetries,
    /// [`Action::Cap`]
    Cap,
    /// [`Action::Shed`]
    Shed,
    /// [`Action::Open`]
    Open,
}

impl ActionKind {
    /// All of them, least harm first.
    pub const ALL: [Self; 4] = [Self::MuteRetries, Self::Cap, Self::Shed, Self::Open];

    /// `open`, `mute-retries`, `cap`, `shed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MuteRetries => "mute-retries",
            Self::Cap => "cap",
            Self::Shed => "shed",
            Self::Open => "open",
        }
    }

    /// The state of a breaker that this action holds.
    pub const fn state(self) -> BreakerState {
        match self {
            Self::MuteRetries => BreakerState::RetriesMuted,
            Self::Cap => BreakerState::Capped,
            Self::Shed => BreakerState::Shedding,
            Self::Open => BreakerState::ForcedOpen,
        }
    }

    /// The action of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Action {
    /// Its name.
    pub const fn kind(self) -> ActionKind {
        match self {
            Self::MuteRetries { .. } => ActionKind::MuteRetries,
            Self::Cap { .. } => ActionKind::Cap,
            Self::Shed { .. } => ActionKind::Shed,
            Self::Open => ActionKind::Open,
        }
    }

    /// The state of a breaker that this action holds.
    pub const fn state(self) -> BreakerState {
        self.kind().state()
    }
}

/// Where the circuit of an edge stands. Electrical convention: a *closed* circuit conducts, an
/// *open* one refuses. Ordered by how much it refuses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests pass.
    #[default]
    Closed,
    /// An operator's lease refuses retries.
    RetriesMuted,
    /// An operator's lease holds the rate.
    Capped,
    /// An operator's lease refuses a share.
    Shedding,
    /// Probes pass: the ramp after an operator's lease, or after failures.
    HalfOpen,
    /// Failures opened the circuit.
    Open,
    /// An operator's lease holds the circuit open.
    ForcedOpen,
}

impl BreakerState {
    /// As in JSON: `closed`, `retries_muted`, `capped`, `shedding`, `half_open`, `open`,
    /// `forced_open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::RetriesMuted => "retries_muted",
            Self::Capped => "capped",
            Self::Shedding => "shedding",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
            Self::ForcedOpen => "forced_open",
        }
    }
}

/// The desired state of one edge of one proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Names the operator's request; the same in every proxy and in the audit.
    pub id: String,
    /// Higher wins; unique in a mesh.
    pub revision: u64,
    /// The called service; the caller is the proxy's own.
    pub destination: ServiceId,
    /// What to do.
    pub verb: Verb,
    /// Who asked, for the proxy's own admin page and log.
    pub by: String,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// What a [`Command`] asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    /// Take a lease.
    Trip {
        /// What to refuse.
        action: Action,
        /// How long from receipt: [`TTL_MIN`] … [`TTL_MAX`]. After it the ramp begins.
        ttl: Duration,
        /// How many proxies share the edge, at least 1: each takes its part of a cap and of probes.
        proxies: u32,
    },
    /// End the lease now.
    Reset {
        /// Close at once; else through the ramp.
        at_once: bool,
    },
}

/// What a proxy did with a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack {
    /// Of the command.
    pub id: String,
    /// Of the command.
    pub revision: u64,
    /// Of the command.
    pub destination: ServiceId,
    /// What came of it.
    pub result: AckResult,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum AckResult {
    /// In force (also when it already was).
    Applied,
    /// A command of this higher revision was already in force.
    Superseded {
        /// The revision in force.
        revision: u64,
    },
    /// Refused whole, with the reason.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// A lease that a proxy holds, as it tells a collector that may know less than it does.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldLease {
    /// The command in force. The TTL of a trip is the time left of the lease: zero while its ramp
    /// runs, so that nobody takes the rest of a ramp for a lease.
    pub command: Command,
    /// State of the breaker now; `HalfOpen` while the ramp runs.
    pub state: BreakerState,
}

/// An operator asks to trip an edge; names are as typed, and resolved by the collector.
#[derive(Clone, Debug, PartialEq)]
pub struct TripRequest {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// Name of the calling service, as typed.
    pub source: String,
    /// Name of the called service, as typed.
    pub destination: String,
    /// What to do.
    pub action: ActionKind,
    /// With `mute-retries` the share of retries still let through, with `shed` the share of first
    /// attempts refused; `None` for the default, and with the other actions.
    pub percent: Option<u8>,
    /// For how long: [`TTL_MIN`] … [`TTL_MAX`].
    pub ttl: Duration,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// An operator asks to end a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct ResetRequest {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// Which leases.
    pub scope: ResetScope,
    /// Close at once; else through the ramp.
    pub at_once: bool,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// Which leases a [`ResetRequest`] ends.
#[derive(Clone, Debug, PartialEq)]
pub enum ResetScope {
    /// That of one edge; names as typed.
    Edge {
        /// Name of the calling service.
        source: String,
        /// Name of the called service.
        destination: String,
    },
    /// All that are in force.
    All,
}

/// What a collector says on a proxy's stream: first [`Welcome`], then the others.
#[derive(Clone, Debug, PartialEq)]
pub enum ToProxy {
    /// The answer to a [`Hello`](crate::report::Hello).
    Welcome(Welcome),
    /// The desired state of one edge.
    Command(Command),
    /// All windows of this boot up to this number were taken; the proxy may forget them.
    ReportAck {
        /// As in the report.
        boot: u64,
        /// As in the report.
        number: u64,
    },
    /// The policy, whole.
    Policy(crate::policy::Push),
}

/// A collector introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Version of the collector.
    pub build: String,
    /// Where to send spans, OTLP over gRPC; empty: nowhere.
    pub otlp_grpc_url: String,
}

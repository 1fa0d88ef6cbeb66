//! What the console, the command line and the HTTP API show: the JSON of the contract, stable from
//! the first release. `None` is `null` is "not known".
//!
//! A service in a view is its printed name: short where that is unique, else
//! `environment/namespace/name`. All text here has been made visible at ingest.

mod guard;
mod incident;
mod policy;
mod remedy;

pub use guard::{Guard, GuardMode, IncidentGuard};
pub use incident::{
    DataQuality, Evidence, Incident, IncidentState, Layer, SuggestedAction, Suspect,
};
pub use policy::{
    FINDINGS_MAX, LintResult, PolicyDocument, PolicyOutcome, PolicyProxy, PolicyResult, PolicySet,
    PolicyStanding, PolicyVersion, PolicyView,
};
pub use remedy::{Remedy, Shift};

use crate::command::BreakerState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

/// The first moment that RFC 3339 has no year for, ms since the Unix epoch.
const YEAR_10_000_MS: u64 = 253_402_300_800_000;

/// A wall-clock time, ms since the Unix epoch; in JSON RFC 3339 UTC with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if YEAR_10_000_MS <= self.0 {
            return write!(f, "{} ms", self.0);
        }
        let at = UNIX_EPOCH + Duration::from_millis(self.0);
        humantime::format_rfc3339_millis(at).fmt(f)
    }
}

impl Stamp {
    /// Parses RFC 3339 in UTC, as it is written here.
    pub fn parse(text: &str) -> Option<Self> {
        let at = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(at.as_millis()).ok().map(Self)
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("is not an RFC 3339 time"))
    }
}

/// Everything at one moment: what a new console gets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Wall clock of the newest data.
    pub at: Stamp,
    /// The collector in a few figures.
    pub status: Status,
    /// By name.
    pub services: Vec<Service>,
    /// By (source, destination).
    pub edges: Vec<EdgeView>,
    /// Open ones first, newest first.
    pub incidents: Vec<Incident>,
    /// Things worth knowing that are no incident.
    pub advisories: Vec<Advisory>,
    /// Everything that is not closed, and what changed lately.
    pub breakers: Vec<Breaker>,
    /// By id.
    pub proxies: Vec<Proxy>,
    /// What happened, newest first.
    pub events: Vec<Event>,
    /// The traffic policy.
    pub policy: PolicyView,
}

/// Overall health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing known to be wrong.
    #[default]
    Ok,
    /// An incident is open.
    Incident,
    /// No incident, but the collector itself cannot see or keep everything.
    Degraded,
}

/// Where a collector keeps what should outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// Nowhere: what is known lasts as long as the collector's process.
    Memory,
    /// In its data directory.
    Disk,
    /// In its data directory, which cannot be written now: what happens is not kept.
    Failing,
}

/// `fusebox status`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Overall.
    pub health: Health,
    /// Whether the collector lives in the console's own process.
    pub embedded: bool,
    /// How many services are on the graph.
    pub services: u64,
    /// How many edges are on the graph.
    pub edges: u64,
    /// How many proxies are connected.
    pub proxies: u64,
    /// How many incidents are open.
    pub incidents_open: u64,
    /// The collector itself.
    pub collector: CollectorStatus,
    /// Guard mode; `None` where it only suggests, as it does unless it is told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// The collector itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// Version of the program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Spans taken per second over the last 10 s.
    pub spans_per_s: f64,
    /// Who sent telemetry in the last 60 s: proxies and OTLP peers.
    pub senders: u64,
    /// What was dropped or refused since it started, by reason; only what is not zero.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// Where it keeps what should outlive it.
    #[serde(default)]
    pub history: Option<History>,
}

/// What a node of the graph is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A service that sends telemetry, or has a proxy.
    #[default]
    Service,
    /// A database that is known from its clients.
    Database,
    /// A queue or topic.
    Messaging,
    /// Anything else that is known from its callers only.
    External,
}

/// One service of `fusebox services`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Printed name: the identity in commands.
    pub name: String,
    /// `service.namespace`.
    pub namespace: String,
    /// `deployment.environment.name`.
    pub environment: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Inbound requests per second over the last 10 s.
    pub rate: Option<f64>,
    /// Failed ÷ all inbound requests over the last 10 s.
    pub error_ratio: Option<f64>,
    /// Server side, over the last 60 s; `None` below 5 samples.
    pub p50_ms: Option<f64>,
    /// `None` below 59 samples.
    pub p95_ms: Option<f64>,
    /// `None` below 299 samples.
    pub p99_ms: Option<f64>,
    /// Instances seen in the last 60 s; `None` for what is known from its callers only.
    pub instances: Option<u64>,
}

/// What is known of the encryption of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mtls {
    /// All of it.
    Mtls,
    /// None of it.
    Plaintext,
    /// Some of it.
    Mixed,
    /// Nothing is known.
    #[default]
    Unknown,
}

/// One edge of `fusebox edges`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeView {
    /// Printed name of the caller.
    pub source: String,
    /// Printed name of the callee.
    pub destination: String,
    /// `http/1.1`, `http/2`, `grpc`, `tcp`, `database`, `messaging`, `unknown`.
    pub protocol: String,
    /// Attempts per second over the last 10 s, refused ones not among them.
    pub rate: Option<f64>,
    /// (Failed + timed out) ÷ ended attempts over the last 10 s; refusals are no failures.
    pub error_ratio: Option<f64>,
    /// Attempts that proxies refused per second over the last 10 s.
    pub refused_per_s: Option<f64>,
    /// Attempts ÷ first attempts over the last 10 s.
    pub attempts_per_request: Option<f64>,
    /// Client side where known, over the last 60 s; `None` below 5 samples.
    pub p50_ms: Option<f64>,
    /// `None` below 59 samples.
    pub p95_ms: Option<f64>,
    /// `None` below 299 samples.
    pub p99_ms: Option<f64>,
    /// Encryption.
    pub mtls: Mtls,
    /// Proxies that enforce commands on this edge.
    pub proxies: u64,
    /// The circuit: the most restrictive state among the proxies.
    pub breaker: EdgeBreaker,
}

/// The circuit of an edge over all its proxies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeBreaker {
    /// Most restrictive state.
    pub state: BreakerState,
    /// Share that passes (retries when muted, all in a ramp) or is refused (shedding), percent.
    pub percent: Option<u8>,
    /// When the lease ends.
    pub until: Option<Stamp>,
    /// Proxies in which the newest command is in force.
    pub applied: u64,
    /// Proxies that should have it.
    pub proxies: u64,
}

/// Printed names of an edge's ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeName {
    /// Caller.
    pub source: String,
    /// Callee.
    pub destination: String,
}

/// Something worth knowing that is no incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    /// `n_plus_one`, `hedging`, `polling`, …
    pub kind: String,
    /// Caller.
    pub source: String,
    /// Callee.
    pub destination: String,
    /// One sentence.
    pub summary: String,
    /// Since when.
    pub since: Stamp,
}

/// One breaker of `fusebox breakers`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// `source>destination`
    pub edge: String,
    /// `operator`, `service`, `endpoint`
    pub kind: String,
    /// The endpoint; `None` for the whole edge.
    pub endpoint: Option<String>,
    /// Most restrictive state.
    pub state: BreakerState,
    /// Why.
    pub cause: String,
    /// Since when.
    pub since: Option<Stamp>,
    /// Until when.
    pub until: Option<Stamp>,
    /// Who.
    pub by: Option<String>,
    /// Why: in the operator's words; what was measured of an endpoint; of a shadow what it would have
    /// cost.
    pub reason: Option<String>,
    /// Proxies in which the newest command is in force.
    pub applied: u64,
    /// Proxies that should have it.
    pub proxies: u64,
    /// Attempts refused since the state began; in shadow those that would have been.
    pub refused_total: u64,
}

/// One proxy of `fusebox proxies`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proxy {
    /// Id.
    pub id: String,
    /// Printed name of its service.
    pub service: String,
    /// Namespace of its service.
    pub namespace: String,
    /// Instance.
    pub instance: String,
    /// Version.
    pub build: String,
    /// Version of the policy in force there; `None` without one.
    pub policy_version: Option<u64>,
    /// Whether its stream is open.
    pub connected: bool,
    /// Since its last message.
    pub last_seen_ms: u64,
    /// Whether it is on its way to its end; never where its stream is closed.
    pub draining: bool,
    /// What it was told to do and cannot, a line each; none where its stream is closed.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// Something that happened, for "recent events" and the timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Stamp,
    /// `incident`, `trip`, `reset`, `breaker`, `proxy`, `instance`, `collector`, `policy`
    pub kind: String,
    /// One line.
    pub text: String,
}

/// Answer to `fusebox trip` and `fusebox reset`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TripResult {
    /// Id of the command.
    pub id: String,
    /// The edge.
    pub edge: EdgeName,
    /// `open`, `mute-retries`, `cap`, `shed`, `reset`
    pub action: String,
    /// Proxies that acknowledged.
    pub applied: u64,
    /// Proxies that should.
    pub proxies: u64,
    /// Share of the edge's attempts that pass through proxies that enforce it; `None` not known.
    pub coverage: Option<f64>,
    /// From the command to the last acknowledgement; `None` while some are missing.
    pub applied_ms: Option<f64>,
    /// When the lease ends; `None` for a reset.
    pub expires_at: Option<Stamp>,
    /// Why it is not applied everywhere; empty where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a collector sends to a console that watches: first a snapshot, then differences.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Everything.
    Snapshot(Box<Snapshot>),
    /// What changed.
    Delta(Box<crate::delta::Delta>),
}

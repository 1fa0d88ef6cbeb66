//! An incident, with what speaks for it and against it, and what would help.

use super::{EdgeName, IncidentGuard, Remedy, Stamp};
use serde::{Deserialize, Serialize};

/// Life of an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentState {
    /// Now.
    #[default]
    Open,
    /// Over.
    Resolved,
}

/// One incident of `fusebox incidents`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Short, stable, unique in a collector.
    pub id: String,
    /// `retry_storm`, `latency_regression`, `error_surge`, `canary_regression`, …
    pub kind: String,
    /// Open or resolved.
    pub state: IncidentState,
    /// `retrying`, `storm`, `sustained`, `draining`, …
    pub phase: String,
    /// When it fired.
    pub opened_at: Stamp,
    /// When it was over.
    pub resolved_at: Option<Stamp>,
    /// One sentence for someone who was asleep a minute ago.
    pub summary: String,
    /// 0 … 1
    pub confidence: f64,
    /// Who causes it.
    pub originator: Option<String>,
    /// Who suffers.
    pub victim: Option<String>,
    /// The subset of the originator that is at fault; `None` where all of it is.
    #[serde(default)]
    pub subset: Option<String>,
    /// The edge to act on.
    pub edge: Option<EdgeName>,
    /// Product of the layers' factors.
    pub amplification: Option<f64>,
    /// Factor of each edge that multiplies, upper first.
    pub layers: Vec<Layer>,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
    /// What speaks against it.
    pub counter_evidence: Vec<String>,
    /// Best first.
    pub suspects: Vec<Suspect>,
    /// What would help, with the least harm; `None` where nothing that we can do would.
    pub action: Option<SuggestedAction>,
    /// What else could be done on the same edge, least harm first, each with its own tier and
    /// predicted effect.
    #[serde(default)]
    pub alternatives: Vec<SuggestedAction>,
    /// How good the data behind it is.
    pub data_quality: DataQuality,
    /// What guard mode did about it, or would not; `None` where it had nothing to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<IncidentGuard>,
}

/// One layer that multiplies attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// Caller.
    pub source: String,
    /// Callee.
    pub destination: String,
    /// Attempts per request on this edge.
    pub factor: f64,
}

/// One signal before and now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// `attempts per request`, `failed attempts`, …
    pub signal: String,
    /// Before.
    pub baseline: Option<f64>,
    /// Now.
    pub current: Option<f64>,
    /// `×`, `%`, `/s`, `ms`, `requests`
    pub unit: String,
    /// The last seconds up to now, oldest first, at most 60; empty where not kept.
    #[serde(default)]
    pub series: Vec<f64>,
}

/// Who may be guilty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Printed name.
    pub service: String,
    /// 0 … 1, strictly falling.
    pub score: f64,
    /// 0 … 1
    pub confidence: f64,
    /// In figures.
    pub reason: String,
}

/// What the collector suggests to do, or knows of an alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuggestedAction {
    /// What.
    #[serde(flatten)]
    pub action: Remedy,
    /// On which edge: caller.
    pub source: String,
    /// Callee.
    pub destination: String,
    /// For how long, from the drain time with a margin; 0: until somebody changes it.
    pub ttl_s: u64,
    /// 0: one key fires; 1: `y` after the prediction; 2: type the name.
    pub tier: u8,
    /// Predicted effect, one sentence.
    pub predicted: String,
}

/// How good the data behind a finding is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataQuality {
    /// `proxies` (exact), `spans`, or `proxies+spans`.
    pub source: String,
    /// Share of the edge's attempts that the data covers; 1 with proxies only.
    pub coverage: Option<f64>,
    /// Lowest sampling probability seen on the edge.
    pub sampling: Option<f64>,
    /// Share of retries that were recognised for certain or probable, not by ratio.
    pub recognised: Option<f64>,
    /// Share of spans or windows that came late.
    pub late_ratio: Option<f64>,
    /// Proxies of the edge that have not reported for 3 s.
    pub stale_proxies: u64,
    /// The same in words; empty where all is well.
    pub note: String,
}

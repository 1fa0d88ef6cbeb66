//! The policy in a view, and what came of a request to change it.

use super::Stamp;
use crate::policy::{Change, Diff, Finding, Profile};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Findings of one answer.
pub const FINDINGS_MAX: usize = 1_000;

/// `fusebox policy`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyView {
    /// The newest version.
    #[serde(flatten)]
    pub set: PolicySet,
    /// How far each connected proxy is, by id; without any version, only those that have one.
    pub proxies: Vec<PolicyProxy>,
}

/// The newest version of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySet {
    /// Its number; `None` where there is none.
    pub version: Option<u64>,
    /// How its documents are understood.
    pub profile: Profile,
    /// Its documents, in their order.
    #[serde(with = "shared")]
    pub documents: Arc<[PolicyDocument]>,
    /// The versions that are kept, newest first.
    pub versions: Vec<PolicyVersion>,
    /// What an operator should know, such as that proxies run a policy that this collector does
    /// not have; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notice: String,
}

/// A list that many snapshots have in common, as a plain list.
mod shared {
    use super::{Arc, Deserialize, PolicyDocument, Serialize};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        list: &Arc<[PolicyDocument]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        list[..].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[PolicyDocument]>, D::Error> {
        Vec::deserialize(deserializer).map(Into::into)
    }
}

/// One document of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDocument {
    /// `VirtualService`.
    pub kind: String,
    /// May be empty.
    pub namespace: String,
    /// May be empty.
    pub name: String,
    /// Its canonical text: YAML.
    pub text: String,
}

/// One version of a policy, without its documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Its number.
    pub version: u64,
    /// When it came to be.
    pub at: Stamp,
    /// Who asked for it.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// `apply`, `rollback to 3`, `shift inventory v1=75 v2=25`.
    pub what: String,
    /// How many documents it has.
    pub documents: u64,
}

/// How far a proxy is with the newest version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyProxy {
    /// Its id.
    pub id: String,
    /// The version in force there; `None` without one.
    pub version: Option<u64>,
    /// Whether the newest version is.
    pub result: PolicyStanding,
    /// Why not, or what is odd about it; may be empty.
    pub reason: String,
}

/// Whether the newest version is in force in a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyStanding {
    /// It has not answered.
    #[default]
    Pending,
    /// It is.
    Applied,
    /// It was refused there, whole; the last good one stays in force.
    Rejected,
}

impl PolicyStanding {
    /// As in JSON: `pending`, `applied`, `rejected`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}

/// Answer to `fusebox apply`, `rollback` and `shift`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// What.
    pub outcome: PolicyOutcome,
    /// The newest version, after the request; `None` where there is none.
    pub version: Option<u64>,
    /// What changes.
    pub changes: Vec<Change>,
    /// Changes past [`CHANGES_MAX`](crate::policy::CHANGES_MAX).
    pub changes_left_out: u64,
    /// What there is to say about the set, the worst first.
    pub findings: Vec<Finding>,
    /// Findings past [`FINDINGS_MAX`].
    pub findings_left_out: u64,
    /// Proxies in which the version is in force.
    pub applied: u64,
    /// Proxies that should have it: all that are connected.
    pub proxies: u64,
    /// From the request to the last acknowledgement; `None` while some are missing.
    pub applied_ms: Option<f64>,
    /// Why it is not in force everywhere; empty where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl PolicyResult {
    /// A result that says what changes and what there is to say, and nothing of proxies.
    pub fn new(outcome: PolicyOutcome, version: Option<u64>, diff: Diff, said: LintResult) -> Self {
        Self {
            outcome,
            version,
            changes: diff.changes,
            changes_left_out: diff.left_out as u64,
            findings: said.findings,
            findings_left_out: said.findings_left_out,
            ..Self::default()
        }
    }
}

/// What came of a request to change the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOutcome {
    /// There is a new version.
    Applied,
    /// Nothing would change, so nothing did.
    Unchanged,
    /// It was only tried.
    DryRun,
    /// The findings forbid it; nothing changed.
    #[default]
    Refused,
}

/// Answer to `fusebox lint`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LintResult {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Findings past [`FINDINGS_MAX`].
    #[serde(default)]
    pub findings_left_out: u64,
}

impl LintResult {
    /// These findings, the worst first, as many as one answer holds.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let findings_left_out = findings.len().saturating_sub(FINDINGS_MAX) as u64;
        findings.truncate(FINDINGS_MAX);
        Self { findings, findings_left_out }
    }
}

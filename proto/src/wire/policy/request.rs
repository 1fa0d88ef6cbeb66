//! What operators ask of the policy, and what they are answered.

use super::super::command::{reason, request_id};
use super::super::{all, each, line, maybe_finite, v1};
use super::{maybe_line, maybe_profile, wire_profile};
use crate::Invalid;
use crate::policy::{
    ApplyRequest, CHANGES_MAX, Change, DOCUMENTS_LEN_MAX, FILES_MAX, Finding, LintRequest,
    RollbackRequest, Severity, ShiftRequest, SourceFile, WEIGHT_MAX, WEIGHTS_MAX,
};
use crate::view::{FINDINGS_MAX, LintResult, PolicyOutcome, PolicyResult};

impl From<SourceFile> for v1::PolicyFile {
    fn from(SourceFile { name, text }: SourceFile) -> Self {
        Self { name, text }
    }
}

fn files(wire: Vec<v1::PolicyFile>) -> Result<Vec<SourceFile>, Invalid> {
    if FILES_MAX < wire.len() {
        let reason = format!("has {} entries; at most {FILES_MAX}", wire.len());
        return Err(Invalid::new("files", reason));
    }
    let len: usize = wire.iter().map(|file| file.text.len()).sum();
    if DOCUMENTS_LEN_MAX < len {
        let reason = format!("has {len} bytes; at most {DOCUMENTS_LEN_MAX}");
        return Err(Invalid::new("files", reason));
    }
    // The text is YAML, with line ends: what quotes it makes visible what it quotes.
    let file = |file: v1::PolicyFile| SourceFile { name: line(&file.name), text: file.text };
    Ok(wire.into_iter().map(file).collect())
}

impl From<ApplyRequest> for v1::ApplyRequest {
    fn from(request: ApplyRequest) -> Self {
        Self {
            request_id: request.request_id,
            files: all(request.files),
            dry_run: request.dry_run,
            strict: request.strict,
            profile: wire_profile(request.profile),
            reason: request.reason,
            by: request.by,
        }
    }
}

impl TryFrom<v1::ApplyRequest> for ApplyRequest {
    type Error = Invalid;

    fn try_from(wire: v1::ApplyRequest) -> Result<Self, Invalid> {
        if wire.files.is_empty() {
            return Err(Invalid::new("files", "is empty; at least one is needed"));
        }
        Ok(Self {
            request_id: request_id(&wire.request_id)?,
            files: files(wire.files)?,
            dry_run: wire.dry_run,
            strict: wire.strict,
            profile: maybe_profile(wire.profile)?,
            reason: reason(&wire.reason),
            by: line(&wire.by),
        })
    }
}

impl From<RollbackRequest> for v1::RollbackRequest {
    fn from(request: RollbackRequest) -> Self {
        let RollbackRequest { request_id, to, reason, by } = request;
        Self { request_id, to, reason, by }
    }
}

impl TryFrom<v1::RollbackRequest> for RollbackRequest {
    type Error = Invalid;

    fn try_from(wire: v1::RollbackRequest) -> Result<Self, Invalid> {
        Ok(Self {
            request_id: request_id(&wire.request_id)?,
            to: wire.to,
            reason: reason(&wire.reason),
            by: line(&wire.by),
        })
    }
}

impl From<ShiftRequest> for v1::ShiftRequest {
    fn from(request: ShiftRequest) -> Self {
        let weight = |(subset, weight)| v1::SubsetWeight { subset, weight };
        Self {
            request_id: request.request_id,
            host: request.host,
            weights: request.weights.into_iter().map(weight).collect(),
            reason: request.reason,
            by: request.by,
        }
    }
}

impl TryFrom<v1::ShiftRequest> for ShiftRequest {
    type Error = Invalid;

    fn try_from(wire: v1::ShiftRequest) -> Result<Self, Invalid> {
        let len = wire.weights.len();
        if !(1..=WEIGHTS_MAX).contains(&len) {
            let reason = format!("has {len} entries; allowed are 1 to {WEIGHTS_MAX}");
            return Err(Invalid::new("weights", reason));
        }
        let weight = |(at, wire): (usize, &v1::SubsetWeight)| {
            let field = |name| format!("weights[{at}].{name}");
            if wire.subset.is_empty() {
                return Err(Invalid::new(field("subset"), "is empty"));
            }
            if WEIGHT_MAX < wire.weight {
                let reason = format!("is {}; at most {WEIGHT_MAX}", wire.weight);
                return Err(Invalid::new(field("weight"), reason));
            }
            Ok((line(&wire.subset), wire.weight))
        };
        Ok(Self {
            request_id: request_id(&wire.request_id)?,
            host: line(&wire.host),
            weights: wire.weights.iter().enumerate().map(weight).collect::<Result<_, _>>()?,
            reason: reason(&wire.reason),
            by: line(&wire.by),
        })
    }
}

impl From<LintRequest> for v1::LintRequest {
    fn from(LintRequest { files, profile }: LintRequest) -> Self {
        Self { files: all(files), profile: wire_profile(profile) }
    }
}

impl TryFrom<v1::LintRequest> for LintRequest {
    type Error = Invalid;

    fn try_from(wire: v1::LintRequest) -> Result<Self, Invalid> {
        Ok(Self { files: files(wire.files)?, profile: maybe_profile(wire.profile)? })
    }
}

// === Answers ===

impl From<Severity> for v1::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

fn severity(wire: i32) -> Result<Severity, Invalid> {
    match v1::Severity::try_from(wire) {
        Ok(v1::Severity::Info) => Ok(Severity::Info),
        Ok(v1::Severity::Warning) => Ok(Severity::Warning),
        Ok(v1::Severity::Error) => Ok(Severity::Error),
        Ok(v1::Severity::Unspecified) | Err(_) => {
            Err(Invalid::new("severity", format!("is {wire}, which is no severity")))
        }
    }
}

impl From<Finding> for v1::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            severity: v1::Severity::from(finding.severity).into(),
            object: finding.object,
            field: finding.field,
            message: finding.message,
            evidence: finding.evidence,
        }
    }
}

impl TryFrom<v1::Finding> for Finding {
    type Error = Invalid;

    fn try_from(wire: v1::Finding) -> Result<Self, Invalid> {
        Ok(Self {
            severity: severity(wire.severity)?,
            object: line(&wire.object),
            field: line(&wire.field),
            message: line(&wire.message),
            evidence: maybe_line(wire.evidence.as_ref()),
        })
    }
}

impl From<Change> for v1::PolicyChange {
    fn from(change: Change) -> Self {
        let Change { object, field, before, after } = change;
        Self { object, field, before, after }
    }
}

impl TryFrom<v1::PolicyChange> for Change {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyChange) -> Result<Self, Invalid> {
        Ok(Self {
            object: line(&wire.object),
            field: line(&wire.field),
            before: maybe_line(wire.before.as_ref()),
            after: maybe_line(wire.after.as_ref()),
        })
    }
}

impl From<PolicyOutcome> for v1::PolicyOutcome {
    fn from(outcome: PolicyOutcome) -> Self {
        match outcome {
            PolicyOutcome::Applied => Self::Applied,
            PolicyOutcome::Unchanged => Self::Unchanged,
            PolicyOutcome::DryRun => Self::DryRun,
            PolicyOutcome::Refused => Self::Refused,
        }
    }
}

fn outcome(wire: i32) -> Result<PolicyOutcome, Invalid> {
    match v1::PolicyOutcome::try_from(wire) {
        Ok(v1::PolicyOutcome::Applied) => Ok(PolicyOutcome::Applied),
        Ok(v1::PolicyOutcome::Unchanged) => Ok(PolicyOutcome::Unchanged),
        Ok(v1::PolicyOutcome::DryRun) => Ok(PolicyOutcome::DryRun),
        Ok(v1::PolicyOutcome::Refused) => Ok(PolicyOutcome::Refused),
        Ok(v1::PolicyOutcome::Unspecified) | Err(_) => {
            Err(Invalid::new("outcome", format!("is {wire}, which is no outcome")))
        }
    }
}

impl From<PolicyResult> for v1::PolicyReply {
    fn from(result: PolicyResult) -> Self {
        Self {
            outcome: v1::PolicyOutcome::from(result.outcome).into(),
            version: result.version,
            changes: all(result.changes),
            changes_left_out: result.changes_left_out,
            findings: all(result.findings),
            findings_left_out: result.findings_left_out,
            applied: result.applied,
            proxies: result.proxies,
            applied_ms: result.applied_ms,
            note: result.note,
        }
    }
}

impl TryFrom<v1::PolicyReply> for PolicyResult {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyReply) -> Result<Self, Invalid> {
        Ok(Self {
            outcome: outcome(wire.outcome)?,
            version: wire.version,
            changes: each(wire.changes, "changes", CHANGES_MAX)?,
            changes_left_out: wire.changes_left_out,
            findings: each(wire.findings, "findings", FINDINGS_MAX)?,
            findings_left_out: wire.findings_left_out,
            applied: wire.applied,
            proxies: wire.proxies,
            applied_ms: maybe_finite(wire.applied_ms, "applied_ms")?,
            note: line(&wire.note),
        })
    }
}

impl From<LintResult> for v1::LintReply {
    fn from(LintResult { findings, findings_left_out }: LintResult) -> Self {
        Self { findings: all(findings), findings_left_out }
    }
}

impl TryFrom<v1::LintReply> for LintResult {
    type Error = Invalid;

    fn try_from(wire: v1::LintReply) -> Result<Self, Invalid> {
        let findings = each(wire.findings, "findings", FINDINGS_MAX)?;
        Ok(Self { findings, findings_left_out: wire.findings_left_out })
    }
}

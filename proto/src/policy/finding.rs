//! What reading, compiling and `lint` say about a policy: the one shape for all three.

use crate::{Invalid, text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a [`Finding`] weighs. Ordered: the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know: what a profile repairs, what is skipped for a good reason.
    Info,
    /// Applied, but not as the words of the document suggest. An error under `--strict`.
    Warning,
    /// Nothing of the set is applied.
    Error,
}

impl Severity {
    /// `error`, `warning`, `info`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing to say about a policy, as `lint` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// `DestinationRule/shop/payment`, or `document 3` where a document does not say what it is;
    /// empty for the file as a whole.
    pub object: String,
    /// Path of the field, such as `spec.http[0].route[1].weight`; empty for the whole object.
    pub field: String,
    /// What is so, and what is allowed: lower case, no final dot, reads on after the field.
    pub message: String,
    /// What it rests on: `inventory.yaml:14`, or figures of a live mesh; `None`: nothing to add.
    pub evidence: Option<String>,
}

impl Finding {
    /// A finding without evidence. What it quotes from a document is made visible here.
    pub fn new(severity: Severity, object: &str, field: &str, message: &str) -> Self {
        Self {
            severity,
            object: text::visible(object).into_owned(),
            field: text::visible(field).into_owned(),
            message: text::visible(message).into_owned(),
            evidence: None,
        }
    }

    /// The same finding, resting on `evidence`.
    #[must_use]
    pub fn resting_on(self, evidence: &str) -> Self {
        Self { evidence: Some(text::visible(evidence).into_owned()), ..self }
    }
}

/// `inventory.yaml:14: VirtualService/shop/inventory: spec.http[0].timeout: is not a duration`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [self.evidence.as_deref().unwrap_or_default(), &self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// For callers that know one parse error only.
impl From<Finding> for Invalid {
    fn from(finding: Finding) -> Self {
        let parts =
            [finding.evidence.as_deref().unwrap_or_default(), &finding.object, &finding.field];
        let field: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self::new(field.join(": "), finding.message)
    }
}

/// Whether these findings forbid applying the set. `strict`: warnings do, too.
pub fn refuses(findings: &[Finding], strict: bool) -> bool {
    let least = if strict { Severity::Warning } else { Severity::Error };
    findings.iter().any(|finding| least <= finding.severity)
}

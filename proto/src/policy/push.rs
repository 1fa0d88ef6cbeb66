//! A policy on its way to a proxy, and the answer.

use super::Profile;

/// The documents of a policy together, bytes.
pub const DOCUMENTS_LEN_MAX: usize = 8 << 20;

/// A version of the policy, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Never 0, and never the same for other documents.
    pub version: u64,
    /// How they are understood.
    pub profile: Profile,
    /// YAML, one document each.
    pub documents: Vec<String>,
}

/// What a proxy did with a [`Push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushAck {
    /// Of the policy.
    pub version: u64,
    /// Why it was refused whole; the last good one stays in force. `None`: it is in force.
    pub rejected: Option<String>,
}

//! What an operator asks of the policy as a whole.

use super::Profile;

/// Files of one request.
pub const FILES_MAX: usize = 1_024;
/// Subsets that one shift names.
pub const WEIGHTS_MAX: usize = 64;
/// A weight, as Istio's `int32`.
pub const WEIGHT_MAX: u32 = i32::MAX as u32;

/// A file of documents, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Documents are to be applied: each replaces the one of its kind, namespace and name, the others
/// stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyRequest {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// At least one, at most [`FILES_MAX`], together at most
    /// [`DOCUMENTS_LEN_MAX`](super::DOCUMENTS_LEN_MAX) bytes.
    pub files: Vec<SourceFile>,
    /// Change nothing; say what would change.
    pub dry_run: bool,
    /// Warnings refuse, too.
    pub strict: bool,
    /// How the whole set is understood from now on; `None`: as it was.
    pub profile: Option<Profile>,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// The documents of an earlier version are wanted back, as a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackRequest {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// Of this version; 0: no documents at all; `None`: of the one before the newest.
    pub to: Option<u64>,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// Traffic is to move between subsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShiftRequest {
    /// Chosen by the console: asking twice with the same id acts once.
    pub request_id: String,
    /// As typed: a host of a `VirtualService`, a service of an `HTTPRoute`.
    pub host: String,
    /// Subsets (of a destination without one: its host) and their new weights, at least one, at
    /// most [`WEIGHTS_MAX`].
    pub weights: Vec<(String, u32)>,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Who asks.
    pub by: String,
}

/// What is wrong with the policy, against live figures?
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LintRequest {
    /// Documents that are merged over the newest version, without changing it.
    pub files: Vec<SourceFile>,
    /// How the set is understood; `None`: as it is.
    pub profile: Option<Profile>,
}

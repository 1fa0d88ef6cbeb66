//! A version of the policy as JSON.

use super::{Unreadable, read, write};
use crate::record::PolicyRecord;
use fusebox_proto::policy::Profile;
use fusebox_proto::view::{PolicyDocument, Stamp};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct PolicyForm {
    number: u64,
    at: Stamp,
    by: String,
    reason: String,
    what: String,
    profile: Profile,
    documents: Vec<PolicyDocument>,
}

/// A version as JSON.
pub(in crate::history) fn write_policy(record: &PolicyRecord) -> String {
    write(PolicyForm {
        number: record.number,
        at: Stamp(record.at_unix_ms),
        by: record.by.clone(),
        reason: record.reason.clone(),
        what: record.what.clone(),
        profile: record.profile,
        documents: record.documents.to_vec(),
    })
}

/// And back. A version 0 there is not.
pub(in crate::history) fn read_policy(text: &str) -> Result<PolicyRecord, Unreadable> {
    let form: PolicyForm = read(text)?;
    if form.number == 0 {
        return Err(Unreadable::Broken);
    }
    Ok(PolicyRecord {
        number: form.number,
        at_unix_ms: form.at.0,
        by: form.by,
        reason: form.reason,
        what: form.what,
        profile: form.profile,
        documents: form.documents.into(),
    })
}

//! Policies and their answers. Documents are not made visible here: they are YAML, with line ends,
//! and what quotes them makes visible what it quotes.

mod request;
mod view;

use super::view::maybe_line;
use super::{line, v1};
use crate::Invalid;
use crate::policy::{DOCUMENTS_LEN_MAX, DOCUMENTS_MAX, Profile, Push, PushAck};

impl From<Profile> for v1::PolicyProfile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Fusebox => Self::Fusebox,
            Profile::IstioCompat => Self::IstioCompat,
        }
    }
}

fn profile(wire: i32) -> Result<Profile, Invalid> {
    match v1::PolicyProfile::try_from(wire) {
        Ok(v1::PolicyProfile::Fusebox) => Ok(Profile::Fusebox),
        Ok(v1::PolicyProfile::IstioCompat) => Ok(Profile::IstioCompat),
        Ok(v1::PolicyProfile::Unspecified) | Err(_) => {
            Err(Invalid::new("profile", format!("is {wire}; no such profile")))
        }
    }
}

fn wire_profile(profile: Option<Profile>) -> i32 {
    profile.map_or(v1::PolicyProfile::Unspecified, Into::into).into()
}

fn maybe_profile(wire: i32) -> Result<Option<Profile>, Invalid> {
    if wire == 0 { Ok(None) } else { profile(wire).map(Some) }
}

/// The bounds of a whole set.
fn check_documents<'t>(texts: impl ExactSizeIterator<Item = &'t str>) -> Result<(), Invalid> {
    let count = texts.len();
    if DOCUMENTS_MAX < count {
        let reason = format!("has {count} entries; at most {DOCUMENTS_MAX}");
        return Err(Invalid::new("documents", reason));
    }
    let len: usize = texts.map(str::len).sum();
    if DOCUMENTS_LEN_MAX < len {
        let reason = format!("has {len} bytes; at most {DOCUMENTS_LEN_MAX}");
        return Err(Invalid::new("documents", reason));
    }
    Ok(())
}

/// A version is never 0.
fn version(wire: u64) -> Result<u64, Invalid> {
    if wire == 0 { Err(Invalid::new("version", "is 0; versions count from 1")) } else { Ok(wire) }
}

impl From<Push> for v1::Policy {
    fn from(push: Push) -> Self {
        let profile = v1::PolicyProfile::from(push.profile).into();
        Self { version: push.version, profile, documents: push.documents }
    }
}

impl TryFrom<v1::Policy> for Push {
    type Error = Invalid;

    fn try_from(wire: v1::Policy) -> Result<Self, Invalid> {
        check_documents(wire.documents.iter().map(String::as_str))?;
        Ok(Self {
            version: version(wire.version)?,
            profile: profile(wire.profile)?,
            documents: wire.documents,
        })
    }
}

impl From<PushAck> for v1::PolicyAck {
    fn from(ack: PushAck) -> Self {
        Self { version: ack.version, rejected: ack.rejected }
    }
}

impl TryFrom<v1::PolicyAck> for PushAck {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyAck) -> Result<Self, Invalid> {
        Ok(Self { version: version(wire.version)?, rejected: wire.rejected.as_deref().map(line) })
    }
}

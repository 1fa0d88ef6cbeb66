//! The policy as consoles show it.

use super::super::view::{LISTED_MAX, stamp};
use super::super::{all, each, line, required, v1};
use super::{check_documents, profile};
use crate::Invalid;
use crate::view::{
    PolicyDocument, PolicyProxy, PolicySet, PolicyStanding, PolicyVersion, PolicyView,
};

/// Versions of one policy that are listed.
const VERSIONS_MAX: usize = 64;

impl From<PolicyView> for v1::PolicyView {
    fn from(PolicyView { set, proxies }: PolicyView) -> Self {
        Self { set: Some(set.into()), proxies: all(proxies) }
    }
}

impl TryFrom<v1::PolicyView> for PolicyView {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyView) -> Result<Self, Invalid> {
        let set = required(wire.set, "set")?.try_into();
        Ok(Self {
            set: set.map_err(|invalid: Invalid| invalid.within("set"))?,
            proxies: each(wire.proxies, "proxies", LISTED_MAX)?,
        })
    }
}

impl From<PolicySet> for v1::PolicySet {
    fn from(set: PolicySet) -> Self {
        Self {
            version: set.version,
            profile: v1::PolicyProfile::from(set.profile).into(),
            documents: set.documents.iter().cloned().map(Into::into).collect(),
            versions: all(set.versions),
            notice: set.notice,
        }
    }
}

impl TryFrom<v1::PolicySet> for PolicySet {
    type Error = Invalid;

    fn try_from(wire: v1::PolicySet) -> Result<Self, Invalid> {
        check_documents(wire.documents.iter().map(|document| &*document.text))?;
        let documents: Vec<PolicyDocument> = each(wire.documents, "documents", LISTED_MAX)?;
        Ok(Self {
            version: wire.version,
            profile: profile(wire.profile)?,
            documents: documents.into(),
            versions: each(wire.versions, "versions", VERSIONS_MAX)?,
            notice: line(&wire.notice),
        })
    }
}

impl From<PolicyDocument> for v1::PolicyDocument {
    fn from(document: PolicyDocument) -> Self {
        let PolicyDocument { kind, namespace, name, text } = document;
        Self { kind, namespace, name, text }
    }
}

impl TryFrom<v1::PolicyDocument> for PolicyDocument {
    type Error = Invalid;

    /// Its text is canonical YAML, in which nothing is invisible; line ends are all that is made
    /// an exception for.
    fn try_from(wire: v1::PolicyDocument) -> Result<Self, Invalid> {
        let (kind, namespace, name) = (line(&wire.kind), line(&wire.namespace), line(&wire.name));
        let is_visible =
            |line: &str| matches!(crate::text::visible(line), std::borrow::Cow::Borrowed(_));
        if !wire.text.split('\n').all(is_visible) {
            return Err(Invalid::new("text", "has characters that cannot be seen"));
        }
        Ok(Self { kind, namespace, name, text: wire.text })
    }
}

impl From<PolicyVersion> for v1::PolicyVersion {
    fn from(version: PolicyVersion) -> Self {
        Self {
            version: version.version,
            at_unix_ms: version.at.0,
            by: version.by,
            reason: version.reason,
            what: version.what,
            documents: version.documents,
        }
    }
}

impl TryFrom<v1::PolicyVersion> for PolicyVersion {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyVersion) -> Result<Self, Invalid> {
        Ok(Self {
            version: wire.version,
            at: stamp(wire.at_unix_ms, "at_unix_ms")?,
            by: line(&wire.by),
            reason: line(&wire.reason),
            what: line(&wire.what),
            documents: wire.documents,
        })
    }
}

impl From<PolicyStanding> for v1::PolicyStanding {
    fn from(standing: PolicyStanding) -> Self {
        match standing {
            PolicyStanding::Pending => Self::Pending,
            PolicyStanding::Applied => Self::Applied,
            PolicyStanding::Rejected => Self::Rejected,
        }
    }
}

impl From<PolicyProxy> for v1::PolicyProxy {
    fn from(proxy: PolicyProxy) -> Self {
        let standing = v1::PolicyStanding::from(proxy.result).into();
        Self { id: proxy.id, version: proxy.version, standing, reason: proxy.reason }
    }
}

impl TryFrom<v1::PolicyProxy> for PolicyProxy {
    type Error = Invalid;

    fn try_from(wire: v1::PolicyProxy) -> Result<Self, Invalid> {
        let result = match v1::PolicyStanding::try_from(wire.standing) {
            Ok(v1::PolicyStanding::Pending) => PolicyStanding::Pending,
            Ok(v1::PolicyStanding::Applied) => PolicyStanding::Applied,
            Ok(v1::PolicyStanding::Rejected) => PolicyStanding::Rejected,
            Ok(v1::PolicyStanding::Unspecified) | Err(_) => {
                let reason = format!("is {}, which is no standing", wire.standing);
                return Err(Invalid::new("standing", reason));
            }
        };
        let (id, reason) = (line(&wire.id), line(&wire.reason));
        Ok(Self { id, version: wire.version, result, reason })
    }
}

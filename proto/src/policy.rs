//! The traffic policy: Istio's and the Gateway API's own YAML, read, checked and compiled.
//!
//! ```text
//! files ── read ──▶ [Document] ── merge ──▶ [Document] ── compile ──▶ Policy ── lookups ──▶ proxy
//!                                               └──── diff ────▶ [Change] ──▶ people
//! ```
//!
//! A policy travels as its documents: the collector keeps their text and a version, and each proxy
//! compiles them with this same code, so what a console was told about a set is what a proxy does
//! with it. Everything here is pure and deterministic: same documents, same profile, same policy.
//!
//! Nothing is ignored in silence. A field that has no effect here is a [`Finding`] with its path
//! and line, whether Istio has such a field or not; what a [`Profile`] repairs is said, too.

mod finding;
mod host;
mod matching;
mod push;
mod rewrite;
mod route;
mod settings;

pub use finding::{Finding, Severity, refuses};
pub use host::HostName;
pub use matching::{Caller, Headers, HttpMatch, Pattern, Request, StringMatch};
pub use push::{DOCUMENTS_LEN_MAX, DOCUMENTS_MAX, Push, PushAck};
pub use rewrite::{HeaderEdits, PathRewrite, Redirect, RedirectPort, ReplacementPart, Rewrite};
pub use route::{
    Abort, Action, Destination, Destinations, DirectResponse, Fault, HttpRule, Matched, Mirror,
    Percent, Retries, RetryCondition, RetryOn, Routes, TcpMatch, TcpRule, Weighted,
};
pub use settings::{
    Balancer, ConnectionPool, Consecutive, DestinationPolicy, FailurePercentage, H2Upgrade,
    MutedAnswer, OutlierDetection, PortSettings, RetryBudget, ServiceBreaker, Settings, Subset,
    SuccessRate, SuccessWindow, TcpKeepalive, TlsMode,
};

use host::HostTable;
use serde::{Deserialize, Serialize};

/// How documents are understood where Istio has a trap. The whole set has one profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Repairs the traps, and says where: retries only where they are asked for, zero is zero
    /// where it can be, one endpoint can always be ejected, ejections end where too few are left.
    #[default]
    Fusebox,
    /// To the letter of Istio: two retries where none are named, zero is unset, no panic
    /// threshold, `maxEjectionPercent` strict.
    IstioCompat,
}

impl Profile {
    /// `fusebox`, `istio-compat`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fusebox => "fusebox",
            Self::IstioCompat => "istio-compat",
        }
    }

    /// The profile of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fusebox, Self::IstioCompat].into_iter().find(|profile| profile.as_str() == text)
    }
}

/// A compiled set of documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    profile: Profile,
    routes: HostTable<Routes>,
    ingress: HostTable<Routes>,
    destinations: HostTable<DestinationPolicy>,
}

impl Policy {
    /// The profile that it was compiled with.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// The rules for a request to `host` (an authority; its port does not matter) by a caller of
    /// this namespace. `None`: no document routes the host, requests go where they were sent.
    pub fn routes(&self, caller_namespace: &str, host: &str) -> Option<&Routes> {
        self.routes.get(caller_namespace, host)
    }

    /// The rules for a request from outside to `host`, at a gateway.
    pub fn ingress_routes(&self, host: &str) -> Option<&Routes> {
        self.ingress.get("", host)
    }

    /// How a caller of this namespace talks to `host`: an authority, or a
    /// [`Destination::host`]. `None`: no document speaks of it.
    pub fn destination(&self, caller_namespace: &str, host: &str) -> Option<&DestinationPolicy> {
        self.destinations.get(caller_namespace, host)
    }

    /// All hosts with rules of their own, in order.
    pub fn routed_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.routes.iter().map(|entry| &entry.host)
    }

    /// All hosts with settings of their own, in order.
    pub fn destination_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.destinations.iter().map(|entry| &entry.host)
    }
}

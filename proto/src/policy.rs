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

pub mod annotations;
mod at;
mod backend_traffic;
mod compile;
mod destination_rule;
mod destinations;
mod diff;
mod document;
mod emit;
mod fields;
mod finding;
mod header_edits;
mod host;
mod http_action;
mod http_filter;
mod http_match;
mod http_route;
mod http_rule;
mod ingress;
mod install;
mod kind;
mod matching;
mod outlier;
mod push;
mod request;
mod retries;
mod rewrite;
mod route;
mod routing;
mod scope;
mod service_entry;
mod settings;
mod shift;
mod sink;
mod traffic_policy;
mod virtual_service;
mod yaml;

pub use compile::compile;
pub use diff::{CHANGES_MAX, Change, Diff, diff};
pub use document::{Document, Outcome, merge, read, read_all, write};
pub use finding::{Finding, Severity, refuses};
pub use host::HostName;
pub use ingress::{HostMap, IngressListener, NotServed};
pub use install::{
    Gateway, GatewayServer, IngressGateway, IngressPort, Install, PeerAuthentication, PeerMode,
    Resources, ServedHost,
};
pub use kind::Kind;
pub use matching::{Caller, Headers, HttpMatch, Pattern, Request, StringMatch};
pub use push::{DOCUMENTS_LEN_MAX, Push, PushAck};
pub use request::{
    ApplyRequest, FILES_MAX, LintRequest, RollbackRequest, ShiftRequest, SourceFile, WEIGHT_MAX,
    WEIGHTS_MAX,
};
pub use rewrite::{HeaderEdits, PathRewrite, Redirect, RedirectPort, ReplacementPart, Rewrite};
pub use route::{
    Abort, Action, Destination, Destinations, DirectResponse, Fault, HttpRule, Matched, Mirror,
    Percent, Retries, RetryCondition, RetryOn, Routes, TcpMatch, TcpRule, Weighted,
};
pub use service_entry::{Resolution, ServiceEndpoint, ServiceEntry, ServicePort};
pub use settings::{
    Balancer, ConnectionPool, Consecutive, DestinationPolicy, FailurePercentage, H2Upgrade,
    MutedAnswer, OutlierDetection, PortSettings, RetryBudget, ServiceBreaker, Settings, Subset,
    SuccessRate, SuccessWindow, TcpKeepalive, TlsMode,
};
pub use shift::{ShiftRefusal, shift};
pub use yaml::{
    DEPTH_MAX, DOCUMENTS_MAX, ENTRIES_MAX, FILE_BYTES_MAX, KEY_BYTES_MAX, NODES_MAX,
    SCALAR_BYTES_MAX,
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
    /// What is bound to gateways.
    bound: Vec<ingress::Bound>,
    destinations: HostTable<DestinationPolicy>,
    /// For hosts of which no document speaks.
    unnamed: DestinationPolicy,
    retries_unasked: Option<Retries>,
    service_entries: Vec<ServiceEntry>,
    peer_authentications: Vec<PeerAuthentication>,
    gateways: Vec<Gateway>,
    install: Option<Install>,
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

    /// How a caller of this namespace talks to `host`: an authority, or a
    /// [`Destination::host`]. `None`: no document speaks of it.
    pub fn destination(&self, caller_namespace: &str, host: &str) -> Option<&DestinationPolicy> {
        self.destinations.get(caller_namespace, host)
    }

    /// As [`Self::destination`], with the profile's defaults for a host of which no document speaks.
    pub fn destination_or_default(&self, caller_namespace: &str, host: &str) -> &DestinationPolicy {
        self.destination(caller_namespace, host).unwrap_or(&self.unnamed)
    }

    /// The retries of a request that no rule routes: none, or those of Istio.
    pub const fn retries_unasked(&self) -> Option<&Retries> {
        self.retries_unasked.as_ref()
    }

    /// Hosts that no registry knows.
    pub fn service_entries(&self) -> &[ServiceEntry] {
        &self.service_entries
    }

    /// Who must use mTLS.
    pub fn peer_authentications(&self) -> &[PeerAuthentication] {
        &self.peer_authentications
    }

    /// Which hosts are served at which ports of gateways.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// What the installation says.
    pub const fn install(&self) -> Option<&Install> {
        self.install.as_ref()
    }

    /// All hosts with rules of their own, in order: what [`Self::routes`] takes.
    pub fn routed_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.routes.hosts()
    }

    /// All hosts with settings of their own, in order: what [`Self::destination`] takes.
    pub fn destination_hosts(&self) -> impl Iterator<Item = &HostName> {
        self.destinations.hosts()
    }
}

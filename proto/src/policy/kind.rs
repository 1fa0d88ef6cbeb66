//! Which kinds of documents there are, and which of them have a meaning here.

use super::fields::{Fields, did_you_mean};
use super::yaml::Value;
use std::fmt;

/// A kind of document that has a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Istio: how to talk to a host.
    DestinationRule,
    /// Istio: where requests to a host go.
    VirtualService,
    /// Istio: a host that no registry knows.
    ServiceEntry,
    /// Istio: a gateway's listeners.
    Gateway,
    /// Istio: who must use mTLS.
    PeerAuthentication,
    /// Istio: the installation.
    IstioOperator,
    /// Gateway API: where requests to a service or a gateway go.
    HttpRoute,
    /// Gateway API, experimental: retry budgets.
    BackendTrafficPolicy,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::DestinationRule,
        Self::VirtualService,
        Self::ServiceEntry,
        Self::Gateway,
        Self::PeerAuthentication,
        Self::IstioOperator,
        Self::HttpRoute,
        Self::BackendTrafficPolicy,
    ];

    /// As a document spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DestinationRule => "DestinationRule",
            Self::VirtualService => "VirtualService",
            Self::ServiceEntry => "ServiceEntry",
            Self::Gateway => "Gateway",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::IstioOperator => "IstioOperator",
            Self::HttpRoute => "HTTPRoute",
            Self::BackendTrafficPolicy => "XBackendTrafficPolicy",
        }
    }

    const fn group(self) -> &'static Group {
        match self {
            Self::DestinationRule | Self::VirtualService | Self::ServiceEntry | Self::Gateway => {
                &GROUPS[0]
            }
            Self::PeerAuthentication => &GROUPS[1],
            Self::IstioOperator => &GROUPS[2],
            Self::HttpRoute => &GROUPS[3],
            Self::BackendTrafficPolicy => &GROUPS[4],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An API group of which we know all kinds.
struct Group {
    name: &'static str,
    /// All have the same schema.
    versions: &'static [&'static str],
    /// Kinds that exist and have no meaning here.
    unsupported: &'static [&'static str],
}

static GROUPS: [Group; 7] = [
    Group {
        name: "networking.istio.io",
        versions: &["v1", "v1beta1", "v1alpha3"],
        unsupported: &["EnvoyFilter", "ProxyConfig", "Sidecar", "WorkloadEntry", "WorkloadGroup"],
    },
    Group {
        name: "security.istio.io",
        versions: &["v1", "v1beta1"],
        unsupported: &["AuthorizationPolicy", "RequestAuthentication"],
    },
    Group { name: "install.istio.io", versions: &["v1alpha1"], unsupported: &[] },
    Group {
        name: "gateway.networking.k8s.io",
        versions: &["v1", "v1beta1", "v1alpha2"],
        unsupported: &[
            "BackendTLSPolicy",
            "GRPCRoute",
            "Gateway",
            "GatewayClass",
            "ListenerSet",
            "ReferenceGrant",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
        ],
    },
    Group {
        name: "gateway.networking.x-k8s.io",
        versions: &["v1alpha1"],
        unsupported: &["XListenerSet", "XMesh"],
    },
    Group {
        name: "telemetry.istio.io",
        versions: &["v1", "v1alpha1"],
        unsupported: &["Telemetry"],
    },
    Group { name: "extensions.istio.io", versions: &["v1alpha1"], unsupported: &["WasmPlugin"] },
];

/// The kind of a document; complains where it has none that counts.
pub(super) fn kind_of(
    fields: &Fields<'_>,
    api_version: &str,
    name: &str,
    metadata: Option<&Fields<'_>>,
) -> Option<Kind> {
    let at = fields.at();
    let (group_name, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(group) = GROUPS.iter().find(|group| group.name == group_name) else {
        if metadata.is_some_and(has_linkerd_annotations) {
            at.warn(format!("is a {name} with Linkerd's annotations, which have no effect here: write fusebox.io/breaker on a DestinationRule"));
        } else {
            at.note(format!("is a {name} of {api_version}, no traffic policy: left out"));
        }
        return None;
    };
    if !group.versions.contains(&version) {
        let versions = group.versions.join(", ");
        at.error(format!("has apiVersion {api_version}; allowed of {group_name} are {versions}"));
        return None;
    }
    let kinds = || Kind::ALL.into_iter().filter(|kind| kind.group().name == group.name);
    let found = kinds().find(|kind| kind.as_str() == name);
    if found.is_none() && group.unsupported.contains(&name) {
        at.warn(format!("has kind {name}, which is not supported and has no effect"));
    } else if found.is_none() {
        let names = kinds().map(Kind::as_str).chain(group.unsupported.iter().copied());
        let hint = did_you_mean(name, names);
        at.error(format!("has kind {name}, which {group_name} does not have{hint}"));
    }
    found
}

fn has_linkerd_annotations(metadata: &Fields<'_>) -> bool {
    let annotations = metadata.get("annotations");
    annotations.is_some_and(|at| {
        matches!(at.node.value, Value::Map(_))
            && at.entries().any(|(key, _)| key.contains(".linkerd.io/failure-accrual"))
    })
}

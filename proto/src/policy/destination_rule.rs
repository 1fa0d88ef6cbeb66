//! `DestinationRule`.

use super::Profile;
use super::annotations::{self, Annotations};
use super::at::At;
use super::document::Document;
use super::fields::Fields;
use super::host::HostName;
use super::scope::{Export, host, labels};
use super::sink::{Place, Sink};
use super::traffic_policy::{self, TrafficPolicy};
use std::sync::Arc;

/// Subsets of one host.
pub(super) const SUBSETS_MAX: usize = 256;

/// A parsed rule; what several of them make of one host is decided in `compile`.
pub(super) struct DestinationRule {
    pub(super) host: HostName,
    pub(super) host_place: Place,
    pub(super) export: Export,
    /// `None`: it has no `trafficPolicy`.
    pub(super) policy: Option<TrafficPolicy>,
    pub(super) subsets: Vec<SubsetRule>,
    pub(super) annotations: Annotations,
}

pub(super) struct SubsetRule {
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) labels: Vec<(Arc<str>, Arc<str>)>,
    pub(super) policy: TrafficPolicy,
}

/// Reads a rule; `None` if it says not of which host.
pub(super) fn read(document: &Document, profile: Profile, sink: &Sink) -> Option<DestinationRule> {
    let root = At::root(&document.node, sink).object()?;
    let own = annotations::own(document.node.get("metadata"));
    let annotations = match (&own, root.object("metadata")) {
        (Some(own), Some(metadata)) => metadata
            .get("annotations")
            .map(|at| annotations::read(at.with(own)))
            .unwrap_or_default(),
        _ => Annotations::default(),
    };
    let spec = root.object("spec")?;
    let extension = &annotations.outlier;
    let policy = spec.get("trafficPolicy").map(|at| traffic_policy::read(at, profile, extension));
    let subsets = subsets(&spec, profile, &annotations);
    let export = Export::read(&spec, document.namespace());
    let host_at = spec.required("host");
    let host_name = host_at.as_ref().and_then(|at| host(at, document.namespace()));
    let place = host_at.as_ref().map(At::place);
    let has_outlier = |policy: &TrafficPolicy| {
        policy.outlier.is_some() || policy.ports.iter().any(|(_, port)| port.outlier.is_some())
    };
    if extension.is_given
        && !policy.iter().chain(subsets.iter().map(|subset| &subset.policy)).any(has_outlier)
    {
        spec.at().warn(
            "has annotations fusebox.io/outlier-... and no outlierDetection that they would extend",
        );
    }
    spec.finish(&["workloadSelector"]);
    Some(DestinationRule {
        host: host_name?,
        host_place: place?,
        export,
        policy,
        subsets,
        annotations,
    })
}

fn subsets(spec: &Fields<'_>, profile: Profile, annotations: &Annotations) -> Vec<SubsetRule> {
    let mut subsets: Vec<SubsetRule> = Vec::new();
    let Some(at) = spec.get("subsets") else { return subsets };
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let name_at = fields.required("name");
        let name = name_at.as_ref().and_then(At::name);
        let policy = fields.get("trafficPolicy");
        let policy = policy.map(|at| traffic_policy::read(at, profile, &annotations.outlier));
        let labels = fields.get("labels").map(|at| labels(&at)).unwrap_or_default();
        let place = name_at.as_ref().map(At::place);
        let (Some(name), Some(place)) = (name, place) else {
            fields.finish(&[]);
            continue;
        };
        if labels.is_empty() && fields.get("labels").is_none_or(|at| at.entries().count() == 0) {
            fields.at().note(format!("has no labels: {name} is every endpoint of the host"));
        }
        fields.finish(&[]);
        if let Some(first) = subsets.iter().position(|subset| subset.name == name) {
            at.error(format!("has the name {name}, as subsets[{first}] has"));
        } else if SUBSETS_MAX <= subsets.len() {
            at.error(format!("is one subset too many; at most {SUBSETS_MAX}"));
            break;
        } else {
            subsets.push(SubsetRule { name, place, labels, policy: policy.unwrap_or_default() });
        }
    }
    subsets
}

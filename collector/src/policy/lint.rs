//! What is wrong with a policy, held against what the mesh does: rules that can never fire, limits
//! that must be hit, and what multiplies. Figures are of the last minute; where one is not known,
//! nothing is said.

mod destinations;
mod paths;
mod routes;

use fusebox_proto::policy::{Document, Finding, Policy, Routes, Severity};
use fusebox_proto::view::{EdgeView, Service};
use fusebox_proto::{Edge, ServiceId};

/// The mesh at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// By id.
    pub(crate) services: Vec<LiveService>,
    /// By edge.
    pub(crate) edges: Vec<LiveEdge>,
}

/// Labels of an endpoint, in order of their keys.
pub(crate) type Labels = Vec<(String, String)>;

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct LiveService {
    /// Which.
    pub(crate) id: ServiceId,
    /// `service.version`s that were seen; empty: none is known.
    pub(crate) versions: Vec<String>,
    /// Labels of its endpoints, in each proxy of a caller that tells of them; none: nobody does.
    pub(crate) endpoints: Vec<Vec<Labels>>,
    /// Its figures.
    pub(crate) view: Service,
}

/// An edge.
#[derive(Clone, Debug)]
pub(crate) struct LiveEdge {
    /// Which.
    pub(crate) edge: Edge,
    /// Its figures.
    pub(crate) view: EdgeView,
}

/// Everything that there is to say beyond what compiling says.
pub(crate) fn lint(documents: &[Document], policy: &Policy, live: &Live) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in documents {
        destinations::lint(document, policy, live, &mut findings);
    }
    routes::lint(policy, live, &mut findings);
    findings.extend(paths::lint(policy, live));
    findings
}

/// A finding that warns, and what it rests on.
fn warn(object: &str, field: &str, message: &str, evidence: &str) -> Finding {
    Finding::new(Severity::Warning, object, field, message).resting_on(evidence)
}

impl Live {
    fn service(&self, id: &ServiceId) -> Option<&LiveService> {
        self.services.iter().find(|service| service.id == *id)
    }
}

impl LiveEdge {
    /// The rules that its requests meet.
    fn routes<'p>(&self, policy: &'p Policy) -> Option<&'p Routes> {
        policy.routes(self.edge.source.namespace(), &host(&self.edge.destination))
    }

    /// Retries that the policy asks of its proxies for one request, at most.
    fn retries_max(&self, policy: &Policy) -> u32 {
        let Some(routes) = self.routes(policy) else {
            return policy.retries_unasked().map_or(0, |retries| retries.retries_max);
        };
        let retries = routes.http.iter().filter_map(|rule| rule.retries.as_ref());
        retries.map(|retries| retries.retries_max).max().unwrap_or(0)
    }

    /// Attempts a second in each of its proxies.
    fn rate_per_proxy(&self) -> Option<f64> {
        Some(self.view.rate? / self.view.proxies.max(1) as f64)
    }

    fn name(&self) -> String {
        format!("{}>{}", self.view.source, self.view.destination)
    }
}

/// A service as a host, as its callers' proxies look it up.
pub(crate) fn host(service: &ServiceId) -> String {
    match service.namespace() {
        "" => service.name().to_owned(),
        namespace => format!("{}.{namespace}.svc.cluster.local", service.name()),
    }
}

#[cfg(test)]
mod tests;

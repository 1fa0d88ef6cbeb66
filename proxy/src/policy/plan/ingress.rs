//! What an ingress makes of requests to each host that it serves.

use super::{Planner, Rules, Target};
use fusebox_proto::policy::{HostMap, Routes};

/// The rules of one host at an ingress.
#[derive(Debug)]
pub(crate) struct HostRules {
    /// The rules.
    pub(crate) rules: Rules,
    /// Answers of ours belong to the edge of the first destination that there is; `None`: there is
    /// none.
    pub(crate) own: Option<Target>,
}

impl Planner<'_> {
    pub(super) fn at_ingress(&mut self, hosts: &HostMap<Routes>) -> HostMap<HostRules> {
        hosts.map(|routes| {
            let rules = self.rules(None, routes);
            let mut branches = rules.plans.iter().flat_map(|plan| &plan.branches);
            let first = branches.find_map(|branch| branch.target.as_ref().ok());
            let own = first.map(|target| Target { way: None, ..target.clone() });
            HostRules { rules, own }
        })
    }
}

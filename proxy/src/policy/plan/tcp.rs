//! Where sessions go that are no HTTP: the `tls` and `tcp` routes of a host.

use super::{NoTarget, Planner, Target};
use fusebox_proto::policy::{Caller, Routes, TcpRule};
use std::sync::Arc;

/// The rules of a host, ready to be applied.
#[derive(Debug)]
pub(crate) struct TcpRoutes {
    routes: Arc<Routes>,
    /// One for each rule, first those for TLS; of each one for each destination.
    branches: Vec<Vec<Result<Target, NoTarget>>>,
}

impl TcpRoutes {
    /// Whether a rule asks for the server's name in TLS.
    pub(crate) fn asks_server_name(&self) -> bool {
        let mut matches = rules(&self.routes).flat_map(|rule| &rule.matches);
        matches.any(|one| !one.sni_hosts.is_empty())
    }

    /// The destination at `point`, 0…1, of the first rule that matches; `None`: none does, and as
    /// in Istio the host itself is meant.
    pub(crate) fn route(
        &self,
        server_name: Option<&str>,
        port: u16,
        caller: &Caller,
        point: f64,
    ) -> Option<Result<Target, NoTarget>> {
        let rule = self.routes.route_tcp(server_name, port, caller)?;
        let at = rules(&self.routes).position(|one| std::ptr::eq(&raw const **one, rule))?;
        let picked = rule.destinations.pick(point);
        let branch = rule.destinations.iter().position(|one| std::ptr::eq(one, picked))?;
        self.branches.get(at)?.get(branch).cloned()
    }
}

fn rules(routes: &Routes) -> impl Iterator<Item = &Arc<TcpRule>> {
    routes.tls.iter().chain(&routes.tcp)
}

impl Planner<'_> {
    /// `None`: no rule is about sessions.
    pub(super) fn tcp(&mut self, at: usize, routes: &Routes) -> Option<TcpRoutes> {
        let mut plan = |rule: &TcpRule| {
            let all = rule.destinations.iter();
            all.map(|one| self.destination(Some(at), &one.destination, &rule.name)).collect()
        };
        let branches: Vec<_> = rules(routes).map(|rule| plan(rule)).collect();
        let routes = || Arc::new(routes.clone());
        (!branches.is_empty()).then(|| TcpRoutes { routes: routes(), branches })
    }
}

//! The figures that a policy is held against.

use super::{edge_view, services};
use crate::engine::Engine;
use crate::policy::lint::{Labels, Live, LiveEdge, LiveService};
use fusebox_proto::{Now, ServiceId};

fn endpoints(engine: &Engine, service: &ServiceId) -> Vec<Vec<Labels>> {
    let proxies = engine.proxies.endpoints_of(service).into_iter();
    proxies.map(|all| all.into_iter().map(<[_]>::to_vec).collect()).collect()
}

/// All services and edges with their figures, by name.
pub(crate) fn live(engine: &Engine, now: Now) -> Live {
    let nodes = engine.graph.nodes().map(|node| &node.service);
    let services = nodes.zip(services(engine, now)).map(|(service, view)| LiveService {
        id: service.clone(),
        versions: engine.instances.versions(service).map(ToString::to_string).collect(),
        endpoints: endpoints(engine, service),
        view,
    });
    let edges = engine
        .graph
        .edges()
        .map(|(edge, link)| LiveEdge { view: edge_view(engine, now, &edge, link.protocol), edge });
    let mut live = Live { services: services.collect(), edges: edges.collect() };
    live.services.sort_by(|a, b| a.id.cmp(&b.id));
    live.edges.sort_by(|a, b| a.edge.cmp(&b.edge));
    live
}

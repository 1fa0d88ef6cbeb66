//! What a collector is told of endpoints, so that its lint knows the members of subsets.

use super::plan::Listener;
use crate::config::Endpoint;
use fusebox_proto::report::{self, Endpoints};

/// `before`, if the endpoints of `listeners` are the same; else a revision later.
pub(crate) fn endpoints(before: &Endpoints, listeners: &[Listener]) -> Endpoints {
    let of = |listener: &Listener, endpoint: &Endpoint| report::Endpoint {
        destination: listener.edge.destination.clone(),
        address: endpoint.address.clone(),
        labels: endpoint.labels.clone().into_iter().collect(),
    };
    let all = listeners
        .iter()
        .flat_map(|listener| listener.endpoints.iter().map(move |endpoint| of(listener, endpoint)));
    before.at(all.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Outbound;
    use crate::policy::InForce;
    use crate::proxy::Proxy;
    use fusebox_proto::{Now, ServiceId};

    /// Scenario: the listeners of a proxy, the same again, and with another endpoint.
    /// Guarantees: the first are revision 1, with their labels; only a change is a new revision.
    #[test]
    fn a_change_is_a_revision() {
        let mut config = crate::config::Config::new(ServiceId::named("payment").unwrap());
        let labels = [("zone".to_owned(), "a".to_owned())].into();
        config.outbound.push(Outbound {
            listen: "127.0.0.1:0".parse().unwrap(),
            host: "inventory".into(),
            endpoints: vec![Endpoint { address: "127.0.0.1:1".into(), labels, weight: 1 }],
        });
        let proxy = Proxy::new(config, InForce::default(), Now::read()).unwrap();
        let mut listeners = proxy.listeners().to_vec();
        let first = endpoints(&Endpoints::default(), &listeners);
        assert_eq!((first.revision, first.all.len()), (1, 1));
        assert_eq!(first.all[0].labels, [("zone".to_owned(), "a".to_owned())]);
        assert_eq!(endpoints(&first, &listeners), first);
        listeners[0]
            .endpoints
            .push(Endpoint::from(std::net::SocketAddr::from(([127, 0, 0, 1], 2))));
        let second = endpoints(&first, &listeners);
        assert_eq!((second.revision, second.all.len()), (2, 2));
        let none = endpoints(&Endpoints::default(), &[]);
        assert_eq!((none.revision, none.all.len()), (1, 0), "that there are none is known");
    }
}

//! Follows names: looks each up when its last answer ends, and lets the endpoints follow.
//!
//! All addresses of a name are endpoints with its labels. Until the first answer the name itself is
//! connected to, where the system's resolver may be asked; a name server that fails or knows nothing
//! any more changes nothing.

use crate::dns::{Answer, Failure, Resolver, Turn};
use crate::proxy::Proxy;
use fusebox_proto::Now;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Names that are looked up at once: a name server that is silent about some holds up no others.
const LOOK_UPS_MAX: usize = 64;

/// Looks names up until `closing`.
pub(super) async fn run(proxy: Arc<Proxy>, closing: CancellationToken) {
    let resolver = Arc::new(Resolver::new(proxy.config.operation.dns_servers.clone()));
    let mut looking = JoinSet::new();
    let mut asked: HashMap<Id, String> = HashMap::new();
    follow(&proxy);
    loop {
        let now = Now::read().instant;
        let room = LOOK_UPS_MAX - looking.len();
        for name in proxy.names.schedule.lock().take_due(now, room) {
            let (resolver, proxy) = (Arc::clone(&resolver), Arc::clone(&proxy));
            let wanted = name.clone();
            let task =
                looking.spawn(async move { resolver.look_up(&wanted, &proxy.names.tally).await });
            asked.insert(task.id(), name);
        }
        let due = proxy.names.schedule.lock().poll_timeout();
        let due = due.filter(|_| looking.len() < LOOK_UPS_MAX);
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => (),
            Some(looked) = looking.join_next_with_id() => {
                let (id, answer) = match looked {
                    Ok(looked) => looked,
                    // It has said why.
                    Err(broken) => (broken.id(), Err(Failure::System("broke off".into()))),
                };
                if let Some(name) = asked.remove(&id) {
                    answered(&proxy, &name, &answer);
                }
            }
            () = proxy.names.changed.notified() => follow(&proxy),
            () = closing.cancelled() => return,
        }
    }
}

fn follow(proxy: &Proxy) {
    let names = proxy.followed_names();
    let mut schedule = proxy.names.schedule.lock();
    schedule.follow(Now::read().instant, &names);
    if schedule.is_settled() {
        proxy.names.settled.cancel();
    }
}

fn answered(proxy: &Proxy, name: &str, answer: &Result<Answer, Failure>) {
    // It may have left the policy meanwhile.
    let is_wanted = proxy.names.schedule.lock().follows(name);
    if let Ok(answer) = answer
        && is_wanted
    {
        proxy.resolved(name, &answer.found);
    }
    let said = answer.as_ref().err().map(ToString::to_string);
    let mut schedule = proxy.names.schedule.lock();
    let now = Now::read().instant;
    let turn = schedule.answered(now, name, answer.as_ref().map_err(Clone::clone), rand::random());
    if schedule.is_settled() {
        proxy.names.settled.cancel();
    }
    drop(schedule);
    // One line for each new state of affairs.
    match (turn, said) {
        (Turn::Failing, Some(error)) => tracing::warn!("{name}: {error}; its endpoints stay"),
        (Turn::Recovered, _) => tracing::info!("{name} is answered again"),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Endpoint, Outbound};
    use crate::dns::Found;
    use crate::policy::InForce;
    use fusebox_proto::ServiceId;
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    /// Scenario: a name between two addresses is looked up: not yet, with one answer, the same again,
    /// and another one; some of its endpoints are in use meanwhile.
    /// Guarantees: endpoints follow the answers, with the labels of the name; the same answer again
    /// changes nothing, and an endpoint that stays is the same one; what is not a name never changes.
    #[test]
    fn endpoints_follow_the_name_server() {
        let endpoint = |address: &str| Endpoint {
            address: address.into(),
            labels: BTreeMap::new(),
            weight: 1,
        };
        let mut config = Config::new(ServiceId::named("payment").unwrap());
        config.outbound.push(Outbound {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: "inventory".into(),
            endpoints: vec![endpoint("127.0.0.9:80"), endpoint("dns:inventory.local:8080")],
        });
        let proxy = Proxy::new(config, InForce::default(), Now::read()).unwrap();
        assert_eq!(proxy.followed_names(), ["inventory.local:8080".to_owned()].into());
        let pool = || proxy.edge_pools(&proxy.edges()[0]).remove(0);
        let check = |expected: &[&str]| {
            let pool = pool();
            let seen: Vec<_> =
                pool.endpoints().iter().map(|one| one.address().to_owned()).collect();
            assert_eq!(seen, expected);
        };
        check(&["127.0.0.9:80", "inventory.local:8080"]);
        let name = "inventory.local:8080";
        let found = |last: &u8| Found { address: ([127, 0, 0, *last], 8080).into(), weight: 1 };
        let addresses = |last: &[u8]| -> Vec<Found> { last.iter().map(found).collect() };
        proxy.resolved(name, &addresses(&[2, 3]));
        check(&["127.0.0.9:80", "127.0.0.2:8080", "127.0.0.3:8080"]);
        let numbers = || pool().endpoints().iter().map(|one| one.id().0).collect::<Vec<_>>();
        assert_eq!(numbers(), [0, 2, 3]);
        proxy.resolved(name, &addresses(&[2, 3]));
        assert_eq!(numbers(), [0, 2, 3]);
        proxy.resolved(name, &addresses(&[3]));
        assert_eq!(numbers(), [0, 3]);
        check(&["127.0.0.9:80", "127.0.0.3:8080"]);
        proxy.resolved("stranger:80", &addresses(&[7]));
        check(&["127.0.0.9:80", "127.0.0.3:8080"]);
    }
}

//! Endpoints that a `ServiceEntry` of the policy names.

use crate::collector::Collector;
use crate::shop::{push, saw, witness};
use crate::world::{Caller, Proxy, Server, get, outbound};

/// An entry of `inventory` with these endpoints (in flow style).
fn entry(resolution: &str, endpoints: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: inventory}}\n\
         spec: {{hosts: [inventory], resolution: {resolution}, ports: [{{number: 80, name: http}}], \
         endpoints: [{}]}}\n",
        endpoints.join(", ")
    )
}

fn endpoint(host: &str, server: &Server, version: &str) -> String {
    let port = server.address.port();
    format!("{{address: {host}, ports: {{http: {port}}}, labels: {{version: {version}}}}}")
}

/// All to this subset.
fn route(version: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: inventory}}\n\
         spec: {{host: inventory, subsets: [{{name: s, labels: {{version: {version}}}}}]}}\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: inventory}}\n\
         spec: {{hosts: [inventory], http: [{{route: [{{destination: {{host: inventory, subset: s}}}}]}}]}}\n"
    )
}

/// Scenario: a listener without endpoints, before a policy; under entries with one server, with two
/// and subsets by their labels, with a name; and with a request under way when its server leaves.
/// Guarantees: refused with a reason where there is nobody; from the acknowledgement on requests
/// reach the endpoints of the entry; the collector is told of them, with their labels; what is under
/// way ends as it would.
#[tokio::test]
async fn endpoints_follow_the_entry() {
    let (v1, v2, collector) = (witness("v1").await, witness("v2").await, Collector::start().await);
    let (slow, gate, mut arrivals) = Server::gated().await;
    let mut config = outbound(&[]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    let address = proxy.address();
    assert_eq!(get(address, "/").await.status, 503);
    let told = session.hello.endpoints.clone();
    assert_eq!((told.revision, told.all), (1, Vec::new()));

    let all = [endpoint("127.0.0.1", &v1, "v1"), endpoint("127.0.0.1", &v2, "v2")];
    let mut version = 0;
    for (policy, expected) in [
        (entry("STATIC", &all[..1]), "v1"),
        (entry("STATIC", &all) + &route("v2"), "v2"),
        (entry("STATIC", &all) + &route("v1"), "v1"),
        (entry("STATIC", &all[1..]), "v2"),
        (entry("DNS", &[endpoint("localhost", &v1, "v1")]), "v1"),
    ] {
        version += 1;
        assert_eq!(push(&mut session, version, &policy).await.rejected, None);
        for _ in 0..5 {
            assert_eq!(saw(&get(address, "/").await)["name"], expected, "{policy}");
        }
        if version == 2 {
            let told = loop {
                if let Some(told) = session.report().await.endpoints {
                    break told;
                }
            };
            // They are told by address, and ports are by chance.
            let mut labels: Vec<_> = told.all.iter().map(|one| one.labels[0].1.as_str()).collect();
            labels.sort_unstable();
            assert_eq!((told.revision, labels), (3, vec!["v1", "v2"]));
        }
    }

    let policy = entry("STATIC", &[endpoint("127.0.0.1", &slow, "v1")]);
    assert_eq!(push(&mut session, version + 1, &policy).await.rejected, None);
    let mut caller = Caller::connect(address).await;
    let under_way = tokio::spawn(async move { caller.get("/").await });
    arrivals.recv().await.unwrap();
    let policy = entry("STATIC", &all[..1]);
    assert_eq!(push(&mut session, version + 2, &policy).await.rejected, None);
    assert_eq!(saw(&get(address, "/").await)["name"], "v1");
    gate.add_permits(1);
    assert_eq!(under_way.await.unwrap().status, 200);
}

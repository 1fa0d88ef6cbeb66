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
    let first = told.revision;
    assert_eq!(told.all, Vec::new());

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
                match session.report().await.endpoints {
                    Some(told) if told.revision == first + 2 => break told,
                    _ => (),
                }
            };
            // They are told by address, and ports are by chance.
            let mut labels: Vec<_> = told.all.iter().map(|one| one.labels[0].1.as_str()).collect();
            labels.sort_unstable();
            assert_eq!(labels, ["v1", "v2"]);
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

/// Scenario: endpoints of weights 3 and 1, by turns, then the other way round, and by load.
/// Guarantees: by turns each gets exactly its part, from the acknowledgement on, though nothing but
/// weights has changed; by load the heavier one gets the most, and the lighter one its part.
#[tokio::test]
async fn shares_follow_the_weights() {
    let (v1, v2, collector) = (witness("v1").await, witness("v2").await, Collector::start().await);
    let mut config = outbound(&[]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    let by_turns = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                    metadata: {name: inventory}\nspec: {host: inventory, trafficPolicy: \
                    {loadBalancer: {simple: ROUND_ROBIN}}}\n";
    let weighted = |first: u32, second: u32| {
        let one = |server, version, weight| {
            let endpoint = endpoint("127.0.0.1", server, version);
            endpoint.replace("{address", &format!("{{weight: {weight}, address"))
        };
        entry("STATIC", &[one(&v1, "v1", first), one(&v2, "v2", second)])
    };
    let mut caller = Caller::connect(proxy.address()).await;
    let mut share = async |version, policy: String, count: usize| {
        assert_eq!(push(&mut session, version, &policy).await.rejected, None);
        let before = v1.requests();
        for _ in 0..count {
            assert_eq!(caller.get("/").await.status, 200);
        }
        v1.requests() - before
    };
    assert_eq!(share(1, weighted(3, 1) + by_turns, 40).await, 30);
    assert_eq!(share(2, weighted(1, 3) + by_turns, 40).await, 10);
    // Four standard deviations, and more.
    let by_load = share(3, weighted(3, 1), 400).await;
    assert!((260..=340).contains(&by_load), "{by_load} of 400");
}

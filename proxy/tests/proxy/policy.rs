//! How a policy comes into force, and what becomes of one that cannot.

use crate::collector::Collector;
use crate::shop::{
    CANARY, CIRCUIT_BREAKER, CONTROL_PLANE, STRICT_MTLS, Shop, page, push, rules, saw, under,
};
use crate::world::{Caller, Proxy, get, outbound};
use fusebox_proxy::{StartError, start};

/// All to one subset.
fn all_to(subset: &str) -> String {
    let subsets = CANARY.split("---").next().unwrap();
    let http = format!("[{{route: [{{destination: {{host: inventory, subset: {subset}}}}}]}}]");
    format!("{subsets}---\n{}", rules(&http))
}

/// Scenario: a collector pushes a policy, a wrong one, an old one, and then a newer one; then the
/// proxy starts again without a collector, on the same state directory.
/// Guarantees: each push is acknowledged or rejected with the reason; what is rejected or old
/// changes nothing; what was in force last is in force again from the first request on.
#[tokio::test]
async fn pushed_policies() {
    let (shop, collector) = (Shop::open().await, Collector::start().await);
    let place = tempfile::tempdir().unwrap();
    let mut config = shop.config();
    config.collector = Some(collector.url.clone());
    config.state_dir = Some(place.path().join("state"));
    let proxy = Proxy::start(config.clone());
    let mut session = collector.attached().await;
    assert_eq!(session.hello.policy_version, 0);

    let ack = push(&mut session, 3, &all_to("v1")).await;
    assert_eq!((ack.version, ack.rejected), (3, None));
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v1");
    let ack = push(&mut session, 4, &all_to("v3")).await;
    assert_eq!(ack.version, 4);
    assert!(ack.rejected.unwrap().contains("v3"));
    assert_eq!(page(&proxy, "/config").await["policy"]["version"], 3);
    let ack = push(&mut session, 2, &all_to("v2")).await;
    assert_eq!((ack.version, ack.rejected), (3, None));
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v1");
    assert_eq!(push(&mut session, 5, &all_to("v2")).await.version, 5);
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v2");
    proxy.shutdown(std::time::Duration::from_secs(5)).await;

    let proxy = Proxy::start(config);
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v2");
    assert_eq!(collector.attached().await.hello.policy_version, 5);
    let shown = page(&proxy, "/config").await;
    assert_eq!(shown["policy"]["source"], "state-dir");
    assert_eq!(get(proxy.admin(), "/readyz").await.status, 200);
}

/// Scenario: the kept policy is torn, and there is one of a file.
/// Guarantees: the torn one is ignored, the file's is in force, and a collector's replaces it.
#[tokio::test]
async fn a_torn_policy_is_ignored() {
    let (shop, collector) = (Shop::open().await, Collector::start().await);
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("policy.json"), "{\"version\": 7, \"docu").unwrap();
    let mut config = under(shop.config(), &all_to("v2"));
    config.state_dir = Some(place.path().to_owned());
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v2");
    let mut session = collector.attached().await;
    assert_eq!(session.hello.policy_version, 0);
    assert_eq!(push(&mut session, 1, &all_to("v1")).await.rejected, None);
    assert_eq!(saw(&get(proxy.address(), "/").await)["name"], "v1");
}

/// Scenario: a request is under way, and streams its answer, while the policy changes.
/// Guarantees: it ends as it began; connections are kept; the next one follows the new policy.
#[tokio::test]
async fn a_request_sees_one_policy() {
    let (server, gate, mut arrivals) = crate::world::Server::gated().await;
    let collector = Collector::start().await;
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    push(&mut session, 1, &rules("[{route: [{destination: {host: inventory}}]}]")).await;
    let mut caller = Caller::connect(proxy.address()).await;
    let under_way = tokio::spawn(async move { caller.get("/old").await });
    arrivals.recv().await.unwrap();
    push(&mut session, 2, &rules("[{directResponse: {status: 410}}]")).await;
    assert_eq!(get(proxy.address(), "/new").await.status, 410);
    gate.add_permits(1);
    assert_eq!(under_way.await.unwrap().status, 200);
}

/// Scenario: `--config` with a policy that does not fit together.
/// Guarantees: the start is refused with the document and the field.
#[test]
fn a_wrong_file_is_refused() {
    let address = ([127, 0, 0, 1], 9).into();
    let error = start(under(outbound(&[address]), &all_to("v9"))).expect_err("v9 is no subset");
    assert!(matches!(error, StartError::Invalid(_)));
    let text = error.to_string();
    assert!(text.contains("--config") && text.contains("VirtualService") && text.contains("v9"));
}

/// Scenario: the four files of the founding guide, as they are.
/// Guarantees: they are taken together, and `/config` shows what they mean here.
#[tokio::test]
async fn the_founding_files() {
    let shop = Shop::open().await;
    let all = [CANARY, CIRCUIT_BREAKER, CONTROL_PLANE, STRICT_MTLS].join("\n---\n");
    let proxy = Proxy::start(under(shop.config(), &all));
    let shown = page(&proxy, "/config").await;
    let inventory = &shown["policy"]["destinations"][0];
    assert_eq!(inventory["destination"], "inventory");
    assert_eq!(inventory["subsets"][1]["name"], "v2");
    let rule = &inventory["routes"]["rules"][0];
    assert_eq!(rule["action"]["forward"][0]["weight"], 90);
    assert_eq!(shown["policy"]["source"], "file");
}

/// Scenario: the canary of the founding guide, 10,000 requests; then a push that takes it back to
/// nothing, and one that gives it all.
/// Guarantees: v2 gets 10 %, to a few requests, then not one request more from the acknowledgement on, then
/// all of them; reports name the rule and the subset.
#[tokio::test]
async fn canary_by_weight() {
    let (shop, collector) = (Shop::open().await, Collector::start().await);
    let mut config = shop.config();
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    assert_eq!(push(&mut session, 1, CANARY).await.rejected, None);
    let address = proxy.address();
    let send = |count: usize| async move {
        let callers = (0..8).map(|_| async move {
            let mut caller = Caller::connect(address).await;
            for _ in 0..count / 8 {
                assert_eq!(caller.get("/").await.status, 200);
            }
        });
        futures_util::future::join_all(callers).await;
    };
    send(10_000).await;
    let canary = shop.v2.requests();
    assert!((990..=1_010).contains(&canary), "{canary} of 10,000");
    assert_eq!(shop.v1.requests() + canary, 10_000);
    assert_eq!(push(&mut session, 2, &all_to("v1")).await.rejected, None);
    send(800).await;
    assert_eq!(shop.v2.requests(), canary);
    assert_eq!(push(&mut session, 3, &all_to("v2")).await.rejected, None);
    send(800).await;
    assert_eq!(shop.v2.requests(), canary + 800);
    loop {
        let report = session.report().await;
        assert!(report.edges.iter().all(|window| window.route.starts_with("inventory-route")));
        if report.edges.iter().any(|window| window.subset == "v2" && 0 < window.counts.successes) {
            return;
        }
    }
}

/// Scenario: rules for callers with a label, and proxies whose application has it, has another, or
/// goes by another `app`.
/// Guarantees: `sourceLabels` sees the labels that the operator gave.
#[tokio::test]
async fn labels_of_the_caller() {
    let shop = Shop::open().await;
    let subsets = CANARY.split("---").next().unwrap();
    for (condition, labels, expected) in [
        ("version: v2", vec![("version", "v2")], "v2"),
        ("version: v2", vec![("version", "v1")], "v1"),
        ("app: payment", vec![], "v2"),
        ("app: payment", vec![("app", "till")], "v1"),
    ] {
        let http = format!(
            "[{{match: [{{sourceLabels: {{{condition}}}}}], \
               route: [{{destination: {{host: inventory, subset: v2}}}}]}}, \
              {{route: [{{destination: {{host: inventory, subset: v1}}}}]}}]"
        );
        let mut config = under(shop.config(), &format!("{subsets}---\n{}", rules(&http)));
        config.operation.labels =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let proxy = Proxy::start(config);
        assert_eq!(saw(&get(proxy.address(), "/").await)["name"], expected, "{condition}");
    }
}

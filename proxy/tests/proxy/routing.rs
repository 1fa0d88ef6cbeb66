//! What a `VirtualService` does with requests: each field's effect, as the servers see it.

use crate::shop::{Shop, metric, request, saw};
use crate::world::{Answer, Caller, Server, full, get, outbound};
use fusebox_proto::Now;
use http::{Request, Response};
use http_body_util::BodyExt;
use std::time::Duration;

/// Rules whose first goes to v2 if it matches, and whose last is for the rest.
fn if_then_v2(condition: &str) -> String {
    format!(
        "[{{match: [{condition}], route: [{{destination: {{host: inventory, subset: v2}}}}]}},\
          {{route: [{{destination: {{host: inventory, subset: v1}}}}]}}]"
    )
}

/// Scenario: conditions of every kind, and requests that meet them or miss by a little.
/// Guarantees: only what meets the condition takes its rule; all else takes the next one.
#[tokio::test]
async fn conditions() {
    let shop = Shop::open().await;
    for (condition, meets, misses) in [
        ("{uri: {exact: /a}}", request("/a?q", &[]), request("/ab", &[])),
        ("{uri: {prefix: /a}}", request("/ab", &[]), request("/b", &[])),
        ("{uri: {regex: '/a[0-9]+'}}", request("/a12", &[]), request("/a12b", &[])),
        ("{uri: {exact: /A}, ignoreUriCase: true}", request("/a", &[]), request("/b", &[])),
        (
            "{headers: {x-user: {exact: ann}}}",
            request("/", &[("x-user", "ann")]),
            request("/", &[("x-user", "bob")]),
        ),
        (
            "{headers: {x-user: {exact: 'ann,bob'}}}",
            request("/", &[("x-user", "ann"), ("x-user", "bob")]),
            request("/", &[("x-user", "ann")]),
        ),
        ("{withoutHeaders: {x-user: {}}}", request("/", &[]), request("/", &[("x-user", "ann")])),
        ("{queryParams: {beta: {exact: '1'}}}", request("/?beta=1", &[]), request("/?beta=2", &[])),
        (
            "{authority: {prefix: beta.}}",
            request("/", &[("host", "beta.inventory")]),
            request("/", &[("host", "inventory")]),
        ),
        ("{method: {exact: GET}}", request("/", &[]), Request::post("/").body(full("")).unwrap()),
        ("{sourceLabels: {app: payment}}", request("/", &[]), request("/", &[])),
        ("{sourceLabels: {app: cart}}", request("/", &[]), request("/", &[])),
        ("{port: 80}", request("/", &[]), request("/", &[])),
        ("{port: 81}", request("/", &[]), request("/", &[])),
    ] {
        let (_proxy, mut caller) = shop.with(&if_then_v2(condition)).await;
        // Labels of the caller and the port are the proxy's, whatever the request is.
        let (first, second) = match condition {
            "{sourceLabels: {app: payment}}" | "{port: 80}" => ("v2", "v2"),
            "{sourceLabels: {app: cart}}" | "{port: 81}" => ("v1", "v1"),
            _ => ("v2", "v1"),
        };
        assert_eq!(saw(&caller.send(meets).await)["name"], first, "{condition}");
        assert_eq!(saw(&caller.send(misses).await)["name"], second, "{condition}");
    }
}

/// Scenario: a rule for one path only, and a request for another.
/// Guarantees: 404, as in Istio, with the reason; no server sees it, and it is counted.
#[tokio::test]
async fn no_rule_matches() {
    let shop = Shop::open().await;
    let rule = "[{match: [{uri: {exact: /a}}], route: [{destination: {host: inventory}}]}]";
    let (proxy, mut caller) = shop.with(rule).await;
    let answer = caller.get("/b").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("x-fusebox-policy"), "no-route; edge=payment>inventory");
    assert_eq!(shop.v1.requests() + shop.v2.requests(), 0);
    let line = "fusebox_proxy_policy_total{what=\"no-route\"}";
    assert_eq!(metric(&proxy, line).await, 1);
}

/// Scenario: a rule sends to another host of the proxy, and one to a host that it does not have.
/// Guarantees: the former reaches that host's endpoints; the latter gets 503 with the reason.
#[tokio::test]
async fn destinations_of_other_hosts() {
    let shop = Shop::open().await;
    let (_proxy, mut caller) = shop.with("[{route: [{destination: {host: stock}}]}]").await;
    assert_eq!(saw(&caller.get("/").await)["name"], "stock");
    let (_proxy, mut caller) = shop.with("[{route: [{destination: {host: nowhere}}]}]").await;
    let answer = caller.get("/").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-fusebox-policy"), "unknown-host; edge=payment>inventory");
}

/// Scenario: a redirect, with and without parts of its own.
/// Guarantees: the `Location` has what the rule says, and the rest of the request.
#[tokio::test]
async fn redirect() {
    let shop = Shop::open().await;
    for (redirect, status, location) in [
        ("{uri: /new}", 301, "http://inventory:80/new?q=1"),
        ("{authority: new, redirectCode: 302}", 302, "http://new/old?q=1"),
        ("{scheme: https, authority: new:8443}", 301, "https://new:8443/old?q=1"),
    ] {
        let (_proxy, mut caller) = shop.with(&format!("[{{redirect: {redirect}}}]")).await;
        let answer = caller.get("/old?q=1").await;
        assert_eq!(answer.status, status, "{redirect}");
        assert_eq!(answer.header("location").replace("inventory/", "inventory:80/"), location);
    }
}

/// Scenario: a rule that answers by itself, with header edits.
/// Guarantees: its status, its body and its headers; no server is asked.
#[tokio::test]
async fn direct_response() {
    let shop = Shop::open().await;
    let rule = "[{directResponse: {status: 418, body: {string: tea}},\
        headers: {response: {set: {x-pot: full}}}}]";
    let (_proxy, mut caller) = shop.with(rule).await;
    let answer = caller.get("/").await;
    assert_eq!((answer.status, &answer.body[..]), (418, &b"tea"[..]));
    assert_eq!(answer.header("x-pot"), "full");
    assert_eq!(shop.v1.requests(), 0);
}

/// Scenario: rewrites of path and authority.
/// Guarantees: the server sees the new ones, and the query as it was.
#[tokio::test]
async fn rewrite() {
    let shop = Shop::open().await;
    for (rule, target, host) in [
        ("match: [{uri: {prefix: /a/}}], rewrite: {uri: /}", "/b?q=1", "inventory:80"),
        ("match: [{uri: {exact: /a/b}}], rewrite: {uri: /c}", "/c?q=1", "inventory:80"),
        ("rewrite: {authority: other.shop}", "/a/b?q=1", "other.shop"),
        (
            "rewrite: {uriRegexRewrite: {match: '^/a/(.*)$', rewrite: '/x/\\1'}}",
            "/x/b?q=1",
            "inventory:80",
        ),
    ] {
        let rules = format!("[{{{rule}, route: [{{destination: {{host: inventory}}}}]}}]");
        let (_proxy, mut caller) = shop.with(&rules).await;
        let saw = saw(&caller.get("/a/b?q=1").await);
        assert_eq!((saw["target"].as_str(), saw["host"].as_str()), (Some(target), Some(host)));
    }
}

/// Scenario: header edits of the rule and of its destination, on the way there and back.
/// Guarantees: on the way there the rule's come first, on the way back last; set replaces, add
/// adds, remove removes.
#[tokio::test]
async fn headers() {
    let shop = Shop::open().await;
    let rule = "[{headers: {request: {set: {x-a: rule, x-b: rule}, add: {x-c: rule}},\
                            response: {set: {x-own: rule}}},\
        route: [{destination: {host: inventory},\
          headers: {request: {set: {x-b: way}, remove: [x-d]},\
                    response: {set: {x-own: way}, add: {x-name: way}}}}]}]";
    let (_proxy, mut caller) = shop.with(rule).await;
    let answer = caller.send(request("/", &[("x-a", "0"), ("x-c", "0"), ("x-d", "0")])).await;
    let headers = saw(&answer)["headers"].clone();
    assert_eq!(headers["x-a"], "rule");
    assert_eq!(headers["x-b"], "way");
    assert_eq!(headers["x-c"], "0,rule");
    assert_eq!(headers.get("x-d"), None);
    assert_eq!(answer.header("x-own"), "rule");
    assert_eq!(answer.headers.get_all("x-name").iter().count(), 2);
}

/// Scenario: faults for all, for nobody, and for half of the requests.
/// Guarantees: an abort is our answer, no server sees it and nothing fails; a delay delays and then
/// the server answers; shares are shares.
#[tokio::test]
async fn faults() {
    const WAY: &str = "route: [{destination: {host: inventory}}]";
    let shop = Shop::open().await;
    let abort = |percent| {
        format!(
            "[{{fault: {{abort: {{httpStatus: 555, percentage: {{value: {percent}}}}}}}, {WAY}}}]"
        )
    };
    let (proxy, mut caller) = shop.with(&abort(100)).await;
    let answer = caller.get("/").await;
    assert_eq!(answer.status, 555);
    assert_eq!(answer.header("x-fusebox-policy"), "fault-abort; edge=payment>inventory");
    assert_eq!(shop.v1.requests() + shop.v2.requests(), 0);
    assert_eq!(metric(&proxy, "fusebox_proxy_policy_total{what=\"fault-abort\"}").await, 1);
    let (_proxy, mut caller) = shop.with(&abort(0)).await;
    assert_eq!(caller.get("/").await.status, 200);

    let (_proxy, mut caller) = shop.with(&abort(50)).await;
    let mut aborted = 0;
    for _ in 0..400 {
        aborted += usize::from(caller.get("/").await.status == 555);
    }
    assert!((140..260).contains(&aborted), "{aborted} of 400");

    let delay = "fault: {delay: {fixedDelay: 100ms, percentage: {value: 100}}}";
    let (_proxy, mut caller) = shop.with(&format!("[{{{delay}, {WAY}}}]")).await;
    let before = Now::read().instant;
    assert_eq!(caller.get("/").await.status, 200);
    assert!(Duration::from_millis(100) <= Now::read().instant - before);
}

/// Scenario: a route with a timeout, to a server that never answers, to one that never ends its
/// answer, and to one that is quick.
/// Guarantees: 504 with the reason and a `timeout` in the report; a broken answer; nothing.
#[tokio::test]
async fn timeout() {
    let (server, _gate, _arrivals) = Server::gated().await;
    let rule = |to: &str| format!("[{{timeout: 100ms, route: [{{destination: {{host: {to}}}}}]}}]");
    let config =
        crate::shop::under(outbound(&[server.address]), &crate::shop::rules(&rule("inventory")));
    let proxy = crate::world::Proxy::start(config);
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(answer.header("x-fusebox-failure"), "timeout; edge=payment>inventory");
    assert_eq!(metric(&proxy, "fusebox_proxy_policy_total{what=\"timeout\"}").await, 1);

    let endless = Server::start(|_| async {
        let first = futures_util::stream::iter([Ok(http_body::Frame::data("part".into()))]);
        let never = futures_util::stream::pending();
        let body = http_body_util::StreamBody::new(futures_util::StreamExt::chain(first, never));
        Response::new(body.boxed())
    })
    .await;
    let config =
        crate::shop::under(outbound(&[endless.address]), &crate::shop::rules(&rule("inventory")));
    let proxy = crate::world::Proxy::start(config);
    let mut caller = Caller::connect(proxy.address()).await;
    assert!(caller.try_send(request("/", &[])).await.is_err(), "the answer breaks off");

    let shop = Shop::open().await;
    let (_proxy, mut caller) = shop.with(&rule("inventory")).await;
    assert_eq!(caller.get("/").await.status, 200);
}

/// Scenario: all requests are mirrored, with and without a body, one body too long for a copy, and
/// then to a mirror that is not there.
/// Guarantees: the mirror sees the same requests under the name of a shadow; the caller gets the
/// answer of the real server whatever the mirror does; what is not mirrored is counted.
#[tokio::test]
async fn mirror() {
    let shop = Shop::open().await;
    let rule = |mirror| {
        format!(
            "[{{route: [{{destination: {{host: inventory, subset: v1}}}}],\
              mirror: {{host: {mirror}}}}}]"
        )
    };
    let (proxy, mut caller) = shop.with(&rule("stock")).await;
    assert_eq!(saw(&caller.get("/a").await)["name"], "v1");
    let post = |len| Request::post("/b").body(full(vec![b'x'; len])).unwrap();
    assert_eq!(saw(&caller.send(post(100)).await)["name"], "v1");
    assert_eq!(saw(&caller.send(post(100_000)).await)["name"], "v1");
    until(&proxy, "mirrored", 2).await;
    until(&proxy, "mirror-too-long", 1).await;
    assert_eq!((shop.v1.requests(), shop.stock.requests()), (3, 2));

    let (proxy, mut caller) = shop.with(&rule("nowhere")).await;
    assert_eq!(saw(&caller.get("/a").await)["name"], "v1");
    until(&proxy, "mirror-dropped", 1).await;
}

/// Scenario: 1,000 requests of which none is to be mirrored, and 1,000 of which half are.
/// Guarantees: all are answered by the real server; of the first thousand the mirror gets none, of
/// the second 500, five more or less, and no more are given up.
#[tokio::test]
async fn mirror_percentage() {
    let shop = Shop::open().await;
    let rule = |percent| {
        format!(
            "[{{route: [{{destination: {{host: inventory, subset: v1}}}}], \
              mirror: {{host: stock}}, mirrorPercentage: {{value: {percent}}}}}]"
        )
    };
    let counted = async |proxy: &crate::world::Proxy| {
        let line = |what| format!("fusebox_proxy_policy_total{{what=\"{what}\"}}");
        metric(proxy, &line("mirrored")).await + metric(proxy, &line("mirror-dropped")).await
    };
    // A copy too many of the first thousand would be one of the second.
    for (percent, bounds) in [(0, 0..=0), (50, 495..=505)] {
        let (proxy, mut caller) = shop.with(&rule(percent)).await;
        for _ in 0..1_000 {
            assert_eq!(caller.get("/").await.header("x-name"), "v1");
        }
        let copying = async {
            while counted(&proxy).await < *bounds.start() {
                tokio::task::yield_now().await;
            }
        };
        let copied = tokio::time::timeout(Duration::from_secs(20), copying).await;
        assert!(copied.is_ok(), "{percent} %: {} of 1,000", counted(&proxy).await);
        let copies = counted(&proxy).await;
        println!("{percent} %: {copies} copies of 1,000");
        assert!(bounds.contains(&copies), "{percent} %: {copies} of 1,000");
        assert!(shop.stock.requests() as u64 <= *bounds.end(), "{}", shop.stock.requests());
    }
    assert!(490 <= shop.stock.requests(), "{}", shop.stock.requests());
    assert_eq!(shop.v1.requests(), 2_000);
}

async fn until(proxy: &crate::world::Proxy, what: &str, count: u64) {
    let line = format!("fusebox_proxy_policy_total{{what=\"{what}\"}}");
    while metric(proxy, &line).await != count {
        tokio::task::yield_now().await;
    }
}

/// Scenario: a copy arrives at its mirror.
/// Guarantees: its host carries Envoy's suffix, its path and headers are those of the request.
#[tokio::test]
async fn mirror_authority() {
    let (seen, mut hosts) = tokio::sync::mpsc::unbounded_channel();
    let mirror = Server::start(move |request: Request<hyper::body::Incoming>| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        seen.send((host, request.uri().to_string())).unwrap();
        async { Response::new(full("")) }
    })
    .await;
    let shop = Shop::open().await;
    let mut config = shop.config();
    config.outbound[1].endpoints = vec![mirror.address.into()];
    let rule = "[{route: [{destination: {host: inventory}}], mirror: {host: stock}}]";
    let proxy = crate::world::Proxy::start(crate::shop::under(config, &crate::shop::rules(rule)));
    let answer: Answer = get(proxy.address(), "/a?b").await;
    assert_eq!(answer.status, 200);
    assert_eq!(hosts.recv().await.unwrap(), ("inventory-shadow:80".into(), "/a?b".into()));
}

//! Retries and service breakers of a policy, over real sockets.

use crate::collector::Collector;
use crate::shop::{metric, moody, page, push, request, rules, under};
use crate::world::{Answer, Body, Caller, Proxy, Server, full, get, outbound};
use fusebox_proto::command::Action;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A server that fails with 503 so many times before it answers.
async fn failing(times: usize) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |request: Request<Incoming>| {
        let attempt = count.fetch_add(1, SeqCst);
        async move {
            // Read first: an answer beside an unread body resets the connection.
            let _ = request.into_body().collect().await;
            let status = if attempt < times { 503 } else { 200 };
            Response::builder().status(status).body(full("")).unwrap()
        }
    })
    .await
}

/// A rule with these retries.
fn with_retries(retries: &str) -> String {
    rules(&format!("[{{route: [{{destination: {{host: inventory}}}}], retries: {retries}}}]"))
}

async fn attempts(times: usize, policy: &str, request: Request<Body>) -> (Answer, usize) {
    let server = failing(times).await;
    let proxy = Proxy::start(under(outbound(&[server.address]), policy));
    let answer = Caller::connect(proxy.address()).await.send(request).await;
    (answer, server.requests())
}

/// Scenario: servers that fail once, twice, always; bodies that can be sent again and that cannot;
/// conditions that name what happened and that do not.
/// Guarantees: as many attempts as the policy allows, only where it asks for them and the body is at
/// hand; the caller gets the last answer.
#[tokio::test]
async fn retries() {
    let policy = |attempts, on: &str| {
        with_retries(&format!("{{attempts: {attempts}, retryOn: '{on}', backoff: 1ms}}"))
    };
    let get = || request("/", &[]);
    let post = |len| Request::post("/").body(full(vec![b'x'; len])).unwrap();
    for (times, attempts_max, on, request, status, expected) in [
        (1, 2, "5xx", get(), 200, 2),
        (2, 2, "5xx", get(), 200, 3),
        (9, 2, "5xx", get(), 503, 3),
        (1, 2, "503", get(), 200, 2),
        (1, 2, "gateway-error", get(), 200, 2),
        (1, 2, "connect-failure", get(), 503, 1),
        (1, 2, "5xx", post(60_000), 200, 2),
        (1, 2, "5xx", post(200_000), 503, 1),
    ] {
        let (answer, seen) = attempts(times, &policy(attempts_max, on), request).await;
        assert_eq!((answer.status, seen), (status, expected), "{times} {on}");
    }
}

/// Scenario: the server says that it is too much, by the headers of an Envoy and of a proxy of ours.
/// Guarantees: it is not asked again.
#[tokio::test]
async fn who_says_no_is_not_asked_again() {
    for header in ["x-envoy-ratelimited", "x-envoy-overloaded", "x-fusebox-refused"] {
        let server = Server::start(move |_| async move {
            Response::builder().status(503).header(header, "true").body(full("")).unwrap()
        })
        .await;
        let policy = with_retries("{attempts: 3, retryOn: 5xx}");
        let proxy = Proxy::start(under(outbound(&[server.address]), &policy));
        assert_eq!(get(proxy.address(), "/").await.status, 503);
        assert_eq!(server.requests(), 1, "{header}");
    }
}

/// Scenario: a server that never answers, with a time for each try and for the route.
/// Guarantees: `perTryTimeout` ends each try and another follows; the route's timeout ends them all
/// with 504.
#[tokio::test]
async fn per_try_timeout() {
    let (server, _gate, _arrivals) = Server::gated().await;
    let rule = rules(
        "[{route: [{destination: {host: inventory}}], timeout: 10s, \
           retries: {attempts: 2, retryOn: 5xx, perTryTimeout: 50ms, backoff: 1ms}}]",
    );
    let proxy = Proxy::start(under(outbound(&[server.address]), &rule));
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status, 504);
    assert_eq!(server.requests(), 3);
}

/// Scenario: retries of ours, seen by the collector; then retries are muted.
/// Guarantees: each is an attempt of the edge, recognised for certain; muted, the caller gets what
/// the first attempt got, and the server is asked once.
#[tokio::test]
async fn retries_are_counted_and_can_be_muted() {
    let (server, _) = moody(503).await;
    let collector = Collector::start().await;
    let policy = with_retries("{attempts: 2, retryOn: 5xx, backoff: 1ms}");
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    assert_eq!(push(&mut session, 1, &policy).await.rejected, None);
    assert_eq!(get(proxy.address(), "/").await.status, 503);
    assert_eq!(server.requests(), 3);
    let (mut first, mut certain, mut failures) = (0, 0, 0);
    while failures < 3 {
        for window in session.report().await.edges {
            first += window.counts.first_attempts;
            certain += window.counts.retries_certain;
            failures += window.counts.failures;
        }
    }
    assert_eq!((first, certain, failures), (1, 2, 3));
    session.trip(7, Action::MuteRetries { percent: 0 }).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status, answer.header("x-fusebox-refused")), (503, ""));
    assert_eq!(server.requests(), 4);
}

/// Scenario: a sampled request is retried twice by us.
/// Guarantees: three spans of the same caller's span, one an attempt, with their numbers, the rule
/// and what each one ended with.
#[tokio::test]
async fn each_attempt_has_a_span() {
    let server = failing(2).await;
    let collector = Collector::start().await;
    let policy = with_retries("{attempts: 2, retryOn: 5xx, backoff: 1ms}");
    let mut config = under(outbound(&[server.address]), &policy);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let traced = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(caller.send(request("/", &traced)).await.status, 200);
    let mut told = Vec::new();
    while told.len() < 3 {
        for span in &collector.spans().await.resource_spans[0].scope_spans[0].spans {
            let value = |key| {
                let found = span.attributes.iter().find(|entry| entry.key == key);
                found.map_or(String::new(), |entry| format!("{:?}", entry.value))
            };
            assert!(value("fusebox.route").contains("inventory-route"));
            let count = value("http.request.resend_count");
            let status = value("http.response.status_code");
            let number = ["IntValue(1)", "IntValue(2)"].iter().position(|it| count.contains(it));
            let is_ok = status.contains("IntValue(200)");
            told.push((number.map_or(0, |at| at + 1), is_ok, span.parent_span_id.clone()));
        }
    }
    told.sort();
    let parent = vec![0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];
    let expected = [(0, false), (1, false), (2, true)];
    assert_eq!(told, expected.map(|(number, is_ok)| (number, is_ok, parent.clone())));
}

/// Scenario: everything fails, and two retries are allowed for each of 100 requests.
/// Guarantees: the budget holds the retries far below that.
#[tokio::test]
async fn retry_budget() {
    let (server, _) = moody(503).await;
    let policy = with_retries("{attempts: 2, retryOn: 5xx, backoff: 1ms}");
    let proxy = Proxy::start(under(outbound(&[server.address]), &policy));
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..400 {
        assert_eq!(caller.get("/").await.status, 503);
    }
    let retries = server.requests() - 400;
    assert!(retries < 400, "{retries} of 800");
    let line = "fusebox_proxy_policy_total{what=\"retry-budget\"}";
    assert!(0 < metric(&proxy, line).await);
}

/// Scenario: a service breaker of three failures in a row.
/// Guarantees: the fourth request is refused with `open` before any endpoint is chosen; `/breakers`
/// says so; in shadow nothing is refused.
#[tokio::test]
async fn service_breaker() {
    let annotated = |shadow| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  \
             name: inventory\n  annotations:\n    \
             fusebox.io/breaker: consecutive\n    \
             fusebox.io/breaker-consecutive-failures: '3'\n    \
             fusebox.io/breaker-shadow: '{shadow}'\nspec: {{host: inventory}}\n"
        )
    };
    for (shadow, last) in [("false", 503), ("true", 500)] {
        let (server, _) = moody(500).await;
        let proxy = Proxy::start(under(outbound(&[server.address]), &annotated(shadow)));
        let mut caller = Caller::connect(proxy.address()).await;
        for _ in 0..3 {
            assert_eq!(caller.get("/").await.status, 500);
        }
        let answer = caller.get("/").await;
        assert_eq!(answer.status, last, "shadow: {shadow}");
        if last == 503 {
            assert_eq!(answer.header("x-fusebox-refused"), "open; edge=payment>inventory");
            assert_eq!(page(&proxy, "/breakers").await["breakers"][0]["state"], "open");
            assert_eq!(server.requests(), 3);
        }
    }
}

/// Scenario: retries are muted, on an edge whose policy wants the original answer replayed.
/// Guarantees: the caller of a muted retry gets the status of the attempt that it repeats.
#[tokio::test]
async fn muted_answer_replay() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let (server, _) = moody(500).await;
    let collector = Collector::start().await;
    let policy = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  \
        name: inventory\n  annotations: {fusebox.io/muted-answer: replay}\n\
        spec: {host: inventory}\n";
    let mut config = outbound(&[server.address]);
    config.collector = Some(collector.url.clone());
    let proxy = Proxy::start(config);
    let mut session = collector.attached().await;
    assert_eq!(push(&mut session, 1, policy).await.rejected, None);
    session.trip(7, Action::MuteRetries { percent: 0 }).await;
    let mut caller = Caller::connect(proxy.address()).await;
    assert_eq!(caller.send(request("/", &[("traceparent", TRACE)])).await.status, 500);
    let muted = caller.send(request("/", &[("traceparent", TRACE)])).await;
    assert_eq!(muted.status, 500);
    let says = "retries-muted; edge=payment>inventory; original=500";
    assert_eq!(muted.header("x-fusebox-refused"), says);
    assert_eq!(server.requests(), 1);
}

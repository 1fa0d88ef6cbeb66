//! What holds retries back, and what rules do to gRPC calls, over real sockets.

use crate::shop::{metric, rules, settings, under};
use crate::world::{Answer, Body, Caller, Proxy, Server, full, http2_caller, outbound};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::{Semaphore, mpsc};

/// Two retries for each request that fails.
fn two_retries() -> String {
    rules(
        "[{route: [{destination: {host: inventory}}], \
           retries: {attempts: 2, retryOn: 5xx, backoff: 1ms}}]",
    )
}

/// Scenario: a Gateway API budget of a tenth and one retry a second, under 300 requests that all
/// fail and may each be retried twice.
/// Guarantees: the server sees a tenth more than the requests and what the rate allows, and not less
/// than the tenth; what was held back is counted.
#[tokio::test]
async fn retry_constraint() {
    const REQUESTS: usize = 300;
    let server =
        Server::start(|_| async { Response::builder().status(503).body(full("")).unwrap() }).await;
    let policy = format!(
        "{}---\napiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XBackendTrafficPolicy\n\
         metadata: {{name: budget}}\nspec:\n  targetRefs: [{{group: '', kind: Service, name: inventory}}]\n  \
         retryConstraint: {{budget: {{percent: 10, interval: 1h}}, \
         minRetryRate: {{count: 1, interval: 1h}}}}\n",
        two_retries()
    );
    let proxy = Proxy::start(under(outbound(&[server.address]), &policy));
    let mut caller = Caller::connect(proxy.address()).await;
    for _ in 0..REQUESTS {
        assert_eq!(caller.get("/").await.status, 503);
    }
    let retries = server.requests() - REQUESTS;
    // One an hour for an hour's window, beside the tenth.
    assert!((REQUESTS / 10..=REQUESTS / 10 + 2).contains(&retries), "{retries} of {REQUESTS}");
    assert!(0 < metric(&proxy, "fusebox_proxy_policy_total{what=\"retry-budget\"}").await);
}

/// A server whose first attempts fail at once and whose retries wait at a gate. It tells the path of
/// each retry.
async fn slow_retries() -> (Server, Arc<Semaphore>, mpsc::UnboundedReceiver<String>) {
    let gate = Arc::new(Semaphore::new(0));
    let (arrived, arrivals) = mpsc::unbounded_channel();
    let seen: Arc<parking_lot::Mutex<BTreeMap<String, usize>>> = Arc::default();
    let doorway = Arc::clone(&gate);
    let server = Server::start(move |request: Request<Incoming>| {
        let path = request.uri().path().to_owned();
        let attempt = {
            let mut seen = seen.lock();
            let count = seen.entry(path.clone()).or_default();
            *count += 1;
            *count
        };
        let (gate, arrived) = (Arc::clone(&doorway), arrived.clone());
        async move {
            let status = if attempt == 1 {
                503
            } else {
                arrived.send(path).unwrap();
                gate.acquire().await.unwrap().forget();
                200
            };
            Response::builder().status(status).body(full("")).unwrap()
        }
    })
    .await;
    (server, gate, arrivals)
}

/// Scenario: `connectionPool.http.maxRetries: 1`; while one retry is under way, another request
/// fails; then the first retry ends, and a third request fails.
/// Guarantees: the second gets what its first attempt got, at once; the third is retried again.
#[tokio::test]
async fn max_retries() {
    let (server, gate, mut arrivals) = slow_retries().await;
    let policy =
        format!("{}---\n{}", two_retries(), settings("{connectionPool: {http: {maxRetries: 1}}}"));
    let proxy = Proxy::start(under(outbound(&[server.address]), &policy));
    let address = proxy.address();
    let first = tokio::spawn(async move { Caller::connect(address).await.get("/first").await });
    assert_eq!(arrivals.recv().await.unwrap(), "/first");
    assert_eq!(Caller::connect(address).await.get("/second").await.status, 503);
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(Caller::connect(address).await.get("/third").await.status, 200);
    assert_eq!(arrivals.recv().await.unwrap(), "/third");
    assert_eq!(metric(&proxy, "fusebox_proxy_policy_total{what=\"retry-budget\"}").await, 1);
}

/// A unary call without a message.
fn call() -> Request<Body> {
    Request::post("http://inventory/shop.Inventory/Reserve")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(full(vec![0; 5]))
        .unwrap()
}

/// The one call, through a proxy with these rules in front of `server`.
async fn called(server: &Server, http: &str) -> Answer {
    let proxy = Proxy::start(under(outbound(&[server.address]), &rules(http)));
    let mut caller = http2_caller(proxy.address()).await;
    Answer::read(caller.send_request(call()).await.unwrap()).await.unwrap()
}

/// A gRPC server that ends this many calls with `status`, in a head alone, and all others with 0.
async fn grpc_failing(times: usize, status: u16) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |request: Request<Incoming>| {
        let status = if count.fetch_add(1, SeqCst) < times { status } else { 0 };
        async move {
            let _ = request.into_body().collect().await;
            Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status)
                .body(full(""))
                .unwrap()
        }
    })
    .await
}

/// Scenario: gRPC calls that fail with a status, under conditions that name it and that do not.
/// Guarantees: the status is what the conditions see, not the 200 of HTTP; as many attempts as are
/// allowed; the caller gets the last answer.
#[tokio::test]
async fn grpc_retries() {
    for (times, status, on, expected, attempts) in [
        (1, 14, "unavailable", "0", 2),
        (9, 14, "unavailable", "14", 3),
        (1, 8, "unavailable", "8", 1),
        (1, 8, "resource-exhausted", "0", 2),
        (1, 4, "deadline-exceeded", "0", 2),
        (1, 1, "cancelled", "0", 2),
        (1, 13, "internal", "0", 2),
        (1, 13, "gateway-error", "13", 1),
    ] {
        let server = grpc_failing(times, status).await;
        let http = format!(
            "[{{route: [{{destination: {{host: inventory}}}}], \
               retries: {{attempts: 2, retryOn: '{on}', backoff: 1ms}}}}]"
        );
        let answer = called(&server, &http).await;
        let got = (answer.header("grpc-status"), server.requests());
        assert_eq!(got, (expected, attempts), "{times} times {status} on {on}");
    }
}

/// Scenario: faults of both kinds on a gRPC call.
/// Guarantees: a gRPC caller gets a gRPC status in either case, HTTP 200 around it, with our reason;
/// no server sees the call.
#[tokio::test]
async fn grpc_faults() {
    for (abort, expected) in
        [("grpcStatus: NOT_FOUND", "5"), ("httpStatus: 503", "14"), ("httpStatus: 403", "7")]
    {
        let server = grpc_failing(0, 0).await;
        let http = format!(
            "[{{fault: {{abort: {{{abort}, percentage: {{value: 100}}}}}}, \
               route: [{{destination: {{host: inventory}}}}]}}]"
        );
        let answer = called(&server, &http).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, expected), "{abort}");
        assert_eq!(answer.header("x-fusebox-policy"), "fault-abort; edge=payment>inventory");
        assert_eq!(server.requests(), 0, "{abort}");
    }
}

use super::*;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::station::Profile;
use rand::SeedableRng as _;

/// What the callee does with its n-th request, from 1: a status, or nothing.
type Script = fn(usize) -> Option<u16>;

/// A callee that keeps what `traceparent` each request had.
#[derive(Clone)]
struct Callee {
    seen: Arc<Mutex<Vec<Option<TraceContext>>>>,
    script: Script,
}

impl Callee {
    async fn start(script: Script) -> (Self, std::net::SocketAddr) {
        let callee = Self { seen: Arc::default(), script };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = callee.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let callee = serving.clone();
                let service = service_fn(move |request| callee.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (callee, address)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let header = request.headers().get("traceparent");
        let context = header.map(|value| TraceContext::parse(value.to_str().unwrap()).unwrap());
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(context);
            seen.len()
        };
        let Some(status) = (self.script)(number) else { return std::future::pending().await };
        Ok(Response::builder().status(status).body(Full::default()).unwrap())
    }

    fn seen(&self) -> Vec<Option<TraceContext>> {
        self.seen.lock().unwrap().clone()
    }
}

/// An instance that calls one address with these settings of its client library.
fn caller(settings: &str, callee: std::net::SocketAddr) -> Instance {
    let text = format!(
        r#"
name = "test"
summary = "one caller, one callee"
[[load]]
to = "caller/go"
rate = 1
[services.callee.routes]
come = []
[services.caller.routes]
go = [{{ to = "callee/come" }}]
[services.caller.clients]
callee = {settings}
"#
    );
    let scenario = Scenario::parse("test", &text).unwrap();
    let (stage, _) = Stage::new(Arc::new(Plan::new(scenario, 1)));
    let profile = Profile { workers: 1, queue_max: 1, work_ms: 0.0, spread: 0.0 };
    let desk = Desk::new(stage.clock, profile, 1);
    let links = BTreeMap::from([("callee".to_owned(), Link::new(callee, "callee"))]);
    Instance::new(stage, "caller", desk, links, StdRng::seed_from_u64(1))
}

/// The outcome of one call, and how many requests with how many different parent spans it made.
async fn check(settings: &str, script: Script, expected: (Outcome, usize, usize)) {
    let (callee, address) = Callee::start(script).await;
    let caller = caller(settings, address);
    let incoming = caller.root(true);
    let outcome = caller.call("callee/come", None, Some(incoming)).await;
    let seen: Vec<TraceContext> = callee.seen().into_iter().flatten().collect();
    let parents: std::collections::BTreeSet<SpanId> =
        seen.iter().map(|context| context.parent_id).collect();
    assert_eq!((outcome, seen.len(), parents.len()), expected, "{settings}");
    assert!(!parents.contains(&incoming.parent_id), "a client span has an id of its own");
    assert!(seen.iter().all(|context| context.trace_id == incoming.trace_id), "one trace");
}

/// Scenario: client libraries of all shapes against a callee that fails, refuses, keeps silent.
/// Guarantees: as many attempts as the settings say, under one span (urllib3) or one each
/// (tenacity), all in the caller's trace; a hedge wins where the first attempt keeps silent.
#[tokio::test]
async fn libraries_behave_as_they_are_told() {
    let shared = "{ attempts = 3 }";
    let own = "{ attempts = 3, new_span_each_attempt = true }";
    check(shared, |_| Some(503), (Outcome::Answered(503), 3, 1)).await;
    check(own, |_| Some(503), (Outcome::Answered(503), 3, 3)).await;
    check(shared, |n| Some(if n == 1 { 500 } else { 200 }), (Outcome::Answered(200), 2, 1)).await;
    check(shared, |_| Some(424), (Outcome::Answered(424), 1, 1)).await;
    check("{ attempts = 1 }", |_| Some(503), (Outcome::Answered(503), 1, 1)).await;
    let impatient = "{ attempts = 2, timeout_ms = 50 }";
    check(impatient, |_| None, (Outcome::TimedOut, 2, 1)).await;
    let hedging = "{ hedge_after_ms = 20, new_span_each_attempt = true }";
    check(hedging, |n| (1 < n).then_some(200), (Outcome::Answered(200), 2, 2)).await;
    check(hedging, |_| Some(200), (Outcome::Answered(200), 1, 1)).await;
}

/// Scenario: a call outside any trace.
/// Guarantees: no `traceparent` is made up.
#[tokio::test]
async fn no_trace_is_no_trace() {
    let (callee, address) = Callee::start(|_| Some(200)).await;
    let outcome = caller("{}", address).call("callee/come", None, None).await;
    assert_eq!(outcome, Outcome::Answered(200));
    assert_eq!(callee.seen(), [None]);
}

//! Calls of the own application: routed, classified, admitted or refused, forwarded, counted.

mod attempt;
mod mirror;
mod rewrite;
mod route;
mod tally;

use crate::body::{RequestBody, ResponseBody, read_ahead};
use crate::edge::{BodyDigest, Decision, EdgeCore, Outcome, Refusal, RequestHead};
use crate::exchange::{self, Answer, Verdict};
use crate::forward::{self, Exchange, Outgoing, SendError};
use crate::gate::{self, Rejected};
use crate::policy::edits::Edits;
use crate::policy::plan::{Plan, Target};
use crate::pool::Picked;
use crate::propagate::{self, Tracing};
use crate::refuse;
use crate::spans::{Draft, Ending, SpanRing};
pub(crate) use attempt::latency_us;
use attempt::{Attempt, Crossing};
use fusebox_proto::policy::Caller;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::TraceContext;
use fusebox_proto::{Now, ServiceId};
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
pub(crate) use tally::{Tally, What};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const GRPC_PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
/// Applications copy it from their own callers and clients forge it: it means nothing here, and
/// must mean nothing further down.
const ENVOY_ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// One edge: its core, shared by all listeners that lead to the same destination.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The called service.
    pub(crate) destination: ServiceId,
    /// `source>destination`, for answers.
    pub(crate) name: String,
    /// Held for one decision or one count at a time, never over an await.
    pub(crate) core: Mutex<EdgeCore>,
    /// Where spans go.
    pub(crate) spans: Arc<SpanRing>,
}

/// One outbound listener.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Where its traffic belongs, if no rule sends it elsewhere.
    pub(crate) edge: Arc<Edge>,
    /// Stands in where an HTTP/1.0 request names no host.
    pub(crate) host: HeaderValue,
    /// The port that its callers mean.
    pub(crate) port: u16,
    /// What it does with requests; a request keeps the one that it found.
    pub(crate) plan: RwLock<Arc<Plan>>,
    /// What all listeners have together.
    pub(crate) common: Arc<Common>,
}

/// What all outbound listeners have together.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// The process's own, for digests of bodies.
    pub(crate) seed: u64,
    /// What may be added to traces.
    pub(crate) tracing: Tracing,
    /// The own application, as rules see it.
    pub(crate) caller: Caller,
    /// What policies did in place of servers.
    pub(crate) tally: Tally,
    /// Copies for mirrors that are under way.
    pub(crate) copies: AtomicUsize,
}

type Answered = Response<ResponseBody<Crossing>>;

/// A request of the application, past the gate.
struct Call {
    head: request::Parts,
    body: RequestBody,
    trace: Option<TraceContext>,
    protocol: Protocol,
}

impl Call {
    fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }

    /// Reads what is left of the body, so that the connection stays usable. Whoever waits for a
    /// `100 Continue` sends no body after another answer.
    fn drain(self) {
        if !self.head.headers.contains_key(EXPECT) {
            self.body.drain();
        }
    }
}

/// What a rule says about the way of a request and back.
#[derive(Clone, Copy, Default)]
struct Terms<'p> {
    /// Until the end of the response.
    timeout: Option<Duration>,
    /// Edits of the response, in this order.
    response: [Option<&'p Edits>; 2],
}

impl Outbound {
    /// Answers one request of the application: by the server, or here.
    pub(crate) async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Answered {
        let (mut head, incoming) = request.into_parts();
        let version = head.version;
        if let Err(rejected) = gate::admit(&mut head, &self.host) {
            return refuse::malformed(rejected, version);
        }
        head.headers.remove(ENVOY_ATTEMPT_COUNT);
        let protocol = exchange::protocol(&head);
        let trace = propagate::read(&mut head.headers);
        let call = Call { head, body: RequestBody::new(incoming), trace, protocol };
        let plan = Arc::clone(&self.plan.read());
        match &plan.rules {
            None => self.forward(&plan.direct, call, Terms::default()).await,
            // In a place of its own: without rules nobody pays for its size.
            Some(rules) => Box::pin(self.route(rules, call)).await,
        }
    }

    /// Sends a request to `target`, if it may cross.
    async fn forward(&self, target: &Target, call: Call, terms: Terms<'_>) -> Answered {
        let Call { mut head, mut body, trace, protocol } = call;
        let is_grpc = protocol == Protocol::Grpc;
        let Ok(digest) = self.digest(&head, trace, protocol, &mut body).await else {
            return broken_body(head.version);
        };
        let now = Now::read();
        let ticket = match admit(target, now, &head, trace, protocol, digest) {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => {
                let call = Call { head, body, trace, protocol };
                return self.refuse(now, target, call, refusal);
            }
        };
        let mut span = self.span(now, target, &mut head, trace, protocol);
        if let Some(span) = &mut span {
            span.resend_count(ticket.resend_count());
        }
        // From here on, an early return or a drop is an end that is counted.
        let mut attempt = Attempt::new(Arc::clone(&target.edge), ticket, span);
        let picked = match target.pool.pick() {
            Ok(picked) => attempt.sent_to(picked),
            Err(overflow) => {
                body.drain();
                let refusal = attempt.overflowed(overflow);
                return refuse::refused(refusal, &target.edge.name, is_grpc, target.muted);
            }
        };
        if target.pool.is_upgrading() && head.version != Version::HTTP_2 {
            rewrite::to_http2(&mut head);
        }
        let mut outgoing = Some(Request::from_parts(head, body));
        match send_within(picked, now.instant, terms.timeout, &mut outgoing).await {
            Ok((response, exchange)) => {
                let deadline = terms.timeout.map(|timeout| now.instant + timeout);
                pass(response, attempt, exchange, is_grpc, terms, deadline)
            }
            Err(error) => {
                if let Some(unsent) = outgoing {
                    unsent.into_body().drain();
                }
                self.unanswered(target, attempt, &error, is_grpc)
            }
        }
    }

    /// Reads ahead only where the digest can decide something, and where that makes nobody send a
    /// body that waits for a `100 Continue`.
    async fn digest(
        &self,
        head: &request::Parts,
        trace: Option<TraceContext>,
        protocol: Protocol,
        body: &mut RequestBody,
    ) -> Result<BodyDigest, hyper::Error> {
        if body.is_empty() {
            return Ok(BodyDigest::Empty);
        }
        let is_asked = trace.is_some()
            && !head.headers.contains_key(IDEMPOTENCY_KEY)
            && !head.headers.contains_key(EXPECT);
        if !is_asked {
            return Ok(BodyDigest::Unknown);
        }
        read_ahead(body, protocol == Protocol::Grpc, self.common.seed).await
    }

    fn unanswered(
        &self,
        target: &Target,
        attempt: Attempt,
        error: &SendError,
        is_grpc: bool,
    ) -> Answered {
        let edge = &target.edge.name;
        let outcome = match error {
            SendError::Overflow(overflow) => {
                let refusal = attempt.overflowed(*overflow);
                return refuse::refused(refusal, edge, is_grpc, target.muted);
            }
            SendError::Connect(_) | SendError::Broken(_) | SendError::Switched => Outcome::Failure,
            SendError::Caller => Outcome::Cancelled,
            SendError::Stale => Outcome::Ours,
            SendError::TimedOut(_) => {
                self.common.tally.count(What::Timeout);
                Outcome::TimedOut
            }
        };
        let status = refuse::failure_status(error).as_u16();
        attempt.end(Verdict::unanswered(outcome, status, is_grpc), Now::read());
        refuse::failed(error, &format!("edge={edge}"), is_grpc)
    }

    fn refuse(&self, now: Now, target: &Target, mut call: Call, refusal: Refusal) -> Answered {
        let is_grpc = call.is_grpc();
        let response = refuse::refused(refusal, &target.edge.name, is_grpc, target.muted);
        if let Some(span) = self.span(now, target, &mut call.head, call.trace, call.protocol) {
            let grpc_status = is_grpc.then_some(refuse::GRPC_UNAVAILABLE);
            let http_status = Some(response.status().as_u16());
            let refused = Some(refusal.word());
            let ending = Ending { http_status, grpc_status, refused, error: None };
            target.edge.spans.push(span, ending, now.instant);
        }
        call.drain();
        response
    }

    fn span(
        &self,
        now: Now,
        target: &Target,
        head: &mut request::Parts,
        trace: Option<TraceContext>,
        protocol: Protocol,
    ) -> Option<Box<Draft>> {
        let place = propagate::place(self.common.tracing, trace, &mut head.headers)?;
        let peer = Some(target.edge.destination.clone());
        let mut draft = Draft::new(place, protocol, head, peer, now.instant);
        draft.way(target.way.as_ref());
        Some(Box::new(draft))
    }
}

fn admit(
    target: &Target,
    now: Now,
    head: &request::Parts,
    trace: Option<TraceContext>,
    protocol: Protocol,
    body: BodyDigest,
) -> Decision {
    let previous = head.headers.get(GRPC_PREVIOUS_ATTEMPTS);
    let previous = previous.and_then(|value| value.to_str().ok()?.parse().ok());
    let request = RequestHead {
        trace,
        method: head.method.as_str(),
        authority: &exchange::authority(head),
        path_and_query: head.uri.path_and_query().map_or("/", |target| target.as_str()),
        idempotency_key: head.headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes),
        grpc_previous_attempts: previous.unwrap_or(0),
        body,
        protocol,
    };
    target.edge.core.lock().admit_on(now, &request, target.way.as_ref())
}

/// Sets a timer only where there is a timeout.
async fn send_within(
    picked: &Picked,
    now: Instant,
    timeout: Option<Duration>,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, Exchange), SendError> {
    let sending = forward::send(picked, now, outgoing);
    let Some(timeout) = timeout else {
        return sending.await;
    };
    let sent = tokio::time::timeout_at((now + timeout).into(), sending).await;
    sent.unwrap_or(Err(SendError::TimedOut(timeout)))
}

fn broken_body(version: Version) -> Answered {
    let reason = "the request body broke off or is malformed";
    refuse::malformed(Rejected { status: StatusCode::BAD_REQUEST, reason }, version)
}

/// Hands on what the server answers, under the eyes of a guard.
fn pass(
    response: Response<Incoming>,
    attempt: Attempt,
    exchange: Exchange,
    is_grpc: bool,
    terms: Terms<'_>,
    deadline: Option<Instant>,
) -> Answered {
    let (mut head, incoming) = response.into_parts();
    let answer = Answer::new(&head, is_grpc);
    gate::strip_response(&mut head.headers);
    terms.response.into_iter().flatten().for_each(|edits| edits.apply(&mut head.headers));
    let crossing = Crossing { attempt, exchange, answer };
    Response::from_parts(head, ResponseBody::forwarded(incoming, crossing, deadline))
}

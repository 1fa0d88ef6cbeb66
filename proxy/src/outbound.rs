//! Calls of the own application: classified, admitted or refused, forwarded, counted.

mod attempt;

use crate::body::{RequestBody, ResponseBody, read_ahead};
use crate::edge::{BodyDigest, Decision, EdgeCore, Outcome, Refusal, RequestHead};
use crate::exchange::{self, Answer, Verdict};
use crate::forward::{self, Exchange, SendError};
use crate::gate::{self, Rejected};
use crate::pool::Pool;
use crate::propagate::{self, Tracing};
use crate::refuse;
use crate::spans::{Draft, Ending, SpanRing};
pub(crate) use attempt::latency_us;
use attempt::{Attempt, Crossing};
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::TraceContext;
use fusebox_proto::{Now, ServiceId};
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::sync::Arc;

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
}

/// One outbound listener.
#[derive(Debug)]
pub(crate) struct Outbound {
    /// Where its traffic belongs.
    pub(crate) edge: Arc<Edge>,
    /// Instances of the destination.
    pub(crate) pool: Pool,
    /// Stands in where an HTTP/1.0 request names no host.
    pub(crate) host: HeaderValue,
    /// The process's own, for digests of bodies.
    pub(crate) seed: u64,
    /// What may be added to traces.
    pub(crate) tracing: Tracing,
    /// Where spans go.
    pub(crate) spans: Arc<SpanRing>,
}

type Answered = Response<ResponseBody<Crossing>>;

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
        let mut body = RequestBody::new(incoming);
        let Ok(digest) = self.digest(&head, trace, protocol, &mut body).await else {
            let reason = "the request body broke off or is malformed";
            let rejected = Rejected { status: StatusCode::BAD_REQUEST, reason };
            return refuse::malformed(rejected, version);
        };
        let now = Now::read();
        let ticket = match self.admit(now, &head, trace, protocol, digest) {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => {
                return self.refuse(now, &mut head, body, refusal, trace, protocol);
            }
        };
        let mut span = self.span(now, &mut head, trace, protocol);
        if let Some(span) = &mut span {
            span.resend_count(ticket.resend_count());
        }
        // From here on, an early return or a drop is an end that is counted.
        let attempt = Attempt::new(Arc::clone(&self), ticket, span);
        let is_grpc = protocol == Protocol::Grpc;
        let mut outgoing = Some(Request::from_parts(head, body));
        match forward::send(&self.pool, now.instant, &mut outgoing).await {
            Ok((response, exchange)) => pass(response, attempt, exchange, is_grpc),
            Err(error) => {
                if let Some(unsent) = outgoing {
                    unsent.into_body().drain();
                }
                self.unanswered(attempt, &error, is_grpc)
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
        read_ahead(body, protocol == Protocol::Grpc, self.seed).await
    }

    fn admit(
        &self,
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
        self.edge.core.lock().admit(now, &request)
    }

    fn unanswered(&self, attempt: Attempt, error: &SendError, is_grpc: bool) -> Answered {
        let outcome = match error {
            SendError::Overflow(overflow) => {
                let refusal = attempt.overflowed(*overflow);
                return refuse::refused(refusal, &self.edge.name, is_grpc);
            }
            SendError::Connect(_) | SendError::Broken(_) | SendError::Switched => Outcome::Failure,
            SendError::Caller => Outcome::Cancelled,
            SendError::Stale => Outcome::Ours,
        };
        let status = refuse::failure_status(error).as_u16();
        attempt.end(Verdict::unanswered(outcome, status, is_grpc), Now::read());
        refuse::failed(error, &format!("edge={}", self.edge.name), is_grpc)
    }

    fn refuse(
        &self,
        now: Now,
        head: &mut request::Parts,
        body: RequestBody,
        refusal: Refusal,
        trace: Option<TraceContext>,
        protocol: Protocol,
    ) -> Answered {
        // Whoever waits for a `100 Continue` sends no body after another answer.
        if !head.headers.contains_key(EXPECT) {
            body.drain();
        }
        let is_grpc = protocol == Protocol::Grpc;
        let response = refuse::refused(refusal, &self.edge.name, is_grpc);
        if let Some(span) = self.span(now, head, trace, protocol) {
            let grpc_status = is_grpc.then_some(refuse::GRPC_UNAVAILABLE);
            let http_status = Some(response.status().as_u16());
            let refused = Some(refusal.word());
            let ending = Ending { http_status, grpc_status, refused, error: None };
            self.spans.push(span, ending, now.instant);
        }
        response
    }

    fn span(
        &self,
        now: Now,
        head: &mut request::Parts,
        trace: Option<TraceContext>,
        protocol: Protocol,
    ) -> Option<Box<Draft>> {
        let place = propagate::place(self.tracing, trace, &mut head.headers)?;
        let peer = Some(self.edge.destination.clone());
        Some(Box::new(Draft::new(place, protocol, head, peer, now.instant)))
    }
}

/// Hands on what the server answers, under the eyes of a guard.
fn pass(
    response: Response<Incoming>,
    attempt: Attempt,
    exchange: Exchange,
    is_grpc: bool,
) -> Answered {
    let (mut head, incoming) = response.into_parts();
    let answer = Answer::new(&head, is_grpc);
    gate::strip_response(&mut head.headers);
    let crossing = Crossing { attempt, exchange, answer };
    Response::from_parts(head, ResponseBody::forwarded(incoming, crossing))
}

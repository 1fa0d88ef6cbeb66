//! Calls to other services, of the own application or from outside: routed, classified, admitted or
//! refused, forwarded, counted.

mod attempt;
mod mirror;
mod rewrite;
mod route;
mod send;
mod tally;
mod tcp;

use crate::access_log::{LogRing, Logged, Side, Trail};
use crate::admission::{Admitted, Rules};
use crate::arrived::Arrived;
use crate::body::{ResponseBody, read_ahead};
use crate::edge::{Arrivals, BodyDigest, Decision, EdgeCore, Refusal, RequestHead};
use crate::exchange;
use crate::forwarded::{self, Peer};
use crate::gate::Rejected;
use crate::policy::edits::Edits;
use crate::policy::plan::{Plan, RulesOf, Target};
use crate::propagate::{self, Tracing};
use crate::refuse;
use crate::spans::{Draft, Ending, SpanRing};
use crate::tcp::Speaks;
use crate::upgrade::Upgrades;
pub(crate) use attempt::{Crossing, latency_us};
use fusebox_proto::policy::{Caller, Retries};
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::TraceContext;
use fusebox_proto::{Now, ServiceId};
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version, request};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
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
    /// Whether it leads anywhere: what an ingress answers itself does not.
    pub(crate) is_call: bool,
    /// Held for one decision or one count at a time, never over an await.
    pub(crate) core: Mutex<EdgeCore>,
    /// When traces came in at this proxy; `None` where nothing does.
    pub(crate) arrivals: Option<Arc<Arrivals>>,
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
    /// Who they are.
    pub(crate) callers: Callers,
    /// What its port speaks.
    pub(crate) speaks: Speaks,
    /// What it does with requests; a request keeps the one that it found.
    pub(crate) plan: RwLock<Arc<Plan>>,
    /// What all listeners have together.
    pub(crate) common: Arc<Common>,
}

/// Who calls at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// The own application.
    Application,
    /// Anybody. So many proxies in front are believed.
    Outside { trusted_hops: u8 },
}

impl Callers {
    const fn side(self) -> Side {
        match self {
            Self::Application => Side::Outbound,
            Self::Outside { .. } => Side::Ingress,
        }
    }

    /// Says in a request who called, and takes out of it what they have no say in. A stranger's trace
    /// context could be anybody's: with it come exports that nobody asked for, and first attempts
    /// that look like retries.
    fn mark(self, head: &mut request::Parts, peer: &Peer) {
        match self {
            Self::Application => forwarded::outbound(&mut head.headers, peer),
            Self::Outside { trusted_hops } => {
                forwarded::inbound(head, peer, Some(trusted_hops));
                if trusted_hops == 0 {
                    propagate::forget(&mut head.headers);
                }
            }
        }
        head.headers.remove(ENVOY_ATTEMPT_COUNT);
    }
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
    /// What connections may be upgraded to.
    pub(crate) upgrades: Upgrades,
    /// What policies did in place of servers.
    pub(crate) tally: Tally,
    /// Copies for mirrors that are under way.
    pub(crate) copies: AtomicUsize,
    /// Where lines go, if somebody wants them.
    pub(crate) log: Option<Arc<LogRing>>,
}

/// An answer to the application.
pub(crate) type Answered = Response<ResponseBody<Crossing>>;

/// A request of the application, past the gate.
struct Call {
    request: Box<Arrived>,
    trace: Option<TraceContext>,
    protocol: Protocol,
}

impl Call {
    fn is_grpc(&self) -> bool {
        self.protocol == Protocol::Grpc
    }
}

/// What a rule says about the way of a request and back.
#[derive(Clone, Copy, Default)]
struct Terms<'p> {
    /// Until the end of the response.
    timeout: Option<Duration>,
    /// Retries of ours.
    retries: Option<&'p Retries>,
    /// Edits of the response, in this order.
    response: [Option<&'p Edits>; 2],
}

impl Outbound {
    /// Answers one request: by the server, or here.
    pub(crate) async fn respond(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Box<Arrived>,
    ) -> Response<Logged<ResponseBody<Crossing>>> {
        let rules = Rules {
            upgrades: &self.common.upgrades,
            host: &self.host,
            log: self.common.log.as_ref(),
            side: self.callers.side(),
        };
        let admitted = match Admitted::new(request, &peer, rules) {
            Ok(admitted) => admitted,
            Err(answer) => return *answer,
        };
        let Admitted { mut request, mut logging, owed } = admitted;
        let head = &mut request.head;
        self.callers.mark(head, &peer);
        let protocol = exchange::protocol(head);
        let trace = propagate::read(&mut head.headers);
        if let Some(logging) = &mut logging {
            logging.trace(trace);
        }
        let call = Call { request, trace, protocol };
        let plan = Arc::clone(&self.plan.read());
        let response = match &plan.rules {
            RulesOf::Nobody => {
                let terms = Terms { retries: plan.retries.as_ref(), ..Terms::default() };
                self.forward(&plan.direct, call, terms).await
            }
            // In a place of its own: without rules nobody pays for its size.
            RulesOf::Host(rules) => Box::pin(self.route(&plan.direct, rules, call)).await,
            RulesOf::Hosts(hosts) => Box::pin(self.enter(&plan.direct, hosts, call)).await,
        };
        owed.answer(response, logging)
    }

    /// Leaves in `response` what its line in the access log tells of it, if there is a log.
    fn leave_trail(&self, response: &mut Answered, trail: impl FnOnce() -> Trail) {
        if self.common.log.is_some() {
            trail().leave(response);
        }
    }

    /// Reads ahead only where the digest can decide something, and where that makes nobody send a
    /// body that waits for a `100 Continue`.
    async fn digest(&self, call: &mut Call) -> Result<BodyDigest, hyper::Error> {
        if call.request.body.is_empty() {
            return Ok(BodyDigest::Empty);
        }
        let headers = &call.request.head.headers;
        let is_asked = call.trace.is_some()
            && !headers.contains_key(IDEMPOTENCY_KEY)
            && !headers.contains_key(EXPECT);
        if !is_asked {
            return Ok(BodyDigest::Unknown);
        }
        let is_grpc = call.is_grpc();
        read_ahead(&mut call.request.body, is_grpc, self.common.seed).await
    }

    fn refuse(&self, now: Now, target: &Target, mut call: Call, refusal: Refusal) -> Answered {
        let is_grpc = call.is_grpc();
        let mut response = refuse::refused(refusal, &target.edge.name, is_grpc, target.muted);
        self.leave_trail(&mut response, || target.trail());
        let speaks = (call.trace, call.protocol);
        if let Some(span) = self.span(now, target, &mut call.request.head, speaks) {
            let grpc_status = is_grpc.then_some(refuse::GRPC_UNAVAILABLE);
            let http_status = Some(response.status().as_u16());
            let refused = Some(refusal.word());
            let ending = Ending { http_status, grpc_status, refused, error: None };
            target.edge.spans.push(&span, ending, now.instant);
        }
        response
    }

    fn span(
        &self,
        now: Now,
        target: &Target,
        head: &mut request::Parts,
        (trace, protocol): (Option<TraceContext>, Protocol),
    ) -> Option<Draft> {
        let place = propagate::place(self.common.tracing, trace, &mut head.headers)?;
        let edge = &target.edge;
        let peer = edge.is_call.then(|| edge.destination.clone());
        let mut draft = Draft::new(place, protocol, head, peer, now.instant);
        draft.way(target.way.as_ref());
        Some(draft)
    }
}

impl Target {
    fn trail(&self) -> Trail {
        Trail { edge: Some(Arc::clone(&self.edge)), way: self.way.clone(), ..Trail::default() }
    }

    /// Asks its edge for one attempt. `retries` of ours came before it: they are as certain as the
    /// word of a gRPC library.
    fn admit(&self, now: Now, call: &Call, body: BodyDigest, retries: u32) -> Decision {
        let head = &call.request.head;
        let previous = head.headers.get(GRPC_PREVIOUS_ATTEMPTS);
        let previous: Option<u32> = previous.and_then(|value| value.to_str().ok()?.parse().ok());
        let request = RequestHead {
            trace: call.trace,
            method: head.method.as_str(),
            authority: &exchange::authority(head),
            path_and_query: head.uri.path_and_query().map_or("/", |target| target.as_str()),
            idempotency_key: head.headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes),
            grpc_previous_attempts: previous.unwrap_or(0).saturating_add(retries),
            body,
            protocol: call.protocol,
            arrivals: self.edge.arrivals.as_deref(),
        };
        self.edge.core.lock().admit_on(now, &request, self.way.as_ref())
    }
}

fn broken_body(version: Version) -> Answered {
    let reason = "the request body broke off or is malformed";
    refuse::malformed(Rejected { status: StatusCode::BAD_REQUEST, reason }, version)
}

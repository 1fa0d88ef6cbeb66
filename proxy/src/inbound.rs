//! Calls to the own application: forwarded and counted, never refused.

mod tcp;
mod window;

pub(crate) use window::InboundCore;

use crate::access_log::{LogRing, Logged, Logging, Side, Trail};
use crate::admission::{Admitted, Rules};
use crate::arrived::Arrived;
use crate::body::{End, Guard, ResponseBody};
use crate::edge::{Arrivals, Outcome};
use crate::exchange::{self, Answer, Verdict};
use crate::forward::{self, Exchange, SendError};
use crate::forwarded::{self, Peer};
use crate::gate;
use crate::outbound::latency_us;
use crate::pool::{Picked, Pool};
use crate::propagate::{self, Tracing};
use crate::refuse;
use crate::retry::Tried;
use crate::spans::{Draft, SpanRing};
use crate::tcp::Speaks;
use crate::tunnel::Bounds;
use crate::upgrade::{self, Handover, Upgrades};
use fusebox_proto::Now;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::TraceContext;
use http::header::HeaderValue;
use http::{Request, Response, StatusCode, request};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One inbound listener.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The counters, shared by all inbound listeners.
    pub(crate) core: Arc<Mutex<InboundCore>>,
    /// The application.
    pub(crate) pool: Arc<Pool>,
    /// The application's name, for answers.
    pub(crate) app: String,
    /// Stands in where an HTTP/1.0 request names no host.
    pub(crate) host: HeaderValue,
    /// What its port speaks.
    pub(crate) speaks: Speaks,
    /// What connections may be upgraded to.
    pub(crate) upgrades: Upgrades,
    /// What may be added to traces.
    pub(crate) tracing: Tracing,
    /// When traces came in.
    pub(crate) arrivals: Option<Arc<Arrivals>>,
    /// Where spans go.
    pub(crate) spans: Arc<SpanRing>,
    /// Where lines go, if somebody wants them.
    pub(crate) log: Option<Arc<LogRing>>,
    /// Proxies in front that are believed; `None`: all callers are.
    pub(crate) trusted_hops: Option<u8>,
}

impl Inbound {
    /// Answers one request to the application.
    pub(crate) async fn respond(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Box<Arrived>,
    ) -> Response<Logged<ResponseBody<Serving>>> {
        let rules = Rules {
            upgrades: &self.upgrades,
            host: &self.host,
            log: self.log.as_ref(),
            side: Side::Inbound,
        };
        let admitted = match Admitted::new(request, &peer, rules) {
            Ok(admitted) => admitted,
            Err(answer) => return *answer,
        };
        let Admitted { mut request, mut logging, owed } = admitted;
        forwarded::inbound(&mut request.head, &peer, self.trusted_hops);
        let response = self.forward(request, logging.as_mut()).await;
        owed.answer(response, logging)
    }

    async fn forward(
        self: Arc<Self>,
        mut request: Box<Arrived>,
        logging: Option<&mut Logging>,
    ) -> Response<ResponseBody<Serving>> {
        let head = &mut request.head;
        let is_grpc = exchange::protocol(head) == Protocol::Grpc;
        let now = Now::read();
        let context = propagate::read(&mut head.headers);
        if let (Some(arrivals), Some(context)) = (&self.arrivals, &context) {
            arrivals.came_in(now.instant, context);
        }
        let is_logged = logging.is_some();
        if let Some(logging) = logging {
            logging.trace(context);
        }
        let mut visit = Visit::new(&self, now, context, head);
        let Arrived { head, body } = *request;
        let mut outgoing = Some(Request::from_parts(head, body));
        let sent = match self.pool.pick(now.instant, &Tried::default()) {
            Ok(picked) => forward::send(visit.sent_to(picked), now.instant, &mut outgoing).await,
            Err(overflow) => Err(SendError::Overflow(overflow)),
        };
        match sent {
            Ok((mut response, exchange)) => {
                self.speaks.http();
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let mut headers = response.headers().clone();
                    gate::strip_response(&mut headers);
                    let answer = Answer::new(response.status(), &headers, is_grpc);
                    let bounds = visit.tunnel_bounds(upgrade::IDLE_DEFAULT);
                    let stay = visit.switched(answer.verdict(&End::Complete(None)), Now::read());
                    return Handover::answer(
                        &mut response,
                        headers,
                        (stay, bounds),
                        ResponseBody::Own(None),
                    );
                }
                let (mut head, incoming) = response.into_parts();
                let answer = Answer::new(head.status, &head.headers, is_grpc);
                gate::strip_response(&mut head.headers);
                let trail = is_logged.then(|| visit.trail());
                let serving = Serving { visit, exchange, answer };
                let body = ResponseBody::forwarded(incoming, serving, None);
                let mut response = Response::from_parts(head, body);
                Trail::leave_if(trail, &mut response);
                response
            }
            Err(error) => {
                let outcome = match error {
                    SendError::Caller | SendError::Late => Outcome::Cancelled,
                    SendError::Silent => Outcome::TimedOut,
                    _ => Outcome::Failure,
                };
                let status = refuse::failure_status(&error).as_u16();
                let trail = is_logged.then(|| visit.trail());
                visit.end(Verdict::unanswered(outcome, status, is_grpc), Now::read());
                let mut response = refuse::failed(&error, &format!("app={}", self.app), is_grpc);
                Trail::leave_if(trail, &mut response);
                response
            }
        }
    }
}

/// A request in the application. It ends exactly once; dropped before, its caller went away.
#[derive(Debug)]
struct Visit {
    inbound: Arc<Inbound>,
    started: Instant,
    is_over: bool,
    span: Option<Draft>,
    /// The application is busy with it.
    picked: Option<Picked>,
}

impl Visit {
    fn new(
        inbound: &Arc<Inbound>,
        now: Now,
        context: Option<TraceContext>,
        head: &mut request::Parts,
    ) -> Box<Self> {
        let protocol = exchange::protocol(head);
        let place = propagate::place(inbound.tracing, context, &mut head.headers);
        let span = place.map(|place| Draft::new(place, protocol, head, None, now.instant));
        Self::begun(inbound, now, span)
    }

    fn begun(inbound: &Arc<Inbound>, now: Now, span: Option<Draft>) -> Box<Self> {
        inbound.core.lock().began();
        let (inbound, started) = (Arc::clone(inbound), now.instant);
        Box::new(Self { inbound, started, is_over: false, span, picked: None })
    }

    fn sent_to(&mut self, picked: Picked) -> &Picked {
        self.picked.insert(picked)
    }

    fn trail(&self) -> Trail {
        let endpoint = self.picked.as_ref().map(|picked| picked.address().to_owned());
        Trail { endpoint, ..Trail::default() }
    }

    fn tunnel_bounds(&self, idle: Duration) -> Bounds {
        self.picked.as_ref().map(|picked| picked.tunnel_bounds(idle)).unwrap_or_default()
    }

    fn end(mut self, verdict: Verdict, now: Now) {
        self.finish(verdict, now);
    }

    /// It was answered with a tunnel, which the application is busy with to its end.
    fn switched(mut self, verdict: Verdict, now: Now) -> Stay {
        self.settle(verdict, now, InboundCore::switched);
        Stay { inbound: Arc::clone(&self.inbound), _picked: self.picked.take() }
    }

    fn finish(&mut self, verdict: Verdict, now: Now) {
        self.settle(verdict, now, InboundCore::ended);
    }

    fn settle(&mut self, verdict: Verdict, now: Now, tell: fn(&mut InboundCore, Outcome, u64)) {
        self.is_over = true;
        let latency_us = latency_us(self.started, now.instant);
        tell(&mut self.inbound.core.lock(), verdict.outcome, latency_us);
        if let Some(span) = self.span.take() {
            self.inbound.spans.push(&span, verdict.ending, now.instant);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.is_over {
            self.finish(Verdict::cancelled(), Now::read());
        }
    }
}

/// A tunnel to the application, in flight until it is dropped.
#[derive(Debug)]
struct Stay {
    inbound: Arc<Inbound>,
    _picked: Option<Picked>,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.inbound.core.lock().closed();
    }
}

/// A request whose response is on its way.
#[derive(Debug)]
pub(crate) struct Serving {
    visit: Box<Visit>,
    exchange: Exchange,
    answer: Answer,
}

impl Guard for Serving {
    fn ended(mut self, end: End<'_>) {
        let now = Now::read();
        self.visit.finish(self.answer.verdict(&end), now);
        drop(self.visit);
        if let End::Complete(_) = end {
            self.exchange.release(now.instant);
        }
    }
}

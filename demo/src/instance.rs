//! One instance of a service: it answers requests over HTTP by the plan, and calls others through
//! its own proxy.

use crate::client::Outcome;
use crate::desk::Desk;
use crate::link::Link;
use crate::scenario::{Call, Client, Overflow};
use crate::stage::Stage;
use crate::truth::Seen;
use bytes::Bytes;
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use futures_util::future::{Either, join_all, select};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{Rng, RngExt as _};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// One instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) role: String,
    pub(crate) desk: Desk,
    /// Share of requests that this version answers with 500, if that is more than all do.
    pub(crate) own_error_percent: f64,
    stage: Arc<Stage>,
    /// Its proxy's listeners, by role of the callee.
    links: BTreeMap<String, Link>,
    rng: Mutex<StdRng>,
}

/// A call through a client library.
#[derive(Clone, Copy)]
struct Errand<'a> {
    callee: &'a str,
    path: &'a str,
    client: &'a Client,
    /// The span that makes the call.
    context: Option<TraceContext>,
}

/// What a caller gets of one attempt.
struct Reply {
    outcome: Outcome,
    refusal: Option<String>,
}

impl Instance {
    pub(crate) fn new(
        stage: Arc<Stage>,
        role: &str,
        desk: Desk,
        links: BTreeMap<String, Link>,
        rng: StdRng,
    ) -> Self {
        let rng = Mutex::new(rng);
        Self { role: role.to_owned(), desk, own_error_percent: 0.0, stage, links, rng }
    }

    /// Serves until the stage is stopped.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let stop = self.stage.stop.clone();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // Out of descriptors, at worst: the caller sees a connection that never answers.
            let Ok((stream, _)) = accepted else { continue };
            let (instance, stop) = (Arc::clone(&self), stop.clone());
            self.stage.tasks.spawn(async move {
                let service = service_fn(move |request| Arc::clone(&instance).answer(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = stop.cancelled() => (),
                    // Callers that leave in the middle are everyday life here.
                    _ = connection => (),
                }
            });
        }
    }

    /// A service that finishes abandoned requests does so in a task of its own; the others stop
    /// where their connection closes, because this future is dropped.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let route = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
        let incoming = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let context = incoming.and_then(|value| TraceContext::parse(value).ok());
        let status = if self.stage.plan.service(&self.role).serves_abandoned {
            let (instance, stop) = (Arc::clone(&self), self.stage.stop.clone());
            let work = self.stage.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => None,
                    status = instance.handle(&route, context) => status,
                }
            });
            work.await.unwrap_or(Some(StatusCode::INTERNAL_SERVER_ERROR))
        } else {
            self.handle(&route, context).await
        };
        // Without an answer, until the caller closes the connection.
        let Some(status) = status else { return std::future::pending().await };
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}\n")));
        *response.status_mut() = status;
        Ok(response)
    }

    /// The answer to a request, if it gets one.
    async fn handle(&self, route: &str, context: Option<TraceContext>) -> Option<StatusCode> {
        let service = self.stage.plan.service(&self.role);
        let Some(calls) = service.routes.get(route) else { return Some(StatusCode::NOT_FOUND) };
        if self.desk.work().await {
            return Some(self.serve_route(calls, context).await);
        }
        match service.overflow {
            Overflow::Refuse => Some(StatusCode::SERVICE_UNAVAILABLE),
            Overflow::Ignore => None,
        }
    }

    async fn serve_route(&self, calls: &[Call], context: Option<TraceContext>) -> StatusCode {
        let error_percent = self.stage.conditions().error_percent(&self.role);
        let error_percent = error_percent.max(self.own_error_percent);
        if self.rng().random_range(0.0..100.0) < error_percent {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        // The span of this request: what it calls becomes a child of it.
        let context = context.map(|context| self.child_of(context));
        for step in calls.chunk_by(|_, next| next.parallel) {
            let outcomes = join_all(step.iter().map(|call| self.calls(call, context))).await;
            let failed = outcomes
                .into_iter()
                .zip(step)
                .find(|(outcome, call)| !outcome.is_success() && !call.optional);
            match failed {
                Some((Outcome::TimedOut, _)) => return StatusCode::GATEWAY_TIMEOUT,
                Some(_) => return StatusCode::BAD_GATEWAY,
                None => (),
            }
        }
        StatusCode::OK
    }

    /// One call of a route, as often as the plan or a release of the moment says.
    async fn calls(&self, call: &Call, context: Option<TraceContext>) -> Outcome {
        let times = self.stage.conditions().times(&self.role, &call.to, call.times);
        let mut outcome = Outcome::Answered(200);
        for number in 1..=times {
            outcome = self.call(&call.to, (1 < times).then_some(number), context).await;
            if !outcome.is_success() {
                break;
            }
        }
        outcome
    }

    /// One call through the client library: attempts until one succeeds or it gives up.
    pub(crate) async fn call(
        &self,
        to: &str,
        number: Option<u32>,
        context: Option<TraceContext>,
    ) -> Outcome {
        let (callee, route) = to.split_once('/').unwrap_or((to, ""));
        let path = match number {
            Some(number) => format!("/{route}/{number}"),
            None => format!("/{route}"),
        };
        let client = self.stage.conditions().client(&self.role, callee);
        let errand = Errand { callee, path: &path, client: &client, context };
        let mut span = self.span_of(errand);
        let mut attempts = 1;
        loop {
            let reply = self.hedged(errand, attempts, span).await;
            let jitter = self.rng().random();
            match client.again_after(attempts, reply.outcome, jitter) {
                Some(wait) => sleep(wait).await,
                None => return reply.outcome,
            }
            attempts += 1;
            if client.new_span_each_attempt {
                span = self.span_of(errand);
            }
        }
    }

    /// One attempt, and a second one beside it if the library hedges and the first takes long. The
    /// first success wins; the other is dropped.
    async fn hedged(&self, errand: Errand<'_>, number: u32, span: Option<TraceContext>) -> Reply {
        let first = pin!(self.attempt(errand, number, span));
        let Some(after) = errand.client.hedge_after() else { return first.await };
        let first = match select(first, pin!(sleep(after))).await {
            Either::Left((reply, _)) => return reply,
            Either::Right(((), first)) => first,
        };
        let span = if errand.client.new_span_each_attempt { self.span_of(errand) } else { span };
        let second = pin!(self.attempt(errand, number + 1, span));
        match select(first, second).await {
            Either::Left((reply, other)) if !reply.outcome.is_success() => other.await,
            Either::Right((reply, other)) if !reply.outcome.is_success() => other.await,
            Either::Left((reply, _)) | Either::Right((reply, _)) => reply,
        }
    }

    async fn attempt(&self, errand: Errand<'_>, number: u32, span: Option<TraceContext>) -> Reply {
        let Errand { callee, path, client, .. } = errand;
        let Some(link) = self.links.get(callee) else {
            return Reply { outcome: Outcome::Broken, refusal: None };
        };
        let answer = link.get(path, span.map(|span| span.to_string()));
        let reply = match timeout(client.timeout(), answer).await {
            Ok(Ok(answer)) => Reply {
                outcome: Outcome::Answered(answer.status().as_u16()),
                refusal: refusal(&answer),
            },
            Ok(Err(_)) => Reply { outcome: Outcome::Broken, refusal: None },
            Err(_) => Reply { outcome: Outcome::TimedOut, refusal: None },
        };
        self.stage.saw(Seen {
            source: Some(&self.role),
            destination: callee,
            attempt: number,
            outcome: reply.outcome,
            refusal: reply.refusal.as_deref(),
        });
        reply
    }

    /// The beginning of a trace.
    pub(crate) fn root(&self, is_sampled: bool) -> TraceContext {
        root(&mut *self.rng(), is_sampled)
    }

    /// A client span for a call.
    fn span_of(&self, errand: Errand<'_>) -> Option<TraceContext> {
        errand.context.map(|context| self.child_of(context))
    }

    fn child_of(&self, parent: TraceContext) -> TraceContext {
        TraceContext { parent_id: span_id(&mut *self.rng()), ..parent }
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(answer: &Response<Bytes>) -> Option<String> {
    let value = answer.headers().get("x-fusebox-refused")?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The beginning of a trace, at whoever has no caller.
pub(crate) fn root(rng: &mut impl Rng, is_sampled: bool) -> TraceContext {
    let trace_id: [u8; 16] = rng.random();
    let trace_id = TraceId::from_bytes(&trace_id);
    TraceContext {
        trace_id: trace_id.unwrap_or_else(|| TraceId::from_bytes(&[1; 16]).expect("not zero")),
        parent_id: span_id(rng),
        flags: u8::from(is_sampled),
    }
}

fn span_id(rng: &mut impl Rng) -> SpanId {
    let span_id: [u8; 8] = rng.random();
    SpanId::from_bytes(&span_id).unwrap_or_else(|| SpanId::from_bytes(&[1; 8]).expect("not zero"))
}

#[cfg(test)]
mod tests;

//! The admin port: what one proxy knows of itself, and one thing that it can be told.
//!
//! | | |
//! |---|---|
//! | `GET /healthz` | 200 while the process works |
//! | `GET /readyz` | 200 while it accepts traffic; with or without a collector |
//! | `GET /metrics` | counters since the start, in Prometheus' text format |
//! | `GET /config` | what it was told |
//! | `GET /breakers` | every edge and where its circuit stands |
//! | `POST /breakers/reset` | towards closed, through the ramp; `?destination=NAME` for one edge, `?now` at once |
//!
//! The last one works without a collector, so only the own machine may ask for it, and no web page
//! in a browser there.

mod json;
mod metrics;
mod policy;

use crate::body::{End, Guard, ResponseBody};
use crate::connection;
use crate::listen;
use crate::proxy::Proxy;
use crate::totals::Totals;
use fusebox_proto::Now;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";

/// What the admin port shows.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// The proxy itself.
    pub(crate) proxy: Arc<Proxy>,
    /// Its closed windows.
    pub(crate) totals: Arc<Mutex<Totals>>,
}

/// Bodies of our own need no guard.
#[derive(Debug)]
pub(crate) enum NoGuard {}

impl Guard for NoGuard {
    fn ended(self, _end: End<'_>) {
        match self {}
    }
}

type Answer = Response<ResponseBody<NoGuard>>;

/// Serves the admin port until `closing`.
pub(crate) async fn run(listener: TcpListener, admin: Admin, closing: CancellationToken) {
    let tasks = TaskTracker::new();
    listen::accept(listener, tasks, closing.clone(), |stream| {
        let (admin, peer) = (admin.clone(), stream.peer_addr().ok());
        connection::serve(stream, closing.clone(), false, move |request| {
            let answer = admin.answer(&request, peer);
            async move { answer }
        })
    })
    .await;
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>, peer: Option<SocketAddr>) -> Answer {
        let now = Now::read();
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => own(StatusCode::OK, TEXT, "ok\n".into()),
            (&Method::GET | &Method::HEAD, "/readyz") => {
                own(StatusCode::OK, TEXT, "ready\n".into())
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                own(StatusCode::OK, METRICS, metrics::text(&self.proxy, &self.totals.lock(), now))
            }
            (&Method::GET | &Method::HEAD, "/config") => {
                own(StatusCode::OK, JSON, json::config(&self.proxy))
            }
            (&Method::GET | &Method::HEAD, "/breakers") => {
                own(StatusCode::OK, JSON, json::breakers(&self.proxy, now))
            }
            (&Method::POST, "/breakers/reset") => self.reset(request, peer, now),
            (_, "/healthz" | "/readyz" | "/metrics" | "/config" | "/breakers") => {
                refusal(StatusCode::METHOD_NOT_ALLOWED, "allowed is GET")
            }
            (_, "/breakers/reset") => refusal(StatusCode::METHOD_NOT_ALLOWED, "allowed is POST"),
            _ => refusal(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics, /config, /breakers and POST /breakers/reset",
            ),
        }
    }

    fn reset(&self, request: &Request<Incoming>, peer: Option<SocketAddr>, now: Now) -> Answer {
        if !peer.is_some_and(|peer| peer.ip().is_loopback()) {
            return refusal(StatusCode::FORBIDDEN, "only from the own machine");
        }
        if request.headers().contains_key(ORIGIN) {
            return refusal(StatusCode::FORBIDDEN, "not from a web page");
        }
        let (mut destination, mut at_once) = (None, false);
        for pair in request.uri().query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("destination", name)) => destination = Some(name),
                None if pair == "now" => at_once = true,
                None if pair.is_empty() => (),
                _ => {
                    let allowed = "allowed are destination=NAME and now";
                    return refusal(StatusCode::BAD_REQUEST, allowed);
                }
            }
        }
        let is_meant = |service: &fusebox_proto::ServiceId| {
            destination.is_none_or(|name| name == service.name() || name == service.to_string())
        };
        let mut reset = Vec::new();
        for edge in self.proxy.edges.iter().filter(|edge| is_meant(&edge.destination)) {
            edge.core.lock().reset(now, at_once);
            reset.push(edge.name.clone());
        }
        if reset.is_empty() {
            return refusal(StatusCode::NOT_FOUND, "no edge to that destination");
        }
        self.proxy.timers.notify_one();
        tracing::warn!("reset at the admin port: {}", reset.join(", "));
        own(StatusCode::OK, JSON, serde_json::json!({ "reset": reset }).to_string())
    }
}

fn refusal(status: StatusCode, text: &str) -> Answer {
    own(status, TEXT, format!("{text}\n"))
}

fn own(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut response = Response::new(ResponseBody::Own(Some(text.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

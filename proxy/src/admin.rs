//! The admin port: what one proxy knows of itself, and one thing that it can be told.
//!
//! | | |
//! |---|---|
//! | `GET /healthz` | 200 while the process works, also while it drains |
//! | `GET /readyz` | 200 while it accepts traffic, with or without a collector; 503 once it drains |
//! | `GET /metrics` | counters since the start, in Prometheus' text format |
//! | `GET /config` | what it was told |
//! | `GET /breakers` | every edge and where its circuit stands |
//! | `POST /drain` | ends the proxy as SIGTERM does: politely, within `--drain-timeout` |
//! | `POST /breakers/reset` | towards closed, through the ramp; `?destination=NAME` for one edge, `?now` at once |
//!
//! The last two work without a collector, so only the own machine may ask for them, and no web page
//! in a browser there.

mod dns;
mod json;
mod metrics;
mod policy;

use crate::body::{End, Guard, ResponseBody};
use crate::connection::Terms;
use crate::drain::Stage;
use crate::entrance::Entrance;
use crate::forwarded::Peer;
use crate::listen;
use crate::proxy::Proxy;
use crate::totals::Totals;
use bytes::Bytes;
use fusebox_proto::Now;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{Method, Response, StatusCode, request};
use parking_lot::Mutex;
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

pub(crate) type Answer = Response<ResponseBody<NoGuard>>;

/// Serves the admin port until `closing`, or until a successor does.
pub(crate) async fn run(listener: TcpListener, admin: Admin, closing: CancellationToken) {
    let tasks = TaskTracker::new();
    let drain = Arc::clone(&admin.proxy.drain);
    let until = async {
        tokio::select! {
            () = closing.cancelled() => (),
            () = drain.handed_over().cancelled() => (),
        }
    };
    listen::accept(listener, tasks, until, |stream| {
        let peer = Arc::new(Peer::new(stream.peer_addr().ok()));
        Entrance::Admin(admin.clone()).serve(peer, stream, Bytes::new(), Terms::default())
    })
    .await;
    closing.cancelled().await;
}

impl Admin {
    /// Answers one request.
    pub(crate) fn answer(&self, head: &request::Parts, peer: &Peer) -> Answer {
        let now = Now::read();
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => match self.proxy.drain.stage(now.instant)
            {
                Stage::Serving => own(StatusCode::OK, TEXT, "ok\n".into()),
                stage => own(StatusCode::OK, TEXT, format!("{}\n", stage.as_str())),
            },
            (&Method::GET | &Method::HEAD, "/readyz") => {
                match self.proxy.drain.stage(now.instant) {
                    Stage::Serving => own(StatusCode::OK, TEXT, "ready\n".into()),
                    stage => refusal(StatusCode::SERVICE_UNAVAILABLE, stage.as_str()),
                }
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                own(StatusCode::OK, METRICS, metrics::text(&self.proxy, &self.totals.lock(), now))
            }
            (&Method::GET | &Method::HEAD, "/config") => {
                own(StatusCode::OK, JSON, json::config(&self.proxy, now))
            }
            (&Method::GET | &Method::HEAD, "/breakers") => {
                own(StatusCode::OK, JSON, json::breakers(&self.proxy, now))
            }
            (&Method::POST, "/breakers/reset") => self.reset(head, peer, now),
            (&Method::POST, "/drain") => self.drain(head, peer, now),
            (_, "/healthz" | "/readyz" | "/metrics" | "/config" | "/breakers") => {
                refusal(StatusCode::METHOD_NOT_ALLOWED, "allowed is GET")
            }
            (_, "/breakers/reset" | "/drain") => {
                refusal(StatusCode::METHOD_NOT_ALLOWED, "allowed is POST")
            }
            _ => refusal(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics, /config, /breakers, POST /breakers/reset and \
                 POST /drain",
            ),
        }
    }

    fn drain(&self, head: &request::Parts, peer: &Peer, now: Now) -> Answer {
        if let Some(refused) = strange(head, peer) {
            return refused;
        }
        tracing::info!("told to drain at the admin port");
        self.proxy.begin_drain(now.instant);
        own(StatusCode::OK, JSON, format!("{}\n", self.proxy.drain.page(now.instant)))
    }

    fn reset(&self, head: &request::Parts, peer: &Peer, now: Now) -> Answer {
        if let Some(refused) = strange(head, peer) {
            return refused;
        }
        let (mut destination, mut at_once) = (None, false);
        for pair in head.uri.query().unwrap_or_default().split('&') {
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
        for edge in self.proxy.edges().iter().filter(|edge| is_meant(&edge.destination)) {
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

/// The answer to whoever may not tell the proxy what to do.
fn strange(head: &request::Parts, peer: &Peer) -> Option<Answer> {
    if !peer.is_own_machine() {
        return Some(refusal(StatusCode::FORBIDDEN, "only from the own machine"));
    }
    let is_from_a_page = head.headers.contains_key(ORIGIN);
    is_from_a_page.then(|| refusal(StatusCode::FORBIDDEN, "not from a web page"))
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

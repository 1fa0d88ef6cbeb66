//! The collector's own pages: health, metrics, and the JSON of the contract.

mod api;
mod exposition;
mod host;
mod metrics;

use crate::app::driver::Message;
use crate::tally::Tally;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use fusebox_proto::view::Snapshot;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};

/// Questions to the engine at once; more are refused.
pub(crate) const QUESTIONS_MAX: usize = 2;

/// What the pages read from. They change nothing.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// What the engine knew a moment ago.
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// What the shell counted.
    pub(crate) tally: Arc<Tally>,
    /// The engine's inbox, for what a snapshot does not answer.
    pub(crate) messages: mpsc::Sender<Message>,
    /// Questions to the engine that may be under way at once.
    pub(crate) questions: Arc<Semaphore>,
}

impl Sources {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// The engine's task holds the other end of the channel as long as it lives.
    fn engine_lives(&self) -> bool {
        self.snapshots.has_changed().is_ok()
    }
}

/// All pages, at `address`.
pub(crate) fn router(address: SocketAddr, sources: Sources) -> Router {
    let pages = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(health))
        .route("/metrics", get(metrics_page))
        .merge(api::router())
        .fallback(not_found)
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "everything here is read with GET")
        })
        .with_state(sources);
    if address.ip().is_loopback() {
        pages.layer(middleware::from_fn(host::must_be_loopback))
    } else {
        pages
    }
}

/// The listeners are bound before anything answers: who lives is ready.
async fn health(State(sources): State<Sources>) -> Response {
    if sources.engine_lives() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine has ended\n").into_response()
    }
}

async fn metrics_page(State(sources): State<Sources>) -> Response {
    let page = metrics::page(&sources.snapshot(), &sources.tally);
    ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], page).into_response()
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is /healthz, /readyz, /metrics and /api/v1/<noun>")
}

/// An error as JSON.
fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(serde_json::json!({ "error": message }))).into_response()
}

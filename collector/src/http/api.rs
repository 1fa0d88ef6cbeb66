//! `GET /api/v1/<noun>`: the same objects that `fusebox <noun> --output json` prints.

use super::{Sources, error};
use crate::app::driver::Message;
use crate::engine::Lint;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fusebox_proto::page::Noun;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task;

/// An engine that takes longer has something more important to do.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const NOUNS: &str =
    "there is status, services, edges, incidents, breakers, proxies, policy, lint and diagnose";

/// The nouns that this collector knows.
pub(super) fn router() -> Router<Sources> {
    Router::new()
        .route("/api/v1/{noun}", get(noun))
        .route("/api/v1/lint", get(lint))
        .route("/api/v1/diagnose", get(diagnose))
}

/// What is wrong with the policy: asked of the engine, since nobody looks at it all the time.
async fn lint(State(sources): State<Sources>) -> Response {
    let lint = Box::new(Lint::default());
    match question(&sources, |reply| Message::Lint { lint, reply }).await {
        Ok((result, _place)) => Json(result).into_response(),
        Err(refusal) => refusal,
    }
}

/// Whose fault it is, from the spans of the last minutes: as `fusebox diagnose` without a file.
async fn diagnose(State(sources): State<Sources>) -> Response {
    let (look, _place) = match question(&sources, |reply| Message::Glance { reply }).await {
        Ok(answered) => answered,
        Err(refusal) => return refusal,
    };
    match task::spawn_blocking(move || look.diagnose(None)).await {
        Ok(Ok(diagnosis)) => Json(diagnosis).into_response(),
        Ok(Err(_)) => error(StatusCode::NOT_FOUND, "no spans came in within the last minutes"),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the diagnosis failed"),
    }
}

/// What the engine answers, and a place among those who ask, to be kept until that is used.
async fn question<T>(
    sources: &Sources,
    message: impl FnOnce(oneshot::Sender<T>) -> Message,
) -> Result<(T, OwnedSemaphorePermit), Response> {
    let Ok(place) = Arc::clone(&sources.questions).try_acquire_owned() else {
        return Err(error(StatusCode::TOO_MANY_REQUESTS, "others ask just now"));
    };
    let (reply, answer) = oneshot::channel();
    let asked = sources.messages.send(message(reply)).await;
    match (asked, tokio::time::timeout(ANSWER_WITHIN, answer).await) {
        (Ok(()), Ok(Ok(answer))) => Ok((answer, place)),
        _ => Err(error(StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer")),
    }
}

async fn noun(State(sources): State<Sources>, Path(noun): Path<String>) -> Response {
    match Noun::parse(&noun) {
        Some(noun) => Json(sources.snapshot().page(noun)).into_response(),
        None => error(StatusCode::NOT_FOUND, NOUNS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a noun that is not known.
    /// Guarantees: the answer names those that are.
    #[test]
    fn all_nouns_are_named() {
        assert!(Noun::ALL.iter().all(|noun| NOUNS.contains(noun.as_str())));
    }
}

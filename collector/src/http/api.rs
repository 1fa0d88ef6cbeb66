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
use std::time::Duration;
use tokio::sync::oneshot;

/// An engine that takes longer has something more important to do.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

const NOUNS: &str =
    "there is status, services, edges, incidents, breakers, proxies, policy and lint";

/// The nouns that this collector knows.
pub(super) fn router() -> Router<Sources> {
    Router::new().route("/api/v1/{noun}", get(noun)).route("/api/v1/lint", get(lint))
}

/// What is wrong with the policy: asked of the engine, since nobody looks at it all the time.
async fn lint(State(sources): State<Sources>) -> Response {
    let Ok(_place) = sources.questions.try_acquire() else {
        return error(StatusCode::TOO_MANY_REQUESTS, "others ask the same just now");
    };
    let (reply, answer) = oneshot::channel();
    let lint = Box::new(Lint::default());
    let asked = sources.messages.send(Message::Lint { lint, reply }).await;
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer);
    match (asked, answer.await) {
        (Ok(()), Ok(Ok(result))) => Json(result).into_response(),
        _ => error(StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer"),
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

//! `GET /api/v1/<noun>`: the same objects that `fusebox <noun> --output json` prints.

use super::{Sources, error};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fusebox_proto::page::Noun;

const NOUNS: &str = "there is status, services, edges, incidents, breakers and proxies";

/// The nouns that this collector knows.
pub(super) fn router() -> Router<Sources> {
    Router::new().route("/api/v1/{noun}", get(noun))
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

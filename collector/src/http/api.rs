//! `GET /api/v1/<noun>`: the same objects that `fusebox <noun> --output json` prints.

use super::{Sources, error};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

const NOUNS: &str = "there is status, services, edges, incidents, breakers and proxies";

/// The nouns that this collector knows.
pub(super) fn router() -> Router<Sources> {
    Router::new().route("/api/v1/{noun}", get(noun))
}

async fn noun(State(sources): State<Sources>, Path(noun): Path<String>) -> Response {
    let snapshot = sources.snapshot();
    let object = match noun.as_str() {
        "status" => json!(snapshot.status),
        "services" => json!({ "services": snapshot.services }),
        "edges" => json!({ "edges": snapshot.edges }),
        "incidents" => {
            json!({ "incidents": snapshot.incidents, "advisories": snapshot.advisories })
        }
        "breakers" => json!({ "breakers": snapshot.breakers }),
        "proxies" => json!({ "proxies": snapshot.proxies }),
        _ => return error(StatusCode::NOT_FOUND, NOUNS),
    };
    Json(object).into_response()
}

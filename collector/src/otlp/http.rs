//! OTLP/HTTP: protobuf and JSON, answered as they were asked.

use super::body::{self, BODY_LEN_MAX, Compression};
use super::{Encoding, Intake, Posted, Received, Refusal, Signal, success};
use crate::listen::Ends;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use axum::routing::post;
use axum::{Extension, Router};
use http::{HeaderMap, Response, StatusCode, header};

/// The three paths of OTLP/HTTP.
pub(crate) fn router(intake: &Intake) -> Router {
    let route = |router: Router, signal: Signal| {
        let path = format!("/v1/{}", signal.as_str());
        router.route(&path, post(export).with_state((intake.clone(), signal)))
    };
    Signal::ALL.into_iter().fold(Router::new(), route).fallback(async || {
        (StatusCode::NOT_FOUND, "POST to /v1/traces, /v1/metrics or /v1/logs\n").into_response()
    })
}

async fn export(
    State((intake, signal)): State<(Intake, Signal)>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response<Body> {
    let encoding = encoding(request.headers());
    let received = match &encoding {
        Ok(encoding) => receive(&intake, *encoding, request).await,
        Err(refusal) => Err(refusal.clone()),
    };
    let encoding = encoding.unwrap_or(Encoding::Json);
    match intake.take(signal, received, ends).await {
        Err(refusal) => refusal.into_http(encoding),
        Ok(rejected) => {
            let mut response = Response::new(Body::from(success(signal, encoding, rejected)));
            response.headers_mut().insert(header::CONTENT_TYPE, encoding.content_type());
            response
        }
    }
}

async fn receive(
    intake: &Intake,
    encoding: Encoding,
    request: Request,
) -> Result<Received, Refusal> {
    let name = text(request.headers(), header::CONTENT_ENCODING.as_str());
    let compression = Compression::parse(&name).ok_or(Refusal::UnknownCompression { name })?;
    let charge = intake.ledger.charge();
    let packed = body::read(request.into_body(), &charge, BODY_LEN_MAX).await?;
    Ok(Received { posted: Posted { packed, compression, encoding }, charge })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let content_type = text(headers, header::CONTENT_TYPE.as_str());
    Encoding::of_content_type(&content_type).ok_or(Refusal::UnknownType(content_type))
}

/// The value of a header; empty where it is absent.
pub(super) fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
        .unwrap_or_default()
}

//! OTLP/gRPC: one message in, one out.
//!
//! The three methods are unary and their bodies are read as bytes, by the same walk as over HTTP;
//! so this speaks gRPC's framing itself, five bytes before a message and a status behind it,
//! rather than have messages built that nobody needs.

use super::body::{self, BODY_LEN_MAX, Compression};
use super::http::text;
use super::{Encoding, Intake, Posted, Received, Refusal, Signal, success};
use crate::listen::Ends;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Full};
use tonic::Status;

/// Before each message: whether it is compressed, and its length.
const PREFIX_LEN: usize = 5;
const GRPC_ENCODING: &str = "grpc-encoding";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

const METHODS: [(&str, Signal); 3] = [
    ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", Signal::Traces),
    ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", Signal::Metrics),
    ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Signal::Logs),
];

/// The three services of OTLP/gRPC.
pub(crate) fn router(intake: &Intake) -> Router {
    let route = |router: Router, (path, signal): (&str, Signal)| {
        router.route(path, post(export).with_state((intake.clone(), signal)))
    };
    (METHODS.into_iter().fold(Router::new(), route)).fallback(async || -> Response<Body> {
        Status::unimplemented("this port takes OTLP: traces, metrics and logs").into_http()
    })
}

async fn export(
    State((intake, signal)): State<(Intake, Signal)>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response<Body> {
    if !text(request.headers(), header::CONTENT_TYPE.as_str()).starts_with("application/grpc") {
        return Refusal::UnknownType("not application/grpc".into()).into_http(Encoding::Json);
    }
    let received = receive(&intake, request).await;
    let mut response = match intake.take(signal, received, ends).await {
        Ok(rejected) => answer(&success(signal, Encoding::Protobuf, rejected)),
        Err(refusal) => Status::from(refusal).into_http(),
    };
    let understood = HeaderValue::from_static(body::COMPRESSIONS);
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, understood);
    response
}

async fn receive(intake: &Intake, request: Request) -> Result<Received, Refusal> {
    let name = text(request.headers(), GRPC_ENCODING);
    let compression = Compression::parse(&name).ok_or(Refusal::UnknownCompression { name })?;
    let charge = intake.ledger.charge();
    let framed = body::read(request.into_body(), &charge, PREFIX_LEN + BODY_LEN_MAX).await?;
    let (is_compressed, packed) = unframe(framed)?;
    let compression = if is_compressed { compression } else { Compression::Identity };
    let posted = Posted { packed, compression, encoding: Encoding::Protobuf };
    Ok(Received { posted, charge })
}

/// The one message of a unary call, and whether it is compressed.
fn unframe(mut framed: Bytes) -> Result<(bool, Bytes), Refusal> {
    let malformed = |what: &str| Refusal::Malformed(format!("no gRPC message: {what}"));
    if framed.len() < PREFIX_LEN {
        return Err(malformed("it ends within its prefix"));
    }
    let (flag, len) = (framed.get_u8(), framed.get_u32() as usize);
    if BODY_LEN_MAX < len {
        return Err(Refusal::TooLarge);
    }
    if framed.len() != len {
        return Err(malformed("its length is not what its prefix says"));
    }
    match flag {
        0 => Ok((false, framed)),
        1 => Ok((true, framed)),
        _ => Err(malformed("its compression flag is neither 0 nor 1")),
    }
}

fn answer(message: &[u8]) -> Response<Body> {
    let mut framed = BytesMut::with_capacity(PREFIX_LEN + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("an answer has a few bytes"));
    framed.put_slice(message);
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(framed.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

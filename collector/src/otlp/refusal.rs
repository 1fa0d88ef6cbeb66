//! Why an export is not taken, and how that is said on each transport.
//!
//! Senders read two things from the answer: whether to send the same again, and when. OTLP lets
//! them repeat `RESOURCE_EXHAUSTED` only with a `RetryInfo`, and 429 and 503 after `retry-after`.

use super::Encoding;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use prost::Message as _;
use tonic::Code;

/// When a sender may try again: one turn of an SDK's exporter.
const RETRY_AFTER_S: i64 = 1;

/// Why an export is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The sender's fault; the same again will not help.
    #[error("{0}")]
    Malformed(String),
    /// The sender's fault; the same again will not help.
    #[error("the request is longer than {} bytes", super::body::BODY_LEN_MAX)]
    TooLarge,
    /// The sender's fault; the same again will not help.
    #[error(
        "content-type {0:?} is not understood; send application/x-protobuf or application/json"
    )]
    UnknownType(String),
    /// The sender's fault; the same again will not help.
    #[error("content-encoding {name:?} is not understood; send {}", super::body::COMPRESSIONS)]
    UnknownCompression {
        /// As it was sent.
        name: String,
    },
    /// The network's fault: the body ended early. Nobody may be there to read this.
    #[error("the request broke off: {0}")]
    Broken(String),
    /// Our fault: more is in flight than there is room for. May be repeated.
    #[error("the collector is overloaded; try again")]
    Overloaded,
    /// Our fault: the collector is ending. May be repeated.
    #[error("the collector is shutting down; try again")]
    ShuttingDown,
}

impl Refusal {
    /// In the words of `status.collector.dropped`.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "otlp_malformed",
            Self::TooLarge => "otlp_too_large",
            Self::UnknownType(_) | Self::UnknownCompression { .. } => "otlp_unsupported",
            Self::Broken(_) => "otlp_broken_off",
            Self::Overloaded => "otlp_overloaded",
            Self::ShuttingDown => "otlp_shutting_down",
        }
    }

    const fn may_be_repeated(&self) -> bool {
        matches!(self, Self::Overloaded | Self::ShuttingDown)
    }

    const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) | Self::UnknownType(_) => Code::InvalidArgument,
            Self::UnknownCompression { .. } => Code::Unimplemented,
            Self::TooLarge | Self::Overloaded => Code::ResourceExhausted,
            Self::Broken(_) => Code::Cancelled,
            Self::ShuttingDown => Code::Unavailable,
        }
    }

    const fn http_status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Broken(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownType(_) | Self::UnknownCompression { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer over HTTP: a `google.rpc.Status` in the encoding of the request.
    pub(crate) fn into_http(self, encoding: Encoding) -> Response<Body> {
        let status =
            RpcStatus { code: self.code() as i32, message: self.to_string(), details: vec![] };
        let body: Bytes = match encoding {
            Encoding::Protobuf => status.encode_to_vec().into(),
            Encoding::Json => serde_json::json!({"code": status.code, "message": status.message})
                .to_string()
                .into(),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.http_status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, encoding.content_type());
        if self.may_be_repeated() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if let Self::UnknownCompression { .. } = self {
            let understood = HeaderValue::from_static(super::body::COMPRESSIONS);
            headers.insert(header::ACCEPT_ENCODING, understood);
        }
        response
    }
}

/// The answer over gRPC, with a `RetryInfo` where the sender may repeat.
impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = (refusal.code(), refusal.to_string());
        if !refusal.may_be_repeated() {
            return Self::new(code, message);
        }
        let info = RetryInfo { retry_delay: Some(Delay { seconds: RETRY_AFTER_S, nanos: 0 }) };
        let details = vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
            value: info.encode_to_vec(),
        }];
        let status = RpcStatus { code: code as i32, message: message.clone(), details };
        Self::with_details(code, message, status.encode_to_vec().into())
    }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: each kind of refusal, said over HTTP and over gRPC.
    /// Guarantees: only what is our fault may be repeated, and then the sender is told when; what
    /// is the sender's fault is final on both transports.
    #[test]
    fn only_our_fault_may_be_repeated() {
        let check = |refusal: Refusal, status: u16, code: Code, repeat: bool| {
            let http = refusal.clone().into_http(Encoding::Protobuf);
            assert_eq!(http.status(), status, "{refusal}");
            assert_eq!(http.headers().contains_key(header::RETRY_AFTER), repeat, "{refusal}");
            let grpc = tonic::Status::from(refusal);
            assert_eq!(grpc.code(), code);
            let details = RpcStatus::decode(grpc.details()).unwrap().details;
            assert_eq!(details.len(), usize::from(repeat), "{grpc}");
            for detail in details {
                let info = RetryInfo::decode(detail.value.as_slice()).unwrap();
                assert_eq!(info.retry_delay.unwrap().seconds, RETRY_AFTER_S);
            }
        };
        check(Refusal::Malformed("x".into()), 400, Code::InvalidArgument, false);
        check(Refusal::TooLarge, 413, Code::ResourceExhausted, false);
        check(Refusal::UnknownType("x".into()), 415, Code::InvalidArgument, false);
        check(Refusal::UnknownCompression { name: "x".into() }, 415, Code::Unimplemented, false);
        check(Refusal::Broken("x".into()), 400, Code::Cancelled, false);
        check(Refusal::Overloaded, 429, Code::ResourceExhausted, true);
        check(Refusal::ShuttingDown, 503, Code::Unavailable, true);
    }
}

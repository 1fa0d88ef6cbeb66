//! What a message may say behind its body.

use http::header::{HeaderMap, HeaderName};

/// Fields that frame, route, authenticate or describe a message (RFC 9110, 6.5.1), and what carries
/// the trace or tells one request from another: a trailer of that name may be taken for the header by whoever merges them.
const NEVER_TRAILERS: [&str; 29] = [
    "authorization",
    "b3",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
    "x-request-id",
    "http2-settings",
];

/// The same of whole families: what proxies say to each other, and traces.
const NEVER_TRAILERS_FROM: [&str; 4] = ["x-b3-", "x-envoy-", "x-forwarded-", "x-fusebox-"];

/// Removes from the trailers of a message what can only be a header.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    let is_never = |name: &&HeaderName| {
        let name = name.as_str();
        NEVER_TRAILERS.contains(&name)
            || NEVER_TRAILERS_FROM.iter().any(|start| name.starts_with(start))
    };
    // Most have one or two fields: to look at each is less than to search for all.
    let never: Vec<HeaderName> = trailers.keys().filter(is_never).cloned().collect();
    for name in never {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;

    /// Scenario: trailers of a gRPC answer, among them fields that are no trailers.
    /// Guarantees: the latter go, however they are spelled; the rest stays.
    #[test]
    fn trailers() {
        let names = ["grpc-status", "Content-Length", "x-sum", "Host", "Set-Cookie", "Trailer"];
        let mut trailers: HeaderMap = names
            .iter()
            .map(|name| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("1")))
            .collect();
        strip_trailers(&mut trailers);
        let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-sum"]);
    }
}

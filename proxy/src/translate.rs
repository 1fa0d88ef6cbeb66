//! A request changes between HTTP/1.1 and HTTP/2, where its server wants the other.

use crate::exchange;
use fusebox_proto::report::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version, request};
use http_body::Body;

/// Makes an HTTP/2 request of one of HTTP/1, if its `Host` can be an `:authority`.
pub(crate) fn to_http2(head: &mut request::Parts) {
    let host = head.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let Ok(authority) = Authority::try_from(host) else {
        return;
    };
    let mut parts = head.uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        head.uri = uri;
        head.version = Version::HTTP_2;
        head.headers.remove(HOST);
        head.headers.remove(TRANSFER_ENCODING);
    }
}

/// Makes a request of HTTP/1.1 of one of HTTP/2 that passed the gate. Not of a gRPC call, whose server
/// speaks HTTP/2 or no gRPC. Says whether it did.
pub(crate) fn to_http1<B: Body>(request: &mut Request<B>) -> bool {
    let is_grpc = exchange::protocol_of(Version::HTTP_2, request.headers()) == Protocol::Grpc;
    let authority = request.uri().authority().map(Authority::as_str).unwrap_or_default();
    let Ok(host) = HeaderValue::from_str(authority) else { return false };
    if is_grpc || host.is_empty() {
        return false;
    }
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(HOST, host);
    // hyper takes a GET without a length for one without a body.
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(TRANSFER_ENCODING, chunked);
    }
    join_cookies(request.headers_mut());
    true
}

/// HTTP/2 may send the crumbs of a cookie one by one; on HTTP/1 there is one field (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if 1 < crumbs.len()
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Empty;

    /// Scenario: requests of HTTP/2 with a query, crumbs of a cookie, no path, and of gRPC; and one that
    /// came from HTTP/1.
    /// Guarantees: they are in origin form, with one `Host` and one `Cookie`; a gRPC call stays as it
    /// is; what was HTTP/1 is what it was.
    #[test]
    fn from_one_to_the_other() {
        let request = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().version(Version::HTTP_2).uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            request.body(Empty::<Bytes>::new()).unwrap()
        };
        let crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")];
        let mut plain = request("http://shop.example:80/a?b=c", &crumbs);
        assert!(to_http1(&mut plain));
        assert_eq!((plain.version(), plain.uri().to_string()), (Version::HTTP_11, "/a?b=c".into()));
        assert_eq!(plain.headers()[HOST], "shop.example:80");
        let cookies: Vec<_> = plain.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);

        let (mut head, body) = plain.into_parts();
        let before = head.clone();
        to_http2(&mut head);
        assert_eq!(
            (head.version, head.uri.to_string()),
            (Version::HTTP_2, "http://shop.example:80/a?b=c".into())
        );
        let mut back = Request::from_parts(head, body);
        assert!(to_http1(&mut back));
        assert_eq!((back.uri(), back.headers()), (&before.uri, &before.headers));

        let mut grpc = request("http://x/s/m", &[("content-type", "application/grpc+proto")]);
        assert!(!to_http1(&mut grpc) && grpc.version() == Version::HTTP_2);
    }
}

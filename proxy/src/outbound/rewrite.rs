//! A request changes its target on the way.

use fusebox_proto::policy::HttpMatch;
use fusebox_proto::policy::PathRewrite;
use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version, request};

/// Changes the path; the query stays. `None`: the new path is none.
pub(super) fn path(
    head: &mut request::Parts,
    rewrite: &PathRewrite,
    condition: Option<&HttpMatch>,
) -> Option<()> {
    let new = rewrite.apply(head.uri.path(), condition);
    let target = match head.uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{new}?{query}")),
        None => PathAndQuery::try_from(&*new),
    };
    let target = target.ok().filter(|target| target.as_str().starts_with('/'))?;
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.path_and_query = Some(target);
    head.uri = Uri::from_parts(parts).ok()?;
    Some(())
}

/// Changes `Host`, or `:authority`.
pub(super) fn authority(head: &mut request::Parts, new: &str) -> Option<()> {
    if head.version == Version::HTTP_2 {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(Authority::try_from(new).ok()?);
        head.uri = Uri::from_parts(parts).ok()?;
    } else {
        head.headers.insert(HOST, HeaderValue::from_str(new).ok()?);
    }
    Some(())
}

/// Makes an HTTP/2 request of one of HTTP/1, if its `Host` can be an `:authority`.
pub(super) fn to_http2(head: &mut request::Parts) {
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

//! A request changes its target on the way.

use fusebox_proto::policy::HttpMatch;
use fusebox_proto::policy::PathRewrite;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery};
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

//! The gate in front of a hop: what may pass, and what of a message belongs to one connection only.
//!
//! hyper parses and frames messages again, so most smuggling dies in it. What it lets through is
//! stopped here: requests whose target two servers could read differently (more than one `Host`,
//! userinfo, a `Host` that is no authority), framing that two servers could read differently
//! (anything but one plain `chunked`, or both kinds of length), and headers that speak to the next
//! hop only. `Connection: content-length` never removes a length (RFC 9110, 7.6.1 lets a sender
//! name any header; the ones that frame or route a message are not its to remove).
//!
//! Upgrades: `h2c` is ignored, as RFC 9110 allows; every other upgrade that [`crate::upgrade`] has
//! not taken out of the head before, and CONNECT, is answered 501.

mod trailers;

pub(crate) use trailers::strip_trailers;

use http::header::{
    CONNECTION, CONTENT_LENGTH, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery};
use http::{Method, StatusCode, Uri, Version, request};
use std::net::Ipv6Addr;

/// What every server can count to.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// A request that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// What to answer.
    pub(crate) status: StatusCode,
    /// What is wrong, for the one who sent it.
    pub(crate) reason: &'static str,
}

const fn bad(reason: &'static str) -> Rejected {
    Rejected { status: StatusCode::BAD_REQUEST, reason }
}

const fn unsupported(reason: &'static str) -> Rejected {
    Rejected { status: StatusCode::NOT_IMPLEMENTED, reason }
}

/// Checks a request and makes its head ready for the next hop: one authority, origin form on
/// HTTP/1, no hop-by-hop headers. `host` stands in where an HTTP/1.0 request names none.
pub(crate) fn admit(head: &mut request::Parts, host: &HeaderValue) -> Result<(), Rejected> {
    if head.method == Method::CONNECT {
        return Err(unsupported("CONNECT is not supported"));
    }
    // Of most requests no header says how they are framed, or speaks to the next hop.
    let is_plain = !head.headers.keys().any(|name| *name == CONTENT_LENGTH || is_of_one_hop(name));
    if !is_plain {
        check_framing(head)?;
        one_length(&mut head.headers)?;
        check_upgrade(&head.headers)?;
    }
    check_target(head)?;
    if head.version == Version::HTTP_2 {
        one_authority(head)?;
    } else {
        one_host(head, host)?;
    }
    if !is_plain {
        strip_request(&mut head.headers);
    }
    Ok(())
}

/// The path and query are printable ASCII (what else is in them belongs percent-encoded), and `*` is
/// for OPTIONS.
fn check_target(head: &request::Parts) -> Result<(), Rejected> {
    let Some(target) = head.uri.path_and_query() else {
        return Ok(());
    };
    if target == "*" && head.method != Method::OPTIONS {
        return Err(bad("the target * is for OPTIONS only"));
    }
    let target = target.as_str();
    // Of `http://x?a` the path is empty, which only an absolute form can say.
    let is_absolute = head.uri.authority().is_some() && head.version != Version::HTTP_2;
    let is_path = is_absolute || target == "*" || target.starts_with('/');
    let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path && is_plain { Ok(()) } else { Err(bad("the target is no path in ASCII")) }
}

/// A target with an authority is in absolute form (`x:80` is for CONNECT), and of HTTP.
fn check_scheme(uri: &Uri) -> Result<(), Rejected> {
    match uri.scheme_str() {
        Some("http" | "https") => Ok(()),
        _ => Err(bad("the target is neither a path nor an http URI")),
    }
}

/// HTTP/1: exactly one `Host`, which the authority of an absolute target overrides.
fn one_host(head: &mut request::Parts, host: &HeaderValue) -> Result<(), Rejected> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(bad("more than one Host")),
        (Some(value), None) => check_authority(value.as_bytes())?,
        (None, _) if head.version == Version::HTTP_10 => {
            head.headers.insert(HOST, host.clone());
        }
        (None, _) => return Err(bad("no Host")),
    }
    if let Some(authority) = head.uri.authority() {
        check_scheme(&head.uri)?;
        check_authority(authority.as_str().as_bytes())?;
        let value = HeaderValue::from_str(authority.as_str())
            .map_err(|_| bad("the target's authority is no host"))?;
        head.headers.insert(HOST, value);
    }
    let target = match head.uri.path_and_query() {
        None => PathAndQuery::from_static("/"),
        Some(target) if target.as_str().starts_with('?') => {
            PathAndQuery::try_from(target.to_string()).map_err(|_| bad("the target is no URI"))?
        }
        Some(target) => target.clone(),
    };
    head.uri = Uri::from(target);
    head.version = Version::HTTP_11;
    Ok(())
}

/// HTTP/2: `:authority`, or the one `Host` in its place.
fn one_authority(head: &mut request::Parts) -> Result<(), Rejected> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(bad("more than one Host")),
        (host, _) => host,
    };
    if let Some(authority) = head.uri.authority() {
        check_scheme(&head.uri)?;
        check_authority(authority.as_str().as_bytes())?;
        if host.is_some_and(|host| host.as_bytes() != authority.as_str().as_bytes()) {
            return Err(bad("Host differs from :authority"));
        }
    } else {
        let host = host.ok_or_else(|| bad("neither :authority nor Host"))?;
        check_authority(host.as_bytes())?;
        let authority = Authority::try_from(host.as_bytes()).map_err(|_| bad("Host is no host"))?;
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(authority);
        parts.scheme.get_or_insert(http::uri::Scheme::HTTP);
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        head.uri = Uri::from_parts(parts).map_err(|_| bad("the target is no URI"))?;
    }
    head.headers.remove(HOST);
    trim(&mut head.headers);
    Ok(())
}

/// HTTP/2 can carry white space around a value, and must not (RFC 9113, 8.2.1). On HTTP/1 it would
/// be gone.
fn trim(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        let bytes = value.as_bytes();
        let trimmed = bytes.trim_ascii();
        if trimmed.len() != bytes.len()
            && let Ok(trimmed) = HeaderValue::from_bytes(trimmed)
        {
            *value = trimmed;
        }
    }
}

/// A `Host` is a name or an address, and perhaps a port: no userinfo, nothing empty.
fn check_authority(value: &[u8]) -> Result<(), Rejected> {
    let (host, port) = match value.iter().rposition(|&byte| matches!(byte, b':' | b']')) {
        Some(at) if value[at] == b':' => (&value[..at], &value[at + 1..]),
        _ => (value, &b""[..]),
    };
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let is_host = match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
        }
        name => !name.is_empty() && name.iter().all(is_name),
    };
    // Five digits at most, so that the sum stays small.
    let is_port = port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && port.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= 65_535;
    if is_host && is_port { Ok(()) } else { Err(bad("Host is no host")) }
}

/// One length, in its shortest form and small enough for every server's integers: some read `010`
/// as eight, and 2^63 as a negative number.
fn one_length(headers: &mut HeaderMap) -> Result<(), Rejected> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(());
    };
    let is_plain = matches!(first.as_bytes(), [b'0'] | [b'1'..=b'9', ..]);
    let length = content_length(first)?;
    let mut is_one = true;
    for other in values {
        is_one = false;
        if content_length(other)? != length {
            return Err(bad("different Content-Lengths"));
        }
    }
    if !is_one || !is_plain {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

fn content_length(value: &HeaderValue) -> Result<u64, Rejected> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = text.and_then(|text| text.parse().ok()).filter(|&length| length <= LENGTH_MAX);
    length.ok_or(bad("Content-Length is no length"))
}

/// `Transfer-Encoding` is one plain `chunked` on HTTP/1.1, and never beside a `Content-Length`.
fn check_framing(head: &request::Parts) -> Result<(), Rejected> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(unsupported("Transfer-Encoding is not one plain chunked"));
    }
    if head.version != Version::HTTP_11 {
        return Err(bad("Transfer-Encoding outside HTTP/1.1"));
    }
    if head.headers.contains_key(CONTENT_LENGTH) {
        return Err(bad("both Transfer-Encoding and Content-Length"));
    }
    Ok(())
}

fn check_upgrade(headers: &HeaderMap) -> Result<(), Rejected> {
    let is_ignorable = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"h2c");
    if headers.get_all(UPGRADE).iter().all(is_ignorable) {
        return Ok(());
    }
    Err(unsupported("this upgrade is not supported"))
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

fn strip_request(headers: &mut HeaderMap) {
    let wants_trailers = headers.get_all(TE).iter().any(|value| has_token(value, b"trailers"));
    strip_hop_by_hop(headers);
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes from a response what was meant for us; hyper frames it anew for the next hop.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(TRANSFER_ENCODING);
}

/// Whether a field is for the next hop only. Most messages have none: one look at the names is less
/// than a search for each.
fn is_of_one_hop(name: &HeaderName) -> bool {
    [CONNECTION, TE, UPGRADE, TRANSFER_ENCODING].contains(name)
        || [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS].contains(name)
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let present: Vec<HeaderName> =
        headers.keys().filter(|name| is_of_one_hop(name)).cloned().collect();
    for name in present {
        if name == CONNECTION {
            strip_connection(headers);
        } else if name != TRANSFER_ENCODING {
            headers.remove(name);
        }
    }
}

/// Removes `Connection` with what it names.
fn strip_connection(headers: &mut HeaderMap) {
    let Entry::Occupied(connection) = headers.entry(CONNECTION) else { return };
    let (_, values) = connection.remove_entry_mult();
    let values: Vec<HeaderValue> = values.collect();
    let is_option = |name: &&[u8]| [&b"keep-alive"[..], b"close"].contains(name);
    for name in values.iter().flat_map(tokens).filter(|name| !is_option(name)) {
        if let Ok(name) = HeaderName::from_bytes(name)
            && ![CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name)
        {
            headers.remove(name);
        }
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn has_token(value: &HeaderValue, token: &[u8]) -> bool {
    tokens(value).any(|one| one.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;

//! Upgrades (RFC 9110, 7.8): the only way by which an HTTP/1.1 connection becomes a tunnel.
//!
//! ```text
//! request ─ take ─ gate ─ put ─▶ server ─ 101 ─▶ Handover ─▶ response ─▶ caller
//!                                   │                │ (both sides leave HTTP)
//!                                   └ any other      └▶ Tunnel::run: bytes, both ways
//! ```
//!
//! `WebSocket` passes, and what the operator named; `h2c` never does, because requests in it would
//! pass the gate unseen. A caller that is refused may have sent bytes of the new protocol already:
//! they stay in our buffer, and the connection is closed, so that nobody reads them as requests.
//! What a caller sends early and may is kept by hyper and is the first that the server gets.

use crate::tunnel::{self, Bounds};
use fusebox_proto::Invalid;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Response, StatusCode, Version, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How long nothing may move where no policy says otherwise: as long as in a stream of HTTP.
pub(crate) const IDLE_DEFAULT: Duration = Duration::from_mins(5);
const WEBSOCKET: &str = "websocket";
/// More names than this are refused.
const NAMES_MAX: usize = 16;
/// A name longer than this is refused.
const NAME_LEN_MAX: usize = 64;

/// The protocols that a connection may be upgraded to.
#[derive(Clone, Debug)]
pub(crate) struct Upgrades(Arc<[Box<str>]>);

impl Default for Upgrades {
    fn default() -> Self {
        Self(Arc::new([WEBSOCKET.into()]))
    }
}

impl Upgrades {
    /// `WebSocket`, and these.
    ///
    /// # Errors
    /// If one of `names` is no protocol, or one that speaks HTTP.
    pub(crate) fn new(names: &[String]) -> Result<Self, Invalid> {
        if NAMES_MAX < names.len() {
            let reason = format!("{} names; at most {NAMES_MAX}", names.len());
            return Err(Invalid::new("--upgrade", reason));
        }
        let mut all: Vec<Box<str>> = vec![WEBSOCKET.into()];
        for name in names {
            all.push(check(name)?.into());
        }
        Ok(Self(all.into()))
    }

    /// Takes the wish for an upgrade out of a head that the gate has yet to see: what it still
    /// finds there is refused or ignored. `None`: there is none, or none that may be granted.
    pub(crate) fn take(&self, head: &mut request::Parts) -> Option<Wanted> {
        let mut values = head.headers.get_all(UPGRADE).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let name = value.as_bytes();
        let is_allowed = self.0.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()));
        let is_get = head.method == Method::GET || !name.eq_ignore_ascii_case(b"websocket");
        // Where a body ends and the new protocol begins, two servers could see differently.
        let has_body = head.headers.contains_key(CONTENT_LENGTH)
            || head.headers.contains_key(TRANSFER_ENCODING);
        if !is_allowed
            || !is_get
            || has_body
            || head.method == Method::CONNECT
            || head.version != Version::HTTP_11
            || !names_upgrade(&head.headers)
        {
            return None;
        }
        head.headers.remove(UPGRADE).map(Wanted)
    }
}

fn check(name: &str) -> Result<String, Invalid> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
    let lower = name.to_ascii_lowercase();
    let wrong = if lower.is_empty() || NAME_LEN_MAX < lower.len() || !lower.bytes().all(is_token) {
        "is no protocol name; allowed are letters, digits and !#$%&'*+-.^_`|~/"
    } else if lower.starts_with("h2") || lower.starts_with("http") {
        "speaks HTTP, and its requests would not be checked; allowed are other protocols"
    } else {
        return Ok(lower);
    };
    Err(Invalid::new("--upgrade", format!("{name:?} {wrong}")))
}

/// `Connection: upgrade` must be there beside `Upgrade`.
fn names_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    let mut tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// An upgrade that a caller asks for and may get.
#[derive(Debug)]
pub(crate) struct Wanted(HeaderValue);

impl Wanted {
    /// Asks the next hop for it.
    pub(crate) fn put(self, headers: &mut HeaderMap) {
        name(headers, self.0);
    }
}

fn name(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Whether a server that answers 101 was asked `wanted`, and nothing else.
pub(crate) fn is_granted(wanted: Option<&HeaderValue>, answer: &HeaderMap) -> bool {
    let mut granted = answer.get_all(UPGRADE).iter();
    match (wanted, granted.next(), granted.next()) {
        (Some(wanted), Some(granted), None) => {
            granted.as_bytes().eq_ignore_ascii_case(wanted.as_bytes())
        }
        _ => false,
    }
}

/// A caller that asked for an upgrade and got this instead may have sent what is no HTTP: nothing
/// more is read from it.
pub(crate) fn close_if_refused<B>(response: &mut Response<B>) {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// What is given back when a tunnel ends, by being dropped.
pub(crate) trait Held: Debug + Send {}

impl<T: Debug + Send> Held for T {}

/// The server's side of a tunnel, on its way to the caller's connection as an extension of the
/// response. (Extensions are cloned; this is taken once.)
#[derive(Clone, Debug)]
pub(crate) struct Handover(Arc<Mutex<Option<ServerSide>>>);

#[derive(Debug)]
struct ServerSide {
    server: OnUpgrade,
    bounds: Bounds,
    held: Box<dyn Held>,
}

impl Handover {
    /// The answer to the caller of a `response` that was checked with [`is_granted`]. `headers` are
    /// what it gets of the response's; `held` lives as long as the tunnel, which has these `bounds`.
    pub(crate) fn answer<R, B>(
        response: &mut Response<R>,
        mut headers: HeaderMap,
        (held, bounds): (impl Held + 'static, Bounds),
        body: B,
    ) -> Response<B> {
        if let Some(protocol) = response.headers_mut().remove(UPGRADE) {
            name(&mut headers, protocol);
        }
        let (server, held) = (hyper::upgrade::on(response), Box::new(held));
        let server = ServerSide { server, bounds, held };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = headers;
        answer.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(server)))));
        answer
    }

    /// Both sides together.
    pub(crate) fn join(self, caller: OnUpgrade) -> Option<Box<Tunnel>> {
        let ServerSide { server, bounds, held } = self.0.lock().take()?;
        Some(Box::new(Tunnel { caller, server, bounds, _held: held }))
    }
}

/// Two connections about to leave HTTP.
#[derive(Debug)]
pub(crate) struct Tunnel {
    caller: OnUpgrade,
    server: OnUpgrade,
    bounds: Bounds,
    _held: Box<dyn Held>,
}

impl Tunnel {
    /// Carries bytes until both sides have ended, or one has broken off.
    pub(crate) async fn run(self: Box<Self>) {
        let Self { caller, server, bounds, _held } = *self;
        // One that fails here has closed its connection; dropped, the other closes too. What it
        // carried is in no line: the request was over with the 101.
        if let Ok((caller, server)) = tokio::try_join!(caller, server) {
            tunnel::copy(TokioIo::new(caller), TokioIo::new(server), bounds).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, version: Version, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = http::Request::builder().method(method).version(version).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// Scenario: requests that ask for an upgrade in every way, good and bad.
    /// Guarantees: only one allowed protocol, asked for in full by an HTTP/1.1 request without a
    /// body, is taken; of everything else the gate still sees the header.
    #[test]
    fn which_upgrades_are_taken() {
        let upgrades = Upgrades::new(&["My-Proto/1".to_owned()]).unwrap();
        let check_on = |method, version, more: &[(&str, &str)], expected: Option<&str>| {
            let mut head = head(method, version, more);
            let taken = upgrades.take(&mut head);
            let taken = taken.as_ref().map(|wanted| wanted.0.to_str().unwrap());
            assert_eq!(taken, expected, "{method} {version:?} {more:?}");
            let had = more.iter().any(|(name, _)| *name == "upgrade");
            assert_eq!(head.headers.contains_key(UPGRADE), had && expected.is_none());
        };
        let one = Version::HTTP_11;
        let check = |more: &[(&str, &str)], expected| check_on("GET", one, more, expected);
        let (connection, websocket) = (("connection", "Upgrade"), ("upgrade", "WebSocket"));
        check(&[connection, websocket], Some("WebSocket"));
        check(&[("connection", "keep-alive, upgrade"), websocket], Some("WebSocket"));
        check(&[connection, ("upgrade", "my-proto/1")], Some("my-proto/1"));
        check_on("POST", one, &[connection, ("upgrade", "my-proto/1")], Some("my-proto/1"));
        check(&[], None);
        check(&[websocket], None);
        check(&[("connection", "close"), websocket], None);
        check(&[connection, ("upgrade", "h2c")], None);
        check(&[connection, ("upgrade", "websocket, h2c")], None);
        check(&[connection, websocket, ("upgrade", "h2c")], None);
        check(&[connection, ("upgrade", "other")], None);
        check(&[connection, websocket, ("content-length", "3")], None);
        check(&[connection, websocket, ("transfer-encoding", "chunked")], None);
        check_on("POST", one, &[connection, websocket], None);
        check_on("GET", Version::HTTP_10, &[connection, websocket], None);
        check_on("GET", Version::HTTP_2, &[connection, websocket], None);
    }

    /// Scenario: answers 101 to requests that asked for something, something else, or nothing.
    /// Guarantees: only the one protocol that was asked for is granted.
    #[test]
    fn what_counts_as_granted() {
        let check = |wanted: Option<&str>, granted: &[&str], expected| {
            let wanted = wanted.map(|wanted| HeaderValue::from_str(wanted).unwrap());
            let mut answer = HeaderMap::new();
            for value in granted {
                answer.append(UPGRADE, value.parse().unwrap());
            }
            assert_eq!(is_granted(wanted.as_ref(), &answer), expected, "{wanted:?} {granted:?}");
        };
        check(Some("websocket"), &["WebSocket"], true);
        check(Some("websocket"), &["h2c"], false);
        check(Some("websocket"), &["websocket", "h2c"], false);
        check(Some("websocket"), &[], false);
        check(None, &["websocket"], false);
    }

    /// Scenario: names that an operator may give, and others.
    /// Guarantees: what is no token, or speaks HTTP, is refused with the flag's name.
    #[test]
    fn names_of_protocols() {
        let check = |name: &str, says: &str| {
            let said = Upgrades::new(&[name.to_owned()]).err().map(|it| it.to_string());
            match said {
                None => assert_eq!(says, "", "{name}"),
                Some(said) => {
                    assert!(!says.is_empty() && said.contains(says) && said.contains("--upgrade"));
                }
            }
        };
        check("tcp", "");
        check("SPDY/3.1", "");
        check("h2c", "speaks HTTP");
        check("H2C", "speaks HTTP");
        check("HTTP/2.0", "speaks HTTP");
        check("", "no protocol");
        check("a b", "no protocol");
        check("a,b", "no protocol");
        let many = vec!["x".to_owned(); NAMES_MAX + 1];
        assert!(Upgrades::new(&many).unwrap_err().to_string().contains("at most"));
    }
}

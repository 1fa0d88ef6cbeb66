//! `x-forwarded-for`, `-proto`, `-host`: who called, and what of it is believed.
//!
//! | listener | what came | what goes on |
//! |---|---|---|
//! | outbound, own machine | anything | the same: the application speaks for its callers, and its own hop to its sidecar is none |
//! | outbound, another machine | anything | the same, with the caller's address behind it |
//! | inbound | believed, as by Istio's sidecars: callers are of the mesh | the same, with the caller's address behind it; `-proto` and `-host` where they are missing |
//! | inbound, `--trusted-hops N` | the last `N` addresses are believed (as Envoy's `xff_num_trusted_hops`), and with `N` above 0 `-proto` and `-host` | those addresses and the caller's; all else that strangers could forge is gone |
//! | ingress | as inbound with `--trusted-hops 0`, unless the operator says another number | the same |
//!
//! An address that is none ends belief: neither it nor what stands before it goes on.

use crate::exchange;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use http::{HeaderMap, request};
use std::net::{IpAddr, SocketAddr};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Headers by which proxies tell each other what they decided. A stranger has no say in that.
const OF_PROXIES: [&str; 2] = ["x-envoy-", "x-fusebox-"];

/// The other end of a caller's connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address, as it goes into headers.
    address: HeaderValue,
    is_own_machine: bool,
}

impl Peer {
    /// The caller at `address`; `None` if it is gone already.
    pub(crate) fn new(address: Option<SocketAddr>) -> Self {
        let ip = address.map(|address| address.ip().to_canonical());
        let text = ip.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string());
        Self {
            address: HeaderValue::from_str(&text).expect("digits, letters, dots and colons"),
            is_own_machine: ip.is_some_and(|ip| ip.is_loopback()),
        }
    }

    /// Whether it is a process of this machine.
    pub(crate) const fn is_own_machine(&self) -> bool {
        self.is_own_machine
    }

    /// Its address, without a port.
    pub(crate) fn as_str(&self) -> &str {
        self.address.to_str().unwrap_or("unknown")
    }
}

/// Marks a request of the own application.
pub(crate) fn outbound(headers: &mut HeaderMap, peer: &Peer) {
    if !peer.is_own_machine {
        append(headers, peer);
    }
}

/// Marks a request to the own application, or from outside. `trusted_hops` is the number of proxies in front that
/// are believed; `None`: all callers are.
pub(crate) fn inbound(head: &mut request::Parts, peer: &Peer, trusted_hops: Option<u8>) {
    if let Some(hops) = trusted_hops {
        distrust(&mut head.headers, usize::from(hops));
    }
    append(&mut head.headers, peer);
    if !head.headers.contains_key(PROTO) {
        head.headers.insert(PROTO, HeaderValue::from_static("http"));
    }
    if !head.headers.contains_key(HOST) {
        let host = match head.headers.get(http::header::HOST) {
            Some(host) => Some(host.clone()),
            None => HeaderValue::from_str(&exchange::authority(head)).ok(),
        };
        host.and_then(|host| head.headers.insert(HOST, host));
    }
}

/// Puts the caller behind all that is there, in one header.
fn append(headers: &mut HeaderMap, peer: &Peer) {
    let mut list = Vec::new();
    for value in headers.get_all(FOR) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        headers.insert(FOR, peer.address.clone());
        return;
    }
    list.extend_from_slice(peer.address.as_bytes());
    let value = HeaderValue::from_bytes(&list).unwrap_or_else(|_| peer.address.clone());
    headers.insert(FOR, value);
}

/// Leaves the last `hops` addresses, and of the rest what the nearest proxy may say.
fn distrust(headers: &mut HeaderMap, hops: usize) {
    let believed = believed(headers, hops);
    headers.remove(FOR);
    if let Some(value) = believed {
        headers.insert(FOR, value);
    }
    for name in [FORWARDED, REAL_IP, CLIENT_CERT] {
        headers.remove(name);
    }
    if hops == 0 {
        for name in [PROTO, HOST, PORT] {
            headers.remove(name);
        }
        let is_of_proxies =
            |name: &HeaderName| OF_PROXIES.iter().any(|prefix| name.as_str().starts_with(prefix));
        let forged: Vec<HeaderName> =
            headers.keys().filter(|name| is_of_proxies(name)).cloned().collect();
        for name in forged {
            headers.remove(name);
        }
    }
}

fn believed(headers: &HeaderMap, hops: usize) -> Option<HeaderValue> {
    let values = headers.get_all(FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut last: Vec<&str> =
        all.into_iter().rev().take(hops).take_while(|address| is_address(address)).collect();
    last.reverse();
    if last.is_empty() { None } else { HeaderValue::from_str(&last.join(", ")).ok() }
}

/// An IP address, with or without a port or brackets.
fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri("/a").header("host", "shop:80");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn left(headers: &HeaderMap) -> String {
        let mut left: Vec<String> = headers
            .iter()
            .filter(|(name, _)| *name != http::header::HOST)
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        left.sort();
        left.join(" ").replace("x-forwarded-", "")
    }

    /// Scenario: requests with true and forged headers of forwarding reach an inbound listener that
    /// believes all callers, none, or some proxies in front of it.
    /// Guarantees: the caller's address is always the last; what is not believed is gone, and
    /// `-proto` and `-host` are what this proxy saw.
    #[test]
    fn what_inbound_listeners_believe() {
        let check = |hops: Option<u8>, headers: &[(&str, &str)], expected: &str| {
            let mut head = head(headers);
            let peer = Peer::new(Some("192.0.2.9:4711".parse().unwrap()));
            inbound(&mut head, &peer, hops);
            assert_eq!(left(&head.headers), expected, "{hops:?} {headers:?}");
        };
        let own = "for=192.0.2.9 host=shop:80 proto=http";
        let list = [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")];
        let said = [("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];
        check(None, &[], own);
        check(Some(0), &[], own);
        check(None, &list, "for=1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.9 host=shop:80 proto=http");
        check(Some(0), &list, own);
        check(Some(1), &list, "for=3.3.3.3, 192.0.2.9 host=shop:80 proto=http");
        check(Some(2), &list, "for=2.2.2.2, 3.3.3.3, 192.0.2.9 host=shop:80 proto=http");
        check(Some(9), &list[1..], "for=3.3.3.3, 192.0.2.9 host=shop:80 proto=http");
        check(None, &said, "for=192.0.2.9 host=evil.example proto=https");
        check(Some(1), &said, "for=192.0.2.9 host=evil.example proto=https");
        check(Some(0), &said, own);
        let junk = [("x-forwarded-for", "1.1.1.1, <script>, [2001:db8::1]:80, 3.3.3.3")];
        check(Some(9), &junk, "for=[2001:db8::1]:80, 3.3.3.3, 192.0.2.9 host=shop:80 proto=http");
        let forged = [
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-client-cert", "By=spiffe://a"),
            ("x-forwarded-port", "443"),
            ("x-envoy-attempt-count", "1"),
            ("x-fusebox-refused", "open"),
        ];
        check(Some(0), &forged, own);
    }

    /// Scenario: the own application calls, and someone on another machine does.
    /// Guarantees: what the application says of its callers stays as it is; the other is added.
    #[test]
    fn what_outbound_listeners_add() {
        let check = |peer: &str, headers: &[(&str, &str)], expected: &str| {
            let mut head = head(headers);
            outbound(&mut head.headers, &Peer::new(Some(peer.parse().unwrap())));
            assert_eq!(left(&head.headers), expected, "{peer}");
        };
        let said = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https")];
        check("127.0.0.1:1", &[], "");
        check("[::1]:1", &said, "for=1.1.1.1 proto=https");
        check("[::ffff:127.0.0.1]:1", &said, "for=1.1.1.1 proto=https");
        check("192.0.2.9:1", &said, "for=1.1.1.1, 192.0.2.9 proto=https");
        check("[2001:db8::9]:1", &[], "for=2001:db8::9");
    }
}

//! A web page in the operator's browser must not read a collector on loopback: such a page comes
//! under its own name, made to point to 127.0.0.1 (DNS rebinding), so the name tells it apart.

use super::error;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;

/// Lets pass what was asked of a loopback name.
pub(super) async fn must_be_loopback(request: Request, next: Next) -> Response {
    let named = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    if named.is_some_and(is_loopback) {
        next.run(request).await
    } else {
        let message = "this collector listens on loopback: ask for localhost or 127.0.0.1";
        error(StatusCode::FORBIDDEN, message)
    }
}

/// Whether `host`, with or without a port, is a name of this machine for itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: names that a request may be for.
    /// Guarantees: the machine's own names pass, all others, however alike, do not.
    #[test]
    fn only_loopback_names_pass() {
        let check = |host: &str, passes: bool| assert_eq!(is_loopback(host), passes, "{host}");
        check("localhost", true);
        check("LOCALHOST:4320", true);
        check("127.0.0.1", true);
        check("127.0.0.1:4320", true);
        check("127.9.9.9:1", true);
        check("[::1]", true);
        check("[::1]:4320", true);
        check("", false);
        check("localhost.evil.example", false);
        check("127.0.0.1.evil.example:4320", false);
        check("evil.example", false);
        check("192.0.2.1:4320", false);
        check("[2001:db8::1]:4320", false);
        check("user@localhost", false);
    }
}

//! What belongs to one hop: `Connection`, upgrades, and messages behind each other.

use crate::wire::case::Verdict::{Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, MAIN, NEXT, get, post};

/// `Connection` names headers that go no further; those that frame or route stay (RFC 9110, 7.6.1).
pub(crate) fn connection() -> Vec<Case> {
    const CLASS: &str = "Connection";
    let mut cases = Vec::new();
    for (name, lines, lost) in [
        ("one", "connection: x-a\r\nx-a: 1\r\n", &["x-a"][..]),
        ("two", "connection: x-a, x-b\r\nx-a: 1\r\nx-b: 2\r\n", &["x-a", "x-b"]),
        (
            "in two lines",
            "connection: x-a\r\nx-a: 1\r\nconnection: x-b\r\nx-b: 2\r\n",
            &["x-a", "x-b"],
        ),
        ("in upper case", "Connection: X-A\r\nx-a: 1\r\n", &["x-a"]),
        ("with empty elements", "connection: ,, x-a ,\r\nx-a: 1\r\n", &["x-a"]),
        ("given twice", "x-a: 1\r\nconnection: keep-alive, x-a\r\nx-a: 2\r\n", &["x-a"]),
        ("with a tab", "connection:\tx-a\t,\tx-b\r\nx-a: 1\r\nx-b: 1\r\n", &["x-a", "x-b"]),
        ("without spaces", "connection: x-a,x-b\r\nx-a: 1\r\nx-b: 1\r\n", &["x-a", "x-b"]),
        ("keep-alive", "connection: keep-alive\r\nkeep-alive: timeout=5\r\n", &["keep-alive"]),
        ("keep-alive unnamed", "keep-alive: timeout=5\r\n", &["keep-alive"]),
        ("proxy-connection", "proxy-connection: keep-alive\r\n", &["proxy-connection"]),
        ("te", "connection: te\r\nte: gzip\r\n", &["te"]),
        ("te unnamed", "te: gzip, deflate;q=0.5\r\n", &["te"]),
        (
            "http2-settings",
            "connection: http2-settings\r\nhttp2-settings: AAM\r\n",
            &["http2-settings"],
        ),
        ("http2-settings unnamed", "http2-settings: AAM\r\n", &["http2-settings"]),
        ("a name that is none", "connection: x-a, a b, x:y\r\nx-a: 1\r\n", &["x-a"]),
        ("itself", "connection: connection\r\n", &[]),
    ] {
        let bytes = get(&format!("{lines}x-end: 1\r\n")) + NEXT;
        let case = Case::new(CLASS, name, Harmless, bytes).lost(lost).kept(&["x-end"]);
        cases.push(case);
    }
    for named in ["content-length", "Content-Length", "close, content-length", "content-length,,"] {
        let lines = format!("connection: {named}\r\ncontent-length: {}\r\n", EVIL.len());
        let bytes = post(&lines) + EVIL;
        cases.push(Case::new(CLASS, format!("names {named}"), Harmless, bytes).body(EVIL));
    }
    for named in ["transfer-encoding", "Transfer-Encoding, close", "te, transfer-encoding"] {
        let lines = format!("connection: {named}\r\ntransfer-encoding: chunked\r\n");
        let chunks = format!("{:x}\r\n{EVIL}\r\n0\r\n\r\n", EVIL.len());
        let bytes = post(&lines) + &chunks;
        cases.push(Case::new(CLASS, format!("names {named}"), Harmless, bytes).body(EVIL));
    }
    for named in ["host", "Host, close", "keep-alive, host"] {
        let bytes = get(&format!("connection: {named}\r\n")) + NEXT;
        cases.push(Case::new(CLASS, format!("names {named}"), Harmless, bytes).kept(&["host"]));
    }
    let trailers = get("te: trailers\r\nconnection: te\r\n") + NEXT;
    cases.push(Case::new(CLASS, "te: trailers", Served, trailers));
    cases
}

/// Upgrades, and bytes that do not wait for the answer: never a request.
pub(crate) fn upgrade() -> Vec<Case> {
    const CLASS: &str = "upgrade";
    let mut cases = Vec::new();
    let socket = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                  sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (name, lines) in [
        ("websocket", socket.to_owned()),
        ("websocket in upper case", socket.replace("websocket\r", "WebSocket\r")),
        ("websocket without key", "connection: upgrade\r\nupgrade: websocket\r\n".into()),
        ("websocket of a wrong version", socket.replace("13", "7777")),
        ("websocket and h2c", socket.replace("websocket\r", "websocket, h2c\r")),
        ("h2c and websocket", "connection: upgrade\r\nupgrade: h2c, websocket\r\n".into()),
        ("websocket twice", socket.to_owned() + "upgrade: websocket\r\n"),
        ("two protocols", "connection: upgrade\r\nupgrade: a\r\nupgrade: b\r\n".into()),
        ("TLS", "connection: upgrade\r\nupgrade: TLS/1.0\r\n".into()),
        ("HTTP/2.0", "connection: upgrade\r\nupgrade: HTTP/2.0\r\n".into()),
        ("a protocol of its own", "connection: upgrade\r\nupgrade: x-own\r\n".into()),
        ("no Connection", "upgrade: websocket\r\n".into()),
        (
            "keep-alive beside it",
            "connection: keep-alive, upgrade\r\nupgrade: websocket\r\n".into(),
        ),
        ("an empty one", "connection: upgrade\r\nupgrade: ,websocket\r\n".into()),
    ] {
        let bytes = get(&lines) + EVIL;
        cases.push(Case::new(CLASS, format!("{name}, a request behind"), Harmless, bytes));
        let body = format!("{lines}content-length: {}\r\n", EVIL.len());
        let bytes = post(&body) + EVIL;
        cases.push(Case::new(CLASS, format!("{name}, in its body"), Harmless, bytes).body(EVIL));
    }
    // The origin does not upgrade: nothing behind may reach it, whatever it looks like.
    for (name, behind) in [
        ("a clean request", EVIL.replace("x\r\n", "x\r\nconnection: close\r\n")),
        ("a frame and a request", format!("\u{1}\u{5}abcde{EVIL}")),
        ("a preface and a request", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{EVIL}")),
        ("an empty line and a request", format!("\r\n{EVIL}")),
        ("a chunk and a request", format!("0\r\n\r\n{EVIL}")),
    ] {
        let bytes = get(socket) + &behind;
        let case = Case::new(CLASS, format!("websocket, {name} behind"), Harmless, bytes);
        cases.push(case.body("").kept(&["upgrade"]));
    }
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAM\r\n";
    let lost = ["upgrade", "http2-settings"];
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (name, behind) in [
        ("nothing behind", String::new()),
        ("a request behind", NEXT.to_owned()),
        ("a preface behind", preface.to_owned()),
        ("a preface and a request behind", format!("{preface}{EVIL}")),
    ] {
        let case = Case::new(CLASS, format!("h2c, {name}"), Harmless, get(h2c) + &behind);
        cases.push(case.lost(&lost));
    }
    for target in ["x:80", "/0000/main", "x", "http://x/0000/main", "[::1]:80", "x:80/0000/main"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nhost: x:80\r\n\r\n{EVIL}");
        cases.push(Case::new(CLASS, format!("CONNECT {target}"), Refused, bytes));
    }
    let bytes =
        format!("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\ncontent-length: 5\r\n\r\nabcde{EVIL}");
    cases.push(Case::new(CLASS, "CONNECT with a length", Refused, bytes));
    let old = format!("GET {MAIN} HTTP/1.0\r\nhost: x\r\n{socket}\r\n{EVIL}");
    cases.push(Case::new(CLASS, "websocket in HTTP/1.0", Harmless, old));
    cases
}

/// Messages behind each other, in one write.
pub(crate) fn pipeline() -> Vec<Case> {
    const CLASS: &str = "pipeline";
    let mut cases = Vec::new();
    let expect = "expect: 100-continue\r\ncontent-length: 5\r\n";
    for (name, bytes, body) in [
        ("GET", get(""), ""),
        ("HEAD", get("").replace("GET", "HEAD"), ""),
        ("DELETE", get("").replace("GET", "DELETE"), ""),
        ("POST", post("content-length: 5\r\n") + "abcde", "abcde"),
        ("POST of nothing", post("content-length: 0\r\n"), ""),
        (
            "PUT in chunks",
            post("transfer-encoding: chunked\r\n").replace("POST", "PUT") + "1\r\na\r\n0\r\n\r\n",
            "a",
        ),
        (
            "a body that is a request",
            post(&format!("content-length: {}\r\n", EVIL.len())) + EVIL,
            EVIL,
        ),
        ("an empty line before it", format!("\r\n{}", get("")), ""),
        ("GET with a body", get("content-length: 5\r\n") + "abcde", "abcde"),
        ("OPTIONS", get("").replace("GET", "OPTIONS"), ""),
        ("a header of 8 KiB", get(&format!("a: {}\r\n", "b".repeat(8 << 10))), ""),
        ("64 headers", get(&"a: b\r\n".repeat(64)), ""),
    ] {
        cases.push(Case::new(CLASS, name, Served, bytes + NEXT).body(body));
    }
    let waits = post(expect) + "abcde" + NEXT;
    cases.push(Case::new(CLASS, "an expectation and its body", Harmless, waits).body("abcde"));
    for (name, bytes) in [
        ("close", get("connection: close\r\n")),
        ("close among others", get("connection: x, close\r\n")),
        ("Close", get("connection: Close\r\n")),
        ("close, then keep-alive", get("connection: close\r\nconnection: keep-alive\r\n")),
        ("keep-alive, then close", get("connection: keep-alive, close\r\n")),
        ("HTTP/1.0", format!("GET {MAIN} HTTP/1.0\r\nhost: x\r\n\r\n")),
    ] {
        cases.push(Case::new(
            CLASS,
            format!("{name}, and a request behind"),
            Harmless,
            bytes + EVIL,
        ));
    }
    for (name, bytes) in [
        ("junk", get("") + "junk\r\n\r\n"),
        ("a TLS hello", get("") + "\x16\x03\x01\x02\r\n\r\n"),
        ("a preface", get("") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("NUL", get("") + "\0\0\0\r\n\r\n"),
        ("the tail of a body", get("content-length: 2\r\n") + "abcde\r\n\r\n"),
        ("a request without Host", get("") + "GET /0000/evil HTTP/1.1\r\n\r\n"),
        ("a response", get("") + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        cases.push(Case::new(CLASS, format!("{name} behind it"), Harmless, bytes + EVIL));
    }
    for (name, bytes) in [
        ("two empty lines before it", format!("\r\n\r\n{}", get(""))),
        ("a line feed before it", format!("\n{}", get(""))),
    ] {
        cases.push(Case::new(CLASS, name, Harmless, bytes + NEXT).body(""));
    }
    cases.push(Case::new(CLASS, "a space before it", Harmless, format!(" {}", get(""))));
    let big = get(&format!("a: {}\r\n", "b".repeat(1 << 20)));
    cases.push(Case::new(CLASS, "a header of 1 MiB", Refused, big + EVIL));
    let many = get(&"a: b\r\n".repeat(5_000));
    cases.push(Case::new(CLASS, "5,000 headers", Refused, many + EVIL));
    cases
}

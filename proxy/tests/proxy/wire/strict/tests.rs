//! What the strict reader takes, and what it finds.

use super::*;

fn read(bytes: &str) -> Parsed {
    parse(bytes.as_bytes())
}

/// Scenario: requests of each kind of body, whole, one byte short, and with another behind.
/// Guarantees: each is read to its own end and no further.
#[test]
fn whole_requests() {
    let check = |request: &str, body: &str| {
        let behind = format!("{request}GET / HTTP/1.1\r\n");
        let Parsed::Whole(message, len) = read(&behind) else {
            panic!("{request:?}: {:?}", read(&behind));
        };
        assert_eq!((message.body, len), (body.as_bytes().to_vec(), request.len()));
        for len in 0..request.len() {
            assert_eq!(read(&request[..len]), Parsed::Incomplete, "{len} of {request:?}");
        }
    };
    check("GET /a?{b}|\" HTTP/1.1\r\nHost: x\r\n\r\n", "");
    check("OPTIONS * HTTP/1.1\r\nhost: [::1]:80\r\nte: trailers\r\n\r\n", "");
    check("GET / HTTP/1.0\r\nhost: x:1\r\nconnection: Close\r\n\r\n", "");
    check("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", "abc");
    check("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "");
    let websocket = "connection: upgrade\r\nupgrade: WebSocket\r\n\r\n";
    check(&format!("GET / HTTP/1.1\r\nhost: x\r\n{websocket}"), "");
    let chunks = "3\r\na\r\n\r\nA\r\n0123456789\r\n0\r\nx-end: y\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    check(&format!("{chunked}{chunks}"), "a\r\n0123456789");
}

fn is_violation(request: &str) -> bool {
    matches!(read(request), Parsed::Violation(_))
}

/// Scenario: one fault of each class in the head of an otherwise whole request.
/// Guarantees: each is found, so that a proxy that lets it through is found out.
#[test]
fn faults_of_heads_are_found() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /",
        "GET http://x/ HTTP/1.1",
        "GET * HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "",
        " GET / HTTP/1.1",
    ] {
        assert!(is_violation(&format!("{line}\r\nhost: x\r\n\r\n")), "{line:?}");
    }
    for head in [
        "",
        "host: x\r\nhost: x\r\n",
        "host:\r\n",
        "host: x y\r\n",
        "host: u@x\r\n",
        "host: x:70000\r\n",
        "host: x:80x\r\n",
        "host: :80\r\n",
        "host: [x]\r\n",
        "host: x/\r\n",
        "host: [::1]x\r\n",
        "host: x\r\n folded\r\n",
        "host: x\r\na : b\r\n",
        "host: x\r\nab\r\n",
        "host: x\r\na: b\0\r\n",
        "host: x\r\na: b\rc\r\n",
        "host: x\r\na: b\nc: d\r\n",
        "host: x\r\n: b\r\n",
        "host: x\r\na\0: b\r\n",
        "host: x\nx: y\r\n",
        "host: x\r\ncontent-length: 1\r\ncontent-length: 1\r\n",
        "host: x\r\ncontent-length: 1, 1\r\n",
        "host: x\r\ncontent-length: +1\r\n",
        "host: x\r\ncontent-length: 01\r\n",
        "host: x\r\ncontent-length: 1 1\r\n",
        "host: x\r\ncontent-length:\r\n",
        "host: x\r\ncontent-length: 99999999999999999999\r\n",
        "host: x\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n",
        "host: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: x\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: x\r\ntransfer-encoding: x\r\n",
        "host: x\r\nkeep-alive: 5\r\n",
        "host: x\r\nproxy-connection: close\r\n",
        "host: x\r\nhttp2-settings: AAM\r\n",
        "host: x\r\nupgrade: h2c\r\n",
        "host: x\r\nupgrade: websocket\r\n",
        "host: x\r\nconnection: upgrade\r\n",
        "host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
        "host: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n",
        "host: x\r\nconnection: upgrade\r\nupgrade: websocket, h2c\r\n",
        "host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nupgrade: websocket\r\n",
        "host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n",
        "host: x\r\nte: gzip\r\n",
        "host: x\r\nconnection: content-length\r\n",
    ] {
        assert!(is_violation(&format!("GET / HTTP/1.1\r\n{head}\r\n")), "{head:?}");
    }
}

/// Scenario: one fault of each class in the body of an otherwise whole request.
/// Guarantees: each is found, so that a proxy that lets it through is found out.
#[test]
fn faults_of_bodies_are_found() {
    for chunks in [
        "0x1\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "\r\n\r\n",
        "01\r\na\r\n0\r\n\r\n",
        "1;x\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "1\r\nabc\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "fffffffff\r\n",
        "g\r\n",
        "0\r\ncontent-length: 1\r\n\r\n",
        "0\r\nhost: x\r\n\r\n",
        "0\r\n x\r\n\r\n",
        "0\r\nauthorization: x\r\n\r\n",
        "0\r\nx\r\n\r\n",
    ] {
        let head = "GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(is_violation(&format!("{head}{chunks}")), "{chunks:?}");
    }
    let websocket = "host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert!(is_violation(&format!("POST / HTTP/1.1\r\n{websocket}")));
    assert!(is_violation(&format!("GET / HTTP/1.0\r\n{websocket}")));
    let old = "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(is_violation(old));
}

//! Whom a request is for.

use crate::wire::case::Verdict::{Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, NEXT};

/// What names no host.
const NO_HOSTS: &[&[u8]] = &[
    b"",
    b" ",
    b"x y",
    b"x,y",
    b"x, y",
    b"u@x",
    b"u:p@x",
    b"x/",
    b"x/y",
    b"/x",
    b"x?y",
    b"x#y",
    b"x\\y",
    b"http://x",
    b"x:y",
    b"x:80x",
    b"x:-1",
    b"x:65536",
    b"x:999999999999",
    b"x:80:80",
    b":80",
    b"::1",
    b"[::1",
    b"::1]",
    b"[x]",
    b"[]",
    b"[::1]x",
    b"[::1]:x",
    b"x\0",
    b"x\x01y",
    b"x\ty",
    b"\xe9",
    b"<x>",
    b"x\"y",
];

/// `Host`: missing, more than one, none (RFC 9112, 3.2).
pub(crate) fn host() -> Vec<Case> {
    const CLASS: &str = "Host";
    let mut cases = Vec::new();
    let mut add = |name: &str, verdict, lines: &[u8]| {
        let follows = if verdict == Refused { EVIL } else { NEXT };
        let line = b"GET /0000/main HTTP/1.1\r\n";
        let bytes = [line, lines, b"\r\n", follows.as_bytes()].concat();
        cases.push(Case::new(CLASS, name, verdict, bytes));
    };
    for value in [
        "x",
        "x:80",
        "x.example:8080",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:80",
        "X",
        "x_y.example",
    ] {
        add(value, Served, format!("Host: {value}\r\n").as_bytes());
    }
    add("a colon without port", Harmless, b"Host: x:\r\n");
    add("spaces around", Harmless, b"Host: \t x \t \r\n");
    for (name, lines) in [
        ("none", &b""[..]),
        ("twice the same", b"Host: x\r\nHost: x\r\n"),
        ("two", b"Host: x\r\nHost: y\r\n"),
        ("two, not side by side", b"Host: x\r\na: b\r\nhost: y\r\n"),
        ("three", b"Host: x\r\nHost: y\r\nHost: z\r\n"),
        ("one of two empty", b"Host: x\r\nHost:\r\n"),
        ("one of two empty, first", b"Host:\r\nHost: x\r\n"),
        ("a space before the colon", b"Host : x\r\n"),
        ("folded", b"Host:\r\n x\r\n"),
        ("a second one folded away", b"Host: x\r\n Host: y\r\n"),
        ("by another name", b"X-Host: x\r\n"),
    ] {
        add(name, Refused, lines);
    }
    for &value in NO_HOSTS {
        let name = format!("value {:?}", value.escape_ascii().to_string());
        let verdict = if value == b"x,y" { Harmless } else { Refused };
        add(&name, verdict, &[b"Host: ", value, b"\r\n"].concat());
    }
    cases
}

/// A target in absolute form says whom it is for, too; other forms are for other methods.
pub(crate) fn absolute_form() -> Vec<Case> {
    const CLASS: &str = "target forms";
    let mut cases = Vec::new();
    let mut add = |name: &str, verdict, line: &str, host: &str| {
        let follows = if verdict == Refused { EVIL } else { NEXT };
        let bytes = format!("{line} HTTP/1.1\r\n{host}\r\n{follows}");
        cases.push(Case::new(CLASS, name, verdict, bytes));
    };
    let host = "Host: x\r\n";
    add("same host", Harmless, "GET http://x/0000/main", host);
    add("another host", Harmless, "GET http://y/0000/main", host);
    add("another port", Harmless, "GET http://x:81/0000/main", host);
    add("upper case scheme", Harmless, "GET HTTP://x/0000/main", host);
    add("an address", Harmless, "GET http://[::1]:80/0000/main", host);
    add("another path in the host", Refused, "GET http://x/0000/main", "Host: x/0000/evil\r\n");
    add("no Host", Refused, "GET http://x/0000/main", "");
    add("empty Host", Refused, "GET http://x/0000/main", "Host:\r\n");
    add("two Hosts", Refused, "GET http://x/0000/main", "Host: x\r\nHost: x\r\n");
    for target in [
        "http://u@x/0000/main",
        "http://u:p@x/0000/main",
        "http:///0000/main",
        "http:/0000/main",
        "http://x:99999/0000/main",
        "http://x:y/0000/main",
        "http://[::1/0000/main",
        "http://x\\y/0000/main",
        "ftp://x/0000/main",
        "file:///0000/main",
        "x:80",
        "x/0000/main",
        "0000/main",
        "?/0000/main",
        "http://x y/0000/main",
        "://x/0000/main",
        "javascript:/0000/main",
        "*/0000/main",
        "http://@/0000/main",
        "http://:80/0000/main",
    ] {
        add(&format!("GET {target}"), Refused, &format!("GET {target}"), host);
    }
    add("POST *", Refused, "POST *", host);
    add("GET *", Refused, "GET *", host);
    add("CONNECT in origin form", Refused, "CONNECT /0000/main", host);
    add("CONNECT", Refused, "CONNECT x:80", host);
    add("CONNECT in absolute form", Refused, "CONNECT http://x/0000/main", host);
    cases
}

//! Chunked bodies (RFC 9112, 7.1): sizes, extensions, trailers.

use crate::wire::case::Verdict::{Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, NEXT, post};

fn chunked(headers: &str, chunks: &str, follows: &str) -> String {
    post(&format!("transfer-encoding: chunked\r\n{headers}")) + chunks + follows
}

/// What is no size of ten.
const NO_SIZES: &[&str] = &[
    "0xa",
    "0Xa",
    "xa",
    "+a",
    "-a",
    "-1",
    "+0",
    "-0",
    " a",
    "\ta",
    "a ",
    "a\t",
    "a b",
    "a\x0b",
    "\x0ba",
    "a\0",
    "\0a",
    "g",
    "a,",
    "a.0",
    "a_0",
    "\"a\"",
    "'a'",
    "ah",
    "10d0",
    "",
    " ",
    "\u{ff41}",
    "8000000000000000",
    "ffffffffffffffff",
    "10000000000000000",
    "1000000000000000a",
    "fffffffffffffffff",
    "7fffffffffffffff",
    "10000000a",
];

/// `chunk-size = 1*HEXDIG`, and a chunk as long as it says.
pub(crate) fn size() -> Vec<Case> {
    const CLASS: &str = "chunk size";
    let mut cases = Vec::new();
    for size in ["a", "A", "0a", "000a", "0000000000000000000000a"] {
        let bytes = chunked("", &format!("{size}\r\n0123456789\r\n0\r\n\r\n"), NEXT);
        let verdict = if size.len() == 1 { Served } else { Harmless };
        cases.push(Case::new(CLASS, format!("{size:?} is ten"), verdict, bytes).body("0123456789"));
    }
    let many = "1\r\na\r\n".repeat(500) + "0\r\n\r\n";
    cases.push(
        Case::new(CLASS, "500 chunks", Served, chunked("", &many, NEXT)).body("a".repeat(500)),
    );
    let zeros = chunked("", "3\r\nabc\r\n000\r\n\r\n", NEXT);
    cases.push(Case::new(CLASS, "zeros for the end", Harmless, zeros).body("abc"));
    for size in NO_SIZES {
        let is_blank = matches!(*size, "a " | "a\t");
        let follows = if is_blank { NEXT } else { EVIL };
        let chunks = format!("{size}\r\n0123456789\r\n0\r\n\r\n");
        // "10d0" is a size, of a chunk that does not end; blanks behind a size are bad white space.
        let verdict = if is_blank { Harmless } else { Refused };
        let bytes = chunked("", &chunks, follows);
        let case = Case::new(CLASS, format!("{size:?}"), verdict, bytes);
        cases.push(case.body("0123456789"));
    }
    for (name, chunks) in [
        ("longer than it says", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("shorter than it says", "5\r\nabc\r\n0\r\n\r\n"),
        ("no line end behind it", "3\r\nabc0\r\n\r\n"),
        ("junk for the line end", "3\r\nabcX\r\n0\r\n\r\n"),
        ("two for the line end", "3\r\nabcXX0\r\n\r\n"),
        ("an empty line before it", "\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("two line ends behind it", "3\r\nabc\r\n\r\n0\r\n\r\n"),
        ("no last chunk", "3\r\nabc\r\n\r\n"),
        ("a size below zero for the end", "3\r\nabc\r\n-0\r\n\r\n"),
    ] {
        cases.push(Case::new(CLASS, name, Refused, chunked("", chunks, EVIL)));
    }
    cases
}

/// `chunk-ext`: a proxy drops them, however long or odd.
pub(crate) fn extension() -> Vec<Case> {
    const CLASS: &str = "chunk extension";
    let mut cases = Vec::new();
    for ext in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=b;c=d",
        ";a=\"b;c\"",
        "; a=b",
        ";a =b",
        ";a= b",
        " ;a",
        ";",
        ";;",
        ";=b",
        ";a=",
        ";a=\"b",
        ";a=\"b\\\"c\"",
        ";a=b c",
        ";a=\u{e9}",
        ";a=\"\t\"",
        ";a@b",
        ";a=b,c",
    ] {
        let chunks = format!("3{ext}\r\nabc\r\n0{ext}\r\n\r\n");
        let bytes = chunked("", &chunks, NEXT);
        cases.push(Case::new(CLASS, format!("{ext:?}"), Harmless, bytes).body("abc"));
    }
    for (name, ext) in [
        ("CR in it", ";a\rb"),
        ("LF in it", ";a\nb"),
        ("LF and a size in it", ";\n5"),
        ("CR and a size in it", ";\r5"),
        ("LF in quotes", ";a=\"\n\""),
        ("CR in quotes", ";a=\"\r\""),
        ("NUL in it", ";a\0b"),
        ("comma for semicolon", ",a=b"),
        ("a word without semicolon", " a=b"),
        ("a colon for semicolon", ":a"),
    ] {
        let chunks = format!("3{ext}\r\nabc\r\n0\r\n\r\n");
        let verdict = if name == "NUL in it" { Harmless } else { Refused };
        let follows = if verdict == Refused { EVIL } else { NEXT };
        let bytes = chunked("", &chunks, follows);
        cases.push(Case::new(CLASS, name, verdict, bytes).body("abc"));
    }
    let line_end = chunked(
        "",
        "3;a=\"
abc
0

",
        NEXT,
    );
    cases.push(Case::new(CLASS, "a line end in quotes", Harmless, line_end).body("abc"));
    for (name, ext) in [("of 1 KiB", "a".repeat(1 << 10)), ("of 1 MiB", "a".repeat(1 << 20))] {
        let chunks = format!("3;{ext}\r\nabc\r\n0\r\n\r\n");
        cases.push(Case::new(CLASS, name, Harmless, chunked("", &chunks, NEXT)).body("abc"));
    }
    let drip = "1;aaaaaaaaaaaaaaaa\r\na\r\n".repeat(2_000) + "0\r\n\r\n";
    let bytes = chunked("", &drip, NEXT);
    cases.push(Case::new(CLASS, "of each of 2,000", Harmless, bytes).body("a".repeat(2_000)));
    cases
}

/// Trailers: those that frame, route or authenticate never arrive (RFC 9110, 6.5.1).
pub(crate) fn trailer() -> Vec<Case> {
    const CLASS: &str = "trailer";
    let mut cases = Vec::new();
    for field in [
        "content-length: 5",
        "transfer-encoding: chunked",
        "host: y",
        "connection: close",
        "trailer: x",
        "te: trailers",
        "upgrade: websocket",
        "authorization: Basic eDp5",
        "cookie: a=b",
        "content-type: a/b",
        "content-encoding: gzip",
        "content-range: bytes 0-1/2",
        "expect: 100-continue",
        "cache-control: no-store",
        "range: bytes=0-1",
        "keep-alive: 5",
        "proxy-connection: close",
        "max-forwards: 1",
        "traceparent: x",
        "Content-Length: 5",
        "proxy-authorization: x",
        "set-cookie: a=b",
        "tracestate: a=b",
        "b3: 0",
        "X-B3-TraceId: 0",
        "forwarded: for=1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
        "x-forwarded-client-cert: x",
        "x-envoy-attempt-count: 1",
        "x-fusebox-refused: open",
        "idempotency-key: 1",
    ] {
        let name = field.split(':').next().expect("a name");
        for headers in [String::new(), format!("trailer: {name}\r\nte: trailers\r\n")] {
            let chunks = format!("3\r\nabc\r\n0\r\n{field}\r\n\r\n");
            let is_announced = if headers.is_empty() { "" } else { ", announced" };
            let bytes = chunked(&headers, &chunks, NEXT);
            let name = format!("{field}{is_announced}");
            cases.push(Case::new(CLASS, name, Harmless, bytes).body("abc"));
        }
    }
    let good = "3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    cases.push(Case::new(CLASS, "one unannounced", Served, chunked("", good, NEXT)).body("abc"));
    let bytes = chunked("trailer: x-sum\r\n", good, NEXT);
    cases.push(Case::new(CLASS, "one announced", Served, bytes).body("abc").kept(&["x-sum"]));
    for (name, trailers) in [
        ("a request line", "GET /0000/evil HTTP/1.1\r\nhost: x\r\n"),
        ("a space before the colon", "a : b\r\n"),
        ("a folded line", "a: b\r\n c\r\n"),
        ("a line without colon", "abc\r\n"),
        ("no name", ": b\r\n"),
        ("a NUL", "a: b\0c\r\n"),
        ("a first line that folds", " a: b\r\n"),
    ] {
        let bytes = chunked("", &format!("3\r\nabc\r\n0\r\n{trailers}\r\n"), NEXT);
        cases.push(Case::new(CLASS, name, Harmless, bytes).body("abc"));
    }
    let many = "a: b\r\n".repeat(5_000);
    let bytes = chunked("", &format!("3\r\nabc\r\n0\r\n{many}\r\n"), NEXT);
    cases.push(Case::new(CLASS, "5,000 of them", Harmless, bytes).body("abc"));
    cases
}

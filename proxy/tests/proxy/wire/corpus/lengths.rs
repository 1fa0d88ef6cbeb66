//! Where a message ends: both kinds of length, odd codings, odd numbers.

use crate::wire::case::Verdict::{Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, NEXT, get, post};

/// Spellings of a `Transfer-Encoding` header that are `chunked` to RFC 9112, if allowed at all.
const CHUNKED: [&str; 7] = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding: \t chunked",
    "Transfer-Encoding: chunked \t",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
];

/// Spellings that some servers take for `chunked` and others do not.
const DOUBTFUL: [&str; 28] = [
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked ;a=b",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: chunkedd",
    "Transfer-Encoding: chun ked",
    "Transfer-Encoding: chunked-x",
    "Transfer-Encoding: chunked gzip",
    "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: \0chunked",
    "Transfer-Encoding: chunked\x01",
    "Transfer-Encoding: chunked\x7f",
    "Transfer-Encoding: chun\u{212a}ed",
    "Transfer-Encoding:",
    "Transfer-Encoding: ,",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding\x0b: chunked",
];

/// Two payloads, each with its length: behind the chunks, or in them, hides a request.
fn payloads() -> [(&'static str, String, usize, &'static str); 2] {
    let behind = format!("0\r\n\r\n{EVIL}");
    let first_line = format!("{:x}\r\n", EVIL.len());
    let within = format!("{first_line}{EVIL}\r\n0\r\n\r\n");
    [("behind", behind.clone(), behind.len(), ""), ("within", within, first_line.len(), EVIL)]
}

/// A `Content-Length` and a `Transfer-Encoding` (RFC 9112, 6.3: the latter counts, the connection
/// closes; better refused).
pub(crate) fn both() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |coding: &str, verdict| {
        for (place, payload, len, body) in payloads() {
            let length = format!("Content-Length: {len}");
            for (order, lines) in [
                ("length first", format!("{length}\r\n{coding}\r\n")),
                ("length last", format!("{coding}\r\n{length}\r\n")),
            ] {
                let bytes = format!("{}{payload}", post(&lines));
                let name = format!("{order}, {}, hidden {place}", coding.escape_debug());
                cases.push(Case::new("CL and TE", name, verdict, bytes).body(body));
            }
        }
    };
    for coding in CHUNKED {
        add(coding, Refused);
    }
    for coding in DOUBTFUL {
        add(coding, Refused);
    }
    let (_, payload, len, _) = payloads().into_iter().next().expect("two");
    for (name, other) in [
        ("underscore", "Transfer_Encoding: chunked"),
        ("prefix", "X-Transfer-Encoding: chunked"),
        ("no hyphen", "TransferEncoding: chunked"),
    ] {
        // Another header altogether: the length counts.
        let bytes = format!("{}{payload}", post(&format!("Content-Length: {len}\r\n{other}\r\n")));
        cases.push(Case::new("CL and TE", name, Harmless, bytes).body(payload.clone()));
    }
    cases
}

/// `Transfer-Encoding` alone, twice, or with an older version.
pub(crate) fn transfer_encoding() -> Vec<Case> {
    const CLASS: &str = "Transfer-Encoding";
    let mut cases = Vec::new();
    for coding in CHUNKED {
        let bytes = format!("{}3\r\nabc\r\n0\r\n\r\n", post(&format!("{coding}\r\n")));
        let verdict = if coding.contains(',') { Harmless } else { Served };
        let bytes = format!("{bytes}{NEXT}");
        cases.push(Case::new(CLASS, coding.escape_debug().to_string(), verdict, bytes).body("abc"));
    }
    for coding in DOUBTFUL {
        let bytes = format!("{}0\r\n\r\n{EVIL}", post(&format!("{coding}\r\n")));
        cases.push(Case::new(CLASS, coding.escape_debug().to_string(), Refused, bytes));
    }
    for (first, second, verdict) in [
        ("chunked", "chunked", Refused),
        ("chunked", "identity", Refused),
        ("chunked", "gzip", Refused),
        ("chunked", "cow", Refused),
        ("gzip", "chunked", Harmless),
        ("x", "chunked", Harmless),
        ("identity", "chunked", Harmless),
        ("", "chunked", Harmless),
    ] {
        let lines = format!("Transfer-Encoding: {first}\r\nTransfer-Encoding: {second}\r\n");
        let follows = if verdict == Refused { EVIL } else { NEXT };
        let bytes = format!("{}0\r\n\r\n{follows}", post(&lines));
        cases.push(Case::new(CLASS, format!("{first:?} and {second:?}"), verdict, bytes).body(""));
    }
    for connection in ["", "Connection: keep-alive\r\n", "Content-Length: 5\r\n"] {
        let bytes = format!(
            "POST /0000/main HTTP/1.0\r\nhost: x\r\n{connection}Transfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n{EVIL}"
        );
        cases.push(Case::new(CLASS, format!("HTTP/1.0 {connection:?}"), Refused, bytes));
    }
    let bytes = format!("{}0\r\n\r\n{NEXT}", get("Transfer-Encoding: chunked\r\n"));
    cases.push(Case::new(CLASS, "GET with chunks", Harmless, bytes).body(""));
    cases
}

/// What is no length.
const NO_LENGTHS: &[&[u8]] = &[
    b"+5",
    b"-5",
    b"-0",
    b"0x5",
    b"5;",
    b"5.0",
    b"5e0",
    b"\"5\"",
    b"5 5",
    b"5,",
    b",5",
    b"5, 6",
    b"6, 5",
    b"",
    b" ",
    b"five",
    b"18446744073709551621",
    b"9223372036854775808",
    b"340282366920938463463374607431768211461",
    b"5\0",
    b"\x0b5",
    b"5\x0c",
    b"\xb25",
    b"\xd9\xa5",
    b"5\x7f",
    b"0b101",
    b"5_0",
];

/// `Content-Length` values that are no number to the letter.
pub(crate) fn content_length() -> Vec<Case> {
    const CLASS: &str = "Content-Length";
    let mut cases = Vec::new();
    for &value in NO_LENGTHS {
        let name = value.escape_ascii().to_string();
        let line = [b"Content-Length: ", value, b"\r\n"].concat();
        for (place, lines) in [
            ("alone", line.clone()),
            ("behind a plain one", [b"Content-Length: 5\r\n", &line[..]].concat()),
            ("before a plain one", [&line[..], b"Content-Length: 5\r\n"].concat()),
        ] {
            let head = post("").into_bytes();
            let head = &head[..head.len() - 2];
            let bytes = [head, &lines, b"\r\nabcde", EVIL.as_bytes()].concat();
            cases.push(Case::new(CLASS, format!("{name}, {place}"), Refused, bytes));
        }
    }
    for (name, lines, body) in [
        ("leading zero", "Content-Length: 05\r\n", "abcde"),
        ("many leading zeros", "Content-Length: 00000000000000000000005\r\n", "abcde"),
        ("octal to some", "Content-Length: 010\r\n", "abcdefghij"),
        ("list of the same", "Content-Length: 5, 5\r\n", "abcde"),
        ("twice the same", "Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"),
        ("twice, in other digits", "Content-Length: 5\r\nContent-Length: 05\r\n", "abcde"),
        ("zeros", "Content-Length: 000\r\n", ""),
        ("a space behind", "Content-Length: 5 \r\n", "abcde"),
        ("a tab before", "Content-Length:\t5\r\n", "abcde"),
        ("another header with underscore", "Content_Length: 5\r\nContent-Length: 3\r\n", "abc"),
    ] {
        let bytes = format!("{}{body}{NEXT}", post(lines));
        cases.push(Case::new(CLASS, name, Harmless, bytes).body(body));
    }
    for (name, lines) in [
        ("different", "Content-Length: 5\r\nContent-Length: 0\r\n"),
        ("different, the other way", "Content-Length: 0\r\nContent-Length: 5\r\n"),
    ] {
        let bytes = format!("{}abcde{EVIL}", post(lines));
        cases.push(Case::new(CLASS, name, Refused, bytes));
    }
    for (name, bytes, body) in [
        ("POST", post("Content-Length: 5\r\n") + "abcde" + NEXT, "abcde"),
        ("GET with a body", get("Content-Length: 5\r\n") + "abcde" + NEXT, "abcde"),
        (
            "GET with a request for a body",
            get(&format!("Content-Length: {}\r\n", EVIL.len())) + EVIL + NEXT,
            EVIL,
        ),
        ("POST without a length", post("") + NEXT, ""),
    ] {
        cases.push(Case::new(CLASS, name, Served, bytes).body(body));
    }
    let short = post("Content-Length: 500\r\n") + EVIL;
    cases.push(Case::new(CLASS, "a body that never ends", Refused, short));
    cases
}

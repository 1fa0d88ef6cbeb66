//! What a line is, and what may stand in one.

use crate::wire::case::Verdict::{Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, MAIN, NEXT, get, post};

/// Continued header lines (RFC 9112, 5.2: refused, or replaced by a space).
pub(crate) fn folds() -> Vec<Case> {
    const CLASS: &str = "obs-fold";
    let mut cases = Vec::new();
    for (what, blank) in [("space", " "), ("tab", "\t"), ("spaces", "   "), ("both", " \t")] {
        for (place, lines) in [
            ("a value", format!("a: b\r\n{blank}c\r\n")),
            ("an empty value", format!("a:\r\n{blank}b\r\n")),
            ("a whole header", format!("a: b\r\n{blank}content-length: 10\r\n")),
            ("nothing", format!("a: b\r\n{blank}\r\n")),
            ("a request line", format!("a: b\r\n{blank}GET /0000/evil HTTP/1.1\r\n")),
        ] {
            let bytes = get(&lines) + NEXT;
            cases
                .push(Case::new(CLASS, format!("{place} behind {what}"), Harmless, bytes).body(""));
        }
        let bytes = format!("GET {MAIN} HTTP/1.1\r\n{blank}host: y\r\nhost: x\r\n\r\n{EVIL}");
        cases.push(Case::new(CLASS, format!("first line behind {what}"), Refused, bytes));
    }
    for (name, lines, body) in [
        ("the coding", "Transfer-Encoding:\r\n chunked\r\n", ""),
        ("the second coding", "Transfer-Encoding: chunked,\r\n identity\r\n", "-"),
        ("a coding that is no such", "Transfer-Encoding: x\r\n chunked\r\n", "-"),
        ("the word chunked", "Transfer-Encoding: chun\r\n ked\r\n", "-"),
    ] {
        let bytes = post(lines) + "0\r\n\r\n" + EVIL;
        let verdict = if body == "-" { Refused } else { Harmless };
        cases.push(Case::new(CLASS, name, verdict, bytes).body(""));
    }
    for (name, lines) in [
        ("the length", "Content-Length:\r\n 5\r\n"),
        ("digits of the length", "Content-Length: 5\r\n 0\r\n"),
        ("a name", "Content-\r\n Length: 5\r\n"),
        ("a colon", "Content-Length\r\n : 5\r\n"),
    ] {
        let bytes = post(lines) + "abcde" + EVIL;
        let case =
            Case::new(CLASS, name, if name == "the length" { Harmless } else { Refused }, bytes);
        cases.push(case.body("abcde"));
    }
    cases
}

/// A CR that no LF follows (RFC 9112, 2.2: invalid, or replaced by a space).
pub(crate) fn bare_cr() -> Vec<Case> {
    const CLASS: &str = "bare CR";
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("in the method", "GE\rT /0000/main HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        ("behind the method", "GET\r/0000/main HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("in the target", "GET /0000/main\r/x HTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("behind the target", "GET /0000/main\rHTTP/1.1\r\nhost: x\r\n\r\n".into()),
        ("in the version", "GET /0000/main HTTP/1\r.1\r\nhost: x\r\n\r\n".into()),
        ("for the first line end", "GET /0000/main HTTP/1.1\rhost: x\r\n\r\n".into()),
        ("twice for the first line end", "GET /0000/main HTTP/1.1\r\rhost: x\r\n\r\n".into()),
        ("before the first line end", "GET /0000/main HTTP/1.1\r\r\nhost: x\r\n\r\n".into()),
        ("for every line end", "GET /0000/main HTTP/1.1\rhost: x\r\r".into()),
        ("in Host", "GET /0000/main HTTP/1.1\r\nhost: x\ry\r\n\r\n".into()),
        ("before Host", "GET /0000/main HTTP/1.1\r\n\rhost: x\r\n\r\n".into()),
        ("in a name", get("a\rb: c\r\n")),
        ("behind a name", get("a\r: b\r\n")),
        ("before a value", get("a:\rb\r\n")),
        ("in a value", get("a: b\rc\r\n")),
        ("before a line end", get("a: b\r\r\n")),
        ("before a hidden header", get("a: b\rx: y\r\n")),
        ("before a hidden request", get("a: b\r\rGET /0000/evil HTTP/1.1\rhost: x\r\n")),
        ("before the end of the head", get("\r")),
        ("for the end of the head", "GET /0000/main HTTP/1.1\r\nhost: x\r\n\r".into()),
        ("a line of its own", get("\r\r\n")),
    ] {
        cases.push(Case::new(CLASS, name, Harmless, bytes + NEXT));
    }
    for (name, lines) in [
        ("before a hidden length", "a: b\rcontent-length: 5\r\n"),
        ("before a hidden coding", "a: b\rtransfer-encoding: chunked\r\n"),
    ] {
        // No header of its own, if it is passed on at all.
        cases.push(Case::new(CLASS, name, Harmless, post(lines) + NEXT).body(""));
    }
    for (name, chunks) in [
        ("behind a chunk size", "3\rabc\r\n0\r\n\r\n"),
        ("within a chunk line", "3\r\r\nabc\r\n0\r\n\r\n"),
        ("behind a chunk", "3\r\nabc\r0\r\n\r\n"),
        ("behind the last chunk", "0\r\r\n"),
        ("for the end of a body", "0\r\n\r"),
    ] {
        let bytes = post("transfer-encoding: chunked\r\n") + chunks + EVIL;
        cases.push(Case::new(CLASS, name, Refused, bytes));
    }
    let trailer = post("transfer-encoding: chunked\r\n") + "0\r\na: b\rc\r\n\r\n" + NEXT;
    cases.push(Case::new(CLASS, "in a trailer", Harmless, trailer).body(""));
    cases
}

/// An LF that no CR precedes (RFC 9112, 2.2: a recipient may take it for a line end in a head).
pub(crate) fn bare_lf() -> Vec<Case> {
    const CLASS: &str = "bare LF";
    let mut cases = Vec::new();
    for (name, bytes) in [
        ("everywhere", "GET /0000/main HTTP/1.1\nhost: x\n\n".to_owned()),
        ("behind the request line", "GET /0000/main HTTP/1.1\nhost: x\r\n\r\n".into()),
        ("behind Host", "GET /0000/main HTTP/1.1\r\nhost: x\n\r\n".into()),
        ("for the end of the head", get("\n").replace("\n\r\n", "\n")),
        ("behind a header", get("a: b\n")),
        ("before a header", get("\nb: c\r\n")),
        ("before CRLF", get("a: b\n\r\n")),
        ("LF CR", get("a: b\n\r")),
        ("in a value", get("a: b\n c\r\n")),
        ("before a hidden header", get("a: b\nx: y\r\n")),
        ("before a hidden Host", get("a: b\nhost: y\r\n")),
        ("twice in a value", get("a: b\n\nc: d\r\n")),
    ] {
        let verdict = if name == "before a hidden Host" { Refused } else { Harmless };
        cases.push(Case::new(CLASS, name, verdict, bytes + NEXT).body(""));
    }
    for (name, bytes) in [
        ("in the method", "GE\nT /0000/main HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("behind the method", "GET\n/0000/main HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("in the target", "GET /0000/main\n/x HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("behind the target", "GET /0000/main\nHTTP/1.1\r\nhost: x\r\n\r\n"),
        ("in the version", "GET /0000/main HTTP/1\n.1\r\nhost: x\r\n\r\n"),
        ("in a name", "GET /0000/main HTTP/1.1\r\nhost: x\r\na\nb: c\r\n\r\n"),
        ("before a colon", "GET /0000/main HTTP/1.1\r\nhost: x\r\na\n: b\r\n\r\n"),
    ] {
        cases.push(Case::new(CLASS, name, Refused, format!("{bytes}{EVIL}")));
    }
    for (name, chunks) in [
        ("behind a chunk size", "3\nabc\r\n0\r\n\r\n".to_owned()),
        ("behind a chunk", "3\r\nabc\n0\r\n\r\n".into()),
        ("behind the last chunk", "0\n\r\n".into()),
        ("all of a body", "3\nabc\n0\n\n".into()),
        ("in an extension", "3;a\nabc\r\n0\r\n\r\n".into()),
        ("in an extension, hidden", format!("3;\nabc\r\n0\r\n\r\n{EVIL}")),
        ("in an extension before a size", format!("2;\n{:x}\r\n{EVIL}\r\n0\r\n\r\n", EVIL.len())),
    ] {
        let bytes = post("transfer-encoding: chunked\r\n") + &chunks + EVIL;
        cases.push(Case::new(CLASS, name, Refused, bytes));
    }
    for (name, chunks) in
        [("in a trailer", "0\r\na: b\n\r\n"), ("for the end of a body", "0\r\n\n")]
    {
        let bytes = post("transfer-encoding: chunked\r\n") + chunks + NEXT;
        cases.push(Case::new(CLASS, name, Harmless, bytes).body(""));
    }
    cases
}

/// White space between a name and its colon (RFC 9112, 5.1: refused).
pub(crate) fn before_colon() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["content-length", "transfer-encoding", "connection", "x-a", "expect", "te"] {
        for blank in [" ", "\t", "  ", "\x0b", "\u{a0}", " \t "] {
            let value = match name {
                "content-length" => "5",
                "transfer-encoding" => "chunked",
                _ => "x",
            };
            let lines = format!("{name}{blank}: {value}\r\n");
            let bytes = post(&lines) + "0\r\n\r\n" + EVIL;
            let name = format!("{name}{}:", blank.escape_debug());
            cases.push(Case::new("space before colon", name, Refused, bytes));
        }
    }
    cases
}

/// Method, target, version and what separates them (RFC 9112, 3).
pub(crate) fn request_line() -> Vec<Case> {
    const CLASS: &str = "request line";
    let mut cases = Vec::new();
    let mut add = |line: &[u8], verdict| {
        let follows = if verdict == Refused { EVIL } else { NEXT };
        let bytes = [line, b"\r\nhost: x\r\n\r\n", follows.as_bytes()].concat();
        cases.push(Case::new(CLASS, line.escape_ascii().to_string(), verdict, bytes));
    };
    for method in ["GET", "HEAD", "DELETE", "PURGE", "X-CUSTOM", "get", "PROPFIND", "M-SEARCH"] {
        add(format!("{method} {MAIN} HTTP/1.1").as_bytes(), Served);
    }
    for target in ["?a=b", "?a={b}|c", "/%00", "/..", "//", "/a;b=c", "?a=%0d%0a", "/%2e%2e"] {
        add(format!("GET {MAIN}{target} HTTP/1.1").as_bytes(), Harmless);
    }
    for line in [
        "GET  /0000/main HTTP/1.1",
        "GET /0000/main  HTTP/1.1",
        "GET\t/0000/main HTTP/1.1",
        "GET /0000/main\tHTTP/1.1",
        " GET /0000/main HTTP/1.1",
        "\tGET /0000/main HTTP/1.1",
        "GET /0000/main HTTP/1.1 ",
        "GET /0000/main HTTP/1.1\t",
        "GET /0000/main x HTTP/1.1",
        "GET\x0b/0000/main HTTP/1.1",
        "GET /0000/main\x0cHTTP/1.1",
        "GET\u{a0}/0000/main HTTP/1.1",
    ] {
        add(line.as_bytes(), Harmless);
    }
    for line in [
        "GET /0000/main",
        "GET /0000/main HTTP/0.9",
        "GET /0000/main HTTP/1.2",
        "GET /0000/main HTTP/1.10",
        "GET /0000/main HTTP/1.32",
        "GET /0000/main HTTP/01.1",
        "GET /0000/main HTTP/1.01",
        "GET /0000/main HTTP/2.0",
        "GET /0000/main HTTP/3",
        "GET /0000/main HTTP/1",
        "GET /0000/main http/1.1",
        "GET /0000/main HTTP/1,1",
        "GET /0000/main HTTP /1.1",
        "GET /0000/main HTTP/1.1x",
        "GET /0000/main HTTPS/1.1",
        "GET /0000/main HTTP/-1.1",
        "GET /0000/main HTTP/1.\0",
        "G(T /0000/main HTTP/1.1",
        "GET: /0000/main HTTP/1.1",
        "G\0T /0000/main HTTP/1.1",
        "G\u{e9}T /0000/main HTTP/1.1",
        "/0000/main HTTP/1.1",
        " /0000/main HTTP/1.1",
        "GET HTTP/1.1",
        "GET /0000/main\0 HTTP/1.1",
        "GET /0000/main\x01 HTTP/1.1",
        "GET /0000/main\x7f HTTP/1.1",
        "{} /0000/main HTTP/1.1",
        "GET /0000/main XTTP/1.1",
        "HTTP/1.1 200 OK",
    ] {
        add(line.as_bytes(), Refused);
    }
    for tail in [&b"#a"[..], b"#/../x", b"\xc3\xa9", b"\xff", b"?\xc3\xa9"] {
        add(&[b"GET /0000/main", tail, b" HTTP/1.1"].concat(), Harmless);
    }
    cases
}

/// Names and values with bytes that do not belong there (RFC 9110, 5.5 and 5.6.2).
pub(crate) fn field_bytes() -> Vec<Case> {
    const CLASS: &str = "field bytes";
    let mut cases = Vec::new();
    for byte in [0, 1, 8, 0x0b, 0x0c, 0x0e, 0x1b, 0x1f, 0x7f] {
        for (place, before, after) in [("value", "a: b", "c"), ("name", "a", "b: c")] {
            let line = [before.as_bytes(), &[byte], after.as_bytes(), b"\r\n"].concat();
            let bytes =
                [b"GET /0000/main HTTP/1.1\r\nhost: x\r\n", &line[..], b"\r\n", NEXT.as_bytes()];
            // The line may be left out; the character may not arrive.
            let name = format!("{byte:#04x} in a {place}");
            cases.push(Case::new(CLASS, name, Harmless, bytes.concat()));
        }
    }
    for line in [
        "no colon",
        ": no name",
        "a b: c",
        "a(b: c",
        "a[b]: c",
        "a,b: c",
        "a/b: c",
        "\"a\": b",
        "a@b: c",
        "a{b: c",
        "a;b: c",
        "a=b: c",
        "a\\b: c",
        "a<b>: c",
        "\u{e9}: a",
        "a?b: c",
        ":",
        "GET /0000/evil HTTP/1.1",
    ] {
        let bytes = get(&format!("{line}\r\n")) + NEXT;
        cases.push(Case::new(CLASS, format!("the line {line:?}"), Harmless, bytes));
    }
    for line in ["a:", "a: ", "a!#$%&'*+-.^_`|~: b", "a: \u{e9}", "a: b:c", "a:b", "A: B", "1: 2"] {
        let bytes = get(&format!("{line}\r\n")) + NEXT;
        cases.push(Case::new(CLASS, format!("the line {line:?}"), Served, bytes));
    }
    cases
}

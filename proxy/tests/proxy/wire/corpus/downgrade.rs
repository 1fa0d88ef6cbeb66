//! HTTP/2 requests that would mean something else as HTTP/1 (RFC 9113, 8.1 to 8.3, and 10.3).

use crate::wire::case::Verdict::{self, Harmless, Refused, Served};
use crate::wire::case::{Case, EVIL, MAIN};
use crate::wire::frames::{self, END_STREAM, frame, headers};

const PLAIN: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", MAIN)];

fn case(
    class: &'static str,
    name: impl Into<String>,
    verdict: Verdict,
    stream: &[Vec<u8>],
) -> Case {
    let bytes = [frames::opening(), stream.concat()].concat();
    Case { is_http2: true, ..Case::new(class, name, verdict, bytes) }
}

fn data(flags: u8, body: &str) -> Vec<u8> {
    frame(frames::DATA, flags, 1, body.as_bytes())
}

/// What is no length of three.
const NO_LENGTHS: &[&str] = &[
    "0",
    "1",
    "2",
    "4",
    "40",
    "999999",
    "+3",
    "-3",
    "0x3",
    "3,3",
    "3, 3",
    "3;",
    "",
    " 3",
    "3 ",
    "three",
    "18446744073709551619",
    "9223372036854775811",
    "3\r\n",
    "3\0",
];

/// `content-length` against the DATA that comes, and the end of the stream.
pub(crate) fn lengths() -> Vec<Case> {
    const CLASS: &str = "HTTP/2 lengths";
    let with = |more: &[(&str, &str)]| headers(0, 1, &[&PLAIN[..], more].concat());
    let right = EVIL.len().to_string();
    let mut cases = vec![
        case(CLASS, "none", Served, &[with(&[]), data(END_STREAM, EVIL)]).body(EVIL),
        case(
            CLASS,
            "right",
            Served,
            &[with(&[("content-length", &right)]), data(END_STREAM, EVIL)],
        )
        .body(EVIL),
        case(CLASS, "no body", Served, &[headers(END_STREAM, 1, &PLAIN)]).body(""),
        case(CLASS, "an empty frame", Served, &[with(&[]), data(END_STREAM, "")]).body(""),
        case(CLASS, "in two frames", Served, &[with(&[]), data(0, "ab"), data(END_STREAM, "c")])
            .body("abc"),
        case(
            CLASS,
            "two of the same",
            Harmless,
            &[with(&[("content-length", "3"), ("content-length", "3")]), data(END_STREAM, "abc")],
        )
        .body("abc"),
    ];
    for length in NO_LENGTHS {
        let head = with(&[("content-length", length)]);
        let name = format!("{length:?} for three");
        cases.push(case(CLASS, name, Refused, &[head, data(END_STREAM, "abc")]));
    }
    cases.push(
        case(
            CLASS,
            "03 for three",
            Harmless,
            &[with(&[("content-length", "03")]), data(END_STREAM, "abc")],
        )
        .body("abc"),
    );
    cases.push(case(
        CLASS,
        "different ones",
        Refused,
        &[with(&[("content-length", "3"), ("content-length", "5")]), data(END_STREAM, "abc")],
    ));
    let early = [&PLAIN[..], &[("content-length", "3")]].concat();
    cases.push(case(CLASS, "a length and no body", Refused, &[headers(END_STREAM, 1, &early)]));
    let hidden = "0\r\n\r\n".to_owned() + EVIL;
    cases.push(case(
        CLASS,
        "zero for a hidden request",
        Refused,
        &[with(&[("content-length", "0")]), data(END_STREAM, &hidden)],
    ));
    let behind = [with(&[]), data(END_STREAM, "abc"), data(END_STREAM, EVIL)];
    cases.push(case(CLASS, "DATA behind the end", Harmless, &behind).body("abc"));
    cases
}

/// Fields that must not arrive as they are.
const FORBIDDEN: &[(&str, &str)] = &[
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", ""),
    ("connection", "close"),
    ("connection", "transfer-encoding"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("upgrade", "h2c"),
    ("upgrade", "websocket"),
    ("te", "gzip"),
    ("te", "trailers, chunked"),
    ("te", "chunked"),
    ("a", "b\r\ntransfer-encoding: chunked"),
    ("a", "b\r\n\r\nGET /0000/evil HTTP/1.1\r\nhost: x"),
    ("a", "b\nc: d"),
    ("a", "b\rc: d"),
    ("a", "b\0"),
    ("a", "\0b"),
    ("a", "b\r"),
    ("a", "b\n"),
    ("a", "\r\nb"),
    ("a\r\nb", "c"),
    ("a\nb", "c"),
    ("a\r\n\r\nb", "c"),
    ("a\0b", "c"),
    ("a: b\r\nc", "d"),
    ("a:b", "c"),
    ("a b", "c"),
    ("", "a"),
    ("A", "b"),
    ("Transfer-Encoding", "chunked"),
    ("content-Length", "5"),
    ("a\tb", "c"),
    ("a\u{e9}", "b"),
    ("a(b", "c"),
    ("a\x7f", "b"),
    ("a", "b\x7f"),
    ("a", "b\x01"),
    ("transfer-encoding ", "chunked"),
    (" transfer-encoding", "chunked"),
    ("transfer-encoding:chunked\r\na", "b"),
    ("http2-settings", "AAM"),
];

/// Fields that are no trailers.
const NO_TRAILERS: &[(&str, &str)] = &[
    (":path", "/0000/evil"),
    (":method", "GET"),
    (":status", "200"),
    ("content-length", "5"),
    ("transfer-encoding", "chunked"),
    ("host", "y"),
    ("A", "b"),
    ("a", "b\r\nc: d"),
    ("connection", "close"),
    ("authorization", "x"),
    ("a\r\nb", "c"),
    ("trailer", "x"),
    (":authority", "y"),
    ("cookie", "a=b"),
];

/// Fields that HTTP/2 forbids, or that would break out of their line in HTTP/1.
pub(crate) fn fields() -> Vec<Case> {
    const CLASS: &str = "HTTP/2 fields";
    let mut cases = Vec::new();
    let hidden = format!("0\r\n\r\n{EVIL}");
    for &(name, value) in FORBIDDEN {
        let head = headers(0, 1, &[&PLAIN[..], &[(name, value)]].concat());
        let title = format!("{name:?}: {value:?}");
        let verdict = if name == "http2-settings" { Harmless } else { Refused };
        // As HTTP/1, what is in the body would be a request.
        let stream = [head, data(END_STREAM, &hidden)];
        cases.push(case(CLASS, title, verdict, &stream).lost(&["http2-settings"]));
    }
    for (name, value) in [("a", "b"), ("te", "trailers"), ("a", ""), ("a", "\u{e9}"), ("a_b", "c")]
    {
        let head = headers(0, 1, &[&PLAIN[..], &[(name, value)]].concat());
        let title = format!("{name:?}: {value:?}");
        cases.push(case(CLASS, title, Served, &[head, data(END_STREAM, &hidden)]).body(&*hidden));
    }
    for (name, value) in [("a", " b"), ("a", "b "), ("a", "\tb")] {
        let head = headers(0, 1, &[&PLAIN[..], &[(name, value)]].concat());
        let title = format!("{name:?}: {value:?}");
        cases.push(case(CLASS, title, Harmless, &[head, data(END_STREAM, &hidden)]).body(&*hidden));
    }
    for &(name, value) in NO_TRAILERS {
        let trailers = headers(END_STREAM, 1, &[(name, value)]);
        let stream = [headers(0, 1, &PLAIN), data(0, "abc"), trailers];
        cases.push(case(CLASS, format!("trailer {name:?}"), Harmless, &stream).body("abc"));
    }
    cases
}

/// Values that the fields of [`PLAIN`], by place, must not have.
const NO_VALUES: &[(usize, &[&str])] = &[
    (0, &["", "G T", "GET /0000/evil HTTP/1.1\r\nx", "G\0T", "GET\r\n", "CONNECT", "G:T"]),
    (1, &["", "http\r\nx", "ht tp", "file", "http://x/0000/evil?"]),
    (2, &["", "u@x", "x/0000/evil", "x y", "x\r\nhost: y", "x:99999", "x,y z", "x#", "x\0", "[x]"]),
    (
        3,
        &[
            "",
            "0000/main",
            "*",
            "/0000/main HTTP/1.1\r\nx: y",
            "/0000/main\r\n",
            "/0000/main\0",
            "/0000/main x",
            "http://y/0000/main",
            "\t/0000/main",
            "/0000/main\n",
            "?/0000/main",
            "/0000/main HTTP/1.1\r\nhost: x\r\n\r\nGET /0000/evil",
        ],
    ),
];

/// Pseudo-headers: which, how often, where, and whom they name.
pub(crate) fn pseudo() -> Vec<Case> {
    const CLASS: &str = "HTTP/2 pseudo-headers";
    let mut cases = Vec::new();
    let mut add = |name: String, verdict, fields: &[(&str, &str)]| {
        cases.push(case(CLASS, name, verdict, &[headers(END_STREAM, 1, fields)]));
    };
    let with = |more: &[(&'static str, &'static str)]| [&PLAIN[..], more].concat();
    for &(at, values) in NO_VALUES {
        for value in values {
            let mut fields = PLAIN;
            fields[at].1 = value;
            let name = format!("{} {value:?}", fields[at].0);
            add(name, Refused, &fields);
        }
    }
    for missing in [0, 1, 2, 3] {
        let mut fields = PLAIN.to_vec();
        let (name, _) = fields.remove(missing);
        add(format!("no {name}"), Refused, &fields);
    }
    for twice in PLAIN {
        add(
            format!("{} twice", twice.0),
            Refused,
            &with(&[]).into_iter().chain([twice]).collect::<Vec<_>>(),
        );
    }
    add(
        "one behind a field".into(),
        Refused,
        &[PLAIN[0], PLAIN[1], PLAIN[2], ("a", "b"), PLAIN[3]],
    );
    add("an unknown one".into(), Refused, &[&[(":own", "x")][..], &PLAIN].concat());
    add("a response's".into(), Refused, &[&[(":status", "200")][..], &PLAIN].concat());
    add(
        "a protocol without CONNECT".into(),
        Refused,
        &[&[(":protocol", "websocket")][..], &PLAIN].concat(),
    );
    add("a colon alone".into(), Refused, &[&[(":", "x")][..], &PLAIN].concat());
    add("upper case".into(), Refused, &[(":METHOD", "GET"), PLAIN[1], PLAIN[2], PLAIN[3]]);
    add("Host like the authority".into(), Harmless, &with(&[("host", "x")]));
    add("another Host".into(), Harmless, &with(&[("host", "y")]));
    add("another port in Host".into(), Harmless, &with(&[("host", "x:81")]));
    add("two Hosts".into(), Refused, &with(&[("host", "x"), ("host", "y")]));
    add("a Host that is none".into(), Harmless, &with(&[("host", "x/y")]));
    add("Host for the authority".into(), Harmless, &[PLAIN[0], PLAIN[1], PLAIN[3], ("host", "x")]);
    add("a fragment".into(), Harmless, &[PLAIN[0], PLAIN[1], PLAIN[2], (":path", "/0000/main#x")]);
    add("plain".into(), Served, &PLAIN);
    add(
        "with a query".into(),
        Served,
        &[PLAIN[0], PLAIN[1], PLAIN[2], (":path", "/0000/main?a=b")],
    );
    add("https".into(), Served, &[PLAIN[0], (":scheme", "https"), PLAIN[2], PLAIN[3]]);
    add(
        "OPTIONS *".into(),
        Harmless,
        &[(":method", "OPTIONS"), PLAIN[1], PLAIN[2], (":path", "*")],
    );
    cases
}

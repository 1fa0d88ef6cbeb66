//! Trace context as it comes and as it goes on, over sockets.

use crate::collector::Collector;
use crate::shop::{saw, witness};
use crate::world::{Caller, Proxy, full, inbound, outbound};
use http::Request;
use std::collections::BTreeMap;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LOW: &str = "a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const GRAND: &str = "05e3ac9a4f6e3b90";

type Headers = BTreeMap<String, String>;

/// Headers of a text of lines; a name that comes again is another header.
fn lines(text: &str) -> Vec<(String, String)> {
    let text = text.replace("TRACE", TRACE).replace("LOW", LOW).replace("SPAN", SPAN);
    let lines = text.replace("GRAND", GRAND);
    let lines = lines.split(" | ").filter_map(|line| line.split_once(": "));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The headers of trace context that the server sees when these are sent.
async fn seen(caller: &mut Caller, sent: &str) -> Headers {
    let request = lines(sent)
        .into_iter()
        .fold(Request::get("/"), |request, (name, value)| request.header(name, value));
    let answer = saw(&caller.send(request.body(full("")).unwrap()).await);
    let headers = answer["headers"].as_object().unwrap().iter();
    let is_trace = |name: &str| name.starts_with("trace") || name.contains("b3");
    let of_trace = headers.filter(|(name, _)| is_trace(name));
    of_trace.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// Members of a `tracestate`.
fn members(count: usize) -> String {
    (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",")
}

/// What is valid on its own: it passes as it came where nobody records a span.
const VALID: [&str; 15] = [
    "traceparent: 00-TRACE-SPAN-01",
    "traceparent: 00-TRACE-SPAN-00",
    "traceparent: 00-TRACE-SPAN-ff",
    "traceparent: cc-TRACE-SPAN-01-what-comes-later",
    "traceparent: 00-TRACE-SPAN-01 | tracestate: a=1, b@c=x y",
    "b3: TRACE-SPAN-1",
    "b3: LOW-SPAN-1-GRAND",
    "b3: TRACE-SPAN-d",
    "b3: TRACE-SPAN",
    "b3: 0",
    "x-b3-traceid: TRACE | x-b3-spanid: SPAN | x-b3-sampled: 1",
    "x-b3-traceid: LOW | x-b3-spanid: SPAN | x-b3-parentspanid: GRAND | x-b3-flags: 1",
    "x-b3-traceid: TRACE | x-b3-spanid: SPAN",
    "x-b3-sampled: 0",
    "b3: TRACE-SPAN-1 | traceparent: 00-TRACE-SPAN-01 | x-b3-traceid: TRACE | x-b3-spanid: SPAN",
];

/// What is invalid, and what of it may go on.
const INVALID: [(&str, &str); 33] = [
    ("traceparent: 00-TRACE-SPAN-01-more", ""),
    ("traceparent: 00-TRACE-SPAN-01 | traceparent: 00-TRACE-SPAN-01", ""),
    ("traceparent: 00-TRACE-SPAN", ""),
    ("traceparent: ff-TRACE-SPAN-01", ""),
    ("traceparent: 0-TRACE-SPAN-01", ""),
    ("traceparent: 00-TRACE-SPAN-1", ""),
    ("traceparent: 00-TRACE-SPAN-0x", ""),
    ("traceparent: 00-TRACE-SPAN-.1", ""),
    ("traceparent: 00-TRACESPAN-01", ""),
    ("traceparent: 00_TRACE_SPAN_01", ""),
    ("traceparent: 00-LOW-SPAN-01", ""),
    ("traceparent: 00-4BF92F3577B34DA6A3CE929D0E0E4736-SPAN-01", ""),
    ("traceparent: 00-00000000000000000000000000000000-SPAN-01", ""),
    ("traceparent: 00-TRACE-0000000000000000-01", ""),
    ("traceparent: 00-TRACE-SPAN-01,00-TRACE-SPAN-01", ""),
    ("traceparent: nothing | tracestate: a=1", ""),
    ("traceparent:  | tracestate: a=1", ""),
    ("tracestate: a=1", ""),
    ("traceparent: 00-TRACE-SPAN-00 | tracestate: A=1", "traceparent: 00-TRACE-SPAN-00"),
    (
        "traceparent: 00-TRACE-SPAN-00 | tracestate: a=1 | tracestate: b",
        "traceparent: 00-TRACE-SPAN-00",
    ),
    ("b3: ", ""),
    ("b3: 2", ""),
    ("b3: TRACE", ""),
    ("b3: TRACE-SPAN-x", ""),
    ("b3: TRACE-SPAN-1-GRAND-more", ""),
    ("b3: TRACE-SPAN-1-0000000000000000", ""),
    ("b3: TRACE-SPAN-1 | b3: TRACE-SPAN-1", ""),
    ("b3: 0000000000000000-SPAN-1", ""),
    ("x-b3-traceid: TRACE", ""),
    ("x-b3-traceid: TRACE | x-b3-spanid: GRA | x-b3-sampled: 1", ""),
    ("x-b3-traceid: TRACE | x-b3-spanid: SPAN | x-b3-sampled: yes", ""),
    ("x-b3-parentspanid: SPAN", ""),
    (
        "b3: no | x-b3-sampled: 0 | traceparent: 00-TRACE-SPAN-00",
        "x-b3-sampled: 0 | traceparent: 00-TRACE-SPAN-00",
    ),
];

/// Scenario: trace context of every kind through the listeners of both sides, while no span is
/// recorded.
/// Guarantees: the callee sees what is valid as it came, and nothing that is not.
#[tokio::test]
async fn trace_context_passes_or_disappears() {
    let server = witness("server").await;
    for config in [outbound(&[server.address]), inbound(server.address)] {
        let proxy = Proxy::start(config);
        let mut caller = Caller::connect(proxy.address()).await;
        assert_eq!(seen(&mut caller, "").await, Headers::new());
        for valid in VALID {
            let expected: Headers = lines(valid).into_iter().collect();
            assert!(!expected.is_empty());
            assert_eq!(seen(&mut caller, valid).await, expected, "{valid}");
        }
        for (invalid, goes_on) in INVALID {
            let expected: Headers = lines(goes_on).into_iter().collect();
            assert_eq!(seen(&mut caller, invalid).await, expected, "{invalid}");
        }
    }
}

/// Scenario: as many members of a `tracestate` as there may be, and one more, in one header and in
/// two.
/// Guarantees: 32 pass, whole; 33 are dropped, whole, and the trace goes on.
#[tokio::test]
async fn tracestate_is_limited() {
    let server = witness("server").await;
    let proxy = Proxy::start(outbound(&[server.address]));
    let mut caller = Caller::connect(proxy.address()).await;
    let parent = "traceparent: 00-TRACE-SPAN-01";
    for (states, passes) in [
        (vec![members(32)], true),
        (vec![members(33)], false),
        (vec![members(16), members(16)], true),
        (vec![members(16), members(17)], false),
    ] {
        let headers = states.iter().map(|state| format!(" | tracestate: {state}"));
        let seen = seen(&mut caller, &format!("{parent}{}", headers.collect::<String>())).await;
        let expected = passes.then(|| states.join(","));
        assert_eq!(seen.get("tracestate"), expected.as_ref());
        assert_eq!(seen["traceparent"], lines(parent)[0].1);
    }
}

/// Scenario: the same through a proxy that records spans, some with roots of its own.
/// Guarantees: a sampled trace goes on in the formats in which it came, with one span of the proxy
/// between caller and callee; an unsampled one, and one of which only the sampling is said, as it
/// came; a root is started in place of what is invalid.
#[tokio::test]
async fn recorded_traces_go_on() {
    let server = witness("server").await;
    let collector = Collector::start().await;
    for mut config in [outbound(&[server.address]), inbound(server.address)] {
        config.collector = Some(collector.url.clone());
        config.trace_root_percent = 100.0;
        let proxy = Proxy::start(config);
        let mut caller = Caller::connect(proxy.address()).await;
        for unsampled in [
            "traceparent: 00-TRACE-SPAN-00",
            "b3: TRACE-SPAN-0",
            "b3: LOW-SPAN",
            "b3: 0",
            "b3: 1",
            "x-b3-sampled: 0",
            "x-b3-traceid: TRACE | x-b3-spanid: SPAN | x-b3-sampled: 0",
        ] {
            let expected: Headers = lines(unsampled).into_iter().collect();
            assert_eq!(seen(&mut caller, unsampled).await, expected);
        }
        for (sampled, goes_on) in [
            (
                "traceparent: 00-TRACE-SPAN-01 | tracestate: a=1",
                "traceparent: 00-TRACE-OURS-01 | tracestate: a=1",
            ),
            ("traceparent: cc-TRACE-SPAN-03-later", "traceparent: 00-TRACE-OURS-03"),
            ("b3: TRACE-SPAN-1", "b3: TRACE-OURS-1-SPAN"),
            ("b3: LOW-SPAN-d-GRAND", "b3: LOW-OURS-d-SPAN"),
            (
                "x-b3-traceid: TRACE | x-b3-spanid: SPAN | x-b3-sampled: 1",
                "x-b3-traceid: TRACE | x-b3-spanid: OURS | x-b3-sampled: 1 | x-b3-parentspanid: SPAN",
            ),
            (
                "x-b3-traceid: LOW | x-b3-spanid: SPAN | x-b3-parentspanid: GRAND | x-b3-flags: 1",
                "x-b3-traceid: LOW | x-b3-spanid: OURS | x-b3-parentspanid: SPAN | x-b3-flags: 1",
            ),
            (
                "traceparent: 00-TRACE-SPAN-01 | b3: TRACE-SPAN-1",
                "traceparent: 00-TRACE-OURS-01 | b3: TRACE-OURS-1-SPAN",
            ),
            (
                "traceparent: 00-TRACE-SPAN-01 | b3: LOW-SPAN-1",
                "traceparent: 00-TRACE-OURS-01 | b3: LOW-SPAN-1",
            ),
            (
                "traceparent: 00-TRACE-SPAN-01 | b3: TRACE-SPAN",
                "traceparent: 00-TRACE-OURS-01 | b3: TRACE-OURS",
            ),
            ("traceparent: junk | b3: TRACE-SPAN-1", "b3: TRACE-OURS-1-SPAN"),
        ] {
            let seen = seen(&mut caller, sampled).await;
            let ours = own_span(&seen);
            assert_ne!(ours, SPAN);
            let expected: Headers = lines(&goes_on.replace("OURS", ours)).into_iter().collect();
            assert_eq!(seen, expected, "{sampled}");
        }
        for invalid in
            ["", "traceparent: junk | tracestate: a=1", "b3: junk", "x-b3-traceid: TRACE"]
        {
            let seen = seen(&mut caller, invalid).await;
            assert_eq!(seen.len(), 1, "{seen:?}");
            let root = fusebox_proto::trace::TraceContext::parse(&seen["traceparent"]).unwrap();
            assert!(root.is_sampled() && root.trace_id.to_string() != TRACE);
        }
    }
}

/// The span that the callee is told to be the child of.
fn own_span(seen: &Headers) -> &str {
    let part = |name: &str, at: usize| seen.get(name)?.split('-').nth(at);
    part("traceparent", 2).or_else(|| part("b3", 1)).or_else(|| part("x-b3-spanid", 0)).unwrap()
}

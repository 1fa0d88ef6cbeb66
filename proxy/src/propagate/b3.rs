//! B3, in one header and in several: <https://github.com/openzipkin/b3-propagation>.

use super::SpanPlace;
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use http::header::{HeaderMap, HeaderName, HeaderValue};

const SINGLE: HeaderName = HeaderName::from_static("b3");
const TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
const SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
const PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
const MULTI: [HeaderName; 5] = [TRACE_ID, SPAN_ID, PARENT_ID, SAMPLED, FLAGS];

/// Not what B3 allows.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// Whether anything of B3 is there; most requests have none, and pay for one look at the names.
pub(super) fn is_present(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| is_name(name.as_str()))
}

/// Whether a header of this name belongs to it.
pub(super) fn is_name(name: &str) -> bool {
    name == SINGLE.as_str() || name.starts_with("x-b3-")
}

/// Removes all of it.
pub(super) fn remove(headers: &mut HeaderMap) {
    headers.remove(SINGLE);
    for name in &MULTI {
        headers.remove(name);
    }
}

/// The context that B3 tells, of one header before that of several. What is malformed, or given
/// twice, is removed. No sampling state is not sampled: the decision is left to others, and they
/// get it as it came.
pub(super) fn read(headers: &mut HeaderMap) -> Option<TraceContext> {
    let single = only(headers, &SINGLE).and_then(|value| value.map_or(Ok(None), parse_single));
    let single = single.unwrap_or_else(|Malformed| {
        headers.remove(SINGLE);
        None
    });
    let multi = parse_multi(headers).unwrap_or_else(|Malformed| {
        for name in &MULTI {
            headers.remove(name);
        }
        None
    });
    single.or(multi)
}

/// Puts our span where the caller's was, in what tells of the same trace.
pub(super) fn go_on(headers: &mut HeaderMap, place: &SpanPlace) {
    let Some(parent_id) = place.parent_id else { return };
    let value =
        |text: String| HeaderValue::from_str(&text).expect("was a value, with hexadecimals");
    let is_same = |text: &str| trace_id(text) == Ok(place.trace_id);
    if let Some(text) = headers.get(SINGLE).and_then(|value| value.to_str().ok()) {
        let mut parts = text.split('-');
        if let Some(trace) = parts.next().filter(|trace| is_same(trace)) {
            let own = format!("{trace}-{}", place.span_id);
            let sampled = parts.nth(1).map(|sampled| format!("-{sampled}-{parent_id}"));
            headers.insert(SINGLE, value(own + sampled.as_deref().unwrap_or_default()));
        }
    }
    if headers.get(TRACE_ID).and_then(|value| value.to_str().ok()).is_some_and(is_same) {
        headers.insert(SPAN_ID, value(place.span_id.to_string()));
        headers.insert(PARENT_ID, value(parent_id.to_string()));
    }
}

/// The value of a header that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Malformed> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => only.to_str().map(Some).map_err(|_| Malformed),
        _ => Err(Malformed),
    }
}

/// `TRACE-SPAN[-SAMPLED[-PARENT]]`, or a sampling state alone.
fn parse_single(value: &str) -> Result<Option<TraceContext>, Malformed> {
    let parts: Vec<&str> = value.splitn(5, '-').collect();
    let (trace, span, sampled) = match parts[..] {
        [state] => return flags(state).map(|_| None),
        [trace, span] => (trace, span, None),
        [trace, span, state] => (trace, span, Some(state)),
        [trace, span, state, parent] => {
            span_id(parent)?;
            (trace, span, Some(state))
        }
        _ => return Err(Malformed),
    };
    let flags = sampled.map_or(Ok(0), flags)?;
    Ok(Some(TraceContext { trace_id: trace_id(trace)?, parent_id: span_id(span)?, flags }))
}

/// A trace and a span, or neither; the sampling state is optional in both cases.
fn parse_multi(headers: &HeaderMap) -> Result<Option<TraceContext>, Malformed> {
    let [trace, span, parent, sampled, debug] = MULTI.each_ref().map(|name| only(headers, name));
    let sampled = match sampled? {
        None | Some("0" | "false") => 0,
        Some("1" | "true") => 1,
        Some(_) => return Err(Malformed),
    };
    let debug = match debug? {
        None | Some("0") => 0,
        Some("1") => 1,
        Some(_) => return Err(Malformed),
    };
    let parent = parent?.map(span_id).transpose()?;
    match (trace?, span?) {
        (None, None) if parent.is_none() => Ok(None),
        (Some(trace), Some(span)) => {
            let (trace_id, parent_id) = (trace_id(trace)?, span_id(span)?);
            Ok(Some(TraceContext { trace_id, parent_id, flags: sampled | debug }))
        }
        _ => Err(Malformed),
    }
}

/// W3C's flags of a sampling state.
fn flags(state: &str) -> Result<u8, Malformed> {
    match state {
        "0" => Ok(0),
        "1" | "d" => Ok(1),
        _ => Err(Malformed),
    }
}

/// Of 128 bits, or of 64, which are the lower ones.
fn trace_id(text: &str) -> Result<TraceId, Malformed> {
    let id = match text.len() {
        16 => TraceId::from_hex(&format!("{text:0>32}")),
        _ => TraceId::from_hex(text),
    };
    id.ok_or(Malformed)
}

fn span_id(text: &str) -> Result<SpanId, Malformed> {
    SpanId::from_hex(text).ok_or(Malformed)
}

//! Trace context from hop to hop.
//!
//! The caller's decision is law. What it samples is recorded here and exported, and goes on with
//! our span as parent; what it does not sample goes on unchanged; where it says nothing, nothing is
//! said, unless the operator asked for roots. What is invalid goes no further. W3C's word goes before
//! that of B3, and a span of ours goes into whatever tells of its trace.

mod b3;
mod state;

use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What the proxy may add to traces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracing {
    /// Whether spans are exported: an exported child of a span that never is would be an orphan.
    pub(crate) is_exporting: bool,
    /// Share of requests without a trace for which one is started, percent.
    pub(crate) root_percent: f64,
}

/// The place of a span of ours in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanPlace {
    /// The trace.
    pub(crate) trace_id: TraceId,
    /// Our span.
    pub(crate) span_id: SpanId,
    /// The caller's span; `None` for a root.
    pub(crate) parent_id: Option<SpanId>,
    /// All flags.
    pub(crate) flags: u8,
}

/// The trace context of a request. What is invalid, or given twice, is removed with all that belongs
/// to it: a `tracestate` goes with its `traceparent`, but may go alone.
pub(crate) fn read(headers: &mut HeaderMap) -> Option<TraceContext> {
    // One look at all is less than a search for each name, of which most are not there.
    let (mut parent, mut parents, mut has_state, mut has_b3) = (None, 0, false, false);
    for (name, value) in &*headers {
        if *name == TRACEPARENT {
            (parent, parents) = (Some(value), parents + 1);
        } else if *name == TRACESTATE {
            has_state = true;
        } else {
            has_b3 |= b3::is_name(name.as_str());
        }
    }
    let parent = parent.filter(|_| parents == 1).and_then(|value| value.to_str().ok());
    let context = parent.and_then(|value| TraceContext::parse(value.trim()).ok());
    if context.is_none() && 0 < parents {
        headers.remove(TRACEPARENT);
    }
    let states = || headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    if has_state && (context.is_none() || !state::is_valid(states())) {
        headers.remove(TRACESTATE);
    }
    let of_b3 = if has_b3 { b3::read(headers) } else { None };
    context.or(of_b3)
}

/// Removes all that tells of a trace.
pub(crate) fn forget(headers: &mut HeaderMap) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
    b3::remove(headers);
}

/// Decides whether a span of ours is recorded; if so, the request goes on as its child.
pub(crate) fn place(
    tracing: Tracing,
    context: Option<TraceContext>,
    headers: &mut HeaderMap,
) -> Option<SpanPlace> {
    if !tracing.is_exporting {
        return None;
    }
    let (trace_id, parent_id, flags) = match context {
        Some(context) if context.is_sampled() => {
            (context.trace_id, Some(context.parent_id), context.flags)
        }
        Some(_) => return None,
        // A sampling state without a trace.
        None if b3::is_present(headers) => return None,
        None => (root(tracing.root_percent)?, None, 1),
    };
    let span_id = SpanId::from_bytes(&rand::random::<[u8; 8]>())?;
    let place = SpanPlace { trace_id, span_id, parent_id, flags };
    let is_of_b3 = context.is_some() && !headers.contains_key(TRACEPARENT);
    if !is_of_b3 {
        let own = TraceContext { trace_id, parent_id: span_id, flags };
        let value =
            HeaderValue::from_bytes(&own.to_bytes()).expect("hexadecimal digits and dashes");
        headers.insert(TRACEPARENT, value);
    }
    if b3::is_present(headers) {
        b3::go_on(headers, &place);
    }
    Some(place)
}

fn root(percent: f64) -> Option<TraceId> {
    let is_chosen = 0.0 < percent && rand::random_range(0.0..100.0) < percent;
    if is_chosen { TraceId::from_bytes(&rand::random::<[u8; 16]>()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    /// Scenario: a stranger's request tells of a trace in every spelling.
    /// Guarantees: nothing of it is left, and nothing else is gone.
    #[test]
    fn a_strangers_trace_is_forgotten() {
        let mut headers = HeaderMap::new();
        let names = "traceparent tracestate b3 x-b3-traceid x-b3-spanid x-b3-parentspanid \
                     x-b3-sampled x-b3-flags x-own";
        for name in names.split_whitespace() {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        headers.append(TRACEPARENT, HeaderValue::from_static("2"));
        forget(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-own"]);
    }

    fn pass(tracing: Tracing, values: &[&str]) -> (Option<SpanPlace>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let context = read(&mut headers);
        (place(tracing, context, &mut headers), headers)
    }

    /// Scenario: every kind of `traceparent`, with export on and off, with and without roots.
    /// Guarantees: only a sampled request gets a span of ours and its id; an unsampled one passes
    /// unchanged; an invalid one disappears with its state; a root appears only when asked for.
    #[test]
    fn the_callers_decision_is_law() {
        let on = Tracing { is_exporting: true, root_percent: 0.0 };
        let off = Tracing { is_exporting: false, root_percent: 100.0 };
        let roots = Tracing { is_exporting: true, root_percent: 100.0 };
        let sampled = format!("00-{TRACE}-{PARENT}-01");
        let unsampled = format!("00-{TRACE}-{PARENT}-00");
        let check = |tracing, values: &[&str], passes: Option<&str>| {
            let (place, headers) = pass(tracing, values);
            assert_eq!(place, None, "{values:?}");
            let left = headers.get(TRACEPARENT).map(|value| value.to_str().unwrap());
            assert_eq!(left, passes, "{values:?}");
            assert_eq!(headers.contains_key(TRACESTATE), passes.is_some(), "{values:?}");
        };
        check(on, &[&unsampled], Some(&unsampled));
        check(off, &[&sampled], Some(&sampled));
        check(roots, &[&unsampled], Some(&unsampled));
        check(on, &[], None);
        check(off, &[], None);
        check(on, &["00-zz"], None);
        check(on, &[&sampled, &sampled], None);

        let (place, headers) = pass(on, &[&sampled]);
        let place = place.unwrap();
        assert_eq!(place.parent_id.unwrap().to_string(), PARENT);
        let goes_on = format!("00-{TRACE}-{}-01", place.span_id);
        assert_eq!(headers[TRACEPARENT], goes_on);
        assert_eq!(headers[TRACESTATE], "a=b");

        for values in [&[][..], &["00-zz"]] {
            let (place, headers) = pass(roots, values);
            let place = place.unwrap();
            assert_eq!(place.parent_id, None);
            assert_eq!(headers[TRACEPARENT], format!("00-{}-{}-01", place.trace_id, place.span_id));
        }
    }
}

//! How a span ended, from whatever its instrumentation says of it.

use super::attributes::Facts;
use crate::observe::Outcome;
use crate::spans::{Evidence, SpanKind};
use fusebox_proto::grpc;
use opentelemetry_proto::tonic::trace::v1 as trace;

/// HTTP's "client closed request" of nginx: no standard status, and everywhere.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How `span` ended, and what that was read from.
///
/// Two traps. An Envoy whose downstream left says `http.status_code` 0 with the flag `DC`, and no
/// error. A client that lost patience has an error and *no* status, with the word *timeout*
/// somewhere in an exception that is often of another type.
pub(super) fn of(span: &trace::Span, kind: SpanKind, facts: &Facts<'_>) -> (Outcome, Evidence) {
    let is_error = span
        .status
        .as_ref()
        .is_some_and(|status| status.code == trace::status::StatusCode::Error as i32)
        || facts.error.is_true();
    if let Some(outcome) = envoy_flags(facts) {
        return (outcome, Evidence::Error);
    }
    if let Some(status) = facts.http_status.number().and_then(|code| u16::try_from(code).ok()) {
        return http(status, is_error, span, kind, facts);
    }
    if let Some(outcome) = by_grpc(facts) {
        return (outcome, Evidence::Status(0));
    }
    if is_error { by_words(span, facts) } else { (Outcome::Success, Evidence::None) }
}

/// What Envoy's response flags say, where they tell more than the status: who gave up.
fn envoy_flags(facts: &Facts<'_>) -> Option<Outcome> {
    let mut flags = facts.response_flags.text()?.split(',');
    let is_given_up = |flag: &str| matches!(flag, "DC" | "UT" | "SI" | "DT" | "DPE");
    if flags.any(is_given_up) || facts.http_status.number() == Some(0) {
        return Some(Outcome::Timeout);
    }
    None
}

fn http(
    status: u16,
    is_error: bool,
    span: &trace::Span,
    kind: SpanKind,
    facts: &Facts<'_>,
) -> (Outcome, Evidence) {
    match status {
        0 => by_words(span, facts),
        CLIENT_CLOSED_REQUEST => (Outcome::Timeout, Evidence::Status(status)),
        500.. => (Outcome::Failure, Evidence::Status(status)),
        // The status was good, and then something broke: the body, or the handler behind it.
        ..400 if is_error && kind == SpanKind::Client => by_words(span, facts),
        ..400 if is_error => (Outcome::Failure, Evidence::Status(status)),
        // Clients mark 4xx as errors; they are the caller's own.
        _ => (Outcome::Success, Evidence::Status(status)),
    }
}

/// A gRPC status, by number (old names) or by name (new ones).
fn by_grpc(facts: &Facts<'_>) -> Option<Outcome> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let by_name = || {
        let name = facts.rpc_status.text()?;
        NAMES.iter().position(|&known| known == name).and_then(|at| i64::try_from(at).ok())
    };
    Some(match grpc::ending(facts.rpc_status.number().or_else(by_name)?) {
        grpc::Ending::Answered => Outcome::Success,
        grpc::Ending::GivenUp => Outcome::Timeout,
        grpc::Ending::Failed => Outcome::Failure,
    })
}

/// An error without a status: the words of its type, exceptions and message tell what it was.
fn by_words(span: &trace::Span, facts: &Facts<'_>) -> (Outcome, Evidence) {
    // `23` and `20` are what fetch gives as type: a DOMException's number for *timeout* and *abort*.
    const GIVEN_UP: [&str; 6] = ["timeout", "timed out", "timedout", "deadline", "abort", "cancel"];
    const BROKEN: [&str; 12] = [
        "refused",
        "reset",
        "readerror",
        "connecterror",
        "closed",
        "broken pipe",
        "econn",
        "unreachable",
        "enotfound",
        "resol",
        "disconnect",
        "protocolerror",
    ];
    if facts.error_type.number().is_some_and(|number| matches!(number, 20 | 23)) {
        return (Outcome::Timeout, Evidence::Error);
    }
    let mut is_broken = false;
    for words in words(span, facts) {
        let words = words.to_ascii_lowercase();
        if GIVEN_UP.iter().any(|word| words.contains(word)) {
            return (Outcome::Timeout, Evidence::Error);
        }
        is_broken |= BROKEN.iter().any(|word| words.contains(word));
    }
    (Outcome::Failure, if is_broken { Evidence::Error } else { Evidence::UnknownError })
}

/// Texts that tell of an error, each cut to what is worth reading: stack traces are left out.
fn words<'a>(span: &'a trace::Span, facts: &Facts<'a>) -> impl Iterator<Item = &'a str> {
    const EVENTS_MAX: usize = 8;
    const WORDS_LEN_MAX: usize = 1_024;
    let events = span.events.iter().take(EVENTS_MAX).flat_map(|event| &event.attributes);
    let exceptions = events
        .filter(|entry| matches!(&*entry.key, "exception.type" | "exception.message"))
        .filter_map(|entry| super::attributes::text(entry.value.as_ref()?));
    let message = span.status.as_ref().map(|status| status.message.as_str());
    let all = facts.error_type.text().into_iter().chain(message).chain(exceptions);
    all.map(|text| &text[..text.floor_char_boundary(WORDS_LEN_MAX)])
}

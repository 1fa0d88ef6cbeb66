//! What in- and outbound traffic have in common: reading heads, judging ends.

use crate::body::End;
use crate::edge::Outcome;
use crate::outlier::Observed;
use crate::refuse::{
    GRPC_PUSHBACK, GRPC_STATUS, GRPC_UNAVAILABLE, OVERLOADED, RATELIMITED, REFUSED,
};
use crate::retry::{self, Pushback};
use crate::spans::{Ending, Error};
use fusebox_proto::grpc;
use fusebox_proto::report::Protocol;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName};
use http::{StatusCode, Version, request};
use std::borrow::Cow;

/// gRPC's `UNKNOWN`: what a call without a readable status ended with.
const GRPC_UNKNOWN: u16 = 2;

/// What a request speaks. gRPC-Web over HTTP/1 counts as HTTP/1.
pub(crate) fn protocol(head: &request::Parts) -> Protocol {
    protocol_of(head.version, &head.headers)
}

/// The same of what a head is made of.
pub(crate) fn protocol_of(version: Version, headers: &HeaderMap) -> Protocol {
    if version != Version::HTTP_2 {
        return Protocol::Http1;
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if kind.starts_with(b"application/grpc") { Protocol::Grpc } else { Protocol::Http2 }
}

/// `:authority` or `Host`, after the gate has seen to it that there is one.
pub(crate) fn authority(head: &request::Parts) -> Cow<'_, str> {
    match (head.uri.authority(), head.headers.get(HOST)) {
        (Some(authority), _) => Cow::Borrowed(authority.as_str()),
        // `from_utf8_lossy` alone would walk character by character.
        (None, Some(host)) => match std::str::from_utf8(host.as_bytes()) {
            Ok(host) => Cow::Borrowed(host),
            Err(_) => String::from_utf8_lossy(host.as_bytes()),
        },
        (None, None) => Cow::Borrowed(""),
    }
}

/// What the head of a response says about its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    http_status: u16,
    /// Of trailers alone.
    grpc_status: Option<u16>,
    is_grpc: bool,
    /// A proxy further down refused.
    is_refusal: bool,
}

/// How a forwarded request ended, for the counters and for its span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Whose fault.
    pub(crate) outcome: Outcome,
    /// For the span.
    pub(crate) ending: Ending,
}

impl Verdict {
    /// The HTTP status, or the gRPC status where there is one; 0 where the caller got none.
    pub(crate) fn status(&self) -> u16 {
        self.ending.grpc_status.or(self.ending.http_status).unwrap_or(0)
    }

    /// The caller went away.
    pub(crate) fn cancelled() -> Self {
        let ending = Ending { error: Some(Error::Cancelled), ..Ending::default() };
        Self { outcome: Outcome::Cancelled, ending }
    }

    /// There was no answer from the server; the caller got `http_status` from us.
    pub(crate) fn unanswered(outcome: Outcome, http_status: u16, is_grpc: bool) -> Self {
        let (http_status, grpc_status) =
            if is_grpc { (200, Some(GRPC_UNAVAILABLE)) } else { (http_status, None) };
        let is_late = outcome == Outcome::TimedOut;
        let error = Some(if is_late { Error::Timeout } else { Error::Unavailable });
        let ending =
            Ending { http_status: Some(http_status), grpc_status, error, ..Ending::default() };
        Self { outcome, ending }
    }
}

impl Answer {
    /// Reads the head of a response.
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap, is_grpc: bool) -> Self {
        Self {
            http_status: status.as_u16(),
            grpc_status: if is_grpc { grpc_status(headers) } else { None },
            is_grpc,
            is_refusal: headers.contains_key(REFUSED),
        }
    }

    /// What it says about its endpoint, if that is known with the head already: of a gRPC call it
    /// is where trailers are alone.
    pub(crate) fn seen_at_head(self) -> Option<Observed> {
        match self {
            Self { is_refusal: true, .. } => None,
            Self { is_grpc: true, http_status: 200, grpc_status, .. } => {
                grpc_status.map(|status| Observed::Answered(grpc::http_status(status)))
            }
            Self { http_status, .. } => Some(Observed::Answered(http_status)),
        }
    }

    /// What its end says about its endpoint beyond that.
    pub(crate) fn seen_at_end(self, end: &End<'_>, verdict: &Verdict) -> Option<Observed> {
        match end {
            End::Broken => Some(Observed::Broken),
            End::TimedOut => Some(Observed::TimedOut),
            End::Complete(_) if self.is_refusal || self.seen_at_head().is_some() => None,
            End::Complete(_) => {
                verdict.ending.grpc_status.map(|it| Observed::Answered(grpc::http_status(it)))
            }
        }
    }

    /// As the retry policy looks at it.
    pub(crate) fn for_retry(self, headers: &HeaderMap) -> retry::Answer {
        let refuses = |name: &HeaderName| headers.contains_key(name);
        retry::Answer {
            status: self.http_status,
            grpc_status: self.grpc_status,
            is_refusal: self.is_refusal || [RATELIMITED, OVERLOADED].iter().any(refuses),
            pushback: headers.get(GRPC_PUSHBACK).map(|value| Pushback::parse(value.as_bytes())),
        }
    }

    /// Judges the end of its body. A 5xx is the server's failure, and so is a gRPC status that
    /// [`Outcome::of_grpc`] calls one, in trailers or in trailers alone; a gRPC response without a
    /// status broke off. A refusal by a proxy further down is ours.
    pub(crate) fn verdict(self, end: &End<'_>) -> Verdict {
        let trailers = match end {
            End::Complete(trailers) => *trailers,
            End::Broken => return self.with(Outcome::Failure, None, Some(Error::Reset)),
            End::TimedOut => return self.with(Outcome::TimedOut, None, Some(Error::Timeout)),
        };
        let in_trailers = trailers.and_then(grpc_status);
        let grpc_status = if self.is_grpc && self.http_status == 200 {
            in_trailers.or(self.grpc_status).or(Some(GRPC_UNKNOWN))
        } else {
            None
        };
        if self.is_refusal {
            return self.with(Outcome::Ours, grpc_status, None);
        }
        let outcome =
            grpc_status.map_or_else(|| Outcome::of_http(self.http_status), Outcome::of_grpc);
        let error = (outcome == Outcome::Failure).then_some(Error::Status);
        self.with(outcome, grpc_status, error)
    }

    fn with(self, outcome: Outcome, grpc_status: Option<u16>, error: Option<Error>) -> Verdict {
        let http_status = Some(self.http_status);
        Verdict { outcome, ending: Ending { http_status, grpc_status, error, refused: None } }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get(GRPC_STATUS)?;
    Some(value.to_str().ok().and_then(|value| value.parse().ok()).unwrap_or(GRPC_UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: ends of responses of every kind, plain and gRPC.
    /// Guarantees: each is put to the account of the one whose it is.
    #[test]
    fn whose_end_it_was() {
        let check = |http: u16,
                     headers: &[(&'static str, &str)],
                     trailer: Option<&str>,
                     is_grpc,
                     outcome,
                     status| {
            let mut response = http::Response::builder().status(http);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            let trailers =
                trailer.map(|value| HeaderMap::from_iter([(GRPC_STATUS, value.parse().unwrap())]));
            let verdict = Answer::new(head.status, &head.headers, is_grpc)
                .verdict(&End::Complete(trailers.as_ref()));
            assert_eq!(
                (verdict.outcome, verdict.status()),
                (outcome, status),
                "{http} {trailer:?}"
            );
        };
        let refused = [("x-fusebox-refused", "open; edge=a>b")];
        check(200, &[], None, false, Outcome::Success, 200);
        check(404, &[], None, false, Outcome::Success, 404);
        check(500, &[], None, false, Outcome::Failure, 500);
        check(503, &[], None, false, Outcome::Failure, 503);
        check(503, &refused, None, false, Outcome::Ours, 503);
        check(424, &refused, None, false, Outcome::Ours, 424);
        check(200, &[], Some("0"), true, Outcome::Success, 0);
        check(200, &[], Some("5"), true, Outcome::Success, 5);
        check(200, &[], Some("13"), true, Outcome::Failure, 13);
        check(200, &[], Some("junk"), true, Outcome::Failure, GRPC_UNKNOWN);
        check(200, &[], None, true, Outcome::Failure, GRPC_UNKNOWN);
        check(200, &[("grpc-status", "14")], None, true, Outcome::Failure, 14);
        check(200, &[("grpc-status", "14"), refused[0]], None, true, Outcome::Ours, 14);
        check(502, &[], None, true, Outcome::Failure, 502);
        check(200, &[], Some("13"), false, Outcome::Success, 200);
    }
}

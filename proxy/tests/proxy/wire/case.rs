//! One case: bytes that a client sends, and what of them may arrive at the origin.
//!
//! Targets carry a mark. `/0000/main` is the request in question; `/0000/next` a clean one behind
//! it, which the client did send; `/0000/evil` stands in a place where it is no request of the
//! client's, and may never arrive. The zeros become the number of the case.

/// The request in question.
pub(crate) const MAIN: &str = "/0000/main";
/// A request hidden in a body, a value or behind a message without a clear end.
pub(crate) const EVIL: &str = "GET /0000/evil HTTP/1.1\r\nhost: x\r\n\r\n";
/// A clean last request.
pub(crate) const NEXT: &str = "GET /0000/next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// What may become of the request in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is correct: it arrives, as what follows it does, and both are answered.
    Served,
    /// It may be refused, or made unambiguous.
    Harmless,
    /// It has no meaning: it may not arrive whole.
    Refused,
}

/// A case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) class: &'static str,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
    /// Bodies with which it may arrive; none: any.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// Headers that must not arrive with it, and some that must.
    pub(crate) lost: Vec<&'static str>,
    pub(crate) kept: Vec<&'static str>,
    pub(crate) is_http2: bool,
}

impl Case {
    pub(crate) fn new(
        class: &'static str,
        name: impl Into<String>,
        verdict: Verdict,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        let (bodies, lost, kept) = Default::default();
        let (name, bytes) = (name.into(), bytes.into());
        Self { class, name, bytes, verdict, bodies, lost, kept, is_http2: false }
    }

    /// If it arrives, it has this body, or one of those said in the same way.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.bodies.push(body.into());
        self
    }

    pub(crate) fn lost(mut self, names: &[&'static str]) -> Self {
        self.lost.extend_from_slice(names);
        self
    }

    pub(crate) fn kept(mut self, names: &[&'static str]) -> Self {
        self.kept.extend_from_slice(names);
        self
    }

    /// Whether it may arrive with `body`.
    pub(crate) fn may_have(&self, body: &[u8], number: usize) -> bool {
        self.bodies.is_empty() || self.bodies.iter().any(|one| numbered(one, number) == body)
    }
}

/// `bytes` with the number of a case for the zeros.
pub(crate) fn numbered(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mark = mark(number);
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(b"/0000/") {
            bytes[at..at + mark.len()].copy_from_slice(mark.as_bytes());
        }
    }
    bytes
}

/// What the targets of a case begin with.
pub(crate) fn mark(number: usize) -> String {
    format!("/{number:04}/")
}

/// A head of `POST` in question, with `Host`.
pub(crate) fn post(headers: &str) -> String {
    format!("POST {MAIN} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
}

/// A head of `GET` in question, with `Host`.
pub(crate) fn get(headers: &str) -> String {
    format!("GET {MAIN} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")
}

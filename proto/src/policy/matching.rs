//! Whether a request meets a condition. The hot path: nothing here allocates.
//!
//! Semantics are Istio's (and Envoy's below it): all parts of one condition must hold; a regular
//! expression must match the whole value; paths are matched without their query, query parameters
//! as they were sent, without percent-decoding.

use super::host::standing_in;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A request, as far as routing looks at it. Borrowed: the proxy makes one on the stack.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `GET`.
    pub method: &'a str,
    /// `http`, `https`.
    pub scheme: &'a str,
    /// `Host` or `:authority`, with its port if it has one.
    pub authority: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// Behind the `?`, without it.
    pub query: Option<&'a str>,
    /// The port that the client dialled.
    pub port: u16,
    /// The other headers.
    pub headers: &'a dyn Headers,
    /// Who calls.
    pub caller: &'a Caller,
}

/// How routing reads headers.
pub trait Headers {
    /// The value of this header (lower-case name); those of several lines joined by `,`.
    fn get(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// The workload behind a proxy, as `sourceLabels` and `sourceNamespace` see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Its namespace; empty: it stands in `default`.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Caller {
    pub(super) fn is(&self, labels: &[(Arc<str>, Arc<str>)], namespace: Option<&str>) -> bool {
        let has = |(key, value): &(Arc<str>, Arc<str>)| {
            self.labels.get(&**key).is_some_and(|own| **own == **value)
        };
        namespace.is_none_or(|namespace| namespace == standing_in(&self.namespace))
            && labels.iter().all(has)
    }
}

/// One condition of a rule: all parts that are there must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpMatch {
    /// `uri`, on the path without query.
    pub uri: Option<StringMatch>,
    /// `ignoreUriCase`: for exact and prefix, as in Istio.
    pub ignore_uri_case: bool,
    /// `scheme`.
    pub scheme: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `authority`.
    pub authority: Option<StringMatch>,
    /// `headers`, names in lower case.
    pub headers: Vec<(Box<str>, StringMatch)>,
    /// `withoutHeaders`: none of these may match; an absent header never does.
    pub without_headers: Vec<(Box<str>, StringMatch)>,
    /// `queryParams`: the first value of the name counts.
    pub query_params: Vec<(Box<str>, StringMatch)>,
    /// `port`: the one that the client dialled.
    pub port: Option<u16>,
    /// `sourceLabels`: the caller has all of them.
    pub source_labels: Vec<(Arc<str>, Arc<str>)>,
    /// `sourceNamespace`.
    pub source_namespace: Option<Arc<str>>,
}

impl HttpMatch {
    /// Whether all parts hold.
    pub fn holds(&self, request: &Request<'_>) -> bool {
        let holds = |part: &Option<StringMatch>, value: &str| {
            part.as_ref().is_none_or(|part| part.matches(value.as_bytes()))
        };
        let uri = self.uri.as_ref().is_none_or(|uri| {
            let path = request.path.as_bytes();
            if self.ignore_uri_case { uri.matches_ignoring_case(path) } else { uri.matches(path) }
        });
        uri && holds(&self.method, request.method)
            && self.port.is_none_or(|port| port == request.port)
            && holds(&self.scheme, request.scheme)
            && holds(&self.authority, request.authority)
            && self.headers.iter().all(|header| has_header(request, header))
            && !self.without_headers.iter().any(|header| has_header(request, header))
            && self.query_params.iter().all(|(name, value)| {
                let sent = request.query.and_then(|query| query_param(query, name));
                sent.is_some_and(|sent| value.matches(sent.as_bytes()))
            })
            && request.caller.is(&self.source_labels, self.source_namespace.as_deref())
    }
}

fn has_header(request: &Request<'_>, (name, value): &(Box<str>, StringMatch)) -> bool {
    request.headers.get(name).is_some_and(|sent| value.matches(&sent))
}

/// The first value of `name` in a query string; empty for a name without `=`.
fn query_param<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Istio's `StringMatch`, and the Gateway API's path prefix.
#[derive(Clone, Debug, PartialEq)]
pub enum StringMatch {
    /// There, with any value: a header or parameter with an empty condition.
    Present,
    /// Equal.
    Exact(Box<str>),
    /// Begins so.
    Prefix(Box<str>),
    /// Begins so, at the border of a path element: `/cart` is not in `/cartoon`. Without the slash
    /// at its end; `/` is empty and matches every path.
    PathPrefix(Box<str>),
    /// The whole value matches.
    Regex(Pattern),
}

impl StringMatch {
    /// Whether `value` is so.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => exact.as_bytes() == value,
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::PathPrefix(prefix) => {
                let rest = value.strip_prefix(prefix.as_bytes());
                rest.is_some_and(|rest| rest.first().is_none_or(|&next| next == b'/'))
            }
            Self::Regex(pattern) => pattern.regex.is_match(value),
        }
    }

    /// As [`Self::matches`], with ASCII case ignored; a regular expression says itself what it
    /// ignores.
    pub fn matches_ignoring_case(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.as_bytes().eq_ignore_ascii_case(value),
            Self::Prefix(prefix) => {
                let start = value.get(..prefix.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
            }
            Self::Present | Self::PathPrefix(_) | Self::Regex(_) => self.matches(value),
        }
    }
}

/// A regular expression of a document, compiled once. Equal where the text is equal.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    regex: regex::bytes::Regex,
}

/// Longer regular expressions are refused.
const PATTERN_LEN_MAX: usize = 1024;
/// Compiled size of a regular expression, bytes: `(\w{100}){100}` is short to write.
const PATTERN_BYTES_MAX: usize = 64 << 10;

impl Pattern {
    /// One that must match a whole value.
    ///
    /// # Errors
    /// If it does not parse, or is too large; the text says why.
    pub fn whole(text: &str) -> Result<Self, String> {
        // Alone first: `a)|(b` is wrong, although it is right between parentheses.
        build(text)?;
        Ok(Self { text: text.into(), regex: build(&format!(r"\A(?:{text})\z"))? })
    }

    /// One that may match anywhere in a value, for rewriting.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub fn part(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.into(), regex: build(text)? })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many groups it captures, without the whole match.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    pub(super) const fn regex(&self) -> &regex::bytes::Regex {
        &self.regex
    }
}

/// As RE2 in Envoy: `\w`, `\d` and `\s` are ASCII. Only what needs Unicode (`\p{L}`) gets it.
fn build(text: &str) -> Result<regex::bytes::Regex, String> {
    if PATTERN_LEN_MAX + 16 < text.len() {
        return Err(format!("is longer than {PATTERN_LEN_MAX} bytes"));
    }
    let build = |unicode| {
        let mut builder = regex::bytes::RegexBuilder::new(text);
        builder
            .unicode(unicode)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build()
    };
    build(false).or_else(|_| build(true)).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "is too large once compiled".to_owned(),
        // The last line says what is wrong, those above it draw where.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            format!("is no regular expression: {}", reason.trim_start_matches("error: "))
        }
    })
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

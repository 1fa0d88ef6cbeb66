//! What changes in a request or response on its way: path, authority, headers; and redirects.

use super::matching::{HttpMatch, Pattern, Request, StringMatch};
use crate::name::split_port;
use regex::bytes::Captures;
use std::borrow::Cow;
use std::sync::Arc;

/// Header edits, in this order: set, add, remove. Names are lower case and valid, values can stand
/// in a header, and none of them touches framing or `Host`: checked where documents are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Replaces what is there.
    pub set: Vec<(Box<str>, Box<str>)>,
    /// Is added to what is there.
    pub add: Vec<(Box<str>, Box<str>)>,
    /// Is removed.
    pub remove: Vec<Box<str>>,
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// `rewrite`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// `Host` or `:authority`.
    pub authority: Option<Arc<str>>,
}

/// How a path changes; its query stays.
#[derive(Clone, Debug, PartialEq)]
pub enum PathRewrite {
    /// Istio's `rewrite.uri`: replaces the matched prefix, byte for byte; the whole path if the
    /// rule matched in another way; the `/` at its start if the rule has no condition on it.
    Uri(Box<str>),
    /// The Gateway API's `ReplacePrefixMatch`: as above, with exactly one slash at the seam.
    Prefix(Box<str>),
    /// The whole path.
    Full(Box<str>),
    /// `uriRegexRewrite`: every match is replaced; `\1` is a group.
    Regex {
        /// What.
        pattern: Pattern,
        /// By what: pieces of text, each followed by a group of the pattern.
        replacement: Vec<ReplacementPart>,
    },
}

/// A piece of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplacementPart {
    /// As it is.
    Text(Box<str>),
    /// What this group matched; 0 is the whole match.
    Group(usize),
}

impl PathRewrite {
    /// The new path. `condition` is the one that the rule matched by.
    pub fn apply<'r>(&'r self, path: &str, condition: Option<&HttpMatch>) -> Cow<'r, str> {
        match self {
            Self::Full(full) => Cow::Borrowed(full),
            Self::Uri(new) => match condition.map(|condition| condition.uri.as_ref()) {
                None | Some(None) => join(new, path, 1, false),
                Some(Some(StringMatch::Prefix(prefix))) => join(new, path, prefix.len(), false),
                Some(Some(_)) => Cow::Borrowed(new),
            },
            Self::Prefix(new) => match condition.and_then(|condition| condition.uri.as_ref()) {
                Some(StringMatch::PathPrefix(prefix)) => join(new, path, prefix.len(), true),
                _ => join(new, path, 0, true),
            },
            Self::Regex { pattern, replacement } => {
                let found = |found: &Captures<'_>| expand(replacement, found);
                let replaced = pattern.regex().replace_all(path.as_bytes(), found);
                Cow::Owned(String::from_utf8_lossy(&replaced).into_owned())
            }
        }
    }
}

fn expand(replacement: &[ReplacementPart], found: &Captures<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in replacement {
        match part {
            ReplacementPart::Text(text) => out.extend(text.bytes()),
            ReplacementPart::Group(group) => {
                let found = found.get(*group).map(|group| group.as_bytes());
                out.extend_from_slice(found.unwrap_or_default());
            }
        }
    }
    out
}

/// `new` in place of the first `cut` bytes of `path`.
fn join<'r>(new: &'r str, path: &str, cut: usize, seam: bool) -> Cow<'r, str> {
    let rest = path.get(cut..).unwrap_or_default();
    if !seam {
        return if rest.is_empty() {
            Cow::Borrowed(new)
        } else {
            Cow::Owned(format!("{new}{rest}"))
        };
    }
    let (new, rest) = (new.trim_end_matches('/'), rest.trim_start_matches('/'));
    match (new.is_empty(), rest.is_empty()) {
        (false, true) => Cow::Borrowed(new),
        _ => Cow::Owned(format!("{new}/{rest}")),
    }
}

/// `redirect`.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// 301, 302, 303, 307, 308.
    pub status: u16,
    /// `None`: that of the request.
    pub scheme: Option<Box<str>>,
    /// Host, maybe with a port. `None`: that of the request.
    pub authority: Option<Box<str>>,
    /// Which port.
    pub port: RedirectPort,
    /// `None`: that of the request.
    pub path: Option<PathRewrite>,
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectPort {
    /// That of [`Redirect::authority`] if it names one, else that of the request's authority,
    /// unless the scheme changes.
    #[default]
    Kept,
    /// `derivePort: FROM_PROTOCOL_DEFAULT`: none.
    OfScheme,
    /// `derivePort: FROM_REQUEST_PORT`: the one that the client dialled.
    OfRequest,
    /// This one.
    Number(u16),
}

impl Redirect {
    /// The `Location` for a request that matched by `condition`.
    pub fn location(&self, request: &Request<'_>, condition: Option<&HttpMatch>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(request.scheme);
        let (host, own_port) = split_port(self.authority.as_deref().unwrap_or(request.authority));
        let is_kept = self.authority.is_some() || scheme == request.scheme;
        let port = match self.port {
            RedirectPort::Kept => own_port.filter(|_| is_kept).map(ToOwned::to_owned),
            RedirectPort::OfScheme => None,
            RedirectPort::OfRequest => Some(request.port.to_string()),
            RedirectPort::Number(port) => Some(port.to_string()),
        };
        let is_default =
            |port: &String| matches!((scheme, &**port), ("http", "80") | ("https", "443"));
        let port = port.filter(|port| !is_default(port));
        let path = self.path.as_ref().map(|rewrite| rewrite.apply(request.path, condition));
        let path = path.as_deref().unwrap_or(request.path);
        let mut out = format!("{scheme}://{host}");
        if let Some(port) = port {
            out.push(':');
            out.push_str(&port);
        }
        out.push_str(path);
        if let Some(query) = request.query {
            out.push('?');
            out.push_str(query);
        }
        out
    }
}

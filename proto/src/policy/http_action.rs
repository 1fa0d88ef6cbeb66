//! What a rule of a `VirtualService` does with a request: destinations, redirect, direct response,
//! rewrite.

use super::Profile;
use super::at::At;
use super::fields::Fields;
use super::header_edits::{self, Edits, is_authority};
use super::matching::Pattern;
use super::request::WEIGHT_MAX;
use super::rewrite::{PathRewrite, Redirect, RedirectPort, ReplacementPart, Rewrite};
use super::route::{Destination, Destinations, DirectResponse, Weighted};
use super::scope::host;
use super::sink::Place;
use super::traffic_policy::port;
use std::cell::RefCell;

/// What reading a rule needs to know, and what it finds on the way.
pub(super) struct Context<'d> {
    /// Of the document.
    pub(super) namespace: &'d str,
    pub(super) profile: Profile,
    /// Subsets that rules name: whether they exist is known once all documents are read.
    pub(super) subsets: RefCell<Vec<(Destination, Place)>>,
}

impl<'d> Context<'d> {
    pub(super) fn new(namespace: &'d str, profile: Profile) -> Self {
        Self { namespace, profile, subsets: RefCell::default() }
    }
}

/// `{host, subset, port}`.
pub(super) fn destination(at: At<'_>, context: &Context<'_>) -> Option<Destination> {
    let fields = at.object()?;
    let host = fields.required("host").and_then(|at| host(&at, context.namespace));
    let subset = fields.get("subset").and_then(|at| Some((at.name()?, at.place())));
    let port = fields.get("port").and_then(port);
    fields.finish(&[]);
    let host = host?;
    if host.is_wildcard() {
        at.error(format!("has the host {host}; allowed is a single one"));
        return None;
    }
    let (subset, place) = subset.unzip();
    let destination = Destination { host: host.to_string().into(), subset, port };
    if let Some(place) = place {
        context.subsets.borrow_mut().push((destination.clone(), place));
    }
    Some(destination)
}

/// `route` of `http`, `tcp` and `tls`: the latter two have no headers.
pub(super) fn destinations(at: &At<'_>, context: &Context<'_>) -> Option<Destinations> {
    let mut all = Vec::new();
    let count = at.items().count();
    for at in at.items() {
        let Some(fields) = at.object() else { continue };
        let destination = fields.required("destination").and_then(|at| destination(at, context));
        let weight = fields.uint("weight", 0..=WEIGHT_MAX);
        let edits = fields.object("headers").map(header_edits::read).unwrap_or_default();
        if edits.authority.is_some() {
            fields
                .at()
                .warn("sets Host for one destination, which has no effect: set it for the rule");
        }
        if weight.is_none() && 1 < count && !fields.has("weight") {
            fields.at().warn("has no weight, which is 0 beside others: it gets no request");
        }
        fields.finish(&[]);
        all.extend(destination.map(|destination| Weighted {
            destination,
            // Alone it gets everything, whatever its weight.
            weight: if count == 1 { 1 } else { weight.unwrap_or_default() },
            request_headers: edits.request,
            response_headers: edits.response,
        }));
    }
    let is_complete = all.len() == count;
    let destinations = Destinations::new(all);
    if destinations.is_none() && is_complete {
        at.error(if count == 0 {
            "has no destination; at least one is required"
        } else {
            "has only weights of 0; at least one must be more"
        });
    }
    destinations
}

/// `rewrite`, with what `headers` say of the authority.
pub(super) fn rewrite(fields: &Fields<'_>, edits: &Edits) -> Rewrite {
    let mut rewrite = Rewrite { path: None, authority: edits.authority.as_deref().map(Into::into) };
    let Some(fields) = fields.object("rewrite") else { return rewrite };
    if let Some(at) = fields.get("authority") {
        let text = at.text().filter(|text| is_authority(&at, text));
        rewrite.authority = text.map(Into::into).or(rewrite.authority);
    }
    let uri = fields.get("uri").and_then(|at| path(&at)).map(PathRewrite::Uri);
    let regex = fields.object("uriRegexRewrite").and_then(regex_rewrite);
    if uri.is_some() && regex.is_some() {
        fields.at().error("has uri and uriRegexRewrite; allowed is one of them");
    }
    rewrite.path = uri.or(regex);
    if !["uri", "authority", "uriRegexRewrite"].into_iter().any(|name| fields.has(name)) {
        fields.at().warn("rewrites nothing: it has none of uri, authority, uriRegexRewrite");
    }
    fields.finish(&[]);
    rewrite
}

/// A path that a request can carry.
pub(super) fn path(at: &At<'_>) -> Option<Box<str>> {
    let text = at.text()?;
    let is_allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'<' | b'>' | b'"');
    if text.bytes().all(is_allowed) {
        return Some(text.into());
    }
    at.error(format!("is {text}; allowed is a path without query, spaces and control characters"));
    None
}

fn regex_rewrite(fields: Fields<'_>) -> Option<PathRewrite> {
    let pattern = fields.required("match").and_then(|at| at.pattern(Pattern::part));
    let rewrite = fields.required("rewrite");
    let replacement = rewrite.as_ref().and_then(|at| {
        let parts = replacement(&path(at)?, pattern.as_ref().map_or(0, Pattern::groups));
        parts.map_err(|reason| at.error(reason)).ok()
    });
    fields.finish(&[]);
    Some(PathRewrite::Regex { pattern: pattern?, replacement: replacement? })
}

/// RE2's replacement: `\1` is a group, `\\` a backslash.
fn replacement(text: &str, groups: usize) -> Result<Vec<ReplacementPart>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => plain.push('\\'),
            Some(digit @ '0'..='9') => {
                let group = digit as usize - '0' as usize;
                if groups < group {
                    return Err(format!("uses group \\{group}; match has {groups}"));
                }
                if !plain.is_empty() {
                    parts.push(ReplacementPart::Text(std::mem::take(&mut plain).into()));
                }
                parts.push(ReplacementPart::Group(group));
            }
            _ => return Err("has a \\ that is followed by neither a digit nor a \\".into()),
        }
    }
    if !plain.is_empty() {
        parts.push(ReplacementPart::Text(plain.into()));
    }
    Ok(parts)
}

/// `redirect`.
pub(super) fn redirect(fields: Fields<'_>) -> Redirect {
    let status = fields.get("redirectCode").and_then(|at| redirect_status(&at));
    let derived = [
        ("FROM_PROTOCOL_DEFAULT", RedirectPort::OfScheme),
        ("FROM_REQUEST_PORT", RedirectPort::OfRequest),
    ];
    let number = fields.get("port").and_then(|at| at.port()).map(RedirectPort::Number);
    let derived = fields.choice("derivePort", &derived);
    if number.is_some() && derived.is_some() {
        fields.at().error("has port and derivePort; allowed is one of them");
    }
    let uri = fields.get("uri").and_then(|at| path(&at)).map(PathRewrite::Full);
    let prefix = fields.get("prefixRewrite").and_then(|at| path(&at)).map(PathRewrite::Uri);
    if uri.is_some() && prefix.is_some() {
        fields.at().error("has uri and prefixRewrite; allowed is one of them");
    }
    let authority = fields
        .get("authority")
        .and_then(|at| at.text().filter(|text| is_authority(&at, text)).map(Into::into));
    let redirect = Redirect {
        status: status.unwrap_or(301),
        scheme: fields.choice("scheme", &[("http", "http"), ("https", "https")]).map(Into::into),
        authority,
        port: number.or(derived).unwrap_or_default(),
        path: uri.or(prefix),
    };
    if changes_nothing(&redirect) {
        fields
            .at()
            .error("changes nothing: allowed are uri, authority, port, scheme, prefixRewrite");
    }
    fields.finish(&[]);
    redirect
}

/// A status that a `Location` belongs to.
pub(super) fn redirect_status(at: &At<'_>) -> Option<u16> {
    let status = at.uint(100..=599)? as u16;
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        at.error(format!("is {status}; allowed are 301, 302, 303, 307, 308"));
    }
    Some(status)
}

fn changes_nothing(redirect: &Redirect) -> bool {
    redirect.scheme.is_none()
        && redirect.authority.is_none()
        && redirect.path.is_none()
        && !matches!(redirect.port, RedirectPort::Number(_))
}

/// `directResponse`.
pub(super) fn direct_response(fields: Fields<'_>) -> Option<DirectResponse> {
    let status = fields.required("status").and_then(|at| at.uint(200..=599));
    let body = fields.object("body").and_then(|body| {
        let text = body.text("string").map(|text| text.as_bytes().into());
        body.finish(&["bytes"]);
        text
    });
    fields.finish(&[]);
    Some(DirectResponse { status: status? as u16, body: body.unwrap_or_default() })
}

//! Header edits of documents. What would break a message on the wire is refused here: framing,
//! hop-by-hop headers, control characters in values.

use super::at::At;
use super::fields::Fields;
use super::rewrite::HeaderEdits;

/// Entries of one list of edits.
const EDITS_MAX: usize = 64;
/// Bytes of one value.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// Headers that say where a message ends, or belong to one connection.
const UNTOUCHABLE: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// `headers: {request: {...}, response: {...}}` of a `VirtualService`.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) request: HeaderEdits,
    pub(super) response: HeaderEdits,
    /// `Host` is set: a rewrite of the authority.
    pub(super) authority: Option<String>,
}

/// Reads `headers` of a rule or of a destination.
pub(super) fn read(fields: Fields<'_>) -> Edits {
    let mut edits = Edits::default();
    if let Some(request) = fields.object("request") {
        edits.request = operations(request, &mut edits.authority);
    }
    if let Some(response) = fields.object("response") {
        let mut authority = None;
        let at = *response.at();
        edits.response = operations(response, &mut authority);
        if authority.is_some() {
            at.error("sets Host, which is no header of a response");
        }
    }
    fields.finish(&[]);
    edits
}

fn operations(fields: Fields<'_>, authority: &mut Option<String>) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for (name, list) in [("set", &mut edits.set), ("add", &mut edits.add)] {
        let Some(at) = fields.get(name) else { continue };
        for (key, at) in at.entries() {
            if key.eq_ignore_ascii_case("host") || key == ":authority" {
                *authority = at.text().filter(|text| is_authority(&at, text)).map(Into::into);
            } else {
                list.extend(edit(&at, key));
            }
        }
        check_len(&at, list.len());
    }
    edits.remove = removed(&fields);
    fields.finish(&[]);
    edits
}

/// The names in `remove`, which both APIs write alike.
fn removed(fields: &Fields<'_>) -> Vec<Box<str>> {
    let Some(at) = fields.get("remove") else { return Vec::new() };
    let names: Vec<_> = at.items().filter_map(|at| edited_name(&at, at.text()?)).collect();
    check_len(&at, names.len());
    names
}

/// `{name: ..., value: ...}` lists of the Gateway API.
pub(super) fn modifier(fields: Fields<'_>) -> HeaderEdits {
    let mut edits = HeaderEdits::default();
    for (name, list) in [("set", &mut edits.set), ("add", &mut edits.add)] {
        let Some(at) = fields.get(name) else { continue };
        for at in at.items() {
            let Some(fields) = at.object() else { continue };
            let name = fields.required("name").and_then(|at| at.text().map(ToOwned::to_owned));
            let value = fields.required("value");
            if let (Some(name), Some(value)) = (name, &value) {
                list.extend(edit(value, &name));
            }
            fields.finish(&[]);
        }
        check_len(&at, list.len());
    }
    edits.remove = removed(&fields);
    fields.finish(&[]);
    edits
}

fn check_len(at: &At<'_>, len: usize) {
    if EDITS_MAX < len {
        at.error(format!("has {len} headers; at most {EDITS_MAX}"));
    }
}

fn edit(at: &At<'_>, name: &str) -> Option<(Box<str>, Box<str>)> {
    let value = at.text()?;
    let name = edited_name(at, name)?;
    if VALUE_BYTES_MAX < value.len() || value.chars().any(|c| c.is_control() && c != '\t') {
        at.error(format!(
            "is no value of a header; allowed are up to {VALUE_BYTES_MAX} bytes without control \
             characters"
        ));
        return None;
    }
    if value.matches('%').count() >= 2 {
        at.warn("is taken as it is: Envoy's %COMMANDS% are not supported");
    }
    Some((name, value.trim().into()))
}

fn edited_name(at: &At<'_>, name: &str) -> Option<Box<str>> {
    let name = header_name(at, name)?;
    if UNTOUCHABLE.contains(&&*name) || *name == *"host" {
        at.error(format!(
            "edits {name}, which belongs to the connection; allowed are other headers"
        ));
        return None;
    }
    Some(name)
}

/// A header's name in lower case.
pub(super) fn header_name(at: &At<'_>, name: &str) -> Option<Box<str>> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        at.error(format!("has {name}, which is no name of a header"));
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

/// Whether a text can stand as `Host`; complains if not.
pub(super) fn is_authority(at: &At<'_>, text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    let is_valid = !text.is_empty() && text.len() <= 255 && text.bytes().all(is_allowed);
    if !is_valid {
        at.error(format!("is {text}; allowed is a host, maybe with a port"));
    }
    is_valid
}

//! Header edits, worked out once so that a request only copies references.

use fusebox_proto::policy::HeaderEdits;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Edits in their order: set, add, remove.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Edits {
    /// The edits of a rule or destination. Names and values were checked where they were read.
    pub(crate) fn new(edits: &HeaderEdits) -> Self {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let pair = |(key, value): &(Box<str>, Box<str>)| {
            Some((name(key)?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        Self {
            set: edits.set.iter().filter_map(pair).collect(),
            add: edits.add.iter().filter_map(pair).collect(),
            remove: edits.remove.iter().filter_map(|key| name(key)).collect(),
        }
    }

    /// Edits `headers`.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

//! How a document is read field by field, so that every complaint has a path, a line, and says what
//! is allowed; and so that no field is passed over in silence.
//!
//! [`Fields`] remembers which fields were asked for. [`Fields::finish`] complains about the others:
//! those that Istio or the Gateway API know are "not supported", the rest is "not a field".

use super::at::{At, Step};
use super::yaml::{Node, Value};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The fields of an object.
pub(super) struct Fields<'a> {
    at: At<'a>,
    entries: &'a [(Box<str>, Node)],
    /// Names asked for: the fields that there are.
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(at: At<'a>, entries: &'a [(Box<str>, Node)]) -> Self {
        Self { at, entries, asked: RefCell::default() }
    }

    /// The place of the object itself.
    pub(super) const fn at(&self) -> &At<'a> {
        &self.at
    }

    /// The field of this name, unless it is absent or null.
    pub(super) fn get(&self, name: &'static str) -> Option<At<'_>> {
        self.asked.borrow_mut().push(name);
        let (_, node) = self.entries.iter().find(|(key, _)| **key == *name)?;
        (node.value != Value::Null).then(|| self.at.step(node, Step::Key(name)))
    }

    /// Whether the field is there; asking does not count as reading it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, node)| **key == *name && node.value != Value::Null)
    }

    /// The field of this name; an error if it is absent.
    pub(super) fn required(&self, name: &'static str) -> Option<At<'_>> {
        let found = self.get(name);
        if found.is_none() {
            self.at.error(format!("has no {name}, which is required"));
        }
        found
    }

    /// Whether a field with this prefix is there.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.entries.iter().any(|(key, _)| key.starts_with(prefix))
    }

    pub(super) fn object(&self, name: &'static str) -> Option<Fields<'_>> {
        self.get(name)?.object()
    }

    pub(super) fn text(&self, name: &'static str) -> Option<&str> {
        self.get(name)?.text()
    }

    pub(super) fn boolean(&self, name: &'static str) -> Option<bool> {
        self.get(name)?.boolean()
    }

    pub(super) fn uint(&self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        self.get(name)?.uint(range)
    }

    pub(super) fn duration(&self, name: &'static str, least: Duration) -> Option<Duration> {
        self.get(name)?.duration(least)
    }

    pub(super) fn choice<T: Clone>(&self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.get(name)?.choice(choices)
    }

    /// Complains about what was not asked for. `unsupported`: fields that exist and have no effect
    /// here.
    pub(super) fn finish(self, unsupported: &[&'static str]) {
        let asked = self.asked.borrow();
        for (key, node) in self.entries {
            if asked.contains(&&**key) || node.value == Value::Null {
                continue;
            }
            let at = self.at.step(node, Step::Key(key));
            if unsupported.contains(&&**key) {
                at.warn("is not supported and has no effect");
            } else {
                let known = asked.iter().chain(unsupported);
                let hint = did_you_mean(key, known.copied());
                at.warn(format!("is not a field of this object and has no effect{hint}"));
            }
        }
    }

    /// As [`Self::finish`] for documents that are mostly about what Fusebox does not have: what was
    /// not asked for is noted, and no fault of anybody.
    pub(super) fn finish_with_notes(self) {
        let asked = self.asked.borrow();
        for (key, node) in self.entries {
            if !asked.contains(&&**key) && node.value != Value::Null {
                self.at.step(node, Step::Key(key)).note("has no meaning here and no effect");
            }
        }
    }
}

/// `; did you mean weight?` where a name is close, else nothing.
pub(super) fn did_you_mean<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> String {
    let lower = word.to_ascii_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase());
    let near = names.map(|name| (distance(name), name)).min();
    match near {
        Some((distance, name)) if distance <= (word.len() / 3).clamp(1, 3) => {
            format!("; did you mean {name}?")
        }
        _ => String::new(),
    }
}

//! What applying or rolling back would change, field by field.

use super::document::Document;
use super::emit::emit_scalar;
use super::yaml::{Node, Value};
use crate::text;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// Changes that one diff lists; what is more is counted.
pub const CHANGES_MAX: usize = 1_000;
/// Bytes of a value in a change.
const VALUE_LEN_MAX: usize = 120;

/// What changes between two sets of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// In order of the new set; what is removed comes last.
    pub changes: Vec<Change>,
    /// Changes past [`CHANGES_MAX`].
    pub left_out: usize,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `VirtualService/shop/inventory`.
    pub object: String,
    /// `spec.http[0].route[1].weight`; empty: the whole document is added or removed.
    pub field: String,
    /// The value before; `None`: it was not there.
    pub before: Option<String>,
    /// The value after; `None`: it is not there any more.
    pub after: Option<String>,
}

/// `VirtualService/shop/inventory: spec.http[0].route[1].weight: 10 → 25`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object)?;
        match (&*self.field, &self.before, &self.after) {
            ("", None, _) => f.write_str(" added"),
            ("", _, None) => f.write_str(" removed"),
            (field, Some(before), Some(after)) => write!(f, ": {field}: {before} → {after}"),
            (field, Some(before), None) => write!(f, ": {field}: {before} removed"),
            (field, None, after) => {
                write!(f, ": {field}: {} added", after.as_deref().unwrap_or(""))
            }
        }
    }
}

/// What changes from `before` to `after`.
pub fn diff(before: &[Document], after: &[Document]) -> Diff {
    let mut diff = Diff::default();
    let mut old: HashMap<_, &Document> = before.iter().map(|one| (one.key(), one)).collect();
    for document in after {
        let object = document.to_string();
        match old.remove(&document.key()) {
            None => diff.push(&object, "", None, Some(&document.node)),
            Some(old) => diff.nodes(&object, "", &old.node, &document.node),
        }
    }
    for document in before.iter().filter(|document| old.contains_key(&document.key())) {
        diff.push(&document.to_string(), "", Some(&document.node), None);
    }
    diff
}

impl Diff {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn push(&mut self, object: &str, field: &str, before: Option<&Node>, after: Option<&Node>) {
        if CHANGES_MAX <= self.changes.len() {
            self.left_out += 1;
            return;
        }
        self.changes.push(Change {
            object: object.to_owned(),
            field: text::visible(field).into_owned(),
            before: before.map(short),
            after: after.map(short),
        });
    }

    fn nodes(&mut self, object: &str, field: &str, before: &Node, after: &Node) {
        match (&before.value, &after.value) {
            (Value::Map(_), Value::Map(new)) => {
                let Value::Map(old) = &before.value else { return };
                for (key, node) in new {
                    self.pair(object, &join(field, key), before.get(key), Some(node));
                }
                for (key, node) in old.iter().filter(|(key, _)| after.get(key).is_none()) {
                    self.push(object, &join(field, key), Some(node), None);
                }
            }
            (Value::List(old), Value::List(new)) => {
                for index in 0..old.len().max(new.len()) {
                    let field = format!("{field}[{index}]");
                    self.pair(object, &field, old.get(index), new.get(index));
                }
            }
            (old, new) if old == new => (),
            _ => self.push(object, field, Some(before), Some(after)),
        }
    }

    fn pair(&mut self, object: &str, field: &str, before: Option<&Node>, after: Option<&Node>) {
        match (before, after) {
            (Some(before), Some(after)) => self.nodes(object, field, before, after),
            (before, after) => self.push(object, field, before, after),
        }
    }
}

fn join(field: &str, key: &str) -> String {
    match field {
        _ if key.contains(['.', '/']) => format!("{field}[{key}]"),
        "" => key.to_owned(),
        _ => format!("{field}.{key}"),
    }
}

/// A value on one line: `10`, `{host: inventory, subset: v2}`.
fn short(node: &Node) -> String {
    let mut out = String::new();
    flow(node, &mut out);
    text::cut(&text::visible(&out), VALUE_LEN_MAX).into_owned()
}

fn flow(node: &Node, out: &mut String) {
    // What is past the cut need not be written.
    if VALUE_LEN_MAX < out.len() {
        return;
    }
    match &node.value {
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, node)) in entries.iter().enumerate().take(VALUE_LEN_MAX) {
                out.push_str(if at == 0 { "" } else { ", " });
                out.push_str(key);
                out.push_str(": ");
                flow(node, out);
            }
            out.push('}');
        }
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate().take(VALUE_LEN_MAX) {
                out.push_str(if at == 0 { "" } else { ", " });
                flow(item, out);
            }
            out.push(']');
        }
        scalar => emit_scalar(scalar, out),
    }
}

//! YAML as a tree whose nodes know their lines, bounded in every direction.
//!
//! JSON is read, too: it is YAML. Anchors are expanded, against the same bound on nodes that stops
//! a bomb of them; merge keys (`<<`) work as `kubectl` has them.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::{HashMap, HashSet};

/// Bytes of a file.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Documents of a file, and of a set.
pub const DOCUMENTS_MAX: usize = 5_000;
/// Nodes of a file, once anchors are expanded; each 64 bytes of a text count as one.
pub const NODES_MAX: usize = 400_000;
/// Bytes of text that count as one more node.
const TEXT_OF_NODE: usize = 64;
/// Levels of lists and maps in each other.
pub const DEPTH_MAX: usize = 32;
/// Entries of one list or map.
pub const ENTRIES_MAX: usize = 4_096;
/// Bytes of one text or number.
pub const SCALAR_BYTES_MAX: usize = 64 << 10;
/// Bytes of a key; YAML itself ends at 1024.
pub const KEY_BYTES_MAX: usize = 512;

/// A node and the line where it (or its key) stands, from 1. Equal where the values are.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) value: Value,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What a node holds. Numbers stay text: each field knows what it needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Box<str>),
    Text(Box<str>),
    List(Vec<Node>),
    Map(Vec<(Box<str>, Node)>),
}

impl Node {
    /// The value of a key; `None` also where this is no map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| **name == *key).map(|(_, node)| node)
    }

    /// As [`Self::get`], to change it.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(name, _)| **name == *key).map(|(_, node)| node)
    }

    /// The nodes in this one, itself included. A long text counts for several, so that a bound on
    /// nodes is one on memory.
    pub(super) fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| key.len() / TEXT_OF_NODE + node.count()).sum()
            }
            Value::Text(text) | Value::Number(text) => text.len() / TEXT_OF_NODE,
            Value::Null | Value::Bool(_) => 0,
        }
    }
}

/// What is no YAML, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: u32,
    pub(super) message: String,
}

/// The documents of a file; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    if FILE_BYTES_MAX < text.len() {
        let message = format!("is {} bytes long; at most {FILE_BYTES_MAX}", text.len());
        return Err(SyntaxError { line: 1, message });
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| SyntaxError {
            line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
            message: format!("is no YAML: {}", error.info()),
        })?;
        builder.line = line(span);
        let done = builder.event(event);
        done.map_err(|message| SyntaxError { line: builder.line, message })?;
    }
    Ok(builder.documents)
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

/// A list or map whose end has not come.
struct Open {
    anchor: usize,
    line: u32,
    value: Value,
    /// In a map: the key whose value comes next.
    key: Option<(Box<str>, u32)>,
}

#[derive(Default)]
struct Builder {
    line: u32,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                self.add(Node { line: self.line, value }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Value::List(Vec::new()), anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Value::Map(Vec::new()), anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else { return Ok(()) };
                if let Value::Map(entries) = &mut open.value {
                    merge_keys(entries)?;
                }
                self.add(Node { line: open.line, value: open.value }, open.anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or("has an alias inside its own anchor")?;
                let (count, node) = (node.count(), node.clone());
                self.count(count)?;
                self.add(Node { line: self.line, ..node }, 0)
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, value: Value, anchor: usize, tag: Option<&Tag>) -> Result<(), String> {
        check_tag(tag)?;
        if DEPTH_MAX <= self.open.len() {
            return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
        }
        self.open.push(Open { anchor, line: self.line, value, key: None });
        Ok(())
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if NODES_MAX < self.nodes {
            return Err(format!("has more than {NODES_MAX} nodes"));
        }
        Ok(())
    }

    /// A node is complete: it goes into the list or map around it.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        // What is inside of a list or map was counted when it was added to that.
        self.count(if let Value::Text(_) = node.value { node.count() } else { 1 })?;
        if anchor != 0 {
            self.count(node.count())?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if node.value != Value::Null {
                self.documents.push(node);
            }
            if DOCUMENTS_MAX < self.documents.len() {
                return Err(format!("has more than {DOCUMENTS_MAX} documents"));
            }
            return Ok(());
        };
        let len = match (&mut open.value, open.key.take()) {
            (Value::Map(entries), None) => {
                open.key = Some((key(&node)?, node.line));
                entries.len()
            }
            (Value::Map(entries), Some((key, line))) => {
                entries.push((key, Node { line, ..node }));
                entries.len()
            }
            (Value::List(items), _) => {
                items.push(node);
                items.len()
            }
            _ => 0,
        };
        if ENTRIES_MAX < len {
            return Err(format!("has a list or object of more than {ENTRIES_MAX} entries"));
        }
        Ok(())
    }
}

fn key(node: &Node) -> Result<Box<str>, String> {
    let key: Box<str> = match &node.value {
        Value::Text(text) | Value::Number(text) => text.clone(),
        Value::Bool(value) => value.to_string().into(),
        Value::Null => "null".into(),
        Value::List(_) | Value::Map(_) => return Err("has a key that is no text".into()),
    };
    if KEY_BYTES_MAX < key.len() {
        return Err(format!("has a key of more than {KEY_BYTES_MAX} bytes"));
    }
    if key.chars().any(char::is_control) {
        return Err("has a key with a control character".into());
    }
    Ok(key)
}

/// Replaces `<<` by the entries of its map (or maps) that are not there, and refuses a key that is
/// there twice: which of the two counts, nobody can see.
fn merge_keys(entries: &mut Vec<(Box<str>, Node)>) -> Result<(), String> {
    let mut names: Vec<&str> = entries.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if let Some(at) = names.windows(2).position(|pair| pair[0] == pair[1]) {
        return Err(format!("has the key {} twice in one object", names[at]));
    }
    let Some(at) = entries.iter().position(|(name, _)| &**name == "<<") else { return Ok(()) };
    let maps = match entries.remove(at).1.value {
        Value::List(items) => items.into_iter().map(|item| item.value).collect(),
        other => vec![other],
    };
    let mut own: HashSet<Box<str>> = entries.iter().map(|(name, _)| name.clone()).collect();
    for map in maps {
        let Value::Map(map) = map else { return Err("merges (<<) what is no object".into()) };
        entries.extend(map.into_iter().filter(|(name, _)| own.insert(name.clone())));
    }
    Ok(())
}

fn check_tag(tag: Option<&Tag>) -> Result<(), String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(format!("has the tag {}{}; tags have no meaning here", tag.handle, tag.suffix))
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    check_tag(tag)?;
    if SCALAR_BYTES_MAX < text.len() {
        return Err(format!("has a text of more than {SCALAR_BYTES_MAX} bytes"));
    }
    let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
    Ok(if is_text { Value::Text(text.into()) } else { plain(text) })
}

/// A text taken for what it would be without its quotes: values of annotations are always text.
pub(super) fn resolved(node: &Node) -> Node {
    let value = match &node.value {
        Value::Text(text) => plain(text),
        other => other.clone(),
    };
    Node { line: node.line, value }
}

/// What a text without quotes is.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ => Value::Text(text.into()),
    }
}

/// A finite decimal number; `0x10` and `.inf` are text here, since no field wants them.
fn is_number(text: &str) -> bool {
    let has_digits = text.bytes().any(|b| b.is_ascii_digit());
    let only = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    has_digits && text.bytes().all(only) && text.parse::<f64>().is_ok_and(f64::is_finite)
}

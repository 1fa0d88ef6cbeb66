//! A tree as YAML: the canonical text of documents.

use super::yaml::{Node, Value};
use crate::text;
use std::fmt::Write as _;

/// The node as YAML in block style, the same for the same values: what is pushed, stored, compared.
pub(super) fn emit(node: &Node) -> String {
    let mut out = String::new();
    emit_block(node, 0, &mut out);
    out
}

fn emit_block(node: &Node, depth: usize, out: &mut String) {
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            for (at, (key, node)) in entries.iter().enumerate() {
                if at != 0 {
                    indent(depth, out);
                }
                emit_text(key, out);
                out.push(':');
                emit_nested(node, depth, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at != 0 {
                    indent(depth, out);
                }
                out.push_str("- ");
                emit_block(item, depth + 1, out);
            }
        }
        Value::Map(_) => out.push_str("{}\n"),
        Value::List(_) => out.push_str("[]\n"),
        scalar => {
            emit_scalar(scalar, out);
            out.push('\n');
        }
    }
}

/// What stands behind `key:`.
fn emit_nested(node: &Node, depth: usize, out: &mut String) {
    let is_block = match &node.value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        indent(depth + 1, out);
    } else {
        out.push(' ');
    }
    emit_block(node, depth + 1, out);
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A scalar as it reads in YAML.
pub(super) fn emit_scalar(value: &Value, out: &mut String) {
    match value {
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(text) => out.push_str(text),
        Value::Text(text) => emit_text(text, out),
        Value::Null | Value::List(_) | Value::Map(_) => out.push_str("null"),
    }
}

/// Words that some version of YAML takes for no text.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// Plain where it cannot be taken for anything else, else in double quotes.
fn emit_text(text: &str, out: &mut String) {
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(is_plain_char)
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_plain {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What YAML does not take raw, and what a terminal should not see.
            c if text::visible(c.encode_utf8(&mut [0; 4])).len() != c.len_utf8() => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

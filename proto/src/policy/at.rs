//! A node at its place: what reads a value and says, with path and line, what is wrong with it.

use super::fields::Fields;
use super::finding::Severity;
use super::matching::Pattern;
use super::sink::{Place, Sink};
use super::yaml::{Node, Value};
use crate::name::NAME_LEN_MAX;
use crate::text;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a value that a finding quotes.
const SHOWN_LEN_MAX: usize = 80;

const DURATIONS: &str = "a duration, as in 1h30m, 10s, 250ms";

/// Where a node is, from the document down. On the stack: text only once somebody complains.
#[derive(Clone, Copy)]
struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let is_first = self.parent.is_none_or(|parent| matches!(parent.step, Step::Root));
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "[{index}]"),
            // A key with dots of its own: `metadata.annotations[fusebox.io/critical]`.
            Step::Key(key) if key.contains(['.', '/']) => write!(f, "[{key}]"),
            Step::Key(key) if is_first => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
        }
    }
}

/// A node at its place.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) node: &'a Node,
    path: Path<'a>,
    sink: &'a Sink,
}

impl<'a> At<'a> {
    /// The whole document.
    pub(super) const fn root(node: &'a Node, sink: &'a Sink) -> Self {
        Self { node, path: Path { parent: None, step: Step::Root }, sink }
    }

    /// Another node in place of this one.
    pub(super) const fn with(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    /// The place, to say something about it later.
    pub(super) fn place(&self) -> Place {
        Place { field: self.path.to_string(), line: self.node.line }
    }

    fn say(&self, severity: Severity, message: &str) {
        self.sink.push(severity, &self.path.to_string(), self.node.line, message);
    }

    /// `message` reads on after the path: `is not a duration`.
    pub(super) fn error(&self, message: impl AsRef<str>) {
        self.say(Severity::Error, message.as_ref());
    }

    pub(super) fn warn(&self, message: impl AsRef<str>) {
        self.say(Severity::Warning, message.as_ref());
    }

    pub(super) fn note(&self, message: impl AsRef<str>) {
        self.say(Severity::Info, message.as_ref());
    }

    fn is_no(&self, wanted: &str) {
        let found = match &self.node.value {
            Value::Null => "empty".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) => format!("the number {text}"),
            Value::Text(text) => format!("the text {}", text::cut(text, SHOWN_LEN_MAX)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "an object".to_owned(),
        };
        self.error(format!("is {found}; allowed is {wanted}"));
    }

    /// The fields of an object; an error if it is none.
    pub(super) fn object(self) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.is_no("an object");
            return None;
        };
        Some(Fields::new(self, entries))
    }

    /// The items of a list; an error, and none, if it is no list.
    pub(super) fn items(&self) -> impl Iterator<Item = At<'_>> {
        let items = if let Value::List(items) = &self.node.value {
            items.as_slice()
        } else {
            self.is_no("a list");
            &[]
        };
        items.iter().enumerate().map(|(index, node)| self.step(node, Step::Index(index)))
    }

    /// The entries of an object whose keys are data; an error, and none, if it is no object.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'_>)> {
        let entries = if let Value::Map(entries) = &self.node.value {
            entries.as_slice()
        } else {
            self.is_no("an object");
            &[]
        };
        entries.iter().map(|(key, node)| (&**key, self.step(node, Step::Key(key))))
    }

    pub(super) fn step<'s>(&'s self, node: &'s Node, step: Step<'s>) -> At<'s> {
        At { node, path: Path { parent: Some(&self.path), step }, sink: self.sink }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => {
                self.is_no("text: put it in quotes");
                None
            }
            _ => {
                self.is_no("text");
                None
            }
        }
    }

    /// A Kubernetes quantity can be either.
    pub(super) fn text_or_number(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Number(text) => Some(text),
            _ => self.text(),
        }
    }

    /// A regular expression, as `new` takes it.
    pub(super) fn pattern(&self, new: fn(&str) -> Result<Pattern, String>) -> Option<Pattern> {
        let text = self.text()?;
        if !self.sink.has_room_for_pattern() {
            self.error("is one regular expression too many for the whole set");
            return None;
        }
        new(text).map_err(|reason| self.error(reason)).ok()
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let Value::Bool(value) = self.node.value else {
            self.is_no("true or false");
            return None;
        };
        Some(value)
    }

    pub(super) fn uint(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let wanted = || match range.clone().into_inner() {
            (0, u32::MAX) => "a whole number from 0".to_owned(),
            (low, u32::MAX) => format!("a whole number from {low}"),
            (low, high) => format!("a whole number, {low} to {high}"),
        };
        match &self.node.value {
            Value::Number(text) => {
                let number = text.parse().ok().filter(|number| range.contains(number));
                if number.is_none() {
                    self.error(format!("is {text}; allowed is {}", wanted()));
                }
                number
            }
            Value::Text(_) => {
                self.is_no(&format!("{}, without quotes", wanted()));
                None
            }
            _ => {
                self.is_no(&wanted());
                None
            }
        }
    }

    pub(super) fn float(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let (low, high) = (range.start(), range.end());
        let Value::Number(text) = &self.node.value else {
            self.is_no(&format!("a number, {low} to {high}"));
            return None;
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            self.error(format!("is {text}; allowed is a number, {low} to {high}"));
        }
        number
    }

    /// A duration as Go writes it; an error below `least`.
    pub(super) fn duration(&self, least: Duration) -> Option<Duration> {
        let (Value::Text(text) | Value::Number(text)) = &self.node.value else {
            self.is_no(DURATIONS);
            return None;
        };
        match parse_duration(text) {
            None => {
                self.error(format!("is {text}; allowed is {DURATIONS}"));
                None
            }
            Some(duration) if duration < least => {
                self.error(format!("is {text}; at least {least:?}"));
                None
            }
            duration => duration,
        }
    }

    /// A duration as the Gateway API has it, which allows less: `10s`, `1m30s`, no fractions.
    pub(super) fn gateway_duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let mut digits = 0;
        let mut parts = 0;
        let mut is_valid = true;
        for b in text.bytes() {
            let is_digit = b.is_ascii_digit();
            parts += usize::from(is_digit && digits == 0);
            digits = if is_digit { digits + 1 } else { 0 };
            is_valid &= digits <= 5 && (is_digit || matches!(b, b'h' | b'm' | b's'));
        }
        let duration = parse_duration(text).filter(|_| is_valid && parts <= 4 && digits == 0);
        if duration.is_none() {
            self.error(format!("is {text}; allowed is {DURATIONS}, in whole numbers"));
        }
        duration
    }

    /// 1…65535.
    pub(super) fn port(&self) -> Option<u16> {
        self.uint(1..=u32::from(u16::MAX)).map(|port| port as u16)
    }

    /// A name that people give to a part of a document: seen in reports, so nothing invisible.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        let text = self.text()?;
        if text.is_empty() || NAME_LEN_MAX < text.len() {
            self.error(format!("is {} bytes long; allowed are 1 to {NAME_LEN_MAX}", text.len()));
            return None;
        }
        Some(text::visible(text).into())
    }

    pub(super) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        // `424` is as good a word as any.
        let text = self.text_or_number()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.error(format!("is {text}; allowed are {}", names.join(", ")));
        }
        found.map(|(_, value)| value.clone())
    }
}

/// Go's `time.ParseDuration` without signs: `1h30m`, `10s`, `1.5s`, `250ms`, `0`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(unit_at);
        let unit_len =
            behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_len);
        let scale = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = behind;
    }
    // A hundred years: no setting needs more, and no sum of two overflows.
    let is_text = !text.is_empty() && seconds <= 3.2e9;
    is_text.then(|| Duration::from_nanos((seconds * 1e9).round() as u64))
}

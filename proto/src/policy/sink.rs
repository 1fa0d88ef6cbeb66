//! Where findings go, and what a set of documents may have in all.

use super::finding::{Finding, Severity};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Findings of one severity that are kept for one set; nobody reads more.
const FINDINGS_MAX: usize = 500;
/// Regular expressions of a whole set: each can take 64 KiB and a millisecond to compile.
const PATTERNS_MAX: usize = 2_000;

/// What the documents of one set share.
#[derive(Default)]
pub(super) struct Limits {
    patterns: Cell<usize>,
    /// How many findings there are of each severity, kept or not.
    findings: RefCell<BTreeMap<Severity, usize>>,
}

impl Limits {
    /// One more finding: whether it is kept.
    fn has_room_for(&self, severity: Severity) -> bool {
        let mut findings = self.findings.borrow_mut();
        let count = findings.entry(severity).or_default();
        *count += 1;
        *count <= FINDINGS_MAX
    }

    /// A finding for each severity of which some are left out: they weigh as much as those.
    pub(super) fn left_out(&self) -> Vec<Finding> {
        let findings = self.findings.borrow();
        let more = findings.iter().filter(|(_, count)| FINDINGS_MAX < **count);
        more.map(|(severity, count)| {
            let more = count - FINDINGS_MAX;
            Finding::new(*severity, "", "", &format!("{more} more of {severity} are left out"))
        })
        .collect()
    }
}

/// Where something stands in a document.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) field: String,
    pub(super) line: u32,
}

/// Findings of one document.
pub(super) struct Sink {
    object: String,
    file: String,
    /// With their lines.
    findings: RefCell<Vec<(u32, Finding)>>,
    limits: Rc<Limits>,
}

impl Sink {
    pub(super) fn new(object: String, file: &str, limits: &Rc<Limits>) -> Self {
        let limits = Rc::clone(limits);
        Self { object, file: file.to_owned(), findings: RefCell::default(), limits }
    }

    /// In order of their lines.
    pub(super) fn into_findings(self) -> impl Iterator<Item = Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|(line, _)| *line);
        findings.into_iter().map(|(_, finding)| finding)
    }

    /// Whether the set may have one more regular expression.
    pub(super) fn has_room_for_pattern(&self) -> bool {
        let patterns = &self.limits.patterns;
        patterns.set(patterns.get() + 1);
        patterns.get() <= PATTERNS_MAX
    }

    /// A finding about a place of the document.
    pub(super) fn say(&self, severity: Severity, place: &Place, message: &str) {
        self.push(severity, &place.field, place.line, message);
    }

    pub(super) fn push(&self, severity: Severity, field: &str, line: u32, message: &str) {
        if self.limits.has_room_for(severity) {
            let finding = Finding::new(severity, &self.object, field, message);
            let finding = finding.resting_on(&format!("{}:{line}", self.file));
            self.findings.borrow_mut().push((line, finding));
        }
    }
}

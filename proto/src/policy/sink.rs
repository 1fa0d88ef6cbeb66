//! Where findings about one document go.

use super::finding::{Finding, Severity};
use std::cell::RefCell;
use std::collections::BTreeMap;

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
    /// How many there are of each severity, kept or not.
    counts: RefCell<BTreeMap<Severity, usize>>,
}

/// Findings of one document and one severity that are kept.
const FINDINGS_MAX: usize = 50;

impl Sink {
    pub(super) fn new(object: String, file: &str) -> Self {
        Self {
            object,
            file: file.to_owned(),
            findings: RefCell::default(),
            counts: RefCell::default(),
        }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|(line, _)| *line);
        let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
        for (severity, count) in self.counts.into_inner() {
            if let Some(more) = count.checked_sub(FINDINGS_MAX).filter(|&more| more != 0) {
                let message = format!("has {more} more of {severity}, which are left out");
                findings.push(Finding::new(severity, &self.object, "", &message));
            }
        }
        findings
    }

    /// As [`At::error`] and the like, for a place that was kept.
    pub(super) fn say(&self, severity: Severity, place: &Place, message: &str) {
        self.push(severity, &place.field, place.line, message);
    }

    pub(super) fn push(&self, severity: Severity, field: &str, line: u32, message: &str) {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(severity).or_default();
        *count += 1;
        if FINDINGS_MAX < *count {
            return;
        }
        let finding = Finding::new(severity, &self.object, field, message);
        let finding = finding.resting_on(&format!("{}:{line}", self.file));
        self.findings.borrow_mut().push((line, finding));
    }
}

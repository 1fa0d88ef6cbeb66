//! The policy for people: what is in force, what a request came to, what is wrong.

use super::{Align, Table, ago, some};
use crate::cli::table::cut;
use fusebox::format::{UNKNOWN, millis};
use fusebox_proto::policy::{Finding, Severity};
use fusebox_proto::view::{LintResult, PolicyOutcome, PolicyResult, Snapshot};
use std::fmt::Write as _;

use Align::{Left, Right};

/// Versions, documents and proxies.
pub(super) fn policy(snapshot: &Snapshot, width: Option<usize>) -> String {
    let view = &snapshot.policy;
    let set = &view.set;
    let mut text = String::new();
    let head = match set.version {
        None => "no policy was applied here".to_owned(),
        Some(version) => format!(
            "version {version}, {}, profile {}",
            some(set.documents.len() as u64, "document"),
            set.profile.as_str()
        ),
    };
    for line in [&head, &set.notice].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{}", width.map_or(line.into(), |width| cut(line, width)));
    }
    let mut tables = Vec::new();
    if !set.documents.is_empty() {
        let mut table = Table::new(&[("KIND", Left), ("NAMESPACE", Left), ("NAME", Left)]);
        for one in &*set.documents {
            table.row([one.kind.clone(), one.namespace.clone(), one.name.clone()]);
        }
        tables.push(table);
    }
    if !view.proxies.is_empty() {
        let mut table =
            Table::new(&[("PROXY", Left), ("VERSION", Right), ("RESULT", Left), ("REASON", Left)]);
        for one in &view.proxies {
            let version = one.version.map_or_else(|| UNKNOWN.into(), |number| number.to_string());
            table.row([one.id.clone(), version, one.result.as_str().into(), one.reason.clone()]);
        }
        tables.push(table);
    }
    if !set.versions.is_empty() {
        let columns = [("VERSION", Right), ("MADE", Right), ("BY", Left), ("WHAT", Left)];
        let mut table = Table::new(&[&columns[..], &[("REASON", Left)]].concat());
        for one in &set.versions {
            let made = ago(snapshot.at, one.at);
            let (by, what, reason) = (one.by.clone(), one.what.clone(), one.reason.clone());
            table.row([one.version.to_string(), made, by, what, reason]);
        }
        tables.push(table);
    }
    for table in tables {
        let _ = write!(text, "\n{}", table.render(width));
    }
    text
}

/// What came of a request: findings, changes, and how far the proxies are.
pub(crate) fn result(result: &PolicyResult, ascii: bool) -> String {
    let mut text = findings(&result.findings, result.findings_left_out);
    for change in &result.changes {
        let _ = writeln!(text, "{change}");
    }
    if 0 < result.changes_left_out {
        let _ = writeln!(text, "and {} more changes", result.changes_left_out);
    }
    let stays = result.version.map(|version| format!(", version {version} stays"));
    let stays = stays.unwrap_or_default();
    let mut line = match result.outcome {
        PolicyOutcome::Refused => format!("refused: nothing changed{stays}"),
        PolicyOutcome::Unchanged => format!("nothing changes{stays}"),
        PolicyOutcome::DryRun => format!("not applied, as asked{stays}"),
        PolicyOutcome::Applied => {
            let PolicyResult { applied, proxies, .. } = result;
            let version = result.version.unwrap_or(0);
            format!("version {version}, applied on {applied} of {proxies} proxies")
        }
    };
    if let Some(ms) = result.applied_ms {
        let _ = write!(line, " in {}", millis(ms));
    }
    if !result.note.is_empty() {
        let _ = write!(line, "; {}", result.note);
    }
    let text = text + &line + "\n";
    if ascii { super::to_ascii(&text) } else { text }
}

/// What is wrong.
pub(crate) fn lint(result: &LintResult) -> String {
    if result.findings.is_empty() {
        return "nothing to say\n".into();
    }
    let count = |severity| {
        result.findings.iter().filter(|finding| finding.severity == severity).count() as u64
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut text = findings(&result.findings, result.findings_left_out);
    let _ = writeln!(text, "{}, {}", some(errors, "error"), some(warnings, "warning"));
    text
}

/// One a line, whole also where it is long: what is cut off would be what is wrong.
fn findings(all: &[Finding], left_out: u64) -> String {
    let mut text = String::new();
    for finding in all {
        let _ = writeln!(text, "{}: {finding}", finding.severity);
    }
    if 0 < left_out {
        let _ = writeln!(text, "and {left_out} more findings");
    }
    text
}

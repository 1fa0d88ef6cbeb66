//! Files as people write them: `valid/` are applied, `invalid/` are refused, and what is said about
//! each stands beside it in a `.txt`.

use super::{files, lines, text_of};
use fusebox_proto::policy::{Profile, Severity, compile, read, refuses};
use std::fs;
use std::path::Path;

/// What is said about a file, one finding a line.
fn said(file: &Path) -> (bool, String) {
    let text = text_of(file);
    let name = file.file_name().expect("a file").to_string_lossy();
    let findings = match read(&name, &text) {
        Err(findings) => findings,
        Ok((documents, mut findings)) => {
            match compile(&documents, Profile::Fusebox) {
                Ok((_, more)) | Err(more) => findings.extend(more),
            }
            findings
        }
    };
    let is_refused = refuses(&findings, false);
    assert_eq!(is_refused, findings.iter().any(|finding| finding.severity == Severity::Error));
    let said = lines(&findings);
    (
        is_refused,
        if said.is_empty() {
            said
        } else {
            said + "
"
        },
    )
}

fn check_folder(folder: &str, is_refused_wanted: bool) {
    let mut complaints = Vec::new();
    for file in files(folder) {
        let (is_refused, said) = said(&file);
        let wanted = fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        if said != wanted || is_refused != is_refused_wanted {
            complaints.push(format!("== {}\n{said}", file.display()));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Scenario: the founding files, the samples of Istio's bookinfo in our own words, and others.
/// Guarantees: all are applied, and what is said about each is what its `.txt` says.
#[test]
fn valid_files_are_applied() {
    check_folder("valid", false);
}

/// Scenario: a file for each way to be wrong.
/// Guarantees: each is refused, with file, line, document, path, and what is allowed.
#[test]
fn invalid_files_are_refused() {
    check_folder("invalid", true);
}

//! The policy through its public face: documents in, settings, rules and findings out.

#![expect(clippy::needless_pass_by_value, reason = "a line of a table reads better without &")]

mod destination_rule;
mod diff;
mod documents;
mod files;
mod founding;
mod hosts;
mod http_route;
mod ingress;
mod input;
mod matching;
mod others;
mod profile;
mod rewrite;
mod shift;
mod virtual_service;

use fusebox_proto::policy::{self, Document, Finding, Policy, Profile, Routes, Settings, Severity};
use std::fs;
use std::path::{Path, PathBuf};

/// The YAML files of a folder beside this file, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy").join(folder);
    let entries = fs::read_dir(&folder).expect("a folder of this test");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 3, "{} is empty", folder.display());
    files
}

fn text_of(file: &Path) -> String {
    fs::read_to_string(file).expect("a readable file of this test")
}

/// The documents of a text that has no errors.
#[track_caller]
fn documents(text: &str) -> Vec<Document> {
    let (documents, _) = policy::read("test.yaml", text).unwrap_or_else(|findings| {
        panic!("{}\n{text}", lines(&findings));
    });
    documents
}

/// The policy of a text that has no errors, and what there is to say about it.
#[track_caller]
fn compiled_with(text: &str, profile: Profile) -> (Policy, Vec<Finding>) {
    policy::compile(&documents(text), profile)
        .unwrap_or_else(|findings| panic!("{}\n{text}", lines(&findings)))
}

#[track_caller]
fn compiled(text: &str) -> Policy {
    compiled_with(text, Profile::Fusebox).0
}

/// All that there is to say about a text, whether it is accepted or not.
fn findings(text: &str, profile: Profile) -> Vec<Finding> {
    match policy::read("test.yaml", text) {
        Err(findings) => findings,
        Ok((documents, mut findings)) => {
            match policy::compile(&documents, profile) {
                Ok((_, more)) | Err(more) => findings.extend(more),
            }
            findings
        }
    }
}

/// Asserts that a finding of this severity says so.
#[track_caller]
fn assert_says(text: &str, severity: Severity, part: &str) {
    let findings = findings(text, Profile::Fusebox);
    let said = findings.iter().any(|f| f.severity == severity && f.to_string().contains(part));
    assert!(said, "no {severity} says «{part}»:\n{}\n{text}", lines(&findings));
}

fn lines(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(|f| format!("{} {f}", f.severity)).collect();
    lines.join("\n")
}

/// A `DestinationRule` of `inventory` with this `spec` beside the host.
fn rule(spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: r}}, \
         spec: {{host: inventory, {spec}}}}}"
    )
}

/// As [`rule`], with annotations.
fn annotated(annotations: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: DestinationRule, \
         metadata: {{name: r, annotations: {{{annotations}}}}}, spec: {{host: inventory, {spec}}}}}"
    )
}

/// A `VirtualService` of `inventory` with this one rule in `http`.
fn service(rule: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: v}}, \
         spec: {{hosts: [inventory], http: [{{{rule}}}]}}}}"
    )
}

fn settings(policy: &Policy) -> &Settings {
    policy.destination("", "inventory").expect("the text names it").settings(None, 80)
}

fn routes(policy: &Policy) -> &Routes {
    policy.routes("", "inventory").expect("the text names it")
}

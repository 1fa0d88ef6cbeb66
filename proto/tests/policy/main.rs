//! The policy through its public face: documents in, settings, rules and findings out.

mod files;
mod founding;
mod shift;

use fusebox_proto::policy::{self, Document, Finding, Policy, Profile, Routes, Settings, Severity};

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

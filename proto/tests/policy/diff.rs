//! What a change of the set changes.

use super::{documents, rule};
use fusebox_proto::policy::{CHANGES_MAX, Document, diff};

#[track_caller]
fn check(before: &str, after: &str, expected: &[&str]) {
    let read = |text: &str| if text.is_empty() { Vec::new() } else { documents(text) };
    let (before, after) = (read(before), read(after));
    let found = diff(&before, &after);
    let lines: Vec<String> = found.changes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected);
    assert_eq!(found.is_empty(), expected.is_empty());
}

fn weights(v1: u32, v2: u32) -> String {
    super::service(&format!(
        "route: [{{destination: {{host: a}}, weight: {v1}}}, {{destination: {{host: b}}, weight: {v2}}}]"
    ))
}

/// Scenario: documents added, removed, changed, moved; fields added, removed, changed, of another
/// type.
/// Guarantees: each change has its path, before and after; order of documents and of keys is none.
#[test]
fn changes() {
    check(
        &weights(90, 10),
        &weights(75, 25),
        &[
            "VirtualService/v: spec.http[0].route[0].weight: 90 → 75",
            "VirtualService/v: spec.http[0].route[1].weight: 10 → 25",
        ],
    );
    check(&weights(90, 10), &weights(90, 10), &[]);
    check("", &rule(""), &["DestinationRule/r added"]);
    check(&rule(""), "", &["DestinationRule/r removed"]);
    check(&rule("subsets: []"), &rule(""), &["DestinationRule/r: spec.subsets: [] removed"]);
    let one = rule("subsets: [{name: v1, labels: {version: v1}}]");
    check(
        &rule("subsets: []"),
        &one,
        &["DestinationRule/r: spec.subsets[0]: {name: v1, labels: {version: v1}} added"],
    );
    check(
        &rule("trafficPolicy: {tls: {mode: SIMPLE}}"),
        &rule("trafficPolicy: {tls: 1}"),
        &["DestinationRule/r: spec.trafficPolicy.tls: {mode: SIMPLE} → 1"],
    );
    let both = |first: &str, second: &str| format!("{first}\n---\n{second}");
    check(&both(&rule(""), &weights(1, 2)), &both(&weights(1, 2), &rule("")), &[]);
    check(&rule("a: 1, b: 2"), &rule("b: 2, a: 1"), &[]);
    check(&rule("a: 1"), &rule("a: \"1\""), &["DestinationRule/r: spec.a: 1 → \"1\""]);
    check(&rule("\"a.b/c\": 1"), &rule("\"a.b/c\": 2"), &["DestinationRule/r: spec[a.b/c]: 1 → 2"]);
}

/// Scenario: more changes than a person reads, and a value that is longer than a line.
/// Guarantees: both are cut, and the first says how much is left out.
#[test]
fn changes_are_bounded() {
    let numbers = |from: usize, count: usize| -> Vec<Document> {
        let list: Vec<String> = (from..from + count).map(|n| n.to_string()).collect();
        documents(&rule(&format!("a: [{}]", list.join(", "))))
    };
    let found = diff(&numbers(0, CHANGES_MAX + 5), &numbers(1, CHANGES_MAX + 5));
    assert_eq!((found.changes.len(), found.left_out), (CHANGES_MAX, 5));
    let long = diff(&[], &numbers(0, 1_000));
    assert!(long.changes[0].after.as_ref().unwrap().len() <= 120, "{long:?}");
}

//! Files into documents, documents into sets, sets into text and back.

use super::{assert_says, documents, files, findings, rule, text_of};
use fusebox_proto::policy::*;

fn keys(documents: &[Document]) -> Vec<String> {
    documents.iter().map(ToString::to_string).collect()
}

fn named(name: &str, host: &str) -> String {
    rule("")
        .replace("name: r", &format!("name: {name}"))
        .replace("host: inventory", &format!("host: {host}"))
}

/// Scenario: several documents, empty ones between them, JSON, and lists of lists.
/// Guarantees: each is found once, with its line.
#[test]
fn files_are_cut() {
    let text = format!("---\n---\n{}\n---\n# nothing\n---\n{}\n", named("a", "a"), named("b", "b"));
    let found = documents(&text);
    assert_eq!(keys(&found), ["DestinationRule/a", "DestinationRule/b"]);
    assert_eq!((found[1].line(), found[1].file()), (7, "test.yaml"));
    let list = format!(
        "{{kind: List, items: [{}, {{kind: DestinationRuleList, items: [{}]}}]}}",
        named("a", "a"),
        named("b", "b")
    );
    assert_eq!(keys(&documents(&list)), ["DestinationRule/a", "DestinationRule/b"]);
    assert_eq!(documents(""), []);
    assert_eq!(documents("# only a comment\n"), []);
}

/// Scenario: every valid file, read, written and read again.
/// Guarantees: the same documents, and the same text from then on; no status, no server's metadata.
#[test]
fn text_round_trips() {
    for path in files("valid") {
        let first = documents(&text_of(&path));
        let text = write(&first);
        let second = documents(&text);
        assert_eq!(first, second, "{}\n{text}", path.display());
        assert_eq!(write(&second), text);
        assert!(!text.contains("managedFields") && !text.contains("last-applied"), "{text}");
    }
}

/// Scenario: texts that YAML could take for something else.
/// Guarantees: they come back as they were.
#[test]
fn canonical_text_keeps_types() {
    let check = |value: &str, expected: &str| {
        let text = rule("").replace("name: r", &format!("name: r, labels: {{k: {value}}}"));
        let text = documents(&text)[0].text();
        let line = text.lines().find(|line| line.trim_start().starts_with("k:")).unwrap();
        assert_eq!(line.trim(), format!("k: {expected}"));
        assert_eq!(documents(&text)[0].text(), text);
    };
    check("v1", "v1");
    check("\"1\"", "\"1\"");
    check("\"true\"", "\"true\"");
    check("\"null\"", "\"null\"");
    check("\"yes\"", "\"yes\"");
    check("\"\"", "\"\"");
    check("'a: b'", "\"a: b\"");
    check("'# a'", "\"# a\"");
    check("\"a\\nb\\\"c\\\\\"", "\"a\\nb\\\"c\\\\\"");
    check("\"\\u202e\"", "\"\\U0000202e\"");
    check("ä", "\"ä\"");
}

/// Scenario: a set, and new documents, some of them of the same key.
/// Guarantees: each takes the place of its older self, the others follow; twice in one apply is
/// refused with both places.
#[test]
fn merge_is_keyed() {
    let base = documents(&format!("{}\n---\n{}", named("a", "a"), named("b", "b")));
    let new = documents(&format!("{}\n---\n{}", named("c", "c"), named("a", "z")));
    let merged = merge(&base, &new).unwrap();
    assert_eq!(keys(&merged), ["DestinationRule/a", "DestinationRule/b", "DestinationRule/c"]);
    assert_eq!(merged[0], new[1]);
    let twice = documents(&format!("{}\n---\n{}", named("a", "a"), named("a", "b")));
    let refused = merge(&base, &twice).unwrap_err();
    assert_eq!(
        refused[0].to_string(),
        "test.yaml:3: DestinationRule/a: is there twice; the other one is at test.yaml:1"
    );
}

/// Scenario: a set that would be too large to be pushed.
/// Guarantees: it is refused before it is.
#[test]
fn merge_is_bounded() {
    let many = |from: usize, to: usize| {
        let texts: Vec<String> = (from..to).map(|index| named(&format!("r{index}"), "a")).collect();
        documents(&texts.join("\n---\n"))
    };
    let base = many(0, DOCUMENTS_MAX);
    let refused = merge(&base, &many(DOCUMENTS_MAX, DOCUMENTS_MAX + 1)).unwrap_err();
    assert!(refused[0].message.contains("5001 documents; at most 5000"), "{refused:?}");
    assert!(merge(&base, &many(0, 1)).is_ok());
}

/// Scenario: findings that weigh something or nothing, with and without `--strict`.
/// Guarantees: warnings refuse only if they shall.
#[test]
fn strict_refuses_warnings() {
    let check = |text: &str, lenient: bool, strict: bool| {
        let found = findings(text, Profile::Fusebox);
        assert_eq!((refuses(&found, false), refuses(&found, true)), (lenient, strict), "{found:?}");
    };
    check(&rule(""), false, false);
    check(&rule("hots: 1"), false, true);
    check(&rule("trafficPolicy: []"), true, true);
    check("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}", false, false);
    check(
        "{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: s}, spec: {}}",
        false,
        true,
    );
}

/// Scenario: a finding as JSON.
/// Guarantees: the shape that `lint` promises.
#[test]
fn findings_are_json() {
    let found = findings(&rule("hots: 1"), Profile::Fusebox);
    let json = serde_json::to_value(&found[0]).unwrap();
    let expected = serde_json::json!({
        "severity": "warning",
        "object": "DestinationRule/r",
        "field": "spec.hots",
        "message": "is not a field of this object and has no effect; did you mean host?",
        "evidence": "test.yaml:1",
    });
    assert_eq!(json, expected);
}

/// Scenario: our annotations on a kind that has none, and text that would act on a terminal.
/// Guarantees: the first is said; the second is made visible.
#[test]
fn annotations_and_terminals() {
    let text = rule("")
        .replace("DestinationRule", "ServiceEntry")
        .replace("host: inventory", "hosts: [a.example.com]");
    let text = text.replace("name: r", "name: r, annotations: {fusebox.io/critical: \"true\"}");
    assert_says(
        &text,
        Severity::Warning,
        "metadata.annotations[fusebox.io/critical]: is not a field",
    );
    assert_says(&rule("\"\\u202ea\": 1"), Severity::Warning, "spec.\\u{202e}a");
}

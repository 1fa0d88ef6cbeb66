use super::*;
use fusebox_collector::diagnose::{Quality, Window};
use fusebox_proto::view::{Stamp, Suspect};

fn found() -> Diagnosis {
    Diagnosis {
        window: Window {
            onset: Some(Stamp(1_800_000_000_000)),
            spans: 120,
            traces: 9,
            ..Window::default()
        },
        suspects: vec![Suspect {
            service: "inventory".into(),
            score: 0.9,
            confidence: 0.8,
            reason: "own time on GET /stock 12 ms → 305 ms (median of 9 requests)".into(),
        }],
        data_quality: Quality {
            truncated: 1,
            too_few: 3,
            notes: vec!["sampled".into()],
            ..Quality::default()
        },
        verdict: "inventory is at fault since noon".into(),
        evidence: vec![Exhibit {
            signal: "time on the way".into(),
            place: "payment → inventory".into(),
            operation: "GET /stock".into(),
            before: 12.0,
            after: 305.0,
            unit: "ms".into(),
            requests: 9,
            blames: "inventory".into(),
            ..Exhibit::default()
        }],
        ..Diagnosis::default()
    }
}

/// Scenario: a verdict, and none, for a terminal of 80 cells and in ASCII.
/// Guarantees: the verdict is the first line and whole; no table is wider than the terminal; what
/// weakens the answer is said; ASCII has nothing else.
#[test]
fn the_verdict_comes_first() {
    let shown = text(&found(), Out { width: Some(80), ascii: false });
    assert!(shown.starts_with("inventory is at fault since noon\n\nEVIDENCE"), "{shown}");
    for word in [
        "payment → inventory",
        "305",
        "80 %",
        "GET /stock",
        "1 files end in the middle",
        "sampled",
        "3 had too few",
    ] {
        assert!(shown.contains(word), "{word} is not in {shown}");
    }
    let wide = text(&found(), Out { width: None, ascii: true });
    assert!(wide.is_ascii() && wide.contains("payment -> inventory"), "{wide}");
    let nothing = Diagnosis { verdict: "not enough evidence: calm".into(), ..Diagnosis::default() };
    let shown = text(&nothing, Out { width: None, ascii: false });
    assert!(shown.starts_with("not enough evidence: calm\n\n0 spans"), "{shown}");
}

/// Scenario: a diagnosis as JSON.
/// Guarantees: the four fields of the contract and no other; a suspect has its four.
#[test]
fn json_is_the_contract() {
    let value = serde_json::to_value(found()).unwrap();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let mut fields = keys(&value);
    fields.sort();
    assert_eq!(fields, ["data_quality", "incidents", "suspects", "window"]);
    let mut window = keys(&value["window"]);
    window.sort();
    assert_eq!(window, ["from", "onset", "spans", "to", "traces"]);
    let mut suspect = keys(&value["suspects"][0]);
    suspect.sort();
    assert_eq!(suspect, ["confidence", "reason", "score", "service"]);
}

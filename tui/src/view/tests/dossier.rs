//! All that is known of an incident, read and copied; and what happened, and when.

use super::{SIZES, golden, screen};
use crate::fixture::{Desk, World};
use crate::model::Effect;
use fusebox_proto::view::{Event, IncidentState, Layer, Suspect};

/// Scenario: `i` in a storm of two layers, with a careful client and data that is not whole; read to the
/// end and beyond, and back; then the incident is over, and then forgotten.
/// Guarantees: all that is known of it can be read at every size, and copied as Markdown in which no
/// foreign text is more than text; reading never leaves the rows; what is
/// read about stays, also when it is over, and is closed when it is gone. No key that acts holds.
#[test]
fn a_dossier_is_read() {
    for (width, height) in SIZES {
        let mut desk = Desk::watching(World::Shop, true, width, height);
        desk.data(|s| {
            let incident = &mut s.incidents[0];
            let suspect = |service: &str, confidence: f64, reason: &str| Suspect {
                service: service.into(),
                score: confidence,
                confidence,
                reason: reason.into(),
            };
            let layer = |source: &str, destination: &str, factor: f64| Layer {
                source: source.into(),
                destination: destination.into(),
                factor,
            };
            incident.layers =
                vec![layer("payment", "inventory", 8.2), layer("inventory", "pg-stock", 1.2)];
            incident.suspects = vec![
                suspect("payment", 0.97, "multiplies its calls of inventory by 8.2; retries after 3 ms, then 4 ms: no backoff, no jitter"),
                suspect("inventory", 0.08, "multiplies its calls of pg-stock by 1.2"),
            ];
            incident.counter_evidence.push("only 31 attempts seen since it began".into());
            incident.data_quality.note = "1 proxies silent for more than 3 s".into();
        });
        desk.press("i");
        let settings = golden();
        let first = screen(&desk);
        settings.bind(|| insta::assert_snapshot!(format!("dossier-{width}x{height}"), first));
        desk.press("ttmo");
        assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Send(_))));
        let mut read = first.clone();
        for _ in 0..40 {
            desk.press("↓");
            read += &screen(&desk);
        }
        // The clock and the age of the incident go on.
        let rows = |screen: &str| screen.lines().skip(3).collect::<Vec<_>>().join("\n");
        let last = rows(&screen(&desk));
        let all = ["no backoff", "only 31", "open payment→inventory", "silent for more"];
        assert!(all.iter().all(|part| read.contains(part)), "{read}");
        desk.press("G↓↓");
        assert_eq!(rows(&screen(&desk)), last);
        desk.press("g");
        assert_eq!(rows(&screen(&desk)), rows(&first));
        desk.data(|s| s.incidents[0].summary = "a | b <img> *c*\u{1b}[31m; `d`".into());
        desk.press("Y");
        let Some(Effect::Copy(text)) = desk.effects.last().cloned() else { panic!("copied") };
        let settings = golden();
        settings.bind(|| insta::assert_snapshot!("dossier-markdown", text));
        desk.data(|s| {
            (s.incidents[0].state, s.incidents[0].resolved_at) =
                (IncidentState::Resolved, Some(s.at));
        });
        assert!(screen(&desk).contains(", over at "), "{}", screen(&desk));
        desk.data(|s| s.incidents.clear());
        assert_eq!(desk.model.overlay, None);
    }
}

/// Scenario: the timeline in a storm: down to what happened before, a filter, and back to the incident;
/// then to its dossier, and out again.
/// Guarantees: the axis reaches back to what is chosen, which is told whole; what is chosen stays where
/// it is when more happens; an incident's row leads to its dossier, another row nowhere; no key acts.
#[test]
fn the_timeline_leads_to_what_happened() {
    let mut desk = Desk::watching(World::Shop, true, 80, 24);
    desk.press("7");
    assert!(screen(&desk).contains("Timeline › last 15 min"), "{}", screen(&desk));
    desk.press("↓↓");
    let chosen = desk.model.selected_event().cloned().expect("a row");
    assert!(chosen.text.contains("lease over") && screen(&desk).contains("last 60 min"));
    desk.press("⏎ttmo");
    assert_eq!((&desk.model.overlay, desk.model.target()), (&None, None));
    desk.data(|s| {
        let event = Event { at: s.at, kind: "policy".into(), text: "version 7".into() };
        s.events.insert(0, event);
    });
    assert_eq!(desk.model.selected_event(), Some(&chosen));
    desk.press("/#41⏎");
    assert!(!screen(&desk).contains("lease over"), "{}", screen(&desk));
    desk.press("⏎");
    assert!(screen(&desk).contains("BEFORE → NOW"), "{}", screen(&desk));
    desk.press("q⎋");
    assert!(screen(&desk).contains("lease over"), "{}", screen(&desk));
    assert!(desk.effects.iter().all(|effect| !matches!(effect, Effect::Send(_))));
}

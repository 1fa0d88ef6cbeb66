//! The table of keys says one thing of each key.

use super::*;
use crate::fixture::{Desk, World, session};
use crate::model::act::Ask;
use crate::model::dossier::Reading;
use std::collections::BTreeSet;

/// Every place in which keys are pressed.
fn places() -> Vec<Model> {
    let desk = Desk::watching(World::Shop, true, 80, 24);
    let ask = Ask {
        edge: crate::fixture::storm_edge(),
        what: fusebox_proto::command::ActionKind::Open.into(),
        ttl: std::time::Duration::from_mins(1),
        predicted: None,
        why: String::new(),
        typed: None,
    };
    let playback = crate::model::playback::Playback {
        from: desk.model.snapshot.at,
        to: desk.model.snapshot.at,
        at: desk.model.snapshot.at,
        speed: 1.0,
        phase: crate::model::playback::Phase::Playing,
    };
    let recorded = [None, Some(playback)];
    let reading = Reading { incident: "41".into(), from: 0 };
    let overlays =
        [None, Some(Overlay::Help), Some(Overlay::Ask(ask)), Some(Overlay::Dossier(reading))];
    let screens = Screen::ALL.into_iter();
    screens
        .flat_map(|screen| overlays.clone().map(|overlay| (screen, overlay)))
        .flat_map(|(screen, overlay)| recorded.map(|playback| (screen, overlay.clone(), playback)))
        .map(|(screen, overlay, playback)| Model {
            playback,
            screen,
            overlay,
            ..desk.model.clone()
        })
        .collect()
}

/// Scenario: every chord in every place.
/// Guarantees: no chord means two things in one place; every binding has a chord and a help text
/// that fits a column of the help screen at 80 columns.
#[test]
fn a_chord_means_one_thing() {
    for model in places() {
        let mut seen = Vec::new();
        for binding in TABLE.iter().filter(|b| b.holds(&model)) {
            for chord in binding.chords {
                assert!(!seen.contains(chord), "{chord} twice on {:?}", model.screen);
                seen.push(*chord);
            }
        }
    }
    for binding in TABLE {
        assert!(!binding.chords.is_empty() && !binding.help.is_empty(), "{:?}", binding.action);
        assert!(binding.help.chars().count() <= 26, "{}", binding.help);
    }
}

/// Scenario: every action in the table.
/// Guarantees: it can be reached somewhere; what acts is nowhere on enter, and never shares a chord
/// with something that does not act.
#[test]
fn what_acts_is_apart() {
    let reachable: BTreeSet<String> = places()
        .iter()
        .flat_map(|model| TABLE.iter().filter(|b| b.holds(model)))
        .map(|binding| format!("{:?}", binding.action))
        .collect();
    for binding in TABLE {
        assert!(reachable.contains(&format!("{:?}", binding.action)), "{:?}", binding.action);
        if binding.acts() {
            for chord in binding.chords {
                assert_ne!(chord.key, Key::Enter);
                let others = TABLE.iter().filter(|b| !b.acts());
                assert!(others.clone().all(|b| !b.chords.contains(chord)), "{chord}");
            }
        }
    }
}

/// Scenario: a read-only console, and a console without data.
/// Guarantees: the footer offers nothing that acts.
#[test]
fn nothing_acts_where_nothing_may() {
    let offered = |model: &Model| valid(model).filter(|b| b.acts()).count();
    let mut desk = Desk::watching(World::Shop, true, 80, 24);
    assert!(0 < offered(&desk.model));
    desk.model.session.read_only = true;
    assert_eq!(offered(&desk.model), 0);
    assert_eq!(offered(&Desk::new(session(), 80, 24).model), 0);
}

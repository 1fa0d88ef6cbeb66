//! Keys that act, and what keeps them from acting; intents and facts; the graph in an incident.

mod leases;
mod shift;

use super::act::Ask;
use super::chain::Relation;
use super::commands::Request;
use super::standing::Standing;
use super::{Effect, Link, Message, Model, Overlay, Screen};
use crate::fixture::{Desk, World, hold, session, storm_edge};
use fusebox_proto::command::{ActionKind, BreakerState, ResetScope, TTL_DEFAULT};
use fusebox_proto::view::{EdgeView, Stamp, SuggestedAction, TripResult};
use std::time::Duration;

fn storm() -> Desk {
    Desk::watching(World::Shop, true, 120, 40)
}

/// What was sent, in words: `trip open payment>inventory`, `reset payment>inventory at once`.
fn sent(desk: &Desk) -> Vec<String> {
    let requests = desk.effects.iter().filter_map(|effect| match effect {
        Effect::Send(request) => Some(request),
        _ => None,
    });
    let words = requests.map(|request| match request {
        Request::Trip(t) => format!("trip {} {}>{}", t.action, t.source, t.destination),
        Request::Reset(r) => {
            let ResetScope::Edge { source, destination } = &r.scope else { return "all".into() };
            let how = if r.at_once { " at once" } else { "" };
            format!("reset {source}>{destination}{how}")
        }
        Request::Shift(s) => {
            let weights = s.weights.iter().map(|(subset, weight)| format!(" {subset}={weight}"));
            format!("shift {}{}", s.host, weights.collect::<String>())
        }
    });
    words.collect()
}

fn suggest(desk: &mut Desk, change: impl FnOnce(&mut SuggestedAction)) {
    desk.data(|s| change(s.incidents[0].action.as_mut().expect("the storm has a suggestion")));
    desk.wait(800);
}

fn answer(desk: &mut Desk, applied: u64, proxies: u64) {
    let Some(Effect::Send(request)) = desk.effects.last() else { panic!("nothing was sent") };
    let result = TripResult {
        id: request.id().into(),
        edge: storm_edge(),
        action: "open".into(),
        applied,
        proxies,
        applied_ms: (applied == proxies).then_some(84.0),
        expires_at: Some(Stamp(desk.model.wall().0 + 300_000)),
        ..TripResult::default()
    };
    let id = request.id().to_owned();
    desk.tell(Message::Answer { id, result: Ok(result) });
}

/// Scenario: keys in the storm, whose suggestion (mute) has tier 0, 1 or 2, and whose alternative
/// (open) has tier 1.
/// Guarantees: each fires as its own tier says; nothing else consents than `y` or the name; esc
/// does not.
#[test]
fn tiers_decide_how_a_key_fires() {
    let check = |tier: u8, keys: &str, expected: &[&str]| {
        let mut desk = storm();
        suggest(&mut desk, |action| action.tier = tier);
        desk.press(keys);
        assert_eq!(sent(&desk), expected, "tier {tier}, {keys}");
    };
    let mute = "trip mute-retries payment>inventory";
    let open = "trip open payment>inventory";
    check(0, "m", &[mute]);
    check(0, "t", &[]);
    check(0, "ty", &[open]);
    check(0, "t⏎", &[]);
    check(0, "t⎋y", &[]);
    check(0, "tt", &[]);
    check(0, "tq", &[]);
    check(1, "m", &[]);
    check(1, "my", &[mute]);
    check(2, "my", &[]);
    check(2, "mpayment>inventory", &[mute]);
    check(2, "mpayment>inventorx⌫y", &[mute]);
    check(2, "mpayment>inv⏎", &[]);
    check(2, "t⎋", &[]);
    check(0, "o", &[]);
}

/// Scenario: the storm suggests one action and has an alternative, each with its tier.
/// Guarantees: a key has the tier of what it does; what the collector says nothing of asks, and is
/// never easier than what is suggested; `o` does what no other key does.
#[test]
fn each_action_has_its_own_tier() {
    use ActionKind::{Cap, MuteRetries, Open};
    let check =
        |suggested: (ActionKind, u8), other: (ActionKind, u8), keys: &str, fires: &[&str]| {
            let mut desk = storm();
            suggest(&mut desk, |action| {
                (action.action, action.tier) = (suggested.0.into(), suggested.1);
            });
            desk.data(|s| {
                let alternative = &mut s.incidents[0].alternatives[0];
                (alternative.action, alternative.tier) = (other.0.into(), other.1);
            });
            desk.press(keys);
            assert_eq!(sent(&desk), fires, "{suggested:?}, {other:?}: {keys}");
        };
    let mute = "trip mute-retries payment>inventory";
    let open = "trip open payment>inventory";
    check((MuteRetries, 0), (Open, 0), "t", &[open]);
    check((MuteRetries, 1), (Open, 0), "t", &[open]);
    check((MuteRetries, 0), (Open, 1), "t", &[]);
    check((MuteRetries, 0), (Open, 2), "ty", &[]);
    check((Open, 0), (MuteRetries, 0), "m", &[mute]);
    check((Open, 0), (Cap, 0), "m", &[]);
    check((Open, 0), (Cap, 0), "my", &[mute]);
    check((Open, 2), (Cap, 0), "my", &[]);
    check((Cap, 0), (Open, 1), "o", &["trip cap payment>inventory"]);
}

/// Scenario: keys on an edge that no incident names, on each view.
/// Guarantees: it asks; the target is the chosen edge; the lease is the default one.
#[test]
fn an_edge_without_a_suggestion_asks() {
    let mut desk = Desk::watching(World::Shop, false, 120, 40);
    desk.press("4t");
    let target = desk.model.target().expect("a row is chosen");
    let Some(Overlay::Ask(Ask { edge, what, ttl, typed, .. })) = desk.model.overlay.clone() else {
        panic!("it asks");
    };
    assert_eq!((edge, what, ttl, typed), (target, ActionKind::Open.into(), TTL_DEFAULT, None));
    desk.press("y");
    assert_eq!(sent(&desk).len(), 1);
    // On a calm Triage there is nothing to act on.
    let mut desk = Desk::watching(World::Shop, false, 120, 40);
    desk.press("ty");
    assert_eq!(sent(&desk), Vec::<String>::new());
}

/// Scenario: the data moves the target, at most 700 ms before the key and just after; the operator
/// moves it themselves.
/// Guarantees: only the first is swallowed, with the reason.
#[test]
fn a_moved_target_swallows_the_key() {
    let moved = || {
        let mut desk = storm();
        desk.wait(1_000);
        desk.data(|s| {
            s.incidents[0].action.as_mut().expect("suggested").destination = "ledger".into();
        });
        desk
    };
    let mut desk = moved();
    desk.wait(600);
    desk.key('m');
    desk.wait(100);
    assert_eq!(sent(&desk), Vec::<String>::new());
    assert!(desk.model.notice.as_ref().is_some_and(|n| n.text.contains("target changed")));
    let mut desk = moved();
    desk.wait(701);
    desk.key('m');
    desk.wait(100);
    assert_eq!(sent(&desk), ["trip mute-retries payment>ledger"]);
    let mut desk = storm();
    desk.key('4');
    desk.wait(100);
    desk.key('m');
    desk.wait(100);
    assert_eq!(sent(&desk), ["trip mute-retries payment>inventory"]);
}

/// Scenario: the answer to the newest request comes just after `u` went down: it failed, so that
/// the one before is the one to undo.
/// Guarantees: what the footer named is undone, or nothing.
#[test]
fn undo_keeps_to_what_it_named() {
    let check = |answered_after_ms: u64, expected: usize| {
        let mut desk = storm();
        desk.press("m4g");
        while desk.model.target() == Some(storm_edge()) {
            desk.press("j");
        }
        desk.press("ty");
        let Some(Effect::Send(request)) = desk.effects.last().cloned() else { panic!("sent") };
        desk.key('u');
        desk.wait(answered_after_ms);
        desk.tell(Message::Answer { id: request.id().into(), result: Err("gone".into()) });
        desk.wait(40);
        assert_eq!(sent(&desk).len(), expected, "{:?}", sent(&desk));
    };
    check(20, 2);
    check(40, 3);
}

/// Scenario: text lands in the window: as keys in one go, as a bracketed paste, right after the
/// focus; then one key alone, and one held down.
/// Guarantees: only the key alone fires, once.
#[test]
fn typing_is_not_acting() {
    let mut desk = storm();
    for c in "make the tests green".chars() {
        desk.key(c);
        desk.wait(3);
    }
    desk.wait(500);
    assert_eq!(sent(&desk), Vec::<String>::new());

    let mut desk = storm();
    desk.tell(Message::Paste("mt\ny".into()));
    desk.wait(500);
    assert_eq!(sent(&desk), Vec::<String>::new());

    let mut desk = storm();
    desk.tell(Message::Focus);
    desk.wait(200);
    desk.key('m');
    desk.wait(50);
    assert_eq!(sent(&desk), Vec::<String>::new());
    let mut quick = storm();
    for c in "4ty".chars() {
        quick.key(c);
        quick.wait(45);
    }
    assert_eq!(sent(&quick), ["trip open payment>inventory"], "a quick hand is no typing");
    desk.wait(200);
    for _ in 0..5 {
        desk.key('m');
        desk.wait(30);
    }
    desk.wait(50);
    assert_eq!(sent(&desk).len(), 1, "held down it is one command: {:?}", sent(&desk));
}

/// Scenario: data older than 3 s, a lost connection, a read-only console.
/// Guarantees: nothing that refuses traffic is sent, and the reason is said; a question that was
/// open before is refused too; undo still works.
#[test]
fn old_data_is_not_acted_on() {
    let refused = |desk: &mut Desk, word: &str| {
        let notice = desk.model.notice.clone().map(|n| n.text).unwrap_or_default();
        assert!(notice.contains(word), "{notice}");
        assert_eq!(sent(desk), Vec::<String>::new());
    };
    let mut desk = storm();
    desk.wait(3_100);
    desk.press("m");
    refused(&mut desk, "data is");
    let mut desk = storm();
    desk.key('t');
    desk.wait(3_500);
    desk.key('y');
    refused(&mut desk, "data is");
    let mut desk = storm();
    desk.tell(Message::Link(Link::Lost { reason: "gone".into(), attempts: 1 }));
    desk.press("m");
    refused(&mut desk, "refused");
    let mut desk = storm();
    desk.model.session.read_only = true;
    desk.press("m");
    refused(&mut desk, "read-only");
    let mut desk = storm();
    desk.press("m");
    answer(&mut desk, 3, 3);
    desk.wait(4_000);
    desk.press("u");
    assert_eq!(sent(&desk).last().map(String::as_str), Some("reset payment>inventory at once"));
}

/// Scenario: asked, acknowledged by all, seen in the data, undone, seen closed.
/// Guarantees: intent is never shown as fact; `u` undoes once; nothing trips again by itself.
#[test]
fn intent_becomes_fact() {
    let mut desk = storm();
    let standing = |desk: &Desk| desk.model.standing(&storm_edge());
    assert_eq!(standing(&desk), Standing::Nothing);
    desk.press("m");
    assert!(matches!(standing(&desk), Standing::Asked(_)));
    answer(&mut desk, 3, 3);
    let Standing::Fact(fact) = standing(&desk) else { panic!("acknowledged") };
    assert_eq!((fact.applied, fact.proxies, fact.applied_ms), (3, 3, Some(84.0)));
    assert!(fact.undoable && !fact.is_partial());
    desk.wait(100);
    desk.data(|s| hold(s, BreakerState::RetriesMuted, 2, "ana@laptop"));
    let Standing::Fact(fact) = standing(&desk) else { panic!("still a fact") };
    assert!(fact.is_partial(), "the data says that one proxy lost it");
    desk.press("u");
    assert!(matches!(standing(&desk), Standing::Asked(_)));
    answer(&mut desk, 3, 3);
    desk.wait(100);
    desk.data(|s| *s = World::Shop.storm(s.at.0));
    assert_eq!(standing(&desk), Standing::Nothing);
    desk.press("u");
    assert_eq!(sent(&desk).len(), 2);
}

/// Scenario: no proxy enforces the edge; the collector refuses; the collector never answers; the
/// undo itself fails.
/// Guarantees: each is said at the edge, none is shown as done, and a failed undo can be repeated.
#[test]
fn failures_are_told() {
    let reason = |desk: &Desk| match desk.model.standing(&storm_edge()) {
        Standing::Failed { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let mut desk = storm();
    desk.press("m");
    answer(&mut desk, 0, 0);
    assert!(reason(&desk).contains("no proxy"));
    let mut desk = storm();
    desk.press("m");
    let Some(Effect::Send(request)) = desk.effects.last().cloned() else { panic!("sent") };
    let id = request.id().to_owned();
    desk.tell(Message::Answer { id, result: Err("unknown service".into()) });
    assert_eq!(reason(&desk), "unknown service");
    let mut desk = storm();
    desk.press("m");
    desk.wait(11_000);
    assert!(reason(&desk).contains("did not answer"));
    let mut desk = storm();
    desk.press("m");
    answer(&mut desk, 3, 3);
    desk.press("u");
    let Some(Effect::Send(request)) = desk.effects.last().cloned() else { panic!("sent") };
    let id = request.id().to_owned();
    desk.tell(Message::Answer { id, result: Err("gone".into()) });
    desk.press("u");
    assert_eq!(sent(&desk).len(), 3);
}

/// Scenario: after an answer the collector tells of circuits, while no telemetry comes.
/// Guarantees: what it tells counts at once, not with the next telemetry.
#[test]
fn circuits_are_told_without_telemetry() {
    let mut desk = storm();
    desk.press("m");
    answer(&mut desk, 2, 3);
    desk.wait(10);
    let mut snapshot = desk.model.snapshot.clone();
    hold(&mut snapshot, BreakerState::RetriesMuted, 3, "ana@laptop");
    desk.tell(Message::Snapshot(Box::new(snapshot)));
    let Standing::Fact(fact) = desk.model.standing(&storm_edge()) else { panic!("held") };
    assert_eq!(fact.applied, 3);
}

/// Scenario: an edge that someone else holds, from the beginning or since they took it over from me.
/// Guarantees: `r` resets it through the ramp, `u` does nothing: it undoes only what is mine.
#[test]
fn reset_is_for_all_undo_is_mine() {
    let mut desk = storm();
    desk.press("m");
    answer(&mut desk, 3, 3);
    desk.wait(100);
    desk.data(|s| hold(s, BreakerState::ForcedOpen, 3, "raj@bastion"));
    desk.press("u");
    assert_eq!(sent(&desk), ["trip mute-retries payment>inventory"]);
    let mut desk = storm();
    desk.data(|s| hold(s, BreakerState::ForcedOpen, 3, "raj@bastion"));
    desk.press("ur");
    assert_eq!(sent(&desk), ["reset payment>inventory"]);
    let Standing::Asked(_) = desk.model.standing(&storm_edge()) else { panic!("asked") };
}

/// Scenario: the table sorts itself anew under the cursor; a filter hides the chosen row; esc.
/// Guarantees: the chosen edge stays chosen, whatever its row; hidden, the first row that is seen
/// is the target.
#[test]
fn selection_is_by_name() {
    let mut desk = storm();
    desk.press("4↓↓");
    let chosen = desk.model.target();
    desk.data(|s| {
        for edge in &mut s.edges {
            edge.error_ratio = Some(if edge.source == "checkout" { 0.9 } else { 0.0 });
        }
    });
    assert_eq!(desk.model.target(), chosen);
    desk.press("/ledger⏎");
    let target = desk.model.target().expect("one row is left");
    assert_eq!((target.source.as_str(), target.destination.as_str()), ("payment", "ledger"));
    desk.press("⎋");
    assert!(desk.model.filter.is_empty() && desk.model.screen == Screen::Edges);
    desk.press("⎋");
    assert_eq!(desk.model.screen, Screen::Triage);
}

/// Scenario: esc again and again from deep inside; `q` in a panel and on a view.
/// Guarantees: esc goes back step by step and never out; `q` closes a panel, then leaves.
#[test]
fn leaving_goes_step_by_step() {
    let quits = |keys: &str| {
        let mut desk = storm();
        desk.press(keys);
        desk.effects.contains(&Effect::Quit)
    };
    assert!(!quits("4?⎋⎋⎋⎋"));
    assert!(!quits("2?q") && !quits("tq"));
    assert!(quits("2?qq") && quits("4q") && quits("q"));
}

/// Scenario: on the graph of an open incident a call and a service appear; the incident ends and
/// the graph doubles.
/// Guarantees: nothing moves while it is open; afterwards a better layout is allowed.
#[test]
fn the_graph_holds_still_in_an_incident() {
    let places = |model: &Model| {
        let nodes = model.graph.drawing().nodes;
        nodes
            .into_iter()
            .map(|n| (n.name, (n.x, n.y)))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let mut desk = Desk::watching(World::Mesh, true, 200, 60);
    desk.press("2");
    let before = places(&desk.model);
    let edge = |source: &str, destination: &str| EdgeView {
        source: source.into(),
        destination: destination.into(),
        rate: Some(1.0),
        ..EdgeView::default()
    };
    desk.data(|s| {
        s.edges.extend([edge("catalog", "shipping"), edge("promo", "auth"), edge("email", "new")]);
        s.edges.extend((0..10).map(|n| edge("search", &format!("extra-{n}"))));
    });
    let after = places(&desk.model);
    for (name, place) in &before {
        assert_eq!(after.get(name), Some(place), "{name} moved");
    }
}

/// Scenario: time passes without data, with a lease, with a notice, on a console without data.
/// Guarantees: the model asks to be woken only for what changes the screen; an empty console
/// never.
#[test]
fn it_wakes_only_for_what_changes() {
    let after = |desk: &Desk| {
        let now = desk.model.now.instant;
        desk.model.poll_timeout().map(|at| at.saturating_duration_since(now))
    };
    assert_eq!(after(&Desk::new(session(), 80, 24)), None);
    let mut desk = Desk::watching(World::Shop, false, 80, 24);
    assert_eq!(after(&desk), Some(Duration::from_millis(3_001)));
    desk.data(|s| hold(s, BreakerState::ForcedOpen, 3, "raj"));
    assert_eq!(after(&desk), Some(Duration::from_secs(1)));
    desk.key('4');
    desk.key('t');
    assert_eq!(after(&desk), Some(Duration::from_millis(40)));
}

/// Scenario: the incident of a service that is slow by itself, seen by the caller that waits most.
/// Guarantees: the chain begins with the slow one, and leads back to who waits; nobody multiplies.
#[test]
fn the_chain_of_a_slow_service_leads_back() {
    let mut desk = storm();
    desk.data(|s| {
        let incident = &mut s.incidents[0];
        incident.kind = "latency_regression".into();
        incident.originator = Some("inventory".into());
        incident.victim = Some("payment".into());
        incident.amplification = None;
        incident.action = None;
    });
    let chain = desk.model.chain(&desk.model.snapshot.incidents[0]);
    let names: Vec<_> = chain.iter().map(|link| (&*link.service, link.relation)).collect();
    let expected = [("inventory", Relation::Begins), ("payment", Relation::Hurts)];
    assert_eq!(names[..2], expected, "{names:?}");
    assert!(names[2..].iter().all(|(_, relation)| *relation == Relation::Hurts), "{names:?}");
}

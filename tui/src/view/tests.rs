//! Golden screens: the text of each view in each state at three sizes; and what holds of any screen.

mod any;
mod dossier;

use super::draw;
use crate::fixture::{Desk, World, hold, session, storm_edge};
use crate::model::playback::{Control, Phase, Playback};
use crate::model::{Effect, Link, Message, Session};
use crate::theme::{Depth, NAMES, Theme};
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::{
    CollectorStatus, EdgeView, Guard, GuardMode, History, IncidentGuard, Service, Snapshot, Stamp,
    Status, TripResult,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];
const SCREENS: [(char, &str); 6] = [
    ('1', "triage"),
    ('2', "graph"),
    ('3', "services"),
    ('4', "edges"),
    ('6', "breakers"),
    ('7', "timeline"),
];

fn theme(depth: Depth, ascii: bool) -> Theme {
    Theme::new("dark", depth, ascii).expect("a listed name")
}

fn paint(desk: &Desk, theme: &Theme) -> Buffer {
    let (width, height) = desk.model.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&mut buffer, &desk.model, theme);
    buffer
}

fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let rows = (area.top()..area.bottom()).map(|y| {
        let row: String = (area.left()..area.right()).map(|x| buffer[(x, y)].symbol()).collect();
        row.trim_end().to_owned()
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn screen(desk: &Desk) -> String {
    text(&paint(desk, &theme(Depth::True, false)))
}

/// How golden screens are kept.
fn golden() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/src/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

/// Compares all views of a state at both sizes with their golden text.
fn check(state: &str, make: impl Fn(u16, u16) -> Desk) {
    let settings = golden();
    for (width, height) in SIZES {
        for (key, name) in SCREENS {
            let mut desk = make(width, height);
            desk.key(key);
            let text = screen(&desk);
            settings.bind(|| {
                insta::assert_snapshot!(format!("{state}-{name}-{width}x{height}"), text);
            });
        }
    }
}

/// The storm with `m` pressed and acknowledged by `applied` of 3 proxies.
fn acted(width: u16, height: u16, applied: u64) -> Desk {
    let mut desk = Desk::watching(World::Shop, true, width, height);
    desk.press("m");
    let Some(Effect::Send(request)) = desk.effects.first().cloned() else {
        panic!("tier 0 fires at once: {:?}", desk.effects);
    };
    let result = TripResult {
        id: request.id().into(),
        edge: storm_edge(),
        action: "mute-retries".into(),
        applied,
        proxies: 3,
        applied_ms: (applied == 3).then_some(84.0),
        expires_at: Some(Stamp(desk.model.wall().0 + 291_000)),
        note: if applied == 3 { String::new() } else { "payment-3 did not answer".into() },
        ..TripResult::default()
    };
    desk.tell(Message::Answer { id: request.id().into(), result: Ok(result) });
    desk.wait(100);
    desk.data(|s| hold(s, BreakerState::RetriesMuted, applied, "ana@laptop"));
    desk
}

fn empty(width: u16, height: u16) -> Desk {
    let mut desk = Desk::new(session(), width, height);
    let status = Status { embedded: true, ..Status::default() };
    desk.tell(Message::Snapshot(Box::new(Snapshot { status, ..Snapshot::default() })));
    desk
}

/// Scenario: nothing is wrong, in the shop of twelve services.
/// Guarantees: calm is stated with figures.
#[test]
fn calm() {
    check("calm", |w, h| Desk::watching(World::Shop, false, w, h));
}

/// Scenario: a collector in guard mode `act` that muted the storm; then one that will not again.
/// Guarantees: every view says that it may act; whose lease it is, and what it did or why it does
/// nothing, stand where a person looks.
#[test]
fn guard_mode_is_seen() {
    let guarded = |s: &mut Snapshot, actions: u64, refused: Option<&str>| {
        let mode = GuardMode::Act;
        s.status.guard = Some(Guard { mode, actions, leases: 1, ..Guard::default() });
        let (acted_at, refused) = (Some(Stamp(s.at.0 - 4_000)), refused.map(str::to_owned));
        s.incidents[0].guard = Some(IncidentGuard { actions, acted_at, refused });
    };
    check("guard", |w, h| {
        let mut desk = Desk::watching(World::Shop, true, w, h);
        desk.data(|s| hold(s, BreakerState::RetriesMuted, 3, "guard"));
        desk.data(|s| guarded(s, 1, None));
        desk
    });
    for (width, height) in SIZES {
        let mut desk = Desk::watching(World::Shop, true, width, height);
        let why = "back after 3 leases: needs a person";
        desk.data(|s| guarded(s, 3, Some(why)));
        let screen = screen(&desk);
        assert!(screen.contains(&format!("does not act: {why}")), "{screen}");
        assert!(screen.contains("guard: act"), "{screen}");
    }
}

/// Scenario: an embedded collector to which nobody sends.
/// Guarantees: every view says what it is; none looks like health; the way to send is shown.
#[test]
fn empty_is_not_health() {
    check("empty", empty);
    for (key, _) in SCREENS {
        let mut desk = empty(80, 24);
        desk.key(key);
        let screen = screen(&desk);
        assert!(screen.contains("EMBEDDED · 0 senders"), "{screen}");
        assert!(!screen.contains("every circuit is closed"), "{screen}");
    }
}

/// Scenario: the founding storm, with its suggestion.
/// Guarantees: the sentence, the evidence, the chain, the key and its effect are on one screen.
#[test]
fn storm() {
    check("storm", |w, h| Desk::watching(World::Shop, true, w, h));
    check("storm-mesh", |w, h| Desk::watching(World::Mesh, true, w, h));
}

/// Scenario: the storm on every view, from the narrowest screen that shows one on.
/// Guarantees: each names the victim.
#[test]
fn narrow_screens_have_names() {
    for width in 40..80 {
        for (key, _) in SCREENS {
            let mut desk = Desk::watching(World::Shop, true, width, 24);
            desk.data(|s| hold(s, BreakerState::RetriesMuted, 3, "ana@laptop"));
            desk.key(key);
            let screen = screen(&desk);
            assert!(screen.contains("inventory"), "{width}:\n{screen}");
        }
    }
}

/// Scenario: a lease is in force, and to end it failed.
/// Guarantees: the lease stays on the screen, and the failure stands beside it.
#[test]
fn a_failure_stands_beside_the_lease() {
    let mut desk = acted(120, 40, 3);
    desk.press("u");
    let Some(Effect::Send(request)) = desk.effects.last().cloned() else { panic!("sent") };
    desk.tell(Message::Answer { id: request.id().into(), result: Err("it is gone".into()) });
    desk.wait(10_000);
    let screen = screen(&desk);
    assert!(screen.contains("MUTED  payment→inventory · 3 of 3 proxies"), "{screen}");
    assert!(screen.contains("NOT DONE  it is gone"), "{screen}");
}

/// Scenario: the suggested key was pressed and every proxy acknowledged.
/// Guarantees: the fact with its proxies, its time and its lease; undo beside it.
#[test]
fn acted_upon() {
    check("tripped", |w, h| acted(w, h, 3));
}

/// Where a recording of five minutes stands.
fn playback(desk: &Desk, phase: Phase) -> Message {
    let at = desk.model.snapshot.at;
    let (from, to) = (Stamp(at.0 - 180_000), Stamp(at.0 + 120_000));
    Message::Playback(Playback { from, to, at, speed: 10.0, phase })
}

/// A recording of the storm.
fn replayed(width: u16, height: u16) -> Desk {
    let mut desk = Desk::watching(World::Shop, true, width, height);
    desk.tell(playback(&desk, Phase::Playing));
    desk
}

/// Scenario: a recording of the founding storm, long after it happened.
/// Guarantees: the header says that it is one; nothing is stale and nothing offers to act; keys that
/// would act are refused with the reason, and send nothing.
#[test]
fn a_recording_is_never_taken_for_what_is_now() {
    check("replay", replayed);
    let mut desk = replayed(120, 40);
    desk.wait(60_000);
    let shown = screen(&desk);
    assert!(shown.contains("REPLAY ×10") && !shown.contains("STALE"), "{shown}");
    assert!(!shown.contains("t trip") && !shown.contains("LIVE"), "{shown}");
    for key in ['t', 'm', 'o', 'r', 'u'] {
        desk.effects.clear();
        desk.key(key);
        desk.wait(100);
        assert_eq!(desk.effects, [], "{key}");
        let shown = screen(&desk);
        assert!(shown.contains("nobody trips the past"), "{key}: {shown}");
    }
    let plain = paint(&replayed(80, 24), &theme(Depth::None, true));
    assert!(text(&plain).contains("REPLAY x10"), "{}", text(&plain));
}

/// Scenario: the keys of a recording: pause, go on, faster, slower, on, back, beyond its ends; and
/// the same keys where everything is live.
/// Guarantees: each tells the player what its word says, within the recording and the speeds there
/// are; live they do nothing.
#[test]
fn a_recording_is_moved_by_keys() {
    let mut desk = replayed(80, 24);
    let at = desk.model.snapshot.at.0;
    let press = |desk: &mut Desk, key: char| {
        desk.effects.clear();
        desk.key(key);
        match desk.effects.as_slice() {
            [Effect::Play(control)] => *control,
            effects => panic!("{key}: {effects:?}"),
        }
    };
    assert_eq!(press(&mut desk, 'p'), Control::Pause);
    let told = playback(&desk, Phase::Paused);
    desk.tell(told);
    assert!(screen(&desk).contains("REPLAY PAUSED") && screen(&desk).contains("p go on"));
    assert_eq!(press(&mut desk, ' '), Control::Play);
    assert_eq!(press(&mut desk, '+'), Control::Speed(20.0));
    assert_eq!(press(&mut desk, '+'), Control::Speed(40.0));
    assert_eq!(press(&mut desk, '-'), Control::Speed(20.0));
    for _ in 0..20 {
        press(&mut desk, '+');
    }
    assert_eq!(press(&mut desk, '+'), Control::Speed(1_024.0));
    assert_eq!(press(&mut desk, '}'), Control::Seek(Stamp(at + 30_000)));
    assert!(screen(&desk).contains("REPLAY …"), "{}", screen(&desk));
    for _ in 0..9 {
        press(&mut desk, '}');
    }
    assert_eq!(press(&mut desk, '}'), Control::Seek(Stamp(at + 120_000)));
    for _ in 0..9 {
        press(&mut desk, '{');
    }
    assert_eq!(press(&mut desk, '{'), Control::Seek(Stamp(at - 180_000)));
    let told = playback(&desk, Phase::Over);
    desk.tell(told);
    assert!(screen(&desk).contains("REPLAY ENDED") && !screen(&desk).contains("p pause"));

    let mut live = Desk::watching(World::Shop, true, 80, 24);
    live.effects.clear();
    "p{}+-".chars().for_each(|key| live.key(key));
    assert_eq!(live.effects, []);
}

/// Scenario: an incident is kept as a file: it works, it does not; in a recording, and without one.
/// Guarantees: the console asks for that incident, says that it is under way and what came of it; a
/// recording is a file already.
#[test]
fn an_incident_is_kept_as_a_file() {
    let mut desk = Desk::watching(World::Shop, true, 120, 40);
    desk.effects.clear();
    desk.key('W');
    assert_eq!(desk.effects, [Effect::Save("41".into())]);
    assert!(screen(&desk).contains("keeping incident 41"));
    desk.tell(Message::Saved(Ok("fusebox-41.otlp.jsonl.zst".into())));
    assert!(screen(&desk).contains("kept as fusebox-41.otlp.jsonl.zst"));
    desk.tell(Message::Saved(Err("no space".into())));
    assert!(screen(&desk).contains("not kept: no space"));
    for mut desk in [replayed(80, 24), Desk::watching(World::Shop, false, 80, 24)] {
        desk.effects.clear();
        desk.key('W');
        assert_eq!(desk.effects, []);
    }
}

/// Scenario: a recording is taken back to before the storm.
/// Guarantees: what comes after that moment is not drawn as its past.
#[test]
fn the_past_of_a_moment_is_what_came_before_it() {
    let mut desk = replayed(80, 24);
    let earlier = Stamp(desk.model.snapshot.at.0 - 90_000);
    let Message::Playback(now) = playback(&desk, Phase::Playing) else { unreachable!() };
    desk.tell(Message::Playback(Playback { at: earlier, ..now }));
    assert!(desk.model.history.service("payment").is_none());
    desk.tell(Message::Snapshot(Box::new(World::Shop.calm(earlier.0))));
    assert_eq!(desk.model.open_incidents().count(), 0);
    assert_eq!(desk.model.history.service("payment").map(|it| it.rate.len()), Some(1));
}

/// Scenario: one proxy of three did not answer.
/// Guarantees: partial is shown as partial, with the reason.
#[test]
fn partly_acted_upon() {
    check("partial", |w, h| acted(w, h, 2));
}

/// Scenario: data stops for 7 s while the connection lives.
/// Guarantees: the header says so and for how long.
#[test]
fn stale() {
    check("stale", |w, h| {
        let mut desk = Desk::watching(World::Shop, true, w, h);
        desk.wait(7_000);
        desk
    });
}

/// Scenario: a console that may not act, in the storm.
/// Guarantees: no key that acts is shown anywhere, and the header says why.
#[test]
fn read_only() {
    let make = |w, h| {
        let mut desk = Desk::watching(World::Shop, true, w, h);
        desk.model.session = Session { read_only: true, ..session() };
        desk
    };
    check("read-only", make);
    let mut desk = make(120, 40);
    for (key, _) in SCREENS {
        desk.key(key);
        let screen = screen(&desk);
        assert!(screen.contains(" RO ") && !screen.contains("t trip"), "{screen}");
    }
}

/// Scenario: help, a question of each tier, a filter, several incidents, a lost connection, a
/// collector that drops data, a cap that is suggested.
/// Guarantees: the golden text of each.
#[test]
fn states_that_pass() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/src/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let golden = |name: &str, desk: &Desk| {
        settings.bind(|| insta::assert_snapshot!(name, screen(desk)));
    };
    let storm = || Desk::watching(World::Shop, true, 80, 24);
    let mut desk = storm();
    desk.press("2?");
    golden("help", &desk);
    let mut desk = storm();
    desk.press("t");
    golden("ask", &desk);
    let mut desk = storm();
    desk.data(|s| s.incidents[0].action.as_mut().expect("suggested").tier = 2);
    desk.wait(1_000);
    desk.press("mpay");
    golden("ask-name", &desk);
    let mut desk = storm();
    desk.press("4/cat");
    golden("filter", &desk);
    let mut desk = storm();
    desk.data(|s| {
        let mut second = s.incidents[0].clone();
        second.id = "42".into();
        second.summary = "checkout sends cart 3.1 attempts per request since 14:02:20.".into();
        s.incidents.push(second);
        s.incidents[0].data_quality.note = "1 of 3 proxies is silent for 4 s".into();
    });
    golden("incidents", &desk);
    let mut desk = storm();
    let reason = "Connection refused (os error 111)".to_owned();
    desk.tell(Message::Link(Link::Lost { reason: reason.clone(), attempts: 3 }));
    desk.wait(5_000);
    golden("lost", &desk);
    let mut desk = Desk::new(session(), 80, 24);
    desk.tell(Message::Link(Link::Lost { reason, attempts: 12 }));
    golden("never-connected", &desk);
    let mut desk = Desk::watching(World::Shop, false, 80, 24);
    desk.data(|s| {
        s.status.health = fusebox_proto::view::Health::Degraded;
        let dropped = [("spans over the limit".to_owned(), 1_204)].into();
        s.status.collector = CollectorStatus { dropped, ..s.status.collector.clone() };
    });
    golden("degraded", &desk);
}

/// Scenario: a collector whose history is on disk, in memory, or cannot be written.
/// Guarantees: what will not last is said on every view, and only that; of an embedded collector
/// `EMBEDDED` says it.
#[test]
fn what_will_not_last_is_said() {
    let check = |history: Option<History>, embedded: bool, expected: &str| {
        let mut desk = Desk::watching(World::Shop, false, 80, 24);
        desk.data(|s| (s.status.collector.history, s.status.embedded) = (history, embedded));
        for (key, _) in SCREENS {
            desk.key(key);
            let screen = screen(&desk);
            for chip in ["IN MEMORY", "HISTORY OFF"] {
                assert_eq!(screen.contains(chip), chip == expected, "{history:?}: {screen}");
            }
        }
    };
    check(None, false, "");
    check(Some(History::Disk), false, "");
    check(Some(History::Memory), false, "IN MEMORY");
    check(Some(History::Memory), true, "");
    check(Some(History::Failing), false, "HISTORY OFF");
}

/// Scenario: forty healthy services more than anybody reads, beside the storm.
/// Guarantees: the graph shows the incident's part and says how much there is beyond it,
/// and how it fares.
#[test]
fn a_large_graph_is_reduced() {
    let mut desk = Desk::watching(World::Mesh, true, 120, 40);
    desk.data(|s| {
        for n in 0..40 {
            let name = format!("batch-{n:02}");
            let edge = EdgeView {
                source: name.clone(),
                destination: "catalog".into(),
                rate: Some(1.0),
                ..EdgeView::default()
            };
            s.edges.push(edge);
            s.services.push(Service { name, rate: Some(1.0), ..Service::default() });
        }
    });
    desk.press("2");
    let screen = screen(&desk);
    assert!(screen.contains("Graph › incident · +48 not shown"), "{screen}");
    assert!(screen.contains("+48, 1 of them failing"), "pg-stock is beyond: {screen}");
    for name in ["edge-gw", "checkout", "payment", "inventory"] {
        assert!(screen.contains(name), "{screen}");
    }
}

/// Scenario: the storm in every theme and depth, with and without ASCII.
/// Guarantees: colours change no character, and ASCII is ASCII.
#[test]
fn looks_change_no_word() {
    for (key, _) in SCREENS {
        let mut desk = Desk::watching(World::Mesh, true, 120, 40);
        desk.key(key);
        let expected = screen(&desk);
        for name in NAMES {
            for depth in [Depth::True, Depth::Indexed, Depth::Ansi, Depth::None] {
                let theme = Theme::new(name, depth, false).expect("a listed name");
                assert_eq!(text(&paint(&desk, &theme)), expected, "{name} {depth:?}");
            }
        }
        let ascii = text(&paint(&desk, &theme(Depth::None, true)));
        let foreign: String = ascii.chars().filter(|c| !c.is_ascii()).collect();
        assert_eq!(foreign, "", "{ascii}");
    }
}

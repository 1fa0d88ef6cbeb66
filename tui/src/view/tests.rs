//! Golden screens: the text of each view in each state at two sizes; and what holds of any screen.

mod any;

use super::draw;
use crate::fixture::{Desk, World, hold, session, storm_edge};
use crate::model::{Effect, Link, Message, Session};
use crate::theme::{Depth, NAMES, Theme};
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::{
    CollectorStatus, EdgeView, History, Service, Snapshot, Stamp, Status, TripResult,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];
const SCREENS: [(char, &str); 4] =
    [('1', "triage"), ('2', "graph"), ('4', "edges"), ('6', "breakers")];

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

/// Compares all views of a state at both sizes with their golden text.
fn check(state: &str, make: impl Fn(u16, u16) -> Desk) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
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
    settings.set_snapshot_path("../snapshots");
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

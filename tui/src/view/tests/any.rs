//! Any data, any keys, any size: no panic, no act without leave, no frame too large.

use super::{paint, theme};
use crate::fixture::{Desk, World, hold, session};
use crate::keys::{Chord, Key};
use crate::model::commands::Request;
use crate::model::{Effect, Link, Message, Session};
use crate::theme::Depth;
use fusebox_proto::command::BreakerState;
use fusebox_proto::view::{EdgeView, Incident, Service, Snapshot, Stamp};
use proptest::prelude::*;

/// Something that happens to a console.
#[derive(Clone, Debug)]
enum Step {
    Key(Key, bool),
    Data(Box<Snapshot>),
    Storm,
    Held(u64),
    Size(u16, u16),
    Wait(u64),
    Lost,
    Paste(String),
}

fn key() -> impl Strategy<Value = Key> {
    let named = [
        Key::Enter,
        Key::Esc,
        Key::Tab,
        Key::BackTab,
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Backspace,
    ];
    prop_oneof![
        3 => prop::sample::select("tmrouyY123467iixRsS/?q[]gGhjkl>".chars().collect::<Vec<_>>()).prop_map(Key::Char),
        2 => prop::sample::select(named.to_vec()),
        1 => any::<char>().prop_map(Key::Char),
    ]
}

fn figure() -> impl Strategy<Value = Option<f64>> {
    let odd = [f64::NAN, f64::INFINITY, f64::MIN, f64::MAX, -1.0, 0.0, 1e-300];
    prop_oneof![
        Just(None),
        (0.0..1e6_f64).prop_map(Some),
        prop::sample::select(odd.to_vec()).prop_map(Some),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d", "payment", "inventory", "very-long-service-name-of-someone"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ]
}

fn edge() -> impl Strategy<Value = EdgeView> {
    (name(), name(), figure(), figure(), figure(), figure()).prop_map(
        |(source, destination, rate, error_ratio, attempts, p99)| EdgeView {
            source,
            destination,
            rate,
            error_ratio,
            attempts_per_request: attempts,
            p99_ms: p99,
            ..EdgeView::default()
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let edges = prop::collection::vec(edge(), 0..30);
    let services = prop::collection::vec((name(), figure(), figure()), 0..12);
    let incident = prop::option::of((name(), name(), any::<String>()));
    (edges, services, incident, any::<u64>()).prop_map(|(edges, services, incident, at)| {
        let services = services.into_iter().map(|(name, rate, error_ratio)| Service {
            name,
            rate,
            error_ratio,
            ..Service::default()
        });
        let incidents = incident.map(|(a, b, text)| Incident {
            id: "1".into(),
            kind: text.clone(),
            summary: fusebox_proto::text::visible(&text).into_owned(),
            originator: Some(a),
            victim: Some(b),
            ..Incident::default()
        });
        let mut snapshot = Snapshot {
            at: Stamp(at % 4_000_000_000_000),
            edges,
            services: services.collect(),
            incidents: incidents.into_iter().collect(),
            ..Snapshot::default()
        };
        snapshot.sort();
        snapshot.edges.dedup_by(|a, b| a.source == b.source && a.destination == b.destination);
        snapshot.services.dedup_by(|a, b| a.name == b.name);
        snapshot
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (key(), prop::bool::weighted(0.05)).prop_map(|(key, ctrl)| Step::Key(key, ctrl)),
        2 => snapshot().prop_map(|data| Step::Data(Box::new(data))),
        2 => Just(Step::Storm),
        1 => (0..4_u64).prop_map(Step::Held),
        1 => (1..=300_u16, 1..=100_u16).prop_map(|(w, h)| Step::Size(w, h)),
        4 => prop::sample::select(vec![0, 10, 45, 200, 800, 1_000, 4_000]).prop_map(Step::Wait),
        1 => Just(Step::Lost),
        1 => any::<String>().prop_map(Step::Paste),
    ]
}

fn take(desk: &mut Desk, step: Step) {
    match step {
        Step::Key(key, ctrl) => desk.tell(Message::Key(Chord { key, ctrl })),
        Step::Data(snapshot) => desk.tell(Message::Snapshot(snapshot)),
        Step::Storm => {
            let at = desk.model.now.unix_ms;
            desk.tell(Message::Snapshot(Box::new(World::Shop.storm(at))));
        }
        Step::Held(applied) => desk.data(|s| hold(s, BreakerState::ForcedOpen, applied, "raj")),
        Step::Size(width, height) => desk.tell(Message::Resize { width, height }),
        Step::Wait(ms) => desk.wait(ms),
        Step::Lost => {
            let reason = "gone".to_owned();
            desk.tell(Message::Link(Link::Lost { reason, attempts: 1 }));
        }
        Step::Paste(text) => desk.tell(Message::Paste(text)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Scenario: random data, keys, sizes and pauses.
    /// Guarantees: nothing panics; what refuses traffic is sent only on live, fresh data, for an
    /// edge that the footer or the panel named before; every id is new; read-only sends nothing.
    #[test]
    fn no_act_without_leave(
        steps in prop::collection::vec(step(), 1..60),
        read_only in prop::bool::weighted(0.2),
        ascii in any::<bool>(),
    ) {
        let mut desk = Desk::new(Session { read_only, ..session() }, 80, 24);
        let theme = theme(Depth::True, ascii);
        let mut ids = std::collections::BTreeSet::new();
        for step in steps {
            let target = desk.model.target();
            let asked = match &desk.model.overlay {
                Some(crate::model::Overlay::Ask(ask)) => Some(ask.edge.clone()),
                _ => None,
            };
            take(&mut desk, step);
            paint(&desk, &theme);
            for effect in std::mem::take(&mut desk.effects) {
                let Effect::Send(request) = effect else { continue };
                prop_assert!(!read_only);
                prop_assert!(ids.insert(request.id().to_owned()), "{} twice", request.id());
                if let Request::Trip(trip) = request {
                    let named = [target.as_ref(), asked.as_ref()].into_iter().flatten().any(|e| {
                        e.source == trip.source && e.destination == trip.destination
                    });
                    prop_assert!(named, "{trip:?} was not named");
                }
            }
        }
    }

    /// Scenario: each size, with the storm on each view.
    /// Guarantees: nothing panics and nothing is written outside the screen.
    #[test]
    fn every_size_is_drawn(width in 1..=300_u16, height in 1..=100_u16, key in 0..4_usize) {
        for world in [World::Shop, World::Mesh] {
            let mut desk = Desk::watching(world, true, width, height);
            desk.key(['1', '2', '4', '6'][key]);
            let buffer = paint(&desk, &theme(Depth::True, false));
            prop_assert_eq!(buffer.area.width, width);
            desk.press("t");
            paint(&desk, &theme(Depth::None, true));
        }
    }
}

/// Scenario: the next second of data arrives, every figure a little different.
/// Guarantees: a frame over ssh stays below 4 kB on each view.
#[test]
fn a_data_frame_is_small() {
    for key in ['1', '2', '4', '6'] {
        let mut desk = Desk::watching(World::Mesh, true, 120, 40);
        desk.key(key);
        let before = paint(&desk, &theme(Depth::True, false));
        desk.wait(1_000);
        let at = desk.model.now.unix_ms;
        desk.tell(Message::Snapshot(Box::new(World::Mesh.storm(at))));
        let after = paint(&desk, &theme(Depth::True, false));
        let frame = crate::terminal::encode(&before, &after, false).expect("memory takes all");
        assert!(!frame.is_empty() && frame.len() <= 4_096, "view {key}: {} bytes", frame.len());
    }
}

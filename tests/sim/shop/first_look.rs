//! What whoever is woken sees first: the screen right after an incident opened.

use super::Shop;
use crate::Plant;
use fusebox::dashboard::Ingest;
use fusebox::model::{Link, Message, Model, Session, update};
use fusebox::theme::{Depth, NAMES, Theme};
use fusebox::view;
use fusebox_demo::catalogue;
use fusebox_demo::plan::Plan;
use fusebox_proto::Now;
use fusebox_proto::command::ActionKind;
use fusebox_proto::view::{Incident, IncidentState, Remedy, Snapshot};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

/// The console paints what it is told ten times a second.
const FRAME: Duration = Duration::from_millis(100);

/// The screen of a console of 80x24 that has just come.
fn screen(now: Now, snapshot: Snapshot) -> String {
    let ingest = Ingest { otlp_grpc: "127.0.0.1:4317".into(), otlp_http: "127.0.0.1:4318".into() };
    let session = Session {
        collector: "http://127.0.0.1:4319".into(),
        ingest,
        by: "ana".into(),
        read_only: false,
        notice: None,
        seed: 1,
    };
    let mut model = Model::new(session, now);
    let snapshot = Message::Snapshot(Box::new(snapshot));
    for message in [Message::Resize { width: 80, height: 24 }, Message::Link(Link::Live), snapshot]
    {
        update(&mut model, now, message);
    }
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    let theme = Theme::new(NAMES[0], Depth::None, false).expect("a listed name");
    view::draw(&mut buffer, &model, &theme);
    let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..24).map(row).map(|row| row.trim_end().to_owned() + "\n").collect()
}

/// The incident that a scenario is about, as it opens, and the screen then.
fn first_look(plan: Plan) -> (Incident, String) {
    let expect = plan.expect().expect("a scenario with a cause");
    let end = Duration::from_secs_f64(plan.scenario.duration_s);
    let mut shop = Shop::new(plan, Plant::Nothing);
    while shop.elapsed() < end {
        shop.run_until(shop.elapsed() + FRAME);
        let snapshot = shop.snapshot();
        let open = snapshot
            .incidents
            .iter()
            .find(|incident| incident.state == IncidentState::Open && incident.kind == expect.kind);
        if let Some(incident) = open.cloned() {
            return (incident, screen(shop.wall(), snapshot));
        }
    }
    panic!("{} never opened", expect.kind);
}

/// Scenario: every scenario of the demo that has a cause and needs no socket; a console of 80x24 that
/// comes as its incident opens.
/// Guarantees: the first screen names the originator, the victim, since when, and what kind it is; where
/// something is suggested, its key and the beginning of what it would do; and where nothing is, it
/// suggests nothing.
#[test]
fn the_first_screen_says_it_all() {
    let scenarios = catalogue::built_in().into_iter();
    let elsewhere = ["canary", "dead-collector"];
    let scenarios = scenarios.filter(|it| it.expect.is_some() && !elsewhere.contains(&&*it.name));
    let mut seen = 0;
    for scenario in scenarios {
        for seed in crate::seeds_of(2, 20) {
            let (incident, screen) = first_look(Plan::new(scenario.clone(), seed));
            let case = format!("{}, seed {seed}:\n{screen}{incident:#?}", scenario.name);
            if seed == 1 {
                println!("{}\n{screen}", scenario.name);
            }
            let kind = incident.kind.replace('_', " ").to_uppercase();
            let names = [&incident.originator, &incident.victim].map(Clone::clone);
            let text: String = screen.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&kind) && text.contains(" since 00:0"), "{case}");
            for name in names.into_iter().flatten() {
                assert!(text.contains(&name), "{name}, {case}");
            }
            let is_storm = incident.kind == "retry_storm";
            assert_eq!(incident.action.is_some(), is_storm, "{case}");
            if let Some(advice) = &incident.action {
                let key = match advice.action {
                    Remedy::Trip(ActionKind::MuteRetries) => " m mute retries of ",
                    Remedy::Trip(ActionKind::Open) => " t open ",
                    Remedy::Trip(_) | Remedy::Shift(_) => " o ",
                };
                let effect: Vec<&str> = advice.predicted.split_whitespace().take(6).collect();
                assert!(text.contains(key) && text.contains(&effect.join(" ")), "{case}");
            }
            seen += 1;
        }
    }
    assert!(10 <= seen, "{seen}");
}

//! The pictures of the README: golden screens through the exporter, compared, so that what is
//! committed is never stale. `FUSEBOX_PICTURES=1 cargo test -p fusebox pictures` writes them.

use super::svg;
use crate::fixture::{Desk, World};
use crate::theme::{Depth, Theme};
use crate::view::draw;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::path::Path;

fn check(name: &str, title: &str, desk: &Desk) {
    let (width, height) = desk.model.size;
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    draw(&mut buffer, &desk.model, &Theme::new("dark", Depth::True, false).expect("a listed name"));
    let picture = svg(&buffer, title);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures").join(name);
    if std::env::var_os("FUSEBOX_PICTURES").is_some() {
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
        std::fs::write(&path, &picture).expect("writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == picture, "{name} is stale: FUSEBOX_PICTURES=1 writes it anew");
}

/// Scenario: the founding storm on Triage and on the graph of twenty-four services.
/// Guarantees: the committed pictures are what the program shows.
#[test]
fn pictures_are_current() {
    let desk = Desk::watching(World::Shop, true, 120, 36);
    check("triage.svg", "Triage: payment sends inventory 9.8 attempts per request", &desk);
    let mut desk = Desk::watching(World::Mesh, true, 120, 40);
    desk.key('2');
    check("graph.svg", "Graph: the way of the storm through twenty-four services", &desk);
}

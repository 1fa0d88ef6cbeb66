//! Trees of small graphs, drawn with figures left out.

use super::*;
use crate::fixture::{Desk, session};
use crate::model::{Message, Screen, Snapshot};
use proptest::prelude::*;

/// A call and its failed share.
type Wire = (&'static str, &'static str, f64);

fn desk(wires: &[(String, String, f64)]) -> Desk {
    let mut desk = Desk::new(session(), 120, 40);
    let edges = wires.iter().map(|(source, destination, failed)| EdgeView {
        source: source.clone(),
        destination: destination.clone(),
        rate: Some(9.0),
        error_ratio: Some(*failed),
        ..EdgeView::default()
    });
    let mut names: Vec<String> =
        wires.iter().flat_map(|(a, b, _)| [a.clone(), b.clone()]).collect();
    names.sort();
    names.dedup();
    let services = names.into_iter().map(|name| Service { name, ..Service::default() }).collect();
    let snapshot = Snapshot { edges: edges.collect(), services, ..Snapshot::default() };
    desk.tell(Message::Snapshot(Box::new(snapshot)));
    desk.model.screen = Screen::Services;
    desk
}

fn drawn(model: &Model) -> Vec<String> {
    let rows = model.tree_rows();
    let line = |row: &Row<'_>| {
        let guides: String =
            row.guides.iter().map(|follows| if *follows { '|' } else { ' ' }).collect();
        let place = match row.place {
            Place::Here => "",
            Place::Above => " above",
            Place::Below => " below",
        };
        let hidden = if row.hidden == 0 { String::new() } else { format!(" +{}", row.hidden) };
        format!("{guides}{}{place}{hidden}", row.name)
    };
    rows.iter().map(line).collect()
}

fn desk_of(wires: &[Wire]) -> Desk {
    let own = wires.iter().map(|(a, b, failed)| ((*a).to_owned(), (*b).to_owned(), *failed));
    desk(&own.collect::<Vec<_>>())
}

/// Scenario: a chain, a service with two callers while calm and with one of the calls failing, circles
/// with and without an entry, a service that calls itself, two entries.
/// Guarantees: each call is one row below its caller; a service's own calls hang below the nearest
/// caller, or below the call that fails; circles end; the worst branch is first.
#[test]
fn each_call_is_a_row() {
    let check =
        |wires: &[Wire], expected: &[&str]| assert_eq!(drawn(&desk_of(wires).model), expected);
    check(&[("a", "b", 0.0), ("b", "c", 0.0)], &["a", " b", "  c"]);
    let shared = |failed| {
        [("a", "b", 0.0), ("a", "d", 0.0), ("b", "c", 0.0), ("c", "d", failed), ("d", "e", 0.0)]
    };
    check(&shared(0.0), &["a", "|b", "| c", "|  d below", " d", "  e"]);
    check(&shared(0.5), &["a", "|b", "| c", "|  d", "|   e", " d above"]);
    check(&[("a", "b", 0.0), ("b", "c", 0.0), ("c", "b", 0.0)], &["a", " b", "  c", "   b above"]);
    check(&[("b", "c", 0.0), ("c", "b", 0.0)], &["b", " c", "  b above"]);
    check(&[("a", "a", 0.0)], &["a", " a above"]);
    check(&[("a", "b", 0.0), ("x", "y", 0.3)], &["x", " y", "a", " b"]);
}

/// Scenario: rows are folded, filtered, walked over.
/// Guarantees: a folded row counts what it hides and shows the worst of it; a filter keeps the way to
/// what it finds; left is the caller, right the calls, or where they hang.
#[test]
fn rows_fold_and_filter() {
    let wires =
        [("a", "b", 0.0), ("a", "d", 0.0), ("b", "c", 0.0), ("c", "d", 0.5), ("d", "e", 0.0)];
    let mut desk = desk_of(&wires);
    let chosen = |desk: &Desk| {
        let rows = desk.model.tree_rows();
        desk.model.selected_row(&rows).map(|(at, _)| drawn(&desk.model)[at].clone())
    };
    desk.press("3");
    desk.press("jf");
    assert_eq!(drawn(&desk.model), ["a", "|b +3", " d above"]);
    assert_eq!(desk.model.tree_rows()[1].severity, Severity::Critical);
    desk.press("fG");
    assert_eq!(chosen(&desk).as_deref(), Some(" d above"));
    assert_eq!(desk.model.target().map(|edge| edge.source).as_deref(), Some("a"));
    desk.press("l");
    assert_eq!(chosen(&desk).as_deref(), Some("|  d"));
    assert_eq!(desk.model.target().map(|edge| edge.source).as_deref(), Some("c"));
    desk.press("hh");
    assert_eq!(chosen(&desk).as_deref(), Some("|b"));
    desk.press("hh");
    assert_eq!((chosen(&desk).as_deref(), desk.model.target()), (Some("a"), None));
    desk.press("/c");
    assert_eq!(drawn(&desk.model), ["a", " b", "  c"]);
}

proptest! {
    /// Scenario: any graph of up to twelve services.
    /// Guarantees: each call is exactly one row, below a row of its caller; each service's calls hang in
    /// exactly one place.
    #[test]
    fn any_graph_is_a_tree(
        wires in proptest::collection::btree_map((0..12_u8, 0..12_u8), 0..3_u8, 0..40),
    ) {
        let wires: Vec<(String, String, f64)> = wires
            .iter()
            .map(|((a, b), failed)| (format!("s{a:02}"), format!("s{b:02}"), f64::from(*failed) / 10.0))
            .collect();
        let desk = desk(&wires);
        let rows = desk.model.tree_rows();
        let mut way: Vec<&Row<'_>> = Vec::new();
        let mut calls = Vec::new();
        let mut homes = Vec::new();
        for row in &rows {
            way.truncate(row.depth());
            prop_assert_eq!(way.len(), row.depth());
            if let Some(edge) = row.edge {
                let above = way.last().expect("a call has a caller");
                prop_assert_eq!(above.name, edge.source.as_str());
                prop_assert_eq!(above.place, Place::Here);
                calls.push((edge.source.clone(), edge.destination.clone()));
            }
            if row.place == Place::Here {
                homes.push(row.name);
            }
            way.push(row);
        }
        calls.sort();
        let all: Vec<_> = wires.iter().map(|(a, b, _)| (a.clone(), b.clone())).collect();
        prop_assert_eq!(calls, all);
        homes.sort_unstable();
        let services: Vec<&str> =
            desk.model.snapshot.services.iter().map(|service| service.name.as_str()).collect();
        prop_assert_eq!(homes, services);
    }
}

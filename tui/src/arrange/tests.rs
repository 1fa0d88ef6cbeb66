//! The layout holds still, and every line leads where it says.

use super::*;
use crate::fixture::World;
use proptest::prelude::*;

/// Nodes and calls of a world.
fn graph(world: World) -> (BTreeSet<String>, BTreeSet<Call>) {
    let snapshot = world.calm(crate::fixture::UNIX_MS);
    let calls = snapshot.edges.iter().map(|e| (e.source.clone(), e.destination.clone())).collect();
    (snapshot.services.into_iter().map(|s| s.name).collect(), calls)
}

fn moved(before: &Drawing, after: &Drawing) -> Vec<String> {
    let spot =
        |d: &Drawing, name: &str| d.nodes.iter().find(|n| n.name == name).map(|n| (n.x, n.y));
    let all = before.nodes.iter().map(|n| n.name.clone());
    all.filter(|name| spot(before, name) != spot(after, name)).collect()
}

/// No two nodes overlap; no line runs through a node; each line begins and ends at its nodes.
fn check_drawing(drawing: &Drawing) {
    let covers = |node: &NodeBox, x: i32, y: i32| {
        node.x <= x && x < node.x + node.width && node.y <= y && y < node.y + NODE_HEIGHT
    };
    for (at, a) in drawing.nodes.iter().enumerate() {
        for b in &drawing.nodes[at + 1..] {
            let apart = a.x + a.width <= b.x
                || b.x + b.width <= a.x
                || a.y + NODE_HEIGHT <= b.y
                || b.y + NODE_HEIGHT <= a.y;
            assert!(apart, "{a:?} over {b:?}");
        }
    }
    let node = |name: &str| drawing.nodes.iter().find(|n| n.name == name).expect("it is drawn");
    for path in &drawing.paths {
        for cell in &path.cells {
            let hit = drawing.nodes.iter().find(|n| covers(n, cell.x, cell.y));
            assert!(hit.is_none(), "{} → {} through {hit:?}", path.source, path.destination);
            for (leaves, (dx, dy)) in cell.leaves.iter().zip([(0, -1), (1, 0), (0, 1), (-1, 0)]) {
                let (x, y) = (cell.x + dx, cell.y + dy);
                let goes_on = path.cells.iter().any(|c| (c.x, c.y) == (x, y))
                    || [&path.source, &path.destination].iter().any(|n| covers(node(n), x, y));
                assert!(!leaves || goes_on, "{} → {} breaks off", path.source, path.destination);
            }
        }
        let to = node(&path.destination);
        let beside = path.head.0 == to.x - 1 || path.head.0 == to.x + to.width;
        assert!(beside && to.y <= path.head.1 && path.head.1 < to.y + NODE_HEIGHT, "{path:?}");
    }
}

/// Scenario: both worlds, laid out twice, once from calls in another order.
/// Guarantees: the same drawing, in which every line leads where it says; it fits 120 columns.
#[test]
fn worlds_are_drawn_well() {
    for world in [World::Shop, World::Mesh] {
        let (nodes, calls) = graph(world);
        let drawing = Plan::new(&nodes, &calls).draw(&nodes);
        let again: BTreeSet<Call> = calls.iter().rev().cloned().collect();
        assert_eq!(drawing, Plan::new(&nodes, &again).draw(&nodes));
        check_drawing(&drawing);
    }
    let (nodes, calls) = graph(World::Mesh);
    let infra = ["redis", "kafka", "pg-stock"];
    let folded: BTreeSet<String> =
        nodes.iter().filter(|n| !infra.contains(&n.as_str())).cloned().collect();
    let drawing = Plan::new(&folded, &calls).draw(&folded);
    assert!(drawing.width <= 120 && drawing.height <= 26, "{} × {}", drawing.width, drawing.height);
}

/// Scenario: one more call between any two of the twenty-four services, or one more service.
/// Guarantees: no node moves (the bar allows three), and the drawing is as sound as before.
#[test]
fn one_new_call_moves_nothing() {
    let (nodes, calls) = graph(World::Mesh);
    let plan = Plan::new(&nodes, &calls);
    let before = plan.draw(&nodes);
    for source in &nodes {
        for destination in &nodes {
            let mut calls = calls.clone();
            if source == destination || !calls.insert((source.clone(), destination.clone())) {
                continue;
            }
            let mut extended = plan.clone();
            extended.extend(&nodes, &calls);
            let after = extended.draw(&nodes);
            assert_eq!(moved(&before, &after), Vec::<String>::new(), "{source} → {destination}");
        }
        let mut nodes = nodes.clone();
        nodes.insert("newcomer".into());
        let mut calls = calls.clone();
        calls.insert((source.clone(), "newcomer".into()));
        let mut extended = plan.clone();
        extended.extend(&nodes, &calls);
        let after = extended.draw(&nodes);
        assert_eq!(moved(&before, &after), Vec::<String>::new(), "{source} → newcomer");
        check_drawing(&after);
    }
}

/// Scenario: a graph that doubles, and one that gains a call.
/// Guarantees: only the first asks for a new layout.
#[test]
fn growth_asks_for_a_new_layout() {
    let (nodes, calls) = graph(World::Mesh);
    let half: BTreeSet<Call> = calls.iter().step_by(2).cloned().collect();
    let mut plan = Plan::new(&nodes, &half);
    plan.extend(&nodes, &calls);
    assert!(plan.is_outgrown());
    let mut plan = Plan::new(&nodes, &calls);
    let mut more = calls.clone();
    more.insert(("email".into(), "redis".into()));
    plan.extend(&nodes, &more);
    assert!(!plan.is_outgrown());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Scenario: any graph of up to fourteen nodes, cycles, self-calls and islands included.
    /// Guarantees: a sound drawing, at once and after it grew.
    #[test]
    fn any_graph_is_drawn_soundly(
        first in prop::collection::btree_set((0..14_u8, 0..14_u8), 0..30),
        later in prop::collection::btree_set((0..14_u8, 0..14_u8), 0..8),
    ) {
        let name = |n: &u8| format!("s{n}");
        let calls = |set: &BTreeSet<(u8, u8)>| -> BTreeSet<Call> {
            set.iter().map(|(a, b)| (name(a), name(b))).collect()
        };
        let ends = |calls: &BTreeSet<Call>| -> BTreeSet<String> {
            calls.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect()
        };
        let mut all = calls(&first);
        let mut plan = Plan::new(&ends(&all), &all);
        let before = plan.draw(&ends(&all));
        check_drawing(&before);
        all.extend(calls(&later));
        plan.extend(&ends(&all), &all);
        let after = plan.draw(&ends(&all));
        let shifted: Vec<String> = before
            .nodes
            .iter()
            .filter(|a| after.nodes.iter().any(|b| a.name == b.name && a.y != b.y))
            .map(|n| n.name.clone())
            .collect();
        prop_assert_eq!(shifted, Vec::<String>::new());
    }
}

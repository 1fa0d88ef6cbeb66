use super::Witness::Proxy;
use super::*;
use fusebox_proto::Now;

fn named(name: &str) -> ServiceId {
    ServiceId::named(name).unwrap()
}

fn edge(text: &str) -> Edge {
    let (source, destination) = text.split_once('>').unwrap();
    Edge::new(named(source), named(destination))
}

/// A graph of these edges, all seen at `now`.
fn graph(now: Instant, edges: &[&str]) -> Graph {
    let mut graph = Graph::new();
    for text in edges {
        assert!(graph.touch_edge((now, Proxy), &edge(text), Protocol::Http1));
    }
    graph
}

/// Scenario: nodes and edges seen before, after and together with what they are.
/// Guarantees: an end is external until it speaks for itself; then it is a service for good; a
/// protocol that is known is not forgotten for one that is not.
#[test]
fn what_is_known_gets_better() {
    let now = Now::read().instant;
    let mut graph = graph(now, &["a>b"]);
    let kind = |graph: &Graph, name: &str| graph.get(&named(name)).unwrap().kind;
    assert_eq!(kind(&graph, "b"), ServiceKind::External);
    assert!(graph.touch_node((now, Proxy), &named("b"), ServiceKind::Database));
    assert_eq!(kind(&graph, "b"), ServiceKind::Database);
    assert!(graph.touch_node((now, Proxy), &named("b"), ServiceKind::Service));
    assert!(graph.touch_node((now, Proxy), &named("b"), ServiceKind::External));
    assert!(graph.touch_edge((now, Proxy), &edge("a>b"), Protocol::Unknown));
    assert_eq!(kind(&graph, "b"), ServiceKind::Service);
    let edges: Vec<_> =
        graph.edges().map(|(edge, link)| (edge.to_string(), link.protocol)).collect();
    assert_eq!(edges, [("a>b".to_owned(), Protocol::Http1)]);
    assert_eq!(graph.nodes().count(), 2);
    let names = |ids: Vec<&ServiceId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(graph.callees(&named("a")).collect()), ["b"]);
    assert_eq!(names(graph.callers(&named("b")).collect()), ["a"]);
    assert_eq!(graph.callers(&named("nobody")).count(), 0);
}

/// Scenario: an edge that goes on and one that ends.
/// Guarantees: what nobody saw for ten minutes is forgotten and named; what is seen stays, with
/// both its ends.
#[test]
fn what_is_not_seen_ages_out() {
    let start = Now::read().instant;
    let mut graph = graph(start, &["a>b", "b>c"]);
    let later = start + UNSEEN_MAX;
    assert!(graph.touch_edge((later, Proxy), &edge("a>b"), Protocol::Http1));
    assert_eq!(graph.age(later), Aged::default());
    let aged = graph.age(later + AGE_EVERY);
    assert_eq!(aged, Aged { services: vec![named("c")], edges: vec![edge("b>c")] });
    let left: Vec<_> = graph.edges().map(|(edge, _)| edge).collect();
    assert_eq!(left, [edge("a>b")]);
    let aged = graph.age(later + UNSEEN_MAX + AGE_EVERY);
    assert_eq!((aged.services.len(), aged.edges.len()), (2, 1));
    assert_eq!(graph.nodes().count(), 0);
    assert!(graph.get(&named("a")).is_none());
}

/// Scenario: evidence of edges that turns out to be wrong: all of it, or a part.
/// Guarantees: what has no evidence left goes, with an end that nothing else is known of; a service
/// that spoke for itself stays, and so does an edge that was seen once more.
#[test]
fn wrong_evidence_is_taken_back() {
    let now = Now::read().instant;
    let mut graph = graph(now, &["a>b:1", "a>c", "a>c", "a>d"]);
    graph.touch_node((now, Proxy), &named("d"), ServiceKind::Service);
    for wrong in ["a>b:1", "a>c", "a>d", "a>nobody", "nobody>b"] {
        graph.retract_edge(&edge(wrong));
    }
    let mut aged = graph.age(now);
    aged.edges.sort();
    assert_eq!(aged.services, [named("b:1")]);
    assert_eq!(aged.edges, [edge("a>b:1"), edge("a>d")]);
    assert_eq!(graph.edges().count(), 1);
    assert!(graph.get(&named("d")).is_some());
}

/// Scenario: more nodes than there is place for, from spans and from proxies.
/// Guarantees: spans leave a quarter to proxies; what does not fit is counted, and what is there is
/// still refreshed.
#[test]
fn the_graph_is_bounded() {
    let now = Now::read().instant;
    let mut graph = Graph::new();
    for at in 0..NODES_MAX {
        let is_for_proxies = Witness::Spans.room(NODES_MAX) <= at;
        let service = named(&format!("n{at}"));
        let by_spans = graph.touch_node((now, Witness::Spans), &service, ServiceKind::Service);
        assert_eq!(by_spans, !is_for_proxies, "{at}");
        assert!(graph.touch_node((now, Proxy), &service, ServiceKind::Service));
    }
    assert!(!graph.touch_node((now, Proxy), &named("more"), ServiceKind::Service));
    assert!(!graph.touch_edge((now, Proxy), &edge("n0>more"), Protocol::Http1));
    assert!(graph.touch_edge((now, Proxy), &edge("n0>n1"), Protocol::Http1));
    assert_eq!(graph.dropped(), Dropped { nodes: 2_502, edges: 1 });
    assert_eq!(graph.nodes().count(), NODES_MAX);
}

/// Scenario: a chain, a circle of two, a circle of three, and a service that calls itself.
/// Guarantees: the circles of more than one are found.
#[test]
fn cycles_are_found() {
    let now = Now::read().instant;
    let graph = graph(now, &["x>a", "a>b", "b>a", "b>c", "c>d", "d>e", "e>c", "f>f"]);
    let cycles: Vec<Vec<String>> = graph
        .cycles()
        .into_iter()
        .map(|cycle| cycle.iter().map(ToString::to_string).collect())
        .collect();
    assert_eq!(cycles, [vec!["a", "b"], vec!["c", "d", "e"]]);
}

/// Scenario: two ways into a node, equal ways, ways of no weight, and a circle.
/// Guarantees: the walk takes the heaviest edge into each node, never passes one twice, and ends
/// where nothing has weight.
#[test]
fn the_heaviest_path_leads_upstream() {
    let now = Now::read().instant;
    let check = |edges: &[(&str, f64)], last: &str, expected: &[&str]| {
        let names: Vec<&str> = edges.iter().map(|(name, _)| *name).collect();
        let graph = graph(now, &names);
        let weight = |edge: &Edge| {
            let name = edge.to_string();
            edges.iter().find(|(known, _)| *known == name).map(|(_, weight)| *weight)
        };
        let path = graph.heaviest_path(&edge(last), |edge| weight(edge).filter(|w| 0.0 < *w));
        assert_eq!(path.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    };
    let chain = [("f>c", 3.0), ("c>p", 3.0), ("p>i", 3.0), ("x>p", 1.0), ("q>c", 2.0)];
    check(&chain, "p>i", &["f>c", "c>p", "p>i"]);
    check(&[("a>c", 1.0), ("b>c", 1.0), ("c>d", 1.0)], "c>d", &["a>c", "c>d"]);
    check(&[("a>b", 0.0), ("b>c", 2.0)], "b>c", &["b>c"]);
    check(&[("a>b", 1.0), ("b>c", 1.0), ("c>a", 1.0)], "b>c", &["a>b", "b>c"]);
    check(&[], "a>b", &["a>b"]);
}

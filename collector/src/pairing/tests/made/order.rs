//! Traces of any shape, in any order.

use super::*;

/// Any span of a small trace: circles, orphans and nonsense included. Addresses differ, so that
/// what is learned from one span is of no use to another.
fn any_span(id: u8) -> impl Strategy<Value = Draft> {
    let kinds = [
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    let emitters = [
        Emitter::Application,
        Emitter::Application,
        Emitter::Application,
        Emitter::Envoy,
        Emitter::EnvoyRouter,
        Emitter::Proxy,
    ];
    let statuses = [None, Some(200), Some(302), Some(503)];
    (
        prop::sample::select(vec!["a", "b", "c"]),
        prop::sample::select(kinds.to_vec()),
        prop::sample::select(emitters.to_vec()),
        0u8..14,
        0u64..100,
        0u64..60,
        prop::sample::select(statuses.to_vec()),
        prop::option::of(0u8..2),
    )
        .prop_map(move |(service, kind, emitter, parent, start, length, status, path)| {
            let mut draft = span(service, kind, id, parent, start, start + length).by(emitter);
            draft = match status {
                Some(status) => draft.status(status),
                None if length % 2 == 0 => draft.error(),
                None => draft,
            };
            if let Some(path) = path {
                draft = draft.http(&format!("/{path}"));
            }
            if kind == SpanKind::Client {
                draft = draft.to(&format!("host-{id}:1"));
            }
            draft
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Scenario: any twelve spans of one trace, each twice, in any order over six seconds.
    /// Guarantees: the sums are those of the trace in one piece, none is negative, and no edge
    /// leads from a service to itself.
    #[test]
    fn order_and_duplication_never_change_the_sums(
        spans in (1u8..13).map(any_span).collect::<Vec<_>>(),
        keys in prop::collection::vec((any::<u32>(), 0u32..6_000), 24),
    ) {
        let batch = batch(spans);
        let whole = sums(batch.clone());
        for ((edge, ..), &weight) in &whole.attempts {
            prop_assert!(0.0 < weight);
            let (source, destination) = edge.split_once(" > ").unwrap();
            prop_assert_ne!(source, destination);
        }
        prop_assert_eq!(Sums::of(&told(shuffled(&batch, &keys))), whole);
    }
}

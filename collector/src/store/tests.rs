//! What counts where proxies and spans overlap, and in which order things may come.

use super::*;
use crate::observe::{AttemptClass, Ending, Outcome, Waited};
use fusebox_proto::Latency;
use fusebox_proto::report::{EdgeCounts, Protocol};
use proptest::prelude::*;

const NOW: u64 = 1_700_000_060;

fn edge() -> Edge {
    let service = |name| ServiceId::named(name).unwrap();
    Edge::new(service("payment"), service("inventory"))
}

fn ending(class: AttemptClass, outcome: Outcome) -> Ending {
    Ending { class, outcome }
}

const FIRST: Ending = Ending { class: AttemptClass::First, outcome: Outcome::Success };

fn span(second: u64, ending: Ending, weight: f64) -> Observation {
    Observation::Attempt {
        edge: edge(),
        protocol: Protocol::Http1,
        ending,
        latency_us: Some(9_000),
        waited: None,
        weight,
        at_unix_ms: second * 1_000 + 7,
        from_proxy: false,
    }
}

fn window(first: u64, retries: u64, latency_us: u64) -> EdgeWindow {
    let mut latency = Latency::default();
    latency.record_n_us(latency_us, first + retries);
    EdgeWindow {
        destination: edge().destination,
        route: String::new(),
        subset: String::new(),
        protocol: Protocol::Http1,
        counts: EdgeCounts {
            first_attempts: first,
            retries_certain: retries,
            successes: first + retries,
            ..EdgeCounts::default()
        },
        latency,
        retry_waits: None,
    }
}

/// One thing that is heard.
#[derive(Clone, Debug)]
enum Heard {
    Window(u64, u64, u64),
    Span(u64, Ending, f64),
    Corrected(u64, Ending, Option<Ending>),
}

fn store(heard: &[Heard]) -> Store {
    let mut store = Store::new(10, 10);
    for one in heard {
        match one {
            Heard::Window(second, first, retries) => {
                let window = window(*first, *retries, 1_000 * (first + 1));
                store.add_edge_window(&edge(), *second, &window);
            }
            Heard::Span(second, ending, weight) => {
                store.observe(NOW, &span(*second, *ending, *weight));
            }
            Heard::Corrected(second, was, is) => {
                let at_unix_ms = second * 1_000;
                let (edge, was, is) = (edge(), *was, *is);
                let corrected = Observation::Corrected {
                    edge,
                    was,
                    is,
                    weight: 1.0,
                    at_unix_ms,
                    from_proxy: false,
                };
                store.observe(NOW, &corrected);
            }
        }
    }
    store
}

/// Scenario: proxies' windows and spans of the same edge, before, within and after each other's
/// time.
/// Guarantees: in a second that proxies cover only they count, whoever came first; elsewhere spans
/// do; a correction undoes exactly what was counted.
#[test]
fn nothing_counts_twice() {
    let check = |heard: &[Heard], second: u64, first: f64, retries: f64| {
        let store = store(heard);
        let sum = store.edge(&edge()).map(|track| track.sum(second, 1)).unwrap_or_default();
        assert_eq!((sum.first, sum.retries()), (first, retries), "{heard:?}");
    };
    let s = NOW - 20;
    let retry = ending(AttemptClass::Retry, Outcome::Failure);
    let span = |second| Heard::Span(second, FIRST, 1.0);
    check(&[span(s), span(s)], s, 2.0, 0.0);
    check(&[Heard::Span(s, FIRST, 10.0)], s, 10.0, 0.0);
    check(&[span(s), Heard::Window(s, 5, 1)], s, 5.0, 1.0);
    check(&[Heard::Window(s, 5, 1), span(s)], s, 5.0, 1.0);
    check(&[Heard::Window(s, 5, 1), Heard::Window(s, 2, 0)], s, 7.0, 1.0);
    check(&[Heard::Window(s, 5, 1), span(s + 10)], s + 10, 0.0, 0.0);
    check(&[Heard::Window(s, 5, 1), span(s + 11)], s + 11, 1.0, 0.0);
    check(&[Heard::Window(s, 5, 1), span(s - 1)], s - 1, 1.0, 0.0);
    let failed = ending(AttemptClass::First, Outcome::Failure);
    let counted = Heard::Span(s, failed, 1.0);
    check(&[counted.clone(), Heard::Corrected(s, failed, Some(retry))], s, 0.0, 1.0);
    check(&[counted.clone(), Heard::Corrected(s, failed, None)], s, 0.0, 0.0);
    check(&[counted, Heard::Window(s, 5, 1), Heard::Corrected(s, failed, None)], s, 5.0, 1.0);
    check(&[Heard::Corrected(s, failed, Some(retry))], s, 0.0, 0.0);
}

/// Scenario: windows older than a minute, from the future, and of more edges than there is room
/// for.
/// Guarantees: what cannot be kept is counted; a clock ahead does not push a minute out.
#[test]
fn bounds_are_kept_and_counted() {
    let mut store = Store::new(1, 1);
    store.add_edge_window(&edge(), NOW, &window(3, 0, 9));
    store.add_edge_window(&edge(), NOW - 100, &window(3, 0, 9));
    store.observe(NOW, &span(NOW + 3_600, FIRST, 1.0));
    let other = Edge::new(edge().destination, edge().source);
    store.add_edge_window(&other, NOW, &window(3, 0, 9));
    assert_eq!(store.dropped(), Dropped { edges: 1, services: 0, subsets: 0, too_late: 1 });
    let track = store.edge(&edge()).expect("kept");
    assert_eq!((track.newest(), track.sum(NOW, 60).first), (NOW, 3.0));
    store.age(NOW + 30);
    assert!(store.edge(&edge()).is_some());
    store.age(NOW + 70);
    assert!(store.edge(&edge()).is_none(), "aged out");
}

fn heard() -> impl Strategy<Value = Heard> {
    let class =
        prop::sample::select(vec![AttemptClass::First, AttemptClass::Retry, AttemptClass::Hedge]);
    let outcome = prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Timeout]);
    prop_oneof![
        (NOW - 40..NOW - 20, 0_u64..9, 0_u64..9).prop_map(|(s, f, r)| Heard::Window(s, f, r)),
        (NOW - 9..NOW, class, outcome, 1_u32..4).prop_map(|(s, c, o, w)| Heard::Span(
            s,
            ending(c, o),
            f64::from(w)
        )),
    ]
}

proptest! {
    /// Scenario: windows and spans in any order.
    /// Guarantees: sums and quantiles do not depend on the order.
    #[test]
    fn order_does_not_matter(
        (heard, shuffled) in prop::collection::vec(heard(), 1..60)
            .prop_flat_map(|heard| (Just(heard.clone()), Just(heard).prop_shuffle()))
    ) {
        let (a, b) = (store(&heard), store(&shuffled));
        let (a, b) = (a.edge(&edge()).unwrap(), b.edge(&edge()).unwrap());
        for second in NOW - 45..=NOW {
            prop_assert_eq!(a.sum(second, 1), b.sum(second, 1));
        }
        prop_assert_eq!(a.latency(), b.latency());
    }
}

/// Scenario: spans and a proxy tell of the waits of one second, in both orders; then a minute passes.
/// Guarantees: only the proxy's count, and nothing is left in the end.
#[test]
fn waits_are_those_of_proxies() {
    for is_span_first in [true, false] {
        let mut store = Store::new(10, 10);
        let see = |store: &mut Store| {
            let mut span = span(NOW, ending(AttemptClass::Retry, Outcome::Success), 1.0);
            let Observation::Attempt { waited, .. } = &mut span else { panic!("an attempt") };
            *waited = Some(Waited { attempts_before: 1, wait_us: 9_000 });
            store.observe(NOW, &span);
        };
        if is_span_first {
            see(&mut store);
            assert_eq!(store.waits().sum(&edge(), NOW, 1)[0].count(), 1);
        }
        let mut waits = fusebox_proto::report::RetryWaits::default();
        waits.record_us(1, 1_000);
        waits.record_us(2, 2_000);
        let window = EdgeWindow { retry_waits: Some(Box::new(waits)), ..window(1, 2, 5_000) };
        store.add_edge_window(&edge(), NOW, &window);
        if !is_span_first {
            see(&mut store);
        }
        let medians = store.waits().sum(&edge(), NOW, 1).map(|it| it.quantile_ms(0.5, 1));
        assert_eq!(medians, [Some(1.003), Some(2.007)]);
        assert_eq!(store.waits().series(&edge(), NOW), [1.003]);
        store.age(NOW + 65);
        assert!(store.waits().series(&edge(), NOW + 65).is_empty());
    }
}

//! Seven whole traces that real SDKs sent, beside the checkout.

use super::*;
use crate::decode::tests::unpacked;
use crate::samples::samples;
use proptest::prelude::*;

fn captured(name: &str) -> Option<SpanBatch> {
    let body = unpacked(&samples()?, &format!("traces/{name}.pb"));
    Some(crate::decode::protobuf(&body).unwrap())
}

/// The edges of a healthy checkout, beside those that vary.
const HEALTHY: [&str; 11] = [
    "cart > redis@127.0.0.1:16379: 1 first; 1 success",
    "checkout > cart: 1 first; 1 success",
    "checkout > payment: 1 first; 1 success",
    "checkout > rabbitmq:orders: 1 first; 1 success",
    "checkout > shipping: 1 first; 1 success",
    "checkout > tax: 1 first; 1 success",
    "frontend > checkout: 1 first; 1 success",
    "payment > 127.0.0.1:18200: 1 first; 1 success",
    "rabbitmq:orders > email: 1 first; 1 success",
    "shipping > 127.0.0.1:18201: 1 first; 1 success",
    "shipping > currency: 1 first; 1 success",
];

fn healthy(others: [&'static str; 4]) -> Vec<&'static str> {
    HEALTHY.into_iter().chain(others).collect()
}

/// A captured trace, and exactly the edges that it must give.
fn expected(name: &str) -> Vec<&'static str> {
    let mut edges: Vec<&str> = match name {
        "calm_checkout" => healthy([
            "catalog > sqlite: 1 first; 1 success",
            "checkout > catalog: 1 first; 1 success",
            "inventory > redis@127.0.0.1:16379: 1 first; 1 success",
            "payment > inventory: 1 first; 1 success",
        ]),
        "nplus1_not_a_storm" => healthy([
            "catalog > sqlite: 12 first; 12 success",
            "checkout > catalog: 12 first; 12 success",
            "inventory > redis@127.0.0.1:16379: 1 first; 1 success",
            "payment > inventory: 1 first; 1 success",
        ]),
        "envoy_retries_two_sidecars" => healthy([
            "catalog > sqlite: 1 first; 1 success",
            "checkout > catalog: 1 first; 1 success",
            "inventory > redis@127.0.0.1:16379: 3 first; 3 success",
            "payment > inventory: 1 first, 2 retry; 1 success, 2 failure",
        ]),
        // Nobody ever answered at 18020 in this trace alone, so nobody can know who it is.
        "keepalive_race_error" => vec![
            "cart > redis@127.0.0.1:16379: 1 first; 1 success",
            "catalog > sqlite: 1 first; 1 success",
            "checkout > 127.0.0.1:18020: 1 first; 1 failure",
            "checkout > cart: 1 first; 1 success",
            "checkout > catalog: 1 first; 1 success",
            "checkout > tax: 1 first; 1 success",
            "frontend > checkout: 1 first; 1 failure",
        ],
        "storm_shape_A_10_attempts_one_client_span" => vec![
            "cart > redis@127.0.0.1:16379: 1 first; 1 success",
            "catalog > sqlite: 1 first; 1 success",
            "checkout > cart: 1 first; 1 success",
            "checkout > catalog: 1 first; 1 success",
            "checkout > payment: 1 first; 1 failure",
            "checkout > tax: 1 first; 1 success",
            "frontend > checkout: 1 first; 1 failure",
            "inventory > redis@127.0.0.1:16379: 4 first; 4 success",
            "payment > inventory: 1 first, 9 retry; 6 failure, 4 timeout",
        ],
        "storm_multilayer_27" => vec![
            "cart > redis@127.0.0.1:16379: 3 first; 3 success",
            "catalog > sqlite: 3 first; 3 success",
            "checkout > cart: 3 first; 3 success",
            "checkout > catalog: 3 first; 3 success",
            "checkout > payment: 3 first, 6 retry; 9 failure",
            "checkout > tax: 3 first; 3 success",
            "frontend > checkout: 1 first, 2 retry; 3 failure",
            "inventory > redis@127.0.0.1:16379: 27 first; 27 success",
            "payment > inventory: 9 first, 18 retry; 27 failure",
        ],
        "slow_leaf" => vec![
            "catalog > sqlite: 2 first; 2 success",
            "frontend > catalog: 1 first; 1 success",
            "frontend > currency: 1 first; 1 success",
            "frontend > recommendation: 1 first; 1 success",
            "recommendation > catalog: 1 first; 1 success",
        ],
        _ => panic!("no captured trace is called {name}"),
    };
    edges.sort_unstable();
    edges
}

const NAMES: [&str; 7] = [
    "calm_checkout",
    "keepalive_race_error",
    "storm_shape_A_10_attempts_one_client_span",
    "storm_multilayer_27",
    "nplus1_not_a_storm",
    "slow_leaf",
    "envoy_retries_two_sidecars",
];

/// Scenario: each captured trace in one piece: a healthy checkout, one natural error, ten attempts
/// under one client span, three layers of three attempts, N+1, a slow leaf, an Envoy's retries.
/// Guarantees: exactly the edges that were there, each attempt once and in its class; no edge of a
/// service to itself, and no node for a sidecar's port.
#[test]
fn captured_traces_give_exactly_their_edges() {
    for name in NAMES {
        let Some(batch) = captured(name) else { return };
        assert_eq!(sums(batch).edges(), expected(name), "{name}");
    }
}

/// Scenario: a healthy trace, later one in which the client lost a race for a kept-alive
/// connection and no server span exists.
/// Guarantees: the address was learned from the first, so the failure is payment's edge, told at
/// once.
#[test]
fn a_learned_address_names_the_callee_of_a_failed_call() {
    let (Some(calm), Some(race)) = (captured("calm_checkout"), captured("keepalive_race_error"))
    else {
        return;
    };
    let start = Now::read();
    let mut pairing = Pairing::new();
    let mut out = Vec::new();
    pairing.handle(start, calm, &mut out);
    out.clear();
    pairing.handle(start.plus(Duration::from_secs(1)), race, &mut out);
    let edges = Sums::of(&out).edges();
    assert!(edges.contains(&"checkout > payment: 1 first; 1 failure".to_owned()), "{edges:#?}");
}

/// Scenario: the storm's trace in one piece.
/// Guarantees: who served what: inventory answered ten times, four times well and too late, and
/// framework spans of one request are not counted beside it.
#[test]
fn servers_are_counted_once_a_request() {
    let Some(batch) = captured("storm_shape_A_10_attempts_one_client_span") else { return };
    let served = sums(batch).served;
    let of = |name: &str, outcome| served.get(&(name.to_owned(), outcome)).copied();
    assert_eq!(of("inventory", Outcome::Success), Some(4.0));
    assert_eq!(of("inventory", Outcome::Failure), Some(6.0));
    assert_eq!(of("frontend", Outcome::Failure), Some(1.0));
    assert_eq!(of("frontend", Outcome::Success), None);
}

/// Scenario: each captured trace; of one a release made twelve calls of one.
/// Guarantees: that one is N+1, in one request; not the retries, nor what one request asks once.
#[test]
fn many_calls_of_one_request_are_told() {
    for name in NAMES {
        let Some(batch) = captured(name) else { return };
        let many = sums(batch).sequences;
        let expected = match name {
            "nplus1_not_a_storm" => BTreeMap::from([("checkout > catalog".to_owned(), [1, 12])]),
            _ => BTreeMap::new(),
        };
        assert_eq!(many, expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Scenario: a captured trace, each span twice, in random order, in batches of random size
    /// over the six seconds in which spans of one trace come.
    /// Guarantees: the sums are those of the trace in one piece.
    #[test]
    fn order_and_duplication_never_change_the_sums(
        name in prop::sample::select(&NAMES[..]),
        keys in prop::collection::vec((any::<u32>(), 0u32..6_000), 264),
    ) {
        let Some(batch) = captured(name) else { return Ok(()) };
        prop_assert_eq!(Sums::of(&told(shuffled(&batch, &keys))), sums(batch));
    }
}

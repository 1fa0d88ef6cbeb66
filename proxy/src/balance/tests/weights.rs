//! Members of different weights.

use super::*;

const ALL: [Balancer; 3] = [Balancer::LeastRequest, Balancer::Random, Balancer::RoundRobin];

fn weighted(by: Balancer, weights: &[u32]) -> (Instant, Balance) {
    let (now, mut balance) = balance(by, 0, weights.len() as u64);
    let weights: Vec<_> =
        ids(weights.len() as u64).into_iter().zip(weights.iter().copied()).collect();
    balance.set_weights(&weights);
    (now, balance)
}

/// Sends `attempts` to members of these weights and latencies (ms), one each `every_us`, and returns
/// the share of each, in percent.
fn shares_of(
    by: Balancer,
    members: &[(u32, u64)],
    every_us: u64,
    attempts: u64,
    seed: u64,
) -> Vec<f64> {
    let weights: Vec<u32> = members.iter().map(|&(weight, _)| weight).collect();
    let (start, mut balance) = weighted(by, &weights);
    let mut rng = StdRng::seed_from_u64(seed);
    // In order of their ends; of one member in order anyway.
    let mut out: BTreeMap<(u64, u64), EndpointId> = BTreeMap::new();
    let mut counts = vec![0_u64; members.len()];
    for attempt in 0..attempts {
        let at_us = attempt * every_us;
        while let Some(entry) = out.first_entry().filter(|entry| entry.key().0 <= at_us) {
            let ((until_us, _), id) = entry.remove_entry();
            let latency = Duration::from_millis(members[id.0 as usize - 1].1);
            balance.observed(
                start + Duration::from_micros(until_us),
                id,
                Outcome::Success,
                latency,
            );
            balance.released(id);
        }
        let id = balance.pick(start + Duration::from_micros(at_us), &[], rng.random()).unwrap();
        let at = id.0 as usize - 1;
        out.insert((at_us + 1_000 * members[at].1, attempt), id);
        counts[at] += 1;
    }
    counts.iter().map(|&count| count as f64 * 100.0 / attempts as f64).collect()
}

#[track_caller]
fn assert_follow(shares: &[f64], weights: &[u32], tolerance: f64, what: &str) {
    let sum: u32 = weights.iter().sum();
    for (share, weight) in shares.iter().zip(weights) {
        let meant = f64::from(*weight) * 100.0 / f64::from(sum);
        assert!((share - meant).abs() <= tolerance, "{what}: {shares:?} of {weights:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Scenario: members of any weights that answer alike, under each balancer: idle between two
    /// attempts, with hundreds out at once, and with four.
    /// Guarantees: shares follow the weights, within chance; nearly, where an attempt more or less is
    /// much.
    #[test]
    fn shares_follow_the_weights(
        weights in prop::collection::vec(1_u32..=20, 2..6),
        seed in any::<u64>(),
    ) {
        let members: Vec<_> = weights.iter().map(|&weight| (weight, 20)).collect();
        for by in ALL {
            let idle = shares_of(by, &members, 25_000, 20_000, seed);
            assert_follow(&idle, &weights, 2.0, &format!("{by:?} idle"));
            let busy = shares_of(by, &members, 100, 20_000, seed);
            assert_follow(&busy, &weights, 3.0, &format!("{by:?} busy"));
            let between = shares_of(by, &members, 5_000, 20_000, seed);
            assert_follow(&between, &weights, 8.0, &format!("{by:?} between"));
        }
    }

    /// Scenario: round robin among members of any weights.
    /// Guarantees: in each round of as many turns as the sum of weights, each has exactly its own.
    #[test]
    fn turns_are_exact(weights in prop::collection::vec(1_u32..=20, 2..6), rounds in 1_u32..4) {
        prop_assume!(weights.iter().any(|weight| *weight != weights[0]));
        let (now, mut balance) = weighted(Balancer::RoundRobin, &weights);
        for _ in 0..rounds {
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..weights.iter().sum() {
                counts[balance.pick(now, &[], [0.0; 2]).unwrap().0 as usize - 1] += 1;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }
}

/// Scenario: two busy members of weights 3 and 1, which answer alike, or of which the heavy one is slow.
/// Guarantees: weights do not overrule load: a slow one gets less than its weight says.
#[test]
fn load_still_counts() {
    for seed in 1..=5 {
        let alike = shares_of(Balancer::LeastRequest, &[(3, 20), (1, 20)], 1_000, 20_000, seed);
        let slow = shares_of(Balancer::LeastRequest, &[(3, 200), (1, 20)], 1_000, 20_000, seed);
        assert!((70.0..80.0).contains(&alike[0]) && slow[0] < 60.0, "{alike:?} {slow:?}");
    }
}

/// Scenario: of three members with weights one is ejected, one was tried, weights change, and members
/// leave and come.
/// Guarantees: the others share by their weights; a member that comes weighs 1 until it is told, one
/// that stays keeps its weight.
#[test]
fn weights_among_those_that_are_left() {
    let share = |balance: &mut Balance, now, tried: &[EndpointId], id: u64| {
        let mut rng = StdRng::seed_from_u64(7);
        let mut count = 0_u32;
        for _ in 0..10_000 {
            let picked = balance.pick(now, tried, rng.random()).unwrap();
            balance.released(picked);
            count += u32::from(picked == EndpointId(id));
        }
        (f64::from(count) / 100.0).round()
    };
    for by in ALL {
        let (now, mut balance) = weighted(by, &[1, 4, 5]);
        let near = |share: f64, meant: f64| {
            assert!((share - meant).abs() <= 2.0, "{by:?} {share} {meant}");
        };
        near(share(&mut balance, now, &[], 3), 50.0);
        near(share(&mut balance, now, &[EndpointId(3)], 2), 80.0);
        balance.set_ejected(EndpointId(3), true);
        near(share(&mut balance, now, &[], 2), 80.0);
        balance.set_ejected(EndpointId(3), false);
        balance.set_weights(&[(EndpointId(3), 0), (EndpointId(9), 7)]);
        near(share(&mut balance, now, &[], 2), 66.0);
        balance.set_members(now, &[EndpointId(2), EndpointId(4)], 0);
        near(share(&mut balance, now, &[], 2), 80.0);
        balance.set_weights(&[(EndpointId(4), 4)]);
        near(share(&mut balance, now, &[], 2), 50.0);
    }
}

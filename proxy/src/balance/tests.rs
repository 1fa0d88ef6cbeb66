use super::*;
use fusebox_proto::Now;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

mod weights;

const MS: Duration = Duration::from_millis(1);

fn ids(count: u64) -> Vec<EndpointId> {
    (1..=count).map(EndpointId).collect()
}

fn balance(by: Balancer, panic_percent: u8, count: u64) -> (Instant, Balance) {
    let now = Now::read().instant;
    let mut balance = Balance::new(by, panic_percent);
    balance.set_members(now, &ids(count), 0);
    (now, balance)
}

/// Scenario: members ejected one after another, with each panic threshold.
/// Guarantees: ejections are ignored when fewer than the threshold are left, strictly, and never at
/// threshold 0.
#[test]
fn panic_is_strict() {
    let check = |left, all, percent, expected| {
        assert_eq!(is_panicking(left, all, percent), expected, "{left}/{all} at {percent} %");
    };
    check(0, 0, 50, false);
    check(0, 3, 0, false);
    check(0, 3, 1, true);
    check(1, 2, 50, false);
    check(1, 3, 50, true);
    check(5, 10, 50, false);
    check(4, 10, 50, true);
    check(9, 10, 100, true);
    check(10, 10, 100, false);
}

/// Scenario: a hundred picks from members of which some are ejected and some were tried.
/// Guarantees: only those are picked that may be: no ejected one unless so few are left, no tried
/// one unless there is no other.
#[test]
fn only_the_usable_are_picked() {
    let check = |panic_percent, ejected: &[u64], tried: &[u64], expected: &[u64]| {
        for by in [Balancer::LeastRequest, Balancer::Random, Balancer::RoundRobin] {
            let (now, mut balance) = balance(by, panic_percent, 4);
            for &id in ejected {
                balance.set_ejected(EndpointId(id), true);
            }
            let tried: Vec<_> = tried.iter().copied().map(EndpointId).collect();
            let mut rng = StdRng::seed_from_u64(1);
            let mut picked: Vec<u64> =
                (0..100).map(|_| balance.pick(now, &tried, rng.random()).unwrap().0).collect();
            picked.sort_unstable();
            picked.dedup();
            assert_eq!(picked, expected, "{by:?} {ejected:?} {tried:?}");
        }
    };
    check(0, &[], &[], &[1, 2, 3, 4]);
    check(0, &[2, 9], &[], &[1, 3, 4]);
    check(0, &[1, 2, 3], &[], &[4]);
    check(50, &[1, 2], &[], &[3, 4]);
    check(50, &[1, 2, 3], &[], &[1, 2, 3, 4]);
    check(50, &[1, 2, 3, 4], &[], &[1, 2, 3, 4]);
    check(0, &[], &[1], &[2, 3, 4]);
    check(0, &[], &[1, 2, 3, 9], &[4]);
    check(0, &[], &[1, 2, 3, 4], &[1, 2, 3, 4]);
    check(0, &[4], &[1, 2, 3], &[1, 2, 3]);
    check(50, &[1, 2, 3], &[4], &[1, 2, 3]);
}

/// Scenario: no members, and none but ejected ones.
/// Guarantees: nobody is picked, and the reason is told.
#[test]
fn nobody_is_left() {
    let (now, mut balance) = balance(Balancer::LeastRequest, 0, 2);
    for id in ids(2) {
        balance.set_ejected(id, true);
    }
    assert_eq!(balance.pick(now, &[], [0.5; 2]), Err(NoEndpoint::AllEjected));
    balance.set_ejected(EndpointId(2), false);
    assert_eq!(balance.pick(now, &[], [0.5; 2]), Ok(EndpointId(2)));
    balance.set_members(now, &[], 0);
    assert_eq!(balance.pick(now, &[], [0.5; 2]), Err(NoEndpoint::Empty));
}

/// Scenario: 9,000 picks from three equal members, each answered at once.
/// Guarantees: round robin is exact; random and least request are even within three sigma.
#[test]
fn equal_members_share_alike() {
    let check = |by, tolerance: u64| {
        let (now, mut balance) = balance(by, 0, 3);
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = BTreeMap::<u64, u64>::new();
        for _ in 0..9_000 {
            let id = balance.pick(now, &[], rng.random()).unwrap();
            *counts.entry(id.0).or_default() += 1;
            balance.observed(now, id, Outcome::Success, 10 * MS);
            balance.released(id);
        }
        for (id, count) in counts {
            assert!(count.abs_diff(3_000) <= tolerance, "{by:?}: {count} for {id}");
        }
    };
    check(Balancer::RoundRobin, 0);
    check(Balancer::Random, 134);
    check(Balancer::LeastRequest, 134);
}

/// Scenario: round robin over members that come, go and are ejected.
/// Guarantees: each in its turn, none twice in a row.
#[test]
fn round_robin_takes_turns() {
    let (now, mut balance) = balance(Balancer::RoundRobin, 0, 4);
    let run = |balance: &mut Balance, count| -> Vec<u64> {
        (0..count).map(|_| balance.pick(now, &[], [0.0; 2]).unwrap().0).collect()
    };
    assert_eq!(run(&mut balance, 5), [1, 2, 3, 4, 1]);
    balance.set_ejected(EndpointId(2), true);
    let turns = run(&mut balance, 6);
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    assert!(!turns.contains(&2));
    balance.set_members(now, &ids(2), usize::MAX);
    assert_eq!(run(&mut balance, 2), [1, 1], "2 is still ejected");
}

/// Scenario: two members of which one has more attempts out, answers later, or fails.
/// Guarantees: the other is chosen whichever is drawn first; where a latency is not known, attempts
/// alone decide.
#[test]
fn the_less_loaded_of_two() {
    type Past<'p> = &'p [(Outcome, u64)];
    let check = |one: (u32, Past<'_>), other: (u32, Past<'_>), expected: u64| {
        for point in [0.0, 0.9] {
            let (now, mut balance) = balance(Balancer::LeastRequest, 0, 2);
            for (at, (in_flight, past)) in [one, other].into_iter().enumerate() {
                for &(outcome, ms) in past {
                    balance.observed(now, EndpointId(at as u64 + 1), outcome, ms as u32 * MS);
                }
                balance.members[at].in_flight = in_flight;
            }
            let picked = balance.pick(now, &[], [point, 0.0]);
            assert_eq!(picked, Ok(EndpointId(expected)), "{one:?} {other:?} at {point}");
        }
    };
    let (good, bad, left) = (Outcome::Success, Outcome::Failure, Outcome::Cancelled);
    check((1, &[]), (0, &[]), 2);
    check((0, &[]), (1, &[]), 1);
    check((1, &[(good, 10)]), (0, &[(good, 10)]), 2);
    check((1, &[(good, 10)]), (0, &[(good, 30)]), 1);
    check((2, &[(good, 10)]), (0, &[(good, 20)]), 2);
    check((1, &[(good, 10)]), (0, &[]), 2);
    check((0, &[(good, 10), (good, 500)]), (1, &[(good, 100)]), 2);
    check((0, &[(good, 10), (bad, 1)]), (0, &[(good, 20)]), 2);
    check((0, &[(bad, 0)]), (1, &[]), 2);
    check((0, &[(good, 10), (left, 300)]), (1, &[(good, 20)]), 2);
    check((0, &[(good, 10), (left, 5)]), (1, &[(good, 20)]), 1);
    check((0, &[(good, 10), (bad, 300)]), (3, &[(good, 20)]), 2);
}

/// Scenario: an endpoint that had a slow answer, and one that failed, both left alone.
/// Guarantees: what is known of them fades: after a minute they are as good as any.
#[test]
fn the_past_fades() {
    let (now, mut balance) = balance(Balancer::LeastRequest, 0, 2);
    let id = EndpointId(1);
    balance.observed(now, id, Outcome::Success, 2_000 * MS);
    (0..50).for_each(|_| balance.observed(now, id, Outcome::Failure, MS));
    let told = |balance: &Balance, now| balance.status(now).next().unwrap();
    let before = told(&balance, now);
    assert_eq!(before.latency, Some(2_000 * MS));
    assert!(0.99 < before.failing, "{}", before.failing);
    let after = told(&balance, now + Duration::from_mins(1));
    assert!(after.latency.unwrap() < 6 * MS && after.failing < 0.01, "{after:?}");
}

/// How an endpoint of a simulation behaves.
#[derive(Clone, Copy)]
struct Endpoint {
    latency_ms: u64,
    fails: bool,
}

/// Sends 200 attempts a second for twenty seconds to endpoints that behave like this, and returns
/// the share of each over the last ten, in percent.
fn shares(endpoints: &[Endpoint], seed: u64) -> Vec<u64> {
    let (start, mut balance) = balance(Balancer::LeastRequest, 0, endpoints.len() as u64);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut out: Vec<(u64, EndpointId)> = Vec::new();
    let mut counts = vec![0_u64; endpoints.len()];
    for at_ms in 0..20_000_u64 {
        let now = start + Duration::from_millis(at_ms);
        out.retain(|&(until_ms, id)| {
            let Endpoint { latency_ms, fails } = endpoints[id.0 as usize - 1];
            if until_ms == at_ms {
                let outcome = if fails { Outcome::Failure } else { Outcome::Success };
                balance.observed(now, id, outcome, Duration::from_millis(latency_ms));
                balance.released(id);
            }
            until_ms != at_ms
        });
        if at_ms % 5 == 0 {
            let id = balance.pick(now, &[], rng.random()).unwrap();
            let at = id.0 as usize - 1;
            out.push((at_ms + endpoints[at].latency_ms, id));
            counts[at] += u64::from(10_000 <= at_ms);
        }
    }
    counts.iter().map(|count| count * 100 / 2_000).collect()
}

/// Scenario: three endpoints under load, of which one fails at once, one is slow, or all are alike.
/// Guarantees: an endpoint that fails fast does not draw traffic, a slow one gets less, and equals
/// share alike, whatever the dice.
#[test]
fn bad_endpoints_draw_no_traffic() {
    let well = Endpoint { latency_ms: 20, fails: false };
    for seed in 1..=5 {
        let fails_fast = shares(&[well, well, Endpoint { latency_ms: 1, fails: true }], seed);
        assert!(fails_fast[2] <= 5, "fails fast: {fails_fast:?}");
        let slow = shares(&[well, well, Endpoint { latency_ms: 100, fails: false }], seed);
        assert!(slow[2] <= 15, "slow: {slow:?}");
        let alike = shares(&[well, well, well], seed);
        assert!(alike.iter().all(|share| (25..=42).contains(share)), "alike: {alike:?}");
        let all_fail = shares(&[Endpoint { latency_ms: 20, fails: true }; 3], seed);
        assert!(all_fail.iter().all(|share| (25..=42).contains(share)), "all fail: {all_fail:?}");
    }
}

/// Something that happens to a balance.
#[derive(Clone, Debug)]
enum Event {
    Pick { points: [f64; 2], tried: Vec<u64> },
    End { which: usize, outcome: Outcome },
    Eject { id: u64, is_ejected: bool },
    Members { first: u64, count: u64 },
    Weigh { id: u64, weight: u32 },
    Pass { ms: u64 },
}

fn events() -> impl Strategy<Value = Event> {
    let outcome =
        prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Cancelled]);
    prop_oneof![
        8 => (any::<[f64; 2]>(), prop::collection::vec(0_u64..12, 0..4))
            .prop_map(|(points, tried)| Event::Pick { points, tried }),
        6 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Event::End { which, outcome }),
        2 => (0_u64..12, any::<bool>()).prop_map(|(id, is_ejected)| Event::Eject { id, is_ejected }),
        1 => (0_u64..6, 0_u64..6).prop_map(|(first, count)| Event::Members { first, count }),
        1 => (0_u64..12, any::<u32>()).prop_map(|(id, weight)| Event::Weigh { id, weight }),
        3 => (0_u64..30_000).prop_map(|ms| Event::Pass { ms }),
    ]
}

proptest! {
    /// Scenario: any sequence of picks with any points, ends, ejections, changes of members and weights.
    /// Guarantees: nobody is picked who is not a member, is ejected without panic, or was tried
    /// while there was another; an attempt is counted once; and when all have come back, each
    /// member can be picked.
    #[test]
    fn picks_are_always_allowed(
        by in prop::sample::select(vec![
            Balancer::LeastRequest, Balancer::Random, Balancer::RoundRobin,
        ]),
        panic_percent in prop::sample::select(vec![0_u8, 50, 100]),
        events in prop::collection::vec(events(), 1..200),
    ) {
        let (mut now, mut balance) = balance(by, panic_percent, 4);
        let mut out = Vec::new();
        for event in events {
            match event {
                Event::Pick { points, tried } => {
                    let tried: Vec<_> = tried.into_iter().map(EndpointId).collect();
                    if let Ok(id) = balance.pick(now, &tried, points) {
                        let member = balance.status(now).find(|member| member.id == id);
                        let member = member.expect("a member");
                        prop_assert!(!member.is_ejected || balance.is_panicking());
                        let is_free = |member: &MemberStatus| {
                            (!member.is_ejected || balance.is_panicking())
                                && !tried.contains(&member.id)
                        };
                        prop_assert!(!tried.contains(&id) || !balance.status(now).any(|m| is_free(&m)));
                        out.push(id);
                    }
                }
                Event::End { which, outcome } if !out.is_empty() => {
                    let id = out.swap_remove(which % out.len());
                    balance.observed(now, id, outcome, 10 * MS);
                    balance.released(id);
                }
                Event::End { .. } => (),
                Event::Eject { id, is_ejected } => balance.set_ejected(EndpointId(id), is_ejected),
                Event::Members { first, count } => {
                    let ids: Vec<_> = (first..first + count).map(EndpointId).collect();
                    balance.set_members(now, &ids, 3);
                }
                Event::Weigh { id, weight } => balance.set_weights(&[(EndpointId(id), weight)]),
                Event::Pass { ms } => now += Duration::from_millis(ms),
            }
            let counted: u32 = balance.status(now).map(|member| member.in_flight).sum();
            prop_assert!(counted as usize <= out.len());
            let figures_are_sound = balance.status(now).all(|m| (0.0..=1.0).contains(&m.failing));
            prop_assert!(figures_are_sound);
        }
        let members: Vec<_> = balance.status(now).map(|member| member.id).collect();
        for &id in &members {
            balance.set_ejected(id, false);
        }
        now += Duration::from_hours(24);
        for &wanted in &members {
            let others: Vec<_> = members.iter().copied().filter(|&id| id != wanted).collect();
            prop_assert_eq!(balance.pick(now, &others, [0.5; 2]), Ok(wanted));
        }
    }
}

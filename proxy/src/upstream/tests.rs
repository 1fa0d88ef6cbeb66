use super::*;
use fusebox_proto::Now;
use fusebox_proto::policy::{ConnectionPool, Consecutive, OutlierDetection};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeSet;
use std::time::Duration;

/// The founding guide's `payment-circuit-breaker.yaml`, as far as endpoints go.
fn outlier() -> OutlierDetection {
    OutlierDetection {
        interval: Duration::from_secs(1),
        ejection_time_base: Duration::from_mins(3),
        ejection_time_max: Duration::from_mins(5),
        ejection_time_jitter_max: Duration::ZERO,
        ejection_percent_max: 100,
        always_eject_one: false,
        panic_percent: 0,
        split_local_origin: false,
        error_statuses: Vec::new(),
        consecutive_errors: Some(Consecutive { threshold: 5, enforcing_percent: 100 }),
        consecutive_gateway_errors: None,
        consecutive_local_origin_failures: None,
        success_rate: None,
        failure_percentage: None,
    }
}

fn settings(panic_percent: u8) -> Settings {
    Settings {
        pool: ConnectionPool { retries_max: Some(2), ..ConnectionPool::default() },
        outlier: Some(OutlierDetection { panic_percent, ..outlier() }),
        ..Settings::default()
    }
}

fn upstream(settings: &Settings, endpoints: u64) -> (Instant, Upstream) {
    let now = Now::read().instant;
    let mut upstream = Upstream::new(now, settings);
    upstream.set_endpoints(now, &(1..=endpoints).map(EndpointId).collect::<Vec<_>>(), 0);
    (now, upstream)
}

/// Sends first attempts, of which those to endpoint 1 are answered 500, until it was asked `count`
/// times or a thousand were sent. Returns how often it was asked.
fn send(upstream: &mut Upstream, now: Instant, rng: &mut StdRng, count: usize) -> usize {
    let mut asked = 0;
    for _ in 0..1_000 {
        let mut choice = upstream.pick(now, &Tried::default(), rng.random()).unwrap();
        let is_bad = choice.endpoint() == EndpointId(1);
        let status = if is_bad { 500 } else { 200 };
        upstream.connected(&choice);
        upstream.observed(now, &mut choice, Observed::Answered(status), || 0.5);
        upstream.ended(now, choice);
        asked += usize::from(is_bad);
        if asked == count {
            break;
        }
    }
    asked
}

/// Scenario: one of three endpoints answers 500, for longer than its ejection lasts.
/// Guarantees: five attempts later nothing goes to it, for three minutes; then it is asked again; and
/// where the policy goes, it is back at once.
#[test]
fn five_errors_take_an_endpoint_out() {
    let (start, mut upstream) = upstream(&settings(0), 3);
    let mut rng = StdRng::seed_from_u64(1);
    let random = settings(0);
    upstream.set_policy(
        start,
        &Settings { balancer: fusebox_proto::policy::Balancer::Random, ..random },
    );
    assert_eq!(send(&mut upstream, start, &mut rng, 5), 5);
    assert_eq!(send(&mut upstream, start, &mut rng, 1), 0);
    let now = start + Duration::from_secs(179);
    upstream.handle_timeout(now, || 0.5);
    assert_eq!(send(&mut upstream, now, &mut rng, 1), 0);
    let now = upstream.poll_timeout().unwrap();
    upstream.handle_timeout(now, || 0.5);
    assert_eq!(send(&mut upstream, now, &mut rng, 5), 5);
    assert_eq!(send(&mut upstream, now, &mut rng, 1), 0);
    assert_eq!(upstream.take_events().count(), 3);
    let plain =
        Settings { balancer: fusebox_proto::policy::Balancer::Random, ..Settings::default() };
    upstream.set_policy(now, &plain);
    assert_eq!(send(&mut upstream, now, &mut rng, 9), 9);
    assert_eq!(upstream.poll_timeout(), None);
}

/// Scenario: all endpoints are out, with and without a panic threshold; and there are none.
/// Guarantees: nobody is asked, with the reason; in panic all are.
#[test]
fn nobody_is_left_or_all_are_asked() {
    let eject_all = |panic_percent| {
        let (now, mut upstream) = upstream(&settings(panic_percent), 2);
        for _ in 0..20 {
            if let Ok(mut choice) = upstream.pick(now, &Tried::default(), [0.5; 2]) {
                upstream.observed(now, &mut choice, Observed::Broken, || 0.5);
                upstream.ended(now, choice);
            }
        }
        (now, upstream)
    };
    let (now, mut ejected) = eject_all(0);
    let nobody = |reason| Err::<Choice, _>(reason);
    assert_eq!(ejected.pick(now, &Tried::default(), [0.5; 2]), nobody(NoEndpoint::AllEjected));
    ejected.set_endpoints(now, &[], 0);
    assert_eq!(ejected.pick(now, &Tried::default(), [0.5; 2]), nobody(NoEndpoint::Empty));
    let (now, mut panicking) = eject_all(50);
    let choice = panicking.pick(now, &Tried::default(), [0.5; 2]).unwrap();
    assert!(panicking.status(now).is_panicking);
    panicking.ended(now, choice);
}

/// Scenario: a retry beside first attempts, with a bound on retries at once.
/// Guarantees: it avoids what was tried, and is no request to the budget; ends and permits leave
/// nothing behind.
#[test]
fn a_retry_goes_elsewhere() {
    let (now, mut upstream) = upstream(&settings(0), 2);
    let mut tried = Tried::default();
    let first = upstream.pick(now, &tried, [0.1; 2]).unwrap();
    tried.add(first.endpoint());
    let before = first.endpoint();
    upstream.ended(now, first);
    let permits: Vec<_> = (0..2).map(|_| upstream.take_retry(now).unwrap()).collect();
    assert_eq!(upstream.take_retry(now), Err(Spent::RetriesMax));
    let again = upstream.pick(now, &tried, [0.1; 2]).unwrap();
    assert_ne!(again.endpoint(), before);
    assert_eq!(upstream.in_flight(), 1);
    upstream.ended(now, again);
    for permit in permits {
        upstream.give_back_retry(permit);
    }
    let status = upstream.status(now);
    let BudgetStatus { retries_active, allowed, refused } = status.budget;
    assert_eq!((status.in_flight, retries_active, allowed, refused), (0, 0, 2, 1));
    assert!(status.members.iter().all(|member| member.in_flight == 0));
}

/// Scenario: a body that breaks off after a good head, and callers that leave before one.
/// Guarantees: the break counts against the endpoint, the caller's leaving does not.
#[test]
fn what_breaks_off_counts() {
    let (now, mut upstream) = upstream(&settings(0), 1);
    for _ in 0..5 {
        let mut choice = upstream.pick(now, &Tried::default(), [0.0; 2]).unwrap();
        upstream.observed(now, &mut choice, Observed::Answered(200), || 0.5);
        upstream.ended(now, choice);
        let choice = upstream.pick(now, &Tried::default(), [0.0; 2]).unwrap();
        upstream.ended(now, choice);
    }
    assert_eq!(upstream.status(now).hosts[0].in_a_row, [0; 3]);
    let mut choice = upstream.pick(now, &Tried::default(), [0.0; 2]).unwrap();
    upstream.observed(now, &mut choice, Observed::Answered(200), || 0.5);
    upstream.observed(now, &mut choice, Observed::Broken, || 0.5);
    upstream.ended(now, choice);
    assert_eq!(upstream.status(now).hosts[0].in_a_row[0], 1);
}

/// Scenario: 64 lives of two thousand random events from a seed each: attempts with every end,
/// changes of endpoints and policy, time; then all callers leave, and a day passes.
/// Guarantees: balance and detection agree on who is out at every moment; an attempt never goes to
/// one who is, but in panic; counts come back to nothing; and in the end every endpoint is in.
#[test]
fn balance_and_detection_agree() {
    for seed in 1..=64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut now, mut upstream) = upstream(&settings(50), 4);
        let mut out = Vec::new();
        for _ in 0..2_000 {
            match rng.random_range(0..100) {
                0..45 => out.extend(upstream.pick(now, &Tried::default(), rng.random())),
                45..90 if !out.is_empty() => {
                    let mut choice = out.swap_remove(rng.random_range(0..out.len()));
                    let ends =
                        [Observed::Answered(200), Observed::Answered(503), Observed::TimedOut];
                    if rng.random_ratio(9, 10) {
                        let observed = *ends.choose(&mut rng).unwrap();
                        upstream.observed(now, &mut choice, observed, || 0.5);
                    }
                    upstream.ended(now, choice);
                }
                90..95 => now += Duration::from_millis(rng.random_range(0..60_000)),
                95 => upstream.handle_timeout(now, || 0.5),
                96 => {
                    let first = rng.random_range(0..4);
                    let ids: Vec<_> = (first..first + 4).map(EndpointId).collect();
                    upstream.set_endpoints(now, &ids, 1);
                }
                97 => {
                    let with = settings(*[0, 50].choose(&mut rng).unwrap());
                    let without = Settings { outlier: None, ..with.clone() };
                    let is_with = rng.random_ratio(3, 4);
                    upstream.set_policy(now, if is_with { &with } else { &without });
                }
                _ => (),
            }
            let status = upstream.status(now);
            let hosts = status.hosts.iter().filter(|host| host.ejected.is_some());
            let ejected: BTreeSet<_> = hosts.map(|host| host.host).collect();
            for member in status.members {
                assert_eq!(member.is_ejected, ejected.contains(&member.id), "seed {seed}");
            }
            assert_eq!(status.in_flight, out.len() as u64);
        }
        for choice in out {
            upstream.ended(now, choice);
        }
        now += Duration::from_hours(24);
        upstream.handle_timeout(now, || 0.5);
        let status = upstream.status(now);
        assert!(status.members.iter().all(|member| !member.is_ejected), "seed {seed}");
        assert_eq!((status.in_flight, status.is_panicking), (0, false));
    }
}

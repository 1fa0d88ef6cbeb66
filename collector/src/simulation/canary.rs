//! Canaries by many seeds, through the whole engine: what is found, how soon, and what is left alone.
//! Four seeds in plain `cargo test`, two hundred under `FUSEBOX_LONG`; `FUSEBOX_SEED=n` replays one.

use crate::engine::tests::canary::{HEALTHY, Health, Run, Traffic, WELL};
use crate::proofs::is_long;
use fusebox_proto::view::{Incident, Remedy};

fn seeds() -> std::ops::RangeInclusive<u64> {
    if let Some(seed) = std::env::var("FUSEBOX_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed..=seed;
    }
    1..=if is_long() { 200 } else { 4 }
}

/// Runs a life for each seed, on as many threads as there are; the answers in their order.
fn each_seed<T: Send>(live: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<(u64, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let (live, mine) = (&live, seeds().skip(first).step_by(threads));
                scope.spawn(move || mine.map(|seed| (seed, live(seed))).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a life")).collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, answer)| answer).collect()
}

/// In how many seconds a canary is found that comes after a minute without, by each seed.
fn check_found(name: &str, traffic: Traffic, median_most: u64) {
    let mut delays = each_seed(|seed| {
        let mut run = Run::new(seed);
        run.seconds(60, Traffic { share: 0.0, ..traffic });
        let before = run.incidents();
        assert!(before.is_empty(), "{name}, FUSEBOX_SEED={seed}: {before:#?}");
        let found = run.found_after(traffic, 10 * median_most);
        let found = found.unwrap_or_else(|| panic!("{name}, FUSEBOX_SEED={seed}: not found"));
        check_verdict(name, seed, &run);
        found
    });
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!("{name}: p50 {} s, p95 {} s, most {} s", at(0.5), at(0.95), at(1.0));
    assert!(at(0.5) <= median_most, "{name}: {delays:?}");
}

#[track_caller]
fn check_verdict(name: &str, seed: u64, run: &Run) {
    let incidents = run.incidents();
    let [incident] = &incidents[..] else { panic!("{name}, {seed}: not one: {incidents:#?}") };
    let said = [&incident.originator, &incident.victim, &incident.subset].map(Option::as_deref);
    let expected = [Some("inventory"), Some("payment"), Some("v2")];
    assert_eq!(incident.kind, "canary_regression", "{name}, FUSEBOX_SEED={seed}: {incident:#?}");
    assert_eq!(said, expected, "{name}, FUSEBOX_SEED={seed}: {incident:#?}");
    let action = incident.action.as_ref().expect("a shift");
    let Remedy::Shift(shift) = &action.action else { panic!("no shift: {incident:#?}") };
    assert_eq!(shift.to_string(), "inventory v1=100 v2=0");
    assert!(incident.summary.chars().count() <= 110, "{}", incident.summary);
}

/// Scenario: a minute after the beginning of traffic a canary gets a share of it: it fails some of
/// what it gets, all of it, or is slow, at rates from busy to quiet.
/// Guarantees: one incident names the service, the caller and the subset, and suggests to send
/// everything to the stable, in the median of the seeds within so many seconds, always within ten
/// times that.
#[test]
fn a_bad_canary_is_found_in_time() {
    let failing = |fails: f64| Traffic { canary: Health::failing(fails), ..HEALTHY };
    check_found("20 % of 20 %, 25/s", failing(0.2), 15);
    check_found("100 % of 20 %, 25/s", failing(1.0), 14);
    check_found("20 % of 10 %, 25/s", Traffic { share: 0.1, ..failing(0.2) }, 30);
    check_found("5 % of 20 %, 100/s", Traffic { rate: 100.0, ..failing(0.05) }, 25);
    check_found("20 % of 50 %, 25/s", Traffic { share: 0.5, ..failing(0.2) }, 15);
    check_found("20 % of 20 %, 5/s", Traffic { rate: 5.0, ..failing(0.2) }, 90);
    let slow = |canary: Health, rate: f64| Traffic { rate, canary, ..HEALTHY };
    let twice = Health { median_us: 40_000.0, ..WELL };
    check_found("x2, 20 % of 25/s", slow(twice, 25.0), 30);
    let tail = Health { slow: 0.05, ..WELL };
    check_found("5 % x10, 20 % of 100/s", slow(tail, 100.0), 60);
}

/// Scenario: minutes of a canary that is as good as the stable, at the same weights: well, with
/// bursts in which everything fails, with stalls of single instances, beside a stable that fails
/// more; and one that fails as much as the stable does, which is a lot.
/// Guarantees: silence; of bursts that make up half a minute nobody blames the canary.
#[test]
fn a_healthy_canary_is_left_alone() {
    let stalls = Traffic { stalls: true, ..HEALTHY };
    let fix = Traffic { stable: Health::failing(0.1), ..HEALTHY };
    let both = Health::failing(0.2);
    let mut cases = vec![
        ("healthy, 20 %", HEALTHY),
        ("both fail 20 %", Traffic { stable: both, canary: both, ..HEALTHY }),
        ("bursts of failures", Traffic { bursts: 0.6, ..HEALTHY }),
        ("stalls of instances", stalls),
        ("a canary that mends it", fix),
        ("fails 0.5 % instead of 0.1 %", Traffic { canary: Health::failing(0.005), ..HEALTHY }),
    ];
    let seconds = if is_long() { 1_800 } else { 150 };
    if is_long() {
        cases.push(("healthy, 10 %, 200/s", Traffic { rate: 200.0, share: 0.1, ..HEALTHY }));
        cases.push(("stalls of instances, 100/s", Traffic { rate: 100.0, ..stalls }));
    }
    for (name, traffic) in cases {
        let said = each_seed(|seed| {
            let mut run = Run::new(1_000 + seed);
            run.seconds(60, Traffic { share: 0.0, ..traffic });
            run.seconds(seconds, traffic);
            // In some half hours bursts follow each other so closely that the service fails.
            let fails = |it: &Incident| 0.0 < traffic.bursts && it.subset.is_none();
            let falsely = run.incidents().into_iter().find(|it| !fails(it));
            falsely.map(|it| format!("{seed}: {}", it.summary))
        });
        let falsely: Vec<&String> = said.iter().flatten().collect();
        println!("{name}: {} false of {} runs of {seconds} s", falsely.len(), said.len());
        assert!(falsely.is_empty(), "{name}: {falsely:#?}");
    }
}

/// Scenario: few requests of the canary fail at all; or all of the five that there are.
/// Guarantees: no verdict on few requests.
#[test]
fn few_requests_prove_nothing() {
    each_seed(|seed| {
        let mut run = Run::new(seed);
        run.seconds(60, Traffic { share: 0.0, ..HEALTHY });
        let bad = Traffic { canary: Health::failing(1.0), ..HEALTHY };
        for _ in 0..5 {
            run.second(Traffic { share: 1.0 / bad.rate, ..bad });
            run.seconds(5, Traffic { share: 0.0, ..HEALTHY });
        }
        assert!(run.incidents().is_empty(), "FUSEBOX_SEED={seed}");
    });
}

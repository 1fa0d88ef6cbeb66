//! Which steps are found, and what is kept.

use super::*;
use crate::observe::{AttemptClass, Ending, Observation, Outcome};
use fusebox_proto::report::Protocol;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Questions of a minute, of which `kept` of each hundred are known.
fn asked(random: &mut StdRng, kept: f64, mut gap_ms: impl FnMut(&mut StdRng) -> f64) -> Vec<u64> {
    let (mut at_ms, mut asked) = (0.0, Vec::new());
    while at_ms < 60_000.0 {
        at_ms += gap_ms(random);
        if random.random_range(0.0..100.0) < kept {
            asked.push(at_ms as u64);
        }
    }
    asked
}

/// Scenario: a job asks every 100 ms, or 100 ms after each answer; one in ten is known, and in some
/// places a question more; 200 seeds.
/// Guarantees: the step is told to within 3 ms, and never a part or a multiple of it.
#[test]
fn the_step_of_sampled_polls_is_found() {
    for seed in 0..200 {
        let random = &mut StdRng::seed_from_u64(seed);
        let by_clock = asked(random, 10.0, |_| 100.0);
        let after_answers = asked(random, 10.0, |random| 100.0 + random.random_range(3.0..5.0));
        let mut with_others = by_clock.clone();
        with_others.insert(10, u64::midpoint(with_others[9], with_others[10]));
        for (name, asked) in
            [("clock", by_clock), ("answers", after_answers), ("others", with_others)]
        {
            let step_ms =
                sampled_step_ms(&asked).unwrap_or_else(|| panic!("{name} {seed}: {asked:?}"));
            assert!((98..=107).contains(&step_ms), "{name}, seed {seed}: {step_ms} ms");
        }
    }
}

/// Scenario: questions by chance, at 1 to 100 a second, one in ten known or each; 2,000 seeds.
/// Guarantees: no step is told.
#[test]
fn chance_has_no_step() {
    for seed in 0..2_000 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mean_ms = 10.0_f64.powf(random.random_range(1.0..3.0));
        let kept = if seed % 2 == 0 { 10.0 } else { 100.0 };
        let asked = asked(random, kept, |random| -mean_ms * (1.0 - random.random::<f64>()).ln());
        for some in asked.chunks(ASKED_MAX) {
            let told = even_step_ms(some).or_else(|| sampled_step_ms(some));
            assert_eq!(told, None, "seed {seed}, {mean_ms} ms: {some:?}");
        }
    }
}

/// Noon of some day.
const NOW: u64 = 1_700_000_000;

fn edge() -> Edge {
    let service = |name| fusebox_proto::ServiceId::named(name).unwrap();
    Edge::new(service("email"), service("ledger"))
}

/// A store that has the edge.
fn store() -> Store {
    let mut store = Store::new(10, 10);
    let ending = Ending { class: AttemptClass::First, outcome: Outcome::Success };
    let attempt = Observation::Attempt {
        edge: edge(),
        protocol: Protocol::Http1,
        ending,
        latency_us: None,
        waited: None,
        weight: 1.0,
        at_unix_ms: NOW * 1_000,
        from_proxy: false,
    };
    store.observe(NOW, &attempt);
    store
}

fn ask(polling: &mut Polling, now_ms: u64, (instance, asked_for): (&str, u64), at_unix_ms: u64) {
    let (instance, operation) = (&instance.into(), &"GET".into());
    let unasked = Unasked { instance, operation, asked_for, at_unix_ms, took_ms: 1 };
    polling.take(now_ms, &edge(), unasked);
}

fn told_ms(polling: &mut Polling, now_second: u64) -> Option<u64> {
    polling.judge(&store(), now_second);
    polling.iter().next().map(|(_, poll)| poll.every_ms)
}

/// Scenario: somebody asks every second; then 100 of his questions come that are ten minutes old, or
/// half a minute; or one that was asked an hour from now; or his clock is set back by an hour.
/// Guarantees: the step stays known; 45 s after the last question nothing is kept; and who asks on
/// after the clock was set back is known as soon as others.
#[test]
fn old_batches_and_wrong_clocks_do_no_harm() {
    let mut polling = Polling::default();
    let asks = |polling: &mut Polling, from: u64, to: u64| {
        (from..to).for_each(|at| ask(polling, at * 1_000, ("a", 1), at * 1_000));
    };
    asks(&mut polling, NOW - 20, NOW);
    assert_eq!(told_ms(&mut polling, NOW), Some(1_000));
    for old_s in [600, 30] {
        let old_ms = (NOW - old_s) * 1_000;
        (0..100).for_each(|n| ask(&mut polling, NOW * 1_000, ("a", 1), old_ms + 3 * n * n % 997));
        assert_eq!(told_ms(&mut polling, NOW), Some(1_000), "{old_s} s old");
    }
    ask(&mut polling, NOW * 1_000, ("a", 1), (NOW + 3_600) * 1_000);
    assert_eq!(told_ms(&mut polling, NOW), Some(1_000));
    assert_eq!(told_ms(&mut polling, NOW + 46), None);
    assert!(polling.heard.is_empty() && polling.series == 0, "{polling:?}");

    asks(&mut polling, NOW + 3_580, NOW + 3_600);
    assert_eq!(told_ms(&mut polling, NOW + 3_600), Some(1_000));
    assert_eq!(told_ms(&mut polling, NOW), None);
    asks(&mut polling, NOW, NOW + 10);
    assert_eq!(told_ms(&mut polling, NOW + 10), Some(1_000));
}

/// Scenario: two jobs of one instance ask every 300 and every 700 ms, while a third one asks for
/// another thing each 50 ms; then there is room for no series more, and other instances ask.
/// Guarantees: the jobs are told apart; never more is kept than is allowed; instances without a place
/// are counted; what is kept by then is still heard.
#[test]
fn what_is_kept_is_bounded() {
    let mut polling = Polling::default();
    let mut asks: Vec<(u64, u64)> = (0..20_000).step_by(300).map(|at| (at, 1)).collect();
    asks.extend((137..20_000).step_by(700).map(|at| (at, 2)));
    asks.extend((5..20_000).step_by(50).map(|at| (at, 1_000 + at)));
    asks.sort_unstable();
    for (at_ms, asked_for) in &asks {
        let at_ms = NOW * 1_000 + at_ms;
        ask(&mut polling, at_ms, ("a", *asked_for), at_ms);
    }
    assert_eq!(told_ms(&mut polling, NOW + 20), Some(300));
    let asker = polling.heard.get_mut(&edge()).unwrap().instances.get_mut("a").unwrap();
    let steps = [1, 2].map(|job| asker.apart.get_mut(&job).unwrap().judge(NOW + 20));
    assert_eq!(steps.map(|step| step.map(|(every_ms, _)| every_ms)), [Some(300), Some(700)]);
    assert_eq!((asker.apart.len(), asker.all.questions.len()), (APART_SERIES_MAX, ASKED_MAX));
    assert_eq!((polling.series, polling.dropped()), (1 + APART_SERIES_MAX, 0));

    let at_ms = (NOW + 24) * 1_000;
    polling.series = SERIES_MAX;
    ask(&mut polling, at_ms, ("b", 1), at_ms);
    ask(&mut polling, at_ms, ("a", 3), at_ms);
    assert_eq!((polling.series, polling.dropped()), (SERIES_MAX, 1));
    let heard = &polling.heard[&edge()];
    assert!(heard.instances["a"].apart.contains_key(&3), "{heard:?}");
    polling.judge(&store(), NOW + 24);
    (0..80).for_each(|n| ask(&mut polling, at_ms, (&format!("c{n}"), 1), at_ms));
    assert_eq!(polling.heard[&edge()].instances.len(), INSTANCES_MAX);
    assert_eq!(polling.dropped(), 1 + 80 + 1 - INSTANCES_MAX as u64);
}

/// Scenario: questions by clock or by chance for some seconds, then none, then some again, judged
/// every second; 200 seeds.
/// Guarantees: what is told is what one would be told who judges for the first time, at each second;
/// and nothing is looked for where all is as before.
#[test]
fn a_step_is_looked_for_only_among_other_questions() {
    let mut told = [0, 0];
    for seed in 0..200 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut series = Series::default();
        let step_ms = random.random_range(100..2_000);
        for second in 0..120 {
            let is_asking = !(30..80).contains(&second);
            let asked = (second * 1_000..(second + 1) * 1_000)
                .filter(|at| is_asking && at % step_ms == 0)
                .filter(|_| random.random_range(0..10) < 9);
            for at_ms in asked {
                let at_ms = NOW * 1_000 + at_ms + if seed % 4 == 0 { at_ms % 877 } else { 0 };
                series.add(Question { at_ms, took_ms: 1 }, &"GET".into());
            }
            let now_second = NOW + second + 1;
            series.age(now_second);
            let mut anew = Series {
                questions: series.questions.clone(),
                operation: "GET".into(),
                judged: None,
            };
            let step = series.judge(now_second);
            assert_eq!(step, anew.judge(now_second), "seed {seed}, second {second}");
            told[usize::from(step.is_some())] += 1;
        }
        let now_second = NOW + 120;
        if let Some((lately, _)) = series.judged.filter(|_| series.judge(now_second).is_some()) {
            series.judged = Some((lately, Some(77)));
            assert_eq!(series.judge(now_second), Some((77, "GET".into())), "seed {seed}");
        }
    }
    assert!(told.iter().all(|seconds| 5_000 < *seconds), "{told:?}");
}

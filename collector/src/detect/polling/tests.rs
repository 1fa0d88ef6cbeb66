//! Which steps are found, and what is kept.

use super::*;
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

//! Polling: somebody asks the same again and again in even steps, for nobody's request. Worth knowing,
//! no incident, also while it fails.

use crate::store::Store;
use fusebox_proto::Edge;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Where all questions are heard of, those of so many seconds count: up to 7 s for it to be known that
/// nobody asked, and at least ten questions of one a second.
const SECONDS: u64 = 20;
/// Fewer show no step.
const ASKED_MIN: usize = 10;
/// Where traces are sampled, those of so many seconds count: of ten a second one in ten makes ...
const SAMPLED_SECONDS: u64 = 45;
/// ... so many within half of them. Fewer show no step.
const SAMPLED_MIN: usize = 20;
/// The last questions are looked at, so many of one who asks.
const ASKED_MAX: usize = 64;
/// More instances of a caller are not told apart.
const INSTANCES_MAX: usize = 8;
/// Steps are even if so many of them ...
const EVEN_MIN: f64 = 0.8;
/// ... are no further from the middle one than this share of it. Of requests that come by chance it is
/// one in six.
const APART_MAX: f64 = 0.25;
/// What is apart by a multiple of a step is no further from that than this share of the step. Of
/// questions that come by chance it is one in five; so 16 of 20 are for one step in 3e-8, and at most
/// `GAPS` by `PARTS` are tried.
const OFF_MAX: f64 = 0.1;
/// Of a sampled job the step is a part, ...
const PARTS: [f64; 8] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
/// ... of one of so many of the shortest gaps.
const GAPS: usize = 4;
/// Shorter steps than this are not told from chance in whole milliseconds.
const STEP_MS_MIN: f64 = 20.0;

/// Who asks whom of their own accord.
#[derive(Debug, Default)]
pub(crate) struct Polling(BTreeMap<Edge, Heard>);

/// What was heard of one edge.
#[derive(Debug, Default)]
struct Heard {
    /// When each instance asked, ms since the Unix epoch, in the order in which it was told.
    asked: BTreeMap<Arc<str>, VecDeque<u64>>,
    operation: Arc<str>,
    since: Option<u64>,
    every_ms: u64,
}

/// An edge of which it is worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Poll {
    /// Since which second.
    pub(crate) since: u64,
    /// The step.
    pub(crate) every_ms: u64,
    /// What was asked for last.
    pub(crate) operation: Arc<str>,
}

impl Polling {
    /// Takes a question that `instance` asked at `at_unix_ms`, on an edge that the store has.
    pub(crate) fn take(
        &mut self,
        edge: &Edge,
        instance: &Arc<str>,
        operation: &Arc<str>,
        at_unix_ms: u64,
    ) {
        let heard = self.0.entry(edge.clone()).or_default();
        if INSTANCES_MAX <= heard.asked.len() && !heard.asked.contains_key(instance) {
            return;
        }
        heard.operation = Arc::clone(operation);
        let asked = heard.asked.entry(Arc::clone(instance)).or_default();
        asked.push_back(at_unix_ms);
        if ASKED_MAX < asked.len() {
            asked.pop_front();
        }
    }

    /// Lets time pass.
    pub(crate) fn judge(&mut self, store: &Store, now_second: u64) {
        let oldest_ms = now_second.saturating_sub(SAMPLED_SECONDS) * 1_000;
        self.0.retain(|edge, heard| {
            heard.asked.retain(|_, asked| {
                asked.retain(|at| oldest_ms <= *at);
                !asked.is_empty()
            });
            let steps = heard.asked.values().filter_map(|asked| step_ms(asked, now_second));
            let shortest_ms = steps.min();
            heard.since = shortest_ms.map(|_| heard.since.unwrap_or(now_second));
            heard.every_ms = shortest_ms.unwrap_or_default();
            !heard.asked.is_empty() && store.edge(edge).is_some()
        });
    }

    /// Those that are worth a line, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, Poll)> {
        self.0.iter().filter_map(|(edge, heard)| {
            let operation = Arc::clone(&heard.operation);
            Some((edge, Poll { since: heard.since?, every_ms: heard.every_ms, operation }))
        })
    }
}

/// The step in which somebody asks; `None` where steps are not even, or none is new.
fn step_ms(asked: &VecDeque<u64>, now_second: u64) -> Option<u64> {
    let mut asked: Vec<u64> = asked.iter().copied().collect();
    asked.sort_unstable();
    let lately_ms = now_second.saturating_sub(SECONDS) * 1_000;
    let lately = &asked[asked.partition_point(|at| *at < lately_ms)..];
    let is_asking = !lately.is_empty();
    is_asking.then(|| even_step_ms(lately).or_else(|| sampled_step_ms(&asked))).flatten()
}

/// The step of questions that are all known.
fn even_step_ms(asked: &[u64]) -> Option<u64> {
    if asked.len() < ASKED_MIN {
        return None;
    }
    let mut steps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = steps.len() / 2;
    let middle_ms = *steps.select_nth_unstable(middle).1;
    let apart_max_ms = APART_MAX * middle_ms as f64;
    steps.retain(|step| step.abs_diff(middle_ms) as f64 <= apart_max_ms);
    let even = steps.len();
    let is_even = 0 < middle_ms && EVEN_MIN * (asked.len() - 1) as f64 <= even as f64;
    is_even.then(|| (steps.iter().sum::<u64>() as f64 / even as f64).round() as u64)
}

/// The longest step of which all gaps between the known questions are multiples.
fn sampled_step_ms(asked: &[u64]) -> Option<u64> {
    if asked.len() < SAMPLED_MIN {
        return None;
    }
    let mut gaps: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
    gaps.sort_unstable_by(f64::total_cmp);
    let shortest = gaps.iter().filter(|gap| STEP_MS_MIN <= **gap).take(GAPS);
    let parts = |gap: &f64| PARTS.map(|part| gap / part);
    let mut steps: Vec<f64> = shortest.flat_map(parts).collect();
    steps.retain(|step| STEP_MS_MIN <= *step);
    steps.sort_unstable_by(|a, b| b.total_cmp(a));
    steps.into_iter().find_map(|step| fitted_ms(&gaps, step)).map(|step| step.round() as u64)
}

/// A step near `step_ms` of which gaps are multiples.
fn fitted_ms(gaps: &[f64], step_ms: f64) -> Option<f64> {
    let sums = |step_ms: f64| {
        let near = gaps.iter().filter_map(|gap| {
            let many = (gap / step_ms).round();
            let is_near = 1.0 <= many && (gap - many * step_ms).abs() <= OFF_MAX * step_ms;
            is_near.then_some((*gap, many))
        });
        near.fold((0_usize, 0.0, 0.0), |(near, ms, steps), (gap, many)| {
            (near + 1, ms + gap, steps + many)
        })
    };
    let (_, ms, steps) = sums(step_ms);
    let (near, ms, steps) = sums(ms / steps);
    (EVEN_MIN * gaps.len() as f64 <= near as f64).then_some(ms / steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    /// Questions of a minute, of which `kept` of each hundred are known.
    fn asked(
        random: &mut StdRng,
        kept: f64,
        mut gap_ms: impl FnMut(&mut StdRng) -> f64,
    ) -> Vec<u64> {
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
            let asked =
                asked(random, kept, |random| -mean_ms * (1.0 - random.random::<f64>()).ln());
            for some in asked.chunks(ASKED_MAX) {
                let told = even_step_ms(some).or_else(|| sampled_step_ms(some));
                assert_eq!(told, None, "seed {seed}, {mean_ms} ms: {some:?}");
            }
        }
    }
}

//! What comes at the same hour each day or week is no news; what is beyond that is.

use super::{Change, EVEN, NONE, Nature, Run};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// A quiet service with a job that makes it slow at two o'clock for half an hour; of each round the
/// half hour before is lived, too.
struct Nightly {
    run: Run,
    interval: u64,
    rounds: u64,
}

impl Nightly {
    fn new(seed: u64, interval: u64) -> Self {
        let run = Run::new(seed, Nature { rate: 10.0, ..EVEN }, 1_000);
        Self { run, interval, rounds: 0 }
    }

    /// One round; whether the job was found slow, and after how many seconds.
    fn round(&mut self, job: Change) -> Option<u64> {
        let start = self.rounds * self.interval + HOUR + HOUR / 2;
        self.rounds += 1;
        self.run.second = start;
        (0..HOUR / 2).for_each(|_| self.run.step(NONE));
        assert!(self.run.series.slow().is_none(), "before the job of round {}", self.rounds);
        let found = self.run.found_after(job, HOUR / 2);
        let rest = HOUR / 2 - found.unwrap_or(HOUR / 2);
        (0..rest).for_each(|_| self.run.step(job));
        (0..HOUR / 12).for_each(|_| self.run.step(NONE));
        assert!(self.run.series.slow().is_none(), "after the job of round {}", self.rounds);
        found
    }
}

/// Scenario: a job makes everything twice as slow at the same hour every day, or every week; then
/// once four times as slow.
/// Guarantees: the first rounds are found; from the fourth on the job is usual, and what is beyond
/// it is found in time all the same.
#[test]
fn the_job_of_every_night_is_no_news() {
    let usual = Change { share: 1.0, factor: 2.0, load: 1.0 };
    let bad = Change { factor: 4.0, ..usual };
    for (interval, seed) in [(DAY, 1), (DAY, 2), (WEEK, 3), (WEEK, 4)] {
        let mut nightly = Nightly::new(seed, interval);
        let found: Vec<Option<u64>> = (0..5).map(|_| nightly.round(usual)).collect();
        println!("every {} h, seed {seed}: {found:?}", interval / HOUR);
        assert!(found[..3].iter().all(|found| found.is_some_and(|s| s <= 60)), "{found:?}");
        assert_eq!(found[3..], [None, None], "seed {seed}");
        let worse = nightly.round(bad);
        assert!(worse.is_some_and(|seconds| seconds <= 60), "seed {seed}: {worse:?}");
    }
}

/// Scenario: one bad night, and a normal one at the same hour, in turn.
/// Guarantees: each bad one is found, however often.
#[test]
fn a_bad_night_makes_none_usual() {
    let bad = Change { share: 1.0, factor: 2.0, load: 1.0 };
    let mut nightly = Nightly::new(5, DAY);
    let found: Vec<Option<u64>> =
        (0..8).map(|night| nightly.round(if night % 2 == 0 { bad } else { NONE })).collect();
    let is_bad: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(is_bad, [true, false].repeat(4), "{found:?}");
}

/// Scenario: a series is known for an hour; its collector ends, and the next one begins with what
/// was kept, after a minute, two days, and two weeks; the series is twice as slow at once.
/// Guarantees: found as soon as without a restart; after two weeks it is usual.
#[test]
fn a_series_is_known_after_a_restart() {
    let slow = Change { share: 1.0, factor: 2.0, load: 1.0 };
    for (seed, down, is_known) in [(1, 60, true), (2, 2 * DAY, true), (3, 2 * WEEK, false)] {
        let mut run = Run::new(seed, EVEN, 1_000).usual_for(HOUR);
        let kept = run.series.keep(run.second, true).expect("it is known");
        run.second += down;
        run.series = crate::detect::p99::Series::resumed(&kept, run.second);
        let found = run.found_after(slow, 120);
        println!("down for {down} s: {found:?}");
        assert_eq!(found.is_some_and(|found| found <= 15), is_known, "{down} s: {found:?}");
        assert_eq!(found.is_some(), is_known, "{down} s: {found:?}");
    }
}

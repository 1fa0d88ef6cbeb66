//! The detector of failures on simulated series: what is found, how soon, and what is left alone.

use super::side_by_side;
use crate::detect::{Ended, FailureWatch};
use crate::proofs::is_long;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Shares of requests that fail in an ordinary second.
const USUAL: [f64; 5] = [0.0, 0.002, 0.02, 0.09, 0.3];
/// A stall of up to three seconds, in which three times as many fail and a third more, begins in a
/// second by this chance.
const STALL: f64 = 1.0 / 600.0;
const WATCHED: usize = 1_000;

/// One series and its detector.
struct Run {
    random: StdRng,
    watch: FailureWatch,
    second: u64,
    rate: f64,
    usual: f64,
    /// ln by which the share wanders.
    wander: f64,
    stalled_for: u64,
}

impl Run {
    fn new(seed: u64, rate: f64, usual: f64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let watch = FailureWatch::default();
        Self { random, watch, second: 0, rate, usual, wander: 0.0, stalled_for: 0 }
    }

    /// Lets a second pass in which `more` of the requests fail beside the usual share.
    fn step(&mut self, more: f64) {
        self.second += 1;
        // A tenth up and down, slowly.
        self.wander = 0.98 * self.wander + 0.04 * (self.random.random::<f64>() - 0.5);
        if self.random.random::<f64>() < STALL {
            self.stalled_for = self.random.random_range(1..4);
        }
        let stalled = if 0 < self.stalled_for { 2.0 * self.usual + 0.3 } else { 0.0 };
        self.stalled_for = self.stalled_for.saturating_sub(1);
        let share = (self.usual * self.wander.exp() + stalled + more).min(1.0);
        let mut ended = Ended::default();
        // Twice the rate at most, as requests come: by chance.
        for _ in 0..(2.0 * self.rate).ceil() as u64 {
            if self.random.random::<f64>() < self.rate / (2.0 * self.rate).ceil() {
                ended.all += 1.0;
                ended.failed += f64::from(u8::from(self.random.random::<f64>() < share));
            }
        }
        self.watch.judge(self.second, ended, false, WATCHED);
    }
}

/// Scenario: a thousand series are watched; one, of several rates and usual shares, begins to fail.
/// Guarantees: it is found half a minute later, and not sooner; where few requests come, within two
/// minutes; it is over within half a minute of the end, or two.
#[test]
fn failures_are_found_in_time() {
    for (rate, usual, more, within_s) in [
        (50.0, 0.002, 0.15, 40),
        (50.0, 0.02, 0.3, 35),
        (50.0, 0.09, 0.4, 35),
        (10.0, 0.002, 0.3, 45),
        (2.0, 0.02, 0.5, 120),
        (2.0, 0.0, 1.0, 45),
    ] {
        for seed in 1..=5 {
            let name = format!("{rate}/s, {usual} + {more}, seed {seed}");
            let mut run = Run::new(seed, rate, usual);
            (0..1_800).for_each(|_| run.step(0.0));
            assert!(run.watch.surge().is_none(), "{name}: before");
            let found = (1..=300).find(|_| {
                run.step(more);
                run.watch.surge().is_some()
            });
            let found = found.unwrap_or(u64::MAX);
            println!("{name}: {found} s");
            assert!((29..=within_s).contains(&found), "{name}: {found} s");
            let over = (1..=120).find(|_| {
                run.step(0.0);
                run.watch.surge().is_none()
            });
            let most = if rate < 10.0 { 120 } else { 30 };
            assert!(over.is_some_and(|over| over <= most), "{name}: over after {over:?}");
        }
    }
}

/// Scenario: series that fail a usual share of their requests, up to a third, with stalls of some
/// seconds, from the first second on; two to fifty requests a second. (`FUSEBOX_LONG=1`: a day of a
/// thousand.)
/// Guarantees: no more than one false alarm a day for all of them.
#[test]
fn usual_failures_are_left_alone() {
    let (series, seconds) = if is_long() { (1_000, 86_400) } else { (40, 7_200) };
    let alarms = side_by_side(series, |seed| {
        let rate = 50.0 * 25_f64.powf(-((seed % 7) as f64) / 6.0);
        let usual = USUAL[(seed % USUAL.len() as u64) as usize];
        let mut run = Run::new(seed, rate, usual);
        let (mut alarms, mut was) = (0, false);
        for _ in 0..seconds {
            run.step(0.0);
            let is = run.watch.surge().is_some();
            if is && !was {
                println!("FALSE: seed {seed}, {rate}/s, {usual}: {:?}", run.watch.surge());
                alarms += 1;
            }
            was = is;
        }
        alarms
    });
    println!("{series} series, {seconds} s: {alarms} false alarms");
    assert!(alarms <= seconds / 86_400, "{alarms} false alarms");
}

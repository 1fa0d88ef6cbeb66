//! The detector of regressions on simulated series: what is found, how soon, and what is left alone.
//! Beside the core, because it uses threads, and is longer where the environment asks for it.

mod canary;

use crate::detect::p99::{Series, Window};
use crate::store::SparseLatency;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Median of the latencies, µs.
const MEDIAN_US: f64 = 20_000.0;
/// Spread of the latencies: standard deviation of their logarithm.
const SPREAD: f64 = 0.7;
/// How long all wander in the same direction, s.
const WANDER_S: f64 = 100.0;
/// A stall comes every so many seconds, by chance.
const STALL_EVERY_S: f64 = 600.0;
/// In a stall so many take four times as long.
const STALL_SHARE: f64 = 0.3;

/// Seeds of each time that is measured.
const SEEDS: u64 = 5;

/// How a series behaves: `detection.md` §2.4.
#[derive(Clone, Copy, Debug)]
struct Nature {
    rate: f64,
    /// Standard deviation of the logarithm by which all latencies wander: ±10 % are two of them.
    wander: f64,
    stalls: bool,
}

const BURSTY: Nature = Nature { rate: 50.0, wander: 0.05, stalls: true };
const EVEN: Nature = Nature { rate: 50.0, wander: 0.0, stalls: false };

/// What changes: so many of the requests take so many times as long, and so many come.
#[derive(Clone, Copy, Debug)]
struct Change {
    share: f64,
    factor: f64,
    load: f64,
}

const NONE: Change = Change { share: 0.0, factor: 1.0, load: 1.0 };

/// A series and its detector.
struct Run {
    random: StdRng,
    nature: Nature,
    series: Series,
    /// How many are watched.
    watched: usize,
    wander: f64,
    second: u64,
    spare: Option<f64>,
}

impl Run {
    fn new(seed: u64, nature: Nature, watched: usize) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let series = Series::default();
        let mut run = Self { random, nature, series, watched, wander: 0.0, second: 0, spare: None };
        run.wander = nature.wander * run.normal();
        run
    }

    /// A standard normal number, by Box and Muller.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.random.random::<f64>()).sin_cos();
        self.spare = Some(radius * sin);
        radius * cos
    }

    fn window(&mut self, change: Change) -> SparseLatency {
        let kept = (-1.0 / WANDER_S).exp();
        let pushed = self.nature.wander * (1.0 - kept * kept).sqrt();
        self.wander = kept * self.wander + pushed * self.normal();
        let stalls = self.nature.stalls && self.random.random::<f64>() * STALL_EVERY_S < 1.0;
        let mut window = SparseLatency::default();
        let rate = change.load * self.nature.rate;
        let mut at_s = 0.0;
        loop {
            at_s -= (1.0 - self.random.random::<f64>()).ln() / rate;
            if 1.0 < at_s {
                return window;
            }
            let mut us = MEDIAN_US * (SPREAD * self.normal() + self.wander).exp();
            if self.random.random::<f64>() < change.share {
                us *= change.factor;
            }
            if stalls && self.random.random::<f64>() < STALL_SHARE {
                us *= 4.0;
            }
            window.merge(&SparseLatency::of_us(us as u64, 1));
        }
    }

    /// Lets a second pass.
    fn step(&mut self, change: Change) {
        let latency = self.window(change);
        self.second += 1;
        let window = Window {
            second: self.second,
            latency: Some(&latency),
            seen_share: 1.0,
            requests: latency.count() as f64,
            is_explained: false,
        };
        self.series.judge(window, self.watched);
    }

    /// Seconds until the series is found slow, if it is within `most`.
    fn found_after(&mut self, change: Change, most: u64) -> Option<u64> {
        (1..=most).find(|_| {
            self.step(change);
            self.series.slow().is_some()
        })
    }

    fn usual_for(mut self, seconds: u64) -> Self {
        (0..seconds).for_each(|_| self.step(NONE));
        self
    }
}

/// How long it takes from the change on, with seeds: sorted, `None` last.
fn delays(nature: Nature, usual_s: u64, change: Change, most: u64) -> Vec<Option<u64>> {
    let delay = |seed| {
        let mut run = Run::new(seed, nature, 1_000).usual_for(usual_s);
        if run.series.slow().is_some() { None } else { run.found_after(change, most) }
    };
    let mut delays: Vec<Option<u64>> = (1..=SEEDS).map(delay).collect();
    delays.sort_by_key(|delay| delay.unwrap_or(u64::MAX));
    delays
}

#[track_caller]
fn check_found(name: &str, nature: Nature, usual_s: u64, change: Change, most: u64) {
    let delays = delays(nature, usual_s, change, 4 * most);
    println!("{name}: {delays:?}");
    let median = delays[delays.len() / 2];
    assert!(median.is_some_and(|median| median <= most), "{name}: {delays:?}");
}

/// Scenario: a thousand series are watched; one of them, bursty or even, becomes slow: all of it or
/// a share.
/// Guarantees: in the median of some seeds it is found within the time of the bars where an hour is
/// known, and within twice that where a minute is.
#[test]
fn regressions_are_found_in_time() {
    let all = |factor| Change { share: 1.0, factor, load: 1.0 };
    let some = |share, factor| Change { share, factor, load: 1.0 };
    check_found("x2, 50/s, bursty, an hour", BURSTY, 3_600, all(2.0), 15);
    check_found("x2, 50/s, even, a minute", EVEN, 60, all(2.0), 30);
    check_found("5 % x4, 50/s, bursty, an hour", BURSTY, 3_600, some(0.05, 4.0), 180);
    check_found("5 % x4, 50/s, even, a minute", EVEN, 60, some(0.05, 4.0), 360);
    check_found("2 % x10, 50/s, even, ten minutes", EVEN, 600, some(0.02, 10.0), 180);
    let quiet = Nature { rate: 5.0, ..EVEN };
    check_found("x2, 5/s, even, an hour", quiet, 3_600, all(2.0), 60);
}

/// Scenario: bursty series that are known for hours, and some that are known for minutes: thousands
/// under `FUSEBOX_LONG`.
/// Guarantees: no more than one false alarm a day for all of them.
#[test]
fn bursts_are_left_alone() {
    let is_long = std::env::var_os("FUSEBOX_LONG").is_some();
    let (old, new) =
        if is_long { ((1_000, 6 * 3_600), (10_000, 600)) } else { ((8, 3_600), (60, 480)) };
    for (name, (series, seconds)) in [("old", old), ("new", new)] {
        let alarms = false_alarms(series, seconds);
        println!("{name}: {series} series, {seconds} s: {alarms} false alarms");
        assert!(alarms <= seconds / 86_400, "{name}: {alarms} false alarms");
    }
}

fn false_alarms(series: u64, seconds: u64) -> u64 {
    let alarms = std::sync::atomic::AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            let alarms = &alarms;
            scope.spawn(move || {
                for seed in (first..series).step_by(threads as usize) {
                    let mut run = Run::new(1_000_000 + seed, BURSTY, 1_000);
                    let mut was_slow = false;
                    for _ in 0..seconds {
                        run.step(NONE);
                        let slow = run.series.slow();
                        if let (false, Some(slow)) = (was_slow, slow) {
                            println!("FALSE: seed {seed} at {}: {slow:?}", run.second);
                            alarms.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        was_slow = slow.is_some();
                    }
                }
            });
        }
    });
    alarms.into_inner()
}

//! Latencies of made-up services: `detection.md` §2.4, with days and growth beside bursts.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::f64::consts::TAU;
use std::sync::OnceLock;

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
const DAY_S: f64 = 86_400.0;
/// So many latencies are drawn from.
const DRAWN: usize = 1 << 16;

/// How a service behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// Requests per second, on average over the first day.
    pub(super) rate: f64,
    /// Standard deviation of the logarithm by which all latencies wander.
    pub(super) wander: f64,
    pub(super) stalls: bool,
    /// By so much the logarithm of all latencies rises and falls within a day.
    pub(super) day: f64,
    /// By this share requests grow and dwindle within a day.
    pub(super) tide: f64,
    /// So many times as many requests come at the end of a day, and the logarithm of their latencies is
    /// higher by a tenth of this growth's.
    pub(super) growth: f64,
}

/// Always the same.
pub(super) const EVEN: Nature =
    Nature { rate: 50.0, wander: 0.0, stalls: false, day: 0.0, tide: 0.0, growth: 1.0 };
/// ±10 % are two standard deviations, as in `detection.md`.
pub(super) const BURSTY: Nature = Nature { wander: 0.05, stalls: true, ..EVEN };
/// ±10 % are one standard deviation.
pub(super) const RESTLESS: Nature = Nature { wander: 0.1, ..BURSTY };
/// And it has days, and grows.
pub(super) const LIVELY: Nature = Nature { day: 0.15, tide: 0.4, growth: 1.3, ..RESTLESS };

/// What changes: so many of the requests take so many times as long, and so many times as many come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) share: f64,
    pub(super) factor: f64,
    pub(super) load: f64,
}

pub(super) const NONE: Change = Change { share: 0.0, factor: 1.0, load: 1.0 };

/// The requests of one service.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) random: StdRng,
    nature: Nature,
    wander: f64,
    second: u64,
    /// Where in the day it begins, 0 … 1.
    phase: f64,
    /// By what all latencies of this second are multiplied, and whether it is a stall.
    height: f64,
    is_stalled: bool,
}

impl Traffic {
    pub(super) fn new(seed: u64, nature: Nature) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let wander = nature.wander * normal(&mut random);
        let phase = random.random();
        Self { random, nature, wander, second: 0, phase, height: 1.0, is_stalled: false }
    }

    /// The next second begins.
    pub(super) fn pass(&mut self) {
        let kept = (-1.0 / WANDER_S).exp();
        let pushed = self.nature.wander * (1.0 - kept * kept).sqrt();
        self.wander = kept * self.wander + pushed * normal(&mut self.random);
        self.is_stalled = self.nature.stalls && self.random.random::<f64>() * STALL_EVERY_S < 1.0;
        self.second += 1;
        let day = self.nature.day * (TAU * self.at_day()).sin();
        let grown = 0.1 * self.nature.growth.ln() * self.second as f64 / DAY_S;
        self.height = (self.wander + day + grown).exp();
    }

    pub(super) const fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    fn at_day(&self) -> f64 {
        self.phase + self.second as f64 / DAY_S
    }

    /// Requests per second, now.
    fn rate(&self) -> f64 {
        let tide = 1.0 + self.nature.tide * (TAU * self.at_day()).sin();
        let grown = self.nature.growth.powf(self.second as f64 / DAY_S);
        self.nature.rate * tide * grown
    }

    /// The latencies of a share of this second's requests, µs.
    pub(super) fn latencies(&mut self, share: f64, change: Change, mut take: impl FnMut(u64)) {
        let rate = share * change.load * self.rate();
        let mut at_s = 0.0;
        loop {
            at_s -= (1.0 - self.random.random::<f64>()).ln() / rate;
            if 1.0 < at_s {
                return;
            }
            let mut us = self.height * drawn()[self.random.random_range(0..DRAWN)];
            if 0.0 < change.share && self.random.random::<f64>() < change.share {
                us *= change.factor;
            }
            if self.is_stalled && self.random.random::<f64>() < STALL_SHARE {
                us *= 4.0;
            }
            take(us as u64);
        }
    }
}

/// Latencies at rest, drawn once: a day of a thousand series has billions.
fn drawn() -> &'static [f64] {
    static DRAWN_US: OnceLock<Vec<f64>> = OnceLock::new();
    DRAWN_US.get_or_init(|| {
        let mut random = StdRng::seed_from_u64(0);
        (0..DRAWN).map(|_| MEDIAN_US * (SPREAD * normal(&mut random)).exp()).collect()
    })
}

/// A standard normal number, by Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (TAU * random.random::<f64>()).cos()
}

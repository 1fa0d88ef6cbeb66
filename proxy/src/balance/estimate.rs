//! How long an endpoint takes, and how often it fails.

use std::time::{Duration, Instant};

/// What was seen so long ago counts a third (1/e) of what is seen now. Linkerd's and Finagle's.
const DECAY: Duration = Duration::from_secs(10);
/// Weight of one end in the share of failures: five failures in a row make two thirds.
const WEIGHT: f64 = 0.2;
/// An endpoint that always fails counts as so many times busier than it is.
const PENALTY_MAX: f64 = 11.0;
/// Shorter latencies are this long: a latency of nothing would make any load nothing.
const LATENCY_US_MIN: f64 = 1.0;

/// Latency and failures of one endpoint, lately. What is not used is forgotten slowly, so that an
/// endpoint that once was bad is tried again.
#[derive(Debug)]
pub(super) struct Estimate {
    /// When the figures were true.
    at: Instant,
    /// Peak EWMA of answers; `None` before the first.
    latency_us: Option<f64>,
    /// Share of failures, 0…1.
    failing: f64,
}

impl Estimate {
    pub(super) const fn new(now: Instant) -> Self {
        Self { at: now, latency_us: None, failing: 0.0 }
    }

    pub(super) fn succeeded(&mut self, now: Instant, latency: Duration) {
        let seen = micros(latency);
        let weight = self.decay(now);
        self.latency_us = Some(match self.latency_us {
            Some(known) if seen < known => known * weight + seen * (1.0 - weight),
            _ => seen,
        });
        self.failing = self.failing(now) * (1.0 - WEIGHT);
        self.at = self.at.max(now);
    }

    /// How quick a failure was says nothing: the latency stays as it was last known, or rises.
    pub(super) fn failed(&mut self, now: Instant, waited: Duration) {
        self.latency_us = self.latency_us.map(|known| known.max(micros(waited)));
        self.failing = self.failing(now) * (1.0 - WEIGHT) + WEIGHT;
        self.at = self.at.max(now);
    }

    /// An answer would have taken at least this long.
    pub(super) fn given_up(&mut self, now: Instant, waited: Duration) {
        if self.latency_us(now).is_some_and(|known| known < micros(waited)) {
            self.latency_us = Some(micros(waited));
            self.failing = self.failing(now);
            self.at = self.at.max(now);
        }
    }

    /// The latency as of now.
    pub(super) fn latency_us(&self, now: Instant) -> Option<f64> {
        self.latency_us.map(|known| (known * self.decay(now)).max(LATENCY_US_MIN))
    }

    /// The share of failures as of now.
    pub(super) fn failing(&self, now: Instant) -> f64 {
        self.failing * self.decay(now)
    }

    /// How many times busier than it is the endpoint counts.
    pub(super) fn penalty(&self, now: Instant) -> f64 {
        1.0 + (PENALTY_MAX - 1.0) * self.failing(now)
    }

    /// Weight that is left to what was true at `at`.
    fn decay(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.at);
        (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

fn micros(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e6).max(LATENCY_US_MIN)
}

//! How much longer than usual something takes, now.

use super::Scene;
use crate::detect::p99::{EFFECT, EFFECT_US_MIN};
use crate::detect::{Subject, UsualLatency};
use crate::store::{LatencyTotal, MINUTE};

/// An excess of fewer standard errors may be chance.
const ERRORS_MIN: f64 = 3.0;
/// What is now is read from so many seconds at least.
const SECONDS_MIN: u64 = 10;
/// Proxies report every second; what they have not measured for so many seconds, spans have.
const LATELY_SECONDS: u64 = 10;

/// How much longer requests take than usual.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    /// Per request, ms.
    pub(super) usual_ms: f64,
    /// Per request, ms.
    pub(super) now_ms: f64,
    error_ms: f64,
    /// Requests per second.
    pub(super) usual_per_s: f64,
    /// Requests per second.
    pub(super) now_per_s: f64,
}

impl Shift {
    fn new(usual: &UsualLatency, now: (f64, f64, f64), seconds: u64) -> Option<Self> {
        let (_, usual_ms, usual_variance) = usual.moments_ms()?;
        let (count, now_ms, variance) = now;
        // What is usual wanders, too, but it is known from much more.
        let error_ms = (variance.max(usual_variance) / count).sqrt();
        let now_per_s = count / seconds as f64;
        Some(Self { usual_ms, now_ms, error_ms, usual_per_s: usual.rate()?, now_per_s })
    }

    /// Per request, ms.
    pub(super) fn excess_ms(&self) -> f64 {
        self.now_ms - self.usual_ms
    }

    /// Of all requests of a second, ms.
    pub(super) fn excess(&self) -> f64 {
        self.excess_ms() * self.now_per_s
    }

    /// Whether it is more than chance.
    pub(super) fn is_slower(&self) -> bool {
        ERRORS_MIN * self.error_ms <= self.excess_ms()
    }

    /// Whether it is more than a little: by as much as a quantile must differ for an alarm.
    pub(super) fn is_worth_a_word(&self) -> bool {
        (EFFECT_US_MIN / 1_000.0).max((EFFECT - 1.0) * self.usual_ms) <= self.excess_ms()
    }

    /// How far chance may take the excess of a second, ms.
    pub(super) fn chance(&self) -> f64 {
        ERRORS_MIN * self.error_ms * self.now_per_s
    }
}

/// So many seconds up to `front` are looked at of what began in the second `onset`.
fn seconds(front: u64, onset: u64) -> u64 {
    (front + 1).saturating_sub(onset).clamp(SECONDS_MIN, MINUTE)
}

/// How much longer `subject` takes than usual, since the second `onset`; `None` where too little
/// is known.
pub(super) fn shift(scene: &Scene<'_>, subject: &Subject, onset: u64) -> Option<Shift> {
    let usual = scene.detectors.latencies().usual(subject)?;
    let (track, front) = scene.latencies(subject)?;
    let seconds = seconds(front, onset);
    let now = track.moments_ms(front, seconds)?;
    Shift::new(usual, now, seconds)
}

/// Its latencies since the second `onset`, of the last minute at most.
pub(super) fn latency(scene: &Scene<'_>, subject: &Subject, onset: u64) -> Option<LatencyTotal> {
    let (track, front) = scene.latencies(subject)?;
    Some(track.latency_of(front, seconds(front, onset)))
}

/// A quantile of each of the last seconds, in ms: one that a second has requests enough for.
pub(super) fn series(scene: &Scene<'_>, subject: &Subject) -> Vec<f64> {
    const Q: f64 = 0.9;
    let track = scene.latencies(subject);
    track.map(|(track, front)| track.latency_series(front, Q)).unwrap_or_default()
}

/// Whether proxies measured a subject lately.
pub(super) fn is_measured(scene: &Scene<'_>, subject: &Subject) -> bool {
    let track = scene.latencies(subject);
    track.is_some_and(|(track, front)| track.was_covered(front, LATELY_SECONDS + 1))
}

//! The course of a storm: what was usual, whether it is over, whether it needs its trigger still.

use super::retry_storm::FACTOR_MIN;
use super::words::{Sight, Usual};
use crate::store::{Latent as _, Tally, Track};

/// Below this a storm is over.
const FACTOR_HEALTHY: f64 = 1.2;
/// Share of failed attempts below which an edge is healthy, unless it usually fails more.
const FAILED_HEALTHY: f64 = 0.1;
/// A storm that lasts so long at usual load sustains itself.
const SUSTAINED_SECONDS: u64 = 10;
/// What is usual is read from so many seconds before the onset.
const USUAL_SECONDS: u64 = 30;

/// What was usual before the second `onset`.
pub(super) fn usual_before(track: &Track<Tally>, onset: u64) -> Option<Usual> {
    let last = onset.saturating_sub(2);
    let seconds = track.series(last, Tally::attempts).len().min(USUAL_SECONDS as usize) as f64;
    let sum = track.sum(last, USUAL_SECONDS);
    (0.0 < sum.attempts()).then(|| Usual {
        first: sum.first / seconds,
        attempts: sum.attempts() / seconds,
        failed: sum.failure_ratio().unwrap_or(0.0),
    })
}

/// Whether the three seconds that end with `second` show health: attempts flow, few are
/// repetitions, few fail, few are refused. No attempts are healthy only where nothing was asked.
pub(super) fn is_healthy(
    sight: &Sight<'_>,
    usual: Option<Usual>,
    second: u64,
    factor_now: f64,
) -> bool {
    let window = sight.track.sum(second, 3);
    let asked = window.first + window.refused;
    if window.attempts() <= 0.0 {
        return asked <= 0.0 && window.retries_refused <= 0.0 && sight.is_heard;
    }
    let failed_max = FAILED_HEALTHY.max(usual.map_or(0.0, |usual| usual.failed + 0.05));
    let is_few = window.factor().is_some_and(|factor| factor < FACTOR_HEALTHY);
    let is_few = is_few && factor_now < FACTOR_MIN;
    is_few
        && window.failure_ratio().is_some_and(|failed| failed < failed_max)
        && window.refused <= 0.1 * asked
}

/// Whether the storm no longer needs what started it: for ten seconds usual demand, too many
/// attempts, too little goodput, and no sign that the callee itself is still slow.
pub(super) fn is_sustained(
    sight: &Sight<'_>,
    usual: Option<Usual>,
    onset: u64,
    factor: f64,
) -> bool {
    let Some(usual) = usual else { return false };
    let recent = sight.track.sum(sight.front, SUSTAINED_SECONDS);
    let seconds = SUSTAINED_SECONDS as f64;
    onset + SUSTAINED_SECONDS <= sight.front
        && FACTOR_MIN <= factor
        && recent.first <= 1.2 * usual.first * seconds
        && recent.successes < 0.9 * recent.first
        && !is_callee_slow(sight, onset)
}

/// Whether the callee's own service time is beyond the usual. Where next to nothing succeeds it
/// cannot be measured, and says nothing.
fn is_callee_slow(sight: &Sight<'_>, onset: u64) -> bool {
    let Some(callee) = sight.callee else { return false };
    let served = sight.track.sum(sight.front, SUSTAINED_SECONDS);
    let is_measured = 0.1 * served.first < served.successes;
    let p50 = |last, length| callee.latency_of(last, length).quantile_ms(0.5, 5);
    let now = p50(sight.front, SUSTAINED_SECONDS);
    let before = p50(onset.saturating_sub(2), USUAL_SECONDS);
    is_measured && now.zip(before).is_some_and(|(now, before)| 1.2 * before + 1.0 < now)
}

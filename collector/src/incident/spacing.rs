//! How a caller spaces its retries: whoever is careful waits longer each time, and not as long as all
//! others do.

use super::Scene;
use super::before::Before;
use super::evidence::signal;
use super::regression::ms;
use crate::store::{LatencyTotal, MINUTE};
use fusebox_proto::Edge;
use fusebox_proto::view::Evidence;

/// It is read from so many seconds at least: what a client does is the same all the while.
const SECONDS_MIN: u64 = 10;
/// No median is told of fewer waits.
const MEDIAN_MIN: u64 = 5;
/// How far they are apart is not told of fewer.
const SPREAD_MIN: u64 = 20;
/// Later waits are longer by so many times where somebody backs off: clients double them, and the second
/// is among the later ones.
const BACKOFF_MIN: f64 = 1.5;
/// Half of the middle 80 % of waits, as a share of what they are about, where somebody adds jitter: of
/// full jitter it is 80 %, of half of each wait 27 %.
const JITTER_MIN: f64 = 0.15;
/// Waits that differ by less do so because machines are busy, ms.
const APART_MS_MIN: f64 = 3.0;
/// Who waits for less half of the time does not mean to wait: all of it is the machine's, ms.
const MEANT_MS_MIN: f64 = 5.0;

/// The waits before retries on one edge, since the onset.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spacing {
    /// The median before first retries.
    first_ms: f64,
    /// The median before later ones, where there are some.
    later_ms: Option<f64>,
    /// See [`JITTER_MIN`]: 0 … 1; `None` where too few are known.
    jitter: Option<f64>,
}

impl Spacing {
    /// Of waits before first retries, and before later ones; `None` where too few are known.
    pub(super) fn of([first, later]: &[LatencyTotal; 2]) -> Option<Self> {
        let first_ms = first.quantile_ms(0.5, MEDIAN_MIN)?;
        let quantile = |q| first.quantile_ms(q, SPREAD_MIN);
        let jitter = quantile(0.1).zip(quantile(0.9)).map(|(low, high)| {
            let is_meant = MEANT_MS_MIN <= first_ms && APART_MS_MIN <= high - low;
            if is_meant { (high - low) / (high + low) } else { 0.0 }
        });
        Some(Self { first_ms, later_ms: later.quantile_ms(0.5, MEDIAN_MIN), jitter })
    }

    /// Of the retries on `edge` since the second `onset`.
    pub(super) fn since(scene: &Scene<'_>, edge: &Edge, onset: u64) -> Option<Self> {
        let (_, front) = scene.track(edge)?;
        let seconds = (front + 1).saturating_sub(onset).clamp(SECONDS_MIN, MINUTE);
        Self::of(&scene.store.waits().sum(edge, front, seconds))
    }

    fn backs_off(&self) -> Option<bool> {
        let longest_ms = (BACKOFF_MIN * self.first_ms).max(self.first_ms + APART_MS_MIN);
        self.later_ms.map(|later_ms| longest_ms <= later_ms)
    }

    fn has_jitter(&self) -> Option<bool> {
        self.jitter.map(|jitter| JITTER_MIN <= jitter)
    }

    /// Whether it is what a careful client does, as far as is known.
    pub(super) fn is_careful(&self) -> bool {
        let known = [self.backs_off(), self.has_jitter()];
        known.contains(&Some(true)) && !known.contains(&Some(false))
    }

    /// In half a sentence: `retries after 50 ms, then 50 ms: no backoff, no jitter`.
    pub(super) fn words(&self) -> String {
        let then = self.later_ms.map_or_else(String::new, |it| format!(", then {}", ms(it)));
        let words = format!("retries after {}{then}", ms(self.first_ms));
        let said = [(self.backs_off(), "backoff"), (self.has_jitter(), "jitter")];
        let said = said
            .into_iter()
            .filter_map(|(has, what)| Some(format!("{} {what}", if has? { "with" } else { "no" })));
        let said = said.collect::<Vec<_>>().join(", ");
        if said.is_empty() { words } else { format!("{words}: {said}") }
    }
}

/// The signals of how retries on `edge` are spaced, before → now; none where nobody waits.
pub(super) fn evidence(
    scene: &Scene<'_>,
    edge: &Edge,
    before: &Before,
    onset: u64,
) -> Vec<Evidence> {
    let Some(now) = Spacing::since(scene, edge, onset) else { return Vec::new() };
    let was = Spacing::of(&before.waits);
    let was = |figure: fn(&Spacing) -> Option<f64>| was.as_ref().and_then(figure);
    let series = scene.track(edge).map(|(_, front)| scene.store.waits().series(edge, front));
    let first = (was(|it| Some(it.first_ms)), Some(now.first_ms));
    let mut all = vec![signal("wait before a retry", "ms", first, series.unwrap_or_default())];
    if now.later_ms.is_some() {
        let later = (was(|it| it.later_ms), now.later_ms);
        all.push(signal("wait before later ones", "ms", later, Vec::new()));
    }
    if now.jitter.is_some() {
        let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
        let jitter = (percent(was(|it| it.jitter)), percent(now.jitter));
        all.push(signal("jitter of the wait", "%", jitter, Vec::new()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SparseLatency;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    fn spacing(first_ms: &[f64], later_ms: &[f64]) -> Option<Spacing> {
        let total = |waits_ms: &[f64]| {
            let mut total = LatencyTotal::default();
            for wait_ms in waits_ms {
                total.add(&SparseLatency::of_us((1_000.0 * wait_ms) as u64, 1));
            }
            total
        };
        Spacing::of(&[total(first_ms), total(later_ms)])
    }

    /// Scenario: waits as retry libraries make them, on a machine that adds up to 2 ms: at once, fixed,
    /// doubling, with full jitter, with half, with both; once only; and few of them.
    /// Guarantees: what is said is what the library does, no more than is known, and only who does all of
    /// it that can be seen is careful.
    #[test]
    fn spacing_is_what_libraries_do() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut waits = |low: f64, high: f64, count: usize| -> Vec<f64> {
            let wait = |_| rng.random_range(low..=high) + rng.random_range(0.1..2.0);
            (0..count).map(wait).collect()
        };
        let mut check = |first: (f64, f64), later: Option<(f64, f64)>, expected: (&str, bool)| {
            let first = waits(first.0, first.1, 500);
            let later = later.map_or_else(Vec::new, |(low, high)| waits(low, high, 500));
            let spacing = spacing(&first, &later).unwrap();
            let words = spacing.words();
            let said = words.split_once(": ").map_or("", |(_, said)| said);
            assert_eq!((said, spacing.is_careful()), expected, "{words}");
        };
        check((0.0, 0.0), Some((0.0, 0.0)), ("no backoff, no jitter", false));
        check((0.0, 7.0), Some((0.0, 8.0)), ("no backoff, no jitter", false));
        check((50.0, 50.0), Some((50.0, 50.0)), ("no backoff, no jitter", false));
        check((50.0, 50.0), None, ("no jitter", false));
        check((100.0, 100.0), Some((200.0, 200.0)), ("with backoff, no jitter", false));
        check((0.0, 100.0), Some((0.0, 100.0)), ("no backoff, with jitter", false));
        check((0.0, 100.0), Some((0.0, 200.0)), ("with backoff, with jitter", true));
        check((50.0, 100.0), Some((100.0, 200.0)), ("with backoff, with jitter", true));
        check((50.0, 100.0), None, ("with jitter", true));
        assert_eq!(spacing(&[50.0; 4], &[]), None);
        let few = spacing(&[50.0; 6], &[]).unwrap();
        assert_eq!((&*few.words(), few.is_careful()), ("retries after 50 ms", false));
        let known = spacing(&[50.0; 20], &[50.0; 5]).unwrap();
        let words = "retries after 50 ms, then 50 ms: no backoff, no jitter";
        assert_eq!(known.words(), words);
    }
}

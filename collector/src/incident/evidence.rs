//! What speaks for it, what speaks against it, and what the data behind it is worth.

use super::Scene;
use super::before::{Before, latencies};
use super::blame::Blame;
use super::sentence::rate;
use super::spacing::{self, Spacing};
use crate::detect::{Grade, Phase, Watch};
use crate::store::{MINUTE, Tally, Track};
use fusebox_proto::ServiceId;
use fusebox_proto::view::{DataQuality, Evidence};

/// What is now, from so many.
const NOW_SECONDS: u64 = 3;
/// A conclusion from fewer attempts says so.
const ATTEMPTS_FEW: f64 = 50.0;
/// Growth of the demand that is worth mentioning.
const DEMAND_GROWTH: f64 = 1.5;
/// Share of failed attempts before the onset that is worth mentioning.
const FAILED_BEFORE: f64 = 0.1;

/// All edges into one node as one: second by second.
struct Into<'a> {
    tracks: Vec<&'a Track<Tally>>,
}

impl Into<'_> {
    fn sum(&self, last: u64, length: u64) -> Tally {
        let mut sum = Tally::default();
        for track in &self.tracks {
            crate::store::Counts::add(&mut sum, &track.sum(last, length));
        }
        sum
    }

    fn series(&self, last: u64, figure: impl Fn(&Tally) -> f64) -> Vec<f64> {
        let known = self.tracks.iter().map(|track| track.series(last, |_| 0.0).len()).max();
        let length = known.unwrap_or(0) as u64;
        let seconds = (last + 1).saturating_sub(length)..=last;
        seconds.map(|second| figure(&self.sum(second, 1))).collect()
    }
}

/// The signals of a storm, before → now, each with its last minute.
pub(super) fn evidence(
    scene: &Scene<'_>,
    blame: &Blame,
    before: &Before,
    onset: u64,
) -> Vec<Evidence> {
    let Some((track, front)) = scene.track(&blame.edge) else { return Vec::new() };
    let into = Into { tracks: scene.store.edges_into(&blame.victim).map(|(_, t)| t).collect() };
    let is = into.sum(front, NOW_SECONDS);
    let per_s =
        |figure: fn(&Tally) -> f64| (before.per_s(figure), Some(figure(&is) / NOW_SECONDS as f64));
    let percent = |figure: fn(&Tally) -> Option<f64>| {
        (figure(&before.into).map(|share| 100.0 * share), figure(&is).map(|share| 100.0 * share))
    };
    let failed = |tally: &Tally| tally.failure_ratio();
    let repeated =
        |tally: &Tally| (0.0 < tally.attempts()).then(|| tally.retries() / tally.attempts());
    let factor = (before.factor, scene.factor(&blame.edge));
    let mut all = vec![
        signal(
            "attempts per request",
            "×",
            factor,
            track.series(front, |t| t.factor().unwrap_or(0.0)),
        ),
        signal(
            "attempts on the victim",
            "/s",
            per_s(Tally::attempts),
            into.series(front, Tally::attempts),
        ),
        signal(
            "retries among them",
            "%",
            percent(repeated),
            into.series(front, |t| 100.0 * repeated(t).unwrap_or(0.0)),
        ),
    ];
    all.extend(latency(scene, &blame.victim, before, front));
    all.push(signal(
        "failed attempts",
        "%",
        percent(failed),
        into.series(front, |t| 100.0 * failed(t).unwrap_or(0.0)),
    ));
    all.push(signal("goodput", "/s", per_s(|t| t.successes), into.series(front, |t| t.successes)));
    all.extend(spacing::evidence(scene, &blame.edge, before, onset));
    all
}

pub(super) fn signal(
    name: &str,
    unit: &str,
    (was, is): (Option<f64>, Option<f64>),
    series: Vec<f64>,
) -> Evidence {
    Evidence { signal: name.into(), baseline: was, current: is, unit: unit.into(), series }
}

/// The victim's latency. The quantile is the highest for which there are samples enough on both
/// sides.
fn latency(scene: &Scene<'_>, victim: &ServiceId, before: &Before, front: u64) -> Option<Evidence> {
    let latency = latencies(scene, victim)?;
    let (was, is) = (&before.latency, latency.latency_of(front, 10));
    let samples = is.count().min(if was.count() == 0 { u64::MAX } else { was.count() });
    let (q, name, samples_min) = match samples {
        299.. => (0.99, "victim p99", 299),
        59.. => (0.95, "victim p95", 59),
        _ => (0.5, "victim p50", 5),
    };
    let figures = (was.quantile_ms(q, samples_min), is.quantile_ms(q, samples_min));
    let series = latency.latency_series(front, q);
    (figures.0.is_some() || figures.1.is_some()).then(|| signal(name, "ms", figures, series))
}

/// What speaks against the verdict, strongest first.
pub(super) fn counter(
    scene: &Scene<'_>,
    blame: &Blame,
    watch: &Watch,
    phase: Phase,
    onset: u64,
) -> Vec<String> {
    let mut counter = Vec::new();
    let Some((track, front)) = scene.track(&blame.edge) else { return counter };
    let victim = scene.names.print(&blame.victim);
    match watch.grade() {
        Grade::ByRatio => counter.push(
            "no trace context: a release that calls more often would look the same".to_owned(),
        ),
        Grade::Structural => {
            counter.push("retries are inferred from spans, no proxy counts them".to_owned());
        }
        Grade::Recognised => (),
    }
    if let Some(usual) = watch.usual() {
        let now = track.sum(front, NOW_SECONDS).first / NOW_SECONDS as f64;
        if 1.0 < now && DEMAND_GROWTH * usual.first < now {
            counter.push(format!(
                "first attempts grew too, {} → {}/s: the load itself may be a cause",
                rate(usual.first),
                rate(now)
            ));
        }
        if FAILED_BEFORE <= usual.failed {
            counter
                .push(format!("{:.0} % of attempts failed before it began", 100.0 * usual.failed));
        }
    } else {
        counter.push("nothing was seen of this edge before it began".to_owned());
    }
    if let Some(spacing) = Spacing::since(scene, &blame.edge, onset).filter(Spacing::is_careful) {
        let source = scene.names.print(&blame.edge.source);
        counter.push(format!("{source} is careful: {}", spacing.words()));
    }
    if phase == Phase::Sustained
        && track.sum(front, 10).successes < 0.1 * track.sum(front, 10).first
    {
        counter.push(format!("next to nothing succeeds, so {victim} may still be slow by itself"));
    }
    let seen = track.sum(front + 1, front + 2 - onset.min(front)).attempts();
    if seen < ATTEMPTS_FEW {
        counter.push(format!("only {seen:.0} attempts seen since it began"));
    }
    counter
}

/// How good the data is.
pub(super) fn quality(scene: &Scene<'_>, blame: &Blame) -> DataQuality {
    let Some((track, front)) = scene.track(&blame.edge) else { return DataQuality::default() };
    let is_covered = track.is_covered(front);
    let was_covered = (front.saturating_sub(MINUTE)..=front).any(|second| track.is_covered(second));
    let recent = track.sum(front, 10);
    let stale = scene.proxies.stale(scene.now, &blame.edge.source);
    let sampling = (!is_covered && 0.0 < recent.attempts())
        .then(|| (recent.seen / recent.attempts()).clamp(0.0, 1.0));
    let mut notes = Vec::new();
    if 0 < stale {
        notes.push(format!("{stale} proxies silent for more than 3 s"));
    }
    if !is_covered {
        notes.push("from spans only, which come in batches".to_owned());
    }
    if sampling.is_some_and(|sampling| sampling < 0.99) {
        notes.push("sampled".to_owned());
    }
    let enforcing = scene.proxies.enforcing(&blame.edge).count();
    if enforcing == 0 {
        let source = scene.names.print(&blame.edge.source);
        notes.push(format!("no proxy of {source} could act"));
    }
    let source = match (is_covered, was_covered) {
        (true, _) => "proxies",
        (false, true) => "proxies+spans",
        (false, false) => "spans",
    };
    DataQuality {
        source: source.into(),
        coverage: is_covered.then(|| scene.proxies.coverage(&blame.edge).unwrap_or(1.0)),
        sampling,
        recognised: scene.recognised(&blame.edge),
        late_ratio: scene.store.late_ratio(),
        stale_proxies: stale,
        note: notes.join("; "),
    }
}

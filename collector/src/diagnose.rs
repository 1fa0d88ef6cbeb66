//! Whose fault is it, and since when? From the spans of a capture alone; pure: no IO, no clock.
//!
//! | step | |
//! |---|---|
//! | `rows` | spans in few bytes |
//! | `calls` | own time of each service, time on the way of each call, who failed first, who was called: a `series` each |
//! | `evidence` | is a series worse after a moment than before? |
//! | `findings` | the moment since when most is |
//! | `blame` | what is worse then, divided among services |
//! | `words`, `report` | the answer |
//! | `ring`, `look` | the same of the last minutes, again and again |
//!
//! Two ideas carry it: a client's time is split into the way and the callee's own time, and what
//! an edge lost is divided between its ends by how many of their edges are bad.

mod blame;
mod calls;
mod evidence;
mod findings;
mod look;
mod report;
mod ring;
mod rows;
mod series;
mod sidecars;
#[cfg(test)]
pub(crate) mod tests;
mod words;

pub use look::{Answer, Look};
pub(crate) use look::{Course, Followed};
pub use report::{Diagnosis, Exhibit, Quality, Window};
pub(crate) use ring::Ring;
pub use rows::{Full, Period, SPANS_MAX, Spans};

use crate::names::Names;
use blame::Blame;
use calls::Seen;
use findings::{Comparison, Tail};
use fusebox_proto::view::{Evidence, Incident, Stamp, Suspect};
use series::{Measure, Series};
use words::Words;

/// From this confidence on it is a verdict, below a guess.
pub(crate) const VERDICT: f64 = 0.5;
/// No more suspects are named.
const SUSPECTS_MAX: usize = 10;
/// Nor more of what speaks for it.
const EXHIBITS_MAX: usize = 12;
/// Two suspects of equal score are so far apart: the ranking is strict.
const SCORE_STEP: f64 = 0.000_1;
/// What began so short before the end is not looked for: too little is known of it.
const TAIL: Tail = Tail { length_ns: 10_000_000_000, is_fine: false };
/// So far from a time that was named the onset is sought, one after the other, ns.
const NAMED_NS: [u64; 3] = [60_000_000_000, 300_000_000_000, u64::MAX];
/// Missing parents beyond this share weaken the answer.
const ORPHANS_MAX: f64 = 0.05;

/// Why there is no diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No spans.
    #[error("there are no spans in it")]
    Empty,
    /// The onset that was named is outside.
    #[error("{since} is not within the capture, which is from {from} to {to}")]
    Outside {
        /// As was asked.
        since: Stamp,
        /// Start of the capture.
        from: Stamp,
        /// Its end.
        to: Stamp,
    },
}

/// When spans are, ns since the epoch.
#[derive(Clone, Copy, Debug)]
struct Extent {
    from_ns: u64,
    to_ns: u64,
}

/// Diagnoses `spans`: what is worse since the moment that explains most. It is sought within a
/// minute of `since`; where nothing convinces there, within five, for alarms come late; then
/// anywhere. Without `since` in the later half of the capture (so that there is more before than
/// after), or in all of it where there is a baseline.
///
/// # Errors
/// If there are no spans, or `since` is not within the capture.
pub fn diagnose(spans: &Spans, since: Option<Stamp>) -> Result<Diagnosis, Refusal> {
    diagnose_to(spans, since, TAIL)
}

/// As [`diagnose`]; `tail` says how near to the end an onset is looked for.
fn diagnose_to(spans: &Spans, since: Option<Stamp>, tail: Tail) -> Result<Diagnosis, Refusal> {
    let capture = extent(spans, Period::Capture).ok_or(Refusal::Empty)?;
    let (from, to) = (stamp(capture.from_ns), stamp(capture.to_ns));
    if let Some(since) = since.filter(|since| *since <= from || to <= *since) {
        return Err(Refusal::Outside { since, from, to });
    }
    let baseline = extent(spans, Period::Baseline);
    // A baseline that was made later, or on another clock, comes before all the same.
    let back_ns = baseline.map_or(0, |baseline| baseline.to_ns.saturating_sub(capture.from_ns) + 1);
    let (all, seen) = calls::read(spans, back_ns);
    let middle_ns = capture.from_ns + (capture.to_ns - capture.from_ns) / 2;
    let earliest_ns = if baseline.is_some() { capture.from_ns } else { middle_ns };
    let (onset_ns, tried) = match since {
        Some(since) => onset_near(&all, since.0.saturating_mul(1_000_000), capture),
        None => findings::onset(&all, (earliest_ns, capture.to_ns), tail),
    };
    // Without an onset the data is described at the middle.
    let comparison = findings::compare(&all, onset_ns.unwrap_or(middle_ns));
    let blames = onset_ns.map(|at_ns| blame::rank(&all, &comparison, at_ns, tried));
    let names: Names = spans.services.iter().collect();
    let at_ns = onset_ns.unwrap_or(middle_ns);
    let words = Words { spans, names, all: &all, comparison: &comparison, onset_ns: at_ns };
    let before_ns = baseline.map_or(0, |baseline| baseline.to_ns - baseline.from_ns);
    let lengths =
        (before_ns.saturating_add(at_ns - capture.from_ns), capture.to_ns.saturating_sub(at_ns));
    let window = Window {
        from,
        to,
        onset: onset_ns.map(stamp),
        spans: spans.rows.len() as u64,
        traces: spans.traces() as u64,
    };
    let mut data_quality = quality(spans, seen, &all, &comparison, lengths);
    data_quality.notes.extend(far(since, window.onset));
    Ok(report(&words, window, &blames.unwrap_or_default(), data_quality))
}

/// The onset nearest to `named_ns` that convinces; else the best guess nearby, or that itself.
fn onset_near(all: &[Series], named_ns: u64, capture: Extent) -> (Option<u64>, u64) {
    let (mut tried, mut guess) = (0, None);
    for reach_ns in NAMED_NS {
        let ends = (capture.from_ns, capture.to_ns);
        let (found, more) = findings::onset_near(all, named_ns, reach_ns, ends);
        tried += more;
        let Some(at_ns) = found else { continue };
        guess = guess.or(found);
        let blames = blame::rank(all, &findings::compare(all, at_ns), at_ns, tried);
        if blames.iter().any(|blame| VERDICT <= blame.confidence) {
            return (found, tried);
        }
    }
    (guess.or(Some(named_ns)), tried)
}

/// What is said where the onset is not at the time that was named.
fn far(since: Option<Stamp>, onset: Option<Stamp>) -> Option<String> {
    let (since, onset) = (since?, onset?);
    let seconds = since.0.abs_diff(onset.0) / 1_000;
    let side = if onset < since { "before" } else { "after" };
    let is_far = NAMED_NS[0] / 1_000_000_000 < seconds;
    is_far.then(|| format!("the onset is {seconds} s {side} the time that was named: nothing convinces nearer to it"))
}

fn extent(spans: &Spans, period: Period) -> Option<Extent> {
    let rows = spans.rows.iter();
    let rows = rows.filter(|row| row.is_baseline == (period == Period::Baseline));
    let from_ns = rows.clone().map(|row| row.start_ns).min()?;
    Some(Extent { from_ns, to_ns: rows.map(|row| row.end_ns).max()? })
}

fn quality(
    spans: &Spans,
    seen: Seen,
    all: &[Series],
    comparison: &Comparison,
    (before_ns, after_ns): (u64, u64),
) -> Quality {
    let times = all.iter().zip(&comparison.is_compared);
    let times = times.filter(|(series, _)| series.measure == Measure::Time);
    let compared = times.clone().filter(|(_, is_compared)| **is_compared).count() as u64;
    let weight = spans.rows.iter().map(|row| row.weight).fold(1.0, f32::max);
    let orphans = seen.orphans as f64 / spans.rows.len() as f64;
    let sampling = 1.0 / f64::from(weight);
    let mut quality = Quality {
        services: spans.services.iter().count() as u64,
        compared,
        too_few: times.count() as u64 - compared,
        before_s: before_ns as f64 / 1e9,
        after_s: after_ns as f64 / 1e9,
        orphans,
        duplicates: seen.duplicates,
        sampling,
        ..Quality::default()
    };
    let mut note = |is: bool, text: String| quality.notes.extend(is.then_some(text));
    note(compared == 0, "nothing has 20 traces before and 3 after: not enough data".into());
    note(
        ORPHANS_MAX < orphans,
        format!("{} of the spans have no parent here", words::percent(orphans)),
    );
    note(
        sampling < 1.0,
        format!("sampled, down to {}: small faults do not show", words::percent(sampling)),
    );
    note(before_ns < after_ns, "there is less before the onset than after".into());
    quality
}

fn report(words: &Words<'_>, window: Window, blames: &[Blame], data_quality: Quality) -> Diagnosis {
    let mut suspects: Vec<Suspect> = Vec::new();
    for blame in blames.iter().take(SUSPECTS_MAX) {
        let room = suspects.last().map_or(1.0, |last| last.score - SCORE_STEP);
        let score = blame.score.min(room);
        if score <= 0.0 {
            break;
        }
        suspects.push(Suspect {
            service: words.node(blame.node),
            score,
            confidence: blame.confidence.clamp(0.0, 1.0),
            reason: words.reason(blame),
        });
    }
    let mut largest: Vec<(usize, f64, &Blame)> = Vec::new();
    for blame in blames {
        for (at, share) in &blame.parts {
            match largest.iter_mut().find(|(known, ..)| known == at) {
                Some(known) if known.1 < *share => *known = (*at, *share, blame),
                Some(_) => {}
                None => largest.push((*at, *share, blame)),
            }
        }
    }
    largest.sort_by(|a, b| b.1.total_cmp(&a.1));
    let evidence = largest.iter().take(EXHIBITS_MAX);
    let evidence = evidence.map(|(at, _, blame)| words.exhibit(*at, blame.node)).collect();
    let guilty = blames.first().and_then(|blame| words.service(blame.node));
    let mut diagnosis =
        Diagnosis { window, suspects, data_quality, evidence, guilty, ..Diagnosis::default() };
    diagnosis.verdict = verdict(&diagnosis);
    diagnosis.incidents.extend(incident(&diagnosis));
    diagnosis
}

/// The answer in one sentence.
fn verdict(diagnosis: &Diagnosis) -> String {
    let Diagnosis { window, suspects, data_quality, .. } = diagnosis;
    match (suspects.first(), window.onset) {
        (Some(first), Some(onset)) if VERDICT <= first.confidence => {
            format!("{} is at fault since {onset}: {}", first.service, first.reason)
        }
        (Some(first), Some(onset)) => format!(
            "not enough evidence: {} is the first guess, since {onset}, with a confidence of {:.0} %: {}",
            first.service,
            first.confidence * 100.0,
            first.reason
        ),
        _ if data_quality.compared == 0 => {
            "not enough evidence: nothing has 20 traces before and 3 after".into()
        }
        _ => format!(
            "not enough evidence: of {} operations and calls, none got slower, failed more or changed",
            data_quality.compared
        ),
    }
}

/// The incident of a verdict.
fn incident(diagnosis: &Diagnosis) -> Option<Incident> {
    let first = diagnosis.suspects.first().filter(|first| VERDICT <= first.confidence)?;
    let strongest = diagnosis.evidence.first()?;
    let kind = match &*strongest.unit {
        "ms" => "latency_regression",
        _ => "error_surge",
    };
    let figure = |value: f64| if strongest.unit == "%" { value * 100.0 } else { value };
    let of = |exhibit: &Exhibit| Evidence {
        signal: format!("{}: {} {}", exhibit.signal, exhibit.place, exhibit.operation),
        baseline: Some(figure(exhibit.before)),
        current: Some(figure(exhibit.after)),
        unit: exhibit.unit.to_string(),
        series: Vec::new(),
    };
    let onset = diagnosis.window.onset?;
    Some(Incident {
        id: format!("{kind}-{}-{}", first.service, onset.0 / 1_000),
        kind: kind.into(),
        opened_at: onset,
        summary: diagnosis.verdict.clone(),
        confidence: first.confidence,
        originator: Some(first.service.clone()),
        evidence: diagnosis.evidence.iter().map(of).collect(),
        suspects: diagnosis.suspects.clone(),
        ..Incident::default()
    })
}

fn stamp(at_ns: u64) -> Stamp {
    Stamp(at_ns / 1_000_000)
}

//! What both subsets do, in figures and in words.

use super::super::Scene;
use super::super::regression::ms;
use super::super::sentence::rate;
use crate::detect::Worse;
use crate::store::{LatencyTotal, Latent as _, MINUTE, Split, Tally};
use fusebox_proto::text::cut;
use fusebox_proto::view::Evidence;
use std::sync::Arc;

/// What is now is read from so many seconds at least.
const SECONDS_MIN: u64 = 10;
/// A name of a subset has at most so many bytes in a sentence, and in a row of evidence.
const SUBSET_MAX: usize = 16;
const ROW_MAX: usize = 6;
/// A verdict from fewer requests of the canary says so.
const FEW: f64 = 50.0;
/// What the stable fails is worth mentioning from this share on.
const STABLE_FAILS: f64 = 0.02;

/// Both subsets since it began, of the last minute at most.
#[derive(Debug)]
pub(super) struct Figures {
    canary: One,
    stable: One,
    seconds: f64,
    /// Failed requests of the canary in percent, and its p90 in ms, second by second.
    series: (Vec<f64>, Vec<f64>),
}

/// One of them.
#[derive(Debug)]
struct One {
    name: Arc<str>,
    tally: Tally,
    latency: LatencyTotal,
}

impl One {
    fn fails(&self) -> f64 {
        self.tally.failure_ratio().unwrap_or(0.0)
    }

    fn quantile(&self, q: f64, samples_min: u64) -> Option<f64> {
        self.latency.quantile_ms(q, samples_min)
    }

    fn short(&self) -> String {
        cut(&self.name, SUBSET_MAX).into_owned()
    }
}

impl Figures {
    /// Reads both since the second `onset`; `None` where the canary has no requests.
    pub(super) fn see(
        scene: &Scene<'_>,
        split: &Split,
        (canary, stable): (&Arc<str>, &Arc<str>),
        onset: u64,
    ) -> Option<Self> {
        let subsets = scene.store.subsets().get(split)?;
        let track = subsets.get(canary)?;
        let source = split.source.as_ref().and_then(|source| scene.fronts.get(source).copied());
        let front = track.front(scene.now_second(), source);
        let seconds = (front + 1).saturating_sub(onset).clamp(SECONDS_MIN, MINUTE);
        let one = |name: &Arc<str>| {
            let track = subsets.get(name);
            let tally = track.map(|track| track.sum(front, seconds)).unwrap_or_default();
            let latency = track.map(|track| track.latency_of(front, seconds)).unwrap_or_default();
            One { name: Arc::clone(name), tally, latency }
        };
        let failed = |tally: &Tally| 100.0 * tally.failure_ratio().unwrap_or(0.0);
        let series = (track.series(front, failed), track.latency_series(front, 0.9));
        let (canary, stable, seconds) = (one(canary), one(stable), seconds as f64);
        (0.0 < canary.tally.ended()).then_some(Self { canary, stable, seconds, series })
    }

    /// Share of its requests that the stable fails, 0 … 1.
    pub(super) fn stable_fails(&self) -> f64 {
        self.stable.fails()
    }

    /// Requests of the canary that failed.
    pub(super) fn bad(&self) -> f64 {
        self.canary.tally.failed()
    }

    /// Share of the requests that the canary gets, 0 … 1.
    pub(super) fn share(&self) -> f64 {
        let (canary, stable) = (self.canary.tally.ended(), self.stable.tally.ended());
        canary / (canary + stable).max(1.0)
    }

    /// The verdict in one sentence.
    pub(super) fn sentence(
        &self,
        service: &str,
        caller: Option<&str>,
        since: &str,
        worse: Worse,
    ) -> String {
        let (canary, stable) = (self.canary.short(), self.stable.short());
        let whose = caller.map_or_else(
            || "its requests".to_owned(),
            |caller| format!("{}'s requests", cut(caller, SUBSET_MAX)),
        );
        if worse.fails {
            let (is, other) = (percent(self.canary.fails()), percent(self.stable.fails()));
            format!(
                "{service} {canary} fails {is} of {whose} since {since}; {stable} fails {other}."
            )
        } else {
            let slower = self.slower(worse).unwrap_or_default();
            format!("{service} {canary} is slower than {stable} since {since}: {slower}.")
        }
    }

    /// `p99 20 ms, 95 ms on v2`
    fn slower(&self, worse: Worse) -> Option<String> {
        let tail = || self.pair("p99", 0.99, 299).filter(|_| worse.by_tail);
        tail().or_else(|| self.pair("median", 0.5, 5)).or_else(|| self.pair("p99", 0.99, 299))
    }

    fn pair(&self, name: &str, q: f64, samples_min: u64) -> Option<String> {
        let (was, is) =
            (self.stable.quantile(q, samples_min)?, self.canary.quantile(q, samples_min)?);
        Some(format!("{name} {} → {}", ms(was), ms(is)))
    }

    /// Why the canary is suspected.
    pub(super) fn reason(&self, worse: Worse) -> String {
        let (canary, stable) = (self.canary.short(), self.stable.short());
        match self.slower(worse).filter(|_| !worse.fails) {
            Some(slower) => format!("{stable} → {canary} at the same time: {slower}"),
            None => format!(
                "{canary} fails {}, {stable} {} at the same time",
                percent(self.canary.fails()),
                percent(self.stable.fails())
            ),
        }
    }

    /// Rows of evidence: the stable before the arrow, the canary after it.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let (canary, stable) = (cut(&self.canary.name, ROW_MAX), cut(&self.stable.name, ROW_MAX));
        let signal = |name: &str, unit: &str, was, is, series: &[f64]| Evidence {
            signal: format!("{name} {stable} → {canary}"),
            baseline: was,
            current: is,
            unit: unit.into(),
            series: series.to_vec(),
        };
        let failed = |one: &One| one.tally.failure_ratio().map(|share| 100.0 * share);
        let per_s = |one: &One| Some(one.tally.ended() / self.seconds);
        let both =
            |figure: &dyn Fn(&One) -> Option<f64>| (figure(&self.stable), figure(&self.canary));
        let (failed, requests) = (both(&failed), both(&per_s));
        let p99 = both(&|one| one.quantile(0.99, 299));
        let p50 = both(&|one| one.quantile(0.5, 5));
        vec![
            signal("failed", "%", failed.0, failed.1, &self.series.0),
            signal("p99", "ms", p99.0, p99.1, &self.series.1),
            signal("median", "ms", p50.0, p50.1, &[]),
            signal("requests", "/s", requests.0, requests.1, &[]),
        ]
    }

    /// What speaks against the verdict.
    pub(super) fn counter(&self, is_exact: bool) -> Vec<String> {
        let mut counter = Vec::new();
        let stable = self.stable.short();
        if STABLE_FAILS <= self.stable.fails() {
            counter.push(format!("{stable} fails {}, too", percent(self.stable.fails())));
        }
        let seen = self.canary.tally.seen;
        if seen < FEW {
            counter.push(format!("only {seen:.0} requests of {} seen", self.canary.short()));
        }
        if !is_exact {
            counter.push("versions are compared over all callers and routes".to_owned());
        }
        counter
    }

    /// What moving everything to the stable would do.
    pub(super) fn predicted(&self, worse: Worse) -> String {
        let (canary, stable) = (self.canary.short(), self.stable.short());
        let moved = rate(self.canary.tally.ended() / self.seconds);
        let all = rate((self.canary.tally.ended() + self.stable.tally.ended()) / self.seconds);
        let effect = if worse.fails {
            format!("which fails {}", percent(self.stable.fails()))
        } else {
            "which is faster".to_owned()
        };
        format!(
            "moves {moved} of {all} requests/s from {canary} to {stable}, {effect}; a rollback undoes it"
        )
    }
}

/// A share for people: `20 %`, `0.1 %`.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent < 0.95 && 0.0 < percent {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

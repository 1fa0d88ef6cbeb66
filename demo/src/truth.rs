//! What truly happened, measured where it happened: by the callers and the load generator, not by
//! the proxies that are on trial. Pure; times are durations since the load began.

use crate::client::Outcome;
use crate::plan::Plan;
use crate::scenario::{Change, Expect};
use std::collections::BTreeSet;
use std::time::Duration;

/// Length of the stretch before the fault and of the last stretch.
pub const STRETCH: Duration = Duration::from_secs(10);
/// Goodput must be back for so long.
const RECOVERY: Duration = Duration::from_secs(5);
/// And to this share of what it was.
const RECOVERED_RATIO: f64 = 0.95;
/// Entry requests are counted by the time at which they began, in bins of this length.
const BIN: Duration = Duration::from_millis(100);
/// Bins of two hours. An interactive run that is older counts no more.
const BINS_MAX: usize = 72_000;

/// Counts over the run.
#[derive(Clone, Debug, Default)]
struct Bins(Vec<u32>);

impl Bins {
    fn add(&mut self, at: Duration) {
        let bin = bin(at);
        if BINS_MAX <= bin {
            return;
        }
        if self.0.len() <= bin {
            self.0.resize(bin + 1, 0);
        }
        self.0[bin] += 1;
    }

    /// Per second in this time; `None` if it is empty.
    fn between(&self, from: Duration, to: Duration) -> Option<f64> {
        let (from, to) = (bin(from), bin(to));
        if to <= from {
            return None;
        }
        let count: u32 = self.0.iter().take(to).skip(from).sum();
        Some(f64::from(count) / ((to - from) as f64 * BIN.as_secs_f64()))
    }
}

fn bin(at: Duration) -> usize {
    usize::try_from(at.as_millis() / BIN.as_millis()).unwrap_or(usize::MAX)
}

/// One call as its caller saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Role of the caller; `None` for a visitor.
    pub source: Option<&'a str>,
    /// Role of the callee.
    pub destination: &'a str,
    /// Which attempt of its request it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// `x-fusebox-refused` of the answer.
    pub refusal: Option<&'a str>,
}

/// A call that is the first of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// To fail because of the fault.
    Failure,
    /// To be refused after the action.
    Refusal,
}

/// Attempts on an edge of the expected incident.
#[derive(Clone, Debug, Default)]
struct Counted {
    source: String,
    destination: String,
    /// First attempts.
    firsts: Bins,
    /// All attempts.
    attempts: Bins,
}

/// The truth so far.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Entry requests that succeeded.
    goodput: Bins,
    /// The layers of the expected incident, uppermost first.
    layers: Vec<Counted>,
    /// Roles whose failures are the fault's.
    touched: BTreeSet<String>,
    fault_at: Option<Duration>,
    fault_ended_at: Option<Duration>,
    action_at: Option<Duration>,
    failure_at: Option<Duration>,
    refusal_at: Option<Duration>,
    /// Start of the earliest stretch that may still be the recovery.
    candidate_at: Option<Duration>,
    recovered_at: Option<Duration>,
    absence: Absence,
}

/// What callers saw while there was no collector.
#[derive(Clone, Copy, Debug, Default)]
struct Absence {
    gone_at: Option<Duration>,
    back_at: Option<Duration>,
    reconnected_at: Option<Duration>,
    /// Entry requests that began in it and failed.
    failed: u64,
    refusal_last_at: Option<Duration>,
}

impl Absence {
    fn is_at(&self, at: Duration) -> bool {
        self.gone_at.is_some_and(|gone| gone <= at) && self.back_at.is_none_or(|back| at < back)
    }
}

impl Truth {
    /// Nothing happened yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            goodput: Bins::default(),
            layers: plan.scenario.expect.as_ref().map(counted).unwrap_or_default(),
            touched: touched(plan),
            fault_at: None,
            fault_ended_at: None,
            action_at: None,
            failure_at: None,
            refusal_at: None,
            candidate_at: None,
            recovered_at: None,
            absence: Absence::default(),
        }
    }

    /// The collector is killed; only the first time counts.
    pub fn collector_gone(&mut self, now: Duration) {
        self.absence.gone_at.get_or_insert(now);
    }

    /// Another is started in its place.
    pub fn collector_back(&mut self, now: Duration) {
        self.absence.back_at.get_or_insert(now);
    }

    /// All proxies are connected to it.
    pub fn reconnected(&mut self, now: Duration) {
        self.absence.reconnected_at.get_or_insert(now);
    }

    /// A visitor's request that began at `began` failed.
    pub fn entry_failed(&mut self, began: Duration) {
        self.absence.failed += u64::from(self.absence.is_at(began));
    }

    /// Entry requests that failed and began while there was no collector; `None` where there always
    /// was one.
    pub fn failed_without_collector(&self) -> Option<u64> {
        self.absence.gone_at.map(|_| self.absence.failed)
    }

    /// From the death of the collector to the last refusal that a caller saw without one.
    pub fn refused_without_collector(&self) -> Option<Duration> {
        Some(self.absence.refusal_last_at?.saturating_sub(self.absence.gone_at?))
    }

    /// From the start of the new collector until all proxies were connected to it.
    pub fn reconnected_after(&self) -> Option<Duration> {
        Some(self.absence.reconnected_at?.saturating_sub(self.absence.back_at?))
    }

    /// A fault begins; only the first counts.
    pub fn fault(&mut self, now: Duration) {
        self.fault_at.get_or_insert(now);
    }

    /// A fault ends; only the last counts.
    pub fn fault_ended(&mut self, now: Duration) {
        self.fault_ended_at = Some(now);
    }

    /// The action is sent; only the first counts.
    pub fn action(&mut self, now: Duration) {
        self.action_at.get_or_insert(now);
    }

    /// A visitor's request that began at `began` succeeded.
    pub fn entry_succeeded(&mut self, began: Duration) {
        self.goodput.add(began);
    }

    /// A call ended `now`.
    pub fn call_ended(&mut self, now: Duration, seen: Seen<'_>) -> Option<First> {
        if seen.refusal.is_some() {
            if self.absence.is_at(now) {
                self.absence.refusal_last_at = Some(now);
            }
            let is_first = self.action_at.is_some() && self.refusal_at.is_none();
            return is_first.then(|| {
                self.refusal_at = Some(now);
                First::Refusal
            });
        }
        self.count(now, seen);
        let is_first = self.fault_at.is_some() && self.failure_at.is_none();
        let is_failure = !seen.outcome.is_success() && self.touched.contains(seen.destination);
        (is_first && is_failure).then(|| {
            self.failure_at = Some(now);
            First::Failure
        })
    }

    fn count(&mut self, now: Duration, seen: Seen<'_>) {
        let is_it = |layer: &&mut Counted| {
            seen.source == Some(&layer.source) && seen.destination == layer.destination
        };
        if let Some(layer) = self.layers.iter_mut().find(is_it) {
            layer.attempts.add(now);
            if seen.attempt == 1 {
                layer.firsts.add(now);
            }
        }
    }

    /// Whether goodput has just been found to be back, and since when. All requests that began
    /// before `settled` have ended.
    pub fn recovery(&mut self, settled: Duration) -> Option<Duration> {
        let since = self.action_at.or(self.failure_at)?;
        if self.recovered_at.is_some() {
            return None;
        }
        let enough = RECOVERED_RATIO * self.before().filter(|before| 0.0 < *before)?;
        let mut from = self.candidate_at.unwrap_or_else(|| ceil(since));
        while from + RECOVERY <= settled {
            if self.goodput.between(from, from + RECOVERY).is_some_and(|good| enough <= good) {
                self.recovered_at = Some(from);
                return Some(from);
            }
            from += BIN;
        }
        self.candidate_at = Some(from);
        None
    }

    /// Goodput in the ten seconds before the fault; in as many as there were.
    pub fn before(&self) -> Option<f64> {
        let fault_at = self.fault_at?;
        self.goodput.between(fault_at.saturating_sub(STRETCH), fault_at)
    }

    /// Goodput from the fault to the action, or to the last ten seconds before `end`.
    pub fn during(&self, end: Duration) -> Option<f64> {
        let to = self.action_at.unwrap_or_else(|| end.saturating_sub(STRETCH));
        self.goodput.between(self.fault_at?, to)
    }

    /// Goodput in the ten seconds before `end`.
    pub fn after(&self, end: Duration) -> Option<f64> {
        self.goodput.between(end.saturating_sub(STRETCH), end)
    }

    /// Attempts per request on each layer of the expected incident, uppermost first, that were let
    /// through and ended in the last ten seconds of it: before the action; before the end of the
    /// fault, where it ended with that; else before `end`. `None` where there was no request.
    pub fn factors(&self, end: Duration) -> Vec<Option<f64>> {
        let ended_with_fault = self.fault_ended_at.filter(|_| self.is_back(end));
        let to = self.action_at.or(ended_with_fault).unwrap_or(end);
        let mut from = to.saturating_sub(STRETCH);
        if self.action_at.is_none() && ended_with_fault.is_some() {
            from = from.max(self.fault_at.unwrap_or_default());
        }
        let factor = |layer: &Counted| {
            let firsts = layer.firsts.between(from, to).filter(|firsts| 0.0 < *firsts)?;
            Some(layer.attempts.between(from, to)? / firsts)
        };
        self.layers.iter().map(factor).collect()
    }

    /// The product of all [`factors`](Self::factors).
    pub fn amplification(&self, end: Duration) -> Option<f64> {
        let factors = self.factors(end);
        if factors.is_empty() { None } else { factors.into_iter().product() }
    }

    /// Whether goodput is what it was before the fault.
    fn is_back(&self, end: Duration) -> bool {
        let before = self.before().filter(|before| 0.0 < *before);
        let enough = before.map(|before| RECOVERED_RATIO * before);
        enough.zip(self.after(end)).is_some_and(|(enough, after)| enough <= after)
    }

    /// When the first call failed because of the fault.
    pub fn failure_at(&self) -> Option<Duration> {
        self.failure_at
    }

    /// From the action to the first refusal.
    pub fn refusal_after(&self) -> Option<Duration> {
        Some(self.refusal_at?.saturating_sub(self.action_at?))
    }

    /// From the action to the recovery.
    pub fn recovery_after(&self) -> Option<Duration> {
        Some(self.recovered_at?.saturating_sub(self.action_at?))
    }
}

fn counted(expect: &Expect) -> Vec<Counted> {
    let layer = |(source, destination): (&str, &str)| Counted {
        source: source.to_owned(),
        destination: destination.to_owned(),
        ..Counted::default()
    };
    expect.layers().into_iter().map(layer).collect()
}

fn ceil(at: Duration) -> Duration {
    let bins = at.as_millis().div_ceil(BIN.as_millis());
    BIN * u32::try_from(bins).unwrap_or(u32::MAX)
}

/// A call to one of these that fails after the fault fails because of it. Load has no place of
/// its own: then every service counts that has no errors by nature.
fn touched(plan: &Plan) -> BTreeSet<String> {
    let changes = || plan.scenario.faults.iter().map(|fault| &fault.change);
    let mut touched: BTreeSet<String> =
        changes().flat_map(Change::services).map(str::to_owned).collect();
    if changes().any(|change| matches!(change, Change::Load { .. })) {
        let services = plan.scenario.services.iter();
        let faultless = services.filter(|(_, service)| service.error_percent <= 0.0);
        touched.extend(faultless.map(|(role, _)| role.clone()));
    }
    touched
}

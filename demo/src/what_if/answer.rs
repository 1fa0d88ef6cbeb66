//! What would have been, in the words of JSON.

use fusebox_collector::replay::{Attempt, End, Kind};
use fusebox_proto::command::ActionKind;
use fusebox_proto::policy::ServiceBreaker;
use fusebox_proto::view::{EdgeName, Stamp};
use serde::Serialize;

/// What would have been on the edge of an incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhatIf {
    /// Id of the incident.
    pub incident: String,
    /// Where.
    pub edge: EdgeName,
    /// Had an action been taken; `None` where there was none to take.
    pub action: Option<Leased>,
    /// Had there been a service's breaker.
    pub breaker: Tripped,
    /// Had there been a retry budget.
    pub retry_budget: Budgeted,
    /// What this rests on.
    pub data_quality: Quality,
}

/// Attempts that would have been refused. Those of a sample count for those that they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// Attempts in that time, refused or not.
    pub attempts: u64,
    /// Of them, those that would have been refused.
    pub refused: u64,
    /// Of those, the ones that succeeded when it happened.
    pub succeeded: u64,
    /// Of the refused, the ones that were retries.
    pub retries: u64,
}

/// What an action would have refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Leased {
    /// What.
    pub action: ActionKind,
    /// Whether the incident suggested it. If not: nothing was suggested, for want of a proxy that
    /// could have done it.
    pub suggested: bool,
    /// For how long.
    pub ttl_s: u64,
    /// Since when.
    pub from: Stamp,
    /// When it would have ended, or the recording does.
    pub until: Stamp,
    /// Whether the recording ends before it.
    pub outlasts_recording: bool,
    /// What it would have refused from then until then.
    #[serde(flatten)]
    pub refusals: Refusals,
}

/// What a service's breaker would have done in the whole recording.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tripped {
    /// Which breaker.
    pub policy: Policy,
    /// When it would have opened for the incident first; `None`: it would not have.
    pub opened_at: Option<Stamp>,
    /// When that would have been over; `None`: not in the recording.
    pub closed_at: Option<Stamp>,
    /// Why: `consecutive_failures` or `success_window`.
    pub cause: Option<&'static str>,
    /// From the first failure of the trouble that opened it.
    pub after_first_failure_s: Option<f64>,
    /// Until the incident fired; negative: so long after it.
    pub before_incident_s: Option<f64>,
    /// Openings, of all proxies.
    pub openings: u64,
    /// Attempts that failed when it happened.
    pub failures: u64,
    /// Attempts whose caller gave up when it happened: a breaker learns nothing by that.
    pub given_up: u64,
    /// What it would have refused.
    #[serde(flatten)]
    pub refusals: Refusals,
}

/// When a service's breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// After so many failures in a row.
    pub consecutive_failures: Option<u32>,
    /// Below this share of successes, %.
    pub success_percent: Option<f64>,
    /// In a window of this length.
    pub window_s: Option<f64>,
    /// Of at least so many attempts.
    pub requests_min: Option<u32>,
    /// How long at first.
    pub open_min_s: f64,
    /// How long at most.
    pub open_max_s: f64,
}

/// What a retry budget would have refused in the whole recording.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Budgeted {
    /// Retries may be this share of requests, %.
    pub percent: f64,
    /// Over this long.
    pub interval_s: u64,
    /// So many a second are always allowed.
    pub retries_per_s_min: f64,
    /// When it would first have refused one.
    pub first_at: Option<Stamp>,
    /// Of the retries alone.
    #[serde(flatten)]
    pub refusals: Refusals,
}

/// What an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quality {
    /// `proxies` or `spans`
    pub source: &'static str,
    /// Proxies that told; each would have had a breaker of its own.
    pub proxies: u64,
    /// Whether spans are a sample.
    pub sampled: bool,
    /// Attempts that proxies refused when it happened; they are in no other count.
    pub refused_already: u64,
    /// Attempts beyond the limit, in no other count.
    pub left_out: u64,
    /// The same in words.
    pub note: String,
}

/// Counts attempts by their weight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    attempts: f64,
    refused: f64,
    succeeded: f64,
    retries: f64,
}

impl Tally {
    pub(super) fn add(&mut self, attempt: &Attempt, is_refused: bool) {
        let share = |is_so: bool| if is_so { attempt.weight } else { 0.0 };
        let has_succeeded = attempt.end.is_some_and(|(_, end)| end == End::Success);
        self.attempts += attempt.weight;
        self.refused += share(is_refused);
        self.succeeded += share(is_refused && has_succeeded);
        self.retries += share(is_refused && attempt.kind == Kind::Retry);
    }
}

impl From<Tally> for Refusals {
    fn from(tally: Tally) -> Self {
        let whole = |count: f64| count.round() as u64;
        Self {
            attempts: whole(tally.attempts),
            refused: whole(tally.refused),
            succeeded: whole(tally.succeeded),
            retries: whole(tally.retries),
        }
    }
}

impl From<ServiceBreaker> for Policy {
    fn from(policy: ServiceBreaker) -> Self {
        let window = policy.success_window;
        Self {
            consecutive_failures: policy.consecutive_failures,
            success_percent: window.map(|window| window.threshold_percent),
            window_s: window.map(|window| window.window.as_secs_f64()),
            requests_min: window.map(|window| window.requests_min),
            open_min_s: policy.open_min.as_secs_f64(),
            open_max_s: policy.open_max.as_secs_f64(),
        }
    }
}

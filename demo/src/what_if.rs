//! What the breakers of a proxy would have done with the attempts of a recording.
//!
//! Nothing is modelled anew: the attempts go, at their own times, through the circuit and the retry
//! budget that every proxy has. What such an attempt is refused is counted, and how much of that
//! succeeded when it happened. What is not in a recording is not told: what callers would have done
//! once refused, and how the callee would have recovered.
//!
//! It stands here because this library, beside the tests, is the one that knows both what a
//! collector reads of a recording and what a proxy does.
//!
//! Pure: time is that of the recording.

mod answer;
mod clock;
#[cfg(test)]
mod tests;

pub use answer::{Budgeted, Leased, Policy, Quality, Refusals, Tripped, WhatIf};

use answer::Tally;
use clock::{Clock, Moment, happen};
use fusebox_collector::replay::{Attempt, Crossings, End, Kind, Source};
use fusebox_proto::command::{AckResult, Action, BreakerState, Command, Verb};
use fusebox_proto::policy::ServiceBreaker;
use fusebox_proto::report::Cause;
use fusebox_proto::view::{EdgeName, Stamp};
use fusebox_proto::{Edge, Now};
use fusebox_proxy::breaker::{self, Breaker, Crossing, Permit};
use fusebox_proxy::retry::{Budget, RETRY_BUDGET_DEFAULT, RetryPermit};
use std::time::Duration;

/// Failures with no more than this between them are of one trouble.
const TROUBLE_GAP_US: u64 = 10_000_000;

/// What is asked about an edge of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Id of the incident.
    pub incident: String,
    /// When it fired.
    pub opened_at: Stamp,
    /// Where.
    pub edge: Edge,
    /// How that prints.
    pub name: EdgeName,
    /// An action to take; `None` where there is none to ask about.
    pub lease: Option<Lease>,
    /// When the recording ends.
    pub ends_at: Stamp,
}

/// An action that somebody might have taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lease {
    /// What.
    pub action: Action,
    /// For how long.
    pub ttl: Duration,
    /// How many proxies would have shared it, at least 1.
    pub proxies: u32,
    /// When.
    pub at: Stamp,
    /// Whether the incident suggested it.
    pub is_suggested: bool,
}

/// What would have been. Of `now` only the instant matters.
pub fn what_if(now: Now, question: &Question, crossings: &Crossings) -> WhatIf {
    let clock = Clock::new(now, crossings.attempts.first().map_or(0, |first| first.sent_unix_us));
    WhatIf {
        incident: question.incident.clone(),
        edge: question.name.clone(),
        action: question.lease.and_then(|lease| leased(clock, question, &lease, crossings)),
        breaker: tripped(clock, question.opened_at, ServiceBreaker::DEFAULT, crossings),
        retry_budget: budgeted(clock, crossings),
        data_quality: quality(question, crossings),
    }
}

/// What a lease would have refused until its end, or that of the recording. Its ramp is left out:
/// it follows how the callee recovers.
fn leased(
    clock: Clock,
    question: &Question,
    lease: &Lease,
    crossings: &Crossings,
) -> Option<Leased> {
    let (from_us, ends_us) = (lease.at.0 * 1_000, question.ends_at.0.saturating_mul(1_000));
    let over_us = from_us.saturating_add(lease.ttl.as_micros() as u64);
    // Whatever was recorded before it is older than the lease: time does not go back.
    let clock = Clock { start_unix_us: clock.start_unix_us.min(from_us), ..clock };
    let command = Command {
        id: question.incident.clone(),
        revision: 1,
        destination: question.edge.destination.clone(),
        verb: Verb::Trip { action: lease.action, ttl: lease.ttl, proxies: lease.proxies },
        by: "what-if".to_owned(),
        reason: String::new(),
    };
    let mut breakers: Vec<Breaker> = Vec::new();
    for _ in 0..crossings.proxies.max(1) {
        let mut breaker = Breaker::new(clock.at(from_us).instant);
        if breaker.apply(clock.at(from_us), &command) != AckResult::Applied {
            return None;
        }
        breakers.push(breaker);
    }
    let mut tally = Tally::default();
    for attempt in &crossings.attempts {
        if !(from_us..over_us).contains(&attempt.sent_unix_us) {
            continue;
        }
        let now = clock.at(attempt.sent_unix_us);
        let is_refused = breakers[attempt.proxy].admit(now, crossing(attempt)).is_err();
        tally.add(attempt, is_refused);
    }
    let until_us = over_us.min(ends_us).max(from_us);
    Some(Leased {
        action: lease.action.kind(),
        suggested: lease.is_suggested,
        ttl_s: lease.ttl.as_secs(),
        from: lease.at,
        until: Stamp(until_us / 1_000),
        outlasts_recording: ends_us < over_us,
        refusals: tally.into(),
    })
}

/// One opening, until the circuit closed again.
#[derive(Clone, Copy, Debug)]
struct Trip {
    proxy: usize,
    opened: Stamp,
    closed: Option<Stamp>,
    cause: Cause,
    /// When the trouble began that opened it.
    first_failure_us: u64,
}

/// What a service's breaker would have done, in each proxy.
fn tripped(
    clock: Clock,
    incident_at: Stamp,
    policy: ServiceBreaker,
    crossings: &Crossings,
) -> Tripped {
    let start = clock.at(clock.start_unix_us);
    let mut breakers: Vec<Breaker> = Vec::new();
    for number in 0..crossings.proxies.max(1) {
        let mut breaker = Breaker::new(start.instant);
        // Proxies differ in their jitter; here each by its number, so that an answer stays the same.
        breaker.set_service(start, Some(policy), number as u64 + 1);
        breakers.push(breaker);
    }
    let mut permits: Vec<Option<Permit>> = crossings.attempts.iter().map(|_| None).collect();
    let (mut tally, mut trips) = (Tally::default(), Vec::new());
    let mut trouble = Trouble::default();
    happen(&crossings.attempts, |at_us, which, moment| {
        let attempt = &crossings.attempts[which];
        let (now, breaker) = (clock.at(at_us), &mut breakers[attempt.proxy]);
        match moment {
            Moment::Sent => {
                permits[which] = breaker.admit(now, crossing(attempt)).ok();
                tally.add(attempt, permits[which].is_none());
            }
            Moment::Ended(end) => {
                trouble.ended(at_us, end);
                if let Some(permit) = permits[which].take() {
                    breaker.on_outcome(now, permit, outcome(end));
                }
            }
        }
        for change in breaker.take_changes() {
            note(&mut trips, attempt.proxy, change, trouble.since_us);
        }
    });
    trips.sort_by_key(|trip| trip.opened);
    let trip = of_incident(&trips, incident_at);
    let seconds = |from_ms: u64, to_ms: u64| (to_ms as f64 - from_ms as f64) / 1e3;
    Tripped {
        policy: Policy::from(policy),
        opened_at: trip.map(|trip| trip.opened),
        closed_at: trip.and_then(|trip| trip.closed),
        cause: trip.map(|trip| trip.cause.as_str()),
        after_first_failure_s: trip
            .map(|trip| seconds(trip.first_failure_us / 1_000, trip.opened.0)),
        before_incident_s: trip.map(|trip| seconds(trip.opened.0, incident_at.0)),
        openings: trips.len() as u64,
        failures: trouble.failures,
        given_up: trouble.given_up,
        refusals: tally.into(),
    }
}

/// Failures as they come.
#[derive(Default)]
struct Trouble {
    /// When the present trouble began; 0 before any.
    since_us: u64,
    last_us: u64,
    failures: u64,
    given_up: u64,
}

impl Trouble {
    fn ended(&mut self, at_us: u64, end: End) {
        match end {
            End::Success => (),
            End::GivenUp => self.given_up += 1,
            End::Failure => {
                if self.failures == 0 || self.last_us + TROUBLE_GAP_US < at_us {
                    self.since_us = at_us;
                }
                self.last_us = at_us;
                self.failures += 1;
            }
        }
    }
}

fn note(trips: &mut Vec<Trip>, proxy: usize, change: breaker::Change, first_failure_us: u64) {
    let at = Stamp(change.at_unix_ms);
    match (change.from, change.to) {
        (BreakerState::Closed, BreakerState::Open) => {
            let cause = change.cause;
            trips.push(Trip { proxy, opened: at, closed: None, cause, first_failure_us });
        }
        (_, BreakerState::Closed) => {
            let last = trips.iter_mut().rfind(|trip| trip.proxy == proxy);
            if let Some(trip) = last {
                trip.closed = Some(at);
            }
        }
        _ => (),
    }
}

/// The opening that belongs to an incident: the first that was not over when it fired, else the last.
fn of_incident(trips: &[Trip], incident_at: Stamp) -> Option<&Trip> {
    let is_over = |trip: &&Trip| trip.closed.is_some_and(|closed| closed < incident_at);
    trips.iter().find(|trip| !is_over(trip)).or(trips.last())
}

/// What the default retry budget would have done, had the retries been a proxy's own.
fn budgeted(clock: Clock, crossings: &Crossings) -> Budgeted {
    let start = clock.at(clock.start_unix_us).instant;
    let budget = || Budget::new(start, None, None);
    let mut budgets: Vec<(Budget, u64)> =
        (0..crossings.proxies.max(1)).map(|_| (budget(), 0)).collect();
    let mut permits: Vec<Option<RetryPermit>> = crossings.attempts.iter().map(|_| None).collect();
    let (mut tally, mut first_at) = (Tally::default(), None);
    happen(&crossings.attempts, |at_us, which, moment| {
        let attempt = &crossings.attempts[which];
        let (now, (budget, in_flight)) = (clock.at(at_us), &mut budgets[attempt.proxy]);
        let is_retry = attempt.kind == Kind::Retry;
        match moment {
            Moment::Sent if is_retry => {
                permits[which] = budget.take(now.instant, *in_flight).ok();
                let is_refused = permits[which].is_none();
                tally.add(attempt, is_refused);
                *in_flight += u64::from(!is_refused);
                first_at = first_at.or(is_refused.then_some(Stamp(now.unix_ms)));
            }
            Moment::Sent => {
                budget.request(now.instant);
                *in_flight += 1;
            }
            Moment::Ended(_) => match permits[which].take() {
                Some(permit) => {
                    budget.give_back(permit);
                    *in_flight -= 1;
                }
                None => *in_flight -= u64::from(!is_retry),
            },
        }
    });
    Budgeted {
        percent: RETRY_BUDGET_DEFAULT.percent,
        interval_s: RETRY_BUDGET_DEFAULT.interval.as_secs(),
        retries_per_s_min: RETRY_BUDGET_DEFAULT.retries_per_s_min,
        first_at,
        refusals: tally.into(),
    }
}

fn quality(question: &Question, crossings: &Crossings) -> Quality {
    let Crossings { source, proxies, refused, left_out, .. } = *crossings;
    let is_sampled = crossings.attempts.iter().any(|attempt| 1.0 < attempt.weight);
    let mut note = match (source, proxies) {
        (Source::Proxies, 1) => "from what a proxy counted, spread evenly within each second",
        (Source::Proxies, _) => "from what proxies counted, spread evenly within each second",
        (Source::Spans, _) => "from spans, one by one, as if one proxy had sent them all",
    }
    .to_owned();
    let mut add = |is_so: bool, what: String| {
        if is_so {
            note.push_str("; ");
            note.push_str(&what);
        }
    };
    add(is_sampled, "of a sample, each standing for others".to_owned());
    add(0 < refused, format!("{refused} more were refused when it happened"));
    add(0 < left_out, format!("{left_out} more are too many to be played"));
    let callee = &question.name.destination;
    add(true, format!("what callers do once refused and how {callee} recovers is not recorded"));
    Quality {
        source: if source == Source::Proxies { "proxies" } else { "spans" },
        proxies: proxies as u64,
        sampled: is_sampled,
        refused_already: refused,
        left_out,
        note,
    }
}

const fn crossing(attempt: &Attempt) -> Crossing {
    let kind = match attempt.kind {
        Kind::First => breaker::Kind::First,
        Kind::Retry => breaker::Kind::Retry { of_refused: false },
        Kind::Hedge => breaker::Kind::Hedge,
    };
    Crossing { kind, trace: None }
}

/// As a proxy tells its breaker.
const fn outcome(end: End) -> breaker::Outcome {
    match end {
        End::Success => breaker::Outcome::Success,
        End::Failure => breaker::Outcome::Failure,
        End::GivenUp => breaker::Outcome::Cancelled,
    }
}

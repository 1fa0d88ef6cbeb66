//! What failures do to a circuit: the part of a breaker that a policy describes.
//!
//! ```text
//!   Closed ── too many failures in a row, or too few successes in the window ──▶ Open
//!     ▲                                                                        │  ▲
//!     │ the probe succeeds                              the open time is over  │  │ the probe fails:
//!     └───────────────────────────── HalfOpen ◀────────────────────────────────┘  │ twice as long
//!                                       └─────────────────────────────────────────┘
//! ```
//!
//! *Open* refuses everything, *half-open* lets one probe pass: its end decides. A probe whose caller
//! goes away frees its place; one that does not end for as long as the circuit was open gives its
//! place to another, so that a stream of hours does not hold the circuit half-open.
//!
//! Failures in a row come first. The window is exact, in ten buckets, and looked at with each end of
//! an attempt. Both begin anew when the circuit closes.
//!
//! In *shadow* the same happens, but nothing is refused: attempts that would have been are counted,
//! and how many of them succeeded all the same. They drive nothing, because they would not have
//! been there.

mod shadow;

pub use shadow::{ShadowStatus, ShadowTrip};

use super::{Outcome, Refused, Standing};
use crate::buckets::Buckets;
use fusebox_proto::Now;
use fusebox_proto::command::BreakerState;
use fusebox_proto::policy;
use fusebox_proto::report::Cause;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use shadow::Shadow;
use std::time::{Duration, Instant};

/// A probe has at least this long before another one may pass beside it.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// No circuit stays open for longer, whatever a policy says.
const OPEN_MAX: Duration = Duration::from_hours(24);

/// Columns of the window.
const SUCCESSES: usize = 0;
const FAILURES: usize = 1;

/// The failure-driven part of a breaker.
#[derive(Debug)]
pub(super) struct Service {
    policy: policy::ServiceBreaker,
    /// The process's own, so that proxies differ in their jitter.
    seed: u64,
    stage: Stage,
    /// Counts changes, so that attempts admitted before one are told apart.
    epoch: u64,
    /// When its state began.
    since: Instant,
    /// Why it is where it is.
    cause: Cause,
    /// Times that it opened.
    openings: u64,
    shadow: Shadow,
}

#[derive(Debug)]
enum Stage {
    Closed {
        in_a_row: u32,
        window: Option<Buckets<2>>,
    },
    Open {
        until: Instant,
        /// How long it is open, without jitter.
        time: Duration,
    },
    HalfOpen {
        /// How long it was open.
        time: Duration,
        /// Probes that are out.
        probes: u32,
        /// When another one may pass beside them.
        patience: Instant,
    },
}

/// An attempt that was let pass.
#[derive(Debug)]
pub(super) struct Pass {
    epoch: u64,
    /// The opening that would have refused it, in shadow.
    spared: Option<u64>,
}

impl Service {
    pub(super) fn new(now: Instant, policy: policy::ServiceBreaker, seed: u64) -> Self {
        Self {
            policy,
            seed,
            stage: closed(now, policy),
            epoch: 0,
            since: now,
            cause: Cause::Unknown,
            openings: 0,
            shadow: Shadow::default(),
        }
    }

    /// Follows a change of policy. What is counted, and an open circuit, stay, unless the policy
    /// comes out of the shadow or goes into it.
    pub(super) fn set_policy(&mut self, now: Now, policy: policy::ServiceBreaker) {
        let old = std::mem::replace(&mut self.policy, policy);
        if old.shadow != policy.shadow && self.state() != BreakerState::Closed {
            self.close(now, Cause::Policy);
        }
        let length = |policy: policy::ServiceBreaker| policy.success_window.map(|own| own.window);
        if let Stage::Closed { window, .. } = &mut self.stage
            && length(old) != length(policy)
        {
            *window = length(policy).map(|length| Buckets::new(now.instant, length));
        }
    }

    /// Where the circuit stands, or would stand in shadow.
    pub(super) const fn state(&self) -> BreakerState {
        match self.stage {
            Stage::Closed { .. } => BreakerState::Closed,
            Stage::Open { .. } => BreakerState::Open,
            Stage::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Where it stands for callers.
    pub(super) const fn enforced(&self) -> BreakerState {
        if self.policy.shadow { BreakerState::Closed } else { self.state() }
    }

    /// Where it would stand, in shadow.
    pub(super) const fn shadowed(&self) -> BreakerState {
        if self.policy.shadow { self.state() } else { BreakerState::Closed }
    }

    pub(super) const fn cause(&self) -> Cause {
        self.cause
    }

    /// When [`elapse`](Self::elapse) has work to do: the end of the open time.
    pub(super) const fn next(&self) -> Option<Instant> {
        match self.stage {
            Stage::Open { until, .. } => Some(until),
            Stage::Closed { .. } | Stage::HalfOpen { .. } => None,
        }
    }

    /// The open time is over.
    pub(super) const fn elapse(&mut self) {
        if let Stage::Open { until, time } = self.stage {
            self.stage = Stage::HalfOpen { time, probes: 0, patience: until };
            self.changed(until, Cause::EjectionElapsed);
        }
    }

    /// What refuses an attempt now.
    pub(super) fn refusal(&self, now: Instant) -> Option<Refused> {
        if self.policy.shadow { None } else { self.judgement(now) }
    }

    /// What would refuse it, were it not for the shadow.
    fn judgement(&self, now: Instant) -> Option<Refused> {
        match self.stage {
            Stage::Open { .. } => Some(Refused::Open),
            Stage::HalfOpen { probes, patience, .. } if 0 < probes && now < patience => {
                Some(Refused::HalfOpen)
            }
            Stage::Closed { .. } | Stage::HalfOpen { .. } => None,
        }
    }

    /// Lets an attempt pass that nothing refuses.
    pub(super) fn admit(&mut self, now: Instant) -> Pass {
        debug_assert!(self.refusal(now).is_none());
        let mut pass = Pass { epoch: self.epoch, spared: None };
        if self.judgement(now).is_some() {
            pass.spared = self.shadow.spare();
        } else if let Stage::HalfOpen { time, probes, patience } = &mut self.stage {
            *probes += 1;
            *patience = now + (*time).max(PATIENCE_MIN);
        }
        pass
    }

    /// Learns how an attempt ended. Ends from an earlier epoch say nothing about this one.
    pub(super) fn ended(&mut self, now: Now, pass: &Pass, outcome: Outcome) {
        if let Some(trip) = pass.spared {
            self.shadow.ended(trip, outcome);
            return;
        }
        if pass.epoch != self.epoch {
            return;
        }
        match (&mut self.stage, outcome) {
            (Stage::HalfOpen { probes, .. }, Outcome::Cancelled) => *probes -= 1,
            (Stage::HalfOpen { .. }, Outcome::Success) => self.close(now, Cause::ProbeSucceeded),
            (Stage::HalfOpen { time, .. }, Outcome::Failure) => {
                let doubled = time.saturating_mul(2).min(self.policy.open_max);
                self.open(now, doubled, Cause::ProbeFailed);
            }
            (Stage::Closed { in_a_row, window }, Outcome::Success | Outcome::Failure) => {
                let has_failed = outcome == Outcome::Failure;
                *in_a_row = if has_failed { in_a_row.saturating_add(1) } else { 0 };
                if let Some(window) = window {
                    window.add(now.instant, if has_failed { FAILURES } else { SUCCESSES });
                }
                if let Some(cause) = self.reason_to_open(now.instant) {
                    self.open(now, self.policy.open_min, cause);
                }
            }
            (Stage::Closed { .. }, Outcome::Cancelled) | (Stage::Open { .. }, _) => (),
        }
    }

    /// Moves towards closed: at once, or with a probe.
    pub(super) fn reset(&mut self, now: Now, at_once: bool) {
        match self.stage {
            Stage::Closed { .. } => (),
            _ if at_once => self.close(now, Cause::Operator),
            Stage::Open { time, .. } => {
                self.stage = Stage::HalfOpen { time, probes: 0, patience: now.instant };
                self.changed(now.instant, Cause::Operator);
            }
            Stage::HalfOpen { .. } => (),
        }
    }

    /// What it does in shadow.
    pub(super) fn shadow(&self, now: Instant) -> Option<ShadowStatus> {
        let standing = Standing {
            state: self.state(),
            cause: self.cause,
            since: now.saturating_duration_since(self.since),
            remaining: self.next().map(|until| until.saturating_duration_since(now)),
            percent: None,
            revision: 0,
            refused: self.shadow.refused_lately(),
        };
        self.policy.shadow.then(|| self.shadow.status(standing))
    }

    pub(super) fn take_shadow_trips(&mut self) -> impl Iterator<Item = ShadowTrip> {
        self.shadow.take()
    }

    fn reason_to_open(&mut self, now: Instant) -> Option<Cause> {
        let Stage::Closed { in_a_row, window } = &mut self.stage else { return None };
        if self.policy.consecutive_failures.is_some_and(|max| max <= *in_a_row && 0 < *in_a_row) {
            return Some(Cause::ConsecutiveFailures);
        }
        let (rule, window) = (self.policy.success_window?, window.as_mut()?);
        let [successes, failures] = window.sums(now);
        let total = successes + failures;
        let is_enough = u64::from(rule.requests_min.max(1)) <= total;
        let is_low = (successes as f64) * 100.0 < rule.threshold_percent * total as f64;
        (is_enough && is_low).then_some(Cause::SuccessWindow)
    }

    fn open(&mut self, now: Now, time: Duration, cause: Cause) {
        let time = time.min(OPEN_MAX);
        self.openings += 1;
        let point: f64 = StdRng::seed_from_u64(self.seed ^ self.openings).random();
        let jitter = time.as_secs_f64() * self.policy.jitter.clamp(0.0, 1.0) * point;
        let jitter = Duration::try_from_secs_f64(jitter).unwrap_or_default();
        if self.policy.shadow {
            self.shadow.opened(self.openings, now.unix_ms, cause);
        }
        self.stage = Stage::Open { until: now.instant + time + jitter, time };
        self.changed(now.instant, cause);
    }

    fn close(&mut self, now: Now, cause: Cause) {
        self.shadow.closed(now.unix_ms);
        self.stage = closed(now.instant, self.policy);
        self.changed(now.instant, cause);
    }

    const fn changed(&mut self, at: Instant, cause: Cause) {
        self.epoch += 1;
        self.since = at;
        self.cause = cause;
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(self.policy.shadow || !self.shadow.is_running());
        debug_assert!(match self.stage {
            Stage::Closed { .. } => !self.shadow.is_running(),
            Stage::Open { time, .. } | Stage::HalfOpen { time, .. } => time <= OPEN_MAX,
        });
    }
}

fn closed(now: Instant, policy: policy::ServiceBreaker) -> Stage {
    let window = policy.success_window.map(|rule| Buckets::new(now, rule.window));
    Stage::Closed { in_a_row: 0, window }
}

#[cfg(test)]
pub(super) mod tests;

//! The circuit of one edge: may this attempt cross?
//!
//! Electrical convention: a *closed* circuit conducts, an *open* one refuses. An operator's command
//! is a lease: it holds the circuit in a state that refuses something, and ends in the proxy, on
//! its monotonic clock, exactly at its TTL. The load that made someone trip may still be waiting
//! then, so a lease is followed by a ramp that lets a growing share of what it refused pass, and
//! watches.
//!
//! ```text
//!   any state ── trip ──▶ RetriesMuted, Capped, Shedding or ForcedOpen
//!                                  │ the TTL ran out, or a reset
//!                                  ▼
//!                              HalfOpen   25 % ─▶ 50 % ─▶ 75 % ─▶ 100 %
//!                                  │          a step each 5 s while attempts end well,
//!                                  │          a step back when they fail
//!                                  ▼ after the last step, or 60 s after the ramp began
//!   any state ── reset now ────▶ Closed
//! ```
//!
//! The ramp only delays: nothing re-trips by itself, and 60 s after a lease the circuit is closed
//! whatever the callee does. Commands apply in order of revision, never backwards, and applying
//! one twice changes nothing.
//!
//! Where a policy says so, failures drive the circuit too (`service`). The two parts do not know of
//! each other: an attempt crosses if both let it, and the state is that of the part that refuses
//! more. A reset moves both towards closed.
//!
//! Each change begins a new *epoch* of its part. A [`Permit`] carries the epochs in which it was
//! given, and the end of an attempt from an earlier one is ignored: it says nothing about the
//! circuit of now.
//!
//! Pure: no IO, no clock, no task. Time enters as `now`.

mod crossing;
mod force;
mod hold;
mod ramp;
mod service;
mod standing;

pub use crossing::{Crossing, Kind, Outcome, Permit, Refused};
use force::{Force, Stage, check};
use fusebox_proto::command::{AckResult, BreakerState, Command, HeldLease, Verb};
use fusebox_proto::report::Cause;
use fusebox_proto::{Now, policy};
use hold::Hold;
use ramp::{Judgement, Ramp};
use service::Service;
pub use service::{ShadowStatus, ShadowTrip};
use standing::Changes;
pub use standing::{CHANGES_MAX, Change, Standing};
use std::time::Instant;

/// The circuit breaker of one edge.
#[derive(Debug)]
pub struct Breaker {
    /// What an operator holds the circuit with; `None` while nobody does.
    force: Option<Force>,
    /// What failures do to it; `None` where no policy asks for that.
    service: Option<Service>,
    /// Counts changes of the operator's part, so that attempts admitted before one are told apart.
    epoch: u64,
    /// When the state began.
    since: Instant,
    /// Why the operator's part is where it is.
    cause: Cause,
    /// Of the newest command applied; 0 before the first.
    revision: u64,
    /// Attempts refused since the state began.
    refused: u64,
    changes: Changes,
}

/// What the outside sees: where the circuit stands, and where it would, in shadow.
#[derive(Clone, Copy)]
struct Seen {
    state: BreakerState,
    shadow: BreakerState,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(now: Instant) -> Self {
        Self {
            force: None,
            service: None,
            epoch: 0,
            since: now,
            cause: Cause::Unknown,
            revision: 0,
            refused: 0,
            changes: Changes::new(),
        }
    }

    /// Follows a change of policy. `seed` is the process's own: for jitter.
    pub fn set_service(&mut self, now: Now, policy: Option<policy::ServiceBreaker>, seed: u64) {
        self.handle_timeout(now);
        let from = self.seen();
        match (&mut self.service, policy) {
            (Some(service), Some(policy)) => service.set_policy(now, policy),
            (none, Some(policy)) => *none = Some(Service::new(now.instant, policy, seed)),
            (some, None) => *some = None,
        }
        self.record(now, now.instant, from, Cause::Policy);
    }

    /// Asks leave for one attempt.
    ///
    /// # Errors
    /// What refuses it.
    pub fn admit(&mut self, now: Now, crossing: Crossing) -> Result<Permit, Refused> {
        self.handle_timeout(now);
        let by_failures = self.service.as_ref().and_then(|service| service.refusal(now.instant));
        // The operator's word comes first, but a place in a ramp is not taken in vain.
        let refused = match (&mut self.force, by_failures) {
            (Some(force), Some(_)) if force.state() == BreakerState::ForcedOpen => {
                Some(Refused::ForcedOpen)
            }
            (Some(force), None) => force.admit(now.instant, crossing).err(),
            (_, by_failures) => by_failures,
        };
        if let Some(refused) = refused {
            self.refused += 1;
            return Err(refused);
        }
        let pass = self.service.as_mut().map(|service| service.admit(now.instant));
        Ok(Permit { epoch: self.epoch, pass })
    }

    /// Learns how an admitted attempt ended.
    pub fn on_outcome(&mut self, now: Now, permit: Permit, outcome: Outcome) {
        self.handle_timeout(now);
        let from = self.seen();
        if let (Some(service), Some(pass)) = (&mut self.service, permit.pass) {
            service.ended(now, &pass, outcome);
            let cause = service.cause();
            self.record(now, now.instant, from, cause);
        }
        // Admitted before the last change, it says nothing about this state.
        if permit.epoch == self.epoch
            && let Some(Force { stage: Stage::Ramp(ramp), hold, .. }) = &mut self.force
            && ramp.on_outcome(now.instant, outcome) == Judgement::Moved
        {
            hold.begin_step();
            self.epoch += 1;
            self.cause = Cause::ProbeFailed;
        }
        self.check_invariants();
    }

    /// Applies an operator's command, if it is newer than the one in force.
    pub fn apply(&mut self, now: Now, command: &Command) -> AckResult {
        self.handle_timeout(now);
        if let Err(reason) = check(command) {
            return AckResult::Rejected { reason };
        }
        if command.revision < self.revision {
            return AckResult::Superseded { revision: self.revision };
        }
        if command.revision == self.revision {
            return AckResult::Applied;
        }
        self.revision = command.revision;
        match command.verb {
            Verb::Trip { action, ttl, proxies } => {
                let from = self.seen();
                self.force = Some(Force {
                    command: command.clone(),
                    hold: Hold::new(now.instant, action, proxies),
                    stage: Stage::Lease { until: now.instant + ttl },
                });
                self.changed(now, now.instant, from, Cause::Operator);
            }
            Verb::Reset { at_once } => {
                if let Some(force) = &mut self.force {
                    force.command = command.clone();
                }
                self.reset(now, at_once);
            }
        }
        AckResult::Applied
    }

    /// Ends a lease, through the ramp or at once, and an opening by failures, with a probe or at
    /// once. A ramp that already runs goes on, unless it shall end at once. Moves towards closed
    /// only, and leaves the revision in force as it is.
    pub fn reset(&mut self, now: Now, at_once: bool) {
        self.handle_timeout(now);
        let from = self.seen();
        if let Some(service) = &mut self.service {
            service.reset(now, at_once);
        }
        match &mut self.force {
            Some(Force { stage: Stage::Lease { .. }, .. }) if !at_once => {
                self.begin_ramp(now.instant);
                self.changed(now, now.instant, from, Cause::Operator);
            }
            force @ Some(_) if at_once => {
                *force = None;
                self.changed(now, now.instant, from, Cause::Operator);
            }
            Some(_) | None => self.record(now, now.instant, from, Cause::Operator),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let force = self.force.as_ref().map(Force::next);
        let service = self.service.as_ref().and_then(Service::next);
        force.into_iter().chain(service).min()
    }

    /// Lets time pass: ends leases, takes steps of the ramp, ends openings by failures. What was
    /// due earlier happens as of the time at which it was due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(due) = self.poll_timeout()
            && due <= now.instant
        {
            let from = self.seen();
            if let Some(service) = &mut self.service
                && service.next() == Some(due)
            {
                service.elapse();
                self.record(now, due, from, Cause::EjectionElapsed);
            } else {
                self.elapse(now, due, from);
            }
        }
        self.check_invariants();
    }

    /// The state as of the last call that took `now`.
    pub fn state(&self) -> BreakerState {
        force_state(self.force.as_ref()).max(self.service_state())
    }

    /// Where the circuit stands as of the last call that took `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        let (force, service) = (self.force.as_ref(), self.service.as_ref());
        let by_failures = service.filter(|_| force_state(force) < self.service_state());
        let remaining = match by_failures {
            Some(service) => service.next().map(|until| until.saturating_duration_since(now)),
            None => force.map(|force| force.remaining(now)),
        };
        let percent = if by_failures.is_some() { None } else { force.and_then(Force::percent) };
        Standing {
            state: self.state(),
            cause: by_failures.map_or(self.cause, Service::cause),
            since: now.saturating_duration_since(self.since),
            remaining,
            percent,
            revision: self.revision,
            refused: self.refused,
        }
    }

    /// What failures would do to the circuit, where that is in shadow.
    pub fn shadow(&self, now: Instant) -> Option<ShadowStatus> {
        self.service.as_ref().and_then(|service| service.shadow(now))
    }

    /// Openings that did not happen, because they were in shadow, and that are over.
    pub fn take_shadow_trips(&mut self) -> impl Iterator<Item = ShadowTrip> {
        self.service.iter_mut().flat_map(Service::take_shadow_trips)
    }

    /// The lease or ramp in force, with its time left.
    pub fn held(&self, now: Instant) -> Option<HeldLease> {
        self.force.as_ref().map(|force| force.held(now))
    }

    /// The changes since the last call, in order.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.take()
    }

    /// How many changes were dropped because nobody took them.
    pub const fn changes_dropped(&self) -> u64 {
        self.changes.dropped
    }

    /// The operator's part has come to the end of a lease, or of a step.
    fn elapse(&mut self, now: Now, due: Instant, from: Seen) {
        let Some(force) = &mut self.force else { return };
        match &mut force.stage {
            Stage::Lease { .. } => {
                self.begin_ramp(due);
                self.changed(now, due, from, Cause::LeaseExpired);
            }
            Stage::Ramp(ramp) => match ramp.judge() {
                Judgement::Over => {
                    self.force = None;
                    self.changed(now, due, from, Cause::RampCompleted);
                }
                judgement => {
                    force.hold.begin_step();
                    self.epoch += u64::from(judgement == Judgement::Moved);
                }
            },
        }
    }

    fn begin_ramp(&mut self, at: Instant) {
        if let Some(force) = &mut self.force {
            force.hold.begin_step();
            force.stage = Stage::Ramp(Ramp::new(at, force.hold.places()));
        }
    }

    fn service_state(&self) -> BreakerState {
        self.service.as_ref().map_or(BreakerState::Closed, Service::enforced)
    }

    /// Begins a new epoch of the operator's part after a change of it from `from`.
    fn changed(&mut self, now: Now, at: Instant, from: Seen, cause: Cause) {
        self.epoch += 1;
        self.cause = cause;
        self.record(now, at, from, cause);
    }

    fn seen(&self) -> Seen {
        let shadow = self.service.as_ref().map_or(BreakerState::Closed, Service::shadowed);
        Seen { state: self.state(), shadow }
    }

    /// Notes a change from `from` that happened `at`, at or before `now`. What the other part hides
    /// is no change, nor is a renewed lease.
    fn record(&mut self, now: Now, at: Instant, from: Seen, cause: Cause) {
        let to = self.seen();
        let ago_ms = now.instant.saturating_duration_since(at).as_millis() as u64;
        let at_unix_ms = now.unix_ms.saturating_sub(ago_ms);
        let mut note = |from, to, revision, shadow| {
            if from != to {
                self.changes.note(Change { from, to, cause, revision, at_unix_ms, shadow });
            }
        };
        note(from.state, to.state, self.revision, false);
        note(from.shadow, to.shadow, 0, true);
        if from.state != to.state {
            self.since = at;
            self.refused = 0;
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        debug_assert!(self.force.is_none() || 0 < self.epoch);
        if let Some(Force { stage: Stage::Ramp(ramp), .. }) = &self.force {
            ramp.check_invariants();
        }
        if let Some(service) = &self.service {
            service.check_invariants();
        }
    }
}

fn force_state(force: Option<&Force>) -> BreakerState {
    force.map_or(BreakerState::Closed, Force::state)
}

#[cfg(test)]
mod backlog;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod tests;

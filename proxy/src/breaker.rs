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
//! Each change begins a new *epoch*. A [`Permit`] carries the epoch in which it was given, and the
//! end of an attempt from an earlier one is ignored: it says nothing about the circuit of now.
//!
//! Pure: no IO, no clock, no task. Time enters as `now`.

mod force;
mod hold;
mod ramp;

use force::{Force, Stage, check};
use fusebox_proto::Now;
use fusebox_proto::command::{AckResult, Action, BreakerState, Command, HeldLease, Verb};
use fusebox_proto::report::Cause;
use fusebox_proto::trace::TraceId;
use hold::Hold;
use ramp::{Judgement, Ramp};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More changes than this between two reports are dropped, oldest first, and counted.
pub const CHANGES_MAX: usize = 64;

/// The circuit breaker of one edge.
#[derive(Debug)]
pub struct Breaker {
    /// What holds the circuit; `None` while it is closed.
    force: Option<Force>,
    /// Counts changes, so that attempts admitted before one are told apart.
    epoch: u64,
    /// When the state began.
    since: Instant,
    /// Why the circuit is where it is.
    cause: Cause,
    /// Of the newest command applied; 0 before the first.
    revision: u64,
    /// Attempts refused since the state began.
    refused: u64,
    changes: VecDeque<Change>,
    changes_dropped: u64,
}

/// What the breaker must know of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// What it is.
    pub kind: Kind,
    /// Its trace, if it has one.
    pub trace: Option<TraceId>,
}

/// What an attempt is to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No repetition, as far as is known.
    First,
    /// A repetition.
    Retry {
        /// Of an attempt that was refused here.
        of_refused: bool,
    },
    /// A second attempt beside one in flight.
    Hedge,
}

impl Kind {
    /// Whether `mute-retries` is about it.
    pub const fn is_retry(self) -> bool {
        matches!(self, Self::Retry { .. })
    }
}

/// Leave to send one attempt. Handed back with its end.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    epoch: u64,
}

/// What refused an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The circuit is forced open.
    ForcedOpen,
    /// The ramp had no place.
    HalfOpen,
    /// Retries are muted.
    RetriesMuted,
    /// The rate is at its cap.
    Capped,
    /// It is in the share that is shed.
    Shed,
}

/// How an attempt ended, as far as it says something about the callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The callee answered well.
    Success,
    /// The callee failed.
    Failure,
    /// The caller went away.
    Cancelled,
}

/// A change of state, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// State before.
    pub from: BreakerState,
    /// State after.
    pub to: BreakerState,
    /// Why.
    pub cause: Cause,
    /// Of the newest command applied; 0 before the first.
    pub revision: u64,
    /// Wall clock, ms since the Unix epoch.
    pub at_unix_ms: u64,
}

/// Where a circuit stands, for reports and the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: BreakerState,
    /// Why it is there.
    pub cause: Cause,
    /// For how long.
    pub since: Duration,
    /// Time to the end of the lease, or to the latest end of the ramp.
    pub remaining: Option<Duration>,
    /// Share in percent: of retries that pass when muted, of first attempts refused when shedding,
    /// of what the lease refused that passes in a ramp.
    pub percent: Option<u8>,
    /// Of the newest command applied; 0 before the first.
    pub revision: u64,
    /// Attempts refused since the state began.
    pub refused: u64,
}

impl Breaker {
    /// A closed breaker.
    pub const fn new(now: Instant) -> Self {
        Self {
            force: None,
            epoch: 0,
            since: now,
            cause: Cause::Unknown,
            revision: 0,
            refused: 0,
            changes: VecDeque::new(),
            changes_dropped: 0,
        }
    }

    /// Asks leave for one attempt.
    ///
    /// # Errors
    /// What refuses it.
    pub fn admit(&mut self, now: Now, crossing: Crossing) -> Result<Permit, Refused> {
        self.handle_timeout(now);
        if let Some(force) = &mut self.force
            && let Err(refused) = force.admit(now.instant, crossing)
        {
            self.refused += 1;
            return Err(refused);
        }
        Ok(Permit { epoch: self.epoch })
    }

    /// Learns how an admitted attempt ended.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is spent once")]
    pub fn on_outcome(&mut self, now: Now, permit: Permit, outcome: Outcome) {
        self.handle_timeout(now);
        if permit.epoch != self.epoch {
            return; // Admitted before the last change: it says nothing about this state.
        }
        if let Some(Force { stage: Stage::Ramp(ramp), hold, .. }) = &mut self.force
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
                let from = self.state();
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

    /// Ends a lease, through the ramp or at once. A ramp that already runs goes on, unless it shall
    /// end at once. Moves towards closed only, and leaves the revision in force as it is.
    pub fn reset(&mut self, now: Now, at_once: bool) {
        self.handle_timeout(now);
        match &self.force {
            Some(Force { stage: Stage::Lease { .. }, .. }) if !at_once => {
                self.begin_ramp(now, now.instant, Cause::Operator);
            }
            Some(_) if at_once => self.close(now, now.instant, Cause::Operator),
            Some(_) | None => (),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.force.as_ref().map(Force::next)
    }

    /// Lets time pass: ends leases, takes steps of the ramp. What was due earlier happens as of the
    /// time at which it was due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(force) = &mut self.force
            && force.next() <= now.instant
        {
            let due = force.next();
            match &mut force.stage {
                Stage::Lease { .. } => self.begin_ramp(now, due, Cause::LeaseExpired),
                Stage::Ramp(ramp) => match ramp.judge() {
                    Judgement::Over => self.close(now, due, Cause::RampCompleted),
                    judgement => {
                        force.hold.begin_step();
                        self.epoch += u64::from(judgement == Judgement::Moved);
                    }
                },
            }
        }
        self.check_invariants();
    }

    /// The state as of the last call that took `now`.
    pub fn state(&self) -> BreakerState {
        self.force.as_ref().map_or(BreakerState::Closed, Force::state)
    }

    /// Where the circuit stands as of the last call that took `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        Standing {
            state: self.state(),
            cause: self.cause,
            since: now.saturating_duration_since(self.since),
            remaining: self.force.as_ref().map(|force| force.remaining(now)),
            percent: self.force.as_ref().and_then(Force::percent),
            revision: self.revision,
            refused: self.refused,
        }
    }

    /// The lease or ramp in force, with its time left.
    pub fn held(&self, now: Instant) -> Option<HeldLease> {
        self.force.as_ref().map(|force| force.held(now))
    }

    /// The changes since the last call, in order.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.drain(..)
    }

    /// How many changes were dropped because nobody took them.
    pub const fn changes_dropped(&self) -> u64 {
        self.changes_dropped
    }

    fn begin_ramp(&mut self, now: Now, at: Instant, cause: Cause) {
        let from = self.state();
        if let Some(force) = &mut self.force {
            force.hold.begin_step();
            force.stage = Stage::Ramp(Ramp::new(at, force.hold.places()));
        }
        self.changed(now, at, from, cause);
    }

    fn close(&mut self, now: Now, at: Instant, cause: Cause) {
        let from = self.state();
        self.force = None;
        self.changed(now, at, from, cause);
    }

    /// Begins a new epoch after a change from `from` that happened `at`, at or before `now`. A
    /// renewed lease is no change of state.
    fn changed(&mut self, now: Now, at: Instant, from: BreakerState, cause: Cause) {
        self.epoch += 1;
        self.cause = cause;
        let to = self.state();
        if from != to {
            self.since = at;
            self.refused = 0;
            if self.changes.len() == CHANGES_MAX {
                self.changes.pop_front();
                self.changes_dropped += 1;
            }
            let ago_ms = now.instant.saturating_duration_since(at).as_millis() as u64;
            let at_unix_ms = now.unix_ms.saturating_sub(ago_ms);
            let revision = self.revision;
            self.changes.push_back(Change { from, to, cause, revision, at_unix_ms });
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        debug_assert!(self.changes.len() <= CHANGES_MAX);
        debug_assert!(self.force.is_none() || 0 < self.epoch);
        if let Some(Force { stage: Stage::Ramp(ramp), .. }) = &self.force {
            ramp.check_invariants();
        }
    }
}

impl Refused {
    const fn by(action: Action) -> Self {
        match action {
            Action::MuteRetries { .. } => Self::RetriesMuted,
            Action::Cap { .. } => Self::Capped,
            Action::Shed { .. } => Self::Shed,
            Action::Open => Self::ForcedOpen,
        }
    }
}

#[cfg(test)]
mod tests;

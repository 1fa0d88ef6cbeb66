//! The way back from a lease to a closed circuit.

use super::Outcome;
use std::time::{Duration, Instant};

/// Steps of a ramp; each gives back an equal part of what the lease refused.
pub(super) const STEPS: u8 = 4;
/// How long a step lasts at least.
pub(super) const STEP: Duration = Duration::from_secs(5);
/// How long a ramp lasts at most, whatever the callee does.
pub(super) const RAMP_MAX: Duration = Duration::from_mins(1);
/// A step fails when one in this many of its attempts did.
const FAILED_ONE_IN: u32 = 5;

/// A ramp on one of its steps.
#[derive(Debug)]
pub(super) struct Ramp {
    /// 1 … [`STEPS`]
    step: u8,
    /// When the step is judged.
    step_until: Instant,
    /// When the ramp is over at the latest.
    until: Instant,
    /// Attempts that may be out at a time until one succeeds.
    places: u32,
    /// Whether one succeeded since the ramp began or last went back.
    proven: bool,
    tally: Tally,
}

/// How the attempts of a step ended.
#[derive(Debug, Default)]
struct Tally {
    in_flight: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It goes on.
    Stay,
    /// The same step begins again.
    Again,
    /// Another step began.
    Moved,
    /// The ramp is over.
    Over,
}

impl Ramp {
    pub(super) fn new(at: Instant, places: u32) -> Self {
        Self {
            step: 1,
            step_until: at + STEP,
            until: at + RAMP_MAX,
            places,
            proven: false,
            tally: Tally::default(),
        }
    }

    /// Percent of what the lease refused that this step lets pass.
    pub(super) const fn given_back(&self) -> u8 {
        self.step * (100 / STEPS)
    }

    /// Whether there is a place for one more attempt.
    pub(super) const fn has_place(&self) -> bool {
        self.proven || self.tally.in_flight < self.places
    }

    pub(super) const fn admitted(&mut self) {
        self.tally.in_flight += 1;
    }

    /// When the step is to be judged.
    pub(super) fn next(&self) -> Instant {
        self.step_until.min(self.until)
    }

    /// When it is over at the latest.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Counts the end of an attempt of this step, and goes a step back where too many fail.
    pub(super) fn on_outcome(&mut self, now: Instant, outcome: Outcome) -> Judgement {
        let tally = &mut self.tally;
        debug_assert!(0 < tally.in_flight, "an attempt of this step was in flight");
        tally.in_flight -= 1;
        match outcome {
            Outcome::Cancelled => tally.cancelled += 1,
            Outcome::Success => {
                tally.succeeded += 1;
                self.proven = true;
            }
            Outcome::Failure => {
                tally.failed += 1;
                if tally.succeeded + tally.failed <= tally.failed * FAILED_ONE_IN {
                    self.proven = false;
                    self.begin(now, self.step.saturating_sub(1).max(1));
                    return Judgement::Moved;
                }
            }
        }
        Judgement::Stay
    }

    /// Judges the step, which is due: [`next`](Self::next) has come.
    pub(super) fn judge(&mut self) -> Judgement {
        let due = self.next();
        if due == self.until || (self.step == STEPS && self.went_well()) {
            Judgement::Over
        } else if self.went_well() {
            self.begin(due, self.step + 1);
            Judgement::Moved
        } else {
            // Attempts hang or their callers give up: no failure, but no reason to let more pass.
            self.step_until = due + STEP;
            let in_flight = self.tally.in_flight;
            self.tally = Tally { in_flight, ..Tally::default() };
            Judgement::Again
        }
    }

    /// Most attempts ended well, or there was none.
    const fn went_well(&self) -> bool {
        let Tally { in_flight, succeeded, cancelled, .. } = self.tally;
        let nobody_came = in_flight == 0 && succeeded == 0 && cancelled == 0;
        nobody_came || (0 < succeeded && cancelled <= succeeded)
    }

    fn begin(&mut self, at: Instant, step: u8) {
        self.step = step;
        self.step_until = at + STEP;
        self.tally = Tally::default();
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!((1..=STEPS).contains(&self.step));
        debug_assert!(self.given_back() <= 100);
    }
}

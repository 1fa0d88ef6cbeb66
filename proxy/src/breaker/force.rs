//! A lease, and the ramp after it.

use super::hold::Hold;
use super::ramp::Ramp;
use super::{Crossing, Refused};
use fusebox_proto::command::{Action, BreakerState, Command, HeldLease, TTL_MAX, Verb};
use std::time::{Duration, Instant};

/// What holds a circuit that is not closed.
#[derive(Debug)]
pub(super) struct Force {
    pub(super) command: Command,
    pub(super) hold: Hold,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// The lease lasts.
    Lease { until: Instant },
    /// The lease is over.
    Ramp(Ramp),
}

impl Force {
    pub(super) fn admit(&mut self, now: Instant, crossing: Crossing) -> Result<(), Refused> {
        match &mut self.stage {
            Stage::Lease { .. } => {
                let passes = self.hold.passes(now, crossing, 0);
                if passes { Ok(()) } else { Err(Refused::by(self.hold.action())) }
            }
            Stage::Ramp(ramp) => {
                let given_back = ramp.given_back();
                if !ramp.has_place() || !self.hold.passes(now, crossing, given_back) {
                    return Err(Refused::HalfOpen);
                }
                ramp.admitted();
                Ok(())
            }
        }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.stage {
            Stage::Lease { .. } => self.hold.action().state(),
            Stage::Ramp(_) => BreakerState::HalfOpen,
        }
    }

    pub(super) fn next(&self) -> Instant {
        match &self.stage {
            Stage::Lease { until } => *until,
            Stage::Ramp(ramp) => ramp.next(),
        }
    }

    pub(super) fn remaining(&self, now: Instant) -> Duration {
        let until = match &self.stage {
            Stage::Lease { until } => *until,
            Stage::Ramp(ramp) => ramp.until(),
        };
        until.saturating_duration_since(now)
    }

    pub(super) fn percent(&self) -> Option<u8> {
        match (&self.stage, self.hold.action()) {
            (Stage::Ramp(ramp), _) => Some(self.hold.passing(ramp.given_back())),
            (Stage::Lease { .. }, Action::MuteRetries { percent } | Action::Shed { percent }) => {
                Some(percent)
            }
            (Stage::Lease { .. }, Action::Cap { .. } | Action::Open) => None,
        }
    }

    /// The command with the time left of its lease: none while the ramp runs.
    pub(super) fn held(&self, now: Instant) -> HeldLease {
        let mut command = self.command.clone();
        if let Verb::Trip { ttl, .. } = &mut command.verb {
            *ttl = match &self.stage {
                Stage::Lease { .. } => self.remaining(now),
                Stage::Ramp(_) => Duration::ZERO,
            };
        }
        HeldLease { command, state: self.state() }
    }
}

/// What no proxy can enforce. The words of a command are checked where it is decoded; a breaker
/// that divides by a count and shifts a clock by a TTL checks its own figures again.
pub(super) fn check(command: &Command) -> Result<(), String> {
    if command.revision == 0 {
        return Err("revision: is 0; at least 1".into());
    }
    let Verb::Trip { action, ttl, proxies } = command.verb else {
        return Ok(());
    };
    if TTL_MAX < ttl || ttl.is_zero() {
        return Err(format!("ttl: is {ttl:?}; above 0 and at most {TTL_MAX:?}"));
    }
    if proxies == 0 {
        return Err("proxies: is 0; at least 1".into());
    }
    match action {
        Action::MuteRetries { percent } | Action::Shed { percent } if 100 < percent => {
            Err(format!("percent: is {percent}; at most 100"))
        }
        Action::Cap { attempts_per_s } if !attempts_per_s.is_finite() || attempts_per_s <= 0.0 => {
            Err(format!("attempts_per_s: is {attempts_per_s}; a number above 0"))
        }
        _ => Ok(()),
    }
}

//! What is remembered of a request under one of its keys.

use super::table::Record;
use super::{Class, End, Grade, OVERTAKING_MAX, Original, REQUEST_AGE_MAX};

/// The attempts of one request so far. Times are in ticks of the classifier; 0 is never.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    /// Last start or end of an attempt that was forwarded, or else the first refusal.
    touched_us: u64,
    /// Start of the last attempt that was first.
    first_us: u64,
    /// Last success beside which other attempts were in flight.
    succeeded_us: u64,
    /// Start of the last attempt that was taken for a hedge.
    hedge_us: u64,
    in_flight: u16,
    /// Attempts that failed and that nobody repeated yet: each invites one retry.
    owed: u16,
    /// Attempts that were forwarded.
    attempts: u16,
    /// Attempts that were given up while others were in flight: losers, if one of those wins.
    undecided: u16,
    /// How the last failed attempt ended.
    original: Original,
    /// Whether that was refused here.
    of_refused: bool,
}

/// What the end of an attempt says under one key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) is_hedge_loser: bool,
    pub(super) hedge_losers_before: u16,
    pub(super) hedge_was_retry: bool,
}

impl Record for Request {
    fn is_live(&self, now_us: u64) -> bool {
        0 < self.in_flight || self.is_fresh(now_us)
    }

    fn touched_us(&self) -> u64 {
        self.touched_us
    }
}

impl Request {
    /// Whether what is known is young enough to judge the next attempt by.
    pub(super) const fn is_fresh(&self, now_us: u64) -> bool {
        let age_us = now_us.saturating_sub(self.touched_us);
        self.touched_us != 0 && age_us < REQUEST_AGE_MAX.as_micros() as u64
    }

    /// What an attempt is that comes now, judged by this request; `None` if there is nothing to
    /// judge it by.
    pub(super) const fn judge(&self, grade: Grade) -> Option<Class> {
        let Self { original, of_refused, .. } = *self;
        if 0 < self.owed {
            Some(Class::Retry { grade, original, of_refused })
        } else if 0 < self.in_flight {
            Some(Class::Hedge)
        } else {
            None
        }
    }

    /// Whether a caller of the own application asked for this request anew, when the trace came in
    /// at `arrived_us`: what comes now is the first attempt for it. That was after the last first
    /// attempt; and where one failed that nobody repeated, after its end. Whoever gives up may be
    /// heard from again before that is seen.
    pub(super) const fn is_asked_anew(&self, arrived_us: u64) -> bool {
        let seen_us = arrived_us.saturating_add(OVERTAKING_MAX.as_micros() as u64);
        self.first_us < arrived_us && (self.owed == 0 || self.touched_us <= seen_us)
    }

    /// How long nothing of it has been under way, µs; `None` while something is.
    pub(super) const fn idle_us(&self, now_us: u64) -> Option<u64> {
        if self.in_flight == 0 { Some(now_us.saturating_sub(self.touched_us)) } else { None }
    }

    /// Attempts that were forwarded.
    pub(super) const fn attempts(&self) -> u16 {
        self.attempts
    }

    /// Whether there is nothing left to remember.
    pub(super) const fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.owed == 0
    }

    pub(super) fn forwarded(&mut self, now_us: u64, class: Class) {
        self.before(now_us, class);
        self.touched_us = now_us;
        self.in_flight = self.in_flight.saturating_add(1);
        self.attempts = self.attempts.saturating_add(1);
        match class {
            Class::Retry { .. } => self.owed = self.owed.saturating_sub(1),
            Class::Hedge => self.hedge_us = now_us,
            Class::First | Class::Unclassified => (),
        }
    }

    /// A refused attempt invites a retry like a failed one, but it renews nothing.
    pub(super) fn refused(&mut self, now_us: u64, class: Class, status: u16) {
        self.before(now_us, class);
        if self.touched_us == 0 {
            self.touched_us = now_us;
        }
        self.owe(Original::Status(status), true);
    }

    /// As if the last attempt had been refused instead of forwarded.
    pub(super) const fn withdrawn(&mut self, renewed_us: u64, class: Class, status: u16) {
        self.touched_us = renewed_us;
        self.in_flight = self.in_flight.saturating_sub(1);
        self.attempts = self.attempts.saturating_sub(1);
        match class {
            Class::Retry { original, of_refused, .. } => self.owe(original, of_refused),
            Class::First | Class::Unclassified | Class::Hedge => {
                self.owe(Original::Status(status), true);
            }
        }
    }

    /// An attempt that started at `started_us` ended.
    pub(super) fn ended(&mut self, now_us: u64, started_us: u64, end: End) -> Seen {
        self.begin_anew_if_stale(now_us);
        self.touched_us = now_us;
        self.in_flight = self.in_flight.saturating_sub(1);
        let mut seen = Seen::default();
        match end {
            End::Answered => {
                seen.hedge_losers_before = std::mem::take(&mut self.undecided);
                self.succeeded_us = now_us;
                self.owed = 0;
            }
            End::Failed { status } => self.owe(Original::Status(status), false),
            End::GivenUp if started_us <= self.succeeded_us => seen.is_hedge_loser = true,
            End::GivenUp if self.was_overtaken(now_us, started_us) => {
                self.hedge_us = 0;
                seen.hedge_was_retry = true;
            }
            End::GivenUp => {
                self.owe(Original::Timeout, false);
                self.undecided = self.undecided.saturating_add(1);
            }
        }
        if self.in_flight == 0 {
            self.undecided = 0;
        }
        seen
    }

    /// Whether the attempt that was taken for a hedge of this one came just before its end.
    const fn was_overtaken(&self, now_us: u64, started_us: u64) -> bool {
        let ago_us = now_us.saturating_sub(self.hedge_us);
        started_us < self.hedge_us && ago_us <= OVERTAKING_MAX.as_micros() as u64
    }

    const fn owe(&mut self, original: Original, of_refused: bool) {
        self.owed = self.owed.saturating_add(1);
        self.original = original;
        self.of_refused = of_refused;
    }

    /// A first attempt has nothing to do with those before it.
    fn before(&mut self, now_us: u64, class: Class) {
        if class == Class::First {
            self.begin_anew();
            self.first_us = now_us;
        } else {
            self.begin_anew_if_stale(now_us);
        }
    }

    /// What is too old to judge by says nothing any more.
    fn begin_anew_if_stale(&mut self, now_us: u64) {
        if !self.is_fresh(now_us) {
            self.begin_anew();
        }
    }

    /// Attempts in flight still are, and may still have lost to an earlier success.
    fn begin_anew(&mut self) {
        let Self { succeeded_us, in_flight, .. } = *self;
        *self = Self { succeeded_us, in_flight, ..Self::default() };
    }
}

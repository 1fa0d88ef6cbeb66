//! What a breaker in shadow would have done.

use crate::breaker::{Outcome, Standing};
use fusebox_proto::report::Cause;
use std::collections::VecDeque;

/// More trips than this between two reports are dropped, oldest first, and counted.
const TRIPS_MAX: usize = 64;

/// One opening that did not happen: "would have tripped at 03:02:11, refused 1,940 requests of which
/// 61 would have succeeded".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowTrip {
    /// Counts up by one with each opening.
    pub number: u64,
    /// When it would have opened first, ms since the Unix epoch.
    pub opened_unix_ms: u64,
    /// When it would have closed again. `None`: it would not be closed yet.
    pub closed_unix_ms: Option<u64>,
    /// Why.
    pub cause: Cause,
    /// Attempts that it would have refused.
    pub refused: u64,
    /// Of them, those that succeeded. Attempts that are still out count when they end, if that is
    /// before the trip is taken.
    pub succeeded: u64,
}

/// A breaker in shadow as the admin page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowStatus {
    /// Where the circuit would stand, and what it would have refused since it opened last.
    pub standing: Standing,
    /// Of that, what succeeded.
    pub succeeded_lately: u64,
    /// Attempts that it would have refused since the breaker began.
    pub refused: u64,
    /// Of them, those that succeeded.
    pub succeeded: u64,
    /// Trips that were dropped because nobody took them.
    pub trips_dropped: u64,
}

/// Openings that did not happen.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    /// The one that lasts.
    running: Option<ShadowTrip>,
    /// The one before, taken or not.
    last: Option<ShadowTrip>,
    over: VecDeque<ShadowTrip>,
    dropped: u64,
    refused: u64,
    succeeded: u64,
}

impl Shadow {
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The circuit would open; if its probe just failed, for longer.
    pub(super) const fn opened(&mut self, number: u64, opened_unix_ms: u64, cause: Cause) {
        if self.running.is_none() {
            self.running = Some(ShadowTrip {
                number,
                opened_unix_ms,
                closed_unix_ms: None,
                cause,
                refused: 0,
                succeeded: 0,
            });
        }
    }

    /// The circuit would close.
    pub(super) fn closed(&mut self, unix_ms: u64) {
        let Some(trip) = self.running.take() else { return };
        if self.over.len() == TRIPS_MAX {
            self.over.pop_front();
            self.dropped += 1;
        }
        let trip = ShadowTrip { closed_unix_ms: Some(unix_ms), ..trip };
        self.last = Some(trip);
        self.over.push_back(trip);
    }

    /// Counts an attempt that would have been refused, and says by which trip.
    pub(super) fn spare(&mut self) -> Option<u64> {
        let trip = self.running.as_mut()?;
        trip.refused += 1;
        self.refused += 1;
        Some(trip.number)
    }

    /// Counts the end of an attempt that would have been refused.
    pub(super) fn ended(&mut self, number: u64, outcome: Outcome) {
        if outcome == Outcome::Success {
            self.succeeded += 1;
            let trips = self.over.iter_mut().chain(&mut self.last).chain(&mut self.running);
            trips.filter(|trip| trip.number == number).for_each(|trip| trip.succeeded += 1);
        }
    }

    /// By the trip that lasts, or else by the last one.
    pub(super) fn refused_lately(&self) -> u64 {
        self.running.or(self.last).map_or(0, |trip| trip.refused)
    }

    pub(super) fn status(&self, standing: Standing) -> ShadowStatus {
        let Self { refused, succeeded, dropped, .. } = self;
        let (refused, succeeded) = (*refused, *succeeded);
        let succeeded_lately = self.running.or(self.last).map_or(0, |trip| trip.succeeded);
        ShadowStatus { standing, succeeded_lately, refused, succeeded, trips_dropped: *dropped }
    }

    /// Those that are over.
    pub(super) fn take(&mut self) -> impl Iterator<Item = ShadowTrip> {
        self.over.drain(..)
    }
}

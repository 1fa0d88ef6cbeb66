//! The shell of a [`Station`]: requests wait here for their work to be done.

use crate::clock::Clock;
use crate::station::{Event, Output, Profile, Slowness, Station, Ticket};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// One instance's workers and queue, in real time.
#[derive(Debug)]
pub(crate) struct Desk {
    clock: Clock,
    state: Mutex<State>,
    /// Something may end sooner than the timer knows.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    station: Station,
    /// Bounded by the station's queue and workers, and by the connections of callers.
    waiting: HashMap<Ticket, oneshot::Sender<bool>>,
    tickets: Ticket,
}

impl Desk {
    /// An idle desk.
    pub(crate) fn new(clock: Clock, profile: Profile, seed: u64) -> Self {
        let station = Station::new(profile, seed);
        let state = State { station, waiting: HashMap::new(), tickets: 0 };
        Self { clock, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Work takes longer from now on.
    pub(crate) fn slow(&self, slowness: Slowness) {
        self.handle(Event::Slow(slowness));
    }

    /// Waits until a worker has done the work of one request. `false`: there was no place in the
    /// queue. Dropped, the request is abandoned.
    pub(crate) async fn work(&self) -> bool {
        let (sender, done) = oneshot::channel();
        let ticket = {
            let mut state = self.state();
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.insert(ticket, sender);
            ticket
        };
        let _visit = Visit { desk: self, ticket };
        self.handle(Event::Arrive(ticket));
        done.await.unwrap_or(false)
    }

    /// Ends work when it is due.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        loop {
            let next = self.state().station.poll_timeout();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.clock.moment(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => (),
                () = due => {
                    let mut state = self.state();
                    state.station.handle_timeout(self.clock.elapsed());
                    state.deliver();
                }
            }
        }
    }

    fn handle(&self, event: Event) {
        {
            let mut state = self.state();
            state.station.handle(self.clock.elapsed(), event);
            state.deliver();
        }
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self) {
        while let Some(output) = self.station.poll_output() {
            let (ticket, served) = match output {
                Output::Served(ticket) => (ticket, true),
                Output::Overflow(ticket) => (ticket, false),
            };
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Nobody waits for abandoned work.
                let _ = waiting.send(served);
            }
        }
    }
}

/// A request at a desk; leaving before the end abandons it.
struct Visit<'a> {
    desk: &'a Desk,
    ticket: Ticket,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let was_waiting = self.desk.state().waiting.remove(&self.ticket).is_some();
        if was_waiting {
            self.desk.handle(Event::Abandon(self.ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Scenario: a desk with one worker and one place to wait, asked three times at once; the work
    /// takes an hour, and all callers leave after a moment. Then the same once more.
    /// Guarantees: the third finds no place; who leaves gives a place in the queue back, but the
    /// worker goes on with what it began.
    #[tokio::test]
    async fn a_desk_has_so_many_places() {
        let profile = Profile { workers: 1, queue_max: 1, work_ms: 3_600_000.0, spread: 0.0 };
        let desk = Desk::new(Clock::start(), profile, 1);
        let work = || tokio::time::timeout(Duration::from_millis(1), desk.work());
        let (first, second, third) = tokio::join!(work(), work(), work());
        assert!(first.is_err() && second.is_err());
        assert_eq!(third, Ok(false));
        let (waiting, refused) = tokio::join!(work(), work());
        assert!(waiting.is_err());
        assert_eq!(refused, Ok(false));
        assert!(desk.state().waiting.is_empty());
    }

    /// Scenario: a desk whose work takes no time, with its timer at work.
    /// Guarantees: the work is done.
    #[tokio::test]
    async fn work_is_done() {
        let profile = Profile { workers: 1, queue_max: 1, work_ms: 0.0, spread: 0.0 };
        let desk = Desk::new(Clock::start(), profile, 1);
        let stop = CancellationToken::new();
        tokio::select! {
            served = desk.work() => assert!(served),
            () = desk.run(&stop) => panic!("nobody stopped it"),
        }
    }
}

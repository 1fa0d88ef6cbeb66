//! The queue model of one service instance: some workers, a queue in front of them, and a time that
//! a request takes. Pure: it is told the time, as the duration since the run began.
//!
//! A worker takes the next request at the moment at which it finished the one before, not at the
//! moment at which someone noticed: a late wake-up makes answers late, never capacity smaller.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// What a station is built from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Requests that are worked on at once; 0 for no limit.
    pub workers: usize,
    /// Requests that may wait.
    pub queue_max: usize,
    /// Mean time of a request with a worker.
    pub work_ms: f64,
    /// Standard deviation of that time's logarithm.
    pub spread: f64,
}

/// Names a request within its station.
pub type Ticket = u64;

/// What happens to a station.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A request comes.
    Arrive(Ticket),
    /// The caller of a request left, and the service cares: a waiting one is taken out of the
    /// queue, one in work is finished all the same.
    Abandon(Ticket),
    /// From now on work takes longer.
    Slow(Slowness),
}

/// By how much work takes longer than planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowness {
    /// So many times as long.
    pub factor: f64,
    /// For this share of the requests, in percent; the others are as fast as planned.
    pub percent: f64,
}

impl Slowness {
    /// As planned.
    pub const NONE: Self = Self { factor: 1.0, percent: 100.0 };
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The work for this request is done.
    Served(Ticket),
    /// There was no place in the queue.
    Overflow(Ticket),
}

/// One instance's workers and queue.
#[derive(Debug)]
pub struct Station {
    profile: Profile,
    slowness: Slowness,
    rng: StdRng,
    /// What is in work, by its end.
    working: BinaryHeap<Reverse<(Duration, Ticket)>>,
    waiting: VecDeque<Ticket>,
    outputs: VecDeque<Output>,
}

impl Station {
    /// An idle station; the seed decides how long each request takes.
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self {
            profile,
            slowness: Slowness::NONE,
            rng: StdRng::seed_from_u64(seed),
            working: BinaryHeap::new(),
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event that happens `now`.
    pub fn handle(&mut self, now: Duration, event: Event) {
        self.handle_timeout(now);
        match event {
            Event::Arrive(ticket) => self.arrive(now, ticket),
            Event::Abandon(ticket) => self.waiting.retain(|waiting| *waiting != ticket),
            Event::Slow(slowness) => self.slowness = slowness,
        }
    }

    /// When something ends by itself next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.working.peek().map(|Reverse((end, _))| *end)
    }

    /// Ends what has ended by `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(&Reverse((end, ticket))) = self.working.peek() {
            if now < end {
                return;
            }
            self.working.pop();
            self.outputs.push_back(Output::Served(ticket));
            if let Some(next) = self.waiting.pop_front() {
                self.begin(end, next);
            }
        }
    }

    /// What came of it all, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn arrive(&mut self, now: Duration, ticket: Ticket) {
        if self.profile.workers == 0 || self.working.len() < self.profile.workers {
            self.begin(now, ticket);
        } else if self.waiting.len() < self.profile.queue_max {
            self.waiting.push_back(ticket);
        } else {
            self.outputs.push_back(Output::Overflow(ticket));
        }
    }

    fn begin(&mut self, at: Duration, ticket: Ticket) {
        let work = self.work();
        self.working.push(Reverse((at + work, ticket)));
    }

    /// Lognormal, with the mean of the profile whatever the spread.
    fn work(&mut self) -> Duration {
        let spread = self.profile.spread;
        let scale = (spread * normal(&mut self.rng) - spread * spread / 2.0).exp();
        let Slowness { factor, percent } = self.slowness;
        // Where all are slow there is nothing to draw.
        let is_slow = 100.0 <= percent || self.rng.random_range(0.0..100.0) < percent;
        let factor = if is_slow { factor } else { 1.0 };
        Duration::from_secs_f64(self.profile.work_ms * factor * scale / 1_000.0)
    }
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_WORKER: Profile = Profile { workers: 1, queue_max: 2, work_ms: 100.0, spread: 0.0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn outputs(station: &mut Station) -> Vec<Output> {
        std::iter::from_fn(|| station.poll_output()).collect()
    }

    /// Scenario: four requests at once for one worker and a queue of two.
    /// Guarantees: first come, first served, one after another; the fourth finds no place.
    #[test]
    fn requests_are_served_in_turn() {
        let mut station = Station::new(ONE_WORKER, 1);
        (1..=4).for_each(|ticket| station.handle(ms(0), Event::Arrive(ticket)));
        assert_eq!(outputs(&mut station), [Output::Overflow(4)]);
        for (at, ticket) in [(100, 1), (200, 2), (300, 3)] {
            assert_eq!(station.poll_timeout(), Some(ms(at)));
            station.handle_timeout(ms(at - 1));
            assert_eq!(outputs(&mut station), []);
            station.handle_timeout(ms(at));
            assert_eq!(outputs(&mut station), [Output::Served(ticket)]);
        }
        assert_eq!(station.poll_timeout(), None);
    }

    /// Scenario: nobody looks at a station for a second.
    /// Guarantees: it worked all the time: a late look costs no capacity.
    #[test]
    fn a_late_look_costs_no_capacity() {
        let mut station = Station::new(ONE_WORKER, 1);
        (1..=3).for_each(|ticket| station.handle(ms(0), Event::Arrive(ticket)));
        station.handle_timeout(ms(1_000));
        let served = [1, 2, 3].map(Output::Served);
        assert_eq!(outputs(&mut station), served);
    }

    /// Scenario: of one request in work and two that wait, the callers of all leave.
    /// Guarantees: the waiting ones go, the one in work is finished.
    #[test]
    fn abandoned_requests_leave_the_queue() {
        let mut station = Station::new(ONE_WORKER, 1);
        (1..=3).for_each(|ticket| station.handle(ms(0), Event::Arrive(ticket)));
        (1..=3).for_each(|ticket| station.handle(ms(50), Event::Abandon(ticket)));
        assert_eq!(station.waiting(), 0);
        station.handle_timeout(ms(1_000));
        assert_eq!(outputs(&mut station), [Output::Served(1)]);
    }

    /// Scenario: a station becomes ten times as slow while a request is in work.
    /// Guarantees: what begins later takes ten times as long, what is in work does not.
    #[test]
    fn slowness_holds_for_what_begins_later() {
        let mut station = Station::new(ONE_WORKER, 1);
        station.handle(ms(0), Event::Arrive(1));
        station.handle(ms(10), Event::Slow(Slowness { factor: 10.0, percent: 100.0 }));
        station.handle(ms(20), Event::Arrive(2));
        assert_eq!(station.poll_timeout(), Some(ms(100)));
        station.handle_timeout(ms(100));
        assert_eq!(station.poll_timeout(), Some(ms(1_100)));
    }

    /// Scenario: a thousand requests while a fiftieth of the work takes a hundred times as long.
    /// Guarantees: so many are slow, and the others as fast as ever.
    #[test]
    fn a_share_is_slow() {
        let profile = Profile { workers: 0, queue_max: 0, work_ms: 1.0, spread: 0.0 };
        let mut station = Station::new(profile, 3);
        station.handle(ms(0), Event::Slow(Slowness { factor: 100.0, percent: 2.0 }));
        (0..1_000).for_each(|ticket| station.handle(ms(0), Event::Arrive(ticket)));
        station.handle_timeout(ms(1));
        let fast = outputs(&mut station).len();
        assert!((965..=992).contains(&fast), "{fast}");
        station.handle_timeout(ms(100));
        assert_eq!(outputs(&mut station).len(), 1_000 - fast);
    }

    /// Scenario: a thousand requests for a station without a limit, at two spreads.
    /// Guarantees: all are worked on at once, and the mean time is that of the profile.
    #[test]
    fn the_mean_is_that_of_the_profile() {
        let check = |spread: f64, within: f64| {
            let profile = Profile { workers: 0, queue_max: 0, work_ms: 100.0, spread };
            let mut station = Station::new(profile, 7);
            (0..1_000).for_each(|ticket| station.handle(ms(0), Event::Arrive(ticket)));
            let mut sum = 0.0;
            while let Some(end) = station.poll_timeout() {
                station.handle_timeout(end);
                sum += outputs(&mut station).len() as f64 * end.as_secs_f64();
            }
            assert!((sum - 100.0).abs() < within, "{spread}: {sum}");
        };
        check(0.0, 1e-6);
        check(0.5, 5.0);
    }
}

//! The edge payment → inventory in virtual time.

use fusebox_demo::client::Outcome;
use fusebox_demo::conditions::{Conditions, Turn, script};
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::Overflow;
use fusebox_demo::station::{Event, Output, Profile, Station, Ticket};
use fusebox_demo::truth::{Seen, Truth};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

const CALLER: &str = "payment";
const CALLEE: &str = "inventory";

/// What an operator does to the edge.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Repetitions are refused, from now on.
    Mute,
    /// Everything is refused, for so long.
    Open {
        /// Length of the lease.
        ttl: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Turn(Turn),
    Arrival,
    Attempt(usize),
    Patience(Ticket),
}

/// One request of payment's callers.
struct Call {
    began: Duration,
    attempts: u32,
}

/// Callers, payment's client library, inventory's queue.
pub(crate) struct World {
    plan: Arc<Plan>,
    conditions: Conditions,
    truth: Truth,
    station: Station,
    rng: StdRng,
    now: Duration,
    agenda: BinaryHeap<Reverse<(Duration, u64, Next)>>,
    sequence: u64,
    calls: Vec<Call>,
    /// Attempts that wait for an answer.
    open: BTreeMap<Ticket, usize>,
    tickets: Ticket,
    firsts: u64,
    attempts: u64,
    before: (u64, u64),
    action: Option<(Action, Duration)>,
    acted_at: Option<Duration>,
}

impl World {
    pub(crate) fn new(plan: Plan, seed: u64) -> Self {
        let plan = Arc::new(plan);
        let service = plan.service(CALLEE);
        let profile = Profile {
            workers: service.workers,
            queue_max: service.queue,
            work_ms: service.work_ms,
            spread: service.spread,
        };
        let mut world = Self {
            conditions: Conditions::new(Arc::clone(&plan)),
            truth: Truth::new(&plan),
            station: Station::new(profile, seed),
            rng: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            agenda: BinaryHeap::new(),
            sequence: 0,
            calls: Vec::new(),
            open: BTreeMap::new(),
            tickets: 0,
            firsts: 0,
            attempts: 0,
            before: (0, 0),
            action: None,
            acted_at: None,
            plan,
        };
        for turn in script(&world.plan) {
            world.plan_at(turn.at, Next::Turn(turn));
        }
        world.plan_at(Duration::ZERO, Next::Arrival);
        world
    }

    /// Acts so long after the first failure.
    pub(crate) fn act(&mut self, action: Action, after: Duration) {
        self.action = Some((action, after));
    }

    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Attempts per request.
    pub(crate) fn amplification(&self) -> f64 {
        self.attempts as f64 / self.firsts as f64
    }

    pub(crate) fn forget_attempts(&mut self) {
        (self.firsts, self.attempts) = (0, 0);
    }

    /// Share of the requests before the first fault that succeeded.
    pub(crate) fn success_before(&self) -> f64 {
        self.before.0 as f64 / self.before.1 as f64
    }

    pub(crate) fn run(&mut self, until: Duration) {
        while let Some(at) = self.next_at().filter(|at| *at <= until) {
            self.now = at;
            self.station.handle_timeout(at);
            self.drain();
            while let Some(&Reverse((due, _, next))) = self.agenda.peek() {
                if at < due {
                    break;
                }
                self.agenda.pop();
                self.step(next);
                self.drain();
            }
        }
        self.now = until;
    }

    fn next_at(&self) -> Option<Duration> {
        let planned = self.agenda.peek().map(|Reverse((at, ..))| *at);
        planned.into_iter().chain(self.station.poll_timeout()).min()
    }

    fn plan_at(&mut self, at: Duration, next: Next) {
        self.sequence += 1;
        self.agenda.push(Reverse((at, self.sequence, next)));
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Turn(turn) => {
                self.conditions.turn(turn);
                if turn.begins {
                    self.truth.fault(self.now);
                }
                let slowness = self.conditions.slowness(CALLEE);
                self.station.handle(self.now, Event::Slow(slowness));
            }
            Next::Arrival => self.arrive(),
            Next::Attempt(call) => self.attempt(call),
            Next::Patience(ticket) => {
                if self.open.contains_key(&ticket) {
                    let service = self.plan.service(CALLEE);
                    if !service.serves_abandoned {
                        self.station.handle(self.now, Event::Abandon(ticket));
                    }
                    self.ended(ticket, Outcome::TimedOut, None);
                }
            }
        }
    }

    fn arrive(&mut self) {
        let mut loads = self.plan.scenario.load.iter();
        let load = loads.find(|load| load.to.ends_with("/checkout")).expect("a checkout");
        let gap = Duration::from_secs_f64(1.0 / (load.rate * self.conditions.load()));
        self.plan_at(self.now + gap, Next::Arrival);
        self.calls.push(Call { began: self.now, attempts: 0 });
        self.attempt(self.calls.len() - 1);
    }

    fn attempt(&mut self, call: usize) {
        self.calls[call].attempts += 1;
        let is_first = self.calls[call].attempts == 1;
        self.tickets += 1;
        self.open.insert(self.tickets, call);
        match self.acting() {
            Some(Action::Open { .. }) if is_first => {
                return self.ended(self.tickets, Outcome::Answered(503), Some("forced-open"));
            }
            Some(_) if !is_first => {
                return self.ended(self.tickets, Outcome::Answered(424), Some("retries-muted"));
            }
            _ => (),
        }
        self.attempts += 1;
        self.firsts += u64::from(is_first);
        let timeout = self.conditions.client(CALLER, CALLEE).timeout();
        self.plan_at(self.now + timeout, Next::Patience(self.tickets));
        self.station.handle(self.now, Event::Arrive(self.tickets));
    }

    /// The action in force now.
    fn acting(&mut self) -> Option<Action> {
        let (action, after) = self.action?;
        let due = self.truth.failure_at()? + after;
        if self.now < due {
            return None;
        }
        let acted_at = *self.acted_at.get_or_insert(self.now);
        self.truth.action(self.now);
        match action {
            Action::Open { ttl } if acted_at + ttl <= self.now => None,
            _ => Some(action),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            let (ticket, status) = match (output, self.plan.service(CALLEE).overflow) {
                (Output::Served(ticket), _) => (ticket, 200),
                (Output::Overflow(ticket), Overflow::Refuse) => (ticket, 503),
                (Output::Overflow(_), Overflow::Ignore) => continue,
            };
            if self.open.contains_key(&ticket) {
                self.ended(ticket, Outcome::Answered(status), None);
            }
        }
    }

    fn ended(&mut self, ticket: Ticket, outcome: Outcome, refusal: Option<&str>) {
        let call = self.open.remove(&ticket).expect("an open attempt");
        let seen = Seen {
            source: Some(CALLER),
            destination: CALLEE,
            attempt: self.calls[call].attempts,
            outcome,
            refusal,
        };
        self.truth.call_ended(self.now, seen);
        let Call { began, attempts } = self.calls[call];
        let library = self.conditions.client(CALLER, CALLEE);
        match library.again_after(attempts, outcome, self.rng.random()) {
            Some(wait) => self.plan_at(self.now + wait, Next::Attempt(call)),
            None => self.answered(began, outcome),
        }
    }

    fn answered(&mut self, began: Duration, outcome: Outcome) {
        let patience = Duration::from_millis(self.plan.scenario.load[0].patience_ms);
        let is_good = outcome.is_success() && self.now <= began + patience;
        if is_good {
            self.truth.entry_succeeded(began);
        }
        if self.plan.first_fault_at().is_some_and(|at| self.now < at) {
            self.before.0 += u64::from(is_good);
            self.before.1 += 1;
        }
    }
}

//! The demo's shop in virtual time: its own scenarios, queues and client libraries, the real cores of
//! its proxies, and the real collector. What a verdict is worth, over many seeds. The truth is
//! counted by the callers, as in the demo.

mod calls;
#[cfg(test)]
mod first_look;
mod link;
#[cfg(test)]
mod tests;
mod work;

use crate::Plant;
use crate::net::{Agenda, Lane};
use crate::sidecar::{Attempt, Sidecar};
use calls::{Call, Job};
use fusebox_collector::engine::{Engine, Limits};
use fusebox_demo::catalogue;
use fusebox_demo::conditions::{Conditions, Turn, script};
use fusebox_demo::event::Summary;
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::{Change, Spacing};
use fusebox_demo::station::{self, Profile, Station};
use fusebox_demo::truth::Truth;
use fusebox_demo::verdict::{self, Run, Verdict};
use fusebox_proto::command::Command;
use fusebox_proto::report::FromProxy;
use fusebox_proto::view::{Incident, Snapshot};
use fusebox_proto::{Now, ServiceId};
use link::Acting;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use work::Request;

/// 2026-01-01T00:00:00Z
pub(crate) const START_UNIX_MS: u64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);
/// A machine that stands still now and then does so for the first minutes.
const STALLS_FOR: Duration = Duration::from_mins(2);
/// A loaded machine stands still so often ...
const STALLS_APART_MS: std::ops::Range<u64> = 300..6_000;
/// ... and for so long.
const STALL_MS: std::ops::Range<u64> = 50..4_000;

/// What will happen.
#[derive(Debug)]
enum Happening {
    Turn(Turn),
    /// The next visitor of a load.
    Visitor(usize),
    /// A visitor has had enough.
    VisitorLeaves(usize),
    /// A station has finished something.
    Station(usize),
    /// A caller's patience with an attempt ends.
    Patience {
        call: usize,
        attempt: usize,
    },
    /// A library asks a second time beside its first attempt, if that still waits.
    Hedge {
        call: usize,
        attempt: usize,
    },
    /// A client library tries again.
    Again(usize),
    /// The job of a fault makes its next call.
    Job(usize),
    /// A window of a proxy ends.
    Window(usize),
    /// A message of a proxy arrives at the collector.
    AtCollector(usize, Box<FromProxy>),
    /// A command of the collector arrives.
    AtProxy(usize, Box<Command>),
}

/// One instance of a service, and its proxy.
struct Instance {
    role: String,
    station: Station,
    wakes_at: Option<Duration>,
    sidecar: Sidecar,
    up: Lane,
    down: Lane,
}

/// The shop.
pub(crate) struct Shop {
    plan: Arc<Plan>,
    conditions: Conditions,
    truth: Truth,
    verdict: Verdict,
    engine: Engine,
    start: Now,
    now: Duration,
    rng: StdRng,
    agenda: Agenda<Happening>,
    instances: Vec<Instance>,
    /// Whose turn it is, by role.
    turns: BTreeMap<String, usize>,
    requests: Vec<Request>,
    calls: Vec<Call>,
    jobs: BTreeMap<usize, Job>,
    spans: u64,
    acting: Acting,
    /// When the machine under all of them has something else to do, from and to.
    stalls: Vec<(Duration, Duration)>,
    /// When the last visitor comes.
    closing: Duration,
}

impl Shop {
    /// A shop that is about to open, under a built-in scenario.
    pub(crate) fn of(scenario: &str, seed: u64, plant: Plant) -> Self {
        let scenario = catalogue::find(scenario).expect("a built-in scenario");
        Self::new(Plan::new(scenario, seed), plant)
    }

    /// A shop that is about to open, under the seed of its plan.
    pub(crate) fn new(plan: Plan, plant: Plant) -> Self {
        let start = Now { unix_ms: START_UNIX_MS, ..Now::read() };
        let plan = Arc::new(plan);
        let mut shop = Self {
            conditions: Conditions::new(Arc::clone(&plan)),
            truth: Truth::new(&plan),
            verdict: Verdict::default(),
            engine: Engine::new(start, Limits::default()),
            start,
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(plan.seed),
            agenda: Agenda::default(),
            instances: Vec::new(),
            turns: BTreeMap::new(),
            requests: Vec::new(),
            calls: Vec::new(),
            jobs: BTreeMap::new(),
            spans: 0,
            acting: Acting::Never,
            stalls: Vec::new(),
            closing: Duration::MAX,
            plan: Arc::clone(&plan),
        };
        for (role, service) in &plan.scenario.services {
            (0..service.instances).for_each(|number| shop.open(role, number, plant));
        }
        for turn in script(&plan) {
            shop.put(turn.at, Happening::Turn(turn));
        }
        for load in 0..plan.scenario.load.len() {
            shop.put(Duration::ZERO, Happening::Visitor(load));
        }
        shop
    }

    /// Whoever is on call does the first thing that the collector suggests.
    pub(crate) fn with_someone_on_call(mut self) -> Self {
        self.acting = Acting::Ready;
        self
    }

    /// On a machine that stands still now and then: callers, proxies and collector alike; what was
    /// due meanwhile happens at once afterwards.
    pub(crate) fn on_a_loaded_machine(mut self) -> Self {
        let mut from = Duration::ZERO;
        while from < STALLS_FOR {
            from += self.millis(STALLS_APART_MS);
            let to = from + self.millis(STALL_MS);
            self.stalls.push((from, to));
            from = to;
        }
        self
    }

    /// Nobody comes after `closing`.
    pub(crate) fn closing_at(mut self, closing: Duration) -> Self {
        self.closing = closing;
        self
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) const fn elapsed(&self) -> Duration {
        self.now
    }

    /// What a console would show.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot(self.wall())
    }

    fn open(&mut self, role: &str, number: usize, plant: Plant) {
        let service = self.plan.service(role);
        let profile = Profile {
            workers: service.workers,
            queue_max: service.queue,
            work_ms: service.work_ms,
            spread: service.spread,
        };
        let name = self.plan.name(role);
        let callees = self.plan.scenario.callees(role);
        let callees: Vec<&str> = callees.into_iter().map(|role| self.plan.name(role)).collect();
        let id = format!("{name}-{number}");
        let sidecar = Sidecar::new(self.start, &id, name, &callees, plant);
        let instance = self.instances.len();
        self.instances.push(Instance {
            role: role.to_owned(),
            station: Station::new(profile, self.rng.random()),
            wakes_at: None,
            sidecar,
            up: Lane::default(),
            down: Lane::default(),
        });
        for message in self.instances[instance].sidecar.introduce(self.start) {
            self.send_up(instance, message);
        }
        let phase = self.millis(1..1_000);
        self.put(phase, Happening::Window(instance));
    }

    fn service(&self, role: &str) -> ServiceId {
        ServiceId::named(self.plan.name(role)).expect("a name of the shop")
    }

    fn wall(&self) -> Now {
        self.start.plus(self.now)
    }

    fn put(&mut self, at: Duration, what: Happening) {
        self.agenda.put(self.start.instant + at, what);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// When something happens that is due at `at`.
    fn thawed(&self, at: Duration) -> Duration {
        let is_within = |(from, to): &&(Duration, Duration)| (*from..*to).contains(&at);
        self.stalls.iter().find(is_within).map_or(at, |(_, to)| *to)
    }

    /// Lives until `end`, from the start of the load.
    pub(crate) fn run_until(&mut self, end: Duration) {
        let start = self.start.instant;
        let since = |at: Instant| at.saturating_duration_since(start);
        loop {
            let timers = [self.agenda.next_at(), self.engine.poll_timeout(), self.leases_end_at()];
            let next = timers.into_iter().flatten().min().map_or(end, since);
            self.now = self.thawed(next).clamp(self.now, end);
            let now = self.wall();
            self.engine.handle_timeout(now);
            self.end_leases();
            self.perform_outputs();
            while let Some(happening) = self.agenda.pop(now.instant) {
                self.step(happening);
                self.perform_outputs();
            }
            if end <= self.now {
                return;
            }
        }
    }

    /// Lives until `end`, and sums up.
    pub(crate) fn run(mut self, end: Duration) -> (Summary, Vec<Incident>) {
        self.run_until(end);
        self.listen();
        self.truth.recovery(end);
        let expect = self.plan.expect();
        let run = Run {
            scenario: &self.plan.scenario.name,
            seed: self.plan.seed,
            expect: expect.as_ref(),
            began_unix_ms: START_UNIX_MS,
            end,
            act: self.acting.took(),
        };
        let summary = verdict::summary(&run, &self.truth, &self.verdict);
        (summary, self.snapshot().incidents)
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Turn(turn) => self.turn(turn),
            Happening::Visitor(load) => self.visitor(load),
            Happening::VisitorLeaves(request) => self.visitor_leaves(request),
            Happening::Station(at) => {
                self.instances[at].wakes_at = None;
                self.instances[at].station.handle_timeout(self.now);
                self.drain(at);
            }
            Happening::Patience { call, attempt } => self.patience_ends(call, attempt),
            Happening::Hedge { call, attempt } => self.hedge(call, attempt),
            Happening::Again(call) => self.attempt(call),
            Happening::Job(fault) => self.job_calls(fault),
            Happening::Window(at) => self.window_ends(at),
            Happening::AtCollector(at, message) => self.at_collector(at, *message),
            Happening::AtProxy(at, command) => self.at_proxy(at, &command),
        }
    }

    fn turn(&mut self, turn: Turn) {
        self.conditions.turn(turn);
        if turn.begins {
            self.truth.fault(self.now);
        } else {
            self.truth.fault_ended(self.now);
        }
        if let Change::Job { .. } = &self.plan.scenario.faults[turn.fault].change {
            self.turn_job(turn);
        }
        for at in 0..self.instances.len() {
            let slowness = self.conditions.slowness(&self.instances[at].role);
            self.instances[at].station.handle(self.now, station::Event::Slow(slowness));
            self.drain(at);
        }
    }

    fn visitor(&mut self, load: usize) {
        if self.closing <= self.now {
            return;
        }
        let load_now = self.plan.scenario.load[load].clone();
        let mean = 1.0 / (load_now.rate * self.conditions.load()).max(1e-3);
        let gap = match load_now.spacing {
            Spacing::Even => mean,
            Spacing::Random => -mean * (1.0 - self.rng.random::<f64>()).ln(),
        };
        self.put(self.now + Duration::from_secs_f64(gap), Happening::Visitor(load));
        let root = self.root();
        let request = self.arrive(&load_now.to, None, root);
        let patience = Duration::from_millis(load_now.patience_ms);
        self.put(self.now + patience, Happening::VisitorLeaves(request));
    }
}

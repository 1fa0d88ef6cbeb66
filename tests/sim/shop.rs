//! The demo's shop in virtual time: its own scenarios, queues and client libraries, proxies that
//! count as real ones do, and the real collector. What a verdict is worth, over many seeds.

#[cfg(test)]
mod tests;
mod work;

use crate::net::Agenda;
use fusebox_collector::engine::{ConnectionId, Engine, Event, Limits};
use fusebox_demo::conditions::{Conditions, Turn, script};
use fusebox_demo::event::Summary;
use fusebox_demo::plan::Plan;
use fusebox_demo::scenario::{Load, Spacing};
use fusebox_demo::station::{self, Profile, Station, Ticket};
use fusebox_demo::truth::Truth;
use fusebox_demo::verdict::{self, Run, Verdict};
use fusebox_proto::report::{
    Dropped, EdgeCounts, EdgeWindow, Endpoints, Hello, InboundWindow, Protocol, Report,
};
use fusebox_proto::view::Incident;
use fusebox_proto::{Latency, Now, ProxyId, ServiceId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use work::{Call, Request};

/// 2026-01-01T00:00:00Z
const START_UNIX_MS: u64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);

/// What will happen.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Turn(Turn),
    Visitor(usize),
    /// A station has finished something.
    Station(usize),
    /// A caller's patience ends.
    Patience {
        call: usize,
        attempt: usize,
    },
    /// A client library tries again.
    Again(usize),
    /// A window of a proxy ends.
    Report(usize),
}

/// One instance of a service, and its proxy.
#[derive(Debug)]
struct Instance {
    role: String,
    station: Station,
    wakes_at: Option<Duration>,
    connection: ConnectionId,
    reports: u64,
    inbound: InboundWindow,
    outbound: BTreeMap<String, (EdgeCounts, Latency)>,
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
}

impl Shop {
    /// A shop that is about to open, under the seed of its plan.
    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    pub(crate) fn new(plan: Plan) -> Self {
        let start = Now { instant: Instant::now(), unix_ms: START_UNIX_MS };
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
            plan: Arc::clone(&plan),
        };
        for (role, service) in &plan.scenario.services {
            (0..service.instances).for_each(|number| shop.open(role, number));
        }
        for turn in script(&plan) {
            shop.put(turn.at, Happening::Turn(turn));
        }
        for load in 0..plan.scenario.load.len() {
            shop.put(Duration::ZERO, Happening::Visitor(load));
        }
        shop
    }

    fn open(&mut self, role: &str, number: usize) {
        let service = self.plan.service(role);
        let profile = Profile {
            workers: service.workers,
            queue_max: service.queue,
            work_ms: service.work_ms,
            spread: service.spread,
        };
        let instance = self.instances.len();
        let connection = ConnectionId(instance as u64 + 1);
        let name = format!("{role}-{number}");
        let callees = self.plan.scenario.callees(role);
        let to = callees.into_iter().map(|callee| self.service(callee)).collect();
        let hello = Hello {
            proxy: ProxyId::new(&name).expect("a name of the shop"),
            service: self.service(role),
            instance: name,
            build: String::new(),
            boot: 1,
            held: Vec::new(),
            policy_version: 0,
            endpoints: Endpoints::leading_to(to),
        };
        self.tell(Event::Hello { connection, hello });
        self.instances.push(Instance {
            role: role.to_owned(),
            station: Station::new(profile, self.rng.random()),
            wakes_at: None,
            connection,
            reports: 0,
            inbound: empty(),
            outbound: BTreeMap::new(),
        });
        let phase = Duration::from_millis(self.rng.random_range(0..1_000));
        self.put(SECOND + phase, Happening::Report(instance));
    }

    fn service(&self, role: &str) -> ServiceId {
        ServiceId::named(self.plan.name(role)).expect("a name of the shop")
    }

    fn put(&mut self, at: Duration, what: Happening) {
        self.agenda.put(self.start.instant + at, what);
    }

    /// Lets the shop run until `end`, and sums up.
    pub(crate) fn run(mut self, end: Duration) -> (Summary, Vec<Incident>) {
        let until = self.start.instant + end;
        while let Some(at) = self.agenda.next_at().filter(|at| *at <= until) {
            self.now = at.saturating_duration_since(self.start.instant);
            while let Some(happening) = self.agenda.pop(at) {
                self.step(happening);
            }
        }
        let expect = self.plan.expect();
        let run = Run {
            scenario: &self.plan.scenario.name,
            seed: self.plan.seed,
            expect: expect.as_ref(),
            began_unix_ms: START_UNIX_MS,
            end,
            act: None,
        };
        let summary = verdict::summary(&run, &self.truth, &self.verdict);
        (summary, self.engine.snapshot(self.start.plus(end)).incidents)
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Turn(turn) => {
                self.conditions.turn(turn);
                self.truth.fault(self.now);
                for at in 0..self.instances.len() {
                    let slowness = self.conditions.slowness(&self.instances[at].role);
                    let slow = station::Event::Slow(slowness);
                    self.instances[at].station.handle(self.now, slow);
                    self.drain(at);
                }
            }
            Happening::Visitor(load) => self.visitor(load),
            Happening::Station(at) => {
                self.instances[at].wakes_at = None;
                self.instances[at].station.handle_timeout(self.now);
                self.drain(at);
            }
            Happening::Patience { call, attempt } => self.patience_ends(call, attempt),
            Happening::Again(call) => self.attempt(call),
            Happening::Report(at) => self.report(at),
        }
    }

    fn visitor(&mut self, load: usize) {
        let Load { to, rate, spacing, .. } = self.plan.scenario.load[load].clone();
        let mean = 1.0 / (rate * self.conditions.load()).max(1e-3);
        let gap = match spacing {
            Spacing::Even => mean,
            Spacing::Random => -mean * (1.0 - self.rng.random::<f64>()).ln(),
        };
        self.put(self.now + Duration::from_secs_f64(gap), Happening::Visitor(load));
        self.arrive(&to, None);
    }

    /// Lets the engine's time catch up, and tells it something.
    fn tell(&mut self, event: Event) {
        let now = self.start.plus(self.now);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= now.instant) {
            let at = at.saturating_duration_since(self.start.instant);
            self.engine.handle_timeout(self.start.plus(at));
        }
        self.engine.handle(now, event);
        while self.engine.poll_output().is_some() {}
    }

    fn report(&mut self, at: usize) {
        self.put(self.now + SECOND, Happening::Report(at));
        let instance = &mut self.instances[at];
        instance.reports += 1;
        let (number, connection) = (instance.reports, instance.connection);
        let inbound = std::mem::replace(&mut instance.inbound, empty());
        let outbound = std::mem::take(&mut instance.outbound);
        let edge = |(role, (counts, latency)): (String, (EdgeCounts, Latency))| EdgeWindow {
            destination: self.service(&role),
            route: String::new(),
            subset: String::new(),
            protocol: Protocol::Http1,
            counts,
            latency,
        };
        let report = Report {
            boot: 1,
            number,
            start_unix_ms: self.start.plus(self.now).unix_ms - 1_000,
            duration_ms: 1_000,
            edges: outbound.into_iter().map(edge).collect(),
            inbound: vec![inbound],
            breakers: Vec::new(),
            transitions: Vec::new(),
            dropped: Dropped::default(),
            draining: false,
            endpoints: None,
            troubles: Vec::new(),
        };
        self.tell(Event::Report { connection, report });
        if at == 0 {
            let said = self.engine.snapshot(self.start.plus(self.now)).incidents;
            self.verdict.take(said);
        }
    }
}

fn empty() -> InboundWindow {
    InboundWindow {
        route: String::new(),
        requests: 0,
        failures: 0,
        cancelled: 0,
        in_flight: 0,
        latency: Latency::default(),
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The next of `count`.
fn next(turns: &mut BTreeMap<String, usize>, role: &str, count: usize) -> Ticket {
    let turn = turns.entry(role.to_owned()).or_default();
    *turn += 1;
    (*turn % count) as Ticket
}

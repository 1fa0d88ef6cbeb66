//! A chain of services in virtual time, by a scenario of the demo: each repeats what its client
//! library says, through the real cores of its proxies, and a collector listens to those. The truth
//! is counted by the callers, as in the demo.

use crate::Plant;
use crate::net::{Agenda, Lane};
use crate::sidecar::{Attempt, Sidecar};
use fusebox_collector::engine::{ConnectionId, Engine, Event, Limits, Output};
use fusebox_demo::catalogue;
use fusebox_demo::client::Outcome;
use fusebox_demo::conditions::{Conditions, Turn, script};
use fusebox_demo::plan::Plan;
use fusebox_demo::truth::{Seen, Truth};
use fusebox_proto::report::FromProxy;
use fusebox_proto::trace::TraceContext;
use fusebox_proto::view::Snapshot;
use fusebox_proto::{Now, ServiceId};
use fusebox_proxy::edge;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// 2026-01-01T00:00:00Z
const START_UNIX_MS: u64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);
/// No run is longer.
const RUN_MAX: Duration = Duration::from_mins(2);
/// A loaded machine stands still so often ...
const STALLS_APART_MS: std::ops::Range<u64> = 300..6_000;
/// ... and for so long.
const STALL_MS: std::ops::Range<u64> = 50..4_000;

/// What will happen.
enum Next {
    Turn(Turn),
    Visit,
    /// A request comes in at its instance.
    Arrive(usize),
    /// Its instance has worked on it.
    Worked(usize),
    /// A client library makes an attempt.
    Try(usize),
    /// The so many-th attempt of a request is answered, or its caller's patience ends.
    Ended(usize, u32, Outcome),
    /// A window of a proxy ends.
    Tick(usize),
    Report(ConnectionId, Box<FromProxy>),
}

/// An instance of a service on the way.
struct Instance {
    /// Its place on the way, from above.
    layer: usize,
    sidecar: Sidecar,
    up: Lane,
}

/// A request in an instance.
struct Request {
    instance: usize,
    /// The request that made it, and with which attempt.
    above: Option<(usize, u32)>,
    began: Duration,
    trace: u64,
    /// The span under which the library calls.
    span: u64,
    attempts: u32,
    out: Option<Attempt>,
}

/// The services from the originator of a scenario's incident to its victim.
pub(crate) struct Chain {
    plan: Arc<Plan>,
    conditions: Conditions,
    truth: Truth,
    rng: StdRng,
    start: Now,
    now: Now,
    agenda: Agenda<Next>,
    /// Roles on the way.
    layers: Vec<String>,
    instances: Vec<Instance>,
    requests: Vec<Request>,
    spans: u64,
    engine: Engine,
    /// When the machine under all of them has something else to do, from and to.
    stalls: Vec<(Duration, Duration)>,
    /// When the last visitor comes.
    closing: Duration,
}

impl Chain {
    pub(crate) fn new(scenario: &str, seed: u64, plant: Plant) -> Self {
        let plan = Plan::new(catalogue::find(scenario).expect("a built-in scenario"), seed);
        let plan = Arc::new(plan);
        let now = Now { unix_ms: START_UNIX_MS, ..Now::read() };
        let expect = plan.scenario.expect.clone().expect("an incident");
        let mut layers = vec![expect.originator];
        layers.extend(expect.through);
        layers.push(expect.victim);
        let mut chain = Self {
            conditions: Conditions::new(Arc::clone(&plan)),
            truth: Truth::new(&plan),
            rng: StdRng::seed_from_u64(seed),
            start: now,
            now,
            agenda: Agenda::default(),
            layers,
            instances: Vec::new(),
            requests: Vec::new(),
            spans: 0,
            engine: Engine::new(now, Limits::default()),
            stalls: Vec::new(),
            closing: RUN_MAX,
            plan,
        };
        for turn in script(&chain.plan) {
            chain.after(turn.at, Next::Turn(turn));
        }
        for layer in 0..chain.layers.len() {
            chain.open(layer, plant);
        }
        chain.after(Duration::ZERO, Next::Visit);
        chain
    }

    /// On a machine that stands still now and then: callers, proxies and collector alike; what was
    /// due meanwhile happens at once afterwards.
    pub(crate) fn on_a_loaded_machine(mut self) -> Self {
        let mut from = Duration::ZERO;
        while from < RUN_MAX {
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

    /// When something happens that is due at `at`.
    fn thawed(&self, at: Instant) -> Instant {
        let is_within = |(from, to): &&(Duration, Duration)| {
            (self.start.instant + *from..self.start.instant + *to).contains(&at)
        };
        self.stalls.iter().find(is_within).map_or(at, |(_, to)| self.start.instant + *to)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now.instant - self.start.instant
    }

    /// What a console would show.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot(self.now)
    }

    /// Instances of a layer, each with its proxy.
    fn open(&mut self, layer: usize, plant: Plant) {
        let role = self.layers[layer].clone();
        let callee = self.layers.get(layer + 1).map(|role| self.plan.name(role).to_owned());
        let destinations: Vec<&str> = callee.iter().map(String::as_str).collect();
        for number in 0..self.plan.service(&role).instances {
            let name = self.plan.name(&role);
            let id = format!("{name}-{number}");
            let sidecar = Sidecar::new(self.now, &id, name, &destinations, plant);
            self.instances.push(Instance { layer, sidecar, up: Lane::default() });
            let instance = self.instances.len() - 1;
            for message in self.instances[instance].sidecar.introduce(self.now) {
                self.report(instance, message);
            }
            let within = self.millis(1..1_000);
            self.after(within, Next::Tick(instance));
        }
    }

    /// Lives until `end`, from the start of the load.
    pub(crate) fn run_until(&mut self, end: Duration) {
        let end = self.start.instant + end;
        loop {
            let next = [self.agenda.next_at(), self.engine.poll_timeout()].into_iter().flatten();
            let next = next.min().map_or(end, |next| self.thawed(next));
            let next = next.clamp(self.now.instant, end);
            self.now = self.start.plus(next - self.start.instant);
            self.engine.handle_timeout(self.now);
            while let Some(what) = self.agenda.pop(next) {
                self.happen(what);
            }
            while let Some(output) = self.engine.poll_output() {
                if let Output::Taken { connection, boot, number } = output {
                    self.instances[connection.0 as usize].sidecar.taken(boot, number);
                }
            }
            if end <= next {
                return;
            }
        }
    }

    fn happen(&mut self, what: Next) {
        match what {
            Next::Turn(turn) => {
                self.conditions.turn(turn);
                let elapsed = self.elapsed();
                if turn.begins {
                    self.truth.fault(elapsed);
                } else {
                    self.truth.fault_ended(elapsed);
                }
            }
            Next::Visit => self.visit(),
            Next::Arrive(request) => self.arrive(request),
            Next::Worked(request) => self.worked(request),
            Next::Try(request) => self.attempt(request),
            Next::Ended(request, attempt, outcome) => self.ended(request, attempt, outcome),
            Next::Tick(instance) => {
                self.instances[instance].sidecar.close_window(self.now);
                for report in self.instances[instance].sidecar.reports() {
                    self.report(instance, report);
                }
                self.after(SECOND, Next::Tick(instance));
            }
            Next::Report(connection, message) => {
                let event = match *message {
                    FromProxy::Hello(hello) => Event::Hello { connection, hello },
                    FromProxy::Report(report) => Event::Report { connection, report },
                    FromProxy::Ack(ack) => Event::Ack { connection, ack },
                    FromProxy::PolicyAck(ack) => Event::PolicyAck { connection, ack },
                };
                self.engine.handle(self.now, event);
            }
        }
    }

    fn visit(&mut self) {
        if self.closing <= self.elapsed() {
            return;
        }
        let mut loads = self.plan.scenario.load.iter();
        let load = loads.find(|load| load.to.ends_with("/checkout")).expect("a checkout");
        let gap = Duration::from_secs_f64(1.0 / (load.rate * self.conditions.load()));
        self.after(gap, Next::Visit);
        let trace = self.requests.len() as u64 + 1;
        self.request(0, None, trace);
    }

    /// A request to some instance of a layer is on its way.
    fn request(&mut self, layer: usize, above: Option<(usize, u32)>, trace: u64) {
        let all = self.instances.iter().enumerate();
        let places: Vec<usize> =
            all.filter(|(_, it)| it.layer == layer).map(|(place, _)| place).collect();
        let instance = places[self.rng.random_range(0..places.len())];
        let began = self.elapsed();
        let span = self.span();
        let (attempts, out) = (0, None);
        self.requests.push(Request { instance, above, began, trace, span, attempts, out });
        let delay = self.millis(1..4);
        self.after(delay, Next::Arrive(self.requests.len() - 1));
    }

    fn arrive(&mut self, request: usize) {
        let Request { instance, trace, span, .. } = self.requests[request];
        self.instances[instance].sidecar.came_in(self.now, &context(trace, span));
        self.requests[request].span = self.span();
        let work_ms =
            self.plan.service(self.role(request)).work_ms * self.rng.random_range(0.5..2.0);
        self.after(Duration::from_secs_f64(work_ms / 1_000.0), Next::Worked(request));
    }

    fn worked(&mut self, request: usize) {
        if self.callee(request).is_some() {
            return self.attempt(request);
        }
        let error_percent = self.conditions.error_percent(self.role(request));
        let is_error = self.rng.random_range(0.0..100.0) < error_percent;
        self.answer(request, if is_error { 500 } else { 200 });
    }

    fn attempt(&mut self, at: usize) {
        let callee = self.callee(at).expect("only the last layer calls nobody").to_owned();
        let client = self.conditions.client(self.role(at), &callee);
        let span = self.span();
        let destination = ServiceId::named(self.plan.name(&callee)).expect("a valid name");
        let request = &mut self.requests[at];
        request.attempts += 1;
        if request.attempts == 1 || client.new_span_each_attempt {
            request.span = span;
        }
        let (attempts, trace) = (request.attempts, context(request.trace, request.span));
        let sidecar = &mut self.instances[request.instance].sidecar;
        let sent = sidecar.call(self.now, &destination, trace).expect("no circuit is open");
        request.out = sent;
        let (layer, trace) = (self.instances[request.instance].layer + 1, request.trace);
        self.request(layer, Some((at, attempts)), trace);
        self.after(client.timeout(), Next::Ended(at, attempts, Outcome::TimedOut));
    }

    /// The answer to a request is on its way up.
    fn answer(&mut self, request: usize, status: u16) {
        let Request { above, began, .. } = self.requests[request];
        if let Some((above, attempt)) = above {
            let delay = self.millis(1..4);
            self.after(delay, Next::Ended(above, attempt, Outcome::Answered(status)));
        } else if status == 200 {
            self.truth.entry_succeeded(began);
        }
    }

    /// An attempt ended, unless it had before.
    fn ended(&mut self, at: usize, number: u32, outcome: Outcome) {
        let request = &mut self.requests[at];
        let Some(attempt) = request.out.take_if(|_| request.attempts == number) else { return };
        let end = match outcome {
            Outcome::Answered(500..) | Outcome::Broken => edge::Outcome::Failure,
            Outcome::Answered(_) => edge::Outcome::Success,
            Outcome::TimedOut => edge::Outcome::Cancelled,
        };
        self.instances[request.instance].sidecar.answer(self.now, &attempt, end);
        let callee = self.callee(at).expect("it has called").to_owned();
        let (source, elapsed) = (self.role(at).to_owned(), self.elapsed());
        let (source, destination) = (Some(&*source), &*callee);
        let seen = Seen { source, destination, attempt: number, outcome, refusal: None };
        self.truth.call_ended(elapsed, seen);
        let client = self.conditions.client(self.role(at), &callee);
        match (client.again_after(number, outcome, self.rng.random()), outcome) {
            (Some(wait), _) => self.after(wait, Next::Try(at)),
            (None, Outcome::Answered(200..=299)) => self.answer(at, 200),
            (None, Outcome::TimedOut) => self.answer(at, 504),
            (None, _) => self.answer(at, 502),
        }
    }

    /// A message of a proxy is on its way to the collector.
    fn report(&mut self, instance: usize, message: FromProxy) {
        let delay = self.millis(0..200);
        let at = self.instances[instance].up.arrival(self.now.instant, delay);
        self.agenda.put(at, Next::Report(ConnectionId(instance as u64), Box::new(message)));
    }

    fn role(&self, request: usize) -> &str {
        &self.layers[self.instances[self.requests[request].instance].layer]
    }

    fn callee(&self, request: usize) -> Option<&str> {
        let layer = self.instances[self.requests[request].instance].layer;
        self.layers.get(layer + 1).map(String::as_str)
    }

    fn span(&mut self) -> u64 {
        self.spans += 1;
        self.spans
    }

    fn after(&mut self, delay: Duration, what: Next) {
        self.agenda.put(self.now.instant + delay, what);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }
}

fn context(trace: u64, span: u64) -> TraceContext {
    let text = format!("00-{trace:032x}-{span:016x}-00");
    TraceContext::parse(&text).expect("a valid context")
}

//! A proxy of the simulation: the real cores, driven by messages, beside a shadow of what they
//! must be doing.

use crate::Plant;
use fusebox_proto::command::{Ack, AckResult, Action, BreakerState, Command, TTL_MAX, Verb};
use fusebox_proto::report::{Endpoints, FromProxy, Hello, InboundWindow, Protocol};
use fusebox_proto::trace::TraceContext;
use fusebox_proto::view::EdgeName;
use fusebox_proto::{Latency, Now, ProxyId, ServiceId};
use fusebox_proxy::edge::{
    Arrivals, BodyDigest, Decision, EdgeCore, Ended, Outcome, Reason, RequestHead, Ticket,
};
use fusebox_proxy::report_log::{ReportLog, Window};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the shadow knows of one edge.
#[derive(Clone, Debug, Default)]
struct Shadow {
    /// The newest command that was applied.
    revision: u64,
    /// An `open` lease in force, until then.
    open_until: Option<Instant>,
}

/// One edge: the core, its shadow, and the attempts that are out.
#[derive(Debug)]
struct Edge {
    core: EdgeCore,
    shadow: Shadow,
    out: BTreeMap<u64, Ticket>,
    /// Attempts forwarded in each life of the process, for the books at the end.
    forwarded: Vec<Instant>,
}

/// One proxy.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) id: ProxyId,
    service: ServiceId,
    destinations: Vec<ServiceId>,
    boot: u64,
    edges: BTreeMap<ServiceId, Edge>,
    arrivals: Arrivals,
    inbound: InboundWindow,
    log: ReportLog,
    plant: Plant,
    next_attempt: u64,
}

/// What becomes of an attempt at its caller's proxy.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Forwarded(Attempt),
    /// With this status.
    Refused(u16),
}

/// An attempt that was forwarded and waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) boot: u64,
    pub(crate) destination: ServiceId,
    pub(crate) number: u64,
}

impl Sidecar {
    pub(crate) fn new(
        now: Now,
        id: &str,
        service: &str,
        destinations: &[&str],
        plant: Plant,
    ) -> Self {
        let service = ServiceId::named(service).expect("a valid name");
        let destinations: Vec<ServiceId> =
            destinations.iter().map(|name| ServiceId::named(name).expect("a valid name")).collect();
        let id = ProxyId::new(id).expect("a valid id");
        let mut sidecar = Self {
            id,
            service,
            destinations,
            boot: 0,
            edges: BTreeMap::new(),
            arrivals: Arrivals::new(now.instant, 0),
            inbound: empty(),
            log: ReportLog::new(now, 0),
            plant,
            next_attempt: 0,
        };
        sidecar.restart(now);
        sidecar
    }

    /// The process dies and comes back with nothing but its flags.
    pub(crate) fn restart(&mut self, now: Now) {
        self.boot += 1;
        self.log = ReportLog::new(now, self.boot);
        self.arrivals = Arrivals::new(now.instant, self.boot);
        self.inbound = empty();
        for destination in &self.destinations {
            let core = EdgeCore::new(now, destination.clone(), self.boot);
            let fresh = Edge {
                core,
                shadow: Shadow::default(),
                out: BTreeMap::new(),
                forwarded: Vec::new(),
            };
            self.edges.insert(destination.clone(), fresh);
        }
    }

    pub(crate) fn destinations(&self) -> &[ServiceId] {
        &self.destinations
    }

    /// The edge from its service to `destination`, as it is printed.
    pub(crate) fn edge_to(&self, destination: &ServiceId) -> EdgeName {
        let (source, destination) = (self.service.name().into(), destination.name().into());
        EdgeName { source, destination }
    }

    /// What it says first on a new stream, and the windows that nobody has taken yet.
    pub(crate) fn introduce(&mut self, now: Now) -> Vec<FromProxy> {
        let held = self.edges.values().filter_map(|edge| edge.core.held(now)).collect();
        let hello = Hello {
            proxy: self.id.clone(),
            service: self.service.clone(),
            instance: self.id.to_string(),
            build: "simulated".into(),
            boot: self.boot,
            held,
            policy_version: 0,
            endpoints: Endpoints::leading_to(self.destinations.clone()),
        };
        let mut messages = vec![FromProxy::Hello(hello)];
        self.log.connected();
        messages.extend(self.reports());
        messages
    }

    /// Takes a command; answers it.
    pub(crate) fn command(&mut self, now: Now, command: &Command) -> Result<Ack, String> {
        let mut command = command.clone();
        let revision = command.revision;
        let Some(edge) = self.edges.get_mut(&command.destination) else {
            return Err(format!("{}: a command for {}", self.id, command.destination));
        };
        match (self.plant, &mut command.verb) {
            (Plant::OldCommandsWin, _) => {
                // Whatever comes last is taken for the newest.
                command.revision = edge.core.status(now).revision + 1;
            }
            (Plant::LeasesNeverEnd, Verb::Trip { ttl, .. }) => *ttl = TTL_MAX,
            _ => (),
        }
        let result = edge.core.command(now, &command);
        if result == AckResult::Applied {
            edge.shadow.apply(now, &Command { revision, ..command.clone() })?;
        }
        let Command { id, destination, .. } = command;
        Ok(Ack { id, revision, destination, result })
    }

    /// A request to the application comes in.
    pub(crate) fn came_in(&mut self, now: Now, trace: &TraceContext) {
        self.inbound.requests += 1;
        if self.plant != Plant::AllRepetitionsAreOwn {
            self.arrivals.came_in(now.instant, trace);
        }
    }

    /// The application has answered a request that came in so long ago.
    pub(crate) fn answered(&mut self, status: u16, latency: Duration) {
        self.inbound.failures += u64::from(500 <= status);
        self.inbound.latency.record_us(us(latency));
    }

    /// The caller of a request that came in so long ago has left.
    pub(crate) fn caller_left(&mut self, latency: Duration) {
        self.inbound.cancelled += 1;
        self.inbound.latency.record_us(us(latency));
    }

    /// The application calls `destination`.
    pub(crate) fn call(
        &mut self,
        now: Now,
        (destination, path): (&ServiceId, &str),
        trace: TraceContext,
    ) -> Result<Sent, String> {
        let edge = self.edges.get_mut(destination).expect("one of its destinations");
        let head = RequestHead {
            trace: Some(trace),
            method: "GET",
            authority: "b",
            path_and_query: path,
            idempotency_key: None,
            grpc_previous_attempts: 0,
            body: BodyDigest::Empty,
            protocol: Protocol::Http1,
            arrivals: Some(&self.arrivals),
        };
        let decision = edge.core.admit(now, &head);
        edge.shadow.check(now, &decision, edge.core.status(now).state)?;
        let ticket = match decision {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => {
                return Ok(Sent::Refused(if refusal.retry_of.is_some() { 424 } else { 503 }));
            }
        };
        self.next_attempt += 1;
        edge.out.insert(self.next_attempt, ticket);
        edge.forwarded.push(now.instant);
        let number = self.next_attempt;
        Ok(Sent::Forwarded(Attempt { boot: self.boot, destination: destination.clone(), number }))
    }

    /// The answer to an attempt, or the end of the caller's patience.
    pub(crate) fn answer(&mut self, now: Now, attempt: &Attempt, outcome: Outcome) {
        if attempt.boot != self.boot {
            return; // It died with the process.
        }
        let edge = self.edges.get_mut(&attempt.destination).expect("one of its destinations");
        let Some(ticket) = edge.out.remove(&attempt.number) else { return };
        let latency_us = us(now.instant.duration_since(ticket.started()));
        let status = match outcome {
            Outcome::Success => 200,
            Outcome::Failure => 503,
            Outcome::TimedOut => 504,
            Outcome::Cancelled | Outcome::Ours => 0,
        };
        edge.core.ended(now, ticket, Ended { outcome, status, latency_us });
    }

    /// Every caller goes away.
    pub(crate) fn abandon(&mut self, now: Now) {
        for destination in self.destinations.clone() {
            let numbers: Vec<u64> = self.edges[&destination].out.keys().copied().collect();
            for number in numbers {
                let attempt = Attempt { boot: self.boot, destination: destination.clone(), number };
                self.answer(now, &attempt, Outcome::Cancelled);
            }
        }
    }

    /// Ends the window of the last second.
    pub(crate) fn close_window(&mut self, now: Now) {
        let mut window = Window::default();
        let inbound = std::mem::replace(&mut self.inbound, empty());
        if 0 < inbound.requests + inbound.failures + inbound.cancelled + inbound.latency.count() {
            window.inbound.push(inbound);
        }
        for edge in self.edges.values_mut() {
            let closed = edge.core.close_window(now, 0);
            window.edges.extend(closed.edges);
            window.breakers.extend(closed.breakers);
            window.transitions.extend(closed.transitions);
        }
        self.log.close_window(now, window);
    }

    /// Windows that the present stream has not carried yet.
    pub(crate) fn reports(&mut self) -> Vec<FromProxy> {
        let next = || self.log.next_report().cloned();
        std::iter::from_fn(next).map(FromProxy::Report).collect()
    }

    /// The collector took all windows up to this one.
    pub(crate) fn taken(&mut self, boot: u64, number: u64) {
        self.log.acknowledged(boot, number);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.edges.values().filter_map(|edge| edge.core.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        for edge in self.edges.values_mut() {
            edge.core.handle_timeout(now);
        }
    }

    /// Attempts that went to `destination` since `since`.
    pub(crate) fn forwarded(&self, destination: &ServiceId, since: Instant) -> usize {
        self.edges[destination].forwarded.iter().filter(|at| since <= **at).count()
    }

    pub(crate) fn state(&self, now: Now, destination: &ServiceId) -> BreakerState {
        self.edges[destination].core.status(now).state
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
    u64::try_from(duration.as_micros()).expect("a simulation is short")
}

impl Shadow {
    fn apply(&mut self, now: Now, command: &Command) -> Result<(), String> {
        if command.revision < self.revision {
            return Err(format!("{} went back to {command:?}", self.revision));
        }
        if command.revision == self.revision {
            return Ok(()); // Told again: nothing changes.
        }
        self.revision = command.revision;
        self.open_until = match command.verb {
            Verb::Trip { action: Action::Open, ttl, .. } => Some(now.instant + ttl),
            Verb::Trip { .. } | Verb::Reset { .. } => None,
        };
        Ok(())
    }

    /// Nothing passes an open circuit, and nothing is forced open without a lease.
    fn check(&self, now: Now, decision: &Decision, state: BreakerState) -> Result<(), String> {
        let is_open = self.open_until.is_some_and(|until| now.instant < until);
        match decision {
            Decision::Forward(_) if is_open => Err("an open circuit let an attempt pass".into()),
            Decision::Refuse(refusal) if !is_open && refusal.reason == Reason::ForcedOpen => {
                Err(format!("refused as forced open without a lease; state {state:?}"))
            }
            _ => Ok(()),
        }
    }
}

//! A whole mesh in which nothing is wrong, through the engine's own door, in virtual time.

use super::traffic::{NONE, Nature, Traffic};
use crate::engine::{ConnectionId, Engine, Event, Limits};
use fusebox_proto::report::{
    Dropped, EdgeCounts, EdgeWindow, Endpoints, Hello, InboundWindow, Protocol, Report,
};
use fusebox_proto::view::Incident;
use fusebox_proto::{Latency, Now, ProxyId, ServiceId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

/// 2026-01-01T00:00:00Z
const START_UNIX_MS: u64 = 1_767_225_600_000;
/// A service calls others that are no further below it than so many.
const REACH: usize = 40;
/// Shares of requests that fail in an ordinary second; one in four services has each.
const ERRORS: [f64; 4] = [0.0, 0.002, 0.02, 0.09];
/// Share of requests that fail in a stall.
const ERRORS_STALLED: f64 = 0.3;
/// A failed attempt is repeated so many times at most.
const REPEATED: u32 = 2;

/// Routes of a call: the share of its requests, and how many times as long they take. Whoever has
/// fewer has the first ones.
const ROUTES: [(&str, f64, f64); 3] =
    [("read", 0.8, 1.0), ("report", 0.15, 4.0), ("ping", 0.05, 0.4)];
/// One in so many calls has several.
const ROUTED: u32 = 3;
/// Within an hour the share of a route rises and falls by this one.
const TIDE: f64 = 0.5;

/// A service and its proxy.
struct Service {
    id: ServiceId,
    traffic: Traffic,
    errors: f64,
    /// Whom it calls, and on how many routes.
    callees: Vec<(usize, usize)>,
    callers: usize,
    inbound: InboundWindow,
}

/// The mesh.
pub(super) struct Mesh {
    services: Vec<Service>,
    engine: Engine,
    start: Now,
    second: u64,
    random: StdRng,
}

impl Mesh {
    /// `services` that make `edges` calls, each with a nature of its own.
    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    pub(super) fn new(
        seed: u64,
        services: usize,
        edges: usize,
        nature: impl Fn(&mut StdRng) -> Nature,
    ) -> Self {
        let start = Now { instant: Instant::now(), unix_ms: START_UNIX_MS };
        let mut random = StdRng::seed_from_u64(seed);
        let made = (0..services).map(|number| Service {
            id: ServiceId::named(&format!("s{number}")).expect("a valid name"),
            traffic: Traffic::new(random.random(), nature(&mut random)),
            errors: ERRORS[random.random_range(0..ERRORS.len())],
            callees: Vec::new(),
            callers: 0,
            inbound: quiet(),
        });
        let mut made: Vec<Service> = made.collect();
        let mut calls = BTreeSet::new();
        while calls.len() < edges {
            let caller = random.random_range(0..services - 1);
            let callee = random.random_range(caller + 1..services.min(caller + 1 + REACH));
            calls.insert((caller, callee));
        }
        for (caller, callee) in calls {
            let is_routed = random.random_ratio(1, ROUTED);
            let routes = if is_routed { random.random_range(2..=ROUTES.len()) } else { 1 };
            made[caller].callees.push((callee, routes));
            made[callee].callers += 1;
        }
        let engine = Engine::new(start, Limits::default());
        let mut mesh = Self { services: made, engine, start, second: 0, random };
        (0..services).for_each(|number| mesh.connect(number));
        mesh
    }

    fn connect(&mut self, number: usize) {
        let service = &self.services[number];
        let to = service.callees.iter();
        let to = to.map(|(callee, _)| self.services[*callee].id.clone()).collect();
        let hello = Hello {
            proxy: ProxyId::new(service.id.name()).expect("a valid name"),
            service: service.id.clone(),
            instance: service.id.name().to_owned(),
            build: String::new(),
            boot: 1,
            held: Vec::new(),
            policy_version: 0,
            endpoints: Endpoints::leading_to(to),
        };
        self.tell(Event::Hello { connection: ConnectionId(number as u64), hello });
    }

    fn now(&self) -> Now {
        self.start.plus(Duration::from_secs(self.second))
    }

    fn tell(&mut self, event: Event) {
        self.engine.handle(self.now(), event);
        while self.engine.poll_output().is_some() {}
    }

    /// Lives for so long: all incidents, by their ids.
    pub(super) fn live(&mut self, seconds: u64) -> BTreeMap<String, Incident> {
        let mut seen = BTreeMap::new();
        for second in 1..=seconds {
            self.pass();
            // What is over is still shown for a while.
            if second % 60 == 0 || second == seconds {
                let incidents = self.engine.snapshot(self.now()).incidents;
                seen.extend(incidents.into_iter().map(|it| (it.id.clone(), it)));
            }
        }
        seen
    }

    /// Lets a second pass: traffic, then reports.
    fn pass(&mut self) {
        self.second += 1;
        for service in &mut self.services {
            service.traffic.pass();
        }
        let edges: Vec<Vec<EdgeWindow>> =
            (0..self.services.len()).map(|caller| self.call(caller)).collect();
        for (number, edges) in edges.into_iter().enumerate() {
            let inbound = std::mem::replace(&mut self.services[number].inbound, quiet());
            let report = Report {
                boot: 1,
                number: self.second,
                start_unix_ms: self.now().unix_ms - 1_000,
                duration_ms: 1_000,
                edges,
                inbound: vec![inbound],
                breakers: Vec::new(),
                transitions: Vec::new(),
                dropped: Dropped::default(),
                draining: false,
                endpoints: None,
                troubles: Vec::new(),
            };
            self.tell(Event::Report { connection: ConnectionId(number as u64), report });
        }
        let now = self.now();
        while self.engine.poll_timeout().is_some_and(|at| at <= now.instant) {
            self.engine.handle_timeout(now);
        }
        while self.engine.poll_output().is_some() {}
    }

    /// What a caller's proxy sees of a second.
    fn call(&mut self, caller: usize) -> Vec<EdgeWindow> {
        let callees = std::mem::take(&mut self.services[caller].callees);
        let tide = 1.0 + TIDE * (TAU * (self.second as f64 / 3_600.0 + caller as f64 / 7.0)).sin();
        let windows = callees.iter().flat_map(|(callee, routes)| {
            let callee = &mut self.services[*callee];
            let is_stalled = callee.traffic.is_stalled();
            let errors = if is_stalled { ERRORS_STALLED } else { callee.errors };
            let mut seen: Vec<_> =
                (0..*routes).map(|_| (EdgeCounts::default(), Latency::default())).collect();
            let share = 1.0 / callee.callers as f64;
            callee.traffic.latencies(share, NONE, |us| {
                let dice = if 1 < *routes { self.random.random::<f64>() / tide } else { 1.0 };
                let route = route_of(dice, *routes);
                let us = (us as f64 * ROUTES[route].2) as u64;
                let (counts, latency) = &mut seen[route];
                counts.first_attempts += 1;
                for attempt in 0..=REPEATED {
                    latency.record_us(us);
                    callee.inbound.latency.record_us(us);
                    callee.inbound.requests += 1;
                    counts.retries_certain += u64::from(0 < attempt);
                    let is_failed = 0.0 < errors && self.random.random::<f64>() < errors;
                    counts.failures += u64::from(is_failed);
                    counts.successes += u64::from(!is_failed);
                    callee.inbound.failures += u64::from(is_failed);
                    if !is_failed {
                        break;
                    }
                }
            });
            let destination = callee.id.clone();
            let names = ROUTES.iter().map(|(name, ..)| if 1 < *routes { *name } else { "" });
            let windows = names.zip(seen).map(move |(route, (counts, latency))| EdgeWindow {
                destination: destination.clone(),
                route: route.to_owned(),
                subset: String::new(),
                protocol: Protocol::Http1,
                counts,
                latency,
                retry_waits: None,
            });
            windows.collect::<Vec<_>>()
        });
        let windows = windows.collect();
        self.services[caller].callees = callees;
        windows
    }
}

/// On which of so many routes a request goes: the first takes what the others leave.
fn route_of(dice: f64, routes: usize) -> usize {
    let mut below = 0.0;
    let others = ROUTES.iter().enumerate().take(routes).skip(1);
    let mut others = others.map(|(number, (_, share, _))| {
        below += share;
        (number, below)
    });
    others.find(|(_, below)| dice < *below).map_or(0, |(number, _)| number)
}

fn quiet() -> InboundWindow {
    InboundWindow {
        route: String::new(),
        requests: 0,
        failures: 0,
        cancelled: 0,
        in_flight: 0,
        latency: Latency::default(),
    }
}

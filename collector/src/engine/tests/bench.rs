//! A bench for the engine: made-up proxies, virtual time, outputs in a list.

use crate::engine::{ConnectionId, Engine, Event, Limits, Output};
use crate::record::Restored;
use fusebox_proto::command::{
    Ack, AckResult, ActionKind, Command, HeldLease, ResetRequest, ResetScope, TripRequest,
};
use fusebox_proto::report::{
    BreakerStatus, Dropped, EdgeCounts, EdgeWindow, Endpoints, Hello, InboundWindow, Protocol,
    Report,
};
use fusebox_proto::view::{EdgeView, Incident, Snapshot};
use fusebox_proto::{Latency, Now, ProxyId, ServiceId};
use std::time::{Duration, Instant};

/// 14:00:00 UTC on some day.
pub(super) const START_UNIX_MS: u64 = 1_700_056_800_000;

/// An engine, and the time.
pub(super) struct Bench {
    pub(super) engine: Engine,
    limits: Limits,
    pub(super) now: Now,
    pub(super) outputs: Vec<Output>,
    /// Steps of less than a millisecond must add up on the wall clock too.
    start: Now,
    connections: u64,
}

/// A made-up proxy.
#[derive(Clone, Debug)]
pub(super) struct Sidecar {
    pub(super) hello: Hello,
    pub(super) connection: ConnectionId,
    pub(super) number: u64,
}

pub(super) fn service(name: &str) -> ServiceId {
    ServiceId::named(name).unwrap()
}

/// A window of an edge in which every attempt ended within `latency_us`.
pub(super) fn window(destination: &str, counts: EdgeCounts, latency_us: u64) -> EdgeWindow {
    let mut latency = Latency::default();
    latency.record_n_us(latency_us, counts.successes + counts.failures + counts.timeouts);
    EdgeWindow {
        destination: service(destination),
        route: String::new(),
        subset: String::new(),
        protocol: Protocol::Http1,
        counts,
        latency,
        retry_waits: None,
    }
}

/// First attempts, retries, and how many of all failed.
pub(super) fn counts(first: u64, retries: u64, failed: u64) -> EdgeCounts {
    EdgeCounts {
        first_attempts: first,
        retries_certain: retries,
        failures: failed,
        successes: first + retries - failed,
        ..EdgeCounts::default()
    }
}

/// Requests that came in, and how many failed.
pub(super) fn inbound(requests: u64, failures: u64, latency_us: u64) -> InboundWindow {
    let mut latency = Latency::default();
    latency.record_n_us(latency_us, requests);
    let route = String::new();
    InboundWindow { route, requests, failures, cancelled: 0, in_flight: 0, latency }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    #[expect(clippy::disallowed_methods, reason = "a base instant for virtual time")]
    pub(super) fn with(limits: Limits) -> Self {
        let now = Now { instant: Instant::now(), unix_ms: START_UNIX_MS };
        let engine = Engine::new(now, limits.clone());
        Self { engine, limits, now, outputs: Vec::new(), start: now, connections: 0 }
    }

    /// A new collector that knows nothing, at the same moment.
    pub(super) fn restart(&mut self) {
        self.engine = Engine::new(self.now, self.limits.clone());
        self.outputs.clear();
    }

    /// A new collector that begins with a history, `later` than now; the wall clock may have been
    /// set meanwhile.
    pub(super) fn restart_with(&mut self, restored: &Restored, later: Duration, wall_ms: i64) {
        self.now = self.now.plus(later);
        self.now.unix_ms = self.now.unix_ms.saturating_add_signed(wall_ms);
        self.start = self.now;
        self.engine = Engine::restored(self.now, self.limits.clone(), restored);
        self.outputs.clear();
        self.drain();
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.engine.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Diagnose { look } => {
                    let answer = Box::new(look.run());
                    self.engine.handle(self.now, Event::Diagnosed { answer });
                }
                output => self.outputs.push(output),
            }
        }
    }

    /// Lets time pass, as a shell does.
    pub(super) fn advance(&mut self, by: Duration) {
        let until = self.now.instant + by;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= until) {
            self.now = self.start.plus(at.saturating_duration_since(self.start.instant));
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.start.plus(until.saturating_duration_since(self.start.instant));
    }

    pub(super) fn next_connection(&mut self) -> ConnectionId {
        self.connections += 1;
        ConnectionId(self.connections)
    }

    pub(super) fn connect(&mut self, proxy: &str, of: &str, to: &[&str]) -> Sidecar {
        self.connect_holding(proxy, of, to, Vec::new())
    }

    pub(super) fn connect_holding(
        &mut self,
        proxy: &str,
        of: &str,
        to: &[&str],
        held: Vec<HeldLease>,
    ) -> Sidecar {
        let connection = self.next_connection();
        let hello = Hello {
            proxy: ProxyId::new(proxy).unwrap(),
            service: service(of),
            instance: proxy.to_owned(),
            build: "0.1.0".to_owned(),
            boot: 1,
            held,
            policy_version: 0,
            endpoints: Endpoints::leading_to(to.iter().map(|name| service(name)).collect()),
        };
        self.handle(Event::Hello { connection, hello: hello.clone() });
        Sidecar { hello, connection, number: 0 }
    }

    /// A report about the second that ends now.
    pub(super) fn report(
        &mut self,
        sidecar: &mut Sidecar,
        edges: Vec<EdgeWindow>,
        inbound: Vec<InboundWindow>,
    ) -> Report {
        self.report_with(sidecar, edges, inbound, Vec::new())
    }

    pub(super) fn report_with(
        &mut self,
        sidecar: &mut Sidecar,
        edges: Vec<EdgeWindow>,
        inbound: Vec<InboundWindow>,
        breakers: Vec<BreakerStatus>,
    ) -> Report {
        sidecar.number += 1;
        let report = Report {
            boot: sidecar.hello.boot,
            number: sidecar.number,
            start_unix_ms: self.now.unix_ms - 1_000,
            duration_ms: 1_000,
            edges,
            inbound,
            breakers,
            transitions: Vec::new(),
            dropped: Dropped::default(),
            draining: false,
            endpoints: None,
            troubles: Vec::new(),
        };
        let connection = sidecar.connection;
        self.handle(Event::Report { connection, report: report.clone() });
        report
    }

    /// A report of no traffic that says where calls go.
    pub(super) fn tell_ways(&mut self, sidecar: &mut Sidecar) {
        let quiet = self.report(sidecar, Vec::new(), Vec::new());
        sidecar.number += 1;
        let endpoints = Some(sidecar.hello.endpoints.clone());
        let report = Report { number: sidecar.number, endpoints, ..quiet };
        self.handle(Event::Report { connection: sidecar.connection, report });
    }

    pub(super) fn trip(&mut self, id: &str, edge: (&str, &str), action: ActionKind, ttl_s: u64) {
        self.handle(Event::Trip(TripRequest {
            request_id: id.to_owned(),
            source: edge.0.to_owned(),
            destination: edge.1.to_owned(),
            action,
            percent: None,
            ttl: Duration::from_secs(ttl_s),
            reason: "drill".to_owned(),
            by: "ana".to_owned(),
        }));
    }

    pub(super) fn reset(&mut self, id: &str, scope: ResetScope) {
        self.handle(Event::Reset(ResetRequest {
            request_id: id.to_owned(),
            scope,
            at_once: false,
            reason: String::new(),
            by: "ana".to_owned(),
        }));
    }

    /// Commands that were sent since the last call, and on which streams.
    pub(super) fn pushed(&mut self) -> Vec<(ConnectionId, Command)> {
        let mut pushed = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Push { connection, command } => {
                pushed.push((*connection, command.clone()));
                false
            }
            _ => true,
        });
        pushed
    }

    pub(super) fn ack(&mut self, connection: ConnectionId, command: &Command, result: AckResult) {
        let ack = Ack {
            id: command.id.clone(),
            revision: command.revision,
            destination: command.destination.clone(),
            result,
        };
        self.handle(Event::Ack { connection, ack });
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot(self.now)
    }

    pub(super) fn edge(&self, source: &str, destination: &str) -> EdgeView {
        let edges = self.snapshot().edges;
        let is_it = |e: &EdgeView| e.source == source && e.destination == destination;
        edges.into_iter().find(is_it).expect("the edge is on the graph")
    }

    /// The only incident.
    pub(super) fn incident(&self) -> Incident {
        let mut incidents = self.snapshot().incidents;
        assert_eq!(incidents.len(), 1, "{incidents:#?}");
        incidents.remove(0)
    }
}

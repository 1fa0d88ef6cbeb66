//! The world of the simulation: proxies, a collector and a console in virtual time, on a network
//! that delays, breaks, duplicates and reorders, with crashes of each.
//!
//! One seed is one life. It ends with a liveness phase: the network heals, callers leave, time
//! passes, and everything must have come to rest and work.

use crate::Plant;
use crate::console::Console;
use crate::net::{Agenda, Lane};
use crate::sidecar::{Attempt, Sidecar};
use fusebox_collector::engine::{ConnectionId, Engine, Event, Limits, Output};
use fusebox_proto::command::ToProxy;
use fusebox_proto::report::FromProxy;
use fusebox_proto::trace::TraceContext;
use fusebox_proto::{Now, ServiceId};
use fusebox_proxy::edge::Outcome;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Length of the hostile phase.
const STORMY: Duration = Duration::from_secs(60);
/// Longer than any lease of the console and its ramp.
const QUIET: Duration = Duration::from_secs(100);
/// Steady traffic at the end, for the books.
const STEADY: Duration = Duration::from_secs(15);
/// 2026-01-01T00:00:00Z
const START_UNIX_MS: u64 = 1_767_225_600_000;
const SECOND: Duration = Duration::from_secs(1);

/// What will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A message of a proxy arrives.
    AtCollector(ConnectionId, Box<FromProxy>),
    /// A message of the collector arrives.
    AtProxy(usize, ConnectionId, Box<ToProxy>),
    /// An end of a stream notices that it broke.
    CollectorSeesEnd(ConnectionId),
    ProxySeesEnd(usize, ConnectionId),
    /// A proxy tries to connect.
    Connect(usize),
    /// A window of a proxy ends.
    Tick(usize),
    /// The application behind a proxy calls, for the so many-th time under this trace.
    Call {
        proxy: usize,
        destination: ServiceId,
        trace: TraceContext,
        resends: u32,
    },
    /// An attempt ends.
    Answer {
        proxy: usize,
        attempt: Attempt,
        outcome: Outcome,
        call: (TraceContext, u32),
    },
    /// Traffic begins another request on each edge.
    Arrivals,
    /// The console acts, its request arrives, its answer arrives.
    ConsoleActs,
    ConsoleAsks(Event),
    ConsoleHears(String),
    /// Something breaks.
    Mischief,
    /// The collector comes back.
    CollectorStarts,
}

#[derive(Debug, Default)]
struct Stream {
    up: Lane,
    down: Lane,
}

pub(crate) struct World {
    now: Now,
    start: Instant,
    rng: StdRng,
    agenda: Agenda<Happening>,
    sidecars: Vec<Sidecar>,
    /// The stream that each proxy believes in.
    streams: BTreeMap<usize, ConnectionId>,
    lanes: BTreeMap<ConnectionId, (usize, Stream)>,
    next_connection: u64,
    engine: Option<Engine>,
    console: Console,
    acked: BTreeSet<(usize, String)>,
    is_hostile: bool,
    trace: u64,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant) -> Self {
        // The wall clock is the seed's too: revisions come from it.
        let now = Now { unix_ms: START_UNIX_MS, ..Now::read() };
        let sidecar = |id, service, destinations: &[&str]| {
            Sidecar::new(now, id, service, destinations, plant)
        };
        let sidecars = vec![
            sidecar("a-0", "a", &["b", "d"]),
            sidecar("a-1", "a", &["b", "d"]),
            sidecar("c-0", "c", &["b"]),
        ];
        let mut world = Self {
            now,
            start: now.instant,
            rng: StdRng::seed_from_u64(seed),
            agenda: Agenda::default(),
            sidecars,
            streams: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_connection: 0,
            engine: Some(Engine::new(now, Limits::default())),
            console: Console::default(),
            acked: BTreeSet::new(),
            is_hostile: true,
            trace: 0,
        };
        for proxy in 0..world.sidecars.len() {
            world.after(Duration::ZERO, Happening::Connect(proxy));
            world.after(SECOND, Happening::Tick(proxy));
        }
        world.after(SECOND, Happening::Arrivals);
        world.after(2 * SECOND, Happening::ConsoleActs);
        world.after(3 * SECOND, Happening::Mischief);
        world
    }

    /// A whole life. Returns a log that must be the same for the same seed.
    pub(crate) fn live(mut self) -> Result<Vec<String>, String> {
        let mut log = Vec::new();
        self.run_until(self.start + STORMY, &mut log)?;
        self.heal();
        self.run_until(self.start + STORMY + QUIET, &mut log)?;
        self.check_rest()?;
        self.after(Duration::ZERO, Happening::Arrivals);
        self.run_until(self.start + STORMY + QUIET + STEADY, &mut log)?;
        self.check_books()?;
        Ok(log)
    }

    fn after(&mut self, delay: Duration, what: Happening) {
        self.agenda.put(self.now.instant + delay, what);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    fn run_until(&mut self, end: Instant, log: &mut Vec<String>) -> Result<(), String> {
        loop {
            let timers = self.sidecars.iter().filter_map(Sidecar::poll_timeout);
            let timers = timers.chain(self.engine.as_ref().and_then(Engine::poll_timeout));
            let next = timers.chain(self.agenda.next_at()).min().unwrap_or(end).min(end);
            let ahead = next.saturating_duration_since(self.now.instant);
            self.now = self.now.plus(ahead);
            for sidecar in &mut self.sidecars {
                if sidecar.poll_timeout().is_some_and(|at| at <= self.now.instant) {
                    sidecar.handle_timeout(self.now);
                }
            }
            if let Some(engine) = &mut self.engine
                && engine.poll_timeout().is_some_and(|at| at <= self.now.instant)
            {
                engine.handle_timeout(self.now);
            }
            self.perform_outputs()?;
            while let Some(what) = self.agenda.pop(self.now.instant) {
                self.happen(what, log)?;
                self.perform_outputs()?;
            }
            if end <= self.now.instant {
                return Ok(());
            }
        }
    }

    fn happen(&mut self, what: Happening, log: &mut Vec<String>) -> Result<(), String> {
        match what {
            Happening::AtCollector(connection, message) => self.at_collector(connection, *message),
            Happening::AtProxy(proxy, connection, message) => {
                return self.at_proxy(proxy, connection, *message, log);
            }
            Happening::CollectorSeesEnd(connection) => {
                self.tell(Event::Gone { connection });
            }
            Happening::ProxySeesEnd(proxy, connection) => self.proxy_sees_end(proxy, connection),
            Happening::Connect(proxy) => self.connect(proxy),
            Happening::Tick(proxy) => {
                self.sidecars[proxy].close_window(self.now);
                if self.streams.contains_key(&proxy) {
                    for report in self.sidecars[proxy].reports() {
                        self.send_up(proxy, report);
                    }
                }
                self.after(SECOND, Happening::Tick(proxy));
            }
            Happening::Call { proxy, destination, trace, resends } => {
                return self.call(proxy, &destination, trace, resends);
            }
            Happening::Answer { proxy, attempt, outcome, call } => {
                self.sidecars[proxy].answer(self.now, &attempt, outcome);
                self.maybe_retry(proxy, &attempt.destination, outcome, call);
            }
            Happening::Arrivals => self.arrivals(),
            Happening::ConsoleActs => self.console_acts(),
            Happening::ConsoleAsks(event) => self.tell(event),
            Happening::ConsoleHears(id) => self.console.hears(&id),
            Happening::Mischief => self.mischief(),
            Happening::CollectorStarts => {
                self.engine.get_or_insert_with(|| Engine::new(self.now, Limits::default()));
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        if let Some(engine) = &mut self.engine {
            engine.handle(self.now, event);
        }
    }
}

// === Streams ===

impl World {
    fn connect(&mut self, proxy: usize) {
        if self.streams.contains_key(&proxy) {
            return;
        }
        let refused = self.engine.is_none() || self.is_hostile && self.rng.random_bool(0.2);
        if refused {
            let later = self.millis(100..2_000);
            return self.after(later, Happening::Connect(proxy));
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.streams.insert(proxy, connection);
        self.lanes.insert(connection, (proxy, Stream::default()));
        for message in self.sidecars[proxy].introduce(self.now) {
            self.send_up(proxy, message);
        }
    }

    fn send_up(&mut self, proxy: usize, message: FromProxy) {
        let Some(&connection) = self.streams.get(&proxy) else { return };
        let delay = self.millis(0..300);
        // A proxy that has not noticed yet speaks into a stream that is cut.
        let Some((_, stream)) = self.lanes.get_mut(&connection) else { return };
        let at = stream.up.arrival(self.now.instant, delay);
        self.agenda.put(at, Happening::AtCollector(connection, Box::new(message)));
    }

    fn send_down(&mut self, connection: ConnectionId, message: ToProxy) {
        let delay = self.millis(0..300);
        let Some((proxy, stream)) = self.lanes.get_mut(&connection) else { return };
        let at = stream.down.arrival(self.now.instant, delay);
        self.agenda.put(at, Happening::AtProxy(*proxy, connection, Box::new(message)));
    }

    /// The stream is cut: messages in flight are lost with it.
    fn cut(&mut self, connection: ConnectionId) {
        let Some((proxy, _)) = self.lanes.remove(&connection) else { return };
        self.agenda.retain(|what| match what {
            Happening::AtCollector(at, _) | Happening::AtProxy(_, at, _) => *at != connection,
            _ => true,
        });
        let (up, down) = (self.millis(0..5_000), self.millis(0..5_000));
        self.after(up, Happening::CollectorSeesEnd(connection));
        self.after(down, Happening::ProxySeesEnd(proxy, connection));
    }

    fn proxy_sees_end(&mut self, proxy: usize, connection: ConnectionId) {
        if self.streams.get(&proxy) == Some(&connection) {
            self.streams.remove(&proxy);
            let later = self.millis(0..1_000);
            self.after(later, Happening::Connect(proxy));
        }
    }

    fn at_collector(&mut self, connection: ConnectionId, message: FromProxy) {
        // A proxy says that it has a command when it acknowledges it, and when it comes back.
        let has: Vec<&str> = match &message {
            FromProxy::Ack(ack) => vec![&ack.id],
            FromProxy::Hello(hello) => hello.held.iter().map(|held| &*held.command.id).collect(),
            FromProxy::Report(_) => Vec::new(),
        };
        if let Some((proxy, _)) = self.lanes.get(&connection) {
            self.acked.extend(has.into_iter().map(|id| (*proxy, id.to_owned())));
        }
        self.tell(match message {
            FromProxy::Hello(hello) => Event::Hello { connection, hello },
            FromProxy::Report(report) => Event::Report { connection, report },
            FromProxy::Ack(ack) => Event::Ack { connection, ack },
        });
    }

    fn at_proxy(
        &mut self,
        proxy: usize,
        connection: ConnectionId,
        message: ToProxy,
        log: &mut Vec<String>,
    ) -> Result<(), String> {
        if self.streams.get(&proxy) != Some(&connection) {
            return Ok(());
        }
        match message {
            ToProxy::Command(command) => {
                let answer = self.sidecars[proxy].command(self.now, &command)?;
                let at = self.now.instant.duration_since(self.start);
                log.push(format!("{at:?} {proxy} {:?} {answer:?}", command.verb));
                self.send_up(proxy, answer);
            }
            ToProxy::ReportAck { boot, number } => self.sidecars[proxy].taken(boot, number),
            ToProxy::Welcome(_) => (),
        }
        Ok(())
    }

    fn perform_outputs(&mut self) -> Result<(), String> {
        while let Some(output) = self.engine.as_mut().and_then(Engine::poll_output) {
            match output {
                Output::Push { connection, command } => {
                    self.send_down(connection, ToProxy::Command(command));
                }
                Output::Taken { connection, boot, number } => {
                    self.send_down(connection, ToProxy::ReportAck { boot, number });
                }
                Output::Close { connection, .. } => self.cut(connection),
                Output::Done { request_id, results } => {
                    for result in &results {
                        if result.proxies < result.applied {
                            return Err(format!("more acknowledgements than proxies: {result:?}"));
                        }
                        let true_acks =
                            self.acked.iter().filter(|(_, id)| *id == result.id).count() as u64;
                        if true_acks < result.applied {
                            return Err(format!("an acknowledgement that nobody gave: {result:?}"));
                        }
                    }
                    self.to_console(request_id);
                }
                Output::Refused { request_id, .. } => self.to_console(request_id),
            }
        }
        Ok(())
    }
}

// === Traffic ===

impl World {
    fn arrivals(&mut self) {
        for proxy in 0..self.sidecars.len() {
            for destination in self.sidecars[proxy].destinations().to_vec() {
                self.trace += 1;
                let text = format!("00-{:032x}-{:016x}-00", self.trace, self.trace);
                let trace = TraceContext::parse(&text).expect("a valid context");
                let within = self.millis(0..90);
                self.after(within, Happening::Call { proxy, destination, trace, resends: 0 });
            }
        }
        let end = if self.is_hostile { STORMY } else { STORMY + QUIET + STEADY };
        if self.now.instant < self.start + end {
            self.after(Duration::from_millis(100), Happening::Arrivals);
        }
    }

    fn call(
        &mut self,
        proxy: usize,
        destination: &ServiceId,
        trace: TraceContext,
        resends: u32,
    ) -> Result<(), String> {
        let sent = self.sidecars[proxy].call(self.now, destination, trace);
        let Some(attempt) = sent.map_err(|e| format!("proxy {proxy}: {e}"))? else {
            self.maybe_retry(proxy, destination, Outcome::Ours, (trace, resends));
            return Ok(());
        };
        let outcome = match self.rng.random_range(0..10) {
            _ if !self.is_hostile => Outcome::Success,
            0..5 => Outcome::Success,
            5..8 => Outcome::Failure,
            _ => Outcome::Cancelled,
        };
        let took = self.millis(1..400);
        let call = (trace, resends);
        self.after(took, Happening::Answer { proxy, attempt, outcome, call });
        Ok(())
    }

    fn maybe_retry(
        &mut self,
        proxy: usize,
        destination: &ServiceId,
        outcome: Outcome,
        (trace, resends): (TraceContext, u32),
    ) {
        if self.is_hostile && outcome != Outcome::Success && resends < 3 {
            let pause = self.millis(0..50);
            let destination = destination.clone();
            let resends = resends + 1;
            self.after(pause, Happening::Call { proxy, destination, trace, resends });
        }
    }
}

// === Console ===

impl World {
    fn console_acts(&mut self) {
        for event in self.console.acts(&mut self.rng, self.is_hostile) {
            // A request may be lost on its way, or arrive twice: consoles ask again.
            let copies = if self.is_hostile { self.rng.random_range(0..3) } else { 1 };
            for _ in 0..copies {
                let delay = self.millis(0..800);
                self.after(delay, Happening::ConsoleAsks(event.clone()));
            }
        }
        let pause = self.millis(200..4_000);
        self.after(pause, Happening::ConsoleActs);
    }

    fn to_console(&mut self, request_id: String) {
        let delay = self.millis(0..800);
        self.after(delay, Happening::ConsoleHears(request_id));
    }
}

// === Mischief and the end ===

impl World {
    fn mischief(&mut self) {
        if !self.is_hostile {
            return;
        }
        match self.rng.random_range(0..10) {
            0..5 => {
                let open: Vec<ConnectionId> = self.lanes.keys().copied().collect();
                if !open.is_empty() {
                    let which = self.rng.random_range(0..open.len());
                    self.cut(open[which]);
                }
            }
            5..7 => self.collector_dies(),
            _ => {
                let proxy = self.rng.random_range(0..self.sidecars.len());
                self.sidecars[proxy].restart(self.now);
                if let Some(connection) = self.streams.remove(&proxy) {
                    self.cut(connection);
                }
                self.after(Duration::from_millis(500), Happening::Connect(proxy));
            }
        }
        let pause = self.millis(500..8_000);
        self.after(pause, Happening::Mischief);
    }

    fn collector_dies(&mut self) {
        self.engine = None;
        let open: Vec<ConnectionId> = self.lanes.keys().copied().collect();
        for connection in open {
            self.cut(connection);
        }
        // The new process knows nothing of the old one's streams.
        self.agenda.retain(|what| !matches!(what, Happening::CollectorSeesEnd(_)));
        let pause = self.millis(100..10_000);
        self.after(pause, Happening::CollectorStarts);
    }

    fn heal(&mut self) {
        self.is_hostile = false;
        self.after(Duration::ZERO, Happening::CollectorStarts);
        for sidecar in &mut self.sidecars {
            sidecar.abandon(self.now);
        }
        self.agenda.retain(|what| {
            !matches!(what, Happening::Call { .. } | Happening::Answer { .. } | Happening::Arrivals)
        });
    }

    /// Everything has come to rest: circuits closed, streams open, questions answered.
    fn check_rest(&mut self) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("no collector")?;
        let snapshot = engine.snapshot(self.now);
        for (proxy, sidecar) in self.sidecars.iter_mut().enumerate() {
            for destination in sidecar.destinations().to_vec() {
                let state = sidecar.state(self.now, &destination);
                if state.as_str() != "closed" {
                    return Err(format!("proxy {proxy} is stuck: {destination} is {state:?}"));
                }
            }
        }
        if let Some(proxy) = snapshot.proxies.iter().find(|proxy| !proxy.connected) {
            return Err(format!("the collector lost {proxy:?}"));
        }
        if snapshot.proxies.len() != self.sidecars.len() {
            return Err(format!("the collector knows {} proxies", snapshot.proxies.len()));
        }
        for edge in &snapshot.edges {
            if edge.breaker.state.as_str() != "closed" {
                return Err(format!("the collector believes in {edge:?}"));
            }
        }
        match self.console.waiting() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} requests of the console were never answered")),
        }
    }

    /// After steady traffic over a whole network every attempt is in the books once.
    fn check_books(&mut self) -> Result<(), String> {
        let engine = self.engine.as_ref().ok_or("no collector")?;
        let snapshot = engine.snapshot(self.now);
        // The rate is over the last 10 s; the books are exact but for a second at either end.
        let since = self.now.instant.checked_sub(10 * SECOND).expect("later than that");
        for edge in &snapshot.edges {
            let destination = ServiceId::named(&edge.destination).expect("a name of ours");
            let sources = self.sidecars.iter().filter(|sidecar| {
                sidecar.id.as_str().starts_with(&edge.source)
                    && sidecar.destinations().contains(&destination)
            });
            let truth: usize = sources.map(|sidecar| sidecar.forwarded(&destination, since)).sum();
            let truth = truth as f64 / 10.0;
            let told = edge.rate.unwrap_or(0.0);
            if truth == 0.0 || (told / truth - 1.0).abs() > 0.15 {
                return Err(format!(
                    "{}>{}: {told}/s told, {truth}/s true",
                    edge.source, edge.destination
                ));
            }
        }
        if snapshot.edges.len() != 3 {
            return Err(format!("{} edges", snapshot.edges.len()));
        }
        Ok(())
    }
}

//! The world of the simulation: proxies, a collector and a console in virtual time, on a network
//! that delays, breaks, duplicates and reorders, with crashes of each.
//!
//! One seed is one life. It ends with a liveness phase: the network heals, callers leave, time
//! passes, and everything must have come to rest and work.

mod end;
mod streams;

use crate::Plant;
use crate::console::Console;
use crate::net::{Agenda, Lane};
use crate::sidecar::{Attempt, Sidecar};
use fusebox_collector::engine::{ConnectionId, Engine, Event, Limits};
use fusebox_collector::record::{Record, Restored};
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
const STORMY: Duration = Duration::from_mins(1);
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
    /// A record is on the collector's disk, or is not.
    Synced {
        number: u64,
        at_unix_ms: u64,
        record: Box<Record>,
    },
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
    /// What the collector's disk has, and the ids of the commands among it.
    disk: Restored,
    kept: BTreeSet<String>,
    to_disk: Lane,
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
            engine: Some(Engine::restored(now, Limits::default(), &Restored::default())),
            disk: Restored::default(),
            kept: BTreeSet::new(),
            to_disk: Lane::default(),
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
            Happening::Synced { number, at_unix_ms, record } => {
                self.synced(number, at_unix_ms, *record);
            }
            Happening::Mischief => self.mischief(),
            Happening::CollectorStarts => {
                let (now, disk) = (self.now, &self.disk);
                self.engine.get_or_insert_with(|| Engine::restored(now, Limits::default(), disk));
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

    fn answer_console(&mut self, request_id: String) {
        let delay = self.millis(0..800);
        self.after(delay, Happening::ConsoleHears(request_id));
    }
}

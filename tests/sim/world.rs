//! The world of the simulation: proxies, a collector and a console in virtual time, on a network
//! that delays, breaks, duplicates and reorders, with crashes of each.
//!
//! One seed is one life. It ends with a liveness phase: the network heals, callers leave, time
//! passes, and everything must have come to rest and work.

mod console;
mod end;
mod streams;
mod traffic;

use crate::Plant;
use crate::console::Console;
use crate::net::{Agenda, Lane};
use crate::sidecar::{Attempt, Sidecar};
use crate::truth::Truth;
use crate::twin::Twin;
use console::{Moment, TIDY_AFTER, Watch};
use fusebox::model::Message;
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
const STORMY: Duration = Duration::from_secs(30);
/// Longer than any lease and its ramp.
const QUIET: Duration = Duration::from_secs(366);
/// For the first part of it there is no collector; what the twin still asks for then ends in time.
const ALONE: Duration = Duration::from_secs(275);
/// Longer than a person takes to end all leases, and a ramp.
const QUIET_TIDIED: Duration = Duration::from_secs(130);
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
    /// A record is on the collector's disk, or is not.
    Synced {
        number: u64,
        at_unix_ms: u64,
        record: Box<Record>,
    },
    /// Something at the console, or on its way.
    AtConsole(Moment),
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
    /// Whose each stream is or was.
    connections: Vec<usize>,
    engine: Option<Engine>,
    /// What the collector's disk has, and the ids of the commands among it.
    disk: Restored,
    kept: BTreeSet<String>,
    to_disk: Lane,
    console: Console,
    streams_of_console: u64,
    /// The collector's end of the stream that the console follows.
    watch: Option<Watch>,
    twin: Twin,
    truth: Truth,
    plant: Plant,
    is_hostile: bool,
    /// Whether someone ends all leases when the network is whole again; else they end by time.
    is_tidied: bool,
    healed_at: Instant,
    traffic_until: Instant,
    trace: u64,
    log: Vec<String>,
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
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = Self {
            now,
            start: now.instant,
            is_tidied: rng.random_bool(0.5),
            rng,
            agenda: Agenda::default(),
            sidecars,
            streams: BTreeMap::new(),
            lanes: BTreeMap::new(),
            connections: Vec::new(),
            engine: Some(Engine::restored(now, Limits::default(), &Restored::default())),
            disk: Restored::default(),
            kept: BTreeSet::new(),
            to_disk: Lane::default(),
            console: Console::new(now, 0, plant),
            streams_of_console: 0,
            watch: None,
            twin: Twin::default(),
            truth: Truth::default(),
            plant,
            is_hostile: true,
            healed_at: now.instant + STORMY,
            traffic_until: now.instant + STORMY,
            trace: 0,
            log: Vec::new(),
        };
        for proxy in 0..world.sidecars.len() {
            world.after(Duration::ZERO, Happening::Connect(proxy));
            world.after(SECOND, Happening::Tick(proxy));
        }
        world.after(SECOND, Happening::Arrivals);
        world.after(SECOND, Happening::AtConsole(Moment::Connects));
        world.after(2 * SECOND, Happening::AtConsole(Moment::OperatorActs));
        world.after(2 * SECOND, Happening::AtConsole(Moment::TwinActs));
        world.after(3 * SECOND, Happening::Mischief);
        world
    }

    /// A whole life. Returns a log that must be the same for the same seed.
    pub(crate) fn live(mut self) -> Result<Vec<String>, String> {
        self.run_until(self.healed_at)?;
        self.heal();
        let quiet = if self.is_tidied { QUIET_TIDIED } else { QUIET };
        self.run_until(self.healed_at + quiet)?;
        self.check_rest()?;
        self.traffic_until = self.now.instant + STEADY;
        self.after(Duration::ZERO, Happening::Arrivals);
        self.run_until(self.traffic_until)?;
        self.check_books()?;
        Ok(self.log)
    }

    fn after(&mut self, delay: Duration, what: Happening) {
        self.agenda.put(self.now.instant + delay, what);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    fn run_until(&mut self, end: Instant) -> Result<(), String> {
        loop {
            let sidecars_at = self.sidecars.iter().filter_map(Sidecar::poll_timeout).min();
            let engine_at = self.engine.as_ref().and_then(Engine::poll_timeout);
            let timers = [sidecars_at, engine_at, self.console.poll_timeout()];
            let next = timers.into_iter().flatten().chain(self.agenda.next_at()).min();
            let next = next.unwrap_or(end).min(end);
            self.now = self.now.plus(next.saturating_duration_since(self.now.instant));
            let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= next);
            if is_due(sidecars_at) {
                self.sidecars.iter_mut().for_each(|sidecar| sidecar.handle_timeout(self.now));
            }
            if let Some(engine) = self.engine.as_mut().filter(|_| is_due(engine_at)) {
                engine.handle_timeout(self.now);
            }
            self.perform_outputs()?;
            if self.console.poll_timeout().is_some_and(|at| at <= self.now.instant) {
                self.tell_console(Message::Tick)?;
            }
            while let Some(what) = self.agenda.pop(self.now.instant) {
                self.happen(what)?;
                self.perform_outputs()?;
            }
            if end <= self.now.instant {
                return Ok(());
            }
        }
    }

    fn happen(&mut self, what: Happening) -> Result<(), String> {
        match what {
            Happening::AtCollector(connection, message) => self.at_collector(connection, *message),
            Happening::AtProxy(proxy, connection, message) => {
                return self.at_proxy(proxy, connection, *message);
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
            Happening::Synced { number, at_unix_ms, record } => {
                self.synced(number, at_unix_ms, *record);
            }
            Happening::AtConsole(moment) => return self.console_happens(moment),
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

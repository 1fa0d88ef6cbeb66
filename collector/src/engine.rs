//! The collector's core: telemetry and commands in, views and pushes out.
//!
//! One owner of everything that the collector knows: windows, detectors, incidents, leases. It is
//! told the time, does no IO, and only dispatches; what each event means stands in the module
//! that keeps that state.

mod backing;
mod commands;
mod guarding;
mod instances;
mod journal;
mod keeping;
mod looking;
mod meter;
mod policies;
mod proxies;
mod refusal;
mod seen;
mod telemetry;

pub(crate) use instances::Instances;
pub(crate) use journal::EVENTS_MAX;
pub use policies::{Apply, Lint};
pub(crate) use proxies::{Proxies, Proxy, Standing, offset_ms};
pub use refusal::Refusal;

use crate::desired::{Desired, Finished};
use crate::detect::{Detectors, Hedging, NPlusOnes, Polling, Round, SilentSubsets};
use crate::diagnose::{Answer, Look};
use crate::graph::Graph;
use crate::guard::{self, Guard};
use crate::incident::{Capacity, Incidents, Scene};
use crate::names::Names;
use crate::pairing::Pairing;
use crate::policy::Policies;
use crate::record::Record;
use crate::spans::SpanBatch;
use crate::store::{Split, Store};
use fusebox_proto::command::{Ack, Command, ResetRequest, TripRequest};
use fusebox_proto::policy::{Push, PushAck, RollbackRequest, ShiftRequest};
use fusebox_proto::report::{Hello, Report};
use fusebox_proto::view::{GuardMode, PolicyResult, Snapshot, TripResult};
use fusebox_proto::{Edge, Now, ServiceId};
use journal::Journal;
use keeping::Keeping;
use looking::Looking;
use meter::Meter;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often time is let pass where nothing asks for it.
const TICK: Duration = Duration::from_secs(1);

/// One stream of a proxy; the shell numbers them and never uses a number twice. A proxy that
/// connects again gets a new one, so that the end of its old stream cannot take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// An OTLP request was taken.
    Spans {
        /// Name or address of the sender; `None` for a proxy, which counts by its stream.
        sender: Option<Arc<str>>,
        /// What it brought.
        batch: SpanBatch,
    },
    /// A proxy introduced itself on a new stream. A proxy of the same id on an older stream is
    /// replaced, and that stream closed.
    Hello {
        /// Its stream.
        connection: ConnectionId,
        /// What it says of itself.
        hello: Hello,
    },
    /// A proxy reports a window. Counted for the service of its [`Hello`] only.
    Report {
        /// Its stream.
        connection: ConnectionId,
        /// The window.
        report: Report,
    },
    /// A proxy answers a command.
    Ack {
        /// Its stream.
        connection: ConnectionId,
        /// The answer.
        ack: Ack,
    },
    /// A stream ended.
    Gone {
        /// Which.
        connection: ConnectionId,
    },
    /// An operator trips an edge; answered by [`Output::Done`] or [`Output::Refused`].
    Trip(TripRequest),
    /// An operator ends leases; answered by [`Output::Done`] or [`Output::Refused`].
    Reset(ResetRequest),
    /// A proxy answers a policy.
    PolicyAck {
        /// Its stream.
        connection: ConnectionId,
        /// The answer.
        ack: PushAck,
    },
    /// An operator applies documents; answered by [`Output::PolicyDone`].
    Apply(Box<Apply>),
    /// An operator goes back to an earlier policy; answered by [`Output::PolicyDone`] or
    /// [`Output::Refused`].
    Rollback(RollbackRequest),
    /// An operator moves traffic between subsets; answered by [`Output::PolicyDone`] or
    /// [`Output::Refused`].
    Shift(ShiftRequest),
    /// Records of [`Output::Store`] are on disk, or are not.
    Stored {
        /// Their numbers.
        numbers: RangeInclusive<u64>,
        /// Why they are not.
        result: Result<(), Arc<str>>,
    },
    /// What [`Output::Diagnose`] asked for was done; nothing was seen where it could not be.
    Diagnosed {
        /// What was seen.
        answer: Box<Answer>,
    },
    /// The shell dropped or refused something.
    Dropped {
        /// Why, in the words of `status.collector.dropped`.
        reason: &'static str,
        /// How many more.
        count: u64,
    },
}

/// What an engine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this command on this stream.
    Push {
        /// To whom.
        connection: ConnectionId,
        /// What.
        command: Command,
    },
    /// Send this policy on this stream.
    PushPolicy {
        /// To whom.
        connection: ConnectionId,
        /// What.
        push: Arc<Push>,
    },
    /// Tell this stream which windows may be forgotten (also after a duplicate).
    Taken {
        /// To whom.
        connection: ConnectionId,
        /// As in the report.
        boot: u64,
        /// Up to this number all windows of the boot were taken, or given up.
        number: u64,
    },
    /// End this stream: its proxy came back on another, or said something that it must not say.
    Close {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: String,
    },
    /// Write this down, and say so with [`Event::Stored`] once it is synced.
    Store {
        /// Names the record; one higher than the last.
        number: u64,
        /// When it came to be, Unix time in milliseconds.
        at_unix_ms: u64,
        /// What.
        record: Record,
    },
    /// Take this look, beside everything else, and say what was seen with [`Event::Diagnosed`]:
    /// until then there is no other.
    Diagnose {
        /// At what.
        look: Box<Look>,
    },
    /// The answer to a request: all proxies acknowledged, or one second passed; and it is on disk,
    /// where there is a history, or the answer says that it is not.
    Done {
        /// Of the request.
        request_id: String,
        /// One for a trip, one for each edge for a reset; none where `--all` found no lease.
        results: Vec<TripResult>,
    },
    /// As [`Output::Done`], of a request about the policy; at once where nothing changed.
    PolicyDone {
        /// Of the request.
        request_id: String,
        /// What came of it.
        result: Box<PolicyResult>,
    },
    /// The request named nothing that is known, or too much.
    Refused {
        /// Of the request.
        request_id: String,
        /// Why.
        refusal: Refusal,
    },
}

/// Bounds of an engine, and what it should say of itself.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Version of the program, for the status.
    pub version: String,
    /// Whether the collector lives in the console's own process.
    pub embedded: bool,
    /// More services than this are not kept.
    pub services_max: usize,
    /// More edges than this are not kept.
    pub edges_max: usize,
    /// More proxies than this are refused.
    pub proxies_max: usize,
    /// What it may do by itself.
    pub guard: guard::Settings,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            embedded: false,
            services_max: 4_096,
            edges_max: 16_384,
            proxies_max: 4_096,
            guard: guard::Settings::default(),
        }
    }
}

/// The core of a collector.
#[derive(Debug)]
pub struct Engine {
    pub(crate) limits: Limits,
    pub(crate) started: Now,
    /// Wall clock of the newest telemetry.
    pub(crate) newest_unix_ms: u64,
    pub(crate) pairing: Pairing,
    pub(crate) graph: Graph,
    pub(crate) store: Store,
    pub(crate) proxies: Proxies,
    pub(crate) detectors: Detectors,
    pub(crate) hedging: Hedging,
    pub(crate) n_plus_ones: NPlusOnes,
    pub(crate) polling: Polling,
    pub(crate) silent: SilentSubsets,
    pub(crate) capacity: Capacity,
    pub(crate) incidents: Incidents,
    pub(crate) desired: Desired,
    pub(crate) policies: Policies,
    pub(crate) names: Names,
    pub(crate) instances: Instances,
    pub(crate) journal: Journal,
    pub(crate) meter: Meter,
    pub(crate) keeping: Keeping,
    pub(crate) looking: Looking,
    pub(crate) guard: Guard,
    pub(crate) fronts: HashMap<ServiceId, u64>,
    refused: HashSet<Edge>,
    /// A service was heard of that the printed names do not know yet.
    is_renamed: bool,
    tick_at: Instant,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// An engine that knows nothing, at the start of a collector.
    pub fn new(now: Now, limits: Limits) -> Self {
        Self {
            started: now,
            newest_unix_ms: now.unix_ms,
            pairing: Pairing::new(),
            graph: Graph::new(),
            store: Store::new(limits.edges_max, limits.services_max),
            proxies: Proxies::default(),
            detectors: Detectors::default(),
            hedging: Hedging::default(),
            n_plus_ones: NPlusOnes::default(),
            polling: Polling::default(),
            silent: SilentSubsets::default(),
            capacity: Capacity::default(),
            incidents: Incidents::default(),
            desired: Desired::default(),
            policies: Policies::default(),
            names: Names::default(),
            instances: Instances::default(),
            journal: Journal::default(),
            meter: Meter::default(),
            keeping: Keeping::default(),
            looking: Looking::default(),
            guard: Guard::new(limits.guard),
            fronts: HashMap::new(),
            refused: HashSet::new(),
            is_renamed: false,
            tick_at: now.instant + TICK,
            outputs: VecDeque::new(),
            limits,
        }
    }

    /// Takes one event. Drain [`poll_output`](Self::poll_output) and ask
    /// [`poll_timeout`](Self::poll_timeout) anew after it.
    pub fn handle(&mut self, now: Now, event: Event) {
        match event {
            Event::Spans { sender, batch } => self.take_spans(now, sender, batch),
            Event::Hello { connection, hello } => self.take_hello(now, connection, hello),
            Event::Report { connection, report } => self.take_report(now, connection, &report),
            Event::Ack { connection, ack } => self.take_ack(now, connection, &ack),
            Event::Gone { connection } => self.take_gone(now, connection),
            Event::Trip(request) => self.trip_by_operator(now, request),
            Event::Reset(request) => self.reset_by_operator(now, request),
            Event::PolicyAck { connection, ack } => self.take_policy_ack(now, connection, &ack),
            Event::Apply(apply) => self.apply(now, *apply),
            Event::Rollback(request) => self.rollback(now, &request),
            Event::Shift(request) => self.shift(now, &request),
            Event::Stored { numbers, result } => self.take_stored(now, &numbers, &result),
            Event::Diagnosed { answer } => self.take_answer(now, *answer),
            Event::Dropped { reason, count } => self.meter.dropped(reason, count),
        }
        self.rename();
        self.collect(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = [self.desired.poll_timeout(), self.policies.poll_timeout()];
        let timeouts = waits.into_iter().chain([self.pairing.poll_timeout()]);
        timeouts.flatten().chain([self.tick_at]).min()
    }

    /// Lets time pass: closes windows, ends waits, ages things out.
    pub fn handle_timeout(&mut self, now: Now) {
        let mut observations = Vec::new();
        self.pairing.handle_timeout(now, &mut observations);
        self.observe(now, &observations);
        self.desired.age(now);
        if self.tick_at <= now.instant {
            self.tick_at = now.instant + TICK;
            self.tick(now);
        }
        self.collect(now);
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Everything at this moment, sorted, in the words of the contract.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        crate::snapshot::snapshot(self, now)
    }

    /// Once a second: what time does to everything.
    fn tick(&mut self, now: Now) {
        let second = now.unix_ms / 1_000;
        let aged = self.graph.age(now.instant);
        aged.edges.iter().for_each(|edge| self.detectors.forget(edge));
        for service in &aged.services {
            self.instances.forget(service);
            self.capacity.forget(service);
            self.detectors.forget_service(service);
        }
        self.store.age(second);
        self.proxies.age(now);
        self.instances.age(now);
        self.capacity.learn(&self.store, second.saturating_sub(3));
        self.hedging.judge(&self.store, second.saturating_sub(2));
        self.n_plus_ones.judge(&self.store, second);
        self.polling.judge(&self.store, second);
        let weights = |split: &Split| self.policies.weights(split);
        self.silent.judge(&self.store, second.saturating_sub(2), weights);
        self.fronts = self.proxies.fronts(now);
        self.is_renamed = true;
        self.rename();
        let round = Round { now_second: second, fronts: &self.fronts, refused: &self.refused };
        self.detectors.judge_all(round, &self.store);
        let explained = crate::incident::reach(&self.graph, self.detectors.storms());
        self.detectors.judge_latencies(round, &self.store, explained);
        self.detectors.judge_canaries(round, &self.store);
        self.update_incidents(now);
        self.store_baselines(now, false);
        self.look(now);
        let dropped = crate::snapshot::dropped(self).values().sum();
        self.meter.age(now, dropped);
        self.retry_keeping(now);
    }

    /// Takes what the parts want done.
    fn collect(&mut self, now: Now) {
        self.push_commands();
        self.desired.finish(now);
        while let Some(Finished { request_id, is_repeated }) = self.desired.poll_finished() {
            let results = self.results(now, &request_id);
            if !is_repeated {
                self.store_results(now, &results);
            }
            let results = results.into_iter().map(|(_, result)| result).collect();
            self.outputs.push_back(Output::Done { request_id, results });
        }
        self.push_policies();
        self.finish_policies(now);
        let leased: HashSet<Edge> = self.desired.leased(now).cloned().collect();
        if leased != self.refused {
            self.refused = leased;
            self.update_incidents(now);
        }
        self.store_changes(now);
    }

    fn push_commands(&mut self) {
        while let Some((connection, command)) = self.desired.poll_push() {
            self.outputs.push_back(Output::Push { connection, command });
        }
    }

    /// Judges edges that something new was heard of.
    fn judge<'a>(&mut self, now: Now, edges: impl IntoIterator<Item = &'a Edge>) {
        let now_second = now.unix_ms / 1_000;
        let round = Round { now_second, fronts: &self.fronts, refused: &self.refused };
        let mut is_changed = false;
        for edge in edges {
            is_changed |= self.detectors.judge(round, &self.store, edge);
        }
        if is_changed {
            self.update_incidents(now);
        }
    }

    fn update_incidents(&mut self, now: Now) {
        self.rename();
        let mut incidents = std::mem::take(&mut self.incidents);
        for happened in incidents.update(&self.scene(now)) {
            self.journal.note(happened.at_unix_ms, "incident", &happened.text);
        }
        self.incidents = incidents;
        self.guard(now);
    }

    /// What verdicts rest on.
    fn scene(&self, now: Now) -> Scene<'_> {
        Scene {
            now,
            graph: &self.graph,
            store: &self.store,
            detectors: &self.detectors,
            fronts: &self.fronts,
            names: &self.names,
            desired: &self.desired,
            proxies: &self.proxies,
            capacity: &self.capacity,
            instances: &self.instances,
            policies: &self.policies,
            is_suggesting: self.guard.mode() != GuardMode::Off,
        }
    }

    /// Learns the printed names anew, if services came or went.
    fn rename(&mut self) {
        if !std::mem::take(&mut self.is_renamed) {
            return;
        }
        let on_graph = self.graph.nodes().map(|node| &node.service);
        // A lease can be ended by name before anyone comes back who was under it.
        let wished = self.desired.iter().flat_map(|(edge, _)| [&edge.source, &edge.destination]);
        self.names = on_graph.chain(self.proxies.services()).chain(wished).collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;

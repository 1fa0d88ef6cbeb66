//! A seeded mesh in discrete events: callers with patience and retries, a callee with a queue that
//! does not notice who gave up, proxies that count. The model of `detection.md` §1.5, through the
//! engine's own door.

use super::bench::{Bench, Sidecar, inbound};
use crate::engine::Limits;
use crate::guard::{PRINCIPAL, Settings};
use fusebox_proto::Latency;
use fusebox_proto::command::{AckResult, Action, Command, Verb};
use fusebox_proto::report::{EdgeCounts, EdgeWindow, Protocol};
use fusebox_proto::view::GuardMode;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;
use std::time::Duration;

const SECOND_US: u64 = 1_000_000;

/// What happens in a run. Times in seconds.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) rate: f64,
    /// More demand for a while: (when, times as much).
    pub(super) surge: (Range<u64>, f64),
    pub(super) retries: u64,
    pub(super) timeout_ms: u64,
    pub(super) backoff_ms: u64,
    /// A second attempt beside the first, after so long.
    pub(super) hedge_ms: Option<u64>,
    /// Calls that each request makes, one after the other, from second 30 on.
    pub(super) calls: u64,
    /// What cannot be told from a first attempt, percent.
    pub(super) blind_percent: u64,
    pub(super) servers: u64,
    pub(super) service_ms: u64,
    /// The queue refuses beyond this.
    pub(super) queue_max: usize,
    /// The callee is slower for a while: (when, times as slow).
    pub(super) slow: (Range<u64>, u64),
    /// The callee fails this share.
    pub(super) errors: f64,
    pub(super) seconds: u64,
    /// Fires the suggested action so many seconds after the incident opened.
    pub(super) act_after_s: Option<u64>,
    pub(super) proxies: usize,
    /// What the collector may do by itself.
    pub(super) guard: GuardMode,
}

impl Default for Plan {
    /// 20 servers of 100 ms at half load; capacity × 0.25 from 30 to 50; three immediate retries.
    fn default() -> Self {
        Self {
            seed: 1,
            rate: 100.0,
            surge: (0..0, 1.0),
            retries: 3,
            timeout_ms: 1_000,
            backoff_ms: 0,
            hedge_ms: None,
            calls: 1,
            blind_percent: 0,
            servers: 20,
            service_ms: 100,
            queue_max: usize::MAX,
            slow: (30..50, 4),
            errors: 0.0,
            seconds: 90,
            act_after_s: None,
            proxies: 3,
            guard: GuardMode::Suggest,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Seconds after the start.
    pub(super) opened_s: Option<f64>,
    pub(super) resolved_s: Option<f64>,
    pub(super) first_retry_s: Option<f64>,
    pub(super) phases: Vec<String>,
    pub(super) actions: Vec<String>,
    /// When the first action was taken, and how long it said that draining takes, s.
    pub(super) drain_told: Option<(u64, f64)>,
    pub(super) reopened: u64,
    /// Successful requests of each second.
    pub(super) goodput: Vec<u64>,
    /// The last state of the incident.
    pub(super) incident: Option<fusebox_proto::view::Incident>,
    /// As it was at each full second.
    pub(super) amplification: Vec<Option<f64>>,
    pub(super) advisories: usize,
    /// When one key would first have stopped it, s.
    pub(super) sure_s: Option<f64>,
    /// Leases that the collector took by itself: when, s, and what.
    pub(super) guarded: Vec<(f64, String)>,
    /// What the journal says at the end, newest first.
    pub(super) journal: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Request,
    Attempt { request: usize },
    TimedOut { attempt: usize },
    Served { attempt: usize },
    Report { proxy: usize },
    Act,
}

struct Request {
    proxy: usize,
    calls_left: u64,
    attempts: u64,
    is_over: bool,
}

struct Attempt {
    request: usize,
    started_us: u64,
    is_over: bool,
}

#[derive(Default)]
struct Count {
    counts: EdgeCounts,
    latency: Latency,
    requests: u64,
}

/// The run.
pub(super) struct Mesh {
    plan: Plan,
    bench: Bench,
    random: StdRng,
    now_us: u64,
    bench_us: u64,
    /// Of a cap: when it last let pass, and what it has left.
    capped_us: u64,
    tokens: f64,
    heap: BinaryHeap<Reverse<(u64, u64, Happens)>>,
    sequence: u64,
    requests: Vec<Request>,
    attempts: Vec<Attempt>,
    queue: VecDeque<usize>,
    busy: u64,
    sidecars: Vec<Sidecar>,
    counts: Vec<Count>,
    lease: Option<(Action, u64)>,
    outcome: Outcome,
}

/// Runs a plan.
pub(super) fn run(plan: &Plan) -> Outcome {
    let guard = Settings { mode: plan.guard, ..Settings::default() };
    let mut bench = Bench::with(Limits { guard, ..Limits::default() });
    let sidecars: Vec<Sidecar> = (0..plan.proxies)
        .map(|n| bench.connect(&format!("payment-{n}"), "payment", &["inventory"]))
        .collect();
    let mut mesh = Mesh {
        random: StdRng::seed_from_u64(plan.seed),
        bench,
        now_us: 0,
        bench_us: 0,
        capped_us: 0,
        tokens: 0.0,
        heap: BinaryHeap::new(),
        sequence: 0,
        requests: Vec::new(),
        attempts: Vec::new(),
        queue: VecDeque::new(),
        busy: 0,
        counts: sidecars.iter().map(|_| Count::default()).collect(),
        sidecars,
        lease: None,
        outcome: Outcome::default(),
        plan: plan.clone(),
    };
    mesh.at(0, Happens::Request);
    for proxy in 0..mesh.sidecars.len() {
        let phase = mesh.random.random_range(0..SECOND_US);
        mesh.at(SECOND_US + phase, Happens::Report { proxy });
    }
    mesh.run();
    let events = mesh.bench.snapshot().events;
    mesh.outcome.journal = events.into_iter().map(|event| event.text).collect();
    mesh.outcome
}

impl Mesh {
    fn at(&mut self, at_us: u64, happens: Happens) {
        self.sequence += 1;
        self.heap.push(Reverse((at_us, self.sequence, happens)));
    }

    fn second(&self) -> u64 {
        self.now_us / SECOND_US
    }

    fn run(&mut self) {
        while let Some(Reverse((at_us, _, happens))) = self.heap.pop() {
            if self.plan.seconds * SECOND_US <= at_us {
                break;
            }
            if self.second() != at_us / SECOND_US {
                self.note_amplification();
            }
            self.now_us = at_us;
            match happens {
                Happens::Request => self.request(),
                Happens::Attempt { request } => self.attempt(request),
                Happens::TimedOut { attempt } => self.ended(attempt, None),
                Happens::Served { attempt } => self.served(attempt),
                Happens::Report { proxy } => self.report(proxy),
                Happens::Act => self.act(),
            }
        }
    }

    fn request(&mut self) {
        let surge = &self.plan.surge;
        let rate = if surge.0.contains(&self.second()) { surge.1 } else { 1.0 } * self.plan.rate;
        let gap_s = -self.random.random::<f64>().max(1e-12).ln() / rate;
        self.at(self.now_us + (gap_s * 1e6) as u64, Happens::Request);
        let proxy = self.random.random_range(0..self.sidecars.len());
        let calls_left = if 30 <= self.second() { self.plan.calls } else { 1 };
        self.counts[proxy].requests += 1;
        self.requests.push(Request { proxy, calls_left, attempts: 0, is_over: false });
        let request = self.requests.len() - 1;
        self.attempt(request);
        if let Some(hedge_ms) = self.plan.hedge_ms {
            self.at(self.now_us + hedge_ms * 1_000, Happens::Attempt { request });
        }
    }

    fn attempt(&mut self, request: usize) {
        let Request { proxy, attempts, is_over, .. } = self.requests[request];
        if is_over {
            return;
        }
        let is_hedge = 0 < attempts && self.plan.hedge_ms.is_some();
        let is_retry = 0 < attempts && !is_hedge;
        let is_blind = self.random.random_range(0..100) < self.plan.blind_percent;
        self.lease = self.lease.filter(|(_, until_us)| self.now_us < *until_us);
        let counts = &mut self.counts[proxy].counts;
        match self.lease {
            Some((Action::MuteRetries { .. }, _)) if is_retry && !is_blind => {
                counts.retries_refused += 1;
                self.requests[request].is_over = true;
                return;
            }
            Some((Action::Open, _)) => {
                counts.refused.forced_open += 1;
                self.requests[request].is_over = true;
                return;
            }
            Some((Action::Cap { attempts_per_s }, _)) => {
                let since_s = (self.now_us - self.capped_us) as f64 / 1e6;
                self.capped_us = self.now_us;
                self.tokens = (self.tokens + since_s * attempts_per_s).min(attempts_per_s);
                if self.tokens < 1.0 {
                    counts.refused.capped += u64::from(!is_retry);
                    counts.retries_refused += u64::from(is_retry);
                    self.requests[request].is_over = true;
                    return;
                }
                self.tokens -= 1.0;
            }
            _ => (),
        }
        if is_hedge {
            counts.hedges += 1;
        } else if is_retry && !is_blind {
            counts.retries_probable += 1;
        } else {
            counts.first_attempts += 1;
            counts.unclassified += u64::from(is_blind);
        }
        counts.in_flight += 1;
        if is_retry && self.outcome.first_retry_s.is_none() && 25 <= self.second() {
            self.outcome.first_retry_s = Some(self.now_us as f64 / 1e6);
        }
        self.requests[request].attempts += 1;
        self.attempts.push(Attempt { request, started_us: self.now_us, is_over: false });
        let attempt = self.attempts.len() - 1;
        self.at(self.now_us + self.plan.timeout_ms * 1_000, Happens::TimedOut { attempt });
        if self.plan.queue_max <= self.queue.len() {
            self.ended(attempt, Some(false));
            return;
        }
        self.queue.push_back(attempt);
        self.serve();
    }

    fn serve(&mut self) {
        while self.busy < self.plan.servers
            && let Some(attempt) = self.queue.pop_front()
        {
            self.busy += 1;
            let slow = if self.plan.slow.0.contains(&self.second()) { self.plan.slow.1 } else { 1 };
            let mean_us = (self.plan.service_ms * 1_000 * slow) as f64;
            let us = mean_us * (0.5 + self.random.random::<f64>());
            self.at(self.now_us + us as u64, Happens::Served { attempt });
        }
    }

    fn served(&mut self, attempt: usize) {
        self.busy -= 1;
        let is_good = self.plan.errors <= self.random.random::<f64>();
        self.ended(attempt, Some(is_good));
        self.serve();
    }

    /// `answer` is `None` when the caller's patience ended.
    fn ended(&mut self, attempt: usize, answer: Option<bool>) {
        if std::mem::replace(&mut self.attempts[attempt].is_over, true) {
            return;
        }
        let Attempt { request, started_us, .. } = self.attempts[attempt];
        let count = &mut self.counts[self.requests[request].proxy];
        count.counts.in_flight = count.counts.in_flight.saturating_sub(1);
        count.latency.record_us(self.now_us - started_us);
        if self.requests[request].is_over {
            count.counts.hedge_losers += 1;
            return;
        }
        match answer {
            Some(true) => count.counts.successes += 1,
            Some(false) => count.counts.failures += 1,
            None => count.counts.timeouts += 1,
        }
        let second = self.second() as usize;
        let request_state = &mut self.requests[request];
        if answer == Some(true) {
            request_state.calls_left -= 1;
            request_state.attempts = 0;
            if request_state.calls_left == 0 {
                request_state.is_over = true;
                self.outcome.goodput.resize(second + 1, 0);
                self.outcome.goodput[second] += 1;
                return;
            }
            self.attempt(request);
        } else if request_state.attempts <= self.plan.retries && self.plan.hedge_ms.is_none() {
            self.at(self.now_us + self.plan.backoff_ms * 1_000, Happens::Attempt { request });
        } else if self.plan.hedge_ms.is_none() {
            request_state.is_over = true;
        }
    }

    /// Lets the engine's time catch up.
    fn catch_up(&mut self) {
        let behind_us = self.now_us - self.bench_us;
        self.bench_us = self.now_us;
        self.bench.advance(Duration::from_micros(behind_us));
    }

    fn report(&mut self, proxy: usize) {
        self.catch_up();
        self.at(self.now_us + SECOND_US, Happens::Report { proxy });
        let in_flight = self.counts[proxy].counts.in_flight;
        let Count { counts, latency, requests } = std::mem::take(&mut self.counts[proxy]);
        self.counts[proxy].counts.in_flight = in_flight;
        let destination = super::bench::service("inventory");
        let protocol = Protocol::Http1;
        let (route, subset) = (String::new(), String::new());
        let edge =
            EdgeWindow { destination, route, subset, protocol, counts, latency, retry_waits: None };
        let came_in = inbound(requests, 0, 5_000);
        let mut sidecar = self.sidecars[proxy].clone();
        self.bench.report(&mut sidecar, vec![edge], vec![came_in]);
        self.sidecars[proxy] = sidecar;
        if self.plan.guard == GuardMode::Act {
            self.deliver();
        }
        self.look();
    }

    fn look(&mut self) {
        let snapshot = self.bench.snapshot();
        self.outcome.advisories = self.outcome.advisories.max(snapshot.advisories.len());
        let Some(incident) = snapshot.incidents.first() else { return };
        let now_s = self.now_us as f64 / 1e6;
        if self.outcome.opened_s.is_none() {
            self.outcome.opened_s = Some(now_s);
            if let Some(after_s) = self.plan.act_after_s {
                self.at(self.now_us + after_s * SECOND_US, Happens::Act);
            }
        }
        if incident.action.as_ref().is_some_and(|action| action.tier == 0) {
            self.outcome.sure_s.get_or_insert(now_s);
        }
        if self.outcome.phases.last() != Some(&incident.phase) {
            self.outcome.phases.push(incident.phase.clone());
        }
        match (incident.resolved_at, self.outcome.resolved_s) {
            (Some(_), None) => self.outcome.resolved_s = Some(now_s),
            (None, Some(_)) => {
                self.outcome.reopened += 1;
                self.outcome.resolved_s = None;
            }
            _ => (),
        }
        self.outcome.incident = Some(incident.clone());
    }

    fn note_amplification(&mut self) {
        let amplification = self.outcome.incident.as_ref().and_then(|i| i.amplification);
        self.outcome.amplification.push(amplification);
    }

    /// Fires what is suggested, as an operator would.
    fn act(&mut self) {
        self.catch_up();
        let incident = self.bench.incident();
        let Some(action) = incident.action else { return };
        self.outcome.actions.push(format!("{} {}", action.action, action.ttl_s));
        let told = drain_told_s(&action.predicted);
        self.outcome.drain_told.get_or_insert((self.second(), told));
        let edge = (&*action.source, &*action.destination);
        let fusebox_proto::view::Remedy::Trip(kind) = action.action else { return };
        self.bench.trip("act", edge, kind, action.ttl_s);
        self.deliver();
    }

    /// Proxies take commands at once, and acknowledge them.
    fn deliver(&mut self) {
        let pushed = self.bench.pushed();
        if let Some((_, command)) = pushed.iter().find(|(_, command)| command.by == PRINCIPAL)
            && let Verb::Trip { action, ttl, .. } = command.verb
        {
            let what = format!("{} {} {}", action.kind(), ttl.as_secs(), command.reason);
            self.outcome.guarded.push((self.now_us as f64 / 1e6, what));
        }
        for (connection, command) in pushed {
            self.apply(&command);
            self.bench.ack(connection, &command, AckResult::Applied);
        }
    }

    fn apply(&mut self, command: &Command) {
        if let Verb::Trip { action, ttl, .. } = command.verb {
            let until_us = self.now_us + ttl.as_micros() as u64;
            self.lease = Some((action, until_us));
        }
    }
}

/// `… drains in about 12 s`; infinite where no figure is told.
fn drain_told_s(predicted: &str) -> f64 {
    let Some((_, told)) = predicted.split_once("drains in about ") else { return f64::INFINITY };
    told.trim_end_matches(" s").parse().expect("a number")
}

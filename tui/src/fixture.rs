//! Two worlds for tests: the shop of the demo with twelve services, and a mesh of twenty-four with
//! shared infrastructure and cycles. Each can be calm or in the founding storm, and a minute of
//! either makes a model with its history.

use crate::dashboard::Ingest;
use crate::keys::{Chord, Key};
use crate::model::{Effect, Link, Message, Model, Session, update};
use fusebox_proto::Now;
use fusebox_proto::command::{ActionKind, BreakerState};
use fusebox_proto::view::{
    Breaker, CollectorStatus, DataQuality, EdgeBreaker, EdgeName, EdgeView, Event, Evidence,
    Health, Incident, Proxy, Service, ServiceKind, Snapshot, Stamp, Status, SuggestedAction,
};
use std::time::Duration;

/// 2026-11-24, 14:02:31 UTC.
pub(crate) const UNIX_MS: u64 = 1_795_528_951_000;
/// How long ago the storm began.
const STORM_S: u64 = 39;

/// Services with their rate, failed share and p99 in the storm.
type Row = (&'static str, f64, f64, f64);
/// Calls with their rate, failed share and attempts per request in the storm.
type Call = (&'static str, &'static str, f64, f64, f64);

const SHOP: &[Row] = &[
    ("frontend", 42.0, 0.061, 3_010.0),
    ("checkout", 8.1, 0.33, 2_520.0),
    ("payment", 8.0, 0.61, 10_020.0),
    ("inventory", 78.0, 0.61, 2_950.0),
    ("cart", 8.1, 0.0, 14.0),
    ("catalog", 68.0, 0.001, 31.0),
    ("recommendation", 34.5, 0.011, 38.0),
    ("shipping", 3.2, 0.0, 22.0),
    ("currency", 42.0, 0.0, 6.0),
    ("email", 3.1, 0.0, 17.0),
    ("fraud", 8.0, 0.0, 26.0),
    ("ledger", 3.1, 0.0, 11.0),
];

const SHOP_CALLS: &[Call] = &[
    ("frontend", "catalog", 34.0, 0.001, 1.0),
    ("frontend", "currency", 34.0, 0.0, 1.0),
    ("frontend", "recommendation", 34.5, 0.011, 1.01),
    ("frontend", "checkout", 8.1, 0.33, 1.0),
    ("checkout", "cart", 8.1, 0.0, 1.0),
    ("checkout", "currency", 8.1, 0.0, 1.0),
    ("checkout", "payment", 8.0, 0.61, 1.0),
    ("checkout", "shipping", 3.2, 0.0, 1.0),
    ("checkout", "email", 3.1, 0.0, 1.0),
    ("payment", "fraud", 8.0, 0.0, 1.0),
    ("payment", "inventory", 78.0, 0.61, 9.8),
    ("payment", "ledger", 3.1, 0.0, 1.0),
    ("recommendation", "catalog", 34.0, 0.001, 1.0),
];

const MESH: &[Row] = &[
    ("edge-gw", 4_200.0, 0.019, 410.0),
    ("web-bff", 2_600.0, 0.024, 690.0),
    ("mobile-bff", 1_600.0, 0.011, 300.0),
    ("auth", 4_200.0, 0.0, 9.0),
    ("session", 4_100.0, 0.0, 4.0),
    ("user", 910.0, 0.001, 22.0),
    ("search", 740.0, 0.002, 120.0),
    ("recommend", 612.0, 0.001, 90.0),
    ("catalog", 1_800.0, 0.0, 31.0),
    ("cart", 520.0, 0.003, 44.0),
    ("checkout", 142.0, 0.182, 2_100.0),
    ("payment", 140.0, 0.226, 3_000.0),
    ("fraud", 139.0, 0.002, 61.0),
    ("ledger", 118.0, 0.0, 17.0),
    ("shipping", 97.0, 0.004, 102.0),
    ("notify", 210.0, 0.0, 14.0),
    ("email", 120.0, 0.001, 180.0),
    ("pricing", 2_200.0, 0.004, 19.0),
    ("promo", 1_000.0, 0.002, 15.0),
    ("inventory", 3_900.0, 0.614, 2_950.0),
    ("warehouse", 410.0, 0.032, 560.0),
    ("pg-stock", 5_100.0, 0.097, 1_100.0),
    ("redis", 9_100.0, 0.0, 2.0),
    ("kafka", 1_300.0, 0.0, 11.0),
];

const MESH_CALLS: &[Call] = &[
    ("edge-gw", "web-bff", 2_600.0, 0.024, 1.0),
    ("edge-gw", "mobile-bff", 1_600.0, 0.011, 1.0),
    ("edge-gw", "auth", 4_200.0, 0.0, 1.0),
    ("auth", "session", 4_100.0, 0.0, 1.0),
    ("auth", "user", 500.0, 0.001, 1.0),
    ("web-bff", "search", 500.0, 0.002, 1.0),
    ("web-bff", "recommend", 400.0, 0.001, 1.0),
    ("web-bff", "cart", 320.0, 0.003, 1.0),
    ("web-bff", "user", 260.0, 0.001, 1.0),
    ("web-bff", "checkout", 98.0, 0.182, 1.0),
    ("web-bff", "catalog", 700.0, 0.0, 1.0),
    ("mobile-bff", "search", 240.0, 0.002, 1.0),
    ("mobile-bff", "cart", 200.0, 0.003, 1.0),
    ("mobile-bff", "checkout", 44.0, 0.182, 1.0),
    ("mobile-bff", "user", 150.0, 0.001, 1.0),
    ("search", "catalog", 640.0, 0.0, 1.0),
    ("recommend", "catalog", 460.0, 0.0, 1.0),
    ("catalog", "pricing", 1_500.0, 0.004, 1.0),
    ("catalog", "redis", 3_000.0, 0.0, 1.0),
    ("cart", "pricing", 520.0, 0.002, 1.0),
    ("cart", "redis", 2_000.0, 0.0, 1.0),
    ("cart", "checkout", 20.0, 0.01, 1.0),
    ("checkout", "cart", 142.0, 0.004, 1.0),
    ("checkout", "payment", 140.0, 0.226, 1.0),
    ("checkout", "shipping", 97.0, 0.004, 1.0),
    ("checkout", "notify", 90.0, 0.0, 1.0),
    ("checkout", "inventory", 142.0, 0.31, 1.1),
    ("payment", "inventory", 3_480.0, 0.64, 24.9),
    ("payment", "fraud", 139.0, 0.002, 1.0),
    ("payment", "ledger", 118.0, 0.0, 1.0),
    ("ledger", "kafka", 118.0, 0.0, 1.0),
    ("notify", "email", 120.0, 0.001, 1.0),
    ("notify", "kafka", 210.0, 0.0, 1.0),
    ("pricing", "promo", 1_000.0, 0.002, 1.0),
    ("promo", "inventory", 58.0, 0.12, 1.4),
    ("inventory", "pg-stock", 5_100.0, 0.097, 1.3),
    ("inventory", "warehouse", 410.0, 0.032, 1.1),
    ("inventory", "pricing", 210.0, 0.003, 1.0),
    ("warehouse", "kafka", 400.0, 0.0, 1.0),
    ("session", "redis", 4_100.0, 0.0, 1.0),
    ("shipping", "kafka", 97.0, 0.0, 1.0),
    ("user", "redis", 900.0, 0.0, 1.0),
];

/// A world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// The demo's twelve services.
    Shop,
    /// Twenty-four services.
    Mesh,
}

impl World {
    fn rows(self) -> (&'static [Row], &'static [Call]) {
        match self {
            Self::Shop => (SHOP, SHOP_CALLS),
            Self::Mesh => (MESH, MESH_CALLS),
        }
    }

    /// Calm at this second: what the storm broke is whole, what it multiplied is not multiplied.
    pub(crate) fn calm(self, unix_ms: u64) -> Snapshot {
        self.at(unix_ms, 0.0)
    }

    /// The storm, fully grown, with its incident.
    pub(crate) fn storm(self, unix_ms: u64) -> Snapshot {
        let mut snapshot = self.at(unix_ms, 1.0);
        snapshot.incidents = vec![self.incident(unix_ms)];
        snapshot.status.incidents_open = 1;
        snapshot.status.health = Health::Incident;
        snapshot.events.insert(
            0,
            event(
                unix_ms - (STORM_S - 2) * 1_000,
                "incident",
                "#41 opened: payment sends inventory 1.7 attempts per request; inventory is saturated.",
            ),
        );
        snapshot
    }

    /// Between calm (0) and storm (1).
    fn at(self, unix_ms: u64, heat: f64) -> Snapshot {
        let (rows, calls) = self.rows();
        let wobble = |i: usize| 1.0 + 0.04 * ((unix_ms / 1_000 + i as u64 * 7) as f64).sin();
        let mut snapshot = Snapshot { at: Stamp(unix_ms), ..Snapshot::default() };
        for (i, &(name, rate, errors, p99)) in rows.iter().enumerate() {
            let hot = 0.009 < errors;
            let calm_rate = if name == "inventory" { rate / 9.5 } else { rate };
            let p99 = if hot { 41.0 + heat * (p99 - 41.0) } else { p99 };
            snapshot.services.push(Service {
                name: name.into(),
                kind: kind(name),
                rate: Some((calm_rate + heat * (rate - calm_rate)) * wobble(i)),
                error_ratio: Some(if hot { errors * heat } else { errors.min(0.009) }),
                p50_ms: Some(p99 / 6.0),
                p95_ms: Some(p99 / 2.0),
                p99_ms: Some(p99),
                instances: (kind(name) == ServiceKind::Service).then_some(2),
                ..Service::default()
            });
        }
        for (i, &(source, destination, rate, errors, attempts)) in calls.iter().enumerate() {
            let factor = 1.0 + heat * (attempts - 1.0);
            let hot = 0.009 < errors;
            snapshot.edges.push(EdgeView {
                source: source.into(),
                destination: destination.into(),
                protocol: protocol(destination).into(),
                rate: Some(rate / attempts * factor * wobble(i)),
                error_ratio: Some(if hot { errors * heat } else { errors.min(0.009) }),
                refused_per_s: Some(0.0),
                attempts_per_request: Some(factor),
                p50_ms: Some(6.0),
                p95_ms: Some(if hot { 40.0 + heat * 900.0 } else { 21.0 }),
                p99_ms: Some(if hot { 41.0 + heat * 2_900.0 } else { 35.0 }),
                proxies: if source == "payment" { 3 } else { 2 },
                ..EdgeView::default()
            });
        }
        snapshot.status = self.status();
        snapshot.events = vec![
            event(unix_ms - 39_000, "instance", "payment: a new build on 3 instances"),
            event(unix_ms - 1_400_000, "reset", "catalog→pricing closed, lease over"),
            event(unix_ms - 1_640_000, "trip", "catalog→pricing opened by raj@bastion: game day"),
        ];
        snapshot.proxies = (1..=3).map(proxy).collect();
        snapshot.sort();
        snapshot
    }

    fn status(self) -> Status {
        let (rows, calls) = self.rows();
        Status {
            services: rows.len() as u64,
            edges: calls.len() as u64,
            proxies: 24,
            collector: CollectorStatus {
                version: "0.1.0".into(),
                uptime_s: 1_090,
                spans_per_s: 240.0,
                senders: 24,
                ..CollectorStatus::default()
            },
            ..Status::default()
        }
    }

    fn incident(self, unix_ms: u64) -> Incident {
        let (factor, calm_load, load, first) = match self {
            Self::Shop => (9.8, 8.2, 78.0, 8.0),
            Self::Mesh => (24.9, 408.0, 3_890.0, 140.0),
        };
        let opened = unix_ms - (STORM_S - 2) * 1_000;
        let since = crate::format::clock(Stamp(unix_ms - STORM_S * 1_000));
        let mut incident = Incident {
            id: "41".into(),
            kind: "retry_storm".into(),
            phase: "storm".into(),
            opened_at: Stamp(opened),
            summary: format!(
                "payment sends inventory {factor} attempts per request since {since}; inventory is saturated."
            ),
            confidence: 0.97,
            originator: Some("payment".into()),
            victim: Some("inventory".into()),
            edge: Some(storm_edge()),
            amplification: Some(factor),
            counter_evidence: vec!["inventory also got a new build at 13:20:07".into()],
            ..Incident::default()
        };
        incident.evidence = vec![
            evidence("attempts per request", "×", 1.0, factor),
            evidence("attempts on the victim", "/s", calm_load, load),
            evidence("retries among them", "%", 0.4, 89.8),
            evidence("victim p99", "ms", 41.0, 2_950.0),
            evidence("failed attempts", "%", 0.1, 61.4),
            evidence("goodput", "/s", first, first / 6.0),
            evidence("wait before a retry", "ms", 2.0, 3.0),
            evidence("wait before later ones", "ms", 2.0, 4.0),
            evidence("jitter of the wait", "%", 0.0, 0.0),
        ];
        let advice = |kind: ActionKind, tier, predicted| SuggestedAction {
            action: kind.into(),
            source: "payment".into(),
            destination: "inventory".into(),
            ttl_s: 300,
            tier,
            predicted,
        };
        let muted = format!(
            "removes {:.0} of {load:.0} attempts/s; all {first:.0} first attempts/s pass; \
             inventory drains in about 12 s",
            load - first
        );
        let opened = format!(
            "removes {load:.0} of {load:.0} attempts/s, {:.1}/s of which would succeed; inventory \
             drains in about 9 s",
            first / 6.0
        );
        incident.action = Some(advice(ActionKind::MuteRetries, 0, muted));
        incident.alternatives = vec![advice(ActionKind::Open, 1, opened)];
        incident.data_quality =
            DataQuality { source: "proxies".into(), coverage: Some(1.0), ..DataQuality::default() };
        incident
    }
}

fn kind(name: &str) -> ServiceKind {
    match name {
        "pg-stock" | "redis" => ServiceKind::Database,
        "kafka" => ServiceKind::Messaging,
        _ => ServiceKind::Service,
    }
}

fn protocol(destination: &str) -> &'static str {
    match kind(destination) {
        ServiceKind::Database => "database",
        ServiceKind::Messaging => "messaging",
        _ => "http/1.1",
    }
}

fn event(at: u64, kind: &str, text: &str) -> Event {
    Event { at: Stamp(at), kind: kind.into(), text: text.into() }
}

fn proxy(n: u64) -> Proxy {
    Proxy {
        id: format!("payment-{n}"),
        service: "payment".into(),
        instance: n.to_string(),
        connected: true,
        ..Proxy::default()
    }
}

/// A minute of a signal that rises when the storm begins.
fn evidence(signal: &str, unit: &str, baseline: f64, current: f64) -> Evidence {
    let series = (0..60_u32).map(|s| {
        let heat = heat(u64::from(60 - s));
        let wobble = 1.0 + 0.03 * f64::from(s).sin();
        (baseline + heat * (current - baseline)) * wobble
    });
    let series = series.collect();
    Evidence {
        signal: signal.into(),
        baseline: Some(baseline),
        current: Some(current),
        unit: unit.into(),
        series,
    }
}

/// How much of the storm there was so many seconds ago.
fn heat(seconds_ago: u64) -> f64 {
    let since = STORM_S.saturating_sub(seconds_ago) as f64;
    (since / 9.0).min(1.0)
}

/// The edge of the storm.
pub(crate) fn storm_edge() -> EdgeName {
    EdgeName { source: "payment".into(), destination: "inventory".into() }
}

/// The storm's edge held by a lease of 5 minutes, taken 9 s ago, in `applied` of 3 proxies.
pub(crate) fn hold(snapshot: &mut Snapshot, state: BreakerState, applied: u64, by: &str) {
    let at = snapshot.at.0;
    let until = Some(Stamp(at + 291_000));
    for edge in
        snapshot.edges.iter_mut().filter(|e| e.destination == "inventory" && e.source == "payment")
    {
        edge.breaker = EdgeBreaker { state, percent: None, until, applied, proxies: 3 };
        edge.refused_per_s = Some(70.0);
    }
    snapshot.breakers = vec![Breaker {
        edge: "payment>inventory".into(),
        kind: "operator".into(),
        state,
        cause: "operator".into(),
        since: Some(Stamp(at - 9_000)),
        until,
        by: Some(by.into()),
        reason: Some("payment sends inventory 9.8 attempts per request".into()),
        applied,
        proxies: 3,
        refused_total: 631,
        ..Breaker::default()
    }];
}

/// A session of ana on her laptop.
pub(crate) fn session() -> Session {
    Session {
        collector: "http://127.0.0.1:4319".into(),
        ingest: Ingest { otlp_grpc: "127.0.0.1:4317".into(), otlp_http: "127.0.0.1:4318".into() },
        by: "ana@laptop".into(),
        read_only: false,
        notice: None,
        seed: 7,
    }
}

/// A console in a test, with its own clock.
pub(crate) struct Desk {
    pub(crate) model: Model,
    pub(crate) effects: Vec<Effect>,
    now: Now,
}

impl Desk {
    /// A console of this size that knows nothing yet.
    pub(crate) fn new(session: Session, width: u16, height: u16) -> Self {
        let now = Now { unix_ms: UNIX_MS, ..Now::read() };
        let mut desk = Self { model: Model::new(session, now), effects: Vec::new(), now };
        desk.tell(Message::Resize { width, height });
        desk
    }

    /// A console that has seen a minute of this world, calm until the storm began.
    pub(crate) fn watching(world: World, storm: bool, width: u16, height: u16) -> Self {
        let mut desk = Self::new(session(), width, height);
        for ago in (1..60).rev() {
            let at = UNIX_MS - ago * 1_000;
            let heat = if storm { heat(ago) } else { 0.0 };
            desk.tell(Message::Snapshot(Box::new(world.at(at, heat))));
        }
        let last = if storm { world.storm(UNIX_MS) } else { world.calm(UNIX_MS) };
        desk.tell(Message::Snapshot(Box::new(last)));
        desk
    }

    /// Lets the model take a message.
    pub(crate) fn tell(&mut self, message: Message) {
        self.effects.extend(update(&mut self.model, self.now, message));
    }

    /// Lets time pass, in one step.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.tell(Message::Tick);
    }

    /// Presses keys, one a second as a person who looks does, while data goes on: characters, and `⏎ ⎋ ⇥ ↑ ↓ ← →` for
    /// the others.
    pub(crate) fn press(&mut self, keys: &str) {
        for c in keys.chars() {
            self.key(c);
            self.wait(1_000);
            if self.model.link == Link::Live && !self.model.has_no_data() {
                self.data(|_| {});
            }
        }
    }

    /// One key, without waiting.
    pub(crate) fn key(&mut self, c: char) {
        let key = match c {
            '⏎' => Key::Enter,
            '⎋' => Key::Esc,
            '⇥' => Key::Tab,
            '↑' => Key::Up,
            '↓' => Key::Down,
            '←' => Key::Left,
            '→' => Key::Right,
            '⌫' => Key::Backspace,
            c => Key::Char(c),
        };
        self.tell(Message::Key(Chord { key, ctrl: false }));
    }

    /// New data arrives, `change` applied to what is known, its clock moved on with ours.
    pub(crate) fn data(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.model.snapshot.clone();
        snapshot.at = Stamp(self.now.unix_ms);
        change(&mut snapshot);
        self.tell(Message::Snapshot(Box::new(snapshot)));
    }
}

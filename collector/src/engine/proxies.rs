//! Who is connected, what was heard of them, and where their breakers stand.

use super::ConnectionId;
use super::seen::Seen;
use fusebox_proto::command::{Ack, AckResult, Action, BreakerState, Verb};
use fusebox_proto::report::{BreakerStatus, Cause, Dropped, Endpoints, Hello, Report};
use fusebox_proto::{Edge, Now, ProxyId, ServiceId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// A proxy that has not reported for so long is stale.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(3);
/// A proxy that is gone for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(10);
/// A clock that is wrong by more than this is corrected by when its reports arrive.
const SKEW_MAX_MS: i64 = 5_000;
/// Until it has reported for so long, a proxy whose reports are old is catching up, not wrong.
const SKEW_AFTER: Duration = Duration::from_secs(15);
/// A report may have been on its way when a command was acknowledged: for so long it does not
/// overrule the acknowledgement.
const ACK_FRESH: Duration = Duration::from_millis(1_500);
/// Each second, what a proxy carried on an edge counts for so much less.
const CARRIED_DECAY: f64 = 0.97;
/// More destinations than this are not remembered of one proxy.
const DESTINATIONS_MAX: usize = 1_024;

/// All proxies.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    by_id: BTreeMap<ProxyId, Proxy>,
    by_connection: HashMap<ConnectionId, ProxyId>,
}

/// One proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// What it said of itself.
    pub(crate) hello: Hello,
    /// Its stream, while it is open.
    pub(crate) connection: Option<ConnectionId>,
    /// When it was last heard.
    pub(crate) last_seen: Now,
    /// What it dropped since it started.
    pub(crate) dropped: Dropped,
    /// Whether it was on its way to its end when it last said something.
    pub(crate) draining: bool,
    /// What it could not do then that it should.
    pub(crate) troubles: Vec<String>,
    /// Where its breakers stand that are not closed.
    pub(crate) standings: BTreeMap<ServiceId, Standing>,
    /// What its last report says of single endpoints, and of what is only counted.
    pub(crate) asides: Vec<Standing>,
    seen: Seen,
    /// Of the reports on this stream: when the first came, and how late the least late one was.
    lag: Option<Lag>,
    last_second: Option<u64>,
    /// Attempts on each edge, lately.
    carried: HashMap<ServiceId, f64>,
}

/// How late reports come.
#[derive(Clone, Copy, Debug)]
struct Lag {
    since: Now,
    ms_min: i64,
}

/// Where one breaker of one proxy stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// As reported, or as follows from an acknowledgement.
    pub(crate) status: BreakerStatus,
    /// When that was.
    pub(crate) at: Now,
    from_ack: bool,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is new, and belongs into this second.
    New {
        /// Unix time ÷ 1 s.
        second: u64,
    },
    /// It was taken before.
    Duplicate,
}

impl Proxies {
    /// A proxy introduced itself; gives the stream that it had before, if that is still open.
    pub(crate) fn hello(
        &mut self,
        now: Now,
        connection: ConnectionId,
        hello: Hello,
    ) -> Option<ConnectionId> {
        let id = hello.proxy.clone();
        self.by_connection.insert(connection, id.clone());
        let standings = held_standings(now, &hello);
        let Some(proxy) = self.by_id.get_mut(&id) else {
            self.by_id.insert(
                id,
                Proxy {
                    hello,
                    connection: Some(connection),
                    last_seen: now,
                    dropped: Dropped::default(),
                    draining: false,
                    troubles: Vec::new(),
                    standings,
                    asides: Vec::new(),
                    seen: Seen::default(),
                    lag: None,
                    last_second: None,
                    carried: HashMap::new(),
                },
            );
            return None;
        };
        let replaced = proxy.connection.replace(connection).filter(|old| *old != connection);
        if let Some(old) = replaced {
            self.by_connection.remove(&old);
        }
        if proxy.hello.service != hello.service {
            proxy.carried.clear();
        }
        if proxy.hello.boot != hello.boot {
            proxy.troubles.clear();
        }
        proxy.hello = hello;
        proxy.draining = false;
        proxy.last_seen = now;
        proxy.lag = None;
        proxy.standings = standings;
        replaced
    }

    /// A stream ended; gives the proxy if this was its newest stream.
    pub(crate) fn gone(&mut self, connection: ConnectionId) -> Option<&Proxy> {
        let id = self.by_connection.remove(&connection)?;
        let proxy = self.by_id.get_mut(&id)?;
        proxy.connection = proxy.connection.filter(|current| *current != connection);
        Some(proxy)
    }

    /// Which proxy speaks on a stream.
    pub(crate) fn on(&self, connection: ConnectionId) -> Option<&Proxy> {
        self.by_id.get(self.by_connection.get(&connection)?)
    }

    /// The same, to tell it what it said.
    pub(crate) fn on_mut(&mut self, connection: ConnectionId) -> Option<&mut Proxy> {
        self.by_id.get_mut(self.by_connection.get(&connection)?)
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Proxy> {
        self.by_id.values()
    }

    /// Whether there is a place for a proxy among `proxies_max`.
    pub(crate) fn has_place(&self, id: &ProxyId, proxies_max: usize) -> bool {
        self.by_id.len() < proxies_max || self.by_id.contains_key(id)
    }

    /// Connected proxies that enforce commands on an edge.
    pub(crate) fn enforcing<'a>(&'a self, edge: &'a Edge) -> impl Iterator<Item = &'a Proxy> {
        self.iter().filter(move |proxy| proxy.connection.is_some() && proxy.enforces(edge))
    }

    /// Share of what proxies carry on an edge that connected ones carry; `None` where they carry
    /// nothing.
    pub(crate) fn coverage(&self, edge: &Edge) -> Option<f64> {
        let of_source = || self.iter().filter(|proxy| proxy.hello.service == edge.source);
        let carried = |proxy: &Proxy| proxy.carried.get(&edge.destination).copied().unwrap_or(0.0);
        let all: f64 = of_source().map(carried).sum();
        let enforced: f64 = of_source().filter(|p| p.connection.is_some()).map(carried).sum();
        (1e-3 < all).then(|| enforced / all)
    }

    /// Proxies of a service that should report and do not.
    pub(crate) fn stale(&self, now: Now, source: &ServiceId) -> u64 {
        let of_source = self.iter().filter(|proxy| proxy.hello.service == *source);
        of_source.filter(|proxy| proxy.is_stale(now)).count() as u64
    }

    /// Labels of the endpoints of a service, in each connected proxy that has any; none where a
    /// proxy does not know or tell all of them.
    pub(crate) fn endpoints_of(&self, service: &ServiceId) -> Vec<Vec<&[(String, String)]>> {
        let connected = self.iter().filter(|proxy| proxy.connection.is_some());
        let all: Vec<_> = connected.map(|proxy| &proxy.hello.endpoints).collect();
        if all.iter().any(|endpoints| 0 < endpoints.left_out) {
            return Vec::new();
        }
        let own = all.into_iter().map(|endpoints| labels_of(endpoints, service));
        own.filter(|labels| !labels.is_empty()).collect()
    }

    /// The last second that all connected proxies of a service, but for stale ones, have reported.
    pub(crate) fn front(&self, now: Now, source: &ServiceId) -> Option<u64> {
        let live = self.iter().filter(|proxy| proxy.is_live(now));
        live.filter(|p| p.hello.service == *source).filter_map(|p| p.last_second).min()
    }

    /// The same, of each service with connected proxies.
    pub(crate) fn fronts(&self, now: Now) -> HashMap<ServiceId, u64> {
        let mut fronts: HashMap<ServiceId, u64> = HashMap::new();
        let live = self.iter().filter(|proxy| proxy.is_live(now));
        for (proxy, second) in live.filter_map(|proxy| Some((proxy, proxy.last_second?))) {
            let front = fronts.entry(proxy.hello.service.clone()).or_insert(second);
            *front = second.min(*front);
        }
        fronts
    }

    /// Whether a service has a proxy, be it silent for a moment.
    pub(crate) fn has(&self, service: &ServiceId) -> bool {
        self.iter().any(|proxy| proxy.hello.service == *service)
    }

    /// Services that a connected proxy's listeners lead to, and the proxies' own.
    pub(crate) fn services(&self) -> HashSet<&ServiceId> {
        let connected = self.iter().filter(|proxy| proxy.connection.is_some());
        connected
            .flat_map(|p| std::iter::once(&p.hello.service).chain(&p.hello.endpoints.destinations))
            .collect()
    }

    /// A second passed.
    pub(crate) fn age(&mut self, now: Now) {
        self.by_id.retain(|_, proxy| {
            for carried in proxy.carried.values_mut() {
                *carried *= CARRIED_DECAY;
            }
            proxy.carried.retain(|_, carried| 1e-3 < *carried);
            let silence = now.instant.saturating_duration_since(proxy.last_seen.instant);
            proxy.connection.is_some() || silence < FORGET_AFTER
        });
    }
}

fn labels_of<'e>(endpoints: &'e Endpoints, service: &ServiceId) -> Vec<&'e [(String, String)]> {
    let own = endpoints.all.iter().filter(|one| one.destination == *service);
    own.map(|one| one.labels.as_slice()).collect()
}

fn held_standings(now: Now, hello: &Hello) -> BTreeMap<ServiceId, Standing> {
    let standing = |held: &fusebox_proto::command::HeldLease| {
        let (remaining_ms, percent) = match held.command.verb {
            Verb::Trip { action, ttl, .. } => {
                (u64::try_from(ttl.as_millis()).ok(), percent(action))
            }
            Verb::Reset { .. } => (None, None),
        };
        let status = BreakerStatus {
            destination: held.command.destination.clone(),
            state: held.state,
            cause: Cause::Operator,
            since_ms: 0,
            remaining_ms,
            percent,
            revision: held.command.revision,
            refused_total: 0,
            endpoint: String::new(),
            shadow: false,
            detail: String::new(),
            succeeded_total: 0,
        };
        (held.command.destination.clone(), Standing { status, at: now, from_ack: true })
    };
    hello.held.iter().take(DESTINATIONS_MAX).map(standing).collect()
}

/// The share that an action names, percent.
pub(crate) const fn percent(action: Action) -> Option<u8> {
    match action {
        Action::MuteRetries { percent } | Action::Shed { percent } => Some(percent),
        Action::Cap { .. } | Action::Open => None,
    }
}

impl Proxy {
    /// Whether commands on `edge` are enforced here: a listener leads to it, or traffic to it was
    /// seen.
    pub(crate) fn enforces(&self, edge: &Edge) -> bool {
        self.hello.service == edge.source
            && (self.hello.endpoints.destinations.contains(&edge.destination)
                || self.carried.contains_key(&edge.destination)
                || self.standings.contains_key(&edge.destination))
    }

    /// Whether it is connected, and silent.
    pub(crate) fn is_stale(&self, now: Now) -> bool {
        let silence = now.instant.saturating_duration_since(self.last_seen.instant);
        self.connection.is_some() && STALE_AFTER < silence
    }

    fn is_live(&self, now: Now) -> bool {
        self.connection.is_some() && !self.is_stale(now)
    }

    /// It said something.
    pub(crate) const fn heard(&mut self, now: Now) {
        self.last_seen = now;
    }

    /// Takes note of a report: places it, unless it was taken before.
    pub(crate) fn take(&mut self, now: Now, report: &Report) -> Taken {
        self.last_seen = now;
        if !self.seen.take(report.boot, report.number) {
            return Taken::Duplicate;
        }
        self.dropped = report.dropped;
        if let Some(endpoints) = &report.endpoints
            && self.hello.boot == report.boot
            && self.hello.endpoints.revision < endpoints.revision
        {
            self.hello.endpoints = endpoints.clone();
        }
        let second = self.second_of(now, report);
        if self.last_second.is_none_or(|last| last < second) {
            self.last_second = Some(second);
            self.draining = report.draining;
            self.troubles.clone_from(&report.troubles);
            self.take_standings(now, report);
        }
        for window in &report.edges {
            let is_known = self.carried.contains_key(&window.destination);
            if is_known || self.carried.len() < DESTINATIONS_MAX {
                let refused = window.counts.refused.total() + window.counts.retries_refused;
                *self.carried.entry(window.destination.clone()).or_default() +=
                    (window.counts.attempts() + refused) as f64;
            }
        }
        Taken::New { second }
    }

    /// The newest boot, and the number up to which its windows may be forgotten by the proxy.
    pub(crate) fn settled(&self) -> (u64, u64) {
        self.seen.settled()
    }

    /// The second into which most of the window falls, on the proxy's clock; on ours where that
    /// is wrong. A clock ahead shows at once; one behind looks like a proxy that catches up, which
    /// ends after a moment, and a wrong clock does not.
    fn second_of(&mut self, now: Now, report: &Report) -> u64 {
        let middle_ms = report.start_unix_ms.saturating_add(u64::from(report.duration_ms) / 2);
        let end_ms = report.start_unix_ms.saturating_add(u64::from(report.duration_ms));
        let lag_ms = signed(now.unix_ms).saturating_sub(signed(end_ms));
        let lag = self.lag.get_or_insert(Lag { since: now, ms_min: lag_ms });
        lag.ms_min = lag.ms_min.min(lag_ms);
        let known_for = now.instant.saturating_duration_since(lag.since.instant);
        let offset_ms = offset_ms(lag.ms_min, SKEW_AFTER < known_for);
        middle_ms.saturating_add_signed(offset_ms).min(now.unix_ms) / 1_000
    }

    fn take_standings(&mut self, now: Now, report: &Report) {
        let (edges, asides): (Vec<_>, Vec<_>) = (report.breakers.iter())
            .partition(|status| status.endpoint.is_empty() && !status.shadow);
        let standing =
            |status: &BreakerStatus| Standing { status: status.clone(), at: now, from_ack: false };
        self.asides = asides.into_iter().map(standing).collect();
        let reported: BTreeMap<&ServiceId, &BreakerStatus> =
            edges.into_iter().map(|status| (&status.destination, status)).collect();
        self.standings.retain(|destination, standing| {
            reported.contains_key(destination) || standing.is_fresh_ack(now)
        });
        for (destination, status) in reported {
            if let Some(standing) = self.standings.get(destination)
                && standing.is_fresh_ack(now)
                && status.revision < standing.status.revision
            {
                continue;
            }
            self.standings.insert(destination.clone(), standing(status));
        }
    }

    /// A command was acknowledged: where its breaker stands now, before the next report says so.
    pub(crate) fn take_ack(&mut self, now: Now, ack: &Ack, verb: Verb) {
        self.last_seen = now;
        if ack.result != AckResult::Applied {
            return;
        }
        let (state, remaining_ms, percent) = match verb {
            Verb::Trip { action, ttl, .. } => {
                (action.state(), u64::try_from(ttl.as_millis()).ok(), percent(action))
            }
            Verb::Reset { at_once: true } => (BreakerState::Closed, None, None),
            Verb::Reset { at_once: false } => (BreakerState::HalfOpen, None, None),
        };
        let status = BreakerStatus {
            destination: ack.destination.clone(),
            state,
            cause: Cause::Operator,
            since_ms: 0,
            remaining_ms,
            percent,
            revision: ack.revision,
            refused_total: 0,
            endpoint: String::new(),
            shadow: false,
            detail: String::new(),
            succeeded_total: 0,
        };
        let standing = Standing { status, at: now, from_ack: true };
        self.standings.insert(ack.destination.clone(), standing);
    }
}

impl Standing {
    fn is_fresh_ack(&self, now: Now) -> bool {
        let age = now.instant.saturating_duration_since(self.at.instant);
        self.from_ack && age < ACK_FRESH
    }
}

/// What to add to the times of a proxy whose least late report came so late: nothing, unless its
/// clock is wrong. `is_settled`: it is known for long enough not to be one that catches up.
pub(crate) const fn offset_ms(lag_ms_min: i64, is_settled: bool) -> i64 {
    let is_behind = SKEW_MAX_MS < lag_ms_min && is_settled;
    let is_ahead = lag_ms_min < -1_000;
    if is_behind || is_ahead { lag_ms_min } else { 0 }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

//! Which endpoints are taken out for a while: Envoy's outlier detection.
//!
//! One [`Outlier`] watches the endpoints of one destination (a host, a subset of it, a port: what
//! is a *cluster* in Envoy), for one proxy. It learns how attempts end, and *detects*:
//!
//! - at once: so many errors, gateway errors, or local failures in a row;
//! - at each *sweep*, every `interval`: a success rate far below that of the others, or a failure
//!   percentage above a threshold.
//!
//! What is detected is *ejected*, if the share of endpoints that may be out allows it (else it is an
//! *overflow*) and the dice of `enforcing_percent` say so. An ejection lasts
//! `min(base × backoff, max) + jitter`, and ends at the first sweep after that; the backoff grows
//! with each ejection and shrinks with each sweep without one.
//!
//! What is detected but not enforced is *shadowed*: the endpoint stays, and an ejection is imagined
//! with the same gate, backoff and sweeps. [`Cost`] counts the attempts that would have gone to
//! another endpoint meanwhile, and how many of them ended well all the same.
//!
//! The rules, their order and their arithmetic are those of Envoy's `outlier_detection_impl.cc` at
//! commit 00c7146 and of its router, with these differences:
//!
//! - an endpoint that one sweep finds twice is ejected once (Envoy counts it twice as ejected);
//! - a threshold that is lowered while errors are counted still fires;
//! - of endpoints found in one sweep, those with lower ids come first (Envoy: any order);
//! - sweeps keep to a grid of `interval` (Envoy: each is late by what the one before was late).
//!
//! Not here: active health checks, which Envoy lets end an ejection early.
//!
//! Pure: time, and chance as points 0…1, are parameters.

mod host;
mod rates;
mod record;
mod report;

use crate::balance::EndpointId;
use fusebox_proto::policy::{OutlierDetection, Percent};
use host::Host;
use record::Record;
pub use report::{Cost, Counters, Detection, Detector, Ejection, Event, HostStatus, Rates, What};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// More endpoints than this are not watched: they are never ejected.
pub const HOSTS_MAX: usize = 4_096;
/// Longer times of a policy are this long.
const TIME_MAX: Duration = Duration::from_hours(24 * 365);
/// More events than this between two reports are dropped, oldest first, and counted.
pub const EVENTS_MAX: usize = 256;

/// The outlier detection of one destination.
#[derive(Debug)]
pub struct Outlier {
    settings: OutlierDetection,
    /// In order of their ids.
    hosts: Vec<Host>,
    unwatched: usize,
    sweep_at: Instant,
    counters: Counters,
    /// Of the last sweep, from outside and of local origin.
    rates: [Option<Rates>; 2],
    /// Ejections that began or ended.
    changes: u64,
    events: VecDeque<Event>,
    events_dropped: u64,
}

/// What became of an attempt, as Envoy tells its detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The endpoint answered with this HTTP status; for gRPC
    /// [`http_status`](fusebox_proto::grpc::http_status) of its status.
    Answered(u16),
    /// A raw TCP session was opened, and that is all there is to know.
    Opened,
    /// No connection, or it broke off: a local failure.
    Broken,
    /// No answer in time (of the try or of the route): a local failure.
    TimedOut,
}

impl Outlier {
    /// Watches nobody yet.
    pub fn new(now: Instant, settings: OutlierDetection) -> Self {
        let settings = bounded(settings);
        let sweep_at = now + settings.interval;
        Self {
            settings,
            hosts: Vec::new(),
            unwatched: 0,
            sweep_at,
            counters: Counters::default(),
            rates: [None; 2],
            changes: 0,
            events: VecDeque::new(),
            events_dropped: 0,
        }
    }

    /// Follows a change of policy. Who is out stays out, for as long as the new settings say.
    pub fn set_settings(&mut self, now: Instant, settings: OutlierDetection) {
        let settings = bounded(settings);
        self.sweep_at = self.sweep_at.min(now + settings.interval);
        self.settings = settings;
    }

    /// Follows a change of the endpoints. Those that stay keep their counts and ejections; those
    /// that leave are forgotten.
    pub fn set_hosts(&mut self, ids: &[EndpointId]) {
        let mut known = std::mem::take(&mut self.hosts);
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        self.unwatched = ids.len().saturating_sub(HOSTS_MAX);
        ids.truncate(HOSTS_MAX);
        let host = |id| match known.iter().position(|host| host.id == id) {
            Some(at) => known.swap_remove(at),
            None => Host::new(id),
        };
        self.hosts = ids.into_iter().map(host).collect();
        for gone in known {
            self.counters.shadow_cost.add(gone.shadow.cost());
        }
        self.count_active();
    }

    /// Learns that an attempt got a connection to `host`, new or kept. Only with
    /// `split_local_origin` that is a success of its own.
    pub fn connected(&mut self, host: EndpointId) {
        if self.settings.split_local_origin
            && let Some(at) = self.find(host)
        {
            self.hosts[at].local_origin_succeeded();
        }
    }

    /// Learns what became of an attempt on `host` that began at `started`. `dice` gives points,
    /// 0…1; it is asked when an endpoint is ejected.
    pub fn observed(
        &mut self,
        now: Instant,
        host: EndpointId,
        started: Instant,
        observed: Observed,
        mut dice: impl FnMut() -> f64,
    ) {
        self.handle_timeout(now, &mut dice);
        let Some(at) = self.find(host) else { return };
        let status = match (observed, self.settings.split_local_origin) {
            (Observed::Answered(status), _) => self.code(status),
            (Observed::Opened, false) => 200,
            (Observed::Broken, false) => 503,
            (Observed::TimedOut, false) => 504,
            (Observed::Opened, true) => {
                self.hosts[at].shadow.passed(started, true);
                self.hosts[at].local_origin_succeeded();
                return;
            }
            (Observed::Broken | Observed::TimedOut, true) => {
                self.hosts[at].shadow.passed(started, false);
                self.local_origin_failed(now, at, &mut dice);
                return;
            }
        };
        self.hosts[at].shadow.passed(started, !host::is_error(status));
        self.answered(now, at, status, &mut dice);
    }

    /// When [`handle_timeout`](Self::handle_timeout) next has work to do.
    pub const fn poll_timeout(&self) -> Instant {
        self.sweep_at
    }

    /// Lets time pass: a sweep, if one is due.
    pub fn handle_timeout(&mut self, now: Instant, mut dice: impl FnMut() -> f64) {
        if now < self.sweep_at {
            return;
        }
        let interval_ns = self.settings.interval.as_nanos();
        let late_ns = now.duration_since(self.sweep_at).as_nanos() % interval_ns;
        let next_ns = u64::try_from(interval_ns - late_ns).unwrap_or(u64::MAX);
        self.sweep_at = now + Duration::from_nanos(next_ns);
        self.sweep(now, &mut dice);
        self.check_invariants();
    }

    /// Whether an endpoint is out. The panic threshold is the balance's.
    pub fn is_ejected(&self, host: EndpointId) -> bool {
        self.find(host).is_some_and(|at| self.hosts[at].record.is_running())
    }

    /// Counts ejections that began or ended: as long as it is the same, so are the ejected.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Endpoints that are in, and all that are watched.
    pub fn healthy(&self) -> (usize, usize) {
        (self.hosts.len() - self.counters.ejections_active as usize, self.hosts.len())
    }

    /// What happened since the last call, in order.
    pub fn take_events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }

    /// How many events were dropped because nobody took them.
    pub const fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// Endpoints beyond [`HOSTS_MAX`], which are not watched.
    pub const fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// Counts since the detection began.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        self.hosts.iter().for_each(|host| counters.shadow_cost.add(host.shadow.cost()));
        counters
    }

    /// Mean success rate and threshold of the last sweep, from outside and of local origin; `None`
    /// where too few endpoints had enough requests.
    pub const fn rates(&self) -> [Option<Rates>; 2] {
        self.rates
    }

    /// All endpoints, in order of their ids.
    pub fn status(&self) -> impl Iterator<Item = HostStatus> {
        self.hosts.iter().map(|host| host.status(&self.settings))
    }

    /// The status that counts: what it is, or, where the policy lists errors of its own, 500 for
    /// one of them and 200 for all others (as Envoy's error matcher).
    fn code(&self, status: u16) -> u16 {
        let errors = &self.settings.error_statuses;
        if errors.is_empty() {
            return status;
        }
        let is_error = errors.iter().any(|&(low, high)| (low..=high).contains(&status));
        if is_error { 500 } else { 200 }
    }

    fn find(&self, id: EndpointId) -> Option<usize> {
        self.hosts.binary_search_by_key(&id, |host| host.id).ok()
    }

    fn tell(&mut self, at: Instant, host: EndpointId, what: What) {
        self.changes += u64::from(matches!(what, What::Ejected { .. } | What::Unejected { .. }));
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(Event { host, at, what });
    }

    fn count_active(&mut self) {
        let active = |record: fn(&Host) -> &Record| {
            self.hosts.iter().filter(|host| record(host).is_running()).count() as u64
        };
        let (ejections, shadows) =
            (active(|host| &host.record), active(|host| &host.shadow.record));
        self.counters.ejections_active = ejections;
        self.counters.shadows_active = shadows;
    }

    fn check_invariants(&self) {
        debug_assert!(self.hosts.is_sorted_by_key(|host| host.id));
        debug_assert!(self.events.len() <= EVENTS_MAX);
        debug_assert!(self.counters.ejections_active as usize <= self.hosts.len());
    }
}

/// Times that no clock overflows with, and an interval that is one.
fn bounded(settings: OutlierDetection) -> OutlierDetection {
    OutlierDetection {
        interval: settings.interval.clamp(Duration::from_millis(1), TIME_MAX),
        ejection_time_base: settings.ejection_time_base.min(TIME_MAX),
        ejection_time_max: settings.ejection_time_max.min(TIME_MAX),
        ejection_time_jitter_max: settings.ejection_time_jitter_max.min(TIME_MAX),
        ..settings
    }
}

/// Whether a detection is enforced.
fn is_enforced(percent: u8, dice: &mut dyn FnMut() -> f64) -> bool {
    match percent {
        0 => false,
        100.. => true,
        _ => Percent::new(f64::from(percent)).is_some_and(|share| share.takes(dice())),
    }
}

#[cfg(test)]
mod tests;

//! One instance of a service: its connections over all workers, and who waits for one.

use super::connect::ConnectError;
use super::http1::{Idle, Waiter};
use super::http2::Multiplexed;
use super::settings::PoolSettings;
use crate::balance::EndpointId;
use crate::edge::Overflow;
use crate::tunnel::Bounds;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// A server that had no HTTP/2 is asked for it again after this long.
const ASKED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Why a request got no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// A limit of the pool: our refusal.
    #[error("the pool is full")]
    Overflow(Overflow),
    /// The server's failure.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What all endpoints of a pool have together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    connections: AtomicUsize,
    /// HTTP/1 requests that wait for a connection.
    pub(super) waiting: AtomicUsize,
    /// HTTP/1 connections being opened.
    pub(super) opening: AtomicUsize,
    pub(super) endpoints: RwLock<Vec<Weak<Endpoint>>>,
}

/// One instance of a service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// No other endpoint of the pool has it, or had it.
    id: EndpointId,
    pub(super) address: String,
    pub(super) shared: Arc<Shared>,
    load: AtomicUsize,
    state: Mutex<State>,
}

/// Everything under the one lock. It is held for a push or a pop, never over an await.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: PoolSettings,
    /// It left: nobody new will come.
    pub(super) is_retired: bool,
    /// Connections, those being opened included.
    pub(super) connections: usize,
    /// HTTP/1 connections being opened.
    pub(super) opening: usize,
    /// HTTP/1 connections with nothing to do; the last one was used last.
    pub(super) idle: Vec<Idle>,
    /// HTTP/1 requests that wait, in order of arrival and so of id.
    pub(super) waiting: VecDeque<Waiter>,
    pub(super) next_waiter: u64,
    /// How long the server keeps an idle connection, by its own word.
    keep_alive: Option<Duration>,
    /// It had no HTTP/2, and until then is not asked again.
    pub(super) http1_until: Option<Instant>,
    /// HTTP/2 connections and the requests on them.
    pub(super) multiplexed: Multiplexed,
}

impl Endpoint {
    /// No connection yet to `address`, a `host:port`.
    pub(super) fn new(
        id: EndpointId,
        address: &str,
        shared: Arc<Shared>,
        settings: PoolSettings,
    ) -> Arc<Self> {
        let state = Mutex::new(State {
            settings,
            is_retired: false,
            connections: 0,
            opening: 0,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            next_waiter: 0,
            keep_alive: None,
            http1_until: None,
            multiplexed: Multiplexed::default(),
        });
        let address = address.to_owned();
        Arc::new(Self { id, address, shared, load: AtomicUsize::new(0), state })
    }

    /// Follows a change of policy: what is under way stays, and what is idle is judged anew when
    /// it is next looked at.
    pub(super) fn apply(&self, settings: PoolSettings) {
        self.lock().settings = settings;
    }

    /// Nobody new will come. What is under way ends as it would, those that wait get a connection
    /// each, and what is idle closes.
    pub(super) fn retire(&self) {
        let mut state = self.lock();
        state.is_retired = true;
        state.settings.requests_per_connection_max = Some(1);
        state.idle.clear();
        state.multiplexed.retire();
    }

    /// Its number in the pool.
    pub(crate) const fn id(&self) -> EndpointId {
        self.id
    }

    /// How long a tunnel to it may last, and be silent; `idle` where nobody says how long.
    pub(crate) fn tunnel_bounds(&self, idle: Duration) -> Bounds {
        let settings = self.lock().settings;
        let idle = settings.tunnel_idle.unwrap_or(idle);
        Bounds { idle: (!idle.is_zero()).then_some(idle), age: settings.connection_age_max }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Connections, those being opened included.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Requests that wait for a connection.
    pub(crate) fn pending(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Requests that wait or are under way.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    pub(super) fn add_load(&self) {
        self.load.fetch_add(1, Relaxed);
    }

    pub(super) fn remove_load(&self) {
        self.load.fetch_sub(1, Relaxed);
    }

    /// Closes connections that were idle too long, or are too old.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let (limit, settings) = (state.idle_limit(), state.settings);
        state.idle.retain(|idle| !idle.is_stale(now, limit, &settings));
        state.multiplexed.sweep(now, limit, &settings);
    }

    /// It answered by HTTP/1 what it did not take by HTTP/2. (One that only hung up may have been about
    /// to end, and have both after its next start.)
    pub(crate) fn speaks_http1(&self, now: Instant) {
        self.lock().http1_until = Some(now + ASKED_AGAIN_AFTER);
    }

    /// Learns from `Keep-Alive: timeout=N` how long the server keeps an idle connection. Ours
    /// lives a second less, so that we close it and not the server while a request is on its way.
    pub(crate) fn keep_alive(&self, timeout_s: u64) {
        self.lock().keep_alive = Some(Duration::from_secs(timeout_s.saturating_sub(1)));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    pub(super) fn idle_limit(&self) -> Duration {
        let own = self.settings.idle_timeout;
        self.keep_alive.map_or(own, |keep| keep.min(own))
    }

    /// Whether one more connection is within the limits.
    pub(super) fn may_open(&self, shared: &Shared) -> bool {
        self.connections < self.settings.each.connections_max
            && self
                .settings
                .connections_max
                .is_none_or(|max| shared.connections.load(Relaxed) < max || self.is_owed_one(max))
    }

    /// The first connection of an endpoint is beyond the limit of the pool.
    const fn is_owed_one(&self, max: usize) -> bool {
        self.connections == 0 && max != 0
    }

    /// Why no further request may wait. Those for whom a connection is being opened do not wait
    /// for others.
    pub(super) fn overflow(&self, shared: &Shared) -> Option<Overflow> {
        let own = self.waiting.len().saturating_sub(self.opening);
        let all = shared.waiting.load(Relaxed).saturating_sub(shared.opening.load(Relaxed));
        let each_max = self.settings.each.pending_max;
        let max = self.settings.pending_max.unwrap_or(usize::MAX);
        if own < each_max && all < max {
            None
        } else if each_max == 0 || max == 0 {
            Some(Overflow::Connections)
        } else {
            Some(Overflow::Pending)
        }
    }
}

/// The place of one connection under the limits.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: Arc<Endpoint>,
    is_free: bool,
}

impl Slot {
    /// Takes a place if there is one.
    pub(super) fn take(endpoint: &Arc<Endpoint>, state: &mut State) -> Option<Self> {
        if state.settings.each.connections_max <= state.connections {
            return None;
        }
        let connections = &endpoint.shared.connections;
        match state.settings.connections_max {
            Some(max) if !state.is_owed_one(max) => {
                let more = |count: usize| (count < max).then_some(count + 1);
                connections.fetch_update(Relaxed, Relaxed, more).ok()?;
            }
            _ => {
                connections.fetch_add(1, Relaxed);
            }
        }
        state.connections += 1;
        Some(Self { endpoint: Arc::clone(endpoint), is_free: false })
    }

    /// The connection is gone: opens the next if someone waits, here or elsewhere in the pool.
    pub(super) fn free(mut self) {
        self.is_free = true;
        self.give_back();
        self.endpoint.open_for_waiting();
        let shared = &self.endpoint.shared;
        if 0 < shared.waiting.load(Relaxed) {
            let others: Vec<_> = shared.endpoints.read().iter().filter_map(Weak::upgrade).collect();
            for other in others {
                other.open_for_waiting();
            }
        }
    }

    fn give_back(&self) {
        self.endpoint.lock().connections -= 1;
        self.endpoint.shared.connections.fetch_sub(1, Relaxed);
    }
}

/// A task that ended before its time, at shutdown: the count stays right, nothing is opened.
impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_free {
            self.give_back();
        }
    }
}

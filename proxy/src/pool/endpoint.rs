//! One instance of a service: its connections over all workers, and who waits for one.

use super::connect::ConnectError;
use super::http1::{Idle, Waiter};
use super::http2::Multiplexed;
use crate::config::Limits;
use crate::edge::Overflow;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An idle connection is closed after this long where the server did not say how long it keeps
/// one: below the 60 s and more of most servers; those that close earlier and do not say so are
/// met by sending again.
const IDLE_DEFAULT: Duration = Duration::from_secs(50);

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

/// One instance of a service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) address: String,
    pub(super) limits: Limits,
    load: AtomicUsize,
    state: Mutex<State>,
}

/// Everything under the one lock. It is held for a push or a pop, never over an await.
#[derive(Debug, Default)]
pub(super) struct State {
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
    pub(super) keep_alive: Option<Duration>,
    /// HTTP/2 connections and the requests on them.
    pub(super) multiplexed: Multiplexed,
}

impl Endpoint {
    /// No connection yet to `address`, a `host:port`.
    pub(super) fn new(address: &str, limits: Limits) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(Self { address: address.to_owned(), limits, load: AtomicUsize::new(0), state })
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

    /// Closes connections that were idle too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let limit = state.idle_limit();
        state.idle.retain(|idle| !idle.is_stale(now, limit));
    }

    /// Learns from `Keep-Alive: timeout=N` how long the server keeps an idle connection. Ours
    /// lives a second less, so that we close it and not the server while a request is on its way.
    pub(crate) fn keep_alive(&self, timeout_s: u64) {
        let keep = Duration::from_secs(timeout_s.saturating_sub(1)).min(IDLE_DEFAULT);
        self.lock().keep_alive = Some(keep);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    pub(super) fn idle_limit(&self) -> Duration {
        self.keep_alive.unwrap_or(IDLE_DEFAULT)
    }
}

/// The place of one connection under the endpoint's limit.
#[derive(Debug)]
pub(super) struct Slot {
    endpoint: Arc<Endpoint>,
    is_free: bool,
}

impl Slot {
    /// Takes a place if there is one.
    pub(super) fn take(endpoint: &Arc<Endpoint>, state: &mut State) -> Option<Self> {
        if endpoint.limits.connections_max <= state.connections {
            return None;
        }
        state.connections += 1;
        Some(Self { endpoint: Arc::clone(endpoint), is_free: false })
    }

    /// The connection is gone: opens the next if someone waits.
    pub(super) fn free(mut self) {
        self.is_free = true;
        let endpoint = Arc::clone(&self.endpoint);
        endpoint.lock().connections -= 1;
        endpoint.open_for_waiting();
    }
}

/// A task that ended before its time, at shutdown: the count stays right, nothing is opened.
impl Drop for Slot {
    fn drop(&mut self) {
        if !self.is_free {
            self.endpoint.lock().connections -= 1;
        }
    }
}

//! HTTP/1: one request at a time on a connection.

use super::connect::{self, BUFFER_LEN_MAX, ConnectError};
use super::endpoint::{AcquireError, Endpoint, Slot, State};
use super::settings::PoolSettings;
use super::socket::Socket;
use crate::body::RequestBody;
use fusebox_proto::Now;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A connection whose response is over, but whose request body is not, is closed after this long.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(1);

type Grant = Result<Http1Connection, ConnectError>;

/// A connection that is free.
#[derive(Debug)]
struct Http1Connection {
    sender: SendRequest<RequestBody>,
    /// Requests that it carried before: if any, the server may be closing it just now.
    served: u32,
    born: Instant,
}

/// A connection with nothing to do.
#[derive(Debug)]
pub(super) struct Idle {
    connection: Http1Connection,
    since: Instant,
}

impl Idle {
    /// Whether it is closed, was idle for too long to be trusted, or takes no more requests.
    pub(super) fn is_stale(&self, now: Instant, limit: Duration, settings: &PoolSettings) -> bool {
        let Http1Connection { sender, served, born } = &self.connection;
        sender.is_closed()
            || limit <= now.saturating_duration_since(self.since)
            || settings.is_spent(*served, *born, now)
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
pub(super) struct Waiter {
    id: u64,
    grant: oneshot::Sender<Grant>,
}

/// A connection that is one request's alone. Dropped, it closes; what it was doing is cancelled.
#[derive(Debug)]
pub(crate) struct Http1Lease {
    connection: Http1Connection,
    endpoint: Arc<Endpoint>,
}

impl Http1Lease {
    /// Whether it carried a request before.
    pub(crate) fn is_used(&self) -> bool {
        0 < self.connection.served
    }

    /// To send the request.
    pub(crate) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    /// Gives the connection back at the end of the response body.
    pub(crate) fn release(self, now: Instant) {
        let Self { mut connection, endpoint } = self;
        connection.served = connection.served.saturating_add(1);
        if connection.sender.is_ready() {
            endpoint.deliver(connection, now);
        } else if !connection.sender.is_closed() {
            // The server answered before it had read the request body.
            tokio::spawn(tokio::time::timeout(UPLOAD_PATIENCE, async move {
                if connection.sender.ready().await.is_ok() {
                    endpoint.deliver(connection, now);
                }
            }));
        }
    }
}

impl Endpoint {
    /// A connection for one HTTP/1 request: an idle one, or the first that gets free or is opened.
    pub(crate) async fn http1(self: &Arc<Self>, now: Instant) -> Result<Http1Lease, AcquireError> {
        let mut waiting = match self.take_or_wait(now)? {
            Ok(connection) => {
                return Ok(Http1Lease { connection, endpoint: Arc::clone(self) });
            }
            Err(waiting) => waiting,
        };
        self.open_for_waiting();
        let connection = (&mut waiting.grant).await.map_err(|_| ConnectError::Closing)??;
        Ok(Http1Lease { connection, endpoint: Arc::clone(self) })
    }

    /// Closes all idle connections: one of them turned out dead, so most probably all are.
    pub(crate) fn discard_idle(&self) {
        self.lock().idle.clear();
    }

    /// An idle connection, or a place in the queue.
    fn take_or_wait(
        self: &Arc<Self>,
        now: Instant,
    ) -> Result<Result<Http1Connection, Waiting>, AcquireError> {
        let mut state = self.lock();
        let (limit, settings) = (state.idle_limit(), state.settings);
        while let Some(idle) = state.idle.pop() {
            if !idle.is_stale(now, limit, &settings) && idle.connection.sender.is_ready() {
                return Ok(Ok(idle.connection));
            }
        }
        if !state.may_open(&self.shared)
            && let Some(overflow) = state.overflow(&self.shared)
        {
            return Err(AcquireError::Overflow(overflow));
        }
        let (grant, granted) = oneshot::channel();
        let id = state.next_waiter;
        state.next_waiter += 1;
        state.waiting.push_back(Waiter { id, grant });
        self.shared.waiting.fetch_add(1, Relaxed);
        Ok(Err(Waiting { id, grant: granted, endpoint: Arc::clone(self) }))
    }

    /// Hands a free connection to whoever waits longest, or keeps it.
    fn deliver(&self, connection: Http1Connection, now: Instant) {
        let mut state = self.lock();
        if !state.settings.is_spent(connection.served, connection.born, now) {
            self.hand_on(&mut state, Ok(connection), now);
        }
    }

    /// Hands `grant` to whoever waits longest; if nobody does, a connection becomes idle.
    fn hand_on(&self, state: &mut State, mut grant: Grant, now: Instant) {
        while let Some(waiter) = state.waiting.pop_front() {
            self.shared.waiting.fetch_sub(1, Relaxed);
            match waiter.grant.send(grant) {
                Ok(()) => return,
                Err(back) => grant = back,
            }
        }
        if let Ok(connection) = grant
            && !state.is_retired
        {
            state.idle.push(Idle { connection, since: now });
        }
    }

    /// Opens as many connections as requests wait, within the limit.
    pub(super) fn open_for_waiting(self: &Arc<Self>) {
        let mut state = self.lock();
        while state.opening < state.waiting.len() {
            let Some(slot) = Slot::take(self, &mut state) else {
                return;
            };
            state.opening += 1;
            self.shared.opening.fetch_add(1, Relaxed);
            tokio::spawn(Opening(Some(Arc::clone(self))).run(slot));
        }
    }
}

/// A place in the queue; left when the caller gives up.
struct Waiting {
    id: u64,
    grant: oneshot::Receiver<Grant>,
    endpoint: Arc<Endpoint>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.endpoint.lock();
        if let Ok(at) = state.waiting.binary_search_by_key(&self.id, |waiter| waiter.id) {
            state.waiting.remove(at);
            self.endpoint.shared.waiting.fetch_sub(1, Relaxed);
            return;
        }
        // It was granted a connection that it never saw.
        if let Ok(Ok(connection)) = self.grant.try_recv() {
            self.endpoint.hand_on(&mut state, Ok(connection), Now::read().instant);
        }
    }
}

/// The task that opens one connection and then serves it.
struct Opening(Option<Arc<Endpoint>>);

impl Opening {
    async fn run(mut self, slot: Slot) {
        let Some(endpoint) = self.0.clone() else { return };
        let settings = endpoint.lock().settings;
        let timeout = settings.each.connect_timeout;
        let opened = connect::open(&endpoint.address, timeout, settings.keepalive).await;
        let handshake = match opened {
            Ok(stream) => {
                let mut builder = Builder::new();
                builder.max_buf_size(BUFFER_LEN_MAX);
                builder.preserve_header_case(settings.each.preserve_header_case);
                let (socket, closed) = Socket::new(stream);
                let shaken = builder.handshake(TokioIo::new(socket)).await;
                let shaken = shaken.map_err(|error| ConnectError::Io(error.to_string()));
                shaken.map(|(sender, connection)| (sender, connection, closed))
            }
            Err(error) => Err(error),
        };
        match handshake {
            Ok((sender, connection, closed)) => {
                self.finished(|now| Ok(Http1Connection { sender, served: 0, born: now }));
                // Its end is told to whoever uses it; here it only frees a place, which a tunnel
                // keeps beyond the end of HTTP.
                let _ = connection.with_upgrades().await;
                closed.wait().await;
            }
            Err(error) => self.finished(|_| Err(error)),
        }
        slot.free();
    }

    fn finished(&mut self, grant: impl FnOnce(Instant) -> Grant) {
        if let Some(endpoint) = self.0.take() {
            let now = Now::read().instant;
            let mut state = endpoint.lock();
            state.opening -= 1;
            endpoint.shared.opening.fetch_sub(1, Relaxed);
            endpoint.hand_on(&mut state, grant(now), now);
        }
    }
}

/// The runtime ended before the connection was open.
impl Drop for Opening {
    fn drop(&mut self) {
        self.finished(|_| Err(ConnectError::Closing));
    }
}

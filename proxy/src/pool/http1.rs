//! HTTP/1: one request at a time on a connection.

use super::connect::{self, BUFFER_LEN_MAX, ConnectError};
use super::endpoint::{AcquireError, Endpoint, Slot, State};
use crate::body::RequestBody;
use crate::edge::Overflow;
use fusebox_proto::Now;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A connection whose response is over, but whose request body is not, is closed after this long.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(1);

type Grant = Result<Http1Connection, ConnectError>;

/// A connection that is free.
#[derive(Debug)]
struct Http1Connection {
    sender: SendRequest<RequestBody>,
    /// Whether it carried a request before: then the server may be closing it just now.
    is_used: bool,
}

/// A connection with nothing to do.
#[derive(Debug)]
pub(super) struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

impl Idle {
    /// Whether it is closed, or was idle for too long to be trusted.
    pub(super) fn is_stale(&self, now: Instant, limit: Duration) -> bool {
        self.sender.is_closed() || limit <= now.saturating_duration_since(self.since)
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
        self.connection.is_used
    }

    /// To send the request.
    pub(crate) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    /// Gives the connection back at the end of the response body.
    pub(crate) fn release(self, now: Instant) {
        let Self { connection: Http1Connection { mut sender, .. }, endpoint } = self;
        if sender.is_ready() {
            endpoint.deliver(Http1Connection { sender, is_used: true }, now);
        } else if !sender.is_closed() {
            // The server answered before it had read the request body.
            tokio::spawn(tokio::time::timeout(UPLOAD_PATIENCE, async move {
                if sender.ready().await.is_ok() {
                    endpoint.deliver(Http1Connection { sender, is_used: true }, now);
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
        let limit = state.idle_limit();
        while let Some(idle) = state.idle.pop() {
            if !idle.is_stale(now, limit) && idle.sender.is_ready() {
                return Ok(Ok(Http1Connection { sender: idle.sender, is_used: true }));
            }
        }
        let limits = self.limits;
        let may_open = state.connections < limits.connections_max;
        // Those for whom a connection is being opened do not wait for others.
        let queued = state.waiting.len().saturating_sub(state.opening);
        if !may_open && limits.pending_max <= queued {
            let no_queue = limits.pending_max == 0;
            let overflow = if no_queue { Overflow::Connections } else { Overflow::Pending };
            return Err(AcquireError::Overflow(overflow));
        }
        let (grant, granted) = oneshot::channel();
        let id = state.next_waiter;
        state.next_waiter += 1;
        state.waiting.push_back(Waiter { id, grant });
        Ok(Err(Waiting { id, grant: granted, endpoint: Arc::clone(self) }))
    }

    /// Hands a free connection to whoever waits longest, or keeps it.
    fn deliver(&self, connection: Http1Connection, now: Instant) {
        self.lock().hand_on(Ok(connection), now);
    }

    /// Opens as many connections as requests wait, within the limit.
    pub(super) fn open_for_waiting(self: &Arc<Self>) {
        let mut state = self.lock();
        while state.opening < state.waiting.len() {
            let Some(slot) = Slot::take(self, &mut state) else {
                return;
            };
            state.opening += 1;
            tokio::spawn(Opening(Some(Arc::clone(self))).run(slot));
        }
    }
}

impl State {
    /// Hands `grant` to whoever waits longest; if nobody does, a connection becomes idle.
    fn hand_on(&mut self, mut grant: Grant, now: Instant) {
        while let Some(waiter) = self.waiting.pop_front() {
            match waiter.grant.send(grant) {
                Ok(()) => return,
                Err(back) => grant = back,
            }
        }
        if let Ok(Http1Connection { sender, .. }) = grant {
            self.idle.push(Idle { sender, since: now });
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
            return;
        }
        // It was granted a connection that it never saw.
        if let Ok(Ok(connection)) = self.grant.try_recv() {
            state.hand_on(Ok(connection), Now::read().instant);
        }
    }
}

/// The task that opens one connection and then serves it.
struct Opening(Option<Arc<Endpoint>>);

impl Opening {
    async fn run(mut self, slot: Slot) {
        let Some(endpoint) = self.0.clone() else { return };
        let opened = connect::open(&endpoint.address, endpoint.limits.connect_timeout).await;
        let handshake = match opened {
            Ok(stream) => {
                let mut builder = Builder::new();
                builder.max_buf_size(BUFFER_LEN_MAX);
                let shaken = builder.handshake(TokioIo::new(stream)).await;
                shaken.map_err(|error| ConnectError::Io(error.to_string()))
            }
            Err(error) => Err(error),
        };
        match handshake {
            Ok((sender, connection)) => {
                self.finished(Ok(Http1Connection { sender, is_used: false }));
                // Its end is told to whoever uses it; here it only frees a place.
                let _ = connection.await;
            }
            Err(error) => self.finished(Err(error)),
        }
        slot.free();
    }

    fn finished(&mut self, grant: Grant) {
        if let Some(endpoint) = self.0.take() {
            let mut state = endpoint.lock();
            state.opening -= 1;
            state.hand_on(grant, Now::read().instant);
        }
    }
}

/// The runtime ended before the connection was open.
impl Drop for Opening {
    fn drop(&mut self) {
        self.finished(Err(ConnectError::Closing));
    }
}

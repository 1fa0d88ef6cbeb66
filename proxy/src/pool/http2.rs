//! HTTP/2: many requests at a time on few connections.
//!
//! A request takes a stream on the first connection that has room. Where none has, one further
//! connection is opened, and all that arrive meanwhile wait for it.

use super::connect::{self, BUFFER_LEN_MAX, ConnectError};
use super::endpoint::{AcquireError, Endpoint, Slot};
use super::greeting;
use super::settings::PoolSettings;
use crate::body::RequestBody;
use crate::edge::Overflow;
use fusebox_proto::Now;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What one stream may have under way towards us.
const STREAM_WINDOW_LEN: u32 = BUFFER_LEN_MAX as u32;
/// What all streams of a connection may have under way towards us.
const CONNECTION_WINDOW_LEN: u32 = 1024 * 1024;
/// A connection with requests on it is asked for a sign of life this often…
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// … and closed if it gives none for this long.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of opening a connection; `None` while it is being opened.
type Opened = Option<Result<(), ConnectError>>;

/// The HTTP/2 side of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Multiplexed {
    connections: Vec<Arc<Http2Connection>>,
    /// Requests under way on all of them, and those that wait for one.
    streams: usize,
    opening: Option<watch::Receiver<Opened>>,
}

#[derive(Debug)]
struct Http2Connection {
    sender: SendRequest<RequestBody>,
    streams: AtomicUsize,
    /// Requests that it carried, those under way included.
    served: AtomicU32,
    born: Instant,
    /// When it was last seen in use.
    used: Mutex<Instant>,
    /// It gave a request back: no new ones.
    is_retired: AtomicBool,
}

impl Http2Connection {
    fn is_usable(&self, now: Instant, settings: &PoolSettings) -> bool {
        !self.sender.is_closed()
            && !self.is_retired.load(Relaxed)
            && !settings.is_spent(self.served.load(Relaxed), self.born, now)
    }

    fn has_room(&self, settings: &PoolSettings) -> bool {
        self.streams.load(Relaxed) < settings.streams_per_connection_max
    }

    fn begin(&self) {
        self.streams.fetch_add(1, Relaxed);
        self.served.fetch_add(1, Relaxed);
    }

    /// Whether nothing was on it for as long as `limit`. Looked at each second.
    fn is_unused(&self, now: Instant, limit: Duration) -> bool {
        let mut used = self.used.lock();
        if 0 < self.streams.load(Relaxed) {
            *used = now;
        }
        limit <= now.saturating_duration_since(*used)
    }
}

impl Multiplexed {
    /// Lets go of all connections; what is on them goes on.
    pub(super) fn retire(&mut self) {
        self.connections.clear();
    }

    /// Lets go of connections that nobody used for too long, or that take no more requests; what is
    /// on them goes on.
    pub(super) fn sweep(&mut self, now: Instant, limit: Duration, settings: &PoolSettings) {
        self.connections.retain(|connection| {
            connection.is_usable(now, settings) && !connection.is_unused(now, limit)
        });
    }
}

/// One stream. Dropped, its place is free.
#[derive(Debug)]
pub(crate) struct Http2Lease {
    connection: Arc<Http2Connection>,
    _stream: Stream,
}

impl Http2Lease {
    /// To send the request.
    pub(crate) fn sender(&self) -> SendRequest<RequestBody> {
        self.connection.sender.clone()
    }

    /// The connection takes no further requests.
    pub(crate) fn retire(&self) {
        self.connection.is_retired.store(true, Relaxed);
    }
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        self.connection.streams.fetch_sub(1, Relaxed);
    }
}

/// A place under the endpoint's limit of requests.
#[derive(Debug)]
struct Stream(Arc<Endpoint>);

impl Stream {
    fn take(endpoint: &Arc<Endpoint>) -> Result<Self, AcquireError> {
        let mut state = endpoint.lock();
        if state.settings.each.streams_max <= state.multiplexed.streams {
            return Err(AcquireError::Overflow(Overflow::Connections));
        }
        state.multiplexed.streams += 1;
        Ok(Self(Arc::clone(endpoint)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.multiplexed.streams -= 1;
        if state.is_retired && state.multiplexed.streams == 0 {
            state.multiplexed.retire();
        }
    }
}

impl Endpoint {
    /// A stream for one HTTP/2 request.
    pub(crate) async fn http2(self: &Arc<Self>, now: Instant) -> Result<Http2Lease, AcquireError> {
        let stream = Stream::take(self)?;
        loop {
            let mut opening = match self.find_or_open(now)? {
                Ok(connection) => return Ok(Http2Lease { connection, _stream: stream }),
                Err(opening) => opening,
            };
            let opened = opening.wait_for(Option::is_some).await;
            let opened = opened.map_err(|_| ConnectError::Closing)?.clone();
            opened.unwrap_or(Err(ConnectError::Closing))?;
        }
    }

    /// A connection with room, on which a stream is counted already, or the one being opened.
    fn find_or_open(
        self: &Arc<Self>,
        now: Instant,
    ) -> Result<Result<Arc<Http2Connection>, watch::Receiver<Opened>>, AcquireError> {
        let mut state = self.lock();
        let settings = state.settings;
        let multiplexed = &mut state.multiplexed;
        multiplexed.connections.retain(|connection| connection.is_usable(now, &settings));
        let mut connections = multiplexed.connections.iter();
        if let Some(found) = connections.find(|connection| connection.has_room(&settings)) {
            found.begin();
            return Ok(Ok(Arc::clone(found)));
        }
        if let Some(opening) = &multiplexed.opening {
            return Ok(Err(opening.clone()));
        }
        let http1_until = state.http1_until;
        if http1_until.is_some_and(|until| now < until) {
            return Err(ConnectError::NotHttp2.into());
        }
        let Some(slot) = Slot::take(self, &mut state) else {
            // To ask anew is worth no refusal: the places are those of its HTTP/1.
            let full = AcquireError::Overflow(Overflow::Connections);
            return Err(http1_until.map_or(full, |_| ConnectError::NotHttp2.into()));
        };
        let (opened, opening) = watch::channel(None);
        state.multiplexed.opening = Some(opening.clone());
        tokio::spawn(Opening { endpoint: Arc::clone(self), opened }.run(slot));
        Ok(Err(opening))
    }
}

/// The task that opens one connection and then serves it.
struct Opening {
    endpoint: Arc<Endpoint>,
    opened: watch::Sender<Opened>,
}

impl Opening {
    async fn run(self, slot: Slot) {
        let endpoint = Arc::clone(&self.endpoint);
        let settings = endpoint.lock().settings;
        let timeout = settings.each.connect_timeout;
        let greeted = async {
            let stream = connect::open(&endpoint.address, timeout, settings.keepalive).await?;
            let (stream, mut greeting) = greeting::listen(stream);
            let shaken = builder().handshake(TokioIo::new(stream)).await;
            let (sender, connection) =
                shaken.map_err(|error| ConnectError::Io(error.to_string()))?;
            let mut connection = Box::pin(connection);
            tokio::select! {
                biased;
                greeting = &mut greeting => match greeting {
                    Ok(true) => Ok((sender, connection)),
                    _ => Err(ConnectError::NotHttp2),
                },
                _ = connection.as_mut() => Err(match greeting.try_recv() {
                    Ok(true) => ConnectError::Io("closed".into()),
                    _ => ConnectError::NotHttp2,
                }),
                () = tokio::time::sleep(timeout) => Err(ConnectError::Timeout(timeout)),
            }
        };
        match greeted.await {
            Ok((sender, connection)) => {
                self.finished(Ok(sender));
                // Its end is told to whoever uses it; here it only frees a place.
                let _ = connection.await;
                slot.free();
            }
            Err(error) => {
                // Its place may be wanted by the one who waits for it.
                slot.free();
                self.finished(Err(error));
            }
        }
    }

    fn finished(self, result: Result<SendRequest<RequestBody>, ConnectError>) {
        let result = result.map(|sender| {
            let now = Now::read().instant;
            let connection = Arc::new(Http2Connection {
                sender,
                streams: AtomicUsize::new(0),
                served: AtomicU32::new(0),
                born: now,
                used: Mutex::new(now),
                is_retired: AtomicBool::new(false),
            });
            let mut state = self.endpoint.lock();
            // Whoever it was opened for may have given up, and nobody else will come.
            if !state.is_retired || 0 < state.multiplexed.streams {
                state.multiplexed.connections.push(connection);
            }
        });
        // Nobody may wait any more.
        let _ = self.opened.send(Some(result));
    }
}

/// Opened or not, the next request that finds no room may open again.
impl Drop for Opening {
    fn drop(&mut self) {
        self.endpoint.lock().multiplexed.opening = None;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_LEN)
        .initial_connection_window_size(CONNECTION_WINDOW_LEN)
        .max_send_buf_size(BUFFER_LEN_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

//! A plain HTTP/1.1 client of one address, with a small pool: what every client library has below
//! its retries.
//!
//! Dropping a request before its answer closes its connection, as a library does whose caller ran
//! out of patience.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// Idle connections kept for the next request.
const IDLE_MAX: usize = 64;
/// A longer answer is cut off. The largest is the collector's list of incidents.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No connection.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A connection, and then none.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The caller asked for what is no request.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// An answer without an end.
    #[error("an answer longer than {ANSWER_BYTES_MAX} bytes")]
    Endless,
}

/// A client of one address.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    host: String,
    idle: Mutex<Vec<Connection>>,
}

/// A connection and the task that drives it; both end together.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// A client of `address` that asks for `host`.
    pub(crate) fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), idle: Mutex::default() }
    }

    /// `GET path`, under a `traceparent` if there is one; the whole answer.
    pub(crate) async fn get(
        &self,
        path: &str,
        traceparent: Option<String>,
    ) -> Result<Response<Bytes>, LinkError> {
        let mut request = Request::get(path).header(header::HOST, &self.host);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        let mut request = request.body(Empty::new())?;
        while let Some(mut connection) = self.take_idle() {
            if connection.sender.ready().await.is_err() {
                continue;
            }
            match connection.sender.try_send_request(request).await {
                Ok(answer) => return self.finish(connection, answer).await,
                // Closed by the other side while it lay idle: nothing was sent.
                Err(mut unsent) => match unsent.take_message() {
                    Some(again) => request = again,
                    None => return Err(unsent.into_error().into()),
                },
            }
        }
        let mut connection = self.connect().await?;
        let answer = connection.sender.send_request(request).await?;
        self.finish(connection, answer).await
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for the answer is told.
            let _ = driver.await;
        });
        Ok(Connection { sender, driver: driver.abort_handle() })
    }

    async fn finish(
        &self,
        connection: Connection,
        answer: Response<hyper::body::Incoming>,
    ) -> Result<Response<Bytes>, LinkError> {
        let (head, body) = answer.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| LinkError::Endless)?.to_bytes();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push(connection);
        }
        Ok(Response::from_parts(head, body))
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.sender.is_closed())
    }
}

//! A scripted HTTP service on a free port of loopback.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the service does with a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Time until the answer.
    pub delay: Duration,
    /// Body of the answer.
    pub body: Bytes,
}

impl Answer {
    /// At once, with this status and an empty body.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status of the test's own");
        Self { status, delay: Duration::ZERO, body: Bytes::new() }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

type Script = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

/// A running service; gone when dropped.
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Starts a service that answers the `n`-th request (from 0) by `script(n, request)`, over
    /// HTTP/1.1 and HTTP/2 with prior knowledge.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub async fn start(script: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, Arc::new(script), Arc::clone(&seen)));
        Self { address, seen, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    ///
    /// # Panics
    /// If the script panicked.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the script did not panic").clone()
    }

    /// How many requests arrived so far.
    ///
    /// # Panics
    /// If the script panicked.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("the script did not panic").len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        tokio::spawn(async move {
            let service =
                service_fn(|request| answer(request, Arc::clone(&script), Arc::clone(&seen)));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let arrived = Seen {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body,
    };
    let answer = {
        let mut seen = seen.lock().expect("the script did not panic");
        seen.push(arrived);
        script(seen.len() - 1, &seen[seen.len() - 1])
    };
    tokio::time::sleep(answer.delay).await;
    let response = Response::builder().status(answer.status).body(Full::new(answer.body));
    Ok(response.expect("a valid status"))
}

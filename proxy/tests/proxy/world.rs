//! A proxy between scripted servers and callers.

use bytes::Bytes;
use fusebox_proto::ServiceId;
use fusebox_proxy::config::{Config, Endpoint, Inbound, Outbound};
use fusebox_proxy::{Running, start};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Any body of the tests.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body of these chunks, of no announced length.
pub(crate) fn chunked(chunks: &[&[u8]]) -> Body {
    let frames: Vec<Result<_, Infallible>> =
        chunks.iter().map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    StreamBody::new(futures_util::stream::iter(frames)).boxed()
}

/// A loopback address on which something of the test may listen.
pub(crate) async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// A loopback address on which nobody listens, nor ever will as long as the test runs: it is taken.
pub(crate) async fn dead_address() -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop(socket);
    });
    address
}

/// A server that answers with a function.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// A server that answers as many requests as its gate gets permits, and tells the path of each
    /// when it arrives.
    pub(crate) async fn gated() -> (Self, Arc<Semaphore>, mpsc::UnboundedReceiver<String>) {
        let gate = Arc::new(Semaphore::new(0));
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let doorway = Arc::clone(&gate);
        let server = Self::start(move |request: Request<Incoming>| {
            let gate = Arc::clone(&doorway);
            arrived.send(request.uri().path().to_owned()).unwrap();
            async move {
                gate.acquire().await.unwrap().forget();
                Response::new(full("done"))
            }
        })
        .await;
        (server, gate, arrivals)
    }

    /// Starts it on the test's runtime.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self::start_on(listener, answer)
    }

    /// Starts it behind `listener`.
    pub(crate) fn start_on<F, A>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (requests, connections) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let server = Self {
            address,
            requests: Arc::clone(&requests),
            connections: Arc::clone(&connections),
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.fetch_add(1, SeqCst);
                let (answer, requests) = (answer.clone(), Arc::clone(&requests));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        requests.fetch_add(1, SeqCst);
                        let answer = answer(request);
                        async move { Ok::<_, Infallible>(answer.await) }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    /// A server that answers everything with its own request body.
    pub(crate) async fn echo() -> Self {
        Self::start(|request: Request<Incoming>| async move {
            let body = request
                .into_body()
                .collect()
                .await
                .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            Response::new(full(body))
        })
        .await
    }

    /// Requests that it got.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Connections that it accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// The configuration of `payment`'s proxy: calls to `inventory` at `endpoints`.
pub(crate) fn outbound(endpoints: &[SocketAddr]) -> Config {
    let mut config = Config::new(ServiceId::named("payment").unwrap());
    config.outbound.push(Outbound {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        host: "inventory".into(),
        endpoints: endpoints.iter().copied().map(Endpoint::from).collect(),
    });
    config
}

/// The configuration of `inventory`'s proxy in front of `app`.
pub(crate) fn inbound(app: SocketAddr) -> Config {
    let mut config = Config::new(ServiceId::named("inventory").unwrap());
    config
        .inbound
        .push(Inbound { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), app: app.into() });
    config
}

/// A running proxy; stops with the test.
pub(crate) struct Proxy(Option<Running>);

impl Proxy {
    pub(crate) fn start(config: Config) -> Self {
        Self(Some(start(config).expect("loopback ports are free")))
    }

    fn running(&self) -> &Running {
        self.0.as_ref().expect("it runs until dropped")
    }

    /// The first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        let running = self.running();
        running.outbound().iter().chain(running.inbound()).copied().next().unwrap()
    }

    /// The listener for all services.
    pub(crate) fn by_host(&self) -> SocketAddr {
        *self.running().outbound().last().unwrap()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.running().admin()
    }

    /// Waits until nothing is in flight any more.
    pub(crate) async fn drained(&self) {
        self.running().drained().await;
    }

    /// Stops it as SIGTERM does.
    pub(crate) async fn shutdown(mut self, grace: Duration) {
        let running = self.0.take().expect("it runs until dropped");
        tokio::task::spawn_blocking(move || running.shutdown(grace)).await.unwrap();
    }
}

/// A caller with one HTTP/1 connection.
pub(crate) struct Caller(http1::SendRequest<Body>);

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self(sender))
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&mut self, mut request: Request<Body>) -> hyper::Result<Answer> {
        let host = "inventory:80".parse().unwrap();
        request.headers_mut().entry(http::header::HOST).or_insert(host);
        self.0.ready().await?;
        Answer::read(self.0.send_request(request).await?).await
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.0.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(full("")).unwrap()).await
    }
}

/// A caller with one HTTP/2 connection.
pub(crate) async fn http2_caller(address: SocketAddr) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    Caller::connect(address).await.get(path).await
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Self { status, headers, body: body.to_bytes(), trailers })
    }

    /// A header, or empty.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Waits until a line of the proxy's metrics has this value.
pub(crate) async fn until(proxy: &Proxy, line: &str, value: u64) {
    let waiting = async {
        while crate::shop::metric(proxy, line).await != value {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(waited.is_ok(), "{line} never was {value}");
}

/// Sends raw bytes and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is a close, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads from `stream` until the end of a head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).unwrap()
}

/// A server that says the same to every connection once it has read a head, and hangs up.
pub(crate) struct Script;

impl Script {
    pub(crate) async fn start(says: &'static str) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    read_head(&mut stream).await;
                    stream.write_all(says.as_bytes()).await.unwrap();
                });
            }
        });
        address
    }
}

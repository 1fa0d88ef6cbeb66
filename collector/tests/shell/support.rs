//! A collector on free ports, and clients that send exactly what they are told.

use bytes::{BufMut as _, Bytes, BytesMut};
use fusebox_collector::{Config, Running};
use fusebox_proto::view::{Snapshot, Update};
use fusebox_proto::wire::v1::WatchRequest;
use fusebox_proto::wire::v1::console_client::ConsoleClient;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Nothing in these tests takes longer on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A collector on free ports.
pub(crate) async fn start() -> Running {
    fusebox_collector::start(Config::on_free_ports()).await.expect("a collector starts")
}

/// Sends one request over HTTP/1.1 and reads the whole answer.
pub(crate) async fn send(address: SocketAddr, request: Request<Bytes>) -> Response<Bytes> {
    let stream = TcpStream::connect(address).await.expect("the collector listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request.map(Full::new)).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    driver.abort();
    Response::from_parts(head, body)
}

/// `GET path` under the listener's own name.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Response<Bytes> {
    let request = Request::get(path).header("host", address.to_string()).body(Bytes::new());
    send(address, request.expect("a request")).await
}

/// `GET path` as JSON.
pub(crate) async fn json(address: SocketAddr, path: &str) -> serde_json::Value {
    let answer = get(address, path).await;
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_slice(answer.body()).expect("JSON")
}

/// `POST path` with a body of this type and compression.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut request = Request::post(path).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(address, request.body(body.into()).expect("a request")).await
}

/// What a gRPC call came to.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    /// `grpc-status`, wherever it stood.
    pub(crate) status: String,
    /// The message behind its prefix; empty where there is none.
    pub(crate) message: Bytes,
    /// Headers and trailers together.
    pub(crate) headers: HeaderMap,
}

/// The message with gRPC's prefix before it.
pub(crate) fn frame(is_compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(u8::from(is_compressed));
    framed.put_u32(u32::try_from(message.len()).expect("a short message"));
    framed.put_slice(message);
    framed.freeze()
}

/// A unary gRPC call with a body that is sent as it is.
pub(crate) async fn grpc(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    framed: Bytes,
) -> GrpcAnswer {
    let stream = TcpStream::connect(address).await.expect("the collector listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}")).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(framed)).expect("a request");
    let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole answer");
    let mut headers = head.headers;
    headers.extend(body.trailers().cloned().unwrap_or_default());
    let framed = body.to_bytes();
    driver.abort();
    GrpcAnswer {
        status: headers.get("grpc-status").expect("a status").to_str().expect("a number").into(),
        message: framed.slice(framed.len().min(5)..),
        headers,
    }
}

/// A channel to the control address.
pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URL");
    endpoint.connect().await.expect("the collector listens")
}

/// A console that watches.
pub(crate) struct Watcher {
    updates: Streaming<fusebox_proto::wire::v1::Update>,
    /// What it knows.
    pub(crate) snapshot: Snapshot,
    /// Updates so far, the first snapshot apart.
    pub(crate) deltas: u64,
}

impl Watcher {
    /// Begins to watch: a snapshot comes first.
    pub(crate) async fn begin(address: SocketAddr) -> Self {
        let mut console = ConsoleClient::new(channel(address).await);
        let mut updates =
            console.watch(WatchRequest::default()).await.expect("watching").into_inner();
        let first = updates.message().await.expect("an update").expect("a first one");
        let Ok(Update::Snapshot(snapshot)) = Update::try_from(first) else {
            panic!("the first update is a snapshot")
        };
        Self { updates, snapshot: *snapshot, deltas: 0 }
    }

    /// Follows until `is_there` is satisfied.
    pub(crate) async fn until(&mut self, what: &str, is_there: impl Fn(&Snapshot) -> bool) {
        let follow = async {
            while !is_there(&self.snapshot) {
                let update = self.updates.message().await.expect("an update").expect("one more");
                match Update::try_from(update).expect("an update that parses") {
                    Update::Snapshot(snapshot) => self.snapshot = *snapshot,
                    Update::Delta(delta) => self.snapshot.apply(*delta),
                }
                self.deltas += 1;
            }
        };
        let in_time = tokio::time::timeout(LIMIT, follow).await.is_ok();
        assert!(in_time, "never seen: {what}; last: {:#?}", self.snapshot);
    }
}

//! A collector that the tests script.

use fusebox_proto::ServiceId;
use fusebox_proto::command::{Ack, Action, Command, ToProxy, Verb, Welcome};
use fusebox_proto::report::{FromProxy, Hello, Report};
use fusebox_proto::wire::v1;
use fusebox_proto::wire::v1::control_server::{Control, ControlServer};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// A collector to which one proxy attaches, as often as it likes.
pub(crate) struct Collector {
    pub(crate) url: String,
    streams: Mutex<mpsc::Receiver<Session>>,
    spans: Mutex<mpsc::Receiver<ExportTraceServiceRequest>>,
    server: tokio::task::JoinHandle<()>,
}

/// One stream of a proxy, welcomed.
pub(crate) struct Session {
    pub(crate) hello: Hello,
    /// What it showed at the door.
    pub(crate) authorization: String,
    pub(crate) to: mpsc::Sender<Result<v1::CollectorMessage, Status>>,
    from: Streaming<v1::ProxyMessage>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stream, streams) = mpsc::channel(8);
        let (span, spans) = mpsc::channel(64);
        let service = Service { url: url.clone(), stream, span };
        let server = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(ControlServer::from_arc(Arc::new(service.clone())))
                .add_service(TraceServiceServer::new(service))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self { url, streams: Mutex::new(streams), spans: Mutex::new(spans), server }
    }

    /// Waits for the proxy to attach.
    pub(crate) async fn attached(&self) -> Session {
        self.streams.lock().await.recv().await.unwrap()
    }

    /// Waits for the next batch of spans.
    pub(crate) async fn spans(&self) -> ExportTraceServiceRequest {
        self.spans.lock().await.recv().await.unwrap()
    }

    /// Dies without a word.
    pub(crate) async fn kill(self) {
        self.server.abort();
        let _ = self.server.await;
    }
}

impl Session {
    /// What the proxy says next.
    pub(crate) async fn next(&mut self) -> FromProxy {
        self.from.message().await.unwrap().unwrap().try_into().unwrap()
    }

    /// The next report; acknowledges all up to it.
    pub(crate) async fn report(&mut self) -> Report {
        loop {
            if let FromProxy::Report(report) = self.next().await {
                let ack = ToProxy::ReportAck { boot: report.boot, number: report.number };
                self.to.send(Ok(ack.into())).await.unwrap();
                return report;
            }
        }
    }

    /// Sends a command and waits for its acknowledgement.
    pub(crate) async fn command(&mut self, revision: u64, verb: Verb) -> Ack {
        self.command_to("inventory", revision, verb).await
    }

    pub(crate) async fn command_to(&mut self, service: &str, revision: u64, verb: Verb) -> Ack {
        let command = Command {
            id: format!("command-{revision}"),
            revision,
            destination: ServiceId::named(service).unwrap(),
            verb,
            by: "a test".into(),
            reason: "because".into(),
        };
        self.to.send(Ok(ToProxy::Command(command).into())).await.unwrap();
        loop {
            if let FromProxy::Ack(ack) = self.next().await {
                return ack;
            }
        }
    }

    /// Trips for an hour.
    pub(crate) async fn trip(&mut self, revision: u64, action: Action) -> Ack {
        let verb = Verb::Trip { action, ttl: Duration::from_hours(1), proxies: 1 };
        self.command(revision, verb).await
    }
}

#[derive(Clone)]
struct Service {
    url: String,
    stream: mpsc::Sender<Session>,
    span: mpsc::Sender<ExportTraceServiceRequest>,
}

#[tonic::async_trait]
impl Control for Service {
    type AttachStream =
        Pin<Box<dyn Stream<Item = Result<v1::CollectorMessage, Status>> + Send + 'static>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ProxyMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let shown = request.metadata().get("authorization");
        let authorization = shown.map_or("", |shown| shown.to_str().unwrap()).to_owned();
        let mut from = request.into_inner();
        let first = from.next().await.unwrap().unwrap();
        let FromProxy::Hello(hello) = first.try_into().unwrap() else { panic!("no hello") };
        let (to, messages) = mpsc::channel(8);
        let welcome = Welcome { build: "test".into(), otlp_grpc_url: self.url.clone() };
        to.send(Ok(ToProxy::Welcome(welcome).into())).await.unwrap();
        self.stream.send(Session { hello, authorization, to, from }).await.unwrap();
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.span.send(request.into_inner()).await.unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

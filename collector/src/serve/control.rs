//! `Control.Attach`: one stream a proxy, for as long as both live.
//!
//! A task of its own reads what the proxy says; what the engine wants to tell it waits in a
//! bounded queue. The stream ends when the proxy leaves, says what it must not say, comes back on
//! another stream, does not read, or the collector ends; the engine is told in every case.

use super::{Answers, Shared, engine_gone};
use crate::app::driver::Message;
use crate::engine::{ConnectionId, Event};
use crate::listen::Ends;
use crate::tape;
use bytes::Bytes;
use fusebox_proto::Now;
use fusebox_proto::command::{ToProxy, Welcome};
use fusebox_proto::report::{FromProxy, Hello};
use fusebox_proto::wire::v1::control_server::Control;
use fusebox_proto::wire::v1::{CollectorMessage, ProxyMessage};
use prost::Message as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Longest message of a proxy: a report of a thousand edges with full histograms.
pub(super) const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;
/// Messages that wait for one proxy to read them; past it the proxy loses its stream.
const COMMANDS_MAX: usize = 1_024;
/// A proxy introduces itself at once.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    shared: Shared,
    /// Streams so far: the name of each.
    streams_total: AtomicU64,
}

impl Service {
    /// A service that has seen no proxy.
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, streams_total: AtomicU64::new(0) }
    }
}

#[async_trait]
impl Control for Service {
    type AttachStream = Answers<CollectorMessage>;

    async fn attach(
        &self,
        request: Request<Streaming<ProxyMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let ends = *request.extensions().get::<Ends>().expect("every connection says its ends");
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let stream = Stream {
            connection: ConnectionId(self.streams_total.fetch_add(1, Relaxed)),
            shared: self.shared.clone(),
            ends,
            commands,
        };
        self.shared.streams.spawn(stream.run(request.into_inner()));
        let messages =
            ReceiverStream::new(queue).map(|message| message.map(CollectorMessage::from));
        Ok(Response::new(Box::pin(messages)))
    }
}

/// The stream of one proxy.
struct Stream {
    connection: ConnectionId,
    shared: Shared,
    ends: Ends,
    commands: mpsc::Sender<Result<ToProxy, Status>>,
}

impl Stream {
    async fn run(self, mut incoming: Streaming<ProxyMessage>) {
        let stop = self.shared.stop.child_token();
        let hello = tokio::select! {
            () = stop.cancelled() => Err(engine_gone()),
            hello = self.hello(&mut incoming) => hello,
        };
        let (hello, introduction) = match hello {
            Ok(hello) => hello,
            Err(status) => return self.end(&status),
        };
        self.keep(&introduction, Some(introduction.clone()));
        tracing::info!(
            proxy = %hello.proxy, service = %hello.service, peer = %self.ends.remote,
            connection = self.connection.0, "a proxy attached"
        );
        let commands = self.commands.clone();
        let attach =
            Message::Attach { connection: self.connection, hello, commands, stop: stop.clone() };
        if self.shared.messages.send(attach).await.is_err() {
            return self.end(&engine_gone());
        }
        let ended = tokio::select! {
            () = stop.cancelled() => Err(engine_gone()),
            ended = self.listen(&mut incoming, &introduction) => ended,
        };
        self.keep(&introduction, None);
        tracing::info!(connection = self.connection.0, "a proxy left");
        // Fails only if the engine has ended.
        let _ = self.shared.messages.send(Message::Detach { connection: self.connection }).await;
        if let Err(status) = ended {
            self.end(&status);
        }
    }

    /// What the proxy says stays on the tape for a while; nothing: it left.
    fn keep(&self, introduction: &Bytes, message: Option<Bytes>) {
        let (stream, hello) = (self.connection.0, introduction.clone());
        let what = tape::What::Proxy { stream, hello, message };
        self.shared.tape.push(Now::read().unix_ms, what);
    }

    /// The first message, also as it came; answered with where to send spans.
    async fn hello(
        &self,
        incoming: &mut Streaming<ProxyMessage>,
    ) -> Result<(Hello, Bytes), Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("a proxy says hello first"))??;
        let first = first.ok_or_else(|| Status::invalid_argument("a proxy says hello first"))?;
        let introduction = Bytes::from(first.encode_to_vec());
        match FromProxy::try_from(first).map_err(|e| self.invalid(&e))? {
            FromProxy::Hello(hello) => {
                let welcome = Welcome {
                    build: env!("CARGO_PKG_VERSION").into(),
                    otlp_grpc_url: otlp_url(self.shared.otlp_grpc, self.ends),
                };
                // The queue is empty: this is the first message.
                let _ = self.commands.try_send(Ok(ToProxy::Welcome(welcome)));
                Ok((hello, introduction))
            }
            _ => Err(Status::invalid_argument("a proxy says hello first")),
        }
    }

    /// Hands on what the proxy says, until it says no more.
    async fn listen(
        &self,
        incoming: &mut Streaming<ProxyMessage>,
        introduction: &Bytes,
    ) -> Result<(), Status> {
        let connection = self.connection;
        while let Some(message) = incoming.message().await? {
            let bytes = Bytes::from(message.encode_to_vec());
            let event = match FromProxy::try_from(message).map_err(|e| self.invalid(&e))? {
                FromProxy::Hello(_) => {
                    return Err(Status::invalid_argument("a proxy says hello once a stream"));
                }
                FromProxy::Report(report) => Event::Report { connection, report },
                FromProxy::Ack(ack) => Event::Ack { connection, ack },
                FromProxy::PolicyAck(ack) => Event::PolicyAck { connection, ack },
            };
            self.keep(introduction, Some(bytes));
            self.shared
                .messages
                .send(Message::FromProxy(event))
                .await
                .map_err(|_| engine_gone())?;
        }
        Ok(())
    }

    /// A proxy whose words do not parse is no proxy of ours: refused whole, counted, and told.
    fn invalid(&self, invalid: &fusebox_proto::Invalid) -> Status {
        self.shared.tally.drop_n("invalid_messages", 1);
        tracing::warn!(peer = %self.ends.remote, %invalid, "a proxy says what does not parse");
        Status::invalid_argument(invalid.to_string())
    }

    /// Tells the proxy why its stream ends, if it still reads.
    fn end(self, status: &Status) {
        let _ = self.commands.try_send(Err(status.clone()));
    }
}

/// The URL of the OTLP/gRPC listener as a proxy at the other end of `ends` reaches it: where that
/// listens on every interface, at the address that the proxy came to.
fn otlp_url(listener: SocketAddr, ends: Ends) -> String {
    let ip = if listener.ip().is_unspecified() { ends.local.ip() } else { listener.ip() };
    format!("http://{}", SocketAddr::new(ip, listener.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: listeners on one interface and on all, reached by a proxy on two families.
    /// Guarantees: a proxy is never sent to `0.0.0.0`.
    #[test]
    fn proxies_learn_an_address_that_they_can_reach() {
        let check = |listener: &str, local: &str, url: &str| {
            let ends =
                Ends { remote: "192.0.2.9:50000".parse().unwrap(), local: local.parse().unwrap() };
            assert_eq!(otlp_url(listener.parse().unwrap(), ends), url);
        };
        check("127.0.0.1:4317", "127.0.0.1:4319", "http://127.0.0.1:4317");
        check("0.0.0.0:4317", "192.0.2.1:4319", "http://192.0.2.1:4317");
        check("[::]:4317", "[2001:db8::1]:4319", "http://[2001:db8::1]:4317");
        check("192.0.2.2:4317", "192.0.2.1:4319", "http://192.0.2.2:4317");
    }
}

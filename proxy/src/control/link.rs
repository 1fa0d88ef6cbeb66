//! The link to the collector: commands in, reports out, again for ever.
//!
//! A command is applied and acknowledged by the task that reads the stream, before it does
//! anything else; it never waits for the collector to read. The proxy works the same with, without
//! and before a collector.

use crate::backoff::Backoff;
use crate::proxy::Proxy;
use fusebox_proto::command::{Ack, AckResult, Command, ToProxy, Welcome};
use fusebox_proto::policy::{Push, PushAck};
use fusebox_proto::report::{FromProxy, Hello};
use fusebox_proto::wire::v1::control_client::ControlClient;
use fusebox_proto::wire::{MESSAGE_LEN_MAX, v1};
use fusebox_proto::{Invalid, Now};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

/// How long a connection, and then the collector's first word, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent collector is asked for a sign of life this often…
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// … and given up after this long, so that a machine that vanished is noticed.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that the collector has not read yet.
const UNREAD_MAX: usize = 64;
/// Of these so many are kept free for acknowledgements.
const UNREAD_ACKS: usize = 32;

/// Why a session with the collector ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the collector says: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the collector did not answer in time")]
    Silent,
    #[error("the collector closed the stream")]
    Closed,
    #[error("the collector does not read what it is sent")]
    Unread,
    #[error("the collector's first message is not a welcome")]
    NoWelcome,
    #[error("the collector's first message: {0}")]
    Invalid(#[from] Invalid),
}

/// Keeps a session with the collector at `url` for ever, until `closing`; then until the last
/// report is acknowledged. Tells `otlp` where spans go.
pub(super) async fn run(
    proxy: Arc<Proxy>,
    url: String,
    otlp: watch::Sender<Option<String>>,
    closing: CancellationToken,
) {
    let endpoint = match Endpoint::from_shared(url.clone()) {
        Ok(endpoint) => endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true),
        Err(error) => {
            tracing::error!("collector {url}: {error}; working alone");
            return closing.cancelled().await;
        }
    };
    let mut backoff = Backoff::default();
    let mut told = String::new();
    loop {
        let began = Now::read();
        // Not given up at `closing`: what is left is to be told, and that has a bound of its own.
        let attached = Session::attach(&proxy, &endpoint).await;
        let ended = match attached {
            Ok((session, welcome)) => {
                tracing::info!("attached to the collector {url}, version {}", welcome.build);
                let address = Some(welcome.otlp_grpc_url).filter(|address| !address.is_empty());
                otlp.send_replace(address);
                told.clear();
                session.serve(&proxy, &closing).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        // One line for each new state of affairs, not one for each attempt.
        let telling = error.to_string();
        if telling != told {
            tracing::warn!("collector {url}: {telling}; the proxy works on alone");
            told = telling;
        }
        if proxy.drain.handed_over().is_cancelled() {
            // The collector has the successor, which goes by the same name.
            return closing.cancelled().await;
        }
        backoff.disconnected(Now::read().instant.saturating_duration_since(began.instant));
        tokio::select! {
            () = tokio::time::sleep(backoff.wait(rand::random())) => (),
            () = closing.cancelled() => return,
        }
    }
}

/// One stream to the collector.
struct Session {
    to: mpsc::Sender<v1::ProxyMessage>,
    from: Streaming<v1::CollectorMessage>,
    /// A policy came on this stream.
    has_policy: bool,
}

impl Session {
    /// Connects, says hello, and waits for the welcome.
    async fn attach(proxy: &Proxy, endpoint: &Endpoint) -> Result<(Self, Welcome), LinkError> {
        let channel = endpoint.connect().await?;
        let (to, messages) = mpsc::channel(UNREAD_MAX);
        to.try_send(FromProxy::Hello(hello(proxy)).into()).map_err(|_| LinkError::Unread)?;
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = &proxy.config.token
            && let Ok(bearer) = format!("Bearer {}", token.secret()).parse()
        {
            request.metadata_mut().insert("authorization", bearer);
        }
        let mut client = ControlClient::new(channel).max_decoding_message_size(MESSAGE_LEN_MAX);
        let attaching = async {
            let mut from = client.attach(request).await?.into_inner();
            let first = from.message().await?.ok_or(LinkError::Closed)?;
            Ok::<_, LinkError>((from, ToProxy::try_from(first)?))
        };
        let attached = tokio::time::timeout(CONNECT_TIMEOUT, attaching).await;
        let (from, first) = attached.map_err(|_| LinkError::Silent)??;
        let ToProxy::Welcome(welcome) = first else {
            return Err(LinkError::NoWelcome);
        };
        proxy.reports.lock().connected();
        Ok((Self { to, from, has_policy: false }, welcome))
    }

    /// Serves the stream until it breaks, or until `closing` and the last acknowledgement.
    async fn serve(mut self, proxy: &Proxy, closing: &CancellationToken) -> Result<(), LinkError> {
        self.send_reports(proxy);
        loop {
            if closing.is_cancelled() && proxy.reports.lock().pending() == 0 {
                return Ok(());
            }
            tokio::select! {
                biased;
                message = self.from.message() => {
                    self.hear(proxy, message?.ok_or(LinkError::Closed)?)?;
                }
                () = proxy.has_report.notified() => (),
                () = closing.cancelled(), if !closing.is_cancelled() => (),
            }
            self.send_reports(proxy);
        }
    }

    fn hear(&mut self, proxy: &Proxy, message: v1::CollectorMessage) -> Result<(), LinkError> {
        match ToProxy::try_from(message) {
            Ok(ToProxy::Command(command)) => {
                let ack = apply(proxy, command);
                self.to.try_send(FromProxy::Ack(ack).into()).map_err(|_| LinkError::Unread)?;
            }
            Ok(ToProxy::ReportAck { boot, number }) => {
                proxy.reports.lock().acknowledged(boot, number);
            }
            Ok(ToProxy::Policy(push)) => {
                let ack = take(proxy, push, !self.has_policy);
                self.has_policy = true;
                let answer = FromProxy::PolicyAck(ack).into();
                self.to.try_send(answer).map_err(|_| LinkError::Unread)?;
            }
            // A second welcome changes nothing.
            Ok(ToProxy::Welcome(_)) => (),
            Err(invalid) => {
                proxy.invalid_messages.fetch_add(1, Relaxed);
                tracing::warn!("the collector sent what is no message: {invalid}");
            }
        }
        Ok(())
    }

    /// Sends the reports that were not sent on this stream, as far as the collector reads.
    fn send_reports(&self, proxy: &Proxy) {
        while UNREAD_ACKS < self.to.capacity()
            && let Ok(place) = self.to.try_reserve()
            && let Some(report) = proxy.reports.lock().next_report().cloned()
        {
            place.send(FromProxy::Report(report).into());
        }
    }
}

/// What a proxy says of itself first.
pub(crate) fn hello(proxy: &Proxy) -> Hello {
    let now = Now::read();
    let edges = proxy.edges();
    let held = edges.iter().filter_map(|edge| edge.core.lock().held(now));
    Hello {
        proxy: proxy.id.clone(),
        service: proxy.config.service.clone(),
        instance: proxy.config.instance.clone(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        boot: proxy.reports.lock().boot(),
        held: held.collect(),
        policy_version: proxy.policy.lock().version,
        endpoints: proxy.leads_to().clone(),
    }
}

/// Takes a policy into force at once, or says why not.
fn take(proxy: &Proxy, push: Push, is_first: bool) -> PushAck {
    let version = push.version;
    let ack = proxy.take_policy(push, is_first);
    match &ack.rejected {
        None => tracing::info!("policy {version}: {} is in force", ack.version),
        Some(reason) => tracing::warn!("policy {version} is rejected: {reason}"),
    }
    ack
}

/// Applies a command at once.
fn apply(proxy: &Proxy, command: Command) -> Ack {
    let result = if let Some(edge) = proxy.edge(&command.destination) {
        edge.core.lock().command(Now::read(), &command)
    } else {
        let reason = format!("no outbound listener leads to {}", command.destination);
        AckResult::Rejected { reason }
    };
    proxy.timers.notify_one();
    tracing::info!(
        "{:?} on {} by {} (revision {}): {result:?}",
        command.verb,
        command.destination,
        command.by,
        command.revision
    );
    Ack { id: command.id, revision: command.revision, destination: command.destination, result }
}

//! The control address: proxies attach, consoles watch and act, one token for both.

mod console;
mod control;

use crate::app::driver::Message;
use crate::tally::Tally;
use crate::tape::Tape;
use crate::token::{self, Token};
use axum::Router;
use fusebox_proto::view::Snapshot;
use fusebox_proto::wire::v1::console_server::ConsoleServer;
use fusebox_proto::wire::v1::control_server::ControlServer;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tonic::service::{InterceptorLayer, Routes};

/// What the services of this address stand on.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// The engine's inbox for proxies and operators.
    pub(crate) messages: mpsc::Sender<Message>,
    /// What the engine knows.
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where proxies should send their spans.
    pub(crate) otlp_grpc: SocketAddr,
    /// What the shell counts.
    pub(crate) tally: Arc<Tally>,
    /// What came in of late.
    pub(crate) tape: Arc<Tape>,
    /// Ends all streams.
    pub(crate) stop: CancellationToken,
    /// Owns the tasks that read from proxies.
    pub(crate) streams: TaskTracker,
}

/// What a streaming call answers with.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Both services behind one door.
pub(crate) fn router(shared: Shared, token: Option<Token>) -> Router {
    let control = ControlServer::new(control::Service::new(shared.clone()))
        .max_decoding_message_size(control::MESSAGE_LEN_MAX);
    let console = ConsoleServer::new(console::Service::new(shared))
        .max_decoding_message_size(console::REQUEST_LEN_MAX);
    let routes = Routes::new(control).add_service(console).prepare();
    routes.into_axum_router().layer(InterceptorLayer::new(token::door(token)))
}

/// A task of the collector has ended; the process will, too.
fn engine_gone() -> Status {
    Status::unavailable("the collector is shutting down")
}

//! A running collector: four listeners around one engine.

pub(crate) mod driver;

use crate::config::Config;
use crate::engine::{Engine, Limits};
use crate::history::{self, OpenError, Outbox, Writer};
use crate::otlp::{self, Intake};
use crate::record::Restored;
use crate::tally::Tally;
use crate::tape::Tape;
use crate::{http, listen, serve};
use axum::Router;
use driver::{Driver, Inboxes};
use fusebox_proto::{Invalid, Now};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{self, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Why a collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what is not allowed.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// An address cannot be listened on.
    #[error("{flag} {address}: {source}{}", in_use(.source))]
    Bind {
        /// Which listener.
        flag: &'static str,
        /// Its address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is no history where it should be.
    #[error(transparent)]
    History(#[from] OpenError),
}

impl StartError {
    /// Whether another configuration is needed, rather than another state of the machine.
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_))
    }
}

fn in_use(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: end it, or give another one",
        _ => "",
    }
}

/// A collector at work. Dropping it ends it at once; [`Running::shutdown`] ends it well.
#[derive(Debug)]
pub struct Running {
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
    control: SocketAddr,
    http: SocketAddr,
    /// Ends the listeners, and with them everything.
    stop: DropGuard,
    /// Those that run until `stop`.
    tasks: JoinSet<()>,
    names: HashMap<task::Id, &'static str>,
    /// Those that come and go.
    connections: TaskTracker,
}

/// Binds all addresses and starts the collector on the caller's runtime.
///
/// # Errors
/// If the configuration is not allowed, an address cannot be bound or the data directory cannot be
/// used; then nothing runs.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let token = config.check()?;
    let [otlp_grpc, otlp_http, control, http] = bind_all(&config).await?;
    let history = open_history(&config).await?;

    let now = Now::read();
    let tally = Arc::new(Tally::default());
    let (message_sender, message_inbox) = mpsc::channel(driver::MESSAGES_MAX);
    let (delivery_sender, deliveries) = mpsc::channel(driver::DELIVERIES_MAX);
    let limits = Limits { embedded: config.embedded, guard: config.guard, ..Limits::default() };
    let (engine, outbox, writer) = match history {
        None => (Engine::new(now, limits), None, None),
        Some((restored, outbox, writer)) => {
            (Engine::restored(now, limits, &restored), Some(outbox), Some(writer))
        }
    };
    let inboxes = Inboxes { messages: message_inbox, deliveries, history: outbox };
    let driver = Driver::new(now, engine, Arc::clone(&tally), inboxes);
    let snapshots = driver.snapshots();

    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    let tape = Arc::new(Tape::default());
    let intake = Intake::new(delivery_sender, Arc::clone(&tally), Arc::clone(&tape));
    let messages = message_sender;
    let shared = serve::Shared {
        messages: messages.clone(),
        snapshots: snapshots.clone(),
        otlp_grpc: otlp_grpc.address,
        tally: Arc::clone(&tally),
        tape,
        stop: stop.clone(),
        streams: connections.clone(),
    };
    let mut running = Running {
        otlp_grpc: otlp_grpc.address,
        otlp_http: otlp_http.address,
        control: control.address,
        http: http.address,
        stop: stop.clone().drop_guard(),
        tasks: JoinSet::new(),
        names: HashMap::new(),
        connections,
    };
    running.spawn("engine", driver.run());
    if let Some(writer) = writer {
        // Ends by itself once the engine has, with all of its records on disk.
        let id = running.tasks.spawn_blocking(|| writer.run()).id();
        running.names.insert(id, "history");
    }
    running.listen("otlp-grpc", otlp_grpc.listener, otlp::grpc::router(&intake), &stop);
    running.listen("otlp-http", otlp_http.listener, otlp::http::router(&intake), &stop);
    running.listen("control", control.listener, serve::router(shared, token), &stop);
    let questions = Arc::new(Semaphore::new(http::QUESTIONS_MAX));
    let sources = http::Sources { snapshots, tally, messages, questions };
    let pages = http::router(http.address, sources);
    running.listen("http", http.listener, pages, &stop);
    Ok(running)
}

impl Running {
    /// Where OTLP/gRPC listens.
    pub const fn otlp_grpc(&self) -> SocketAddr {
        self.otlp_grpc
    }

    /// Where OTLP/HTTP listens.
    pub const fn otlp_http(&self) -> SocketAddr {
        self.otlp_http
    }

    /// Where proxies and consoles connect.
    pub const fn control(&self) -> SocketAddr {
        self.control
    }

    /// Where metrics, health and the JSON API listen.
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Waits until a task ends that should not, and says which. Nothing can be repaired then: the
    /// process should end too.
    pub async fn failed(&mut self) -> &'static str {
        let ended = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => Some(id),
            Some(Err(error)) => Some(error.id()),
            None => None,
        };
        ended.and_then(|id| self.names.get(&id).copied()).unwrap_or("everything")
    }

    /// Stops accepting, lets the calls in flight end, and then the engine.
    ///
    /// Returns whether all of it ended within `grace`.
    pub async fn shutdown(mut self, grace: Duration) -> bool {
        drop(self.stop);
        self.connections.close();
        let rest = async {
            self.connections.wait().await;
            while self.tasks.join_next().await.is_some() {}
        };
        tokio::time::timeout(grace, rest).await.is_ok()
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    fn listen(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        router: Router,
        stop: &CancellationToken,
    ) {
        let connections = self.connections.clone();
        self.spawn(name, listen::serve(listener, router, stop.clone(), connections));
    }
}

async fn bind_all(config: &Config) -> Result<[Bound; 4], StartError> {
    let [a, b, c, d] = config.listeners();
    Ok([bind(a).await?, bind(b).await?, bind(c).await?, bind(d).await?])
}

async fn open_history(config: &Config) -> Result<Option<(Restored, Outbox, Writer)>, StartError> {
    let Some(path) = config.data_dir.clone() else { return Ok(None) };
    let opened = task::spawn_blocking(move || history::open(&path, Now::read()));
    Ok(Some(opened.await.expect("opening a history does not panic")?))
}

/// A listener and its address, with the port that it was given for 0.
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

async fn bind((flag, address): (&'static str, SocketAddr)) -> Result<Bound, StartError> {
    let failed = |source| StartError::Bind { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a task of a running collector ends although nobody asked it to, or panics.
    /// Guarantees: it is named, so that the process can end with its name.
    #[tokio::test]
    async fn a_task_that_ends_is_named() {
        let mut running = start(Config::on_free_ports()).await.expect("a collector starts");
        running.spawn("short", std::future::ready(()));
        assert_eq!(running.failed().await, "short");
        running.spawn("broken", async { panic!("on purpose") });
        assert_eq!(running.failed().await, "broken");
        assert!(running.shutdown(Duration::from_secs(10)).await, "nothing is in flight");
    }
}

//! Threads, from start to shutdown.
//!
//! Each worker is one thread with one single-threaded runtime, on which its connections live from
//! accept to close. The control thread does everything else (commands, reports, spans, admin
//! port), so that an operator's command and `/metrics` answer also while the workers have all they
//! can do.

mod binder;

use crate::by_host::ByHost;
use crate::config::Config;
use crate::connection::Terms;
use crate::control;
use crate::drain::Drain;
use crate::inbound::Inbound;
use crate::ingress::Doors;
use crate::listen;
use crate::outbound::Outbound;
use crate::policy;
use crate::proxy::Proxy;
use crate::takeover::Estate;
use binder::Binder;
pub(crate) use binder::share;
use fusebox_proto::{Invalid, Now};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections of the start wait so long for the first look-up of names.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Wrong configuration: the operator's.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An address that cannot be listened on: the operator's, or a process that has it.
    #[error("cannot listen on {listen} ({flag}): {source}")]
    Bind {
        /// The flag that it came from.
        flag: &'static str,
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The predecessor, or the operator who named it.
    #[error("cannot take over from the proxy on the same --state-dir: {source}")]
    Takeover {
        /// What is wrong.
        source: io::Error,
    },
    /// The system gives no threads, no sockets.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// A proxy at work. Dropped, it stops without grace.
#[derive(Debug)]
pub struct Running {
    admin: SocketAddr,
    inbound: Vec<SocketAddr>,
    outbound: Vec<SocketAddr>,
    phase: Phase,
    proxy: Arc<Proxy>,
    workers: Vec<JoinHandle<()>>,
    control: Option<JoinHandle<()>>,
}

/// How far the end of a proxy has come.
#[derive(Clone, Debug, Default)]
struct Phase {
    /// How long telling the collector the rest may take; set before `flush`.
    grace: Arc<OnceLock<Duration>>,
    /// Accept no more, finish what is in flight.
    drain: Arc<Drain>,
    /// The last worker ended.
    drained: CancellationToken,
    /// All workers ended: tell the collector the rest, and end.
    flush: CancellationToken,
    /// A thread ended before its time.
    broken: CancellationToken,
}

/// Starts a proxy: binds all its listeners, then serves on threads of its own.
///
/// # Errors
/// If the configuration is not allowed or an address is taken; then nothing runs.
pub fn start(mut config: Config) -> Result<Running, StartError> {
    config.check()?;
    let policy = policy::at_start(&config)?;
    let workers = config.workers;
    let mut binder = Binder::new(&config)?;
    let admin = binder.bind("--admin", &mut config.admin, 1)?.remove(0);
    let inbound = config.inbound.iter_mut();
    let inbound = inbound.map(|one| binder.bind("--inbound", &mut one.listen, workers));
    let inbound = inbound.collect::<Result<Vec<_>, _>>()?;
    let outbound = config.outbound.iter_mut();
    let outbound = outbound.map(|one| binder.bind("--outbound", &mut one.listen, workers));
    let outbound = outbound.collect::<Result<Vec<_>, _>>()?;
    let by_host = config.by_host.iter_mut();
    let by_host = by_host.map(|listen| binder.bind("--outbound", listen, workers));
    let by_host = by_host.collect::<Result<Vec<_>, _>>()?;
    if config.instance.is_empty() {
        config.instance = format!("{}-{}", machine(), config.admin.port());
    }
    let proxy = Arc::new(Proxy::new(config, policy, Now::read())?);
    binder.apply_leases(&proxy, Now::read());
    let mut running = Running {
        admin: proxy.config.admin,
        inbound: proxy.config.inbound.iter().map(|one| one.listen).collect(),
        outbound: (proxy.config.outbound.iter().map(|one| one.listen))
            .chain(proxy.config.by_host.iter().copied())
            .collect(),
        phase: Phase { drain: Arc::clone(&proxy.drain), ..Phase::default() },
        proxy: Arc::clone(&proxy),
        workers: Vec::new(),
        control: None,
    };
    let doors = running.spawn_workers(&proxy, [inbound, outbound, by_host])?;
    if let Some(ingress) = &proxy.ingress {
        ingress.start(doors, |flag, listen| binder.sockets(flag, listen, workers));
    }
    let successors = binder.door();
    running.spawn_control(&proxy, admin, successors)?;
    binder.serving();
    Ok(running)
}

/// The machine's name, for instances that were given none.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".into() } else { name.trim().into() }
}

impl Running {
    /// Where the admin port listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where the inbound listeners listen, in the order of the configuration.
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.inbound
    }

    /// Where the outbound listeners listen, in the order of the configuration; those for all
    /// services last.
    pub fn outbound(&self) -> &[SocketAddr] {
        &self.outbound
    }

    /// Opens the access log anew, after its file was renamed.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.proxy.common.log {
            log.reopen();
        }
    }

    /// Waits for a thread to end before its time, which it never should.
    pub async fn broken(&self) {
        self.phase.broken.cancelled().await;
    }

    /// Begins the end that the configuration describes, as `POST /drain` does. Once
    /// [`drained`](Self::drained), [`shutdown`](Self::shutdown) is quick.
    pub fn drain(&self) {
        self.proxy.begin_drain(Now::read().instant);
    }

    /// Whether the end has begun.
    pub fn is_draining(&self) -> bool {
        self.phase.drain.is_draining()
    }

    /// Waits until nothing is in flight any more, or was cut off: the end has begun by then.
    pub async fn drained(&self) {
        self.phase.drained.cancelled().await;
    }

    /// Stops accepting, lets what is in flight finish within `grace`, tells the collector the
    /// rest, and returns when all threads have ended. Blocks the calling thread.
    pub fn shutdown(mut self, grace: Duration) {
        self.stop(grace);
    }

    fn stop(&mut self, grace: Duration) {
        self.phase.grace.get_or_init(|| grace);
        self.phase.drain.begin(Now::read().instant, Duration::ZERO, grace);
        // A thread that panicked has said so already.
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        self.phase.flush.cancel();
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
    }

    /// For each inbound, outbound and by-host listener, at least a socket for each worker. Others can
    /// open at the doors that are returned.
    fn spawn_workers(
        &mut self,
        proxy: &Arc<Proxy>,
        [mut inbound, mut outbound, mut by_host]: [Vec<Vec<StdListener>>; 3],
    ) -> io::Result<Doors> {
        // One tracker for all: a connection of one worker may use one to a server that lives on
        // another, so that none ends before all are done.
        let tasks = TaskTracker::new();
        let last = Arc::new(self.phase.drained.clone().drop_guard());
        let terms = Terms {
            drain: Arc::clone(&proxy.drain),
            preserve_header_case: proxy.config.limits.preserve_header_case,
            hints_dropped: Arc::clone(&proxy.hints_dropped),
        };
        let (mut workers, tracker) = (Vec::new(), tasks.clone());
        for number in 0..proxy.config.workers {
            let runtime = runtime()?;
            let mut accepts = JoinSet::new();
            workers.push(runtime.handle().clone());
            let door = |settled| Door { tasks: tasks.clone(), terms: terms.clone(), settled };
            let is_settled = CancellationToken::new();
            is_settled.cancel();
            // The own application has no name to wait for.
            let (inner, door) = (door(is_settled), door(proxy.names.settled.clone()));
            let _context = runtime.enter();
            let left = proxy.config.workers - number;
            inner.open_all(&proxy.inbound, &mut inbound, left, &mut accepts, Inbound::serve)?;
            door.open_all(&proxy.outbound, &mut outbound, left, &mut accepts, Outbound::serve)?;
            door.open_all(&proxy.by_host, &mut by_host, left, &mut accepts, ByHost::serve)?;
            let (phase, name) = (self.phase.clone(), format!("fusebox-worker-{number}"));
            let serving = serve(accepts, tasks.clone(), Arc::clone(&proxy.drain));
            let last = Arc::clone(&last);
            let serving = async move {
                serving.await;
                drop(last);
            };
            self.workers.push(spawn_thread(&name, phase, runtime, serving)?);
        }
        Ok(Doors { workers, tasks: tracker, terms })
    }

    fn spawn_control(
        &mut self,
        proxy: &Arc<Proxy>,
        admin: StdListener,
        successors: Option<(UnixListener, Estate)>,
    ) -> io::Result<()> {
        let runtime = runtime()?;
        let admin = {
            let _context = runtime.enter();
            TcpListener::from_std(admin)?
        };
        let phase = self.phase.clone();
        let (flush, grace) = (phase.flush.clone(), Arc::clone(&phase.grace));
        let control = control::run(Arc::clone(proxy), admin, successors, flush, grace);
        self.control = Some(spawn_thread("fusebox-control", phase, runtime, control)?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// What every accepted connection needs.
#[derive(Clone)]
struct Door {
    tasks: TaskTracker,
    terms: Terms,
    /// Nobody comes in before.
    settled: CancellationToken,
}

impl Door {
    /// Opens a worker's share of the sockets of each of these listeners, where `left` workers, this
    /// one included, have not had theirs. Within the worker's runtime.
    fn open_all<L, S, F>(
        &self,
        listeners: &[Arc<L>],
        sockets: &mut [Vec<StdListener>],
        left: usize,
        accepts: &mut JoinSet<()>,
        serve: S,
    ) -> io::Result<()>
    where
        L: Send + Sync + 'static,
        S: Fn(Arc<L>, TcpStream, Terms) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        for (listener, sockets) in listeners.iter().zip(sockets) {
            for socket in share(sockets, left) {
                let (listener, socket) = (Arc::clone(listener), TcpListener::from_std(socket)?);
                let serve = move |stream, terms| serve(Arc::clone(&listener), stream, terms);
                accepts.spawn(self.clone().open(socket, serve));
            }
        }
        Ok(())
    }

    async fn open<S, F>(self, socket: TcpListener, serve: S)
    where
        S: Fn(TcpStream, Terms) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { tasks, terms, settled } = self;
        let drain = Arc::clone(&terms.drain);
        // Connections wait in the backlog meanwhile.
        tokio::select! {
            () = settled.cancelled() => (),
            () = tokio::time::sleep(NAMES_PATIENCE) => (),
            () = drain.closes() => (),
        }
        listen::accept(socket, tasks, drain.closes(), |stream| serve(stream, terms.clone())).await;
    }
}

/// Waits until no listener accepts any more, then for the connections.
async fn serve(mut accepts: JoinSet<()>, tasks: TaskTracker, drain: Arc<Drain>) {
    tokio::select! {
        () = drain.closes() => (),
        _ = accepts.join_next() => (),
    }
    // They end with a drain only; without one, by a panic.
    if !drain.is_draining() {
        return;
    }
    while accepts.join_next().await.is_some() {}
    tasks.close();
    tokio::select! {
        biased;
        () = tasks.wait() => (),
        () = drain.cut() => (),
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn spawn_thread(
    name: &str,
    phase: Phase,
    runtime: Runtime,
    work: impl Future<Output = ()> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let watchdog = Watchdog { name: name.to_owned(), phase };
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(work);
        // Not even a name that is being looked up holds the end.
        runtime.shutdown_background();
        drop(watchdog);
    })
}

/// Tells of a thread that ends before its time, also by a panic.
struct Watchdog {
    name: String,
    phase: Phase,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if !self.phase.drain.is_draining() {
            tracing::error!("the thread {} ended", self.name);
            self.phase.broken.cancel();
        }
    }
}

//! One listener of an ingress: opened and closed while the proxy runs.

use super::Ingress;
use crate::connection::Terms;
use crate::drain::Drain;
use crate::listen;
use crate::outbound::Outbound;
use crate::policy::plan::Plan;
use crate::run::share;
use crate::tcp::Speaks;
use http::HeaderValue;
use parking_lot::RwLock;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The workers, on which listeners open.
#[derive(Debug)]
pub(crate) struct Doors {
    /// One for each worker.
    pub(crate) workers: Vec<Handle>,
    /// Everything that they finish before they end.
    pub(crate) tasks: TaskTracker,
    /// Of their connections; a listener has a drain of its own.
    pub(crate) terms: Terms,
}

impl Doors {
    /// A socket for each worker.
    pub(super) fn bind(&self, listen: SocketAddr) -> io::Result<Vec<StdListener>> {
        listen::bind(listen, self.workers.len())
    }
}

/// A listener that accepts.
#[derive(Debug)]
pub(super) struct Listener {
    at: SocketAddr,
    outbound: Arc<Outbound>,
    drain: Arc<Drain>,
    /// Second handles, for a successor.
    sockets: Vec<StdListener>,
    /// As long as one is accepted on.
    accepting: Weak<()>,
}

impl Listener {
    /// Accepts on `sockets`, at least one for each worker.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(super) fn open(
        ingress: &Ingress,
        port: u16,
        plan: &Arc<Plan>,
        mut sockets: Vec<StdListener>,
        doors: &Doors,
    ) -> io::Result<Self> {
        let at = sockets[0].local_addr()?;
        let handles = sockets.iter().map(StdListener::try_clone).collect::<io::Result<_>>()?;
        let drain = ingress.drain.part();
        let outbound = Arc::new(Outbound {
            edge: Arc::clone(&ingress.nobody.edge),
            host: HeaderValue::from_static("localhost"),
            port,
            callers: ingress.callers,
            speaks: Speaks::of_http(),
            plan: RwLock::new(Arc::clone(plan)),
            common: Arc::clone(&ingress.common),
        });
        let accepting = Arc::new(());
        let terms = Terms { drain: Arc::clone(&drain), ..doors.terms.clone() };
        for (number, worker) in doors.workers.iter().enumerate() {
            for socket in share(&mut sockets, doors.workers.len() - number) {
                let (outbound, terms) = (Arc::clone(&outbound), terms.clone());
                let (tasks, accepting) = (doors.tasks.clone(), Arc::clone(&accepting));
                doors.tasks.spawn_on(
                    async move {
                        accept(socket, tasks, &outbound, &terms).await;
                        drop(accepting);
                    },
                    worker,
                );
            }
        }
        let accepting = Arc::downgrade(&accepting);
        Ok(Self { at, outbound, drain, sockets: handles, accepting })
    }

    /// Where it listens.
    pub(super) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// What a successor gets.
    pub(super) fn sockets(&self) -> &[StdListener] {
        &self.sockets
    }

    /// Requests follow this plan from now on.
    pub(super) fn follow(&self, plan: &Arc<Plan>) {
        *self.outbound.plan.write() = Arc::clone(plan);
    }

    /// No successor comes any more.
    pub(super) fn let_go(&mut self) {
        self.sockets.clear();
    }

    /// Accepts no more; what is in flight may take `timeout`. What is returned lives as long as the
    /// address is taken.
    pub(super) fn close(self, now: Instant, timeout: Duration) -> Weak<()> {
        self.drain.begin(now, Duration::ZERO, timeout);
        self.accepting
    }
}

async fn accept(socket: StdListener, tasks: TaskTracker, outbound: &Arc<Outbound>, terms: &Terms) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!("an ingress listener cannot be served: {error}"),
    };
    let serve = |stream| {
        let serving = Arc::clone(outbound).serve(stream, terms.clone());
        let drain = Arc::clone(&terms.drain);
        async move {
            tokio::select! {
                () = serving => (),
                () = drain.cut() => (),
            }
        }
    };
    listen::accept(socket, tasks, terms.drain.closes(), serve).await;
}

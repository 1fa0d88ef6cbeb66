//! The program as a process of its own, whose memory can be measured.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::world::get;

/// A running `fusebox-proxy` with one inbound listener; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts it in front of the application at `app`.
    pub(crate) async fn start(app: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fusebox-proxy"));
        command.args(["--service", "inventory", "--admin", "127.0.0.1:0"]);
        command.args(["--inbound", &format!("127.0.0.1:0={app}")]);
        command.env_clear().kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next_line().await.unwrap().unwrap();
        let (_, listeners) = line.split_once("inbound [").unwrap();
        let (listener, _) = listeners.split_once(']').unwrap();
        let address = listener.parse().unwrap();
        // What it says further is not looked at, and must not block it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address }
    }

    /// Memory of its own, without files and without what the kernel keeps for its sockets, KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let pid = self.child.id().expect("it runs until dropped");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Whether the long form of a test is asked for.
pub(crate) fn is_long() -> bool {
    std::env::var_os("FUSEBOX_LONG").is_some_and(|value| value == "1")
}

/// Lets this process have as many files open as it may.
pub(crate) fn raise_files_max() {
    let limit = getrlimit(Resource::Nofile);
    // A lower limit shows where a connection is refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Clean requests one after the other, and how long each took, until it is told to stop.
pub(crate) struct Probe {
    count: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Probe {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let (stop, stopped) = watch::channel(false);
        let count = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&count);
        let task = tokio::spawn(async move {
            let mut took = Vec::new();
            while !*stopped.borrow() {
                let start = now();
                assert_eq!(get(address, "/clean").await.status, 200);
                took.push(now() - start);
                counter.fetch_add(1, Relaxed);
            }
            took
        });
        Self { count, stop, task }
    }

    /// How many were answered until now.
    pub(crate) fn count(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.count)
    }

    /// What nine of ten took at most, and the longest.
    pub(crate) async fn end(self) -> (Duration, Duration) {
        self.stop.send(true).unwrap();
        let mut took = self.task.await.unwrap();
        took.sort_unstable();
        (took[took.len() * 9 / 10], took[took.len() - 1])
    }
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is measured")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

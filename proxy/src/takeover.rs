//! Upgrade without a lost request: a successor takes the listening sockets over.
//!
//! A socket that is closed resets what waits in its backlog; one that is passed on does not. So the
//! process that starts with `--takeover` asks the one that runs on the same `--state-dir`, over a Unix
//! socket there:
//!
//! ```text
//! successor                                       predecessor
//!     ── connects ───────────────────────────────────▶
//!     ◀── offer: whose it is, which sockets, leases ──
//!     ◀── the sockets (SCM_RIGHTS) ───────────────────
//!   listens on them, applies leases, serves           serves on, too
//!     ── one byte: I serve ──────────────────────────▶
//!                                                     drains, and ends
//! ```
//!
//! Until the byte comes nothing has changed: a successor that fails leaves the predecessor at work.
//! The policy comes along through the state directory, commands and policy through the collector,
//! which both know; leases also without one, with the time that they have left. Ejections and what
//! service breakers have counted are learned anew.

mod heir;
mod wire;

pub(crate) use heir::{Heir, inherit};

use crate::proxy::Proxy;
use fusebox_proto::Now;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the other side may take for one word.
const PATIENCE: Duration = Duration::from_secs(10);
/// The form of what is said; another one is not understood.
const FORM: u32 = 1;
/// What the successor says once it serves.
const SERVING: u8 = 1;

fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("takeover.sock")
}

/// What a predecessor offers.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    form: u32,
    /// Whose sidecar it is: a stranger's listeners are not taken.
    service: String,
    build: String,
    /// One for each socket that follows, in the same order.
    sockets: Vec<Place>,
}

/// Where a socket listens, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The flag that asked for it.
    pub(crate) flag: String,
    /// As it was asked for.
    pub(crate) listen: SocketAddr,
}

/// What a proxy leaves to its successor: a second handle of each of its listening sockets.
#[derive(Debug, Default)]
pub(crate) struct Estate(Vec<(Place, TcpListener)>);

impl Estate {
    /// Adds the sockets of one listener.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(crate) fn add(
        &mut self,
        flag: &str,
        listen: SocketAddr,
        sockets: &[TcpListener],
    ) -> io::Result<()> {
        for socket in sockets {
            let place = Place { flag: flag.to_owned(), listen };
            self.0.push((place, socket.try_clone()?));
        }
        Ok(())
    }
}

/// Opens the door for successors in `state_dir`; that of a predecessor is replaced.
///
/// # Errors
/// If there can be no socket there.
pub(crate) fn open(state_dir: &Path) -> io::Result<UnixListener> {
    std::fs::create_dir_all(state_dir)?;
    let own = state_dir.join(format!("takeover.{}", std::process::id()));
    let _ = std::fs::remove_file(&own);
    let listener = UnixListener::bind(&own)?;
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&own, socket_path(state_dir))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Waits for a successor until the drain begins, by one or without.
pub(crate) async fn run(proxy: Arc<Proxy>, door: UnixListener, estate: Estate) {
    let Ok(door) = tokio::net::UnixListener::from_std(door) else { return };
    let estate = Arc::new(estate);
    loop {
        let (stream, _) = tokio::select! {
            accepted = door.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("no successor can come: {error}");
                    return proxy.drain.began().await;
                }
            },
            () = proxy.drain.began() => return,
        };
        let own = rustix::process::geteuid().as_raw();
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
            tracing::warn!("a stranger asked for the listeners");
            continue;
        }
        let Ok(stream) = stream.into_std() else { continue };
        let (from, left) = (Arc::clone(&proxy), Arc::clone(&estate));
        let handing = tokio::task::spawn_blocking(move || hand_over(stream, &from, &left));
        match handing.await {
            Ok(Ok(())) => {
                tracing::info!("a successor serves; draining");
                let timeout = proxy.config.operation.drain_timeout;
                proxy.drain.hand_over(Now::read().instant, timeout);
                return;
            }
            Ok(Err(error)) => tracing::warn!("a successor did not take over: {error}"),
            Err(_) => return,
        }
    }
}

/// Offers everything, and waits until the other side serves.
fn hand_over(mut stream: UnixStream, proxy: &Proxy, estate: &Estate) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut own = Estate::default();
    if let Some(ingress) = &proxy.ingress {
        ingress.leave(&mut own)?;
    }
    let all = || estate.0.iter().chain(&own.0);
    let offer = Offer {
        form: FORM,
        service: proxy.config.service.to_string(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        sockets: all().map(|(place, _)| place.clone()).collect(),
    };
    wire::send(&mut stream, &serde_json::to_vec(&offer)?)?;
    wire::send(&mut stream, &wire::leases(proxy))?;
    let sockets: Vec<_> = all().map(|(_, socket)| socket.as_fd()).collect();
    wire::send_sockets(&stream, &sockets)?;
    wire::read_byte(&mut stream, SERVING)
}

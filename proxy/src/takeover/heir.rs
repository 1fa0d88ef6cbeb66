//! The successor's side.

use super::{FORM, Offer, PATIENCE, Place, SERVING, socket_path, wire};
use crate::proxy::Proxy;
use fusebox_proto::command::{AckResult, HeldLease, Verb};
use fusebox_proto::{Now, ServiceId};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What was taken from a predecessor, which serves on until [`Heir::serving`].
#[derive(Debug)]
pub(crate) struct Heir {
    predecessor: UnixStream,
    sockets: Vec<(Place, TcpListener)>,
    leases: Vec<HeldLease>,
}

/// Asks the proxy that runs on `state_dir`; `None`: there is none.
///
/// # Errors
/// If there is one that cannot be followed: of another service, or of another time.
pub(crate) fn inherit(state_dir: &Path, service: &ServiceId) -> io::Result<Option<Heir>> {
    let mut predecessor = match UnixStream::connect(socket_path(state_dir)) {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error),
            };
        }
    };
    predecessor.set_read_timeout(Some(PATIENCE))?;
    predecessor.set_write_timeout(Some(PATIENCE))?;
    let offer: Offer = serde_json::from_slice(&wire::read(&mut predecessor)?)?;
    if offer.form != FORM {
        let what = format!("it is of version {}, which speaks otherwise", offer.build);
        return Err(io::Error::other(what));
    }
    if offer.service != service.to_string() {
        let what = format!("it is the proxy of {:?}, not of {service}", offer.service);
        return Err(io::Error::other(what));
    }
    let leases = wire::parse_leases(&wire::read(&mut predecessor)?)?;
    let sockets = wire::receive_sockets(&predecessor, offer.sockets.len())?;
    let sockets = offer.sockets.into_iter().zip(sockets.into_iter().map(TcpListener::from));
    let sockets: Vec<_> = sockets.collect();
    tracing::info!("takes {} listening sockets over", sockets.len());
    Ok(Some(Heir { predecessor, sockets, leases }))
}

impl Heir {
    /// The sockets that listen there for the same, at least `workers` handles of them; empty: there
    /// are none.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(crate) fn take(
        &mut self,
        flag: &str,
        listen: SocketAddr,
        workers: usize,
    ) -> io::Result<Vec<TcpListener>> {
        let is_wanted = |place: &Place| place.flag == flag && place.listen == listen;
        let taken = self.sockets.extract_if(.., |(place, _)| is_wanted(place));
        let mut taken: Vec<_> = taken.map(|(_, socket)| socket).collect();
        let len = taken.len();
        // More workers than sockets: some accept from the same one.
        for at in len..if len == 0 { 0 } else { workers } {
            taken.push(taken[at % len].try_clone()?);
        }
        Ok(taken)
    }

    /// Takes the leases into force, with the time that they have left.
    pub(crate) fn apply_leases(&self, proxy: &Proxy, now: Now) {
        for HeldLease { command, .. } in &self.leases {
            // One without time left is in its ramp: the circuit is as good as closed.
            let is_over = matches!(&command.verb, Verb::Trip { ttl, .. } if ttl.is_zero());
            let Some(edge) = proxy.edge(&command.destination).filter(|_| !is_over) else {
                continue;
            };
            let result = edge.core.lock().command(now, command);
            if let AckResult::Rejected { reason } = result {
                tracing::warn!("the lease {} of the predecessor: {reason}", command.id);
            }
        }
    }

    /// Tells the predecessor to drain. If it is gone already, so much the better.
    pub(crate) fn serving(mut self) {
        if let Err(error) = self.predecessor.write_all(&[SERVING]) {
            tracing::warn!("the predecessor went away: {error}");
        }
    }
}

//! Listening sockets: a predecessor's where there is one, else new ones.

use super::StartError;
use crate::config::Config;
use crate::listen;
use crate::proxy::Proxy;
use crate::takeover::{self, Estate, Heir};
use fusebox_proto::Now;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// Gets the sockets of all listeners.
#[derive(Debug)]
pub(super) struct Binder {
    heir: Option<Heir>,
    /// `None` where no successor can come.
    state_dir: Option<PathBuf>,
    estate: Estate,
}

impl Binder {
    /// Asks the predecessor, if the configuration says so and there is one.
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        let heir = match &config.state_dir {
            Some(state_dir) if config.operation.takeover => {
                let heir = takeover::inherit(state_dir, &config.service);
                heir.map_err(|source| StartError::Takeover { source })?
            }
            _ => None,
        };
        Ok(Self { heir, state_dir: config.state_dir.clone(), estate: Estate::default() })
    }

    /// At least one socket for each worker. Port 0 becomes the one that the system chose.
    pub(super) fn bind(
        &mut self,
        flag: &'static str,
        listen: &mut SocketAddr,
        workers: usize,
    ) -> Result<Vec<TcpListener>, StartError> {
        let bound = self.try_bind(flag, listen, workers);
        bound.map_err(|source| StartError::Bind { flag, listen: *listen, source })
    }

    fn try_bind(
        &mut self,
        flag: &str,
        listen: &mut SocketAddr,
        workers: usize,
    ) -> io::Result<Vec<TcpListener>> {
        let sockets = self.sockets(flag, *listen, workers)?;
        *listen = sockets[0].local_addr()?;
        if self.state_dir.is_some() {
            self.estate.add(flag, *listen, &sockets)?;
        }
        Ok(sockets)
    }

    /// As [`Self::bind`], of a listener that leaves its sockets to a successor itself.
    ///
    /// # Errors
    /// If there can be none.
    pub(super) fn sockets(
        &mut self,
        flag: &str,
        listen: SocketAddr,
        workers: usize,
    ) -> io::Result<Vec<TcpListener>> {
        let sockets = match &mut self.heir {
            Some(heir) => heir.take(flag, listen, workers)?,
            None => Vec::new(),
        };
        if sockets.is_empty() { listen::bind(listen, workers) } else { Ok(sockets) }
    }

    /// Opens the door for a successor. Where there can be none, that is said, and all else goes on.
    pub(super) fn door(&mut self) -> Option<(UnixListener, Estate)> {
        let state_dir = self.state_dir.as_ref()?;
        match takeover::open(state_dir) {
            Ok(door) => Some((door, std::mem::take(&mut self.estate))),
            Err(error) => {
                let place = state_dir.display();
                tracing::warn!("no successor can take over, in {place}: {error}");
                None
            }
        }
    }

    /// Takes the leases of the predecessor into force, before the first request.
    pub(super) fn apply_leases(&self, proxy: &Proxy, now: Now) {
        if let Some(heir) = &self.heir {
            heir.apply_leases(proxy, now);
        }
    }

    /// All listeners serve: the predecessor may go.
    pub(super) fn serving(self) {
        if let Some(heir) = self.heir {
            heir.serving();
        }
    }
}

/// Takes the share of the next of `workers_left` workers.
pub(crate) fn share(sockets: &mut Vec<TcpListener>, workers_left: usize) -> Vec<TcpListener> {
    let len = sockets.len().div_ceil(workers_left.max(1));
    sockets.split_off(sockets.len() - len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: as many sockets as workers, and more, as an upgrade to fewer workers brings.
    /// Guarantees: each worker gets one at least, and none is left over.
    #[test]
    fn every_socket_has_a_worker() {
        for (count, workers) in [(1, 1), (4, 4), (5, 2), (7, 3)] {
            let listen = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
            let socket = || TcpListener::bind(listen).unwrap();
            let mut sockets: Vec<_> = (0..count).map(|_| socket()).collect();
            let shares: Vec<_> =
                (0..workers).map(|at| share(&mut sockets, workers - at).len()).collect();
            assert_eq!(shares.iter().sum::<usize>(), count, "{shares:?}");
            assert!(shares.iter().all(|&len| 0 < len), "{shares:?}");
        }
    }
}

//! Raw connections: each is opened for one session, and closes with it.

use super::connect;
use super::endpoint::{AcquireError, Endpoint, Slot};
use crate::edge::Overflow;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The place of a raw connection under the limits.
#[derive(Debug)]
pub(crate) struct RawPlace(Slot);

impl RawPlace {
    /// The connection is closed. Dropped instead, as at shutdown, it lets nobody in.
    pub(crate) fn free(self) {
        self.0.free();
    }
}

impl Endpoint {
    /// Opens a connection. Unlike requests, sessions do not wait for a place: they may last for
    /// days.
    pub(crate) async fn raw(self: &Arc<Self>) -> Result<(TcpStream, RawPlace), AcquireError> {
        let (slot, settings) = {
            let mut state = self.lock();
            let slot = Slot::take(self, &mut state);
            (slot.ok_or(AcquireError::Overflow(Overflow::Connections))?, state.settings)
        };
        let timeout = settings.each.connect_timeout;
        match connect::open(&self.address, timeout, settings.keepalive).await {
            Ok(stream) => Ok((stream, RawPlace(slot))),
            Err(error) => {
                slot.free();
                Err(error.into())
            }
        }
    }
}

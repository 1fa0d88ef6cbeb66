//! The line of a session that carries no HTTP: neither method nor path nor status, but where it
//! went, how many bytes its caller got, and why it was refused or failed.

use super::{Ended, Entry, LogRing, Logging, Side, Trail};
use crate::forwarded::Peer;
use crate::tunnel::Carried;
use fusebox_proto::report::Protocol;
use http::HeaderValue;
use std::sync::Arc;

impl Logging {
    /// Begins with a session of `peer` to `server_name`, if there is a log and a session: it has a
    /// line once it was let in or refused.
    pub(crate) fn session(
        ring: Option<&Arc<LogRing>>,
        side: Side,
        peer: &Arc<Peer>,
        server_name: Option<&str>,
    ) -> Option<Self> {
        let ring = Arc::clone(ring?);
        let entry = Entry::new(side, peer, Protocol::Tcp, server_name.unwrap_or_default());
        Some(Self { ring, entry: Some(Box::new(entry)) })
    }

    /// What became of it inside.
    pub(crate) fn went(&mut self, trail: Trail) {
        if let Some(entry) = &mut self.entry {
            entry.trail = Some(Box::new(trail));
        }
    }

    /// It was not let in, for this reason.
    pub(crate) fn refused(&mut self, word: &'static str) {
        if let Some(entry) = &mut self.entry {
            entry.refused = Some(HeaderValue::from_static(word));
            entry.ended = Ended::Complete;
        }
    }

    /// A policy knows no way for it.
    pub(crate) fn lost(&mut self, word: &'static str) {
        if let Some(entry) = &mut self.entry {
            entry.trail = Some(Box::new(Trail { policy: Some(word), ..Trail::default() }));
            entry.ended = Ended::Complete;
        }
    }

    /// There was no server for it.
    pub(crate) fn failed(&mut self, word: &'static str) {
        if let Some(entry) = &mut self.entry {
            entry.failure = Some(HeaderValue::from_static(word));
            entry.ended = Ended::Complete;
        }
    }

    /// It is over.
    pub(crate) fn carried(&mut self, carried: Carried) {
        if let Some(entry) = &mut self.entry {
            entry.bytes = carried.bytes;
            entry.ended = if carried.is_complete { Ended::Complete } else { Ended::Broken };
        }
    }

    /// It turned out to be HTTP, whose requests have lines of their own.
    pub(crate) fn forget(mut self) {
        self.entry = None;
    }
}

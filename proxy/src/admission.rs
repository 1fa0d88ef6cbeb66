//! What happens to every request of a caller before it is dealt with, and to its answer after that:
//! the same for calls to the own application and for calls of it.
//!
//! ```text
//! head ─▶ upgrade taken out ─▶ gate ─▶ put back ─▶ dealt with ─▶ expect, upgrade ─▶ logged ─▶ caller
//!                               └─ 400 ──────────────────────────────────────────────┘
//! ```

use crate::access_log::{LogRing, Logged, Logging, Side, logged};
use crate::arrived::Arrived;
use crate::body::{Guard, ResponseBody};
use crate::forwarded::Peer;
use crate::gate;
use crate::interim::Expecting;
use crate::refuse;
use crate::upgrade::{self, Upgrades};
use http::header::HeaderValue;
use http::{Response, Version};
use std::sync::Arc;

/// What a listener asks of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'l> {
    /// What connections may be upgraded to.
    pub(crate) upgrades: &'l Upgrades,
    /// Stands in where an HTTP/1.0 request names no host.
    pub(crate) host: &'l HeaderValue,
    /// Where lines go, if somebody wants them.
    pub(crate) log: Option<&'l Arc<LogRing>>,
    /// Whose lines they are.
    pub(crate) side: Side,
}

/// A request that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) request: Box<Arrived>,
    /// Its line, if there is a log.
    pub(crate) logging: Option<Logging>,
    pub(crate) owed: Owed,
}

/// What its answer has to say of it.
#[derive(Debug)]
pub(crate) struct Owed {
    version: Version,
    is_upgrade: bool,
    expecting: Option<Expecting>,
}

impl Admitted {
    /// Lets in what is a request without a doubt.
    ///
    /// # Errors
    /// The answer to what is none.
    pub(crate) fn new<G: Guard>(
        mut request: Box<Arrived>,
        peer: &Arc<Peer>,
        rules: Rules<'_>,
    ) -> Result<Self, Box<Response<Logged<ResponseBody<G>>>>> {
        let Arrived { head, body } = &mut *request;
        let version = head.version;
        let logging = Logging::begin(rules.log, rules.side, peer, head);
        let wanted = rules.upgrades.take(head);
        if let Err(rejected) = gate::admit(head, rules.host) {
            return Err(Box::new(logged(refuse::malformed(rejected, version), logging)));
        }
        let is_upgrade = wanted.is_some();
        if let Some(wanted) = wanted {
            wanted.put(&mut head.headers);
        }
        let expecting = body.expecting(&head.headers);
        Ok(Self { request, logging, owed: Owed { version, is_upgrade, expecting } })
    }
}

impl Owed {
    /// The answer as the caller gets it.
    pub(crate) fn answer<G: Guard>(
        self,
        mut response: Response<ResponseBody<G>>,
        logging: Option<Logging>,
    ) -> Response<Logged<ResponseBody<G>>> {
        if let Some(expecting) = self.expecting {
            expecting.answered(&mut response, self.version);
        }
        if self.is_upgrade {
            upgrade::close_if_refused(&mut response);
        }
        logged(response, logging)
    }
}

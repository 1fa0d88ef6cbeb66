//! Sessions with the own application that are no HTTP: counted, never refused but by its limits.

use super::{Inbound, Visit};
use crate::access_log::{LogRing, Logging, Side};
use crate::connection::Terms;
use crate::edge::Outcome;
use crate::entrance::Entrance;
use crate::exchange::Verdict;
use crate::forward::SendError;
use crate::refuse;
use crate::retry::Tried;
use crate::spans::Ending;
use crate::tcp::{self, Behind, Session, Speaks};
use fusebox_proto::Now;
use std::sync::Arc;
use tokio::net::TcpStream;

impl Inbound {
    /// Serves one connection to the application.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, terms: Terms) {
        tcp::serve(&self, stream, terms, Entrance::Inbound(Arc::clone(&self))).await;
    }
}

impl Behind for Arc<Inbound> {
    fn speaks(&self) -> &Speaks {
        &self.speaks
    }

    fn asks_server_name(&self) -> bool {
        false
    }

    fn log(&self) -> (Option<&Arc<LogRing>>, Side) {
        (self.log.as_ref(), Side::Inbound)
    }

    async fn open(
        &self,
        _server_name: Option<&str>,
        line: Option<&mut Logging>,
    ) -> Option<Session> {
        let now = Now::read();
        let mut visit = Visit::begun(self, now, None);
        let opened = match self.pool.pick(now.instant, &Tried::default()) {
            Ok(picked) => {
                let picked = visit.sent_to(picked);
                let bounds = picked.tunnel_bounds(tcp::IDLE_DEFAULT);
                let opened = picked.raw().await.map(|opened| (opened, bounds));
                opened.map_err(SendError::from)
            }
            Err(overflow) => Err(SendError::Overflow(overflow)),
        };
        if let Some(line) = line {
            line.went(visit.trail());
            if let Err(error) = &opened {
                line.failed(refuse::failure_word(error));
            }
        }
        let opened = opened.ok();
        let outcome = if opened.is_some() { Outcome::Success } else { Outcome::Failure };
        let verdict = Verdict { outcome, ending: Ending::default() };
        let Some(((server, place), bounds)) = opened else {
            visit.end(verdict, Now::read());
            return None;
        };
        let held = Box::new(visit.switched(verdict, Now::read()));
        Some(Session { server, place, bounds, held })
    }
}

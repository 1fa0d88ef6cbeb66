//! Sessions of the own application that are no HTTP: admitted or refused by their edge like an
//! attempt, and broken off like one when they may not cross.

use super::attempt::Attempt;
use super::{Outbound, What};
use crate::access_log::{LogRing, Logging, Side};
use crate::connection::Terms;
use crate::edge::{BodyDigest, Decision, Outcome, Refusal, RequestHead};
use crate::entrance::Entrance;
use crate::exchange::Verdict;
use crate::forward::SendError;
use crate::outlier::Observed;
use crate::policy::plan::{NoTarget, Target, TcpRoutes};
use crate::pool::AcquireError;
use crate::refuse;
use crate::retry::Tried;
use crate::spans::Ending;
use crate::tcp::{self, Behind, Session, Speaks};
use fusebox_proto::Now;
use fusebox_proto::report::Protocol;
use std::sync::Arc;
use tokio::net::TcpStream;

impl Outbound {
    /// Serves one connection of the application.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, terms: Terms) {
        tcp::serve(&*self, stream, terms, Entrance::Outbound(Arc::clone(&self))).await;
    }

    /// Where a session goes.
    fn target(&self, server_name: Option<&str>) -> Result<Target, NoTarget> {
        let plan = Arc::clone(&self.plan.read());
        let routed = plan.tcp.as_ref().and_then(|routes| {
            routes.route(server_name, self.port, &self.common.caller, rand::random())
        });
        routed.unwrap_or_else(|| Ok(plan.direct.clone()))
    }
}

impl Behind for Outbound {
    fn speaks(&self) -> &Speaks {
        &self.speaks
    }

    fn asks_server_name(&self) -> bool {
        self.plan.read().tcp.as_ref().is_some_and(TcpRoutes::asks_server_name)
    }

    fn log(&self) -> (Option<&Arc<LogRing>>, Side) {
        (self.common.log.as_ref(), Side::Outbound)
    }

    async fn open(
        &self,
        server_name: Option<&str>,
        mut line: Option<&mut Logging>,
    ) -> Option<Session> {
        let target = match self.target(server_name) {
            Ok(target) => target,
            Err(NoTarget::UnknownHost) => return self.nowhere(What::UnknownHost, line),
            Err(NoTarget::EmptySubset) => return self.nowhere(What::EmptySubset, line),
        };
        if let Some(line) = &mut line {
            line.went(target.trail());
        }
        let refused = |line: Option<&mut Logging>, refusal: Refusal| {
            if let Some(line) = line {
                line.refused(refusal.word());
            }
            None
        };
        let now = Now::read();
        let head = RequestHead {
            trace: None,
            method: "",
            authority: target.edge.destination.name(),
            path_and_query: "",
            idempotency_key: None,
            grpc_previous_attempts: 0,
            body: BodyDigest::Unknown,
            protocol: Protocol::Tcp,
            arrivals: None,
        };
        let decision = target.edge.core.lock().admit_on(now, &head, target.way.as_ref());
        let ticket = match decision {
            Decision::Forward(ticket) => ticket,
            Decision::Refuse(refusal) => return refused(line, refusal),
        };
        let mut attempt = Attempt::new(Arc::clone(&target.edge), ticket, None);
        let picked = match target.pool.pick(now.instant, &Tried::default()) {
            Ok(picked) => attempt.sent_to(picked),
            Err(overflow) => return refused(line, attempt.overflowed(overflow)),
        };
        let bounds = picked.tunnel_bounds(tcp::IDLE_DEFAULT);
        let opened = picked.raw().await;
        if let Some(line) = &mut line {
            line.went(attempt.trail(&target));
        }
        match opened {
            Ok((server, place)) => {
                attempt.observed(true, Some(Observed::Opened));
                let opened = Verdict { outcome: Outcome::Success, ending: Ending::default() };
                let held = Box::new(attempt.switched(opened, Now::read()));
                Some(Session { server, place, bounds, held })
            }
            Err(AcquireError::Overflow(overflow)) => refused(line, attempt.overflowed(overflow)),
            Err(AcquireError::Connect(error)) => {
                let error = SendError::Connect(error);
                if let Some(line) = line {
                    line.failed(refuse::failure_word(&error));
                }
                attempt.observed(false, error.observed());
                let failed = Verdict { outcome: Outcome::Failure, ending: Ending::default() };
                attempt.end(failed, Now::read());
                None
            }
        }
    }
}

impl Outbound {
    fn nowhere(&self, what: What, line: Option<&mut Logging>) -> Option<Session> {
        self.common.tally.count(what);
        if let Some(line) = line {
            line.lost(what.as_str());
        }
        None
    }
}

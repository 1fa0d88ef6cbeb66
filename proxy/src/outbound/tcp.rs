//! Sessions of the own application that are no HTTP: admitted or refused by their edge like an
//! attempt, and broken off like one when they may not cross.

use super::attempt::Attempt;
use super::{Outbound, What};
use crate::connection::Terms;
use crate::edge::{BodyDigest, Decision, Outcome, RequestHead};
use crate::exchange::Verdict;
use crate::forward::SendError;
use crate::outlier::Observed;
use crate::policy::plan::{NoTarget, Target, TcpRoutes};
use crate::pool::AcquireError;
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
        let own = Arc::clone(&self);
        let respond = move |peer, request| Arc::clone(&own).respond(peer, request);
        tcp::serve(&*self, stream, terms, respond).await;
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

    async fn open(&self, server_name: Option<&str>) -> Option<Session> {
        let target = match self.target(server_name) {
            Ok(target) => target,
            Err(NoTarget::UnknownHost) => return self.nowhere(What::UnknownHost),
            Err(NoTarget::EmptySubset) => return self.nowhere(What::EmptySubset),
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
        };
        let decision = target.edge.core.lock().admit_on(now, &head, target.way.as_ref());
        let Decision::Forward(ticket) = decision else {
            return None;
        };
        let mut attempt = Attempt::new(Arc::clone(&target.edge), ticket, None);
        let picked = match target.pool.pick(now.instant, &Tried::default()) {
            Ok(picked) => attempt.sent_to(picked),
            Err(overflow) => {
                attempt.overflowed(overflow);
                return None;
            }
        };
        let bounds = picked.tunnel_bounds(tcp::IDLE_DEFAULT);
        match picked.raw().await {
            Ok((server, place)) => {
                attempt.observed(true, Some(Observed::Opened));
                let opened = Verdict { outcome: Outcome::Success, ending: Ending::default() };
                let held = Box::new(attempt.switched(opened, Now::read()));
                Some(Session { server, place, bounds, held })
            }
            Err(AcquireError::Overflow(overflow)) => {
                attempt.overflowed(overflow);
                None
            }
            Err(AcquireError::Connect(error)) => {
                attempt.observed(false, SendError::Connect(error).observed());
                let failed = Verdict { outcome: Outcome::Failure, ending: Ending::default() };
                attempt.end(failed, Now::read());
                None
            }
        }
    }
}

impl Outbound {
    fn nowhere(&self, what: What) -> Option<Session> {
        self.common.tally.count(what);
        None
    }
}

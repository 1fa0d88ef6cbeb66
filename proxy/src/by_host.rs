//! One listener for calls to every service.
//!
//! Each request goes to the service that its `Host` or `:authority` names, among those that this
//! proxy has endpoints of, and from there the way of that service's own listener. With
//! `--transparent` connections are redirected here (`fusebox-proxy redirect`), and where one was
//! going is known as well: an endpoint's address means its service, also for what is no HTTP;
//! whatever nobody knows is passed on to where it was going, as traffic of the edge `passthrough`.

use crate::access_log::{LogRing, Logged, Logging, Side, logged};
use crate::body::ResponseBody;
use crate::config::{Endpoint, Limits};
use crate::connection::{Terms, Upload};
use crate::entrance::Entrance;
use crate::forwarded::Peer;
use crate::outbound::{Answered, Callers, Common, Crossing, Edge, Outbound, What};
use crate::policy::plan::{Plan, RulesOf, Target};
use crate::pool::Pool;
use crate::refuse;
use crate::tcp::{self, Behind, Session, Speaks};
use crate::{exchange, gate};
use fusebox_proto::policy::{MutedAnswer, Settings};
use fusebox_proto::report::Protocol;
use fusebox_proto::{Now, ServiceId};
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Request, Response, StatusCode};
use parking_lot::RwLock;
use socket2::SockRef;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// The edge of what is passed on to where nobody knows.
pub(crate) const PASSTHROUGH: &str = "passthrough";

/// A listener for all services.
#[derive(Debug)]
pub(crate) struct ByHost {
    /// The proxy's service, from which hosts are read.
    pub(crate) caller: ServiceId,
    /// Every service that has endpoints here.
    pub(crate) services: Vec<Service>,
    /// What all listeners have together.
    pub(crate) common: Arc<Common>,
    /// Where this listener, and all others of this proxy, are: nobody is passed on to them.
    pub(crate) own: Vec<SocketAddr>,
    /// Of what is passed on; `None`: connections are not redirected here.
    pub(crate) passthrough: Option<Arc<Edge>>,
    /// Bounds of what is passed on.
    pub(crate) limits: Limits,
    /// HTTP, where connections are not redirected here.
    pub(crate) speaks: Speaks,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its own listener.
    pub(crate) outbound: Arc<Outbound>,
    /// Where its endpoints are, as far as they are addresses.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl ByHost {
    /// Serves one connection of the application.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, terms: Terms) {
        match self.destination(&stream) {
            Some(own) if self.own.contains(&own) => (),
            Some(destination) => self.serve_to(destination, stream, terms).await,
            None => {
                tcp::serve(&*self, stream, terms, Entrance::ByHost(Arc::clone(&self))).await;
            }
        }
    }

    /// Serves a connection that was going to `destination`.
    async fn serve_to(self: Arc<Self>, destination: SocketAddr, stream: TcpStream, terms: Terms) {
        let known = self.services.iter().find(|one| one.addresses.contains(&destination));
        if let Some(known) = known {
            return Arc::clone(&known.outbound).serve(stream, terms).await;
        }
        let Some(passthrough) = &self.passthrough else { return };
        let onward = Arc::new(self.onward(passthrough, destination));
        let entrance = Entrance::Onward(Arc::clone(&self), Arc::clone(&onward));
        tcp::serve(&*onward, stream, terms, entrance).await;
        onward.plan.read().direct.pool.retire();
    }

    /// Where a redirected connection was going; `None`: it came here by itself.
    fn destination(&self, stream: &TcpStream) -> Option<SocketAddr> {
        self.passthrough.as_ref()?;
        let (local, socket) = (stream.local_addr().ok()?, SockRef::from(stream));
        let original =
            if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
        original.ok()?.as_socket().filter(|original| *original != local)
    }

    /// A way to `destination`, for one connection.
    fn onward(&self, edge: &Arc<Edge>, destination: SocketAddr) -> Outbound {
        let (now, settings) = (Now::read().instant, Settings::default());
        let pool = Pool::new(now, &[Endpoint::from(destination)], self.limits, &settings);
        let muted = MutedAnswer::default();
        let direct = Target { edge: Arc::clone(edge), pool, way: None, muted };
        let plan = Plan { direct, retries: None, rules: RulesOf::Nobody, tcp: None };
        let host = destination.to_string();
        Outbound {
            edge: Arc::clone(edge),
            host: HeaderValue::from_str(&host).unwrap_or(HeaderValue::from_static("localhost")),
            port: destination.port(),
            callers: Callers::Application,
            speaks: Speaks::default(),
            plan: RwLock::new(Arc::new(plan)),
            common: Arc::clone(&self.common),
        }
    }

    /// Answers one request of the application.
    pub(crate) async fn respond(
        self: Arc<Self>,
        peer: Arc<Peer>,
        request: Request<Upload>,
    ) -> Response<Logged<ResponseBody<Crossing>>> {
        if let Some(service) = self.service(&request) {
            return Arc::clone(service).respond(peer, request).await;
        }
        let (head, body) = request.into_parts();
        let logging = Logging::begin(self.common.log.as_ref(), Side::Outbound, &peer, &head);
        logged(self.unknown(Request::from_parts(head, body)), logging)
    }

    /// The service that a request names; where it names none or two, the gate of any will say so.
    pub(crate) fn service(&self, request: &Request<Upload>) -> Option<&Arc<Outbound>> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = match (request.uri().authority(), hosts.next(), hosts.next()) {
            (Some(authority), ..) => authority.as_str(),
            (None, Some(host), None) => host.to_str().ok()?,
            _ => return self.services.first().map(|one| &one.outbound),
        };
        let service = ServiceId::from_host(&host.to_ascii_lowercase(), &self.caller).ok()?;
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let named = || {
            let all = self.services.iter().map(|one| &one.outbound);
            all.filter(|one| one.edge.destination == service)
        };
        named().find(|one| port.is_some_and(|port| one.port == port)).or_else(|| named().next())
    }

    /// 404: which service it is for, nobody knows.
    fn unknown(&self, request: Request<Upload>) -> Answered {
        self.common.tally.count(What::UnknownHost);
        let (mut head, _body) = request.into_parts();
        let version = head.version;
        let host = HeaderValue::from_static("localhost");
        if let Err(rejected) = gate::admit(&mut head, &host) {
            return refuse::malformed(rejected, version);
        }
        let is_grpc = exchange::protocol(&head) == Protocol::Grpc;
        let word = What::UnknownHost.as_str();
        let edge = format!("{}>?", self.caller.name());
        let mut response = refuse::by_policy(StatusCode::NOT_FOUND, word, &edge, is_grpc);
        if version < http::Version::HTTP_2 {
            // Its body is not read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Behind for ByHost {
    fn speaks(&self) -> &Speaks {
        &self.speaks
    }

    fn asks_server_name(&self) -> bool {
        false
    }

    fn log(&self) -> (Option<&Arc<LogRing>>, Side) {
        (self.common.log.as_ref(), Side::Outbound)
    }

    /// What is no HTTP does not say where it goes.
    async fn open(
        &self,
        _server_name: Option<&str>,
        line: Option<&mut Logging>,
    ) -> Option<Session> {
        self.common.tally.count(What::UnknownHost);
        if let Some(line) = line {
            line.lost(What::UnknownHost.as_str());
        }
        None
    }
}

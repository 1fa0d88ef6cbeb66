//! One listener for calls to every service.
//!
//! Each request goes to the service that its `Host` or `:authority` names, among those that this
//! proxy has endpoints of (configured, or of the policy's `ServiceEntry`s), and from there the way of
//! that service's own listener. With `--transparent` connections are redirected here
//! (`fusebox-proxy redirect`), and where one was going is known as well: an address of a service means
//! it, also for what is no HTTP; whatever nobody knows is passed on to where it was going, as traffic
//! of the edge `passthrough`.

mod onward;
mod original;

use crate::access_log::{LogRing, Logged, Logging, Side, logged};
use crate::arrived::Arrived;
use crate::body::ResponseBody;
use crate::config::Limits;
use crate::connection::Terms;
use crate::entrance::Entrance;
use crate::forwarded::Peer;
use crate::outbound::{Answered, Common, Crossing, Edge, Outbound, What};
use crate::policy::plan::as_named_by;
use crate::proxy::Services;
use crate::refuse;
use crate::tcp::{self, Behind, Session, Speaks};
use crate::{exchange, gate};
use fusebox_proto::ServiceId;
use fusebox_proto::report::Protocol;
use http::header::{CONNECTION, HOST, HeaderValue};
use http::{Response, StatusCode, request};
pub(crate) use onward::Onward;
pub(crate) use original::Originals;
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
    pub(crate) services: Arc<Services>,
    /// Hosts without endpoints.
    pub(crate) originals: Arc<RwLock<Arc<Originals>>>,
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

impl ByHost {
    /// Serves one connection of the application.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, terms: Terms) {
        match self.redirected(&stream) {
            Some((_, own)) if self.own.contains(&own) => (),
            Some((passthrough, destination)) => {
                let onward = Arc::new(Onward::new(Arc::clone(&self), passthrough, destination));
                tcp::serve(&*onward, stream, terms, Entrance::Onward(Arc::clone(&onward))).await;
            }
            None => {
                tcp::serve(&*self, stream, terms, Entrance::ByHost(Arc::clone(&self))).await;
            }
        }
    }

    /// Where a redirected connection was going, and the edge of what nobody knows; `None`: it came
    /// here by itself.
    fn redirected(&self, stream: &TcpStream) -> Option<(Arc<Edge>, SocketAddr)> {
        let passthrough = self.passthrough.as_ref()?;
        let (local, socket) = (stream.local_addr().ok()?, SockRef::from(stream));
        let original =
            if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
        let original = original.ok()?.as_socket().filter(|original| *original != local)?;
        Some((Arc::clone(passthrough), original))
    }

    /// Answers one request of the application.
    pub(crate) async fn respond(
        self: Arc<Self>,
        peer: Arc<Peer>,
        mut request: Box<Arrived>,
    ) -> Response<Logged<ResponseBody<Crossing>>> {
        let head = &mut request.head;
        if let Some(service) = self.service(head, None) {
            return service.respond(peer, request).await;
        }
        let logging = Logging::begin(self.common.log.as_ref(), Side::Outbound, &peer, head);
        logged(self.unknown(head), logging)
    }

    /// The service that a request names, on a connection that was going to the port `dialled`; where
    /// it names none or two, the gate of any will say so.
    fn service(&self, head: &request::Parts, dialled: Option<u16>) -> Option<Arc<Outbound>> {
        let Some(host) = named_host(head) else {
            let any = || self.services.read().first_configured().cloned();
            return if dialled.is_none() { any() } else { None };
        };
        let service = self.service_of(&host.to_ascii_lowercase())?;
        let said = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        self.services.read().named(&service, said, dialled).cloned()
    }

    fn service_of(&self, host: &str) -> Option<ServiceId> {
        let service = ServiceId::from_host(host, &self.caller).ok()?;
        Some(as_named_by(&self.caller, service))
    }

    /// 404: which service it is for, nobody knows.
    fn unknown(&self, head: &mut request::Parts) -> Answered {
        self.common.tally.count(What::UnknownHost);
        let version = head.version;
        let host = HeaderValue::from_static("localhost");
        if let Err(rejected) = gate::admit(head, &host) {
            return refuse::malformed(rejected, version);
        }
        let is_grpc = exchange::protocol(head) == Protocol::Grpc;
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

/// The one host that a request names.
fn named_host(head: &request::Parts) -> Option<&str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (head.uri.authority(), hosts.next(), hosts.next()) {
        (Some(authority), ..) => Some(authority.as_str()),
        (None, Some(host), None) => host.to_str().ok(),
        _ => None,
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

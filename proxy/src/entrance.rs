//! Who answers the requests of a connection: one type for all listeners.
//!
//! A server of HTTP/1.1 and HTTP/2 is much code, and the compiler would make all of it again for
//! each kind of listener.

use crate::access_log::Logged;
use crate::admin::{Admin, NoGuard};
use crate::arrived::Arrived;
use crate::body::{BodyError, ResponseBody};
use crate::by_host::{ByHost, Onward};
use crate::connection::{self, Terms};
use crate::forwarded::Peer;
use crate::inbound::{Inbound, Serving};
use crate::outbound::{Crossing, Outbound};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// What is behind a listener.
#[derive(Clone, Debug)]
pub(crate) enum Entrance {
    /// One called service.
    Outbound(Arc<Outbound>),
    /// The called service that a request names.
    ByHost(Arc<ByHost>),
    /// The same, or where the connection was going.
    Onward(Arc<Onward>),
    /// The own application.
    Inbound(Arc<Inbound>),
    /// The admin port.
    Admin(Admin),
}

impl Entrance {
    /// Serves the HTTP of one connection, of which `ahead` was read already.
    pub(crate) async fn serve(
        self,
        peer: Arc<Peer>,
        stream: TcpStream,
        ahead: Bytes,
        terms: Terms,
    ) {
        let respond = move |request| self.clone().respond(Arc::clone(&peer), request);
        connection::serve(stream, ahead, terms, respond).await;
    }

    /// In a place of its own: hyper keeps room for what answers on each connection, also where nothing
    /// is asked, and moves it around.
    fn respond(
        self,
        peer: Arc<Peer>,
        request: Box<Arrived>,
    ) -> BoxFuture<'static, Response<Answer>> {
        let outbound = |response: Response<_>| response.map(Answer::Outbound);
        match self {
            Self::Outbound(own) => Box::pin(own.respond(peer, request).map(outbound)),
            Self::Inbound(own) => {
                Box::pin(own.respond(peer, request).map(|it| it.map(Answer::Inbound)))
            }
            Self::ByHost(own) => Box::pin(own.respond(peer, request).map(outbound)),
            Self::Onward(own) => {
                Box::pin(own.service(&request.head).respond(peer, request).map(outbound))
            }
            Self::Admin(own) => {
                Box::pin(ready(own.answer(&request.head, &peer).map(Answer::Admin)))
            }
        }
    }
}

/// The body of any answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Outbound(Logged<ResponseBody<Crossing>>),
    Inbound(Logged<ResponseBody<Serving>>),
    Admin(ResponseBody<NoGuard>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Outbound(body) => Pin::new(body).poll_frame(cx),
            Self::Inbound(body) => Pin::new(body).poll_frame(cx),
            Self::Admin(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Outbound(body) => body.is_end_stream(),
            Self::Inbound(body) => body.is_end_stream(),
            Self::Admin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Outbound(body) => body.size_hint(),
            Self::Inbound(body) => body.size_hint(),
            Self::Admin(body) => body.size_hint(),
        }
    }
}

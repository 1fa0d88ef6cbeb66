//! A request body as its caller sends it.

use super::watch::Busy;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a request. Its connection is busy until all of it was read, also where the answer is
/// over before: what comes meanwhile belongs to this request, and to no next one.
#[derive(Debug)]
pub(crate) struct Upload {
    incoming: Incoming,
    /// `None` once it is over.
    busy: Option<Busy>,
}

impl Upload {
    /// Of a request that keeps its connection `busy`.
    pub(super) fn new(incoming: Incoming, busy: &Busy) -> Self {
        let busy = (!incoming.is_end_stream()).then(|| busy.again());
        Self { incoming, busy }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.incoming.is_end_stream() {
            self.busy = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

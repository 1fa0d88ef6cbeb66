//! What of a request body is still on its way from the caller.

use crate::connection::Upload;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::runtime::Handle;

/// A body that nobody wants any more is read up to this length…
const DISCARD_LEN_MAX: usize = 16 * 1024 * 1024;
/// … and for at most this long.
const DISCARD_PATIENCE: Duration = Duration::from_secs(10);

/// The rest of a request body.
///
/// Dropped before its end, because a request that was let in was answered without it, it is read on and
/// thrown away: a caller that is still sending would else meet a reset before it looks for the answer, and
/// its connection stays usable. Past the limits the connection is closed. So is that of a request that
/// was not let in, at once: where that one ends is in doubt.
#[derive(Debug, Default)]
pub(super) struct Rest {
    upload: Option<Upload>,
    /// It was let in, and its caller does not wait to be asked for it, which whoever polls it does.
    is_coming: bool,
}

impl Rest {
    /// All of `upload`, of a request that has yet to be let in.
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload: (!upload.is_end_stream()).then_some(upload), is_coming: false }
    }

    /// Its request was let in, and its caller sends it unasked, or was asked.
    pub(super) fn comes(&mut self) {
        self.is_coming = true;
    }

    /// As it comes; `None`: there is no more.
    pub(super) fn upload(&mut self) -> Option<&mut Upload> {
        self.upload.as_mut()
    }

    /// The same, to look at.
    pub(super) fn peek(&self) -> Option<&Upload> {
        self.upload.as_ref()
    }

    /// Whether there is no more.
    pub(super) fn is_over(&self) -> bool {
        self.upload.is_none()
    }

    /// All of it was read.
    pub(super) fn over(&mut self) {
        self.upload = None;
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let unread = self.upload.take().filter(|rest| !rest.is_end_stream() && self.is_coming);
        // At the end of the process there is nobody to read it.
        if let (Some(rest), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(DISCARD_PATIENCE, discard(rest)));
        }
    }
}

async fn discard(mut rest: Upload) {
    let mut left = DISCARD_LEN_MAX;
    while let Some(Ok(frame)) = rest.frame().await {
        left = match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => left,
            None => return,
        };
    }
}

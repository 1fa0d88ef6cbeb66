//! Spans that wait for export, as they will be sent.

use super::encode::{self, Anchor};
use super::{Draft, Ending};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::Notify;

/// Spans in one request: some 200 kB.
pub(super) const BATCH_LEN_MAX: u32 = 512;
/// Full batches that wait, 8,192 spans; at 400 B each some 3 MB.
const BATCHES_MAX: usize = 16;

/// Spans that wait for export, in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct SpanRing {
    inner: Mutex<Inner>,
    /// A batch is full: it need not wait for its time.
    full: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    closed: VecDeque<Batch>,
    open: Option<Open>,
    /// The span that is being written: its length must stand before it.
    scratch: Vec<u8>,
}

/// A batch to which spans are added.
#[derive(Debug)]
struct Open {
    anchor: Anchor,
    bytes: Vec<u8>,
    len: u32,
}

/// Spans as the field `spans` of `ScopeSpans`, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    /// How many.
    pub(super) len: u32,
}

impl Inner {
    /// Closes the open batch; the oldest makes room. Returns how many spans were forgotten.
    fn close(&mut self) -> u32 {
        let Some(Open { bytes, len, .. }) = self.open.take() else { return 0 };
        self.closed.push_back(Batch { bytes: bytes.into(), len });
        if BATCHES_MAX < self.closed.len() {
            self.closed.pop_front().map_or(0, |oldest| oldest.len)
        } else {
            0
        }
    }
}

impl SpanRing {
    /// Keeps the span of a request that `ended`, forgetting the oldest if there is no room.
    pub(crate) fn push(&self, draft: &Draft, ending: Ending, ended: Instant) {
        let mut inner = self.inner.lock();
        let Inner { open, scratch, .. } = &mut *inner;
        let batch =
            open.get_or_insert_with(|| Open { anchor: Anchor::read(), bytes: Vec::new(), len: 0 });
        encode::append(&mut batch.bytes, scratch, draft, ending, ended, batch.anchor);
        batch.len += 1;
        if batch.len < BATCH_LEN_MAX {
            return;
        }
        let forgotten = inner.close();
        drop(inner);
        self.drop_counted(forgotten);
        self.full.notify_one();
    }

    /// Waits until a batch is full.
    pub(super) async fn filled(&self) {
        self.full.notified().await;
    }

    /// The oldest batch: a full one, or where there is none and `also_open`, what there is.
    pub(super) fn take(&self, also_open: bool) -> Option<Batch> {
        let mut inner = self.inner.lock();
        if inner.closed.is_empty() && also_open {
            inner.close();
        }
        inner.closed.pop_front()
    }

    /// Puts back what could not be exported, if there is room.
    pub(super) fn give_back(&self, batch: Batch) {
        let mut inner = self.inner.lock();
        if inner.closed.len() < BATCHES_MAX {
            inner.closed.push_front(batch);
        } else {
            self.drop_counted(batch.len);
        }
    }

    /// Counts spans that nobody will see.
    pub(super) fn drop_counted(&self, count: u32) {
        self.dropped.fetch_add(count.into(), Relaxed);
    }

    /// Spans dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

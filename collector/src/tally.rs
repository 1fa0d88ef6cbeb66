//! What the shell counts; the engine counts the rest.

use crate::otlp::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Counters since the start, shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: [AtomicU64; Signal::ALL.len()],
    /// Not yet told to the engine, by reason.
    dropped: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// An OTLP request was taken.
    pub(crate) fn taken(&self, signal: Signal) {
        self.requests[signal as usize].fetch_add(1, Relaxed);
    }

    /// OTLP requests taken since the start.
    pub(crate) fn requests(&self, signal: Signal) -> u64 {
        self.requests[signal as usize].load(Relaxed)
    }

    /// Something was dropped or refused, for a reason in the words of `status.collector.dropped`.
    pub(crate) fn drop_n(&self, reason: &'static str, count: u64) {
        if count != 0 {
            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
            *dropped.entry(reason).or_default() += count;
        }
    }

    /// What was dropped since the last call.
    pub(crate) fn take_dropped(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

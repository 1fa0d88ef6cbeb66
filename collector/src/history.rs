//! The history: what outlives the process, in a directory of its own.
//!
//! ```text
//!   engine ── Output::Store ──▶ driver ── bounded queue ──▶ writer's thread ── commit, fsync ──▶ file
//!          ◀── Event::Stored ──        ◀───── receipts ────
//! ```
//!
//! One file, an embedded store with checksums and atomic commits (redb); all records that wait are
//! one commit. The engine's task never waits for a disk: a queue that is full is a record that is
//! not kept, and the engine is told. A file that was damaged is found when it is opened, moved
//! aside and begun anew; one that a later version wrote is left alone.

mod ages;
mod directory;
mod file;
mod form;
mod writer;

use crate::record::{Record, Restored};
use directory::Directory;
use file::Opened;
use fusebox_proto::Now;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

pub(crate) use writer::Writer;

/// Records that wait for the disk; one more is not kept. At a few hundred bytes each, a second of
/// the busiest mesh.
const RECORDS_MAX: usize = 4_096;
/// Receipts that wait for the engine's task, which takes them first.
const RECEIPTS_MAX: usize = 64;

/// Why there is no history in a directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, or nothing can be written into it.
    #[error("data directory {path}: cannot be {verb}: {source}; {ELSE}")]
    Unusable {
        /// What.
        path: PathBuf,
        /// `created`, `locked`, `read`, `written`
        verb: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Another collector keeps its history there.
    #[error("data directory {path}: another collector{} uses it; end that, or {ELSE}", process(*.pid))]
    InUse {
        /// Which.
        path: PathBuf,
        /// The other process, where it is known.
        pid: Option<u32>,
    },
    /// It was written by a version that knows more.
    #[error("{path}: {reason}; start the version that wrote it, or {ELSE}")]
    Later {
        /// Which file.
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
}

impl OpenError {
    /// The same for someone who cannot choose another directory now.
    fn reason(&self) -> String {
        match self {
            Self::Unusable { source, .. } => source.to_string(),
            Self::InUse { .. } => "another collector uses the data directory".to_owned(),
            Self::Later { reason, .. } => reason.clone(),
        }
    }
}

const ELSE: &str = "name another one with --data-dir, or give --in-memory to keep nothing";

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A record on its way to the disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbered {
    /// As in [`Output::Store`](crate::engine::Output::Store).
    pub(crate) number: u64,
    /// When it came to be.
    pub(crate) at_unix_ms: u64,
    /// What.
    pub(crate) record: Record,
}

/// What became of records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Receipt {
    /// Which.
    pub(crate) numbers: RangeInclusive<u64>,
    /// Why they are not on disk.
    pub(crate) result: Result<(), Arc<str>>,
}

/// The engine's end of the way to the disk.
#[derive(Debug)]
pub(crate) struct Outbox {
    records: mpsc::Sender<Numbered>,
    receipts: mpsc::Receiver<Receipt>,
}

impl Outbox {
    /// Sends a record on its way, without waiting; the receipt comes later, or at once where it
    /// cannot.
    pub(crate) fn send(&self, record: Numbered) -> Result<(), Receipt> {
        let number = record.number;
        self.records.try_send(record).map_err(|error| {
            let reason = match error {
                mpsc::error::TrySendError::Full(_) => {
                    format!("{RECORDS_MAX} records wait for the disk already")
                }
                mpsc::error::TrySendError::Closed(_) => "the history has ended".to_owned(),
            };
            Receipt { numbers: number..=number, result: Err(reason.into()) }
        })
    }

    /// Sends one of the last records on its way, and waits for room; no receipt is taken any more.
    pub(crate) async fn send_last(&mut self, record: Numbered) {
        self.receipts.close();
        // Fails only where the writer has ended: it has told why.
        let _ = self.records.send(record).await;
    }

    /// The next receipt; `None` once the writer has ended.
    pub(crate) async fn receipt(&mut self) -> Option<Receipt> {
        self.receipts.recv().await
    }
}

/// Opens the history in `path`, makes it if there is none, and reads what an earlier process left.
/// Blocks. The [`Writer`] wants a thread of its own.
pub(crate) fn open(path: &Path, now: Now) -> Result<(Restored, Outbox, Writer), OpenError> {
    let directory = Directory::open(path)?;
    let Opened { file, mut restored, damage } = file::open_or_begin(&directory, now)?;
    restored.notes.extend(damage);
    let (records, queue) = mpsc::channel(RECORDS_MAX);
    let (receipt_sender, receipts) = mpsc::channel(RECEIPTS_MAX);
    let writer = Writer::new(directory, file, queue, receipt_sender);
    Ok((restored, Outbox { records, receipts }, writer))
}

#[cfg(test)]
mod tests;

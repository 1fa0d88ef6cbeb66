//! The thread that waits for the disk.

use super::directory::Directory;
use super::file::{self, File, Opened};
use super::{Numbered, Receipt};
use fusebox_proto::Now;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Records of one commit at most: it is over within milliseconds.
const BATCH_MAX: usize = 1_024;

/// Owns the directory and the file.
#[derive(Debug)]
pub(crate) struct Writer {
    directory: Directory,
    /// `None` after a failure: it is opened anew for the next records.
    file: Option<File>,
    queue: mpsc::Receiver<Numbered>,
    receipts: mpsc::Sender<Receipt>,
    /// For the log: a disk that stays full is told once.
    failing: Option<Arc<str>>,
}

impl Writer {
    /// A writer of `file` in `directory`.
    pub(super) const fn new(
        directory: Directory,
        file: File,
        queue: mpsc::Receiver<Numbered>,
        receipts: mpsc::Sender<Receipt>,
    ) -> Self {
        Self { directory, file: Some(file), queue, receipts, failing: None }
    }

    /// Writes what comes until nobody is left who could send something. Blocks.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while 0 < self.queue.blocking_recv_many(&mut batch, BATCH_MAX) {
            let result = self.write(&batch);
            let numbers = match (batch.first(), batch.last()) {
                (Some(first), Some(last)) => first.number..=last.number,
                _ => continue,
            };
            batch.clear();
            self.log(&result);
            // Fails only once the engine has ended.
            let _ = self.receipts.blocking_send(Receipt { numbers, result });
        }
    }

    fn write(&mut self, batch: &[Numbered]) -> Result<(), Arc<str>> {
        let at_unix_ms = batch.iter().map(|record| record.at_unix_ms).max().unwrap_or(0);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.reopen()?,
        };
        // Dropped where that fails: a store that met an error wants to be opened anew.
        file.write(at_unix_ms, batch).map_err(|fault| Arc::from(fault.to_string()))?;
        self.file = Some(file);
        Ok(())
    }

    /// What was in the file is known to the engine. Where a new one had to be begun, these records
    /// count as lost, so that the engine hears why, and writes all that matters once more.
    fn reopen(&mut self) -> Result<File, Arc<str>> {
        let Opened { file, damage, .. } = file::open_or_begin(&self.directory, Now::read())
            .map_err(|error| Arc::from(error.reason()))?;
        match damage {
            None => Ok(file),
            Some(damage) => {
                self.file = Some(file);
                Err(damage.into())
            }
        }
    }

    fn log(&mut self, result: &Result<(), Arc<str>>) {
        let path = self.directory.path().display();
        match result {
            Ok(()) if self.failing.is_some() => {
                tracing::info!(%path, "the history is written again");
            }
            Err(reason) if self.failing.as_ref() != Some(reason) => {
                tracing::error!(%path, %reason, "the history cannot be written");
            }
            _ => (),
        }
        self.failing = result.as_ref().err().cloned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    /// Scenario: a write failed, and when the file is opened anew for the next records it is
    /// damaged.
    /// Guarantees: the engine hears of it with these records; the ones after are on disk again.
    #[test]
    fn damage_at_runtime_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let file = file::open_or_begin(&directory, Now::read()).unwrap().file;
        let ((_, queue), (receipts, _)) = (mpsc::channel(1), mpsc::channel(1));
        let mut writer = Writer::new(directory, file, queue, receipts);
        let batch = [Numbered { number: 1, at_unix_ms: 1, record: Record::Revision(7) }];
        assert_eq!(writer.write(&batch), Ok(()));
        writer.file = None;
        std::fs::write(folder.path().join("history.redb"), "no history").unwrap();
        let reason = writer.write(&batch).unwrap_err();
        assert!(reason.contains("the history was damaged and begins anew"), "{reason}");
        assert_eq!(writer.write(&batch), Ok(()));
        drop(writer);
        let directory = Directory::open(folder.path()).unwrap();
        let opened = file::open_or_begin(&directory, Now::read()).unwrap();
        assert_eq!((opened.restored.revision, opened.damage), (7, None));
    }
}

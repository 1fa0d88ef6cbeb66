//! The thread that waits for the disk.

use super::directory::Directory;
use super::file::{self, File};
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
            // What is in it is known to the engine, which writes anew what a new file lacks.
            None => match file::open_or_begin(&self.directory, Now::read()) {
                Ok((file, _)) => file,
                Err(error) => return Err(error.reason().into()),
            },
        };
        // Dropped where that fails: a store that met an error wants to be opened anew.
        file.write(at_unix_ms, batch).map_err(|fault| Arc::from(fault.to_string()))?;
        self.file = Some(file);
        Ok(())
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

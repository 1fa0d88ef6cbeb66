//! Where lines go: a file that may be renamed under us, or standard output.

use super::{ENTRIES_MAX, LogRing, line};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Lines are gathered for so long: a write for each would cost more than the request.
const GATHERING: Duration = Duration::from_millis(50);
/// Lines in one write.
const BATCH_LEN_MAX: usize = 1_024;

/// Where lines go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A file that is appended to.
    File {
        /// Its name, for opening it anew.
        path: PathBuf,
        /// Open.
        file: File,
        /// The last write stopped within a line.
        is_torn: bool,
    },
    /// Standard output.
    Stdout,
}

impl Sink {
    /// Opens a file, or standard output.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let file = append_to(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::File { path: path.to_owned(), file, is_torn: false })
    }

    /// The file under the old name, which is another one by now. If there is none to be had, the
    /// one that is open goes on.
    fn reopen(&mut self) {
        if let Self::File { path, file, is_torn } = self {
            match append_to(path) {
                Ok(new) => (*file, *is_torn) = (new, false),
                Err(error) => tracing::warn!("access log {}: {error}", path.display()),
            }
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Self::File { file, is_torn, .. } => {
                if std::mem::replace(is_torn, true) {
                    file.write_all(b"\n")?;
                }
                file.write_all(text)?;
                *is_torn = false;
                Ok(())
            }
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Writes what is in `ring` until `closing`, and then what is left.
pub(crate) async fn run(ring: Arc<LogRing>, closing: CancellationToken) {
    let Some(mut sink) = ring.sink.lock().take() else { return };
    let mut is_failing = false;
    loop {
        let is_last = tokio::select! {
            () = ring.news.notified() => false,
            () = closing.cancelled() => true,
        };
        if !is_last {
            tokio::select! {
                () = tokio::time::sleep(GATHERING) => (),
                () = closing.cancelled() => (),
            }
        }
        let flushing = Arc::clone(&ring);
        // A disk may take its time; commands and reports do not wait for it.
        let flushed = tokio::task::spawn_blocking(move || {
            let result = flush(&flushing, &mut sink);
            (sink, result)
        });
        let Ok((back, result)) = flushed.await else { return };
        sink = back;
        if let Err(error) = &result
            && !is_failing
        {
            tracing::warn!("cannot write the access log: {error}; lines are dropped and counted");
        }
        is_failing = result.is_err();
        if is_last {
            return;
        }
    }
}

/// Writes what is there now.
fn flush(ring: &LogRing, sink: &mut Sink) -> io::Result<()> {
    if ring.must_reopen.swap(false, Relaxed) {
        sink.reopen();
    }
    let mut result = Ok(());
    for _ in 0..=ENTRIES_MAX / BATCH_LEN_MAX {
        let batch: Vec<_> = {
            let mut entries = ring.entries.lock();
            let len = entries.len().min(BATCH_LEN_MAX);
            entries.drain(..len).collect()
        };
        if batch.is_empty() {
            return result;
        }
        let mut text = Vec::with_capacity(batch.len() * 512);
        for entry in &batch {
            line::write(entry, &mut text);
        }
        if let Err(error) = sink.write(&text) {
            ring.dropped.fetch_add(batch.len() as u64, Relaxed);
            result = Err(error);
        }
    }
    // Some came meanwhile, and nobody told us: the ring was not empty.
    ring.news.notify_one();
    result
}

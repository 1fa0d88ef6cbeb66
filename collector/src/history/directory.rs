//! The data directory: for its owner only, and for one collector at a time.

use super::OpenError;
use fusebox_proto::Now;
use fusebox_proto::view::Stamp;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The history.
const FILE: &str = "history.redb";
/// A history under construction: it takes its name once it is whole.
const FILE_NEW: &str = "history.redb.new";
/// What damaged files are called, with the time after it.
const FILE_DAMAGED: &str = "history.redb.damaged-";
/// Held for as long as the collector lives; the number of its process is in it.
const LOCK: &str = "lock";
/// More damaged files than this are not kept; the oldest goes.
const DAMAGED_MAX: usize = 4;

/// A directory that no other collector uses.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The system lets go of it with the process, however that ends.
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is not there, and takes it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |verb| {
            let path = path.to_owned();
            move |source| OpenError::Unusable { path, verb, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable("created"))?;
        let mut lock = private()
            .read(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(unusable("written"))?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message.
                let _ = lock.read_to_string(&mut pid);
                let pid = pid.trim().parse().ok();
                return Err(OpenError::InUse { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(unusable("locked")(error)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(unusable("written"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the history.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// An empty file for a new history. [`Directory::adopt`] gives it its name.
    pub(super) fn new_file(&self) -> io::Result<PathBuf> {
        let path = self.path.join(FILE_NEW);
        private().create(true).truncate(true).open(&path)?;
        Ok(path)
    }

    /// The new history is whole: from now on it is the history.
    pub(super) fn adopt(&self) -> io::Result<()> {
        fs::rename(self.path.join(FILE_NEW), self.file())?;
        self.sync()
    }

    /// Moves the file of the history out of the way, and says under which name it is kept.
    pub(super) fn put_aside(&self, now: Now) -> io::Result<String> {
        // Without colons, which some tools take for something else.
        let stamp = Stamp(now.unix_ms).to_string().replace(':', "");
        let name = format!("{FILE_DAMAGED}{stamp}");
        fs::rename(self.file(), self.path.join(&name))?;
        self.sync()?;
        let mut damaged = self.damaged()?;
        damaged.sort();
        for surplus in damaged.iter().rev().skip(DAMAGED_MAX) {
            fs::remove_file(surplus)?;
        }
        Ok(name)
    }

    fn damaged(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.path)?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        let is_damaged = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FILE_DAMAGED))
        };
        Ok(paths.into_iter().filter(is_damaged).collect())
    }

    /// Names are on disk only once their directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Nobody else needs to read who tripped what.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

//! The last good policy, kept over a restart of the proxy.
//!
//! One file, written beside its place and moved there, so that it is whole or not there at all;
//! one that was torn all the same is said and ignored.

use fusebox_proto::policy::{Profile, Push};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

const FILE: &str = "policy.json";
/// The documents of a policy, escaped, and a little more.
const FILE_LEN_MAX: u64 = 32 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u64,
    profile: Profile,
    documents: Vec<String>,
}

/// Why what is on the disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no policy that was kept whole.
    #[error("is torn or no policy of this program: {0}")]
    Torn(#[from] serde_json::Error),
    /// It is larger than any policy.
    #[error("is larger than {FILE_LEN_MAX} bytes")]
    TooLarge,
}

/// Keeps `push` in `directory`, which is made if it is not there.
pub(crate) fn keep(directory: &Path, push: &Push) -> Result<(), DiskError> {
    fs::create_dir_all(directory)?;
    let Push { version, profile, documents } = push.clone();
    let text = serde_json::to_vec(&Kept { version, profile, documents })?;
    let beside = directory.join(format!("{FILE}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, directory.join(FILE))?;
    // The move itself is on the disk once the directory is.
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// What was kept in `directory`; `None` if nothing was.
pub(crate) fn load(directory: &Path) -> Result<Option<Push>, DiskError> {
    let path = directory.join(FILE);
    let length = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if FILE_LEN_MAX < length {
        return Err(DiskError::TooLarge);
    }
    let Kept { version, profile, documents } = serde_json::from_slice(&fs::read(&path)?)?;
    Ok(Some(Push { version, profile, documents }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: a policy is kept, kept again, and then its file is cut at every length.
    /// Guarantees: what was kept last comes back whole; what is torn is an error, never a part.
    #[test]
    fn whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("made");
        assert!(load(&directory).unwrap().is_none());
        let push = |version| Push {
            version,
            profile: Profile::IstioCompat,
            documents: vec!["a: \"b\"\n".into(), String::new()],
        };
        keep(&directory, &push(1)).unwrap();
        keep(&directory, &push(2)).unwrap();
        assert_eq!(load(&directory).unwrap(), Some(push(2)));
        let path = directory.join(FILE);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            assert!(load(&directory).is_err(), "{len} bytes");
        }
    }
}

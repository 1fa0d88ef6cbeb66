//! What long proofs of this crate read, and whether they are asked for.

use std::path::PathBuf;

/// Real incidents beside the checkout; `None` where they are not.
pub(crate) fn incidents() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/incidents");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not beside the checkout", folder.display());
    None
}

/// Whether the long forms are asked for, `FUSEBOX_LONG=1`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("FUSEBOX_LONG").is_some_and(|value| value == "1")
}

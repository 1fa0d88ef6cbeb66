//! Bodies that real SDKs sent, for tests.

use std::path::{Path, PathBuf};

/// Bodies of real SDKs, beside the checkout; `None` where they are not, which fails when
/// `FUSEBOX_REAL=1` asks for them.
pub(crate) fn samples() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/otlp-samples");
    if folder.is_dir() {
        return Some(folder);
    }
    assert_ne!(
        std::env::var("FUSEBOX_REAL").as_deref(),
        Ok("1"),
        "{} is missing",
        folder.display()
    );
    println!("skipped: {} is not beside the checkout", folder.display());
    None
}

/// A file of [`samples`], as it is.
pub(crate) fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).expect("a file of the samples")
}

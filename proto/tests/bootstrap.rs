//! The generated code is committed, so that a build needs nothing but cargo. This test generates it
//! again, with a compiler in Rust, and fails on a difference.
//!
//! After a change of a `.proto` file: `FUSEBOX_BOOTSTRAP=1 cargo test -p fusebox-proto --test
//! bootstrap` overwrites it.

use std::fs;
use std::path::Path;

const FILES: [&str; 5] = ["common", "report", "control", "view", "console"];

/// Scenario: the `.proto` files as they are now, compiled anew.
/// Guarantees: the committed code is what they say, byte for byte.
#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated/fusebox.v1.rs");
    let files = FILES.map(|name| format!("fusebox/v1/{name}.proto"));
    let descriptors = protox::compile(files, [root]).expect("the .proto files compile");

    let out = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("the messages can be written as Rust");
    let fresh = fs::read_to_string(out.path().join("fusebox.v1.rs")).expect("was just written");

    if std::env::var_os("FUSEBOX_BOOTSTRAP").is_some() {
        fs::write(&committed, fresh).expect("the source tree is writable");
        return;
    }
    let old = fs::read_to_string(&committed).expect("the generated code is committed");
    assert!(
        old == fresh,
        "src/generated/fusebox.v1.rs is not what fusebox/v1/*.proto say; \
         run this test with FUSEBOX_BOOTSTRAP=1 and commit the result"
    );
}

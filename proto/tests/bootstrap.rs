//! The generated code is committed, so that a build needs nothing but cargo. This test generates it
//! again, with a compiler in Rust, and fails on a difference.
//!
//! After a change of a `.proto` file: `FUSEBOX_BOOTSTRAP=1 cargo test -p fusebox-proto --test
//! bootstrap` overwrites it.

use protox::prost_reflect::prost_types::{FieldDescriptorProto, FileDescriptorSet};
use std::fs;
use std::path::Path;

const FILES: [&str; 8] =
    ["common", "command", "report", "policy", "control", "incident", "view", "console"];

fn compile(root: &Path) -> FileDescriptorSet {
    let files = FILES.map(|name| format!("fusebox/v1/{name}.proto"));
    protox::compile(files, [root]).expect("the .proto files compile")
}

/// Scenario: the `.proto` files as they are now, compiled anew.
/// Guarantees: the committed code is what they say, byte for byte.
#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/generated/fusebox.v1.rs");
    let descriptors = compile(root);

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

/// Scenario: every message, field, oneof, enum, value, service and method of the `.proto` files.
/// Guarantees: each is documented where it is defined.
#[test]
fn everything_is_documented() {
    let mut undocumented = Vec::new();
    for file in compile(Path::new(env!("CARGO_MANIFEST_DIR"))).file {
        let locations = file.source_code_info.as_ref().map(|info| &info.location[..]);
        let locations = locations.expect("the compiler keeps comments");
        let mut check = |name: &str, path: &[usize]| {
            let here = locations.iter().find(|location| {
                location.path.iter().map(|&at| at as usize).eq(path.iter().copied())
            });
            if here.and_then(|location| location.leading_comments.as_ref()).is_none() {
                undocumented.push(format!("{}: {name}", file.name()));
            }
        };
        for (at, message) in file.message_type.iter().enumerate() {
            check(message.name(), &[4, at]);
            for (of, field) in message.field.iter().enumerate() {
                check(&format!("{}.{}", message.name(), field.name()), &[4, at, 2, of]);
            }
            let is_synthetic = |of: usize| {
                let inside = |field: &&FieldDescriptorProto| {
                    field.oneof_index.is_some_and(|index| index as usize == of)
                };
                message.field.iter().filter(inside).all(FieldDescriptorProto::proto3_optional)
            };
            for (of, oneof) in message.oneof_decl.iter().enumerate() {
                if !is_synthetic(of) {
                    check(&format!("{}.{}", message.name(), oneof.name()), &[4, at, 8, of]);
                }
            }
        }
        for (at, kind) in file.enum_type.iter().enumerate() {
            check(kind.name(), &[5, at]);
            for (of, value) in kind.value.iter().enumerate() {
                check(value.name(), &[5, at, 2, of]);
            }
        }
        for (at, service) in file.service.iter().enumerate() {
            check(service.name(), &[6, at]);
            for (of, method) in service.method.iter().enumerate() {
                check(method.name(), &[6, at, 2, of]);
            }
        }
    }
    assert!(undocumented.is_empty(), "{undocumented:#?}");
}

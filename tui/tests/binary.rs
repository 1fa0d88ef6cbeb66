//! The program itself, at its simplest.

use std::process::Command;

#[track_caller]
fn check(args: &[&str], code: i32, says: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_fusebox")).args(args).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(says), "{args:?}: {said}");
}

/// Scenario: the flags that every program has, and one that none has.
/// Guarantees: help and version are told with exit 0, the other is named with exit 2.
#[test]
fn the_program_introduces_itself() {
    check(&["--version"], 0, env!("CARGO_PKG_VERSION"));
    check(&["--help"], 0, "trip");
    check(&["trip", "--help"], 0, "mute-retries");
    check(&["--no-such-flag"], 2, "--no-such-flag");
}

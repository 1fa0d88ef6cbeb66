//! Where a collector keeps its history, and what it says if it cannot.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

const FREE: [&str; 4] = ["--otlp-grpc", "--otlp-http", "--control", "--http"];

fn collector(state: Option<&Path>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fusebox-collector"));
    command.stdin(Stdio::null()).stderr(Stdio::piped()).env_clear();
    for flag in FREE {
        command.args([flag, "127.0.0.1:0"]);
    }
    if let Some(state) = state {
        command.env("XDG_STATE_HOME", state);
    }
    command
}

/// Waits until it listens; gives what it says afterwards.
fn listening(child: &mut Child) -> Lines<BufReader<ChildStderr>> {
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let is_listening = |line: &String| line.contains("listening");
    assert!(lines.any(|line| line.is_ok_and(|line| is_listening(&line))), "it does not start");
    lines
}

fn fails(mut command: Command, code: i32, words: &[&str]) {
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{stderr:?} does not say {word:?}");
    }
}

/// Scenario: a collector that is told nothing, a second beside it, and one after it.
/// Guarantees: the history is in the XDG state directory; the second is refused with exit 1, the
/// directory, and the process that uses it; the third finds it free.
#[test]
fn one_collector_a_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("fusebox");
    for _ in 0..2 {
        let mut child = collector(Some(folder.path())).spawn().expect("it runs");
        let lines = listening(&mut child);
        assert!(home.join("history.redb").is_file());
        let (path, process) = (home.display().to_string(), format!("(process {})", child.id()));
        let words = [&*path, "another collector", &process, "--data-dir", "--in-memory"];
        fails(collector(Some(folder.path())), 1, &words);
        let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(term.expect("kill runs").success());
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert_eq!(child.wait().expect("a child").code(), Some(0), "{rest:?}");
    }
}

/// Scenario: a directory that cannot be made, and nothing that says where one could be.
/// Guarantees: exit 1 or 2, with what is wrong and what to do.
#[test]
fn a_directory_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let path = file.join("fusebox").display().to_string();
    fails(collector(Some(&file)), 1, &[&path, "cannot be created", "--data-dir", "--in-memory"]);
    fails(collector(None), 2, &["--data-dir", "HOME", "--in-memory"]);
}

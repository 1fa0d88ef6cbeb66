//! Flags, environment, files; what starts and what does not, and with which exit code.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn collector() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fusebox-collector"));
    // There must be a home, so that a history could be; nothing here keeps one.
    command.stdin(Stdio::null()).env_clear().env("HOME", "/nonexistent");
    command
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = collector().args(args).output().expect("it runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Four flags that take a free port each: nothing here may depend on the default ports. Nothing is
/// kept either.
const FREE: [&str; 9] = [
    "--otlp-grpc",
    "127.0.0.1:0",
    "--otlp-http",
    "127.0.0.1:0",
    "--control",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
    "--in-memory",
];

/// Scenario: flags that do not exist, or say what is not allowed.
/// Guarantees: exit 2, naming the flag and what is allowed.
#[test]
fn bad_flags_exit_with_2() {
    let check = |args: &[&str], words: &[&str]| {
        let (code, stderr) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: {stderr:?} does not say {word:?}");
        }
    };
    check(&["--nonsense"], &["--nonsense"]);
    check(&["--http", "localhost:4320"], &["--http", "127.0.0.1:4317"]);
    check(&["--http", "4320"], &["--http", "not IP:PORT"]);
    check(&["--config", "no/such/file"], &["no/such/file", "cannot be read"]);
    check(&["--http", "0.0.0.0:0"], &["--http", "loopback", "--insecure"]);
    check(&["--otlp-grpc", "0.0.0.0:0"], &["--otlp-grpc", "loopback", "--insecure"]);
    check(&["--control", "0.0.0.0:0", "--insecure"], &["--control", "--token-file"]);
    check(&["--token-file", "no/such/file"], &["--token-file", "cannot be read"]);
    check(&["--in-memory", "--data-dir", "a"], &["--in-memory", "cannot be given with --data-dir"]);
    check(&["--data-dir", ""], &["--data-dir"]);
}

/// Scenario: an environment variable that says what is not allowed.
/// Guarantees: variables count like flags.
#[test]
fn the_environment_counts_like_flags() {
    let output = collector().env("FUSEBOX_HTTP", "nonsense").output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--http") && stderr.contains("nonsense"), "{stderr}");
}

/// Scenario: a port that another program listens on, for each listener.
/// Guarantees: exit 1, naming flag and address.
#[test]
fn a_busy_port_exits_with_1() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("bound").to_string();
    for at in (0..8).step_by(2) {
        let mut args = FREE;
        args[at + 1] = &address;
        let (code, stderr) = run(&args);
        assert_eq!(code, Some(1), "{args:?}: {stderr}");
        let expected = format!("{} {address}", FREE[at]);
        assert!(stderr.contains(&expected), "{stderr:?} does not say {expected:?}");
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let entries = folder.read_dir().expect("a folder of configurations");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Scenario: every file of `tests/config/invalid`; its first line is `# ` and what must be said.
/// Guarantees: exit 2, naming the file and what is wrong.
#[test]
fn invalid_files_are_refused() {
    for file in files("invalid") {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let expected = expected.expect("the first line says what must be said");
        let path = file.to_str().expect("UTF-8");
        let (code, stderr) = run(&["--config", path]);
        assert_eq!(code, Some(2), "{path}: {stderr}");
        assert!(stderr.contains(path), "{stderr:?} does not name {path}");
        assert!(stderr.contains(expected), "{path}: {stderr:?} does not say {expected:?}");
    }
}

/// Scenario: every file of `tests/config/valid`, below flags that take free ports; SIGTERM once it
/// listens.
/// Guarantees: it starts, the flags win over the file, and it ends well with exit 0.
#[test]
fn valid_files_start_a_collector() {
    use std::io::{BufRead as _, BufReader};
    for file in files("valid") {
        let path = file.to_str().expect("UTF-8");
        let mut child = collector()
            .args(FREE)
            .args(["--config", path])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let listening = lines.find_map(|line| line.ok().filter(|line| line.contains("listening")));
        assert!(listening.is_some(), "{path} does not start");
        let term = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        assert!(term.expect("kill runs").success());
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        assert_eq!(child.wait().expect("a child").code(), Some(0), "{path}: {rest:?}");
    }
}

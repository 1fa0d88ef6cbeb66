//! The load: as much as the first core can make.

use super::peers::Kind;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

/// Requests that were answered.
pub(crate) struct Sent {
    pub(crate) requests: u64,
    /// Answers that were none, or not those of the origin.
    pub(crate) failed: u64,
}

/// Traces that requests belong to, in turn. All are sampled by their caller.
const TRACES: u32 = 4_096;

/// Sends for this long.
pub(crate) fn run(kind: Kind, at: SocketAddr, seconds: u32) -> Sent {
    match kind {
        Kind::Http1 => wrk(at, seconds),
        Kind::Http2 => h2load(at, seconds),
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn wrk(at: SocketAddr, seconds: u32) -> Sent {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("traces.lua");
    std::fs::write(&script, traces()).expect("a writable temporary folder");
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "wrk", "-t1", "-c64", &format!("-d{seconds}s"), "-s"]);
    let text = output(command.arg(script).arg(format!("http://{at}/buy")));
    let failed = text.lines().filter(|line| line.contains("Socket errors")).count() as u64;
    Sent {
        requests: before(&text, " requests in"),
        failed: failed + after(&text, "Non-2xx or 3xx responses:"),
    }
}

/// Each request with a trace of its own.
fn traces() -> String {
    let mut lua = String::from("local made, at = {}, 0\ninit = function()\n");
    let trace = "string.format('00-%032x-%016x-01', i, i)";
    let _ = writeln!(lua, " for i = 1, {TRACES} do");
    let _ = writeln!(lua, "  made[i] = wrk.format(nil, nil, {{traceparent = {trace}}})\n end\nend");
    let _ = writeln!(lua, "request = function()\n at = at % {TRACES} + 1\n return made[at]\nend");
    lua
}

fn h2load(at: SocketAddr, seconds: u32) -> Sent {
    let mut command = Command::new("taskset");
    let trace = format!("traceparent: 00-{:032x}-{:016x}-01", 7, 7);
    command.args(["-c", "0", "h2load", "-t1", "-c8", "-m16", "-D", &seconds.to_string(), "-H"]);
    let text = output(command.arg(trace).arg(format!("http://{at}/buy")));
    let codes = text.lines().find(|line| line.starts_with("status codes:")).unwrap_or_default();
    Sent { requests: before(codes, " 2xx"), failed: before(codes, " 4xx") + before(codes, " 5xx") }
}

/// The number that stands before `word`; 0 where there is none.
fn before(text: &str, word: &str) -> u64 {
    let number = text.split(word).next().filter(|head| head.len() < text.len());
    let number = number.and_then(|head| head.split_whitespace().next_back());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The number that stands after `word`; 0 where there is none.
fn after(text: &str, word: &str) -> u64 {
    let number = text.split_once(word).and_then(|(_, tail)| tail.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

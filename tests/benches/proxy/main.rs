//! What a proxied request costs, beside Envoy, nginx and haproxy in the same run.
//!
//! ```text
//! cargo bench -p fusebox-tests --bench proxy            # everything, three rounds
//! cargo bench -p fusebox-tests --bench proxy -- http1 --rounds 1
//! ```
//!
//! The proxy is the one that ships, of the profile `dist`, and is built where it has to be.
//! One proxy at a time, with one worker, alone on the second core; load, origin and collector share
//! the first. CPU is what the kernel charged to the proxy, per 100,000 requests: throughput would
//! measure the load generator. Ratios are taken within a round, where the machine's own moods hit
//! all alike. Latency is counted from when a request was due, not from when it could be sent; for it
//! both cores are kept awake, and the collector gives way to load and origin.
//!
//! Peers: Envoy from `PyPI`; nginx, haproxy, wrk and h2load from the distribution. What is not there
//! is told as absent and is no pass. The figures that must be reached are those of the design;
//! the exit code is 1 when one is missed.

#![expect(clippy::disallowed_methods, reason = "a benchmark is about the clock")]

mod latency;
mod load;
mod machine;
mod memory;
mod peers;
mod round;

use peers::Kind;
use std::process::ExitCode;

/// What is asked for.
struct Asked {
    parts: Vec<String>,
    rounds: usize,
    seconds: u32,
}

fn main() -> ExitCode {
    let Some(asked) = asked() else { return ExitCode::from(2) };
    if machine::cores() < 2 {
        eprintln!("needs two cores: one for the proxy alone");
        return ExitCode::from(2);
    }
    let absent = peers::absent();
    for (name, package) in &absent {
        println!("absent: {name} (package {package})");
    }
    if absent.iter().any(|(name, _)| ["nginx", "wrk", "taskset"].contains(name)) {
        eprintln!("nothing can be measured without an origin, a load generator and taskset");
        return ExitCode::FAILURE;
    }
    let wants = |part: &str| asked.parts.is_empty() || asked.parts.iter().any(|it| it == part);
    let mut missed = Vec::new();
    if wants("http1") {
        missed.extend(round::run(Kind::Http1, asked.rounds, asked.seconds));
    }
    if wants("http2") {
        missed.extend(round::run(Kind::Http2, asked.rounds, asked.seconds));
    }
    if wants("latency") {
        missed.extend(latency::run(asked.rounds, asked.seconds));
    }
    if wants("memory") {
        missed.extend(memory::run());
    }
    for bar in &missed {
        println!("MISSED: {bar}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads the command line; `None` after it was told what is allowed. Cargo adds `--bench`.
fn asked() -> Option<Asked> {
    let mut asked = Asked { parts: Vec::new(), rounds: 3, seconds: 3 };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse::<u32>().ok());
        match word.as_str() {
            "http1" | "http2" | "latency" | "memory" => asked.parts.push(word),
            "--rounds" => asked.rounds = number().filter(|it| (1..=20).contains(it))? as usize,
            "--seconds" => asked.seconds = number().filter(|it| (1..=60).contains(it))?,
            _ => {
                eprintln!("{word}: allowed are http1 http2 latency memory --rounds N --seconds N");
                return None;
            }
        }
    }
    Some(asked)
}

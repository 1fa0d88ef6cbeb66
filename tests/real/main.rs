//! Against the real thing: OpenTelemetry SDKs, retry libraries, gRPC, redis, dnsmasq, tmux, as a user has them.
//!
//! `FUSEBOX_REAL=1` runs these and makes a missing part a failure; without it each skips with a
//! printed reason, so that a plain `cargo test` needs only Rust. The parts come from `PyPI`, npm and
//! Debian, into the target folder.

mod dns;
mod faults;
mod fleet;
mod grpc;
mod raw_tcp;
mod retry_libraries;
mod sdk;
mod setup;
mod tmux;
mod transparent;

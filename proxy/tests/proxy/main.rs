//! The proxy's shell over real sockets on loopback: callers, servers and a collector that the tests
//! script. Nothing here waits for time; what takes time is waited for by its effect.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by a panic")]

mod access_log;
mod admin;
mod binary;
mod by_host;
mod collector;
mod dns;
mod drain;
mod early;
mod ejection;
mod entry_hosts;
mod floods;
mod forward;
mod heads;
mod hints;
mod idle;
mod ingress;
mod life;
mod malformed;
#[expect(dead_code, reason = "shared with the resolver's own tests")]
mod name_server;
mod outlier;
#[expect(unreachable_pub, reason = "shared with the end-to-end tests' library")]
#[path = "../../../tests/src/parts.rs"]
mod parts;
mod policy;
mod pool;
mod process;
mod real;
mod refuse;
mod report;
mod resilience;
mod retry_limits;
mod routing;
mod service_entry;
mod settings;
mod shop;
mod slow;
mod takeover;
mod tcp;
mod trace_context;
mod translate;
mod upgrade;
mod websocket;
mod wire;
mod world;

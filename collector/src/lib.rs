//! The collector of Fusebox: telemetry in, live graph, diagnosis, control plane.
//!
//! Cores think, shells do. A core takes `now` and an event and returns outcomes; a shell owns
//! sockets and clocks.
//!
//! | core | thinks about |
//! |---|---|
//! | [`decode`] | OTLP bodies → [`spans`] |
//! | [`pairing`] | spans → [`observe`]: who called whom, how often, and how it ended |
//! | [`observe`] | what spans say about the mesh: the seam between reading and judging |
//! | [`graph`] | services and who calls whom, on petgraph |
//! | [`engine`] | everything that is known, and what follows from it: telemetry and commands in, views and pushes out |
//! | `store` | the last minute of every edge and service, second by second |
//! | `detect` | is there a retry storm on this edge? did this get slow? |
//! | [`diagnose`] | of spans before and after: since when, and whose fault? |
//! | `incident` | one card for each cause: who, since when, what would help |
//! | `desired` | what operators want of edges, and how far the proxies are with it |
//! | `policy` | versions of the policy, how far the proxies are with it, and what is wrong with it |
//! | [`guard`] | may the collector do by itself what it suggests? |
//! | `names` | printed names, and what an operator means |
//! | [`record`] | what of it outlives the process |
//! | `snapshot` | all of it in the words of the contract |
//!
//! | shell | owns |
//! |---|---|
//! | [`config`], `token` | what it was told, and what must not be |
//! | `app` | the tasks, their start and end; `app/driver` keeps the engine's time |
//! | `history` | the data directory: records on disk, and back at the next start |
//! | `listen` | sockets: one way for all four addresses |
//! | `otlp` | OTLP/gRPC and OTLP/HTTP, up to the engine's inbox |
//! | `serve` | proxies and consoles over gRPC |
//! | [`capture`] | files of traces that somebody kept, in three formats |
//! | [`replay`] | all that such files hold happens again |
//! | `http` | health, metrics, the JSON API |
//! | `tape` | the last minutes of telemetry as it came, for recordings |
//! | `tally` | what the shell counts |

mod app;
pub mod capture;
pub mod config;
pub mod decode;
mod desired;
mod detect;
pub mod diagnose;
pub mod engine;
mod frames;
pub mod graph;
pub mod guard;
mod history;
mod http;
mod incident;
mod listen;
mod names;
pub mod observe;
mod otlp;
pub mod pairing;
mod policy;
#[cfg(test)]
mod proofs;
pub mod record;
pub mod replay;
#[cfg(test)]
mod samples;
mod serve;
#[cfg(test)]
mod simulation;
mod snapshot;
pub mod spans;
mod store;
mod tally;
mod tape;
mod token;

pub use app::{Running, StartError, start};
pub use config::{Config, Options};
pub use history::OpenError;

//! The data plane of Fusebox: a sidecar that forwards HTTP, recognises retries, and refuses.
//!
//! # The life of a request
//!
//! An outbound one; an inbound one is neither routed, classified nor refused, so that steps 4 to 7 fall
//! away.
//!
//! 1. `listen` accepts the connection and gives it a task on the worker's own runtime. `tcp` reads
//!    the first bytes where it is not known yet what the port speaks (`sniff`), and carries what is
//!    no HTTP. `entrance` is what answers behind all of them.
//! 2. `connection` tells HTTP/1.1 from HTTP/2 and parses (hyper), and cuts what only costs.
//! 3. `admission`: `gate` rejects what two servers could read differently, and removes what was meant
//!    for this hop; `propagate` reads the trace context.
//! 4. Where a policy has rules for the host, `outbound::route` takes the first that matches: faults,
//!    an answer of its own, or a destination by weight, with edits and copies to mirrors.
//! 5. `body` reads the first 4 KiB of the request body ahead, where a retry could be told by them.
//! 6. [`edge`], the core, says under one short lock: first attempt or retry (`classify`), and may
//!    it cross (`breaker`)?
//! 7. If it may not, `refuse` answers. The body is drained, the connection stays.
//! 8. If it may, `propagate` puts our span into the trace, [`upstream`] chooses an endpoint, and
//!    `forward` takes a connection from the `pool` and sends it; again where that is safe, and a
//!    further attempt where the policy asks for one ([`retry`]).
//! 9. The response streams back through `body`, which carries a guard.
//! 10. At the end of the body, or when the caller goes away, the guard tells the core how it ended,
//!     gives the connection back, and leaves a span in `spans`.
//! 11. Each second `control` closes the window of every edge and reports it.
//!
//! An outbound listener is for one service, for all of them (`by_host`, which asks the `directory` who
//! is meant), or one of the ports of an `ingress` gateway, which open and close with the policy.
//!
//! Around that: `forwarded` says who called, `interim` lets servers answer `Expect` and hands on their
//! other 1xx, `access_log` writes a line of each request; `drain` ends a proxy politely, `takeover` without losing a connection.
//!
//! A response 101 that was asked for ends HTTP on both connections (`upgrade` has the terms), and
//! `connection` carries bytes both ways (`tunnel`).
//!
//! Endpoints that have names follow what name servers say (`dns`).
//!
//! `run` has the threads, `proxy` what they share, [`cli`] and [`config`] what an operator may
//! ask for.

pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod classify;
pub mod cli;
pub mod config;
pub mod edge;
pub mod outlier;
pub mod redirect;
pub mod report_log;
pub mod retry;
pub mod upstream;

mod access_log;
mod admin;
mod admission;
mod arrived;
mod body;
mod buckets;
mod by_host;
mod connection;
mod control;
mod directory;
mod dns;
mod drain;
mod entrance;
mod exchange;
mod forward;
mod forwarded;
mod gate;
mod inbound;
mod ingress;
mod interim;
mod listen;
mod outbound;
mod policy;
mod pool;
mod propagate;
mod proxy;
mod refuse;
mod run;
mod sniff;
mod socket;
mod spans;
mod takeover;
mod tcp;
mod totals;
mod translate;
mod tunnel;
mod upgrade;

pub use config::Config;
pub use run::{Running, StartError, start};

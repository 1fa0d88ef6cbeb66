//! End to end: the three binaries, over real sockets, as the contract says.

mod canary;
mod cli;
mod dashboard;
mod diagnose;
mod failure;
mod guard;
mod history;
mod lies;
mod policy;
mod refusal;
mod replay;
mod trip;

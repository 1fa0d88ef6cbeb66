//! The engine as its shell uses it: events in, outputs and snapshots out, in virtual time.

mod baselines;
mod bench;
pub(crate) mod canary;
mod contract;
mod control;
mod failing;
mod found;
mod guard;
mod keeping;
mod layers;
mod lies;
mod many_calls;
mod mesh;
mod otlp;
mod policy;
mod polls;
mod routes;
mod sampling;
mod sources;
mod storms;

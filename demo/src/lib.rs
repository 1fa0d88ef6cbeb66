//! The shop: scripted services behind real proxies, and scenarios as data.
//!
//! A run is an experiment with a known truth. [`scenario`] and [`plan`] say what is to happen;
//! services, clients and queues obey a model ([`station`], [`client`], [`conditions`]) over real
//! sockets; [`truth`] is measured by the callers, [`verdict`] is what the collector says through
//! its own API, knowing nothing of the scenario; [`event`] puts both side by side. [`what_if`] lets
//! the breakers of a proxy judge a recording.
//!
//! The modules above are pure; the rest is shell:
//!
//! ```text
//! visitors ── load ──> proxy ──> instance (desk = station + timer) ── link ──> proxy ──> ...
//!                │                   │
//!                └──── stage: plan, clock, conditions, truth ────┐
//! run: starts collector, mesh, shop; plays the script; follows the collector; tells the lines
//! backstage: the collector's life, and what an operator does by the script
//! ```

pub mod catalogue;
pub mod client;
pub mod conditions;
pub mod event;
pub mod plan;
pub mod scenario;
pub mod station;
pub mod truth;
pub mod verdict;
pub mod what_if;

mod backstage;
mod clock;
mod collector;
mod desk;
mod instance;
mod link;
mod load;
mod mesh;
mod run;
mod shop;
mod stage;

pub use collector::AskError;
pub use mesh::MeshError;
pub use run::{Act, Options, RunError, run};

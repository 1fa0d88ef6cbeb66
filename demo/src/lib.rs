//! The shop: scripted services behind real proxies, and scenarios as data.
//!
//! A run is an experiment with a known truth. [`scenario`] and [`plan`] say what is to happen;
//! services, clients and queues obey a model ([`station`], [`client`], [`conditions`]) over real
//! sockets; [`truth`] is measured by the callers, [`verdict`] is what the collector says through
//! its own API, knowing nothing of the scenario; [`event`] puts both side by side.

pub mod catalogue;
pub mod client;
pub mod conditions;
pub mod event;
pub mod plan;
pub mod scenario;
pub mod station;
pub mod truth;
pub mod verdict;

//! The words of Fusebox: what proxies, collector and console say to each other.
//!
//! Two layers, never mixed. [`wire`] holds the generated protobuf messages, documented in
//! `fusebox/v1/*.proto`; a wire message goes no further than the file that decodes it. All else
//! here are the validated types that messages parse into ([`Invalid`] says what did not parse):
//!
//! | module | words |
//! |---|---|
//! | [`name`] | who: [`ServiceId`], [`Edge`], [`ProxyId`] |
//! | [`report`] | what a proxy saw in one window, proxy → collector |
//! | [`command`] | what an operator wants, collector → proxy, and the acknowledgement |
//! | [`policy`] | Istio's and the Gateway API's YAML, read and compiled to one typed policy |
//! | [`view`] | what the console, the command line and the HTTP API show |
//! | [`page`] | the nouns that can be asked for, and the JSON object of each |
//! | [`delta`] | snapshot first, then differences, collector → console |
//! | [`latency`] | mergeable latency windows |
//! | [`trace`] | W3C trace context |
//! | [`text`] | untrusted text made visible |
//! | [`wire`] | the generated messages, and the way to and from them |
//!
//! Everything here is pure: no IO, no clock.

pub mod command;
pub mod delta;
pub mod grpc;
pub mod invalid;
pub mod latency;
pub mod log;
pub mod name;
pub mod now;
pub mod page;
pub mod policy;
pub mod report;
pub mod text;
pub mod trace;
pub mod view;
pub mod wire;

pub use invalid::Invalid;
pub use latency::Latency;
pub use name::{Edge, ProxyId, ServiceId};
pub use now::Now;

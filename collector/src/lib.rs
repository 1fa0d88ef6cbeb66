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

pub mod decode;
pub mod engine;
pub mod graph;
pub mod observe;
pub mod pairing;
pub mod spans;

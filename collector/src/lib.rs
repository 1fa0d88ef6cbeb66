//! The collector of Fusebox: telemetry in, live graph, diagnosis, control plane.
//!
//! Cores think, shells do. A core takes `now` and an event and returns outcomes; a shell owns
//! sockets and clocks.
//!
//! | core | thinks about |
//! |---|---|
//! | [`observe`] | what spans say about the mesh: the seam between reading and judging |

pub mod observe;

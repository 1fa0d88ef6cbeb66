//! The collector's shell over real sockets: what senders, proxies, consoles and browsers meet.

mod attach;
mod command_line;
mod data_dir;
mod otlp;
mod pages;
mod policy;
mod real_bodies;
#[path = "../../src/samples.rs"]
mod samples;
mod support;
mod watch;

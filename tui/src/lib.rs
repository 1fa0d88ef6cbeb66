//! The dashboard of Fusebox, as a library: model, update, view, and the shells around them.
//! The binary of the same package adds the command line, the embedded collector and the demo.

pub mod dashboard;

//! placeholder

pub mod classify;
pub mod edge;

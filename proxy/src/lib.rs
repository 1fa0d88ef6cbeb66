//! placeholder

pub mod breaker;
pub mod classify;
pub mod edge;

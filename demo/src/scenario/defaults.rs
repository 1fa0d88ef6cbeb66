//! What a scenario means where it says nothing.

use super::{Canary, Client, Overflow, Service, Vary};
use std::collections::BTreeMap;

pub(super) const fn duration_s() -> f64 {
    60.0
}

pub(super) const fn sampled_percent() -> f64 {
    10.0
}

/// A visitor's patience: longer than any single timeout in the shop.
pub(super) const fn patience_ms() -> u64 {
    3_500
}

pub(super) const fn all_percent() -> f64 {
    100.0
}

pub(super) const fn once() -> u32 {
    1
}

impl Default for Vary {
    fn default() -> Self {
        Self { rate: (1.0, 1.0), work: (1.0, 1.0) }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            instances: 1,
            instances_vary: None,
            workers: 8,
            queue: 256,
            overflow: Overflow::default(),
            work_ms: 5.0,
            spread: 0.2,
            serves_abandoned: false,
            error_percent: 0.0,
            canary: None,
            routes: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self { instances: 1, error_percent: 0.0, factor: 1.0 }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self {
            timeout_ms: 2_000,
            attempts: 1,
            backoff_ms: 0,
            jitter_percent: 0.0,
            hedge_after_ms: 0,
            retry_status: vec![500, 502, 503, 504],
            retry_timeouts: true,
            new_span_each_attempt: false,
        }
    }
}

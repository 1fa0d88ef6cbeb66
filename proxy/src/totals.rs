//! What a proxy counted since it started: closed windows, added up for `/metrics`.

use fusebox_proto::report::{EdgeCounts, EdgeWindow, InboundWindow, Protocol, Report};
use fusebox_proto::{Latency, ServiceId};
use std::collections::BTreeMap;

/// Counters since the start. Bounded by the edges of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    edges: BTreeMap<(ServiceId, Protocol), EdgeTotals>,
    inbound: InboundTotals,
}

/// One edge and protocol since the start.
#[derive(Debug, Default)]
pub(crate) struct EdgeTotals {
    /// `in_flight` and `pending` are those of the last window.
    pub(crate) counts: EdgeCounts,
    /// Of all ended attempts.
    pub(crate) latency: Latency,
}

/// Inbound traffic since the start.
#[derive(Debug, Default)]
pub(crate) struct InboundTotals {
    /// Requests that came in.
    pub(crate) requests: u64,
    /// Requests that the application failed.
    pub(crate) failures: u64,
    /// Requests that the caller gave up.
    pub(crate) cancelled: u64,
    /// Requests in the application at the end of the last window.
    pub(crate) in_flight: u64,
    /// Of all ended requests.
    pub(crate) latency: Latency,
}

impl Totals {
    /// Adds a closed window.
    pub(crate) fn add(&mut self, report: &Report) {
        for edge in self.edges.values_mut() {
            (edge.counts.in_flight, edge.counts.pending) = (0, 0);
        }
        self.inbound.in_flight = 0;
        report.edges.iter().for_each(|window| self.add_edge(window));
        report.inbound.iter().for_each(|window| self.add_inbound(window));
    }

    fn add_edge(&mut self, window: &EdgeWindow) {
        let key = (window.destination.clone(), window.protocol);
        let edge = self.edges.entry(key).or_default();
        edge.counts.add(&window.counts);
        edge.latency.merge(&window.latency);
    }

    fn add_inbound(&mut self, window: &InboundWindow) {
        self.inbound.requests += window.requests;
        self.inbound.failures += window.failures;
        self.inbound.cancelled += window.cancelled;
        self.inbound.in_flight += window.in_flight;
        self.inbound.latency.merge(&window.latency);
    }

    /// Each edge and protocol that was used.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&ServiceId, Protocol, &EdgeTotals)> {
        self.edges.iter().map(|((destination, protocol), edge)| (destination, *protocol, edge))
    }

    /// All inbound listeners together.
    pub(crate) fn inbound(&self) -> &InboundTotals {
        &self.inbound
    }
}

//! Rows of the tables, in the order in which they are shown: update moves the selection over the
//! same rows that the view draws.

use super::Model;
use super::severity::{self, Severity};
use fusebox_proto::view::{Breaker, EdgeName, EdgeView, Service};
use std::cmp::Ordering;

/// What a table of edges is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// Severity, then failures.
    #[default]
    Worst,
    /// Caller.
    Source,
    /// Callee.
    Destination,
    /// Attempts per second.
    Rate,
    /// Failed share.
    Errors,
    /// Attempts per request.
    Attempts,
    /// 99th percentile.
    P99,
}

impl Column {
    const ALL: [Self; 7] = [
        Self::Worst,
        Self::Source,
        Self::Destination,
        Self::Rate,
        Self::Errors,
        Self::Attempts,
        Self::P99,
    ];

    /// For the head of the view.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::Attempts => "attempts",
            Self::P99 => "p99",
        }
    }
}

/// Order of the edges' table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// The other way around.
    pub reversed: bool,
}

impl Sort {
    /// By the next column, in its own natural order.
    #[must_use]
    pub fn next(self) -> Self {
        let at = Column::ALL.iter().position(|c| *c == self.column).unwrap_or(0);
        Self { column: Column::ALL[(at + 1) % Column::ALL.len()], reversed: false }
    }
}

impl Model {
    /// How bad this edge is.
    pub fn edge_severity(&self, edge: &EdgeView) -> Severity {
        severity::of_edge(edge, self.open_incidents())
    }

    /// How bad this service is.
    pub fn service_severity(&self, service: &Service) -> Severity {
        severity::of_service(service, self.open_incidents())
    }

    /// Edges that the filter lets through, in the order of the table.
    pub fn edge_rows(&self) -> Vec<&EdgeView> {
        let mut rows: Vec<_> = self
            .snapshot
            .edges
            .iter()
            .filter(|e| self.shows(&[&e.source, &e.destination]))
            .map(|e| (self.edge_severity(e), e))
            .collect();
        rows.sort_by(|(severity_a, a), (severity_b, b)| {
            let order = match self.sort.column {
                Column::Worst => severity_b
                    .cmp(severity_a)
                    .then_with(|| magnitude(failures(b)).cmp(&magnitude(failures(a)))),
                Column::Source => a.source.cmp(&b.source),
                Column::Destination => a.destination.cmp(&b.destination),
                Column::Rate => falling(a.rate, b.rate),
                Column::Errors => falling(a.error_ratio, b.error_ratio),
                Column::Attempts => falling(a.attempts_per_request, b.attempts_per_request),
                Column::P99 => falling(a.p99_ms, b.p99_ms),
            };
            if self.sort.reversed { order.reverse() } else { order }
        });
        rows.into_iter().map(|(_, edge)| edge).collect()
    }

    /// Breakers that the filter lets through, the most restrictive first.
    pub fn breaker_rows(&self) -> Vec<&Breaker> {
        let mut rows: Vec<_> =
            self.snapshot.breakers.iter().filter(|b| self.shows(&[&b.edge])).collect();
        rows.sort_by(|a, b| {
            b.state
                .cmp(&a.state)
                .then_with(|| a.edge.cmp(&b.edge))
                .then(a.endpoint.cmp(&b.endpoint))
        });
        rows
    }

    /// Services, the worst first. Equals stay in the order of their names, and failures count in
    /// powers of two, so that rows do not jump each second.
    pub fn service_rows(&self) -> Vec<(Severity, &Service)> {
        let mut rows: Vec<_> =
            self.snapshot.services.iter().map(|s| (self.service_severity(s), s)).collect();
        rows.sort_by(|(severity_a, a), (severity_b, b)| {
            let failures = |s: &Service| s.rate.unwrap_or(0.0) * s.error_ratio.unwrap_or(0.0);
            severity_b
                .cmp(severity_a)
                .then_with(|| magnitude(failures(b)).cmp(&magnitude(failures(a))))
                .then_with(|| {
                    magnitude(b.rate.unwrap_or(0.0)).cmp(&magnitude(a.rate.unwrap_or(0.0)))
                })
                .then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    /// The chosen edge of the table, if a row shows it; else the first row. Asked for many times a
    /// frame, so it sorts nothing while the choice stands.
    pub fn selected_edge(&self) -> Option<EdgeName> {
        let chosen = self.selection.edge.as_ref();
        let standing = chosen.filter(|name| {
            self.edge(name).is_some() && self.shows(&[&name.source, &name.destination])
        });
        standing.cloned().or_else(|| self.edge_rows().first().map(|e| name_of(e)))
    }

    /// The edge of the chosen breaker, if a row shows it; else that of the first row.
    pub fn selected_breaker_edge(&self) -> Option<EdgeName> {
        let rows = self.breaker_rows();
        let row = rows.iter().find(|b| self.is_selected(b)).or_else(|| rows.first())?;
        self.edge_of(row)
    }

    /// Whether the operator chose this breaker.
    pub fn is_selected(&self, breaker: &Breaker) -> bool {
        let chosen = self.selection.breaker.as_ref();
        chosen.is_some_and(|(edge, at)| *edge == breaker.edge && *at == breaker.endpoint)
    }

    /// The ends of a breaker's edge. Names may contain `>` themselves, so an edge of the graph that
    /// prints like it is preferred.
    fn edge_of(&self, breaker: &Breaker) -> Option<EdgeName> {
        let splits = breaker.edge.match_indices('>').map(|(at, _)| EdgeName {
            source: breaker.edge[..at].to_owned(),
            destination: breaker.edge[at + 1..].to_owned(),
        });
        let mut first = None;
        for name in splits {
            if self.edge(&name).is_some() {
                return Some(name);
            }
            first.get_or_insert(name);
        }
        first
    }

    pub(super) fn shows(&self, texts: &[&str]) -> bool {
        let filter = self.filter.trim().to_lowercase();
        filter.is_empty() || texts.iter().any(|t| t.to_lowercase().contains(&filter))
    }
}

/// The name of an edge.
pub fn name_of(edge: &EdgeView) -> EdgeName {
    EdgeName { source: edge.source.clone(), destination: edge.destination.clone() }
}

pub(super) fn failures(edge: &EdgeView) -> f64 {
    edge.rate.unwrap_or(0.0) * edge.error_ratio.unwrap_or(0.0)
}

/// The power of two below a value; nothing below one twentieth.
pub(super) fn magnitude(value: f64) -> i32 {
    if 0.05 < value { value.log2().floor() as i32 } else { i32::MIN }
}

/// Largest first, what is not known last.
fn falling(a: Option<f64>, b: Option<f64>) -> Ordering {
    let key = |v: Option<f64>| v.filter(|v| v.is_finite()).unwrap_or(f64::NEG_INFINITY);
    key(b).total_cmp(&key(a))
}
